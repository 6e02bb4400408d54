// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Locks of windows under loom: nobody is beside who holds one alone, and no order of letting go,
//! announcing and sleeping leaves a waiter asleep for ever, which loom reports as a deadlock. Run
//! with RUSTFLAGS="--cfg loom"; empty otherwise.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use loom::sync::{Arc, Condvar, Mutex};
use strait_transport::lane::shm::bell::{self, AWAKE, Way};
use strait_transport::lane::shm::window_lock;

/// What the kernel does with a futex: compares and sleeps as one step.
#[derive(Default)]
struct Futex {
    lock: Mutex<()>,
    sleepers: Condvar,
}

impl Futex {
    fn wait(&self, word: &AtomicU32, expected: u32) {
        let guard = self.lock.lock().unwrap();
        if word.load(Relaxed) == expected {
            drop(self.sleepers.wait(guard).unwrap());
        }
    }

    fn wake_all(&self) {
        drop(self.lock.lock().unwrap());
        self.sleepers.notify_all();
    }
}

struct Process {
    own: AtomicU32,
    bell: AtomicU32,
    futex: Futex,
}

/// A lock, those who want it, and what it protects.
struct Shared {
    lock: AtomicU32,
    asleep: AtomicU32,
    processes: Vec<Process>,
    value: UnsafeCell<u32>,
}

impl Shared {
    fn new(processes: usize) -> Arc<Shared> {
        let process = || Process {
            own: AtomicU32::new(0),
            bell: AtomicU32::new(AWAKE),
            futex: Futex { lock: Mutex::new(()), sleepers: Condvar::new() },
        };
        Arc::new(Shared {
            lock: AtomicU32::new(0),
            asleep: AtomicU32::new(0),
            processes: (0..processes).map(|_| process()).collect(),
            value: UnsafeCell::new(0),
        })
    }

    fn lock(&self, me: usize, alone: bool) {
        let process = &self.processes[me];
        let mut generation = 0;
        while !window_lock::try_lock(&self.lock, alone) {
            generation += 1;
            window_lock::fall_asleep(&self.asleep, &process.own);
            let armed = bell::announce(&process.bell, Way::Futex, generation, false, || ());
            let had = window_lock::try_lock(&self.lock, alone);
            if !had && bell::is_standing(&process.bell, armed) {
                process.futex.wait(&process.bell, armed);
            }
            window_lock::wake_up(&self.asleep, &process.own);
            if had {
                return;
            }
        }
    }

    fn unlock(&self, me: usize, alone: bool) {
        window_lock::unlock(&self.lock, alone);
        if window_lock::somebody_sleeps(&self.asleep) {
            for (other, process) in self.processes.iter().enumerate() {
                // The look before the exchange is for loom alone, which would order a store after
                // an exchange that did not read it, but let a later exchange read the first one's.
                let sleeps = other != me
                    && process.own.load(Relaxed) != 0
                    && process.bell.load(Relaxed) != AWAKE;
                if sleeps && bell::take(&process.bell).is_some() {
                    process.futex.wake_all();
                }
            }
        }
    }

    fn write(&self, me: usize) {
        self.lock(me, true);
        // SAFETY: loom checks that nobody else is there.
        self.value.with_mut(|value| unsafe { *value += 1 });
        self.unlock(me, true);
    }

    fn read(&self, me: usize) -> u32 {
        self.lock(me, false);
        // SAFETY: loom checks that nobody writes now.
        let value = self.value.with(|value| unsafe { *value });
        self.unlock(me, false);
        value
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn two_who_want_it_alone() {
    model(|| {
        let shared = Shared::new(2);
        let other = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || other.write(1));
        shared.write(0);
        thread.join().unwrap();
        assert_eq!(shared.read(0), 2);
    });
}

#[test]
fn a_sharer_and_who_wants_it_alone() {
    model(|| {
        let shared = Shared::new(2);
        let other = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || other.write(1));
        assert!(shared.read(0) <= 1);
        thread.join().unwrap();
        assert_eq!(shared.read(0), 1);
    });
}

#[test]
fn two_sharers_and_who_wants_it_alone() {
    model(|| {
        let shared = Shared::new(3);
        let threads: Vec<_> = (1..3)
            .map(|me| {
                let other = Arc::clone(&shared);
                loom::thread::spawn(move || assert!(other.read(me) <= 1))
            })
            .collect();
        shared.write(0);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sleep and wake under loom: no order of publication, announcement and sleep loses a wake-up. A
//! lost one leaves a thread asleep for ever, which loom reports as a deadlock. Run with
//! RUSTFLAGS="--cfg loom"; empty otherwise.
//!
//! This models the form with fences on both sides; loom knows no membarrier (docs/shm.md).
#![cfg(loom)]

use loom::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use loom::sync::{Arc, Condvar, Mutex};
use strait_transport::lane::shm::bell::{self, AWAKE, Way};
use strait_transport::lane::shm::slab::{ChunkList, give_back};
use strait_transport::sync::full_fence;

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

/// A process: messages, its bell, the worker's lock around the announcements.
struct Process {
    messages: [AtomicU32; 2],
    bell: AtomicU32,
    generation: Mutex<u32>,
    futex: Futex,
}

impl Process {
    fn new() -> Arc<Process> {
        Arc::new(Process {
            messages: [AtomicU32::new(0), AtomicU32::new(0)],
            bell: AtomicU32::new(AWAKE),
            generation: Mutex::new(0),
            futex: Futex { lock: Mutex::new(()), sleepers: Condvar::new() },
        })
    }

    fn publish(&self, message: usize) {
        self.messages[message].store(1, Release);
        if bell::is_armed(&self.bell, true) && bell::take(&self.bell).is_some() {
            self.futex.wake_all();
        }
    }

    /// Waits as a thread of the process does: look, announce, look, sleep.
    fn wait_for(&self, messages: &[usize]) {
        let all_here = || messages.iter().all(|i| self.messages[*i].load(Acquire) == 1);
        loop {
            let armed = {
                let mut generation = self.generation.lock().unwrap();
                if all_here() {
                    return;
                }
                *generation += 1;
                let armed = bell::announce(&self.bell, Way::Futex, *generation, false, || ());
                if all_here() {
                    return;
                }
                armed
            };
            if bell::is_standing(&self.bell, armed) {
                self.futex.wait(&self.bell, armed);
            }
        }
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn one_publisher_wakes_one_sleeper() {
    model(|| {
        let process = Process::new();
        let publisher = Arc::clone(&process);
        let thread = loom::thread::spawn(move || publisher.publish(0));
        process.wait_for(&[0]);
        thread.join().unwrap();
    });
}

#[test]
fn two_publishers_wake_one_sleeper_who_waits_for_both() {
    model(|| {
        let process = Process::new();
        let threads: Vec<_> = (0..2)
            .map(|message| {
                let publisher = Arc::clone(&process);
                loom::thread::spawn(move || publisher.publish(message))
            })
            .collect();
        process.wait_for(&[0, 1]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn one_publisher_wakes_both_threads_of_a_process() {
    model(|| {
        let process = Process::new();
        let (publisher, other) = (Arc::clone(&process), Arc::clone(&process));
        let other = loom::thread::spawn(move || other.wait_for(&[0]));
        let publisher = loom::thread::spawn(move || publisher.publish(0));
        process.wait_for(&[0]);
        publisher.join().unwrap();
        other.join().unwrap();
    });
}

/// A sender that sleeps for room: it announces, wishes, looks; the receiver makes room, looks for a
/// wish, takes it and rings. The sender uses the first room up and then needs more, while the
/// receiver may not have got beyond making the first. The same shape serves the ring's room and the
/// slab's chunks.
#[test]
fn room_wakes_the_sender_that_wished_for_it() {
    model(|| {
        struct Shared {
            room: AtomicU64,
            wish: AtomicU32,
            bell: AtomicU32,
            futex: Futex,
        }
        let shared = Arc::new(Shared {
            room: AtomicU64::new(0),
            wish: AtomicU32::new(0),
            bell: AtomicU32::new(AWAKE),
            futex: Futex { lock: Mutex::new(()), sleepers: Condvar::new() },
        });
        let receiver = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || {
            for room in 1..=2 {
                receiver.room.store(room, Release);
                full_fence();
                if receiver.wish.load(Relaxed) != 0
                    && receiver.wish.swap(0, Acquire) != 0
                    && bell::take(&receiver.bell).is_some()
                {
                    receiver.futex.wake_all();
                }
            }
        });
        let mut generation = 0;
        for needed in 1..=2 {
            while shared.room.load(Acquire) < needed {
                generation += 1;
                // A swap: loom may take a plain store here for one before the receiver's swap,
                // though that has read an earlier one.
                let wish = || {
                    shared.wish.swap(1, Release);
                };
                let armed = bell::announce(&shared.bell, Way::Futex, generation, false, wish);
                if shared.room.load(Acquire) < needed {
                    shared.futex.wait(&shared.bell, armed);
                }
            }
        }
        thread.join().unwrap();
    });
}

/// Chunks go to the receiver and come back; nobody writes what the other reads.
#[test]
fn a_chunk_has_one_user_at_a_time() {
    model(|| {
        struct Shared {
            states: [AtomicU32; 2],
            bytes: [loom::cell::UnsafeCell<u32>; 2],
            /// Chunk number plus one of message i: the ring in this model.
            told: [AtomicU32; 3],
        }
        let shared = Arc::new(Shared {
            states: [AtomicU32::new(0), AtomicU32::new(0)],
            bytes: [loom::cell::UnsafeCell::new(0), loom::cell::UnsafeCell::new(0)],
            told: [AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)],
        });
        let sender = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || {
            let mut list = ChunkList::new(0, 2);
            for number in 0..3 {
                let chunk = loop {
                    match list.allocate(|chunk| &sender.states[usize::from(chunk)]) {
                        Some(chunk) => break chunk,
                        None => loom::thread::yield_now(),
                    }
                };
                // SAFETY: loom checks that nobody reads it now.
                sender.bytes[usize::from(chunk)].with_mut(|bytes| unsafe { *bytes = number });
                sender.told[number as usize].store(u32::from(chunk) + 1, Release);
            }
        });
        for number in 0..3 {
            let chunk = loop {
                match shared.told[number].load(Acquire) {
                    0 => loom::thread::yield_now(),
                    told => break told as usize - 1,
                }
            };
            // SAFETY: loom checks that nobody writes it now.
            let found = shared.bytes[chunk].with(|bytes| unsafe { *bytes });
            assert_eq!(found, number as u32);
            give_back(&shared.states[chunk]);
        }
        thread.join().unwrap();
    });
}

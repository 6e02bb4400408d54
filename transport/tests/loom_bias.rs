// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The biased lock under loom: its owner, one that comes and goes (the progress thread), and one
//! that ends the bias for good never meet inside, and each sees what was done before. Run with
//! RUSTFLAGS="--cfg loom"; empty otherwise.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Arc, Mutex};
use strait_transport::sync::bias::{Bias, NOBODY};
use strait_transport::sync::full_fence;

const OWNER: u64 = 1;

struct Lock {
    bias: Bias<AtomicU64, AtomicU32>,
    mutex: Mutex<()>,
    /// What it guards.
    value: UnsafeCell<u32>,
}

impl Lock {
    fn new() -> Arc<Lock> {
        let (inside, refused) = (AtomicU32::new(0), AtomicU32::new(0));
        let bias = Bias { owner: AtomicU64::new(OWNER), inside, refused };
        Arc::new(Lock { bias, mutex: Mutex::new(()), value: UnsafeCell::new(0) })
    }

    fn add(&self) {
        // SAFETY: the caller holds the lock; loom checks that nobody else is here.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }

    fn refuse(&self) {
        self.bias.refuse(full_fence, loom::thread::yield_now);
    }

    /// As the owner: by its bias, or by the mutex. Whether by the former.
    fn as_owner(&self) -> bool {
        if self.bias.enter(OWNER, full_fence) {
            self.add();
            self.bias.leave();
            return true;
        }
        let _held = self.mutex.lock().unwrap();
        self.add();
        false
    }

    /// As who comes and goes.
    fn briefly(&self) {
        let _held = self.mutex.lock().unwrap();
        if self.bias.owner() != NOBODY {
            self.refuse();
        }
        self.add();
        if self.bias.owner() != NOBODY {
            self.bias.admit();
        }
    }

    /// As another thread of the program.
    fn for_good(&self) {
        let _held = self.mutex.lock().unwrap();
        if self.bias.owner() != NOBODY {
            self.refuse();
            self.bias.end();
        }
        self.add();
    }
}

fn model(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

#[test]
fn the_owner_and_who_comes_and_goes_never_meet() {
    model(3, || {
        let lock = Lock::new();
        let other = Arc::clone(&lock);
        let visitor = loom::thread::spawn(move || (0..2).for_each(|_| other.briefly()));
        (0..2).for_each(|_| drop(lock.as_owner()));
        visitor.join().unwrap();
        assert!(lock.as_owner(), "the owner has its bias again");
        // SAFETY: all others have ended.
        lock.value.with(|value| assert_eq!(unsafe { *value }, 5));
    });
}

#[test]
fn the_bias_ends_beside_a_visit() {
    model(2, || {
        let lock = Lock::new();
        let (first, second) = (Arc::clone(&lock), Arc::clone(&lock));
        let visitor = loom::thread::spawn(move || first.briefly());
        let stranger = loom::thread::spawn(move || second.for_good());
        (0..2).for_each(|_| drop(lock.as_owner()));
        visitor.join().unwrap();
        stranger.join().unwrap();
        assert!(!lock.as_owner(), "no thread has a bias any more");
        // SAFETY: all others have ended.
        lock.value.with(|value| assert_eq!(unsafe { *value }, 5));
    });
}

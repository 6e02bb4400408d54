// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shared transfers under loom: whatever the order of receiver and sender, every unit is copied
//! once, what both copied is seen by the side that counts the last unit, and a sender that comes
//! late finds nothing to take in the next use of the cell. Run with RUSTFLAGS="--cfg loom"; empty
//! otherwise.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use strait_transport::protocol::share::{
    End, Greed, accept, finish, give_back, offer_word, offered_word, open, take, withdraw,
};

/// Units of a transfer: with pieces of at least 16 units, three pieces.
const TOTAL: u64 = 40;

/// A cell, and for each unit the use of the cell that it was last copied in.
struct Shared {
    claim: AtomicU64,
    done: AtomicU64,
    /// Changes with each use, like the address in a real cell.
    stamp: AtomicU64,
    copied: Vec<UnsafeCell<u64>>,
}

// SAFETY: a unit is only touched by who took it, and by who ended the transfer; loom checks that.
unsafe impl Sync for Shared {}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared {
            claim: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            copied: (0..TOTAL).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    fn open(&self, generation: u16) {
        self.stamp.store(u64::from(generation), Relaxed);
        open(&self.claim, &self.done, generation);
    }

    /// Copies what can be taken; whether the last unit was counted here.
    fn copy(&self, generation: u16, end: End, refuses: bool) -> bool {
        let mut refuses = refuses;
        while let Some(units) = take(&self.claim, generation, TOTAL, end, Greed::Part) {
            let count = units.end - units.start;
            if std::mem::take(&mut refuses) {
                give_back(&self.claim, count, end);
                return false;
            }
            assert_eq!(self.stamp.load(Relaxed), u64::from(generation), "the cell is still ours");
            for unit in units {
                self.copied[unit as usize].with_mut(|copied| {
                    // SAFETY: the unit was taken by this thread alone.
                    unsafe { *copied += 1 };
                });
            }
            if finish(&self.done, count, TOTAL) {
                return true;
            }
        }
        false
    }

    fn check(&self, copies: u64) {
        for unit in &self.copied {
            // SAFETY: the transfer is over, and the caller is who ended it or was told.
            unit.with(|copied| assert_eq!(unsafe { *copied }, copies));
        }
    }
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn every_unit_once_and_seen_by_who_ends() {
    explore(|| {
        let shared = Shared::new();
        shared.open(1);
        let other = Arc::clone(&shared);
        let sender = loom::thread::spawn(move || {
            let last = other.copy(1, End::Back, false);
            if last {
                other.check(1);
            }
            last
        });
        let last = shared.copy(1, End::Front, false);
        if last {
            shared.check(1);
        }
        assert!(sender.join().unwrap() != last, "exactly one side ends it");
    });
}

#[test]
fn a_late_sender_takes_nothing_of_the_next_use() {
    explore(|| {
        let shared = Shared::new();
        shared.open(1);
        let other = Arc::clone(&shared);
        let sender = loom::thread::spawn(move || other.copy(1, End::Back, false));
        if shared.copy(1, End::Front, false) {
            // We ended it, so the cell is ours again.
            shared.open(2);
            assert!(shared.copy(2, End::Front, false), "nobody else takes in the second use");
            assert!(!sender.join().unwrap());
            shared.check(2);
        } else {
            assert!(sender.join().unwrap());
            shared.check(1);
        }
    });
}

#[test]
fn a_refused_piece_goes_to_the_other_side() {
    explore(|| {
        let shared = Shared::new();
        shared.open(1);
        let other = Arc::clone(&shared);
        let sender = loom::thread::spawn(move || other.copy(1, End::Back, true));
        let mut last = shared.copy(1, End::Front, false);
        assert!(!sender.join().unwrap());
        // The sender's word that it is done comes as a message: the receiver looks again.
        last |= !last && shared.copy(1, End::Front, false);
        assert!(last);
        shared.check(1);
    });
}

/// An offer is accepted by the sender or withdrawn by the receiver, never both; who accepted sees
/// what was offered, and what it wrote is seen by a receiver that comes back.
#[test]
fn an_offer_ends_once() {
    explore(|| {
        let shared = Shared::new();
        shared.stamp.store(1, Relaxed);
        let word = offer_word(&shared.claim, &shared.done, 1, 1);
        let other = Arc::clone(&shared);
        let sender = loom::thread::spawn(move || {
            let Some(word) = offered_word(&other.claim) else { return (false, false) };
            let Some(generation) = accept(&other.claim, word) else { return (false, false) };
            let last = other.copy(generation, End::Back, false);
            if last {
                other.check(1);
            }
            (true, last)
        });
        if withdraw(&shared.claim, word) {
            // The cell is ours: another use, which the sender must not touch.
            shared.open(2);
            assert!(shared.copy(2, End::Front, false));
            assert_eq!(sender.join().unwrap(), (false, false));
            shared.check(1);
        } else {
            let last = shared.copy(1, End::Front, false);
            if last {
                shared.check(1);
            }
            let (accepted, other_last) = sender.join().unwrap();
            assert!(accepted && last != other_last);
        }
    });
}

/// A sender that looked at one offer does not accept the next one in the same cell.
#[test]
fn an_old_look_accepts_nothing() {
    explore(|| {
        let shared = Shared::new();
        shared.stamp.store(1, Relaxed);
        let first = offer_word(&shared.claim, &shared.done, 1, 1);
        let other = Arc::clone(&shared);
        let sender = loom::thread::spawn(move || {
            let word = offered_word(&other.claim)?;
            let stamp = other.stamp.load(Relaxed);
            accept(&other.claim, word).map(|generation| (stamp, generation))
        });
        let second = withdraw(&shared.claim, first).then(|| {
            shared.stamp.store(2, Relaxed);
            offer_word(&shared.claim, &shared.done, 2, 2)
        });
        match (sender.join().unwrap(), second) {
            (None, second) => assert!(second.is_none_or(|word| withdraw(&shared.claim, word))),
            (Some(seen), None) => assert_eq!(seen, (1, 1)),
            (Some(seen), Some(word)) => {
                assert_eq!(seen, (2, 2));
                assert!(!withdraw(&shared.claim, word));
            }
        }
    });
}

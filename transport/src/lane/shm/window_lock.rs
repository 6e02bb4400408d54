// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Locks of one-sided communication in memory that the ranks of a host share.
//!
//! A word is free (0), held by so many sharers, or held by one alone. There is no queue: who waits
//! tries again, and sleeps with its bell armed after a while.
//!
//! ```text
//! holder                                  waiter
//! 1. let the word go (Release)            1. say that it sleeps
//! 2. full fence                           2. heavy fence of the bell
//! 3. does anybody sleep?                  3. try once more
//! 4. ring those who sleep                 4. in vain: sleep while the bell is still armed
//! ```
//!
//! Invariant: at least one of the two looks (3) sees the other's store (1).
//!
//! Not here: the bell (bell.rs), and what to do when a holder dies (the waiter looks at its peers).
#![forbid(unsafe_code)]

use crate::sync::{Word, full_fence};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Held by one alone. Numbers below it count sharers.
pub const ALONE: u32 = 1 << 31;

/// Takes the lock if it can be had now.
#[inline]
pub fn try_lock(word: &impl Word<u32>, alone: bool) -> bool {
    loop {
        let held = word.load(Relaxed);
        let new = match alone {
            true if held == 0 => ALONE,
            false if held & ALONE == 0 => held + 1,
            _ => return false,
        };
        // SYNC(window.lock): sees what the last holder stored; pairs with the release in `unlock`.
        if word.replace_weak(held, new, Acquire) {
            return true;
        }
    }
}

/// Lets the lock go. The caller looks for sleepers afterwards.
#[inline]
pub fn unlock(word: &impl Word<u32>, alone: bool) {
    // SYNC(window.lock): what the holder stored; pairs with the acquire in `try_lock`. A sharer
    // also keeps the chain from earlier ones to the next holder.
    match alone {
        true => word.store(0, Release),
        false => {
            // SYNC(window.lock): as above.
            word.add(u32::MAX, AcqRel);
        }
    }
}

/// After [`unlock`]: whether somebody sleeps who may wait for it.
#[inline]
pub fn somebody_sleeps(asleep: &impl Word<u32>) -> bool {
    // SYNC(window.sleep): the word let go before the look for sleepers; a waiter's side is
    // `fall_asleep` and the heavy fence of the bell before its last try.
    full_fence();
    asleep.load(Relaxed) != 0
}

/// Says that a waiter of a process is about to sleep, before its bell is armed. `own` counts the
/// waiters of the process, `asleep` those of all.
pub fn fall_asleep(asleep: &impl Word<u32>, own: &impl Word<u32>) {
    own.add(1, Relaxed);
    asleep.add(1, Relaxed);
    // SYNC(window.sleep): the heavy fence of the bell comes next; pairs with `somebody_sleeps`.
}

/// The waiter is awake again.
pub fn wake_up(asleep: &impl Word<u32>, own: &impl Word<u32>) {
    own.add(u32::MAX, Relaxed);
    asleep.add(u32::MAX, Relaxed);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn sharers_keep_out_who_wants_it_alone_and_the_other_way_round() {
        let word = AtomicU32::new(0);
        assert!(try_lock(&word, false) && try_lock(&word, false) && !try_lock(&word, true));
        unlock(&word, false);
        assert!(!try_lock(&word, true));
        unlock(&word, false);
        assert!(try_lock(&word, true) && !try_lock(&word, false) && !try_lock(&word, true));
        unlock(&word, true);
        assert_eq!(word.load(Relaxed), 0);
    }

    #[test]
    fn sleepers_are_counted() {
        let (asleep, own) = (AtomicU32::new(0), AtomicU32::new(0));
        assert!(!somebody_sleeps(&asleep));
        fall_asleep(&asleep, &own);
        assert!(somebody_sleeps(&asleep));
        assert_eq!(own.load(Relaxed), 1);
        wake_up(&asleep, &own);
        assert!(!somebody_sleeps(&asleep));
    }
}

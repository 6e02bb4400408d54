// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of a lock that costs its usual owner nothing: a word for who that is, and two flags by
//! which others keep it out. The lock around it, with the mutex for all others, is the binding's.
//!
//! ```text
//! owner                          another, holding the mutex
//! 1. inside = 1                  1. refused = 1
//! 2. light fence                 2. heavy fence
//! 3. refused? then out again     3. waits until inside is 0
//! ```
//!
//! Invariants:
//! 1. At least one of the two looks (3) sees the other's store (1). So the owner is inside by its
//!    bias, or another has kept it out, never both.
//! 2. `refused` changes only under the mutex. Who lets the owner in again has done before all that
//!    it came for.
//!
//! The heavy fence is a membarrier over the threads of the process, which loom cannot model: its
//! models make full fences on both sides.

use super::Word;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// No thread has the bias.
pub const NOBODY: u64 = u64::MAX;

/// The words.
pub struct Bias<O, F> {
    /// Whose it is: a number of a thread, or [`NOBODY`].
    pub owner: O,
    /// 1: the owner is inside, or about to look whether it may be.
    pub inside: F,
    /// 1: it may not.
    pub refused: F,
}

impl<O: Word<u64>, F: Word<u32>> Bias<O, F> {
    /// Whether this thread, being the owner, is inside now. Then [`Bias::leave`] ends that.
    /// `fence`: light.
    #[inline(always)]
    pub fn enter(&self, thread: u64, fence: impl FnOnce()) -> bool {
        if self.owner.load(Relaxed) != thread {
            return false;
        }
        self.inside.store(1, Relaxed);
        // SYNC(bias.inside): before the look at `refused`; pairs with `refuse`.
        fence();
        // SYNC(bias.refused): sees what was done by who let the owner in again.
        if self.refused.load(Acquire) == 0 {
            return true;
        }
        self.leave();
        false
    }

    /// The owner leaves.
    #[inline(always)]
    pub fn leave(&self) {
        // SYNC(bias.inside): what the owner did is seen by who waits for this in `refuse`.
        self.inside.store(0, Release);
    }

    /// With the mutex held: keeps the owner out, and waits until it is. `fence`: heavy.
    pub fn refuse(&self, fence: impl FnOnce(), wait: impl Fn()) {
        self.refused.store(1, Relaxed);
        // SYNC(bias.inside): the refusal before the look at `inside`; pairs with `enter`.
        fence();
        // SYNC(bias.inside): sees what the owner did inside.
        while self.inside.load(Acquire) != 0 {
            wait();
        }
    }

    /// With the mutex held, at the end of what was done with it: the owner may enter again.
    pub fn admit(&self) {
        // SYNC(bias.refused): the owner sees what was done meanwhile.
        self.refused.store(0, Release);
    }

    /// With the mutex held, and the owner kept out: nobody has the bias any more.
    pub fn end(&self) {
        self.owner.store(NOBODY, Relaxed);
    }

    /// Who has the bias.
    pub fn owner(&self) -> u64 {
        self.owner.load(Relaxed)
    }
}

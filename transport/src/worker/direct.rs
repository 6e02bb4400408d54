// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A blocking receive of a short message, straight from the ring to the user's buffer.
//!
//! Invariants:
//! 1. A message is taken here only if matching would have given it to this receive: nothing is
//!    posted, nothing waits unreceived, and the ring keeps the order of its sender.
//! 2. Nobody starves: one in [`DIRECT_RUN`] receives goes the general way, which polls everything.

use super::{Received, Worker};
use crate::envelope::{Pattern, Peer};

/// Looks for a message that is not there yet: some microseconds.
const DIRECT_LOOKS: u32 = 64;
/// One of so many receives looks at everything.
const DIRECT_RUN: u32 = 32;

impl Worker {
    /// Receives a message without a request, if it is that simple: the next one of a peer of this
    /// host is plain and is the one that is wanted, and nothing else waits here. Where a core is
    /// ours to spin on, it may come a little later. `None`: nothing was done, post a receive.
    ///
    /// The order of matching holds: with no message unreceived and no receive posted, the next
    /// message of that peer is the earliest one that the pattern, which names it, accepts.
    ///
    /// # Safety
    /// `base` is writable for `room` bytes.
    #[inline(always)]
    pub unsafe fn receive_now(
        &mut self,
        from: Peer,
        wanted: Pattern,
        (base, room): (*mut u8, usize),
    ) -> Option<Received> {
        let core = &mut self.core;
        let calm = core.matching.is_idle()
            && core.actions.is_empty()
            && core.active.is_empty()
            && core.sharing.is_empty()
            && core.opened.is_empty()
            && self.lanes.has_shm();
        if !calm {
            return None;
        }
        // Other peers are not looked at here: the general way is taken now and then.
        self.direct_left = self.direct_left.wrapping_sub(1);
        if self.direct_left.is_multiple_of(DIRECT_RUN) {
            return None;
        }
        let looks = if crate::wait::may_spin() { DIRECT_LOOKS } else { 0 };
        // SAFETY: the caller's promise.
        let (tag, bytes) = unsafe { self.lanes.take_plain(from, wanted, (base, room), looks)? };
        core.consumed(from.0, bytes as u64);
        if !core.actions.is_empty() {
            self.run_actions();
        }
        Some(Received { source: wanted.source, tag, bytes })
    }
}

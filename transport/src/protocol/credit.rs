// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Flow control: how many eager bytes a sender may have at a receiver, unreceived.
//!
//! The sum. A rank lets others park at most [`UNEXPECTED_BYTES`] of payload with it. Each of the
//! `size` peers (itself included) starts with an equal part of that, at least [`GRANT_MIN`] and at
//! most [`GRANT_MAX`], so that all of them together hold
//!
//! ```text
//! size * grant(size) <= max(UNEXPECTED_BYTES, size * GRANT_MIN)
//! ```
//!
//! bytes here: 64 MiB up to 16384 ranks. An eager message costs its buffer's class plus
//! [`ENTRY_BYTES`] for the entry in the unexpected queue (short ones as much as one of 16 or of 96
//! bytes), so the sum counts real bytes, and some that are not there.
//! The cost comes back when the message is received, in batches of half a grant: a sender without
//! messages in flight has at least half a grant, and [`eager_bytes_max`] keeps the dearest eager
//! message below that, so nobody is stuck in rendezvous for ever.
//!
//! A sender without credit announces (RTS, 64 bytes here, payload there) and control messages need
//! none, so credit never blocks anything.
#![forbid(unsafe_code)]

use crate::memory::pool;

/// Payload that others may park at one rank, unreceived.
pub const UNEXPECTED_BYTES: usize = 64 << 20;
/// The least a peer is granted: a few dozen small messages.
pub const GRANT_MIN: usize = 4 << 10;
/// The most a peer is granted: four eager messages of the largest size. Over TCP eager pays up to
/// 256 KiB, since the round trip of an announcement is 10 to 16 us there.
pub const GRANT_MAX: usize = 2 << 20;
/// What each process of another job may park here, and this one there: the same whatever the sizes
/// of both jobs, since both sides must know it.
pub const GRANT_OUTSIDE: usize = 512 << 10;
/// Bytes of an entry in the unexpected queue.
pub const ENTRY_BYTES: usize = 64;
/// Bytes of the record that keeps a parked body.
pub const RECORD_BYTES: usize = 48;

/// What each peer of a job of `size` may park at one rank.
pub const fn grant(size: usize) -> usize {
    let part = UNEXPECTED_BYTES / if size == 0 { 1 } else { size };
    if part < GRANT_MIN {
        GRANT_MIN
    } else if part > GRANT_MAX {
        GRANT_MAX
    } else {
        part
    }
}

/// What an eager message of `bytes` costs while it is not received.
#[inline(always)]
pub const fn cost(bytes: usize) -> usize {
    // The small ones are numbers: the sum is asked for at both ends of every short message.
    if bytes <= 16 {
        ENTRY_BYTES + pool::class_bytes(RECORD_BYTES + 16)
    } else if bytes <= 96 {
        ENTRY_BYTES + pool::class_bytes(RECORD_BYTES + 96)
    } else {
        ENTRY_BYTES + pool::class_bytes(RECORD_BYTES + bytes)
    }
}

/// The largest eager message under a grant: four of them fit.
pub const fn eager_bytes_max(grant: usize) -> usize {
    // A class is at most a quarter larger than its content.
    (grant / 4 - ENTRY_BYTES) * 4 / 5 - RECORD_BYTES
}

/// The credit of one pair: ours with the peer, and what we owe it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credit {
    /// Eager bytes we may still send.
    available: u32,
    /// Bytes that were received here and not yet granted again.
    owed: u32,
    /// The grant.
    grant: u32,
    /// What was granted again, and announcements that were sent: with the credit in use, how far
    /// we are with this peer. Wraps.
    sent_base: u32,
    /// The same of what came from it.
    taken_base: u32,
}

impl Credit {
    /// Full credit.
    pub fn new(grant: usize) -> Credit {
        let grant = grant.min(GRANT_MAX) as u32;
        Credit { available: grant, owed: 0, grant, sent_base: 0, taken_base: 0 }
    }

    /// What each side may park at the other.
    pub fn grant(&self) -> usize {
        self.grant as usize
    }

    /// Takes the cost of a message, or answers that it is too much.
    #[inline]
    pub fn spend(&mut self, cost: usize) -> bool {
        let enough = cost <= self.available as usize;
        if enough {
            self.available -= cost as u32;
        }
        enough
    }

    /// Whether a message of this cost may be sent.
    #[inline]
    pub fn covers(&self, cost: usize) -> bool {
        cost <= self.available as usize
    }

    /// The peer granted more. `false` if it granted more than there can be: it is mad.
    pub fn granted(&mut self, bytes: u64) -> bool {
        let sum = u64::from(self.available).saturating_add(bytes);
        let sound = sum <= u64::from(self.grant);
        self.sent_base = self.sent_base.wrapping_add(bytes as u32);
        self.available = sum.min(u64::from(self.grant)) as u32;
        sound
    }

    /// A message of the peer was received. The bytes to grant now, if it is time.
    #[inline]
    pub fn consumed(&mut self, cost: usize) -> Option<u64> {
        self.owed = self.owed.saturating_add(cost.min(u32::MAX as usize) as u32);
        if self.owed < self.grant / 2 {
            return None;
        }
        self.taken_base = self.taken_base.wrapping_add(self.owed);
        Some(u64::from(std::mem::take(&mut self.owed)))
    }

    /// An announcement has left: it costs no credit, and is counted.
    pub fn announced(&mut self) {
        self.sent_base = self.sent_base.wrapping_add(1);
    }

    /// An announcement of the peer has arrived.
    pub fn announcement_came(&mut self) {
        self.taken_base = self.taken_base.wrapping_add(1);
    }

    /// How far we are with sending: the cost of all eager messages plus the number of
    /// announcements that left so far. Costs nothing to keep; wraps.
    pub fn position_sent(&self) -> u32 {
        (self.grant - self.available).wrapping_add(self.sent_base)
    }

    /// How far we are with taking: the same of what was received (eager) and has arrived
    /// (announced). Never beyond the sender's position, so if the two are equal, each message that
    /// was sent has been matched, or is an announcement that waits here for its receive.
    pub fn position_taken(&self) -> u32 {
        self.owed.wrapping_add(self.taken_base)
    }

    /// Eager bytes we may still send.
    pub fn available(&self) -> usize {
        self.available as usize
    }

    /// Received and not yet granted again.
    pub fn owed(&self) -> usize {
        self.owed as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_holds() {
        for size in [1, 2, 3, 128, 170, 171, 255, 256, 257, 1000, 16384] {
            assert!(size * grant(size) <= UNEXPECTED_BYTES, "{size}");
        }
        assert_eq!(grant(1_000_000), GRANT_MIN);
    }

    #[test]
    fn four_largest_eager_messages_fit() {
        for size in [1, 128, 300, 5000, 1_000_000] {
            let bytes = eager_bytes_max(grant(size));
            assert!(bytes >= 512, "{size}: {bytes}");
            assert!(cost(bytes) * 4 <= grant(size), "{size}: {bytes} costs {}", cost(bytes));
        }
    }

    #[test]
    fn what_is_consumed_comes_back() {
        let (mut sender, mut receiver) = (Credit::new(grant(4)), Credit::new(grant(4)));
        for _ in 0..10_000 {
            assert!(sender.spend(cost(100)));
            if let Some(bytes) = receiver.consumed(cost(100)) {
                assert!(sender.granted(bytes));
            }
        }
        assert_eq!(sender.available() + receiver.owed(), grant(4));
        assert_eq!(sender.position_sent(), receiver.position_taken());
        assert!(sender.spend(cost(100)));
        assert_ne!(sender.position_sent(), receiver.position_taken());
        sender.announced();
        assert_eq!(receiver.consumed(cost(100)), None);
        assert_ne!(sender.position_sent(), receiver.position_taken());
        receiver.announcement_came();
        assert_eq!(sender.position_sent(), receiver.position_taken());
        assert!(!sender.granted(1 << 40));
    }
}

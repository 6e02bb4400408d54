// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Connections that brought bytes a moment ago. They are read at each poll without asking the
//! kernel first which sockets are ready: a system call less for each message of a dialogue.
//!
//! Invariants:
//! 1. The others are not forgotten: every [`POLLS_PER_LOOK`] polls the kernel is asked.
//! 2. Whoever is about to sleep clears the set, so that the first poll afterwards asks, too.
//!
//! Not here: reading (progress.rs).
#![forbid(unsafe_code)]

use super::connections::ConnectionId;

/// More connections than this are cheaper to ask for at once.
const HOT_MAX: usize = 2;
/// Polls in vain after which a connection is no longer hot: about 100 us.
const MISSES_MAX: u32 = 256;
/// Polls between two looks at all connections: a message there waits 6 us at most.
const POLLS_PER_LOOK: u32 = 16;

/// The set.
#[derive(Default)]
pub struct Hot {
    /// Each with the polls since it brought something.
    entries: [Option<(ConnectionId, u32)>; HOT_MAX],
    due: u32,
}

impl Hot {
    /// The connection brought bytes.
    #[inline]
    pub fn warm(&mut self, id: ConnectionId) {
        let same = |entry: &&mut Option<(ConnectionId, u32)>| entry.is_some_and(|(e, _)| e == id);
        if let Some(entry) = self.entries.iter_mut().find(same) {
            *entry = Some((id, 0));
        } else if let Some(free) = self.entries.iter_mut().find(|entry| entry.is_none()) {
            *free = Some((id, 0));
        }
    }

    /// The hot connection at this place of the set; each time it is asked for counts as one in vain
    /// until [`Hot::warm`] says otherwise.
    #[inline]
    pub fn at(&mut self, place: usize) -> Option<ConnectionId> {
        let entry = &mut self.entries[place];
        let (id, misses) = (*entry)?;
        *entry = (misses < MISSES_MAX).then_some((id, misses + 1));
        Some(id)
    }

    /// The places of the set.
    pub fn places(&self) -> std::ops::Range<usize> {
        0..HOT_MAX
    }

    /// Whether this poll asks the kernel.
    #[inline]
    pub fn is_look_due(&mut self) -> bool {
        if self.due == 0 || self.entries.iter().all(Option::is_none) {
            self.due = POLLS_PER_LOOK;
            return true;
        }
        self.due -= 1;
        false
    }

    /// No connection is hot.
    pub fn clear(&mut self) {
        *self = Hot::default();
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the worker knows of peers to those who reach them without messages: who shares this host's
//! memory, who is lost, and reads and writes of a peer's memory where they are permitted.

use super::Worker;
use crate::envelope::Peer;
use crate::error::{Error, Result};
use crate::lane::any::LaneKind;
use crate::lane::{Get, RemoteRange};

impl Worker {
    /// Whether a peer is another process of this host, reached by shared memory.
    pub fn shares_memory_with(&self, peer: Peer) -> bool {
        self.core.endpoints.get(peer.0 as usize).is_some_and(|e| e.lane == LaneKind::Shm)
    }

    /// The first of these peers that is lost, with the reason.
    #[inline]
    pub fn loss_among(&self, peers: impl IntoIterator<Item = Peer>) -> Option<Error> {
        if self.core.loss_count == 0 {
            return None;
        }
        peers.into_iter().find_map(|peer| self.core.loss_of(peer.0))
    }

    /// A buffer is used for long transfers: one that is used again and again may get huge pages.
    pub fn note_use(&mut self, base: *const u8, bytes: usize) {
        if self.lanes.has_shm() {
            self.lanes.used(LaneKind::Shm, base, bytes);
        }
    }

    /// Whether reads of a peer's memory work; tried, not guessed.
    pub fn can_read(&mut self, peer: Peer) -> bool {
        let lane = self.core.endpoints[peer.0 as usize].lane;
        self.lanes.capabilities(lane, peer).get
    }

    /// Reads a peer's memory.
    ///
    /// # Errors
    /// The peer is gone, or the kernel refuses what it permitted before.
    ///
    /// # Safety
    /// `into` has so many writable bytes that nobody else uses.
    pub unsafe fn read_memory(
        &mut self,
        peer: Peer,
        address: u64,
        bytes: usize,
        into: *mut u8,
    ) -> Result<()> {
        let lane = self.core.endpoints[peer.0 as usize].lane;
        let range = RemoteRange { address, bytes, key: 0 };
        // SAFETY: the caller's promise.
        settled(unsafe { self.lanes.get(lane, peer, range, into, 0) })
    }

    /// Writes a peer's memory.
    ///
    /// # Errors
    /// As [`Worker::read_memory`].
    ///
    /// # Safety
    /// `from` has so many readable bytes, and the peer lent us the range.
    pub unsafe fn write_memory(
        &mut self,
        peer: Peer,
        address: u64,
        bytes: usize,
        from: *const u8,
    ) -> Result<()> {
        let lane = self.core.endpoints[peer.0 as usize].lane;
        let range = RemoteRange { address, bytes, key: 0 };
        // SAFETY: the caller's promise.
        settled(unsafe { self.lanes.put(lane, peer, from, range) })
    }
}

fn settled(got: Get) -> Result<()> {
    match got {
        Get::Done => Ok(()),
        Get::Lost(error) => Err(error),
        Get::Refused | Get::Begun => {
            Err(Error::system("the kernel refuses what it permitted before", libc::EPERM))
        }
    }
}

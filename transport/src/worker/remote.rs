// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of peers that is accessed without them, where their lane can do that
//! (lane/remote.rs).

use super::{Core, Worker};
use crate::envelope::{Envelope, Peer};
use crate::error::{Error, Kind};
use crate::lane::Get;
use crate::lane::remote::{Access, Exposed, RemoteMemory, Way};
use crate::payload::Payload;
use crate::request::{Outcome, RequestId, Stage};

/// What is said of an access that the library refuses: the caller may do it in another way.
const REFUSED: &str = "the network refuses the access";

impl Worker {
    fn remote(&mut self, peer: Peer) -> Option<&mut dyn RemoteMemory> {
        let lane = self.core.endpoints[peer.0 as usize].lane;
        self.lanes.remote(lane)
    }

    /// From so many bytes on an access to memory of this peer is better than a message; `None`: its
    /// lane has no such thing.
    pub fn access_bytes_min(&mut self, peer: Peer) -> Option<usize> {
        let least = self.remote(peer)?.access_bytes_min()?;
        Some(self.access_bytes.unwrap_or(least))
    }

    /// Lets peers access memory of ours, by the lane of this one; `None`: that is not possible.
    ///
    /// # Safety
    /// The memory stays until [`Worker::conceal`], and may be read and written meanwhile.
    pub unsafe fn expose(&mut self, to: Peer, base: *mut u8, bytes: usize) -> Option<Exposed> {
        // SAFETY: the caller's promise.
        unsafe { self.remote(to)?.expose(base, bytes) }
    }

    /// Ends that. All peers have ended their accesses before.
    pub fn conceal(&mut self, to: Peer, number: u64) {
        if let Some(remote) = self.remote(to) {
            remote.conceal(number);
        }
    }

    /// Enters memory that a peer exposes under this name; its number for accesses.
    pub fn enter_memory(&mut self, peer: Peer, name: &[u8]) -> Option<u64> {
        self.remote(peer)?.enter_memory(peer, name)
    }

    /// It is not accessed any more.
    pub fn leave_memory(&mut self, peer: Peer, number: u64) {
        if let Some(remote) = self.remote(peer) {
            remote.leave_memory(number);
        }
    }

    /// Begins an access to memory of a peer. It ends as done (of a read the bytes are here, of a
    /// write the memory here is free), or as failed: the peer is lost, or
    /// [`Worker::was_refused`].
    ///
    /// # Safety
    /// As [`RemoteMemory::access`].
    pub unsafe fn access(&mut self, peer: Peer, access: Access) -> RequestId {
        let id = self.core.begin_access(peer);
        let token = id.token();
        let end = match self.remote(peer) {
            // SAFETY: the caller's promise.
            Some(remote) => unsafe { remote.access(peer, access, token) },
            None => Get::Refused,
        };
        match access.way {
            Way::Write => self.core.counters.remote_writes += 1,
            Way::Read => self.core.counters.remote_reads += 1,
        }
        self.core.access_began(id, end);
        id
    }

    /// Begins to wait until all writes to a peer that were begun before are in its memory.
    pub fn confirm(&mut self, peer: Peer) -> RequestId {
        let id = self.core.begin_access(peer);
        let token = id.token();
        let end = self.remote(peer).map_or(Get::Refused, |remote| remote.confirm(peer, token));
        self.core.access_began(id, end);
        id
    }

    /// Whether an access ended so, and its peer is not lost.
    pub fn was_refused(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Failed(error)
            if matches!(&*error.0, Kind::Protocol(text) if text == REFUSED))
    }
}

impl Core {
    fn begin_access(&mut self, peer: Peer) -> RequestId {
        let envelope = Envelope { context: 0, source: peer.0, tag: 0 };
        self.requests.insert(peer.0, envelope, Payload::EMPTY, Stage::Accessing)
    }

    fn access_began(&mut self, id: RequestId, end: Get) {
        if !matches!(end, Get::Begun) {
            self.access_ended(id, end);
        }
    }

    /// An access or a confirmation is over.
    pub(super) fn access_ended(&mut self, id: RequestId, end: Get) {
        let Some(slot) = self.requests.get(id) else { return };
        let outcome = match end {
            Get::Done => Outcome::Done,
            Get::Lost(error) => Outcome::Failed(error),
            Get::Begun | Get::Refused => match self.loss_of(slot.peer) {
                Some(error) => Outcome::Failed(error),
                None => Outcome::Failed(Error::new(Kind::Protocol(REFUSED.into()))),
            },
        };
        self.requests.finish(id.index, outcome);
    }
}

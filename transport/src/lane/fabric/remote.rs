// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accesses to memory that peers have exposed. Whoever knows its name was told by its owner, so the
//! two have met: an address that is not there means that the peer is lost.

use super::FabricLane;
use super::port::Port;
use crate::envelope::Peer;
use crate::lane::Get;
use crate::lane::remote::{Access, Exposed, MEMORY_NAME_BYTES_MAX, RemoteMemory};

impl<P: Port> RemoteMemory for FabricLane<P> {
    fn access_bytes_min(&self) -> Option<usize> {
        self.port.facts().access_bytes_min
    }

    unsafe fn expose(&mut self, base: *mut u8, bytes: usize) -> Option<Exposed> {
        if bytes == 0 || self.access_bytes_min().is_none() {
            return None;
        }
        // SAFETY: the caller's promise.
        let exposed = unsafe { self.port.expose(base, bytes)? };
        if exposed.name.len() > MEMORY_NAME_BYTES_MAX {
            self.port.conceal(exposed.number);
            return None;
        }
        Some(exposed)
    }

    fn conceal(&mut self, number: u64) {
        self.port.conceal(number);
    }

    fn enter_memory(&mut self, peer: Peer, name: &[u8]) -> Option<u64> {
        let to = self.living(peer)?;
        self.port.enter_memory(peer, to, name)
    }

    fn leave_memory(&mut self, number: u64) {
        self.port.leave_memory(number);
    }

    unsafe fn access(&mut self, peer: Peer, access: Access, token: u64) -> Get {
        match self.living(peer) {
            // SAFETY: the caller's promise, until the inbox hears of the end.
            Some(to) => unsafe { self.port.access(peer, to, access, token) },
            None => Get::Refused,
        }
    }

    fn confirm(&mut self, peer: Peer, token: u64) -> Get {
        match self.living(peer) {
            Some(to) => self.port.confirm(peer, to, token),
            None => Get::Refused,
        }
    }
}

impl<P: Port> FabricLane<P> {
    /// The number of a peer that is not lost.
    fn living(&mut self, peer: Peer) -> Option<u64> {
        if self.core.state(peer.0).lost {
            return None;
        }
        self.look_up(peer)
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of windows: registered for peers here, and known by key and address there.
//!
//! Invariants:
//! 1. A registration lives from `expose` to `conceal`, or to the end of the port.
//! 2. A confirmation is answered once, when no write to its peer is under way, or it is lost.

use super::OfiPort;
use super::objects::Registration;
use super::sys;
use crate::envelope::Peer;
use crate::lane::Get;
use crate::lane::fabric::exposures::{Entered, Exposures};
use crate::lane::remote::{Access, Exposed, Way};

/// Key, address of the first byte, bytes: 64 bits each, little-endian.
const NAME_BYTES: usize = 24;

/// Registrations of ours, keys of peers.
pub(super) type Memories = Exposures<Registration, u64>;

impl OfiPort {
    /// # Safety
    /// As `RemoteMemory::expose`.
    pub(super) unsafe fn expose_memory(&mut self, base: *mut u8, bytes: usize) -> Option<Exposed> {
        if !self.objects.facts.writes || !self.objects.tells_of_delivery() {
            return None;
        }
        let access = sys::FI_REMOTE_READ | sys::FI_REMOTE_WRITE;
        // SAFETY: the caller's promise.
        let registration = unsafe { self.objects.register(base, bytes, access) }.ok()?;
        let is_virtual = self.objects.facts.memory_mode & sys::FI_MR_VIRT_ADDR != 0;
        let address = if is_virtual { base.expose_provenance() as u64 } else { 0 };
        let words = [registration.key(), address, bytes as u64];
        let name = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let number = self.transfers.memories.expose(registration);
        Some(Exposed { number, name })
    }

    pub(super) fn conceal_memory(&mut self, number: u64) {
        if let Some(registration) = self.transfers.memories.conceal(number) {
            self.objects.forget(registration);
        }
    }

    pub(super) fn enter_name(&mut self, name: &[u8]) -> Option<u64> {
        let name: &[u8; NAME_BYTES] = name.try_into().ok()?;
        let word = |at: usize| u64::from_le_bytes(name[at..at + 8].try_into().expect("eight"));
        let entered = Entered { key: word(0), address: word(8), bytes: word(16) };
        Some(self.transfers.memories.enter(entered))
    }

    pub(super) fn leave_name(&mut self, number: u64) {
        self.transfers.memories.leave(number);
    }

    /// # Safety
    /// As `RemoteMemory::access`.
    pub(super) unsafe fn begin_access(
        &mut self,
        peer: Peer,
        to: u64,
        access: Access,
        token: u64,
    ) -> Get {
        let Some(memory) = self.transfers.memories.entered(access.memory) else {
            return Get::Refused;
        };
        let Some(address) = memory.place(&access) else { return Get::Refused };
        let remote = (address, memory.key);
        let local = (access.local, access.bytes);
        // SAFETY: the caller's promise.
        unsafe { self.begin((peer, to, token), access.way, remote, local) }
    }

    pub(super) fn begin_confirmation(&mut self, peer: Peer, token: u64) -> Get {
        if !self.is_writing(peer) {
            return Get::Done;
        }
        self.transfers.confirming.push((peer, token));
        Get::Begun
    }

    /// The tokens of confirmations that have come true.
    pub(super) fn confirmed(&mut self, peer: Peer) -> Vec<u64> {
        if self.transfers.confirming.is_empty() || self.is_writing(peer) {
            return Vec::new();
        }
        self.transfers.end_confirmations(peer)
    }

    fn is_writing(&self, peer: Peer) -> bool {
        let mut accesses = self.transfers.accesses();
        accesses.any(|transfer| transfer.peer == peer && transfer.way == Way::Write)
    }
}

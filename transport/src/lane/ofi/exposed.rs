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
use crate::lane::remote::{Access, Exposed, Way};
use std::collections::HashMap;

/// Key, address of the first byte, bytes: 64 bits each, little-endian.
const NAME_BYTES: usize = 24;

/// Memory of a peer.
#[derive(Clone, Copy)]
struct Entered {
    key: u64,
    address: u64,
    bytes: u64,
}

/// Memory of windows, ours and that of peers, each by its number.
#[derive(Default)]
pub(super) struct Exposures {
    ours: HashMap<u64, Registration>,
    theirs: HashMap<u64, Entered>,
    next: u64,
    /// Who waits until all writes to a peer are done: tokens.
    confirming: Vec<(Peer, u64)>,
}

impl Exposures {
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Registration> {
        self.ours.drain().map(|(_, registration)| registration)
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The tokens of confirmations of a peer, which are over.
    pub(super) fn abandon(&mut self, peer: Peer) -> Vec<u64> {
        let of_peer = self.confirming.extract_if(.., |(whose, _)| *whose == peer);
        of_peer.map(|(_, token)| token).collect()
    }
}

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
        let number = self.transfers.exposures.next();
        self.transfers.exposures.ours.insert(number, registration);
        Some(Exposed { number, name })
    }

    pub(super) fn conceal_memory(&mut self, number: u64) {
        if let Some(registration) = self.transfers.exposures.ours.remove(&number) {
            self.objects.forget(registration);
        }
    }

    pub(super) fn enter_name(&mut self, name: &[u8]) -> Option<u64> {
        let name: &[u8; NAME_BYTES] = name.try_into().ok()?;
        let word = |at: usize| u64::from_le_bytes(name[at..at + 8].try_into().expect("eight"));
        let entered = Entered { key: word(0), address: word(8), bytes: word(16) };
        let number = self.transfers.exposures.next();
        self.transfers.exposures.theirs.insert(number, entered);
        Some(number)
    }

    pub(super) fn leave_name(&mut self, number: u64) {
        self.transfers.exposures.theirs.remove(&number);
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
        let Some(memory) = self.transfers.exposures.theirs.get(&access.memory) else {
            return Get::Refused;
        };
        let end = access.offset.checked_add(access.bytes as u64);
        if end.is_none_or(|end| end > memory.bytes) {
            return Get::Refused;
        }
        let remote = (memory.address.wrapping_add(access.offset), memory.key);
        let local = (access.local, access.bytes);
        // SAFETY: the caller's promise.
        unsafe { self.begin((peer, to, token), access.way, remote, local) }
    }

    pub(super) fn begin_confirmation(&mut self, peer: Peer, token: u64) -> Get {
        if !self.is_writing(peer) {
            return Get::Done;
        }
        self.transfers.exposures.confirming.push((peer, token));
        Get::Begun
    }

    /// The tokens of confirmations that have come true.
    pub(super) fn confirmed(&mut self, peer: Peer) -> Vec<u64> {
        if self.transfers.exposures.confirming.is_empty() || self.is_writing(peer) {
            return Vec::new();
        }
        self.transfers.exposures.abandon(peer)
    }

    fn is_writing(&self, peer: Peer) -> bool {
        let mut accesses = self.transfers.accesses();
        accesses.any(|transfer| transfer.peer == peer && transfer.way == Way::Write)
    }
}

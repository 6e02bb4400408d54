// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Accesses to memory of peers: the receiver of a long message reads the sender's, which the sender
//! has lent under a key; windows are read and written (exposed.rs has their memory).
//!
//! Invariants:
//! 1. A loan ends when the worker says so; a read that comes later is refused by the provider.
//! 2. A transfer is answered once: its completion, its failure, or the loss of the peer. In the
//!    last case its context stays taken until the completion has come as well.
//! 3. A write is complete when its bytes are in the peer's memory, not when they have left.
//!
//! The provider keeps its own cache of registrations where they are dear (it watches the allocator,
//! which we do not); here a registration lives as long as its loan or its transfer. Where the
//! memory here must be registered, short accesses go through a frame, which is.

use super::OfiPort;
use super::buffers::{GET_COUNT, Role, SEND_COUNT};
use super::exposed::Memories;
use super::objects::Registration;
use super::sys;
use crate::envelope::Peer;
use crate::lane::fabric::port::{Posted, Sink};
use crate::lane::remote::Way;
use crate::lane::{Get, Loan, RemoteRange};
use std::collections::{HashMap, VecDeque};
use std::ptr;

/// Loans at a time: beyond it messages are sent in fragments.
const LOANS_MAX: usize = 1024;
/// Most bytes of one post, whatever the provider says: others shall come to their turn.
const POST_BYTES_MAX: usize = 256 << 20;

/// What the memory here is for the provider.
#[derive(Debug)]
enum Local {
    /// As it is.
    Plain,
    /// Registered for this transfer.
    Registered(Registration),
    /// This frame stands for it.
    Staged(usize),
}

/// An access that was begun.
pub(super) struct Transfer {
    pub(super) peer: Peer,
    to: u64,
    pub(super) token: u64,
    pub(super) way: Way,
    /// What is left.
    address: u64,
    key: u64,
    local: *mut u8,
    bytes: usize,
    /// Bytes of the post that is under way.
    posted: usize,
    how: Local,
    /// The inbox has heard of its end.
    answered: bool,
}

/// What is under way besides receives.
pub(super) struct Transfers {
    /// By frame: to whom.
    pub(super) sends: Vec<u32>,
    /// Receive buffers that the provider had no room for.
    pub(super) unposted: Vec<usize>,
    begun: Vec<Option<Transfer>>,
    /// Transfers that are to be posted (again).
    to_post: VecDeque<usize>,
    /// Transfers that the provider refused; their ends are reported at the next poll.
    failed: Vec<usize>,
    /// Transfers for which all contexts were taken.
    queue: VecDeque<Transfer>,
    loans: HashMap<u64, (Registration, Loan)>,
    pub(super) memories: Memories,
    /// Who waits until all writes to a peer are done: tokens.
    pub(super) confirming: Vec<(Peer, u64)>,
}

impl Default for Transfers {
    fn default() -> Transfers {
        Transfers {
            sends: vec![0; SEND_COUNT],
            unposted: Vec::new(),
            begun: (0..GET_COUNT).map(|_| None).collect(),
            to_post: VecDeque::new(),
            failed: Vec::new(),
            queue: VecDeque::new(),
            loans: HashMap::new(),
            memories: Memories::default(),
            confirming: Vec::new(),
        }
    }
}

impl Transfers {
    /// Nothing waits to be posted.
    pub(super) fn is_idle(&self) -> bool {
        self.unposted.is_empty()
            && self.to_post.is_empty()
            && self.failed.is_empty()
            && self.queue.is_empty()
    }

    /// The tokens of confirmations of a peer, which are over.
    pub(super) fn end_confirmations(&mut self, peer: Peer) -> Vec<u64> {
        let of_peer = self.confirming.extract_if(.., |(whose, _)| *whose == peer);
        of_peer.map(|(_, token)| token).collect()
    }

    /// Accesses that are under way, or wait for it.
    pub(super) fn accesses(&self) -> impl Iterator<Item = &Transfer> {
        self.begun.iter().flatten().chain(&self.queue)
    }
}

impl Drop for OfiPort {
    fn drop(&mut self) {
        // Memory that is bound to the endpoint goes before it; else nothing may work on the memory
        // any more when it goes.
        if self.objects.facts.memory_mode & sys::FI_MR_ENDPOINT == 0 {
            self.objects.close_endpoint();
        }
        let Transfers { loans, begun, queue, memories, .. } = &mut self.transfers;
        let lent = loans.drain().map(|(_, (registration, _))| registration);
        let transfers = begun.drain(..).flatten().chain(queue.drain(..));
        let local = transfers.filter_map(|transfer| match transfer.how {
            Local::Registered(registration) => Some(registration),
            Local::Plain | Local::Staged(_) => None,
        });
        let all = lent.chain(local).chain(memories.take_ours());
        for registration in all.chain(self.buffers.take_registration()) {
            self.objects.forget(registration);
        }
    }
}

impl OfiPort {
    pub(super) fn register_loan(
        &mut self,
        token: u64,
        base: *const u8,
        bytes: usize,
    ) -> Option<Loan> {
        if let Some((_, loan)) = self.transfers.loans.get(&token) {
            return Some(*loan);
        }
        let facts = &self.objects.facts;
        if !facts.reads || bytes == 0 || self.transfers.loans.len() >= LOANS_MAX {
            return None;
        }
        let is_virtual = facts.memory_mode & sys::FI_MR_VIRT_ADDR != 0;
        // SAFETY: who posted the send keeps its memory until it ends, and the loan ends then.
        let made = unsafe { self.objects.register(base, bytes, sys::FI_REMOTE_READ) };
        let registration = made.ok()?;
        let Ok(key) = u32::try_from(registration.key()) else {
            // It would not fit the announcement.
            self.objects.forget(registration);
            return None;
        };
        let address = if is_virtual { base.expose_provenance() as u64 } else { 0 };
        let loan = Loan { range: RemoteRange { address, bytes, key }, must_end: true };
        self.transfers.loans.insert(token, (registration, loan));
        Some(loan)
    }

    pub(super) fn end_loan(&mut self, token: u64) {
        if let Some((registration, _)) = self.transfers.loans.remove(&token) {
            self.objects.forget(registration);
        }
    }

    /// Begins to move bytes between `local` and the peer's `address` under `key`.
    ///
    /// # Safety
    /// As `Lane::get` and `RemoteMemory::access`.
    pub(super) unsafe fn begin(
        &mut self,
        (peer, to, token): (Peer, u64, u64),
        way: Way,
        (address, key): (u64, u64),
        (local, bytes): (*mut u8, usize),
    ) -> Get {
        let facts = &self.objects.facts;
        let can = if way == Way::Read { facts.reads } else { facts.writes };
        if !can {
            return Get::Refused;
        }
        let mut how = Local::Plain;
        if facts.memory_mode & sys::FI_MR_LOCAL != 0 {
            // SAFETY: the caller's promise.
            match unsafe { self.known(way, local, bytes) } {
                Some(made) => how = made,
                None => return Get::Refused,
            }
        }
        let (posted, answered) = (0, false);
        let transfer =
            Transfer { peer, to, token, way, address, key, local, bytes, posted, how, answered };
        self.transfers.queue.push_back(transfer);
        self.post_transfers();
        Get::Begun
    }

    /// Makes memory of a transfer known to the provider.
    ///
    /// # Safety
    /// It stays until the transfer has ended.
    unsafe fn known(&mut self, way: Way, local: *mut u8, bytes: usize) -> Option<Local> {
        if bytes <= self.objects.facts.frame_bytes
            && let Some(number) = self.buffers.take_send()
        {
            if way == Way::Write {
                // SAFETY: readable, says the caller, and a frame of ours lies elsewhere.
                let from = unsafe { std::slice::from_raw_parts(local, bytes) };
                self.buffers.frame(number)[..bytes].copy_from_slice(from);
            }
            return Some(Local::Staged(number));
        }
        let access = if way == Way::Read { sys::FI_READ } else { sys::FI_WRITE };
        // SAFETY: the caller keeps the memory until the transfer has ended.
        unsafe { self.objects.register(local, bytes, access) }.ok().map(Local::Registered)
    }

    /// What had no room, and what failed when it was posted.
    pub(super) fn retry(&mut self, sink: &mut dyn Sink) {
        for number in std::mem::take(&mut self.transfers.unposted) {
            if let Err(error) = self.post_receive(number) {
                sink.broken(error.to_string());
            }
        }
        for number in std::mem::take(&mut self.transfers.failed) {
            self.end_transfer(sink, number, Get::Refused);
        }
        self.post_transfers();
    }

    /// Posts what can be posted now.
    fn post_transfers(&mut self) {
        while !self.transfers.queue.is_empty()
            && let Some(number) = self.transfers.begun.iter().position(Option::is_none)
        {
            self.transfers.begun[number] = self.transfers.queue.pop_front();
            self.transfers.to_post.push_back(number);
        }
        for _ in 0..self.transfers.to_post.len() {
            let Some(number) = self.transfers.to_post.pop_front() else { break };
            self.post_transfer(number);
        }
    }

    fn post_transfer(&mut self, number: usize) {
        let Some(transfer) = &self.transfers.begun[number] else { return };
        let (to, remote, way) = (transfer.to, (transfer.address, transfer.key), transfer.way);
        let bytes = transfer.bytes.min(POST_BYTES_MAX).min(self.objects.facts.message_bytes_max);
        let (local, descriptor) = match &transfer.how {
            Local::Plain => (transfer.local, ptr::null_mut()),
            Local::Registered(registration) => (transfer.local, registration.descriptor()),
            Local::Staged(frame) => (self.buffers.frame_base(*frame), self.buffers.descriptor()),
        };
        let context = self.buffers.context(Role::Get(number));
        // SAFETY: the memory is as the caller of `begin` promised, or a frame of this transfer; the
        // context is taken by it.
        let posted = unsafe {
            match way {
                Way::Read => self.objects.read(to, remote, (local, bytes), descriptor, context),
                Way::Write => self.objects.write(to, remote, (local, bytes), descriptor, context),
            }
        };
        match posted {
            Posted::Yes => {
                if let Some(transfer) = &mut self.transfers.begun[number] {
                    transfer.posted = bytes;
                }
            }
            Posted::Again | Posted::Longer => self.transfers.to_post.push_back(number),
            // Reported at the next look: there is no sink here.
            Posted::No(_) => self.transfers.failed.push(number),
        }
    }

    /// A post of this transfer is complete.
    pub(super) fn moved(&mut self, sink: &mut dyn Sink, number: usize) {
        let Some(transfer) = &mut self.transfers.begun[number] else { return };
        transfer.address += transfer.posted as u64;
        transfer.bytes -= transfer.posted;
        if let (Local::Staged(frame), Way::Read, false) =
            (&transfer.how, transfer.way, transfer.answered)
        {
            let staged = &self.buffers.frame(*frame)[..transfer.posted];
            // SAFETY: the caller of `begin` promised so many writable bytes until the end.
            unsafe { transfer.local.copy_from_nonoverlapping(staged.as_ptr(), staged.len()) };
        }
        // SAFETY: the bytes up to here lie within the range that the caller of `begin` gave.
        transfer.local = unsafe { transfer.local.add(transfer.posted) };
        transfer.posted = 0;
        if transfer.bytes > 0 && !transfer.answered {
            self.transfers.to_post.push_back(number);
            return;
        }
        self.end_transfer(sink, number, Get::Done);
    }

    /// A transfer is over. If it was refused, a message does it instead.
    pub(super) fn end_transfer(&mut self, sink: &mut dyn Sink, number: usize, end: Get) {
        let Some(transfer) = self.transfers.begun[number].take() else { return };
        let (peer, token, answered) = (transfer.peer, transfer.token, transfer.answered);
        self.release_local(transfer);
        if !answered {
            sink.fetched(token, end);
        }
        for token in self.confirmed(peer) {
            sink.fetched(token, Get::Done);
        }
    }

    fn release_local(&mut self, transfer: Transfer) {
        match transfer.how {
            Local::Plain => {}
            Local::Registered(registration) => self.objects.forget(registration),
            Local::Staged(frame) => self.buffers.put_send(frame),
        }
    }

    /// A peer is gone: nobody waits for what was under way with it.
    pub(super) fn abandon_transfers(&mut self, peer: Peer) -> Vec<u64> {
        let mut tokens = self.transfers.end_confirmations(peer);
        for number in 0..self.transfers.begun.len() {
            let Some(transfer) = &mut self.transfers.begun[number] else { continue };
            if transfer.peer != peer || std::mem::replace(&mut transfer.answered, true) {
                continue;
            }
            tokens.push(transfer.token);
            if transfer.posted > 0 {
                // SAFETY: the transfer was posted with this context.
                unsafe { self.objects.cancel(self.buffers.context(Role::Get(number))) };
                continue;
            }
            self.transfers.to_post.retain(|waiting| *waiting != number);
            self.transfers.failed.retain(|failed| *failed != number);
            if let Some(transfer) = self.transfers.begun[number].take() {
                self.release_local(transfer);
            }
        }
        let (gone, kept) = std::mem::take(&mut self.transfers.queue)
            .into_iter()
            .partition::<VecDeque<Transfer>, _>(|transfer| transfer.peer == peer);
        self.transfers.queue = kept;
        for transfer in gone {
            tokens.push(transfer.token);
            self.release_local(transfer);
        }
        tokens
    }
}

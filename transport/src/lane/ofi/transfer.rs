// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long transfers: the receiver reads the sender's memory, which the sender has lent under a key.
//!
//! Invariants:
//! 1. A loan ends when the worker says so; a read that comes later is refused by the provider.
//! 2. A read is answered once: its completion, its failure, or the loss of the peer. In the last
//!    case its context stays taken until the completion has come as well.
//!
//! The provider keeps its own cache of registrations where they are dear (it watches the allocator,
//! which we do not); here a registration lives as long as its loan or its read.

use super::OfiPort;
use super::buffers::{GET_COUNT, Role, SEND_COUNT};
use super::objects::Registration;
use super::sys;
use crate::envelope::Peer;
use crate::lane::fabric::port::{Posted, Sink};
use crate::lane::{Get, Loan, RemoteRange};
use std::collections::{HashMap, VecDeque};
use std::ptr;

/// Loans at a time: beyond it messages are sent in fragments.
const LOANS_MAX: usize = 1024;
/// Most bytes of one read, whatever the provider says: others shall come to their turn.
const READ_BYTES_MAX: usize = 256 << 20;

/// A read that was begun.
struct Read {
    peer: Peer,
    to: u64,
    token: u64,
    /// What is left.
    address: u64,
    key: u64,
    into: *mut u8,
    bytes: usize,
    /// Bytes of the post that is under way.
    posted: usize,
    registration: Option<Registration>,
    /// The inbox has heard of its end.
    answered: bool,
}

/// What is under way besides receives.
pub(super) struct Transfers {
    /// By frame: to whom.
    pub(super) sends: Vec<u32>,
    /// Receive buffers that the provider had no room for.
    pub(super) unposted: Vec<usize>,
    reads: Vec<Option<Read>>,
    /// Reads that are to be posted (again).
    to_post: VecDeque<usize>,
    /// Reads that the provider refused; their ends are reported at the next poll.
    failed: Vec<usize>,
    /// Reads for which all contexts were taken.
    queue: VecDeque<Read>,
    loans: HashMap<u64, (Registration, Loan)>,
}

impl Default for Transfers {
    fn default() -> Transfers {
        Transfers {
            sends: vec![0; SEND_COUNT],
            unposted: Vec::new(),
            reads: (0..GET_COUNT).map(|_| None).collect(),
            to_post: VecDeque::new(),
            failed: Vec::new(),
            queue: VecDeque::new(),
            loans: HashMap::new(),
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
}

impl Drop for OfiPort {
    fn drop(&mut self) {
        // Memory that is bound to the endpoint goes before it; else nothing may work on the memory
        // any more when it goes.
        if self.objects.facts.memory_mode & sys::FI_MR_ENDPOINT == 0 {
            self.objects.close_endpoint();
        }
        let Transfers { loans, reads, queue, .. } = &mut self.transfers;
        let lent = loans.drain().map(|(_, (registration, _))| registration);
        let begun = reads.drain(..).flatten().chain(queue.drain(..));
        let read = begun.filter_map(|read| read.registration);
        for registration in lent.chain(read).chain(self.buffers.take_registration()) {
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

    /// # Safety
    /// As `Lane::get`.
    pub(super) unsafe fn begin_get(
        &mut self,
        peer: Peer,
        to: u64,
        from: RemoteRange,
        into: *mut u8,
        token: u64,
    ) -> Get {
        if !self.objects.facts.reads {
            return Get::Refused;
        }
        let mut registration = None;
        if self.objects.facts.memory_mode & sys::FI_MR_LOCAL != 0 {
            // SAFETY: the caller keeps the memory until the read has ended.
            match unsafe { self.objects.register(into, from.bytes, sys::FI_READ) } {
                Ok(made) => registration = Some(made),
                Err(_) => return Get::Refused,
            }
        }
        let read = Read {
            peer,
            to,
            token,
            address: from.address,
            key: u64::from(from.key),
            into,
            bytes: from.bytes,
            posted: 0,
            registration,
            answered: false,
        };
        self.transfers.queue.push_back(read);
        self.post_reads();
        Get::Begun
    }

    /// What had no room, and what failed when it was posted.
    pub(super) fn retry(&mut self, sink: &mut dyn Sink) {
        for number in std::mem::take(&mut self.transfers.unposted) {
            if let Err(error) = self.post_receive(number) {
                sink.broken(error.to_string());
            }
        }
        for number in std::mem::take(&mut self.transfers.failed) {
            self.end_get(sink, number, Get::Refused);
        }
        self.post_reads();
    }

    /// Posts what can be posted now.
    fn post_reads(&mut self) {
        while !self.transfers.queue.is_empty()
            && let Some(number) = self.transfers.reads.iter().position(Option::is_none)
        {
            self.transfers.reads[number] = self.transfers.queue.pop_front();
            self.transfers.to_post.push_back(number);
        }
        for _ in 0..self.transfers.to_post.len() {
            let Some(number) = self.transfers.to_post.pop_front() else { break };
            self.post_read(number);
        }
    }

    fn post_read(&mut self, number: usize) {
        let Some(read) = &self.transfers.reads[number] else { return };
        let (to, remote, into) = (read.to, (read.address, read.key), read.into);
        let bytes = read.bytes.min(READ_BYTES_MAX).min(self.objects.facts.message_bytes_max);
        let descriptor =
            read.registration.as_ref().map_or(ptr::null_mut(), Registration::descriptor);
        let context = self.buffers.context(Role::Get(number));
        // SAFETY: the memory is as the caller of `get` promised; the context is taken by this read.
        let posted = unsafe { self.objects.read(to, remote, (into, bytes), descriptor, context) };
        match posted {
            Posted::Yes => {
                if let Some(read) = &mut self.transfers.reads[number] {
                    read.posted = bytes;
                }
            }
            Posted::Again | Posted::Longer => self.transfers.to_post.push_back(number),
            // Reported at the next look: there is no sink here.
            Posted::No(_) => self.transfers.failed.push(number),
        }
    }

    /// A post of this read is complete.
    pub(super) fn got(&mut self, sink: &mut dyn Sink, number: usize) {
        let Some(read) = &mut self.transfers.reads[number] else { return };
        read.address += read.posted as u64;
        read.bytes -= read.posted;
        // SAFETY: the bytes up to here lie within the range that the caller of `get` gave.
        read.into = unsafe { read.into.add(read.posted) };
        read.posted = 0;
        if read.bytes > 0 && !read.answered {
            self.transfers.to_post.push_back(number);
            return;
        }
        self.end_get(sink, number, Get::Done);
    }

    /// A read is over. If it was refused, the message comes in fragments instead.
    pub(super) fn end_get(&mut self, sink: &mut dyn Sink, number: usize, end: Get) {
        if let Some(token) = self.free_read(number) {
            sink.fetched(token, end);
        }
    }

    /// Frees the place of a read; its token, if nobody has heard of its end yet.
    fn free_read(&mut self, number: usize) -> Option<u64> {
        let read = self.transfers.reads[number].take()?;
        if let Some(registration) = read.registration {
            self.objects.forget(registration);
        }
        (!read.answered).then_some(read.token)
    }

    /// A peer is gone: nobody waits for what was read from it.
    pub(super) fn abandon_gets(&mut self, peer: Peer) -> Vec<u64> {
        let mut tokens = Vec::new();
        for number in 0..self.transfers.reads.len() {
            let Some(read) = &mut self.transfers.reads[number] else { continue };
            if read.peer != peer || std::mem::replace(&mut read.answered, true) {
                continue;
            }
            tokens.push(read.token);
            match read.posted {
                0 => {
                    self.transfers.to_post.retain(|waiting| *waiting != number);
                    self.transfers.failed.retain(|failed| *failed != number);
                    self.free_read(number);
                }
                // SAFETY: the read was posted with this context.
                _ => unsafe { self.objects.cancel(self.buffers.context(Role::Get(number))) },
            }
        }
        let (gone, kept) = std::mem::take(&mut self.transfers.queue)
            .into_iter()
            .partition::<VecDeque<Read>, _>(|read| read.peer == peer);
        self.transfers.queue = kept;
        for read in gone {
            if let Some(registration) = read.registration {
                self.objects.forget(registration);
            }
            tokens.push(read.token);
        }
        tokens
    }
}

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

use super::OfiLane;
use super::buffers::{GET_COUNT, Role, SEND_COUNT};
use super::fabric::{Posted, Registration};
use super::sys;
use crate::envelope::Peer;
use crate::error::Error;
use crate::lane::{Get, Inbox, Loan, RemoteRange};
use std::collections::{HashMap, VecDeque};
use std::ptr;

/// Loans at a time: beyond it messages are sent in fragments.
const LOANS_MAX: usize = 1024;
/// Most bytes of one read, whatever the provider says: others shall come to their turn.
const READ_BYTES_MAX: usize = 256 << 20;

/// A read that was begun.
struct Read {
    peer: Peer,
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
    /// By frame: to whom, and how many bytes.
    pub(super) sends: Vec<(u32, u32)>,
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
            sends: vec![(0, 0); SEND_COUNT],
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

impl Drop for OfiLane {
    fn drop(&mut self) {
        // Memory that is bound to the endpoint goes before it; else nothing may work on the memory
        // any more when it goes.
        if self.fabric.facts.memory_mode & sys::FI_MR_ENDPOINT == 0 {
            self.fabric.close_endpoint();
        }
        let Transfers { loans, reads, queue, .. } = &mut self.transfers;
        let lent = loans.drain().map(|(_, (registration, _))| registration);
        let begun = reads.drain(..).flatten().chain(queue.drain(..));
        let read = begun.filter_map(|read| read.registration);
        for registration in lent.chain(read).chain(self.buffers.take_registration()) {
            self.fabric.forget(registration);
        }
    }
}

impl OfiLane {
    pub(super) fn register_loan(
        &mut self,
        token: u64,
        base: *const u8,
        bytes: usize,
    ) -> Option<Loan> {
        if let Some((_, loan)) = self.transfers.loans.get(&token) {
            return Some(*loan);
        }
        let facts = &self.fabric.facts;
        if !facts.reads || bytes == 0 || self.transfers.loans.len() >= LOANS_MAX {
            return None;
        }
        let is_virtual = facts.memory_mode & sys::FI_MR_VIRT_ADDR != 0;
        // SAFETY: who posted the send keeps its memory until it ends, and the loan ends then.
        let made = unsafe { self.fabric.register(base, bytes, sys::FI_REMOTE_READ) };
        let registration = made.ok()?;
        let Ok(key) = u32::try_from(registration.key()) else {
            // It would not fit the announcement.
            self.fabric.forget(registration);
            return None;
        };
        let address = if is_virtual { base.expose_provenance() as u64 } else { 0 };
        let loan = Loan { range: RemoteRange { address, bytes, key }, must_end: true };
        self.transfers.loans.insert(token, (registration, loan));
        Some(loan)
    }

    pub(super) fn end_loan(&mut self, token: u64) {
        if let Some((registration, _)) = self.transfers.loans.remove(&token) {
            self.fabric.forget(registration);
        }
    }

    /// # Safety
    /// As `Lane::get`.
    pub(super) unsafe fn begin_get(
        &mut self,
        peer: Peer,
        from: RemoteRange,
        into: *mut u8,
        token: u64,
    ) -> Get {
        if !self.fabric.facts.reads {
            return Get::Refused;
        }
        let mut registration = None;
        if self.fabric.facts.memory_mode & sys::FI_MR_LOCAL != 0 {
            // SAFETY: the caller keeps the memory until the read has ended.
            match unsafe { self.fabric.register(into, from.bytes, sys::FI_READ) } {
                Ok(made) => registration = Some(made),
                Err(_) => return Get::Refused,
            }
        }
        let read = Read {
            peer,
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
        self.stuck = true;
        self.retry_gets();
        Get::Begun
    }

    /// Posts what can be posted now.
    pub(super) fn retry_gets(&mut self) {
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
        self.stuck |= !self.transfers.is_idle();
    }

    fn post_read(&mut self, number: usize) {
        let Some(read) = &self.transfers.reads[number] else { return };
        let (peer, remote, into) = (read.peer, (read.address, read.key), read.into);
        let bytes = read.bytes.min(READ_BYTES_MAX).min(self.fabric.facts.message_bytes_max);
        let descriptor =
            read.registration.as_ref().map_or(ptr::null_mut(), Registration::descriptor);
        let Some(to) = self.look_up(peer) else {
            self.transfers.to_post.push_back(number);
            return;
        };
        let context = self.buffers.context(Role::Get(number));
        // SAFETY: the memory is as the caller of `get` promised; the context is taken by this read.
        let posted = unsafe { self.fabric.read(to, remote, (into, bytes), descriptor, context) };
        match posted {
            Posted::Yes => {
                if let Some(read) = &mut self.transfers.reads[number] {
                    read.posted = bytes;
                }
            }
            Posted::Again => self.transfers.to_post.push_back(number),
            // Reported at the next poll: there is no inbox here.
            Posted::No(_) => self.transfers.failed.push(number),
        }
    }

    /// A post of this read is complete; returns what the inbox was told.
    pub(super) fn got<I: Inbox>(&mut self, inbox: &mut I, number: usize) -> usize {
        let Some(read) = &mut self.transfers.reads[number] else { return 0 };
        read.address += read.posted as u64;
        read.bytes -= read.posted;
        // SAFETY: the bytes up to here lie within the range that the caller of `get` gave.
        read.into = unsafe { read.into.add(read.posted) };
        read.posted = 0;
        if read.bytes > 0 && !read.answered {
            self.transfers.to_post.push_back(number);
            self.stuck = true;
            return 0;
        }
        self.end_get(inbox, number, Get::Done)
    }

    /// The provider could not do it: the message comes in fragments instead.
    pub(super) fn get_failed<I: Inbox>(&mut self, inbox: &mut I, number: usize) -> usize {
        self.end_get(inbox, number, Get::Refused)
    }

    /// Reads that the provider refused when they were posted.
    pub(super) fn report_failed_gets<I: Inbox>(&mut self, inbox: &mut I) -> usize {
        let failed = std::mem::take(&mut self.transfers.failed);
        failed.into_iter().map(|number| self.get_failed(inbox, number)).sum()
    }

    fn end_get<I: Inbox>(&mut self, inbox: &mut I, number: usize, end: Get) -> usize {
        let Some(read) = self.transfers.reads[number].take() else { return 0 };
        if let Some(registration) = read.registration {
            self.fabric.forget(registration);
        }
        self.stuck |= !self.transfers.queue.is_empty();
        if read.answered {
            return 0;
        }
        inbox.fetched(read.token, end);
        1
    }

    /// A peer is gone: nobody waits for what was read from it.
    pub(super) fn abandon_gets<I: Inbox>(&mut self, inbox: &mut I, peer: Peer, error: &Error) {
        for number in 0..self.transfers.reads.len() {
            let Some(read) = &mut self.transfers.reads[number] else { continue };
            if read.peer != peer || std::mem::replace(&mut read.answered, true) {
                continue;
            }
            let token = read.token;
            match read.posted {
                0 => {
                    self.transfers.to_post.retain(|waiting| *waiting != number);
                    self.end_get(inbox, number, Get::Done);
                }
                // SAFETY: the read was posted with this context.
                _ => unsafe { self.fabric.cancel(self.buffers.context(Role::Get(number))) },
            }
            inbox.fetched(token, Get::Lost(error.clone()));
        }
        let (gone, kept) = std::mem::take(&mut self.transfers.queue)
            .into_iter()
            .partition::<VecDeque<Read>, _>(|read| read.peer == peer);
        self.transfers.queue = kept;
        for read in gone {
            if let Some(registration) = read.registration {
                self.fabric.forget(registration);
            }
            inbox.fetched(read.token, Get::Lost(error.clone()));
        }
    }
}

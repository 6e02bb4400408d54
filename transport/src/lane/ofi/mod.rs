// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port to libfabric: one reliable endpoint for all peers (FI_EP_RDM, messages in order).

pub mod blob;
mod buffers;
mod exposed;
pub mod library;
pub mod objects;
mod operations;
pub mod probe;
pub mod provider;
pub mod sys;
mod transfer;

use super::fabric::FabricLane;
use super::fabric::frame::{HEAD_BYTES, PREFIX_BYTES};
use super::fabric::port::{Facts, Open, Port, Posted, Sink, Speed};
use super::remote::{Access, Exposed, Way};
use super::tcp::interface;
use super::tcp::ports::Ports;
use super::{Get, Loan, RemoteRange};
use crate::bootstrap::Job;
use crate::envelope::Peer;
use crate::error::{Error, Kind, Result};
use buffers::{Buffers, Role};
use library::Library;
use objects::{Completion, Failure, Objects, Seen};
use provider::{Here, Wanted};
use std::os::fd::BorrowedFd;
use transfer::Transfers;

/// The lane over libfabric.
pub type OfiLane = FabricLane<OfiPort>;

/// A message up to here is put together on the stack for the provider to copy.
const INJECT_BYTES_MAX: usize = 512;
/// Over software an access to memory of a window is better than messages from here on: it costs an
/// answer of its own, and spares two copies (docs/ofi.md).
const ACCESS_BYTES_MIN: usize = 64 * 1024;
/// Completions that one look takes.
const LOOK_ENTRIES: usize = 16;

/// The port. Its drop (transfer.rs) says in which order its parts go.
pub struct OfiPort {
    objects: Objects,
    buffers: Buffers,
    transfers: Transfers,
    facts: Facts,
    address: Vec<u8>,
}

// SAFETY: the raw pointers are libfabric's objects and memory of this port; objects may be used by
// any thread, one at a time (FI_THREAD_DOMAIN), which `&mut self` and the worker's lock see to.
unsafe impl Send for OfiPort {}

impl OfiPort {
    /// Posts the buffers of an endpoint.
    ///
    /// # Errors
    /// The provider refuses memory or does not tell its address.
    pub fn new(mut objects: Objects) -> Result<OfiPort> {
        let buffers = Buffers::new(&mut objects)?;
        let address = blob::encode_blob(&objects.facts.provider, &objects.name()?);
        let facts = facts(&objects.facts);
        let transfers = Transfers::default();
        let mut port = OfiPort { objects, buffers, transfers, facts, address };
        for number in port.buffers.receives() {
            port.post_receive(number)?;
        }
        Ok(port)
    }

    fn post_receive(&mut self, number: usize) -> Result<()> {
        let (base, bytes) = self.buffers.receive(number);
        let (descriptor, context) =
            (self.buffers.descriptor(), self.buffers.context(Role::Receive(number)));
        // SAFETY: buffer, descriptor and context are the port's; the buffer is posted only when the
        // provider has given it back.
        match unsafe { self.objects.receive(base, bytes, descriptor, context) } {
            Posted::Yes => Ok(()),
            Posted::Again | Posted::Longer => {
                self.transfers.unposted.push(number);
                Ok(())
            }
            Posted::No(reason) => Err(Error::new(Kind::Config(format!(
                "{} takes no buffer to receive into: {reason}",
                self.facts.name
            )))),
        }
    }

    /// One completion.
    fn complete(&mut self, sink: &mut dyn Sink, seen: &Completion) {
        match self.buffers.role(seen.op_context) {
            Some(Role::Receive(number)) => self.arrive(sink, number, seen),
            Some(Role::Send(number)) => {
                self.buffers.put_send(number);
                sink.settled();
            }
            Some(Role::Get(number)) => self.moved(sink, number),
            None => {}
        }
    }

    fn arrive(&mut self, sink: &mut dyn Sink, number: usize, seen: &Completion) {
        let multi_receive = self.objects.facts.multi_receive;
        if seen.flags & sys::FI_RECV != 0 {
            let at = if multi_receive { seen.buf } else { std::ptr::null_mut() };
            let bytes = self.buffers.arrived(number, at, seen.len).unwrap_or(&[]);
            let (head, rest) = bytes.split_at(bytes.len().min(PREFIX_BYTES));
            sink.frame(head, rest);
        }
        let is_free = !multi_receive || seen.flags & sys::FI_MULTI_RECV != 0;
        if is_free && let Err(error) = self.post_receive(number) {
            sink.broken(error.to_string());
        }
    }

    /// A failed operation.
    #[cold]
    fn fail(&mut self, sink: &mut dyn Sink, failure: Failure) {
        match self.buffers.role(failure.context) {
            Some(Role::Send(number)) => {
                self.buffers.put_send(number);
                sink.failed(Peer(self.transfers.sends[number]), failure.reason);
            }
            // What comes with it was not delivered; its sender hears of it, or is lost.
            Some(Role::Receive(number)) => self.transfers.unposted.push(number),
            Some(Role::Get(number)) => self.end_transfer(sink, number, Get::Refused),
            None => {}
        }
    }
}

impl Port for OfiPort {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn address(&self) -> &[u8] {
        &self.address
    }

    fn enter(&mut self, _peer: Peer, address: &[u8]) -> std::result::Result<u64, String> {
        let name = blob::decode_blob(address, &self.objects.facts.provider)?;
        let entered = self.objects.enter(name);
        entered.map_err(|why| format!("{} refuses its address: {why}", self.facts.name))
    }

    #[inline]
    fn inject(&mut self, to: u64, head: &[u8; HEAD_BYTES], body: &[u8]) -> Posted {
        let mut frame = [0; INJECT_BYTES_MAX];
        let end = HEAD_BYTES + body.len();
        frame[..HEAD_BYTES].copy_from_slice(head);
        frame[HEAD_BYTES..end].copy_from_slice(body);
        self.objects.inject(to, &frame[..end])
    }

    fn take_frame(&mut self) -> Option<usize> {
        self.buffers.take_send()
    }

    fn put_frame(&mut self, number: usize) {
        self.buffers.put_send(number);
    }

    fn frames_out(&self) -> usize {
        self.buffers.sends_out()
    }

    fn is_awaiting(&self) -> bool {
        self.buffers.sends_out() > 0 || self.transfers.accesses().next().is_some()
    }

    fn frame(&mut self, number: usize) -> &mut [u8] {
        self.buffers.frame(number)
    }

    fn send(&mut self, peer: Peer, to: u64, number: usize, bytes: usize) -> Posted {
        self.transfers.sends[number] = peer.0;
        let (base, descriptor) = (self.buffers.frame_base(number), self.buffers.descriptor());
        let context = self.buffers.context(Role::Send(number));
        // SAFETY: frame, descriptor and context are the port's, and are left alone until the
        // completion gives the frame back.
        unsafe { self.objects.send(to, base, bytes, descriptor, context) }
    }

    fn lend(&mut self, token: u64, base: *const u8, bytes: usize) -> Option<Loan> {
        self.register_loan(token, base, bytes)
    }

    fn take_back(&mut self, token: u64) {
        self.end_loan(token);
    }

    unsafe fn get(
        &mut self,
        peer: Peer,
        to: u64,
        from: RemoteRange,
        into: *mut u8,
        token: u64,
    ) -> Get {
        let remote = (from.address, u64::from(from.key));
        // SAFETY: the caller's promise.
        unsafe { self.begin((peer, to, token), Way::Read, remote, (into, from.bytes)) }
    }

    unsafe fn expose(&mut self, base: *mut u8, bytes: usize) -> Option<Exposed> {
        // SAFETY: the caller's promise.
        unsafe { self.expose_memory(base, bytes) }
    }

    fn conceal(&mut self, number: u64) {
        self.conceal_memory(number);
    }

    fn enter_memory(&mut self, _peer: Peer, _to: u64, name: &[u8]) -> Option<u64> {
        self.enter_name(name)
    }

    fn leave_memory(&mut self, number: u64) {
        self.leave_name(number);
    }

    unsafe fn access(&mut self, peer: Peer, to: u64, access: Access, token: u64) -> Get {
        // SAFETY: the caller's promise.
        unsafe { self.begin_access(peer, to, access, token) }
    }

    fn confirm(&mut self, peer: Peer, _to: u64, token: u64) -> Get {
        self.begin_confirmation(peer, token)
    }

    fn abandon(&mut self, peer: Peer) -> Vec<u64> {
        self.abandon_transfers(peer)
    }

    fn look(&mut self, sink: &mut dyn Sink) {
        // SAFETY: all-zero bytes are valid completions: null pointers and numbers.
        let mut entries: [Completion; LOOK_ENTRIES] = unsafe { std::mem::zeroed() };
        while !sink.is_full() {
            match self.objects.look(&mut entries) {
                Seen::Some(seen) => {
                    for entry in &entries[..seen] {
                        self.complete(sink, entry);
                    }
                    // Fewer than asked for: nothing more was there, and to look costs system calls.
                    if seen < LOOK_ENTRIES {
                        break;
                    }
                }
                Seen::Failed(failure) => self.fail(sink, failure),
                Seen::Broken(reason) => {
                    sink.broken(reason);
                    break;
                }
            }
        }
        if !self.transfers.is_idle() {
            self.retry(sink);
        }
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.objects.wait_fd()
    }

    fn may_sleep(&mut self) -> bool {
        self.transfers.is_idle() && self.objects.may_sleep()
    }
}

impl Open for OfiPort {
    const NAME: &str = "ofi";

    fn open(job: &Job, hardware: bool) -> Result<Option<OfiPort>> {
        let ip = interface::of_job(job)?;
        let provider = crate::config::text("OFI_PROVIDER")?;
        let hardware = hardware && provider.is_none();
        let here = Here { place: job.local_rank, ..Here::default() };
        let wanted = Wanted { provider, hardware, ip: Some(ip), here };
        let open = || Objects::open_within(Library::open()?, &wanted, Ports::from_environment()?);
        match open() {
            Err(_) if hardware => Ok(None),
            opened => OfiPort::new(opened?).map(Some),
        }
    }
}

fn facts(facts: &objects::Facts) -> Facts {
    // Hardware: published figures of 100 Gbit/s cards (FABRICS.md has none of this machine).
    // Software: tcp of 2.5.1 over the loopback of the development machine (docs/ofi.md).
    let speed = match facts.hardware {
        true => Speed {
            latency_ns: 1_500,
            fragment_bytes_per_us: 6_000,
            get_ns: 1_500,
            get_bytes_per_us: 11_000,
        },
        false => Speed {
            latency_ns: 4_500,
            fragment_bytes_per_us: 3_700,
            get_ns: 14_000,
            get_bytes_per_us: 7_000,
        },
    };
    Facts {
        name: format!("libfabric's {}", facts.provider),
        device: facts.domain.clone(),
        hardware: facts.hardware,
        inject_bytes: facts.inject_bytes.min(INJECT_BYTES_MAX),
        frame_bytes: facts.frame_bytes,
        reads: facts.reads,
        access_bytes_min: facts.writes.then_some(if facts.hardware { 0 } else { ACCESS_BYTES_MIN }),
        needs_polls: facts.needs_polls,
        speed,
    }
}

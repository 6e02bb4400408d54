// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port to UCX: frames are active messages; the memory of a long message travels as an active
//! message of UCX's rendezvous, whose header is our announcement, and which the receiver fetches.
//!
//! Invariants:
//! 1. Memory of an operation stays until its callback was called: frames and notes are the port's,
//!    a loan's memory is its message's, and the worker asks for it back before that ends.
//! 2. UCX's descriptor of lent memory is used once: fetched, declined, or left to the endpoint.

pub mod blob;
mod exposed;
mod landing;
pub mod library;
pub mod objects;
pub mod probe;
pub mod sys;
mod transfer;

use super::fabric::FabricLane;
use super::fabric::frame::HEAD_BYTES;
use super::fabric::port::{Facts, Open, Port, Posted, Sink, Speed};
use super::remote::{Access, Exposed};
use super::tcp::interface;
use super::tcp::ports::Ports;
use super::{Get, Loan, RemoteRange};
use crate::bootstrap::Job;
use crate::envelope::Peer;
use crate::error::{Error, Result};
use exposed::Memories;
use landing::{NOBODY, Note, on_sent};
use library::{Library, refused};
use memmap2::MmapMut;
use objects::{FRAME, Objects, Wanted, status_of};
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::ptr;
use sys::{
    UCP_AM_SEND_FLAG_EAGER, UCP_OP_ATTR_FIELD_CALLBACK, UCP_OP_ATTR_FIELD_FLAGS,
    UCP_OP_ATTR_FIELD_USER_DATA, UCP_OP_ATTR_FLAG_FAST_CMPL, UCP_OP_ATTR_FLAG_FORCE_IMM_CMPL,
    UCS_ERR_NO_RESOURCE, UCS_INPROGRESS, UCS_OK, ucp_request_callback, ucp_request_param,
};
use transfer::Loans;

/// The lane over UCX.
pub type UcxLane = FabricLane<UcxPort>;

/// Frames that may be under way from this process.
const FRAME_COUNT: usize = 64;
/// Longest frame.
const FRAME_BYTES: usize = 64 * 1024 + 64;
/// Frames up to here are copied by UCX, which would register the memory of each else. Longer ones
/// it would cut into pieces of 8 KiB for that (sockets, 1.20).
const COPIED_BYTES_MAX: usize = 4096 + HEAD_BYTES;
/// A frame up to here is put together on the stack, and sent at once if UCX can.
const INJECT_BYTES_MAX: usize = 512;
/// After so many frames that UCX would not send at once it is not asked any more: what can be sent
/// so differs by version (1.13 sends all that it copies, 1.22 none) and by transport.
const MISSES_MAX: u32 = 64;
/// Over sockets UCX makes puts and gets of messages, and ours are faster at every size.
const ACCESS_BYTES_MIN: usize = usize::MAX;
/// Longest address of a worker that fits what a rank publishes.
pub const ADDRESS_BYTES_MAX: usize = crate::node::ADDRESS_BYTES_MAX - blob::HEAD_BYTES;

/// The port.
pub struct UcxPort {
    objects: Objects,
    facts: Facts,
    address: Vec<u8>,
    memory: MmapMut,
    free: Vec<usize>,
    /// By frame: to whom it is under way.
    under_way: Vec<Option<Peer>>,
    /// Frames to lost peers, which may never come back.
    orphans: usize,
    /// Frames that UCX did not send at once, since the last that it did.
    misses: u32,
    /// One for each frame.
    notes: Box<[Note]>,
    loans: Loans,
    memories: Memories,
    /// Gets, accesses and confirmations that have begun: who waits, and whether they still do.
    gets: HashMap<*mut Note, bool>,
}

// SAFETY: the raw pointers are UCX's objects and memory of this port; objects may be used by any
// thread, one at a time (UCS_THREAD_MODE_SERIALIZED), which `&mut self` and the worker's lock see
// to.
unsafe impl Send for UcxPort {}

impl UcxPort {
    /// A port of an open worker.
    ///
    /// # Errors
    /// No memory; UCX does not tell its address, or one that is too long.
    pub fn new(objects: Objects, hardware: bool) -> Result<UcxPort> {
        let address = objects.address()?;
        if address.len() > ADDRESS_BYTES_MAX {
            return Err(refused(format!(
                "UCX's address of this process has {} bytes, and {ADDRESS_BYTES_MAX} fit: name \
                 fewer devices by UCX_NET_DEVICES, or fewer transports by UCX_TLS",
                address.len()
            )));
        }
        let memory = MmapMut::map_anon(FRAME_COUNT * FRAME_BYTES)
            .map_err(|error| Error::system("memory for UCX", error.raw_os_error().unwrap_or(0)))?;
        let landing = objects.landing;
        let note = |number| Note { landing, peer: Peer(0), token: number as u64 };
        let facts = facts(&objects, hardware);
        Ok(UcxPort {
            facts,
            address: blob::encode(&address),
            memory,
            free: (0..FRAME_COUNT).rev().collect(),
            under_way: vec![None; FRAME_COUNT],
            orphans: 0,
            misses: 0,
            notes: (0..FRAME_COUNT).map(note).collect(),
            loans: Loans::default(),
            memories: Memories::default(),
            gets: HashMap::new(),
            objects,
        })
    }
}

/// Parameters of an operation.
fn params(mask: u32, flags: u32) -> ucp_request_param {
    ucp_request_param {
        op_attr_mask: mask | UCP_OP_ATTR_FIELD_FLAGS,
        flags,
        request: ptr::null_mut(),
        cb: ucp_request_callback { none: 0 },
        datatype: 0,
        user_data: ptr::null_mut(),
        later: [0; 12],
    }
}

impl Port for UcxPort {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn address(&self) -> &[u8] {
        &self.address
    }

    fn enter(&mut self, peer: Peer, address: &[u8]) -> std::result::Result<u64, String> {
        let address = blob::decode(address)?;
        self.objects.enter(peer, address).map_err(|why| {
            format!(
                "UCX has no way to it: {why}; hosts need a transport and a network in common \
                 (UCX_TLS, UCX_NET_DEVICES; UCX_LOG_LEVEL=error tells more)"
            )
        })
    }

    #[inline]
    fn inject(&mut self, to: u64, head: &[u8; HEAD_BYTES], body: &[u8]) -> Posted {
        let endpoint = self.objects.endpoint(to);
        if endpoint.is_null() {
            return Posted::No("its endpoint is closed".into());
        }
        let how = UCP_OP_ATTR_FLAG_FORCE_IMM_CMPL | UCP_OP_ATTR_FLAG_FAST_CMPL;
        let params = params(how, UCP_AM_SEND_FLAG_EAGER);
        let mut frame = [0_u8; INJECT_BYTES_MAX];
        let end = HEAD_BYTES + body.len();
        frame[..HEAD_BYTES].copy_from_slice(head);
        frame[HEAD_BYTES..end].copy_from_slice(body);
        // SAFETY: the endpoint is open; UCX is told to be done with the memory when it returns.
        let answer = unsafe {
            let send = self.objects.library.am_send;
            send(endpoint, FRAME, ptr::null(), 0, frame.as_ptr().cast(), end, &params)
        };
        match status_of(answer) {
            UCS_OK => {
                self.misses = 0;
                Posted::Yes
            }
            UCS_ERR_NO_RESOURCE => {
                self.misses += 1;
                if self.misses >= MISSES_MAX {
                    self.facts.inject_bytes = 0;
                }
                Posted::Longer
            }
            UCS_INPROGRESS => Posted::No("UCX did not send at once, as it was told".into()),
            failed => Posted::No(self.objects.library.words(failed)),
        }
    }

    fn take_frame(&mut self) -> Option<usize> {
        self.free.pop()
    }

    fn put_frame(&mut self, number: usize) {
        debug_assert!(!self.free.contains(&number));
        self.free.push(number);
    }

    fn frames_out(&self) -> usize {
        FRAME_COUNT - self.free.len() - self.orphans
    }

    fn frame(&mut self, number: usize) -> &mut [u8] {
        &mut self.memory[number * FRAME_BYTES..][..FRAME_BYTES]
    }

    fn send(&mut self, peer: Peer, to: u64, number: usize, bytes: usize) -> Posted {
        let endpoint = self.objects.endpoint(to);
        if endpoint.is_null() {
            return Posted::No("its endpoint is closed".into());
        }
        self.notes[number].peer = peer;
        let mut how = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
        if bytes <= COPIED_BYTES_MAX {
            how |= UCP_OP_ATTR_FLAG_FAST_CMPL;
        }
        let mut params = params(how, UCP_AM_SEND_FLAG_EAGER);
        params.cb.send = on_sent;
        params.user_data = (&raw mut self.notes[number]).cast();
        // SAFETY: the endpoint is open; frame and note stay until the callback.
        let answer = unsafe {
            let base = self.memory.as_ptr().add(number * FRAME_BYTES);
            let send = self.objects.library.am_send;
            send(endpoint, FRAME, ptr::null(), 0, base.cast(), bytes, &params)
        };
        match status_of(answer) {
            UCS_OK => {
                self.free.push(number);
                Posted::Yes
            }
            UCS_INPROGRESS => {
                self.under_way[number] = Some(peer);
                Posted::Yes
            }
            failed => Posted::No(self.objects.library.words(failed)),
        }
    }

    fn lend(&mut self, token: u64, base: *const u8, bytes: usize) -> Option<Loan> {
        self.loans.lend(token, base, bytes)
    }

    fn travels(&self, token: u64) -> bool {
        self.loans.travels(token)
    }

    fn send_lent(&mut self, peer: Peer, to: u64, head: &[u8], token: u64) -> Posted {
        self.send_loan(peer, to, head, token)
    }

    fn take_back(&mut self, token: u64) {
        self.loans.take_back(token);
    }

    fn decline(&mut self, peer: Peer, token: u64) {
        self.decline_lent(peer, token);
    }

    unsafe fn get(
        &mut self,
        peer: Peer,
        _to: u64,
        from: RemoteRange,
        into: *mut u8,
        token: u64,
    ) -> Get {
        // SAFETY: the caller's promise.
        unsafe { self.begin_get(peer, from, into, token) }
    }

    unsafe fn expose(&mut self, base: *mut u8, bytes: usize) -> Option<Exposed> {
        // SAFETY: the caller's promise.
        unsafe { self.expose_memory(base, bytes) }
    }

    fn conceal(&mut self, number: u64) {
        self.conceal_memory(number);
    }

    fn enter_memory(&mut self, _peer: Peer, to: u64, name: &[u8]) -> Option<u64> {
        self.enter_name(to, name)
    }

    fn leave_memory(&mut self, number: u64) {
        self.leave_name(number);
    }

    unsafe fn access(&mut self, peer: Peer, to: u64, access: Access, token: u64) -> Get {
        // SAFETY: the caller's promise.
        unsafe { self.begin_access(peer, to, access, token) }
    }

    fn confirm(&mut self, peer: Peer, to: u64, token: u64) -> Get {
        self.begin_confirmation(peer, to, token)
    }

    fn abandon(&mut self, peer: Peer) -> Vec<u64> {
        self.abandon_gets(peer)
    }

    fn look(&mut self, sink: &mut dyn Sink) {
        let landing = self.objects.landing;
        // SAFETY: only the lifetime changes; the landing has it during this call only.
        let heard: *mut (dyn Sink + 'static) =
            unsafe { std::mem::transmute::<*mut (dyn Sink + '_), *mut (dyn Sink + 'static)>(sink) };
        // SAFETY: nobody else has the landing (its invariant 1); the worker is open.
        unsafe {
            if !sink.is_full() {
                (*landing).sink = heard;
                (self.objects.library.worker_progress)(self.objects.worker);
                (*landing).sink = NOBODY;
            }
            if (*landing).is_empty() {
                return;
            }
        }
        self.settle(sink);
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the descriptor belongs to the worker, which is open as long as `self` lives.
        self.objects.wait.map(|raw| unsafe { BorrowedFd::borrow_raw(raw) })
    }

    fn may_sleep(&mut self) -> bool {
        // SAFETY: nobody else has the landing; the worker is open.
        unsafe {
            (*self.objects.landing).is_empty()
                && self.objects.wait.is_some()
                && (self.objects.library.worker_arm)(self.objects.worker) == UCS_OK
        }
    }

    fn is_flushed(&self) -> bool {
        self.loans.are_over()
    }
}

impl Open for UcxPort {
    const NAME: &str = "ucx";

    fn open(job: &Job, hardware: bool) -> Result<Option<UcxPort>> {
        let has_card = crate::topology::has_fabric_devices();
        if hardware && !has_card {
            return Ok(None);
        }
        let open = || {
            let library = Library::open()?;
            let mut settings = Vec::new();
            if !has_card {
                // Sockets: those of the interface that our own would use.
                let mut ip = Some(interface::of_job(job)?);
                if !library.knows_loopback() {
                    ip = ip.filter(|ip| !ip.is_loopback());
                    ip = ip.or_else(|| interface::choose(None, false).ok());
                }
                let name = ip.and_then(interface::name_of);
                settings.extend(name.map(|name| ("NET_DEVICES".to_owned(), name)));
            }
            let ports = Ports::from_environment()?;
            if ports != Ports::ANY {
                // UCX never takes the last one, and where none is free it looks for ever.
                ports.check_room(job.local_size + 1, "ranks that use UCX, and one more")?;
                settings.push(("TCP_PORT_RANGE".to_owned(), ports.to_string()));
            }
            let wanted = Wanted { settings, size: job.size };
            UcxPort::new(Objects::open(library, &wanted)?, has_card)
        };
        match open() {
            Err(_) if hardware => Ok(None),
            opened => opened.map(Some),
        }
    }
}

fn facts(objects: &Objects, hardware: bool) -> Facts {
    // Hardware: published figures of 100 Gbit/s cards. Sockets: loopback of the development machine
    // (docs/ucx.md).
    let speed = match hardware {
        true => Speed {
            latency_ns: 1_500,
            fragment_bytes_per_us: 6_000,
            get_ns: 1_500,
            get_bytes_per_us: 11_000,
        },
        false => Speed {
            latency_ns: 5_000,
            fragment_bytes_per_us: 3_000,
            get_ns: 14_000,
            get_bytes_per_us: 5_000,
        },
    };
    Facts {
        name: format!("UCX {}", objects.library.version_text()),
        device: std::env::var("UCX_TLS").unwrap_or_else(|_| "all transports".into()),
        hardware,
        inject_bytes: INJECT_BYTES_MAX,
        frame_bytes: FRAME_BYTES,
        reads: true,
        access_bytes_min: Some(if hardware { 0 } else { ACCESS_BYTES_MIN }),
        needs_polls: false,
        speed,
    }
}

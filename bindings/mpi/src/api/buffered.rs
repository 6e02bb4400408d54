// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Buffered sends: buffers attached to the process, to a communicator or
//! to a session (MPI-5.0 section 3.6).
//!
//! The attached memory sets the limit; the copies themselves are kept in memory of ours, so that a
//! detach has only to wait for the messages.

use crate::abi::{Abi, Code, CountOut, HandleKind};
use crate::api::arguments::handle;
use crate::api::session::on_session;
use crate::entry::{Entry, on_comm, on_process};
use crate::error::{Result, advise, class, error};
use crate::handle::REQUEST_DONE;
use crate::object::comm::CommRef;
use crate::object::request::{BsendBuffer, Finished, Request, Work};
use crate::runtime::Runtime;
use std::ffi::{c_int, c_void};
use strait_transport::envelope::{Envelope, Peer};
use strait_transport::payload::Payload;
use strait_transport::worker::{SendMode, Sent};

/// Space that a message takes beside its bytes; at most MPI_BSEND_OVERHEAD of both faces.
const OVERHEAD: usize = 64;

/// Which buffer.
#[derive(Clone)]
pub(crate) enum Owner {
    /// That of MPI_Buffer_attach.
    Process,
    /// That of MPI_Comm_attach_buffer.
    Comm(CommRef),
    /// That of MPI_Session_attach_buffer.
    Session(Code),
}

impl Owner {
    /// Whose buffer a send over `comm` uses: the communicator's; if it has none, that of the
    /// session it comes from; if that has none, the process's.
    fn of_send(entry: &Entry, comm: &CommRef) -> Owner {
        let has_buffer =
            |code: &Code| entry.sessions.get(*code).is_some_and(|s| s.buffer.is_some());
        if comm.buffer.borrow().is_some() {
            return Owner::Comm(comm.clone());
        }
        comm.group.session.filter(has_buffer).map_or(Owner::Process, Owner::Session)
    }
}

fn with_buffer<R>(
    runtime: &mut Runtime,
    owner: &Owner,
    f: impl FnOnce(&mut Option<BsendBuffer>) -> R,
) -> R {
    match owner {
        Owner::Process => f(&mut runtime.bsend),
        Owner::Comm(comm) => f(&mut comm.buffer.borrow_mut()),
        Owner::Session(code) => match runtime.sessions.get_mut(*code) {
            Some(session) => f(&mut session.buffer),
            // Finalized; what it had to send has left.
            None => f(&mut None),
        },
    }
}

/// Forgets the messages that have left; returns how many are still on their way.
fn sweep(runtime: &mut Runtime, owner: &Owner) -> usize {
    let Some(mut buffer) = with_buffer(runtime, owner, Option::take) else {
        return 0;
    };
    let worker = &mut runtime.worker;
    let mut freed = 0;
    buffer.pending.retain(|(id, _, space)| {
        let gone = worker.take(*id).is_some();
        freed += if gone { *space } else { 0 };
        !gone
    });
    buffer.used -= freed;
    let left = buffer.pending.len();
    with_buffer(runtime, owner, |b| *b = Some(buffer));
    left
}

/// Copies the payload and starts to send the copy.
pub(crate) fn buffered_send(
    entry: &mut Entry,
    comm: &CommRef,
    peer: Peer,
    envelope: Envelope,
    payload: &Payload,
) -> Result {
    let owner = Owner::of_send(entry, comm);
    sweep(entry, &owner);
    let space = payload.bytes() + OVERHEAD;
    let (limit, used) =
        with_buffer(entry, &owner, |b| b.as_ref().map_or((Some(0), 0), |b| (b.bytes, b.used)));
    if limit.is_some_and(|limit| used + space > limit) {
        let (limit, bytes) = (limit.unwrap_or(0), payload.bytes());
        return Err(advise(
            class::BUFFER,
            format!(
                "a buffered send of {bytes} bytes does not fit: {used} of {limit} attached bytes \
                 are in use"
            ),
            "attach more with MPI_Buffer_attach: message sizes plus MPI_BSEND_OVERHEAD each",
        ));
    }
    let mut copy = vec![0u8; payload.bytes()].into_boxed_slice();
    // SAFETY: the buffer is readable, says the caller of MPI; the copy has the payload's size.
    unsafe { payload.pack(0, &mut copy) };
    let packed = Payload::Contiguous { base: copy.as_mut_ptr(), bytes: copy.len() };
    // SAFETY: the copy is kept in `pending` until the request has ended.
    let sent = unsafe { entry.worker.send(peer, envelope, packed, SendMode::Standard) };
    if let Sent::Pending(id) = sent {
        with_buffer(entry, &owner, |b| {
            if let Some(b) = b {
                b.used += space;
                b.pending.push((id, copy, space));
            }
        });
    }
    Ok(())
}

fn attach<A: Abi>(entry: &mut Entry, owner: &Owner, buffer: *mut c_void, size: i64) -> Result {
    if size < 0 {
        return error(class::BUFFER, format!("the size is {size}; it must not be negative"));
    }
    let bytes = (!A::is_buffer_automatic(buffer)).then_some(size as usize);
    with_buffer(entry, owner, |place| {
        if place.is_some() {
            return error(class::BUFFER, "a buffer is attached already; detach it first");
        }
        *place = Some(BsendBuffer { address: buffer, bytes, used: 0, pending: Vec::new() });
        Ok(())
    })
}

pub(crate) fn flush(entry: &mut Entry, owner: &Owner) {
    entry.wait_until(|runtime| sweep(runtime, owner) == 0);
}

unsafe fn detach(
    entry: &mut Entry,
    owner: &Owner,
    buffer_addr: *mut c_void,
    size: CountOut,
) -> Result {
    if with_buffer(entry, owner, |b| b.is_none()) {
        // MPI-5.0: detaching without a buffer gives none back.
        // SAFETY: both are writable, says the caller.
        unsafe {
            *(buffer_addr as *mut *mut c_void) = std::ptr::null_mut();
            size.set(0);
        }
        return Ok(());
    }
    flush(entry, owner);
    let old = with_buffer(entry, owner, Option::take);
    if let Some(old) = old {
        // SAFETY: both are writable, says the caller.
        unsafe {
            *(buffer_addr as *mut *mut c_void) = old.address;
            size.set(old.bytes.unwrap_or(0) as i64);
        }
    }
    Ok(())
}

/// Ends when the messages of a buffer have left.
struct Flush {
    owner: Owner,
}

impl Work for Flush {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        (sweep(entry, &self.owner) == 0).then_some(Finished::EMPTY)
    }

    fn comm(&self) -> Option<CommRef> {
        match &self.owner {
            Owner::Comm(comm) => Some(comm.clone()),
            Owner::Process | Owner::Session(_) => None,
        }
    }
}

unsafe fn start_flush<A: Abi>(entry: &mut Entry, owner: Owner, request: *mut A::Handle) -> Result {
    let code = if sweep(entry, &owner) == 0 {
        Some(REQUEST_DONE)
    } else {
        let code = entry.requests.insert(Request::Work(Box::new(Flush { owner })));
        entry.active.extend(code);
        code
    };
    // SAFETY: `request` is writable, says the caller.
    unsafe { *request = handle::<A>(HandleKind::Request, code)? };
    Ok(())
}

pub unsafe fn MPI_Buffer_attach<A: Abi>(buffer: *mut c_void, size: i64) -> c_int {
    on_process::<A>("MPI_Buffer_attach", |entry| attach::<A>(entry, &Owner::Process, buffer, size))
}

pub unsafe fn MPI_Buffer_detach<A: Abi>(buffer_addr: *mut c_void, size: CountOut) -> c_int {
    on_process::<A>("MPI_Buffer_detach", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { detach(entry, &Owner::Process, buffer_addr, size) }
    })
}

pub unsafe fn MPI_Buffer_flush<A: Abi>() -> c_int {
    on_process::<A>("MPI_Buffer_flush", |entry| {
        flush(entry, &Owner::Process);
        Ok(())
    })
}

pub unsafe fn MPI_Buffer_iflush<A: Abi>(request: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Buffer_iflush", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { start_flush::<A>(entry, Owner::Process, request) }
    })
}

pub unsafe fn MPI_Comm_attach_buffer<A: Abi>(
    comm: A::Handle,
    buffer: *mut c_void,
    size: i64,
) -> c_int {
    on_comm::<A>("MPI_Comm_attach_buffer", comm, |entry, comm| {
        attach::<A>(entry, &Owner::Comm(comm.clone()), buffer, size)
    })
}

pub unsafe fn MPI_Comm_detach_buffer<A: Abi>(
    comm: A::Handle,
    buffer_addr: *mut c_void,
    size: CountOut,
) -> c_int {
    on_comm::<A>("MPI_Comm_detach_buffer", comm, |entry, comm| {
        // SAFETY: this function's own conditions.
        unsafe { detach(entry, &Owner::Comm(comm.clone()), buffer_addr, size) }
    })
}

pub unsafe fn MPI_Comm_flush_buffer<A: Abi>(comm: A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_flush_buffer", comm, |entry, comm| {
        flush(entry, &Owner::Comm(comm.clone()));
        Ok(())
    })
}

pub unsafe fn MPI_Comm_iflush_buffer<A: Abi>(comm: A::Handle, request: *mut A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_iflush_buffer", comm, |entry, comm| {
        // SAFETY: this function's own conditions.
        unsafe { start_flush::<A>(entry, Owner::Comm(comm.clone()), request) }
    })
}

pub unsafe fn MPI_Session_attach_buffer<A: Abi>(
    session: A::Handle,
    buffer: *mut c_void,
    size: i64,
) -> c_int {
    on_session::<A>("MPI_Session_attach_buffer", session, |entry, code| {
        attach::<A>(entry, &Owner::Session(code), buffer, size)
    })
}

pub unsafe fn MPI_Session_detach_buffer<A: Abi>(
    session: A::Handle,
    buffer_addr: *mut c_void,
    size: CountOut,
) -> c_int {
    on_session::<A>("MPI_Session_detach_buffer", session, |entry, code| {
        // SAFETY: this function's own conditions.
        unsafe { detach(entry, &Owner::Session(code), buffer_addr, size) }
    })
}

pub unsafe fn MPI_Session_flush_buffer<A: Abi>(session: A::Handle) -> c_int {
    on_session::<A>("MPI_Session_flush_buffer", session, |entry, code| {
        flush(entry, &Owner::Session(code));
        Ok(())
    })
}

pub unsafe fn MPI_Session_iflush_buffer<A: Abi>(
    session: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_session::<A>("MPI_Session_iflush_buffer", session, |entry, code| {
        // SAFETY: this function's own conditions.
        unsafe { start_flush::<A>(entry, Owner::Session(code), request) }
    })
}

/// Waits for all buffered sends of the process (MPI_Finalize).
pub(crate) fn flush_all(entry: &mut Entry) {
    flush(entry, &Owner::Process);
    let comms: Vec<CommRef> = entry.comms.iter().map(|(_, c)| c.clone()).collect();
    let sessions: Vec<Code> = entry.sessions.iter().map(|(code, _)| code).collect();
    for session in sessions {
        flush(entry, &Owner::Session(session));
    }
    for comm in comms.into_iter().chain([entry.world.clone(), entry.comm_self.clone()]) {
        flush(entry, &Owner::Comm(comm));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Point to point: blocking and immediate sends and receives in all modes (MPI-5.0 chapter 3).

use crate::abi::{Abi, HandleKind};
use crate::api::arguments::{destination, envelope, handle, pattern, payload, send_tag};
use crate::api::buffered::buffered_send;
use crate::api::short;
use crate::entry::{Entry, in_comm, on_comm};
use crate::error::{Result, class, error};
use crate::handle::REQUEST_DONE;
use crate::object::comm::CommRef;
use crate::object::request::{Finished, Request, Transfer, finished};
use crate::progress_thread;
use std::ffi::{c_int, c_void};
use strait_transport::envelope::{Pattern, Peer};
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::worker::{OFFER_BYTES_MIN, SendMode, Sent};

/// Modes as the API names them; ready is standard (a receive is posted: it cannot go wrong).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// MPI_Isend, MPI_Irsend
    Standard,
    /// MPI_Send, MPI_Rsend
    Waited,
    /// MPI_Ssend
    Synchronous,
    /// MPI_Bsend
    Buffered,
}

/// A send whose arguments are checked: where it goes (`None`: MPI_PROC_NULL), tag, payload.
pub(crate) type Outgoing = (Option<Peer>, u32, Payload);

/// A receive whose arguments are checked; `None`: MPI_PROC_NULL.
pub(crate) type Incoming = (Option<(Option<Peer>, Pattern)>, Payload);

pub(crate) fn outgoing<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    (buffer, count, datatype): (*const c_void, i64, A::Handle),
    (rank, tag): (c_int, c_int),
) -> Result<Outgoing> {
    let tag = send_tag::<A>(tag)?;
    let peer = destination::<A>(comm, rank)?;
    Ok((peer, tag, payload::<A>(entry, buffer, count, datatype)?))
}

pub(crate) fn incoming<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    (buffer, count, datatype): (*mut c_void, i64, A::Handle),
    (source, tag): (c_int, c_int),
) -> Result<Incoming> {
    let pattern = pattern::<A>(comm, source, tag)?;
    Ok((pattern, payload::<A>(entry, buffer, count, datatype)?))
}

/// Starts to send; `None` for MPI_PROC_NULL.
///
/// # Safety
/// The payload is readable until the send is complete.
#[inline]
pub(crate) unsafe fn post_send(
    entry: &mut Entry,
    comm: &CommRef,
    (peer, tag, payload): Outgoing,
    mode: Mode,
) -> Result<Option<Sent>> {
    comm.check()?;
    let Some(peer) = peer else {
        return Ok(None);
    };
    let envelope = envelope(comm, tag);
    let mode = match mode {
        Mode::Standard => SendMode::Standard,
        Mode::Waited => SendMode::Waited,
        Mode::Synchronous => SendMode::Synchronous,
        Mode::Buffered => {
            buffered_send(entry, comm, peer, envelope, &payload)?;
            return Ok(Some(Sent::Done));
        }
    };
    // SAFETY: the caller's promise.
    Ok(Some(unsafe { entry.worker.send(peer, envelope, payload, mode) }))
}

/// Starts to receive; `None` for MPI_PROC_NULL.
///
/// # Safety
/// The payload is writable and untouched until the receive is complete.
#[inline]
pub(crate) unsafe fn post_receive(
    entry: &mut Entry,
    (pattern, payload): Incoming,
) -> Option<RequestId> {
    let (from, pattern) = pattern?;
    // SAFETY: the caller's promise.
    Some(unsafe { entry.worker.receive(from, pattern, payload) })
}

/// As [`post_receive`], for a call that leaves the receive in flight: its sender may fill it.
///
/// # Safety
/// As there.
#[inline]
pub(crate) unsafe fn leave_receive(entry: &mut Entry, incoming: Incoming) -> Option<RequestId> {
    let is_long = incoming.1.bytes() >= OFFER_BYTES_MIN;
    // SAFETY: the caller's promise.
    let id = unsafe { post_receive(entry, incoming) };
    if let Some(id) = id
        && is_long
    {
        entry.worker.offer(id);
        progress_thread::wanted(entry);
    }
    id
}

/// Waits for one transfer and returns how it ended.
#[inline]
pub(crate) fn finish(entry: &mut Entry, id: RequestId, receive: bool) -> Finished {
    entry.wait_until(|rt| rt.worker.is_complete(id));
    let completion = entry.worker.take(id).expect("a complete request has a terminal record");
    finished(completion, receive)
}

/// The same for a receive, which ends, too, when a process is lost that might send to any source.
#[inline]
pub(crate) fn finish_receive(entry: &mut Entry, comm: &CommRef, id: RequestId) -> Finished {
    entry.wait_until(|rt| rt.worker.is_complete(id) || rt.has_unacknowledged(comm));
    if !entry.worker.is_complete(id) && entry.worker.is_open_to_all(id) {
        let error = entry.interruption(comm, class::PROC_FAILED);
        entry.worker.cancel(id);
        let ended = finish(entry, id, true);
        return Finished { error: ended.error.or(Some(error)), ..ended };
    }
    finish(entry, id, true)
}

#[inline]
pub(crate) fn finish_send(entry: &mut Entry, sent: Option<Sent>) -> Result {
    match sent {
        Some(Sent::Pending(id)) => {
            entry.worker.attend(id);
            finish(entry, id, false).error.map_or(Ok(()), Err)
        }
        _ => entry.let_messages_leave(),
    }
}

/// Puts a send in flight behind a request handle.
pub(crate) fn send_request(entry: &mut Entry, comm: &CommRef, sent: Option<Sent>) -> Option<u32> {
    match sent {
        Some(Sent::Pending(id)) => entry.requests.insert(Request::Transfer(Transfer {
            id,
            comm: comm.clone(),
            receive: false,
        })),
        _ => Some(REQUEST_DONE),
    }
}

/// Puts a receive in flight behind a request.
pub(crate) fn receive_request(comm: &CommRef, id: Option<RequestId>) -> Request {
    match id {
        Some(id) => Request::Transfer(Transfer { id, comm: comm.clone(), receive: true }),
        None => Request::Done(Finished::PROC_NULL),
    }
}

#[inline(always)]
unsafe fn blocking<A: Abi>(
    name: &'static str,
    buffer: (*const c_void, i64, A::Handle),
    to: (c_int, c_int),
    comm: A::Handle,
    mode: Mode,
) -> c_int {
    if mode == Mode::Waited
        && let Some(mut entry) = Entry::open(name)
        // SAFETY: the caller's promise.
        && unsafe { short::send::<A>(&mut entry, buffer, to, comm) }
    {
        if let Err(error) = entry.let_messages_leave() {
            drop(entry);
            return on_comm::<A>(name, comm, |_, _| Err(error));
        }
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { blocking_any::<A>(name, buffer, to, comm, mode) }
}

#[inline(never)]
unsafe fn blocking_any<A: Abi>(
    name: &'static str,
    buffer: (*const c_void, i64, A::Handle),
    to: (c_int, c_int),
    comm: A::Handle,
    mode: Mode,
) -> c_int {
    on_comm::<A>(name, comm, |entry, comm| {
        let message = outgoing::<A>(entry, comm, buffer, to)?;
        // SAFETY: the buffer is the caller's promise; we wait for completion.
        let sent = unsafe { post_send(entry, comm, message, mode)? };
        finish_send(entry, sent)
    })
}

#[inline(always)]
unsafe fn immediate<A: Abi>(
    name: &'static str,
    buffer: (*const c_void, i64, A::Handle),
    to: (c_int, c_int),
    comm: A::Handle,
    mode: Mode,
    request: *mut A::Handle,
) -> c_int {
    if mode == Mode::Standard
        && let Some(mut entry) = Entry::open(name)
        // SAFETY: the caller's promise.
        && unsafe { short::send::<A>(&mut entry, buffer, to, comm) }
    {
        // SAFETY: `request` is writable, says the caller.
        unsafe { *request = A::handle_out(HandleKind::Request, REQUEST_DONE) };
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { immediate_any::<A>(name, buffer, to, comm, mode, request) }
}

#[inline(never)]
unsafe fn immediate_any<A: Abi>(
    name: &'static str,
    buffer: (*const c_void, i64, A::Handle),
    to: (c_int, c_int),
    comm: A::Handle,
    mode: Mode,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>(name, comm, |entry, comm| {
        let message = outgoing::<A>(entry, comm, buffer, to)?;
        let is_long = message.2.bytes() >= OFFER_BYTES_MIN;
        // SAFETY: the buffer is the caller's promise until the request is complete.
        let sent = unsafe { post_send(entry, comm, message, mode)? };
        if is_long {
            progress_thread::wanted(entry);
        }
        let code = send_request(entry, comm, sent);
        // SAFETY: `request` is writable, says the caller.
        unsafe { *request = handle::<A>(HandleKind::Request, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_Send<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { blocking::<A>("MPI_Send", (buf, count, datatype), (dest, tag), comm, Mode::Waited) }
}

pub unsafe fn MPI_Ssend<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe {
        blocking::<A>("MPI_Ssend", (buf, count, datatype), (dest, tag), comm, Mode::Synchronous)
    }
}

pub unsafe fn MPI_Bsend<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { blocking::<A>("MPI_Bsend", (buf, count, datatype), (dest, tag), comm, Mode::Buffered) }
}

pub unsafe fn MPI_Rsend<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { blocking::<A>("MPI_Rsend", (buf, count, datatype), (dest, tag), comm, Mode::Waited) }
}

pub unsafe fn MPI_Isend<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let buffer = (buf, count, datatype);
    // SAFETY: this function's own conditions.
    unsafe { immediate::<A>("MPI_Isend", buffer, (dest, tag), comm, Mode::Standard, request) }
}

pub unsafe fn MPI_Issend<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let buffer = (buf, count, datatype);
    // SAFETY: this function's own conditions.
    unsafe { immediate::<A>("MPI_Issend", buffer, (dest, tag), comm, Mode::Synchronous, request) }
}

pub unsafe fn MPI_Ibsend<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let buffer = (buf, count, datatype);
    // SAFETY: this function's own conditions.
    unsafe { immediate::<A>("MPI_Ibsend", buffer, (dest, tag), comm, Mode::Buffered, request) }
}

pub unsafe fn MPI_Irsend<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let buffer = (buf, count, datatype);
    // SAFETY: this function's own conditions.
    unsafe { immediate::<A>("MPI_Irsend", buffer, (dest, tag), comm, Mode::Standard, request) }
}

pub unsafe fn MPI_Recv<A: Abi>(
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    source: c_int,
    tag: c_int,
    comm: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (buffer, from) = ((buf, count, datatype), (source, tag));
    if let Some(mut entry) = Entry::open("MPI_Recv") {
        // SAFETY: this function's own conditions.
        if unsafe { short::receive_now::<A>(&mut entry, buffer, from, comm, status) } {
            return 0;
        }
        // SAFETY: as above.
        if let Some(code) = unsafe { receive_posted::<A>(entry, buffer, from, comm, status) } {
            return code;
        }
    }
    // SAFETY: as above.
    unsafe { receive_any::<A>(buffer, from, comm, status) }
}

/// Posts an ordinary receive and waits for it; `None`: it is none, and nothing was done.
#[inline(never)]
unsafe fn receive_posted<A: Abi>(
    mut entry: Entry,
    buffer: (*mut c_void, i64, A::Handle),
    from: (c_int, c_int),
    comm: A::Handle,
    status: *mut A::Status,
) -> Option<c_int> {
    // SAFETY: the caller's promise; we wait for completion.
    let id = unsafe { short::receive::<A, false>(&mut entry, buffer, from, comm)? };
    entry.wait_until(|rt| rt.worker.is_complete(id) || rt.has_failures());
    // SAFETY: `status` is writable or the ignore value, says the caller.
    if unsafe { short::take_received::<A>(&mut entry, id, status) } {
        return Some(0);
    }
    Some(in_comm::<A>(entry, comm, |entry, comm| {
        let ended = finish_receive(entry, comm, id);
        // SAFETY: as above.
        unsafe { A::status_write(status, &ended.status) };
        ended.error.map_or(Ok(()), Err)
    }))
}

#[inline(never)]
unsafe fn receive_any<A: Abi>(
    buffer: (*mut c_void, i64, A::Handle),
    from: (c_int, c_int),
    comm: A::Handle,
    status: *mut A::Status,
) -> c_int {
    on_comm::<A>("MPI_Recv", comm, |entry, comm| {
        let wanted = incoming::<A>(entry, comm, buffer, from)?;
        // SAFETY: the buffer is the caller's promise; we wait for completion.
        let id = unsafe { post_receive(entry, wanted) };
        let ended = match id {
            Some(id) => finish_receive(entry, comm, id),
            None => Finished::PROC_NULL,
        };
        // SAFETY: `status` is writable or the ignore value, says the caller.
        unsafe { A::status_write(status, &ended.status) };
        ended.error.map_or(Ok(()), Err)
    })
}

pub unsafe fn MPI_Irecv<A: Abi>(
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    source: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (buffer, from) = ((buf, count, datatype), (source, tag));
    if let Some(mut entry) = Entry::open("MPI_Irecv")
        // SAFETY: this function's own conditions.
        && let Some(code) = unsafe { short::receive_request::<A>(&mut entry, buffer, from, comm) }
    {
        // SAFETY: `request` is writable, says the caller.
        unsafe { *request = A::handle_out(HandleKind::Request, code) };
        return 0;
    }
    // SAFETY: this function's own conditions.
    unsafe { immediate_receive_any::<A>(buffer, from, comm, request) }
}

#[inline(never)]
unsafe fn immediate_receive_any<A: Abi>(
    buffer: (*mut c_void, i64, A::Handle),
    from: (c_int, c_int),
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Irecv", comm, |entry, comm| {
        let wanted = incoming::<A>(entry, comm, buffer, from)?;
        // SAFETY: the buffer is the caller's promise until the request is complete.
        let id = unsafe { leave_receive(entry, wanted) };
        let code = entry.requests.insert(receive_request(comm, id));
        // SAFETY: `request` is writable, says the caller.
        unsafe { *request = handle::<A>(HandleKind::Request, code)? };
        Ok(())
    })
}

/// An error of a request handle that names nothing.
pub(crate) fn bad_request<T>(code: u32) -> Result<T> {
    error(class::REQUEST, format!("{code:#x} is not a request (already freed?)"))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The way of an ordinary message through the binding, in as few instructions as it takes.
//!
//! Each function here either does the whole of its call, or answers that something about it is out
//! of the ordinary (an argument that is wrong, MPI_PROC_NULL, a derived datatype, no credit, a
//! queue) and has done nothing. The caller then takes the general way, which finds and names what
//! it is. So no error is reported here, and no rule of MPI stands here that does not stand there.

use crate::abi::{Abi, Code, HandleKind, Status};
use crate::api::arguments::{ANY_SOURCE, ANY_TAG};
use crate::entry::Entry;
use crate::handle::REQUEST_DONE;
use crate::object::comm::Comm;
use crate::object::request::{REQUEST_NULL, Request, Transfer};
use crate::runtime::Runtime;
use std::ffi::{c_int, c_void};
use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::worker::{OFFER_BYTES_MIN, Received};

/// Bytes of `count` elements of a predefined, contiguous type.
#[inline(always)]
pub(crate) fn bytes_of<A: Abi>(
    runtime: &Runtime,
    count: i64,
    datatype: A::Handle,
) -> Option<usize> {
    let code = A::handle_in(HandleKind::Datatype, datatype);
    let size = u64::from(runtime.contiguous_sizes.of(code)?);
    // A count below zero is a huge one here.
    (count as u64 <= u64::from(u32::MAX)).then_some((count as u64 * size) as usize)
}

/// Sends a short message in standard mode; `false`: nothing was done.
///
/// # Safety
/// As MPI_Send.
#[inline(always)]
pub(crate) unsafe fn send<A: Abi>(
    entry: &mut Entry,
    (buffer, count, datatype): (*const c_void, i64, A::Handle),
    (dest, tag): (c_int, c_int),
    comm: A::Handle,
) -> bool {
    let Some(bytes) = bytes_of::<A>(entry, count, datatype) else { return false };
    let Some(comm) = entry.comm(A::handle_in(HandleKind::Comm, comm)) else { return false };
    let Some(peer) = comm.peer(dest) else { return false };
    if (tag | comm.bar()) < 0 || (buffer.is_null() && bytes > 0) {
        return false;
    }
    let envelope = Envelope { context: comm.context, source: comm.rank, tag: tag as u32 };
    // SAFETY: the caller says that the buffer holds `count` elements, which are `bytes` bytes.
    unsafe { entry.worker.send_now(peer, envelope, buffer.cast(), bytes) }
}

/// What a receive accepts, if it names a source (or any), and a tag (or any), rightly.
#[inline(always)]
fn pattern<A: Abi>(comm: &Comm, source: c_int, tag: c_int) -> Option<(Option<Peer>, Pattern)> {
    let context = comm.context;
    let tag = match tag {
        tag if tag >= 0 => tag as u32,
        tag if A::tag_in(tag) == ANY_TAG => ANY,
        _ => return None,
    };
    match comm.peer(source | comm.bar()) {
        Some(peer) => Some((Some(peer), Pattern { context, source: source as u32, tag })),
        None if A::rank_in(source) == ANY_SOURCE && !comm.is_revoked() => {
            Some((None, Pattern { context, source: ANY, tag }))
        }
        None => None,
    }
}

/// Posts a receive of a predefined, contiguous type; `None`: nothing was done. `IS_LEFT`: the call
/// leaves it in flight, so a sender may fill a long one.
///
/// # Safety
/// As MPI_Irecv.
#[inline(always)]
pub(crate) unsafe fn receive<A: Abi, const IS_LEFT: bool>(
    entry: &mut Entry,
    (buffer, count, datatype): (*mut c_void, i64, A::Handle),
    (source, tag): (c_int, c_int),
    comm: A::Handle,
) -> Option<RequestId> {
    let bytes = bytes_of::<A>(entry, count, datatype)?;
    let comm = entry.comm(A::handle_in(HandleKind::Comm, comm))?;
    let (from, pattern) = pattern::<A>(comm, source, tag)?;
    if buffer.is_null() && bytes > 0 {
        return None;
    }
    let payload = Payload::Contiguous { base: buffer.cast(), bytes };
    // SAFETY: the caller says that the buffer holds `count` elements, which are `bytes` bytes.
    let id = unsafe { entry.worker.receive(from, pattern, payload) };
    if IS_LEFT && bytes >= OFFER_BYTES_MIN {
        entry.worker.offer(id);
        crate::progress_thread::wanted(entry);
    }
    Some(id)
}

/// Receives a message that is there, or comes at once, and writes its status; `false`: nothing was
/// done.
///
/// # Safety
/// As MPI_Recv.
#[inline(always)]
pub(crate) unsafe fn receive_now<A: Abi>(
    entry: &mut Entry,
    (buffer, count, datatype): (*mut c_void, i64, A::Handle),
    (source, tag): (c_int, c_int),
    comm: A::Handle,
    status: *mut A::Status,
) -> bool {
    let Some(room) = bytes_of::<A>(entry, count, datatype) else { return false };
    let Some(comm) = entry.comm(A::handle_in(HandleKind::Comm, comm)) else { return false };
    let Some((Some(from), wanted)) = pattern::<A>(comm, source, tag) else { return false };
    if (buffer.is_null() && room > 0) || !entry.is_sole() {
        return false;
    }
    // SAFETY: the caller says that the buffer holds `count` elements, which are `room` bytes.
    let got = unsafe { entry.worker.receive_now(from, wanted, (buffer.cast(), room)) };
    let Some(got) = got else { return false };
    // SAFETY: `status` is writable or the ignore value, says the caller.
    unsafe { write_received::<A>(status, &got) };
    true
}

/// # Safety
/// `status` is writable or the ignore value.
#[inline(always)]
unsafe fn write_received<A: Abi>(status: *mut A::Status, message: &Received) {
    if A::is_status_ignore(status) {
        return;
    }
    let value = Status {
        source: message.source as i32,
        tag: message.tag as i32,
        error: 0,
        bytes: message.bytes as u64,
        cancelled: false,
    };
    // SAFETY: the caller's promise.
    unsafe { A::status_write(status, &value) };
}

/// Posts a receive and puts it behind a request; `None`: nothing was done.
///
/// # Safety
/// As MPI_Irecv.
#[inline(always)]
pub(crate) unsafe fn receive_request<A: Abi>(
    entry: &mut Entry,
    buffer: (*mut c_void, i64, A::Handle),
    from: (c_int, c_int),
    comm: A::Handle,
) -> Option<Code> {
    if !entry.requests.has_room() {
        return None;
    }
    // SAFETY: the caller's promise.
    let id = unsafe { receive::<A, true>(entry, buffer, from, comm)? };
    let comm = entry.comm(A::handle_in(HandleKind::Comm, comm))?.clone();
    entry.requests.insert(Request::Transfer(Transfer { id, comm, receive: true }))
}

/// Takes the result of a receive that ended as asked, and writes its status; `false`: it has not,
/// or it ended otherwise, and is still to be taken.
///
/// # Safety
/// `status` is writable or the ignore value.
#[inline(always)]
pub(crate) unsafe fn take_received<A: Abi>(
    entry: &mut Entry,
    id: RequestId,
    status: *mut A::Status,
) -> bool {
    let Some(message) = entry.worker.take_done(id) else { return false };
    // SAFETY: the caller's promise.
    unsafe { write_received::<A>(status, &message) };
    true
}

/// Retires a request that has ended as asked, writes its status, and makes the handle null;
/// `false`: it has not, or is not so simple, and nothing was done.
///
/// # Safety
/// `request` is readable and writable, `status` writable or the ignore value.
#[inline(always)]
pub(crate) unsafe fn retire<A: Abi>(
    entry: &mut Entry,
    request: *mut A::Handle,
    status: *mut A::Status,
) -> bool {
    // SAFETY: the caller's promise.
    let code = A::handle_in(HandleKind::Request, unsafe { *request });
    if code == REQUEST_DONE || code == REQUEST_NULL {
        // SAFETY: as above.
        unsafe { crate::api::request::write_status::<A>(status, &Status::EMPTY) };
    } else {
        let Some(Request::Transfer(transfer)) = entry.requests.get(code) else { return false };
        let (id, is_receive) = (transfer.id, transfer.receive);
        let taken = match is_receive {
            // SAFETY: as above.
            true => unsafe { take_received::<A>(entry, id, status) },
            false => entry.worker.take_done(id).is_some(),
        };
        if !taken {
            return false;
        }
        if let Some(Request::Transfer(transfer)) = entry.requests.remove(code) {
            drop(transfer.comm);
        }
        if !is_receive {
            // SAFETY: as above.
            unsafe { crate::api::request::write_status::<A>(status, &Status::EMPTY) };
        }
    }
    // SAFETY: as above.
    unsafe { *request = A::handle_out(HandleKind::Request, REQUEST_NULL) };
    true
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Send-receive: a send and a receive in one call, blocking and immediate, with two buffers or one
//! (MPI-5.0 section 3.10).

use crate::abi::{Abi, HandleKind, Status};
use crate::api::arguments::handle;
use crate::api::point_to_point::{
    Incoming, Mode, Outgoing, finish_receive, finish_send, incoming, outgoing, post_receive,
    post_send,
};
use crate::entry::{Entry, on_comm};
use crate::error::Result;
use crate::object::comm::CommRef;
use crate::object::request::{Finished, Request, Work, finished};
use std::ffi::{c_int, c_void};
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::worker::Sent;

/// Both halves of a send-receive; the receive is posted first, so that no order can deadlock.
/// Arguments of both were checked before: an error loses nothing.
unsafe fn post_both(
    entry: &mut Entry,
    comm: &CommRef,
    outgoing: Outgoing,
    incoming: Incoming,
) -> Result<(Option<Sent>, Option<RequestId>)> {
    // SAFETY: the caller's promise, for both buffers.
    unsafe {
        let receive = post_receive(entry, incoming);
        Ok((post_send(entry, comm, outgoing, Mode::Standard)?, receive))
    }
}

/// Waits for both halves; the receive's error comes first.
fn finish_both(
    entry: &mut Entry,
    comm: &CommRef,
    sent: Option<Sent>,
    receive: Option<RequestId>,
) -> Finished {
    let mut ended = match receive {
        Some(id) => finish_receive(entry, comm, id),
        None => Finished::PROC_NULL,
    };
    if let Err(error) = finish_send(entry, sent) {
        ended.error.get_or_insert(error);
    }
    ended
}

pub unsafe fn MPI_Sendrecv<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    dest: c_int,
    sendtag: c_int,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    source: c_int,
    recvtag: c_int,
    comm: A::Handle,
    status: *mut A::Status,
) -> c_int {
    on_comm::<A>("MPI_Sendrecv", comm, |entry, comm| {
        let (send, receive) = ((sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype));
        let outgoing = outgoing::<A>(entry, comm, send, (dest, sendtag))?;
        let incoming = incoming::<A>(entry, comm, receive, (source, recvtag))?;
        // SAFETY: both buffers are the caller's promise; we wait for completion.
        let (sent, receive) = unsafe { post_both(entry, comm, outgoing, incoming)? };
        let ended = finish_both(entry, comm, sent, receive);
        // SAFETY: `status` is writable or the ignore value, says the caller.
        unsafe { A::status_write(status, &ended.status) };
        ended.error.map_or(Ok(()), Err)
    })
}

/// A send of a packed copy of a buffer that will be received into, and the copy, which the caller
/// keeps until the send is complete.
unsafe fn copied(outgoing: Outgoing) -> (Outgoing, Box<[u8]>) {
    let (peer, tag, payload) = outgoing;
    let mut copy = vec![0u8; payload.bytes()].into_boxed_slice();
    // SAFETY: the buffer is readable, says the caller; the copy has the payload's size.
    unsafe { payload.pack(0, &mut copy) };
    let packed = Payload::Contiguous { base: copy.as_mut_ptr(), bytes: copy.len() };
    ((peer, tag, packed), copy)
}

pub unsafe fn MPI_Sendrecv_replace<A: Abi>(
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    sendtag: c_int,
    source: c_int,
    recvtag: c_int,
    comm: A::Handle,
    status: *mut A::Status,
) -> c_int {
    on_comm::<A>("MPI_Sendrecv_replace", comm, |entry, comm| {
        let buffer = (buf.cast_const(), count, datatype);
        let outgoing = outgoing::<A>(entry, comm, buffer, (dest, sendtag))?;
        let incoming = incoming::<A>(entry, comm, (buf, count, datatype), (source, recvtag))?;
        // SAFETY: the buffer is readable and writable, says the caller; copy and buffer live until
        // both halves are complete, which we wait for.
        let ended = unsafe {
            let (outgoing, _copy) = copied(outgoing);
            let (sent, receive) = post_both(entry, comm, outgoing, incoming)?;
            finish_both(entry, comm, sent, receive)
        };
        // SAFETY: `status` is writable or the ignore value, says the caller.
        unsafe { A::status_write(status, &ended.status) };
        ended.error.map_or(Ok(()), Err)
    })
}

/// An immediate send-receive: ends when both halves have.
struct SendReceive {
    comm: CommRef,
    sent: Option<RequestId>,
    receive: Option<RequestId>,
    status: Status,
    error: Option<Box<crate::error::MpiError>>,
    /// Keeps the packed copy of the `_replace` form until the send has ended.
    _copy: Option<Box<[u8]>>,
}

impl Work for SendReceive {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        if let Some(id) = self.receive
            && let Some(completion) = entry.worker.take(id)
        {
            let ended = finished(completion, true);
            (self.status, self.receive) = (ended.status, None);
            self.error = self.error.take().or(ended.error);
        }
        if let Some(id) = self.sent
            && let Some(completion) = entry.worker.take(id)
        {
            self.sent = None;
            self.error = self.error.take().or(finished(completion, false).error);
        }
        if self.sent.is_some() || self.receive.is_some() {
            return None;
        }
        Some(Finished { status: self.status, error: self.error.take() })
    }

    fn comm(&self) -> Option<CommRef> {
        Some(self.comm.clone())
    }
}

unsafe fn both_request<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    (sent, receive): (Option<Sent>, Option<RequestId>),
    copy: Option<Box<[u8]>>,
    request: *mut A::Handle,
) -> Result {
    let sent = match sent {
        Some(Sent::Pending(id)) => Some(id),
        _ => None,
    };
    let work = SendReceive {
        comm: comm.clone(),
        sent,
        receive,
        status: Status::PROC_NULL,
        error: None,
        _copy: copy,
    };
    let code = entry.requests.insert(Request::Work(Box::new(work)));
    // SAFETY: `request` is writable, says the caller.
    unsafe { *request = handle::<A>(HandleKind::Request, code)? };
    entry.active.extend(code);
    Ok(())
}

pub unsafe fn MPI_Isendrecv<A: Abi>(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: A::Handle,
    dest: c_int,
    sendtag: c_int,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: A::Handle,
    source: c_int,
    recvtag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Isendrecv", comm, |entry, comm| {
        let (send, receive) = ((sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype));
        let outgoing = outgoing::<A>(entry, comm, send, (dest, sendtag))?;
        let incoming = incoming::<A>(entry, comm, receive, (source, recvtag))?;
        // SAFETY: both buffers are the caller's promise until the request is complete.
        unsafe {
            let both = post_both(entry, comm, outgoing, incoming)?;
            both_request::<A>(entry, comm, both, None, request)
        }
    })
}

pub unsafe fn MPI_Isendrecv_replace<A: Abi>(
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    sendtag: c_int,
    source: c_int,
    recvtag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Isendrecv_replace", comm, |entry, comm| {
        let buffer = (buf.cast_const(), count, datatype);
        let outgoing = outgoing::<A>(entry, comm, buffer, (dest, sendtag))?;
        let incoming = incoming::<A>(entry, comm, (buf, count, datatype), (source, recvtag))?;
        // SAFETY: the buffer is the caller's promise until the request is complete; the copy moves
        // into the request, its heap memory stays where it is.
        unsafe {
            let (outgoing, copy) = copied(outgoing);
            let both = post_both(entry, comm, outgoing, incoming)?;
            both_request::<A>(entry, comm, both, Some(copy), request)
        }
    })
}

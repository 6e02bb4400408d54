// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent point to point (MPI-5.0 section 3.9), and Start for persistent requests of any kind.

use crate::abi::{Abi, HandleKind};
use crate::api::arguments::handle;
use crate::api::point_to_point::{
    Mode, incoming, leave_receive, outgoing, post_send, receive_request,
};
use crate::api::request::{Look, look};
use crate::entry::{Entry, on_comm, on_requests};
use crate::error::{Result, class, error};
use crate::object::comm::CommRef;
use crate::object::partitioned::Side;
use crate::object::request::{Finished, Persistent, Request, Transfer};
use std::ffi::{c_int, c_void};
use strait_transport::worker::Sent;

/// A persistent request behind a handle.
pub(crate) unsafe fn persistent<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    start: impl FnMut(&mut Entry) -> Result<Request> + 'static,
    request: *mut A::Handle,
) -> Result {
    // SAFETY: this function's own conditions.
    unsafe { persistent_side::<A>(entry, comm, start, None, request) }
}

/// The same; of a partitioned one, which side it is.
pub(crate) unsafe fn persistent_side<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    start: impl FnMut(&mut Entry) -> Result<Request> + 'static,
    side: Option<Side>,
    request: *mut A::Handle,
) -> Result {
    let code = entry.requests.insert(Request::Persistent(Box::new(Persistent {
        start: Box::new(start),
        active: None,
        comm: comm.clone(),
        side,
    })));
    // SAFETY: `request` is writable, says the caller.
    unsafe { *request = handle::<A>(HandleKind::Request, code)? };
    Ok(())
}

unsafe fn send_init<A: Abi>(
    name: &'static str,
    buffer: (*const c_void, i64, A::Handle),
    to: (c_int, c_int),
    comm: A::Handle,
    mode: Mode,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>(name, comm, |entry, comm| {
        let message = outgoing::<A>(entry, comm, buffer, to)?;
        let owner = comm.clone();
        let start = move |entry: &mut Entry| {
            // SAFETY: the buffer is the caller's promise from start to completion.
            let sent = unsafe { post_send(entry, &owner, message.clone(), mode)? };
            Ok(match sent {
                Some(Sent::Pending(id)) => {
                    Request::Transfer(Transfer { id, comm: owner.clone(), receive: false })
                }
                _ => Request::Done(Finished::EMPTY),
            })
        };
        // SAFETY: this function's own conditions.
        unsafe { persistent::<A>(entry, comm, start, request) }
    })
}

pub unsafe fn MPI_Send_init<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let buffer = (buf, count, datatype);
    let name = "MPI_Send_init";
    // SAFETY: this function's own conditions.
    unsafe { send_init::<A>(name, buffer, (dest, tag), comm, Mode::Standard, request) }
}

pub unsafe fn MPI_Ssend_init<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let buffer = (buf, count, datatype);
    let name = "MPI_Ssend_init";
    // SAFETY: this function's own conditions.
    unsafe { send_init::<A>(name, buffer, (dest, tag), comm, Mode::Synchronous, request) }
}

pub unsafe fn MPI_Bsend_init<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let buffer = (buf, count, datatype);
    let name = "MPI_Bsend_init";
    // SAFETY: this function's own conditions.
    unsafe { send_init::<A>(name, buffer, (dest, tag), comm, Mode::Buffered, request) }
}

pub unsafe fn MPI_Rsend_init<A: Abi>(
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let buffer = (buf, count, datatype);
    let name = "MPI_Rsend_init";
    // SAFETY: this function's own conditions.
    unsafe { send_init::<A>(name, buffer, (dest, tag), comm, Mode::Standard, request) }
}

pub unsafe fn MPI_Recv_init<A: Abi>(
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    source: c_int,
    tag: c_int,
    comm: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Recv_init", comm, |entry, comm| {
        let wanted = incoming::<A>(entry, comm, (buf, count, datatype), (source, tag))?;
        let owner = comm.clone();
        let start = move |entry: &mut Entry| {
            owner.check()?;
            // SAFETY: the buffer is the caller's promise from start to completion.
            let id = unsafe { leave_receive(entry, wanted.clone()) };
            Ok(receive_request(&owner, id))
        };
        // SAFETY: this function's own conditions.
        unsafe { persistent::<A>(entry, comm, start, request) }
    })
}

/// Starts one persistent request; its closure is out of its place meanwhile.
fn start_one(entry: &mut Entry, code: u32, comm: &mut Option<CommRef>) -> Result {
    let state = look(entry, code);
    let Some(Request::Persistent(p)) = entry.requests.get_mut(code) else {
        return error(class::REQUEST, "only persistent requests can be started");
    };
    *comm = Some(p.comm.clone());
    if state != Look::Inactive {
        return error(
            class::REQUEST,
            "the persistent request is active already: wait for it first",
        );
    }
    let mut start = std::mem::replace(&mut p.start, Box::new(|_| unreachable!("being started")));
    let started = start(entry);
    let Some(Request::Persistent(p)) = entry.requests.get_mut(code) else {
        return error(class::REQUEST, "the persistent request was freed while it was started");
    };
    p.start = start;
    let active = started?;
    if matches!(active, Request::Work(_)) {
        p.active = Some(active);
        entry.active.push(code);
    } else {
        p.active = Some(active);
    }
    Ok(())
}

pub unsafe fn MPI_Start<A: Abi>(request: *mut A::Handle) -> c_int {
    on_requests::<A>("MPI_Start", |entry, comm| {
        // SAFETY: readable, says the caller.
        let code = A::handle_in(HandleKind::Request, unsafe { *request });
        start_one(entry, code, comm)
    })
}

pub unsafe fn MPI_Startall<A: Abi>(count: c_int, array_of_requests: *mut A::Handle) -> c_int {
    on_requests::<A>("MPI_Startall", |entry, comm| {
        if count < 0 {
            return error(class::COUNT, format!("the count is {count}"));
        }
        for i in 0..count as usize {
            // SAFETY: the array has `count` elements, says the caller.
            let handle = unsafe { *array_of_requests.add(i) };
            start_one(entry, A::handle_in(HandleKind::Request, handle), comm)?;
        }
        Ok(())
    })
}

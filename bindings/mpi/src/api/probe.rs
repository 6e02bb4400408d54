// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Probes, and receives of claimed messages (MPI-5.0 section 3.8).

use crate::abi::{Abi, Code, HandleKind, Status};
use crate::api::arguments::{handle, pattern, payload};
use crate::api::point_to_point::{finish, receive_request};
use crate::entry::{Entry, on_comm, on_requests};
use crate::error::{MpiError, Result, class, error, make};
use crate::fault::{class_of_loss, keeps_going, revoked};
use crate::object::comm::CommRef;
use crate::object::request::{Finished, MESSAGE_NO_PROC, MESSAGE_NULL};
use crate::runtime::{ClaimedMessage, Runtime};
use std::ffi::{c_int, c_void};
use strait_transport::envelope::{Pattern, Peer};
use strait_transport::error::IS_LOST;
use strait_transport::worker::{Arrival, MessageId};

fn status_of(arrival: &Arrival) -> Status {
    Status {
        source: arrival.envelope.source as c_int,
        tag: arrival.envelope.tag as c_int,
        error: 0,
        bytes: arrival.bytes as u64,
        cancelled: false,
    }
}

pub unsafe fn MPI_Probe<A: Abi>(
    source: c_int,
    tag: c_int,
    comm: A::Handle,
    status: *mut A::Status,
) -> c_int {
    on_comm::<A>("MPI_Probe", comm, |entry, comm| {
        let found = match pattern::<A>(comm, source, tag)? {
            None => Status::PROC_NULL,
            Some((from, pattern)) => {
                let mut arrival = None;
                entry.wait_until(|rt| {
                    arrival = rt.worker.probe(pattern);
                    arrival.is_some() || is_vain(rt, comm, from)
                });
                arrival_or_lost(entry, comm, from, arrival)?
            }
        };
        // SAFETY: `status` is writable or the ignore value, says the caller.
        unsafe { A::status_write(status, &found) };
        Ok(())
    })
}

/// Whether no message can be waited for: the source is lost, or perhaps one of all, or the
/// communicator is revoked.
fn is_vain(runtime: &mut Runtime, comm: &CommRef, from: Option<Peer>) -> bool {
    let is_open = from.is_none();
    comm.is_revoked() || runtime.is_lost(from) || is_open && runtime.has_unacknowledged(comm)
}

fn arrival_or_lost(
    entry: &Entry,
    comm: &CommRef,
    from: Option<Peer>,
    arrival: Option<Arrival>,
) -> Result<Status> {
    match arrival {
        Some(arrival) => Ok(status_of(&arrival)),
        None => Err(why_vain(entry, comm, from)),
    }
}

#[cold]
fn why_vain(entry: &Entry, comm: &CommRef, from: Option<Peer>) -> Box<MpiError> {
    if comm.is_revoked() {
        return revoked(comm);
    }
    match from {
        None => entry.interruption(comm, class::PROC_FAILED_PENDING),
        Some(_) => make(
            class_of_loss(),
            format!("the process probed for{IS_LOST}no message can come in {}", comm.describe()),
        ),
    }
}

pub unsafe fn MPI_Iprobe<A: Abi>(
    source: c_int,
    tag: c_int,
    comm: A::Handle,
    flag: *mut c_int,
    status: *mut A::Status,
) -> c_int {
    on_comm::<A>("MPI_Iprobe", comm, |entry, comm| {
        let found = match pattern::<A>(comm, source, tag)? {
            None => Some(Status::PROC_NULL),
            Some((from, pattern)) => {
                entry.progress();
                let arrival = entry.worker.probe(pattern);
                // Where ranks do not go on, who asks again and again hears of the end otherwise.
                if arrival.is_none() && keeps_going() && is_vain(entry, comm, from) {
                    return Err(why_vain(entry, comm, from));
                }
                arrival.map(|a| status_of(&a))
            }
        };
        // SAFETY: both are writable (or the status is the ignore value), says the caller.
        unsafe {
            *flag = c_int::from(found.is_some());
            if let Some(found) = found {
                A::status_write(status, &found);
            }
        }
        Ok(())
    })
}

/// Puts a claimed message behind a handle and writes the results.
unsafe fn give_message<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    claimed: Option<(MessageId, Arrival)>,
    message: *mut A::Handle,
    status: *mut A::Status,
) -> Result {
    let (code, found) = match claimed {
        None => (Some(MESSAGE_NO_PROC), Status::PROC_NULL),
        Some((id, arrival)) => {
            let claimed = ClaimedMessage { id, comm: comm.clone() };
            (entry.messages.insert(claimed), status_of(&arrival))
        }
    };
    // SAFETY: both are writable (or the status is the ignore value), says the caller.
    unsafe {
        *message = handle::<A>(HandleKind::Message, code)?;
        A::status_write(status, &found);
    }
    Ok(())
}

fn claim_blocking(
    entry: &mut Entry,
    comm: &CommRef,
    (from, pattern): (Option<Peer>, Pattern),
) -> Result<(MessageId, Arrival)> {
    let mut claimed = None;
    entry.wait_until(|rt| {
        claimed = rt.worker.claim(pattern);
        claimed.is_some() || is_vain(rt, comm, from)
    });
    claimed.ok_or_else(|| why_vain(entry, comm, from))
}

pub unsafe fn MPI_Mprobe<A: Abi>(
    source: c_int,
    tag: c_int,
    comm: A::Handle,
    message: *mut A::Handle,
    status: *mut A::Status,
) -> c_int {
    on_comm::<A>("MPI_Mprobe", comm, |entry, comm| {
        let claimed = match pattern::<A>(comm, source, tag)? {
            None => None,
            Some(wanted) => Some(claim_blocking(entry, comm, wanted)?),
        };
        // SAFETY: this function's own conditions.
        unsafe { give_message::<A>(entry, comm, claimed, message, status) }
    })
}

pub unsafe fn MPI_Improbe<A: Abi>(
    source: c_int,
    tag: c_int,
    comm: A::Handle,
    flag: *mut c_int,
    message: *mut A::Handle,
    status: *mut A::Status,
) -> c_int {
    on_comm::<A>("MPI_Improbe", comm, |entry, comm| {
        let claimed = match pattern::<A>(comm, source, tag)? {
            None => None,
            Some((from, pattern)) => {
                entry.progress();
                match entry.worker.claim(pattern) {
                    Some(claimed) => Some(claimed),
                    None if keeps_going() && is_vain(entry, comm, from) => {
                        return Err(why_vain(entry, comm, from));
                    }
                    None => {
                        // SAFETY: both are writable, says the caller.
                        unsafe {
                            *flag = 0;
                            *message = A::handle_out(HandleKind::Message, MESSAGE_NULL);
                        }
                        return Ok(());
                    }
                }
            }
        };
        // SAFETY: this function's own conditions.
        unsafe {
            *flag = 1;
            give_message::<A>(entry, comm, claimed, message, status)
        }
    })
}

/// Takes a message handle's object; `None` for MPI_MESSAGE_NO_PROC.
unsafe fn take_message<A: Abi>(
    entry: &mut Entry,
    message: *mut A::Handle,
) -> Result<Option<ClaimedMessage>> {
    // SAFETY: `message` is readable, says the caller.
    let code: Code = A::handle_in(HandleKind::Message, unsafe { *message });
    if code == MESSAGE_NO_PROC {
        return Ok(None);
    }
    match entry.messages.get(code) {
        Some(_) => Ok(entry.messages.remove(code)),
        None => error(class::REQUEST, format!("{code:#x} is not a message")),
    }
}

unsafe fn start_claimed<A: Abi>(
    entry: &mut Entry,
    (buf, count, datatype): (*mut c_void, i64, A::Handle),
    message: *mut A::Handle,
    comm: &mut Option<CommRef>,
) -> Result<Option<strait_transport::request::RequestId>> {
    let payload = payload::<A>(entry, buf, count, datatype)?;
    // SAFETY: `message` is readable and writable, says the caller.
    let claimed = unsafe { take_message::<A>(entry, message)? };
    // SAFETY: as above.
    unsafe { *message = A::handle_out(HandleKind::Message, MESSAGE_NULL) };
    Ok(claimed.map(|claimed| {
        *comm = Some(claimed.comm);
        // SAFETY: the buffer is the caller's promise until completion.
        unsafe { entry.worker.receive_claimed(claimed.id, payload) }
    }))
}

pub unsafe fn MPI_Mrecv<A: Abi>(
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    message: *mut A::Handle,
    status: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Mrecv", |entry, comm| {
        // SAFETY: this function's own conditions.
        let id = unsafe { start_claimed::<A>(entry, (buf, count, datatype), message, comm)? };
        let ended = match id {
            Some(id) => finish(entry, id, true),
            None => Finished::PROC_NULL,
        };
        // SAFETY: `status` is writable or the ignore value, says the caller.
        unsafe { A::status_write(status, &ended.status) };
        ended.error.map_or(Ok(()), Err)
    })
}

pub unsafe fn MPI_Imrecv<A: Abi>(
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    message: *mut A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_requests::<A>("MPI_Imrecv", |entry, comm| {
        // SAFETY: this function's own conditions.
        let id = unsafe { start_claimed::<A>(entry, (buf, count, datatype), message, comm)? };
        let owner = comm.clone().unwrap_or_else(|| entry.world.clone());
        let code = entry.requests.insert(receive_request(&owner, id));
        // SAFETY: `request` is writable, says the caller.
        unsafe { *request = handle::<A>(HandleKind::Request, code)? };
        Ok(())
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Completion: Wait and Test families, Request_free, Cancel (MPI-5.0 section 3.7).

use crate::abi::{Abi, Code, HandleKind, Status};
use crate::api::arguments::UNDEFINED;
use crate::api::generalized;
use crate::api::point_to_point::bad_request;
use crate::api::short;
use crate::entry::{Entry, on_requests};
use crate::error::{Result, class, error, make};
use crate::fault;
use crate::handle::REQUEST_DONE;
use crate::object::comm::CommRef;
use crate::object::request::{Finished, REQUEST_NULL, Request, finished};
use crate::runtime::Runtime;
use std::ffi::c_int;

/// What a look at a request finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// Null, or persistent and inactive: nothing to wait for.
    Inactive,
    /// In flight.
    Active,
    /// Ended.
    Ended,
}

fn look_at(runtime: &Runtime, request: &Request) -> Look {
    match request {
        Request::Transfer(t) if runtime.worker.is_complete(t.id) => Look::Ended,
        // It has not ended, but its wait has.
        Request::Transfer(t) if runtime.is_interrupted(t) => Look::Ended,
        Request::Transfer(_) | Request::Work(_) | Request::Advancing => Look::Active,
        Request::Done(_) | Request::Failed(_) => Look::Ended,
        Request::Generalized(g) if g.complete => Look::Ended,
        Request::Generalized(_) => Look::Active,
        Request::Persistent(p) => match &p.active {
            None => Look::Inactive,
            Some(active) => look_at(runtime, active),
        },
    }
}

/// Looks at the request of a code that was checked.
#[inline]
pub(crate) fn look(runtime: &Runtime, code: Code) -> Look {
    match code {
        REQUEST_NULL => Look::Inactive,
        REQUEST_DONE => Look::Ended,
        _ => runtime.requests.get(code).map_or(Look::Inactive, |r| look_at(runtime, r)),
    }
}

pub(crate) fn check(runtime: &Runtime, code: Code) -> Result {
    if code == REQUEST_NULL || code == REQUEST_DONE || runtime.requests.get(code).is_some() {
        return Ok(());
    }
    bad_request(code)
}

/// Takes what an ended request has to tell; frees it, or makes it inactive if it is persistent.
/// The second value says whether the handle is gone.
pub(crate) fn retire(entry: &mut Entry, code: Code) -> (Finished, bool, Option<CommRef>) {
    if code == REQUEST_NULL || code == REQUEST_DONE {
        return (Finished::EMPTY, true, None);
    }
    if let Some((ended, comm)) = fault::interrupted(entry, code) {
        return (ended, false, Some(comm));
    }
    let active = match entry.requests.get_mut(code) {
        None => return (Finished::EMPTY, true, None),
        Some(Request::Persistent(p)) => {
            let comm = p.comm.clone();
            match p.active.take() {
                None => return (Finished::EMPTY, false, None),
                Some(active) => Some((active, comm)),
            }
        }
        Some(_) => None,
    };
    match active {
        Some((active, comm)) => (conclude(entry, active).0, false, Some(comm)),
        None => {
            let request = entry.requests.remove(code).expect("just looked up");
            let (ended, comm) = conclude(entry, request);
            (ended, true, comm)
        }
    }
}

fn conclude(entry: &mut Entry, request: Request) -> (Finished, Option<CommRef>) {
    match request {
        Request::Transfer(t) => {
            let completion = entry.worker.take(t.id).expect("the request has ended");
            (finished(completion, t.receive), Some(t.comm))
        }
        Request::Done(ended) => (ended, None),
        Request::Failed(ended) => {
            let (ended, comm) = *ended;
            (ended, Some(comm))
        }
        Request::Generalized(g) => (generalized::conclude(entry, &g), None),
        Request::Work(_) | Request::Advancing | Request::Persistent(_) => {
            unreachable!("only ended requests get here")
        }
    }
}

/// Codes of the caller's requests, checked.
pub(crate) unsafe fn codes<A: Abi>(
    entry: &Entry,
    count: c_int,
    requests: *const A::Handle,
) -> Result<Vec<Code>> {
    if count < 0 {
        return error(class::COUNT, format!("the count is {count}; it must not be negative"));
    }
    (0..count as usize)
        .map(|i| {
            // SAFETY: the array has `count` elements, says the caller.
            let code = A::handle_in(HandleKind::Request, unsafe { *requests.add(i) });
            check(entry, code).map(|()| code)
        })
        .collect()
}

/// Checks all of the caller's requests before anything is done with one.
unsafe fn check_all<A: Abi>(entry: &Entry, count: c_int, requests: *const A::Handle) -> Result {
    if count < 0 {
        return error(class::COUNT, format!("the count is {count}; it must not be negative"));
    }
    for i in 0..count as usize {
        // SAFETY: the array has `count` elements, says the caller.
        check(entry, A::handle_in(HandleKind::Request, unsafe { *requests.add(i) }))?;
    }
    Ok(())
}

unsafe fn code_of<A: Abi>(entry: &Entry, request: *const A::Handle) -> Result<Code> {
    // SAFETY: readable, says the caller.
    let code = A::handle_in(HandleKind::Request, unsafe { *request });
    check(entry, code).map(|()| code)
}

fn null<A: Abi>() -> A::Handle {
    A::handle_out(HandleKind::Request, REQUEST_NULL)
}

/// Writes a status; an empty one has MPI_SUCCESS in its error field (MPI-5.0 section 3.7.3).
///
/// # Safety
/// `status` is writable or the ignore value.
pub(crate) unsafe fn write_status<A: Abi>(status: *mut A::Status, value: &Status) {
    // SAFETY: the caller's promise.
    unsafe {
        A::status_write(status, value);
        if *value == Status::EMPTY {
            A::status_write_error(status, 0);
        }
    }
}

/// Retires one request and writes its handle and status.
unsafe fn settle<A: Abi>(
    entry: &mut Entry,
    code: Code,
    request: *mut A::Handle,
    status: *mut A::Status,
    comm: &mut Option<CommRef>,
) -> Result {
    let (ended, gone, owner) = retire(entry, code);
    // SAFETY: both are writable (or the status is the ignore value), says the caller.
    unsafe {
        if gone {
            *request = null::<A>();
        }
        write_status::<A>(status, &ended.status);
    }
    if ended.error.is_some() {
        *comm = owner;
    }
    ended.error.map_or(Ok(()), Err)
}

pub unsafe fn MPI_Wait<A: Abi>(request: *mut A::Handle, status: *mut A::Status) -> c_int {
    on_requests::<A>("MPI_Wait", |entry, comm| {
        // SAFETY: this function's own conditions.
        if unsafe { short::retire::<A>(entry, request, status) } {
            return Ok(());
        }
        // SAFETY: this function's own conditions.
        let code = unsafe { code_of::<A>(entry, request)? };
        entry.wait_until(|rt| look(rt, code) != Look::Active);
        // SAFETY: this function's own conditions.
        unsafe { settle::<A>(entry, code, request, status, comm) }
    })
}

pub unsafe fn MPI_Test<A: Abi>(
    request: *mut A::Handle,
    flag: *mut c_int,
    status: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Test", |entry, comm| {
        // SAFETY: this function's own conditions.
        let code = unsafe { code_of::<A>(entry, request)? };
        if look(entry, code) == Look::Active {
            entry.progress();
        }
        let ended = look(entry, code) != Look::Active;
        // SAFETY: this function's own conditions.
        unsafe {
            *flag = c_int::from(ended);
            match ended {
                true => settle::<A>(entry, code, request, status, comm),
                false => Ok(()),
            }
        }
    })
}

/// Waits for all of `count` checked requests, one after the other, and retires each as it ends;
/// MPI_ERR_IN_STATUS if one failed, with each status' error field set.
unsafe fn settle_all<A: Abi>(
    entry: &mut Entry,
    count: usize,
    requests: *mut A::Handle,
    statuses: *mut A::Status,
    comm: &mut Option<CommRef>,
) -> Result {
    let ignore = A::is_status_ignore(statuses);
    let mut failed = Vec::new();
    for i in 0..count {
        let request = requests.wrapping_add(i);
        let status = if ignore { statuses } else { statuses.wrapping_add(i) };
        // SAFETY: the arrays have `count` elements, says the caller.
        unsafe {
            if short::retire::<A>(entry, request, status) {
                continue;
            }
            let code = A::handle_in(HandleKind::Request, *request);
            entry.wait_until(|rt| look(rt, code) != Look::Active);
            if !short::retire::<A>(entry, request, status)
                && let Err(error) = settle::<A>(entry, code, request, status, comm)
            {
                failed.push((i, error));
            }
        }
    }
    let Some((at, error)) = failed.first() else {
        return Ok(());
    };
    let text = format!("request {at} of {count}: {}", error.text);
    if !ignore {
        for i in 0..count {
            let code = failed.iter().find(|(at, _)| *at == i).map_or(0, |(_, e)| e.code);
            // SAFETY: as above.
            unsafe { A::status_write_error(statuses.add(i), A::error_out(code)) };
        }
    }
    Err(make(class::IN_STATUS, text))
}

pub unsafe fn MPI_Waitall<A: Abi>(
    count: c_int,
    array_of_requests: *mut A::Handle,
    array_of_statuses: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Waitall", |entry, comm| {
        // SAFETY: this function's own conditions.
        unsafe { check_all::<A>(entry, count, array_of_requests)? };
        // SAFETY: this function's own conditions.
        unsafe {
            settle_all::<A>(entry, count as usize, array_of_requests, array_of_statuses, comm)
        }
    })
}

pub unsafe fn MPI_Testall<A: Abi>(
    count: c_int,
    array_of_requests: *mut A::Handle,
    flag: *mut c_int,
    array_of_statuses: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Testall", |entry, comm| {
        // SAFETY: this function's own conditions.
        let codes = unsafe { codes::<A>(entry, count, array_of_requests)? };
        entry.progress();
        let ended = codes.iter().all(|&c| look(entry, c) != Look::Active);
        // SAFETY: this function's own conditions.
        unsafe {
            *flag = c_int::from(ended);
            match ended {
                true => {
                    settle_all::<A>(entry, codes.len(), array_of_requests, array_of_statuses, comm)
                }
                false => Ok(()),
            }
        }
    })
}

/// Index of an ended request; all inactive: `Err(())`.
pub(crate) fn any_ended(
    runtime: &Runtime,
    codes: &[Code],
) -> std::result::Result<Option<usize>, ()> {
    let mut inactive = true;
    for (i, &code) in codes.iter().enumerate() {
        match look(runtime, code) {
            Look::Ended => return Ok(Some(i)),
            Look::Active => inactive = false,
            Look::Inactive => {}
        }
    }
    if inactive { Err(()) } else { Ok(None) }
}

pub unsafe fn MPI_Waitany<A: Abi>(
    count: c_int,
    array_of_requests: *mut A::Handle,
    index: *mut c_int,
    status: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Waitany", |entry, comm| {
        // SAFETY: this function's own conditions.
        let codes = unsafe { codes::<A>(entry, count, array_of_requests)? };
        let mut found = None;
        entry.wait_until(|rt| match any_ended(rt, &codes) {
            Ok(None) => false,
            Ok(at) => {
                found = at;
                true
            }
            Err(()) => true,
        });
        // SAFETY: this function's own conditions.
        unsafe { settle_any::<A>(entry, &codes, found, array_of_requests, index, status, comm) }
    })
}

unsafe fn settle_any<A: Abi>(
    entry: &mut Entry,
    codes: &[Code],
    found: Option<usize>,
    requests: *mut A::Handle,
    index: *mut c_int,
    status: *mut A::Status,
    comm: &mut Option<CommRef>,
) -> Result {
    // SAFETY: all pointers are as the MPI functions that call this say.
    unsafe {
        match found {
            Some(i) => {
                *index = i as c_int;
                settle::<A>(entry, codes[i], requests.add(i), status, comm)
            }
            None => {
                *index = UNDEFINED;
                write_status::<A>(status, &Status::EMPTY);
                Ok(())
            }
        }
    }
}

pub unsafe fn MPI_Testany<A: Abi>(
    count: c_int,
    array_of_requests: *mut A::Handle,
    index: *mut c_int,
    flag: *mut c_int,
    status: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Testany", |entry, comm| {
        // SAFETY: this function's own conditions.
        let codes = unsafe { codes::<A>(entry, count, array_of_requests)? };
        entry.progress();
        let found = any_ended(entry, &codes);
        // SAFETY: this function's own conditions.
        unsafe {
            *flag = c_int::from(found != Ok(None));
            if found == Ok(None) {
                *index = UNDEFINED;
                return Ok(());
            }
            let at = found.unwrap_or(None);
            settle_any::<A>(entry, &codes, at, array_of_requests, index, status, comm)
        }
    })
}

/// Retires all that have ended; the indices and statuses are dense.
unsafe fn settle_some<A: Abi>(
    entry: &mut Entry,
    codes: &[Code],
    requests: *mut A::Handle,
    outcount: *mut c_int,
    indices: *mut c_int,
    statuses: *mut A::Status,
    comm: &mut Option<CommRef>,
) -> Result {
    let ended: Vec<usize> =
        (0..codes.len()).filter(|&i| look(entry, codes[i]) == Look::Ended).collect();
    let ignore = A::is_status_ignore(statuses);
    let (mut errors, mut first) = (Vec::new(), None);
    for (slot, &i) in ended.iter().enumerate() {
        let status = if ignore { statuses } else { statuses.wrapping_add(slot) };
        // SAFETY: all arrays have as many elements as there are requests, says the caller.
        let result = unsafe {
            *indices.add(slot) = i as c_int;
            settle::<A>(entry, codes[i], requests.add(i), status, comm)
        };
        errors.push(result.as_ref().err().map_or(0, |e| e.code));
        if let Err(error) = result {
            first.get_or_insert((i, error));
        }
    }
    // SAFETY: writable, says the caller.
    unsafe { *outcount = ended.len() as c_int };
    let Some((at, error)) = first else {
        return Ok(());
    };
    if !ignore {
        for (slot, code) in errors.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { A::status_write_error(statuses.add(slot), A::error_out(code)) };
        }
    }
    Err(make(class::IN_STATUS, format!("request {at} of {}: {}", codes.len(), error.text)))
}

pub unsafe fn MPI_Waitsome<A: Abi>(
    incount: c_int,
    array_of_requests: *mut A::Handle,
    outcount: *mut c_int,
    array_of_indices: *mut c_int,
    array_of_statuses: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Waitsome", |entry, comm| {
        // SAFETY: this function's own conditions.
        let codes = unsafe { codes::<A>(entry, incount, array_of_requests)? };
        let mut inactive = false;
        entry.wait_until(|rt| match any_ended(rt, &codes) {
            Ok(found) => found.is_some(),
            Err(()) => {
                inactive = true;
                true
            }
        });
        // SAFETY: this function's own conditions.
        unsafe {
            if inactive {
                *outcount = UNDEFINED;
                return Ok(());
            }
            settle_some::<A>(
                entry,
                &codes,
                array_of_requests,
                outcount,
                array_of_indices,
                array_of_statuses,
                comm,
            )
        }
    })
}

pub unsafe fn MPI_Testsome<A: Abi>(
    incount: c_int,
    array_of_requests: *mut A::Handle,
    outcount: *mut c_int,
    array_of_indices: *mut c_int,
    array_of_statuses: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Testsome", |entry, comm| {
        // SAFETY: this function's own conditions.
        let codes = unsafe { codes::<A>(entry, incount, array_of_requests)? };
        entry.progress();
        // SAFETY: this function's own conditions.
        unsafe {
            if any_ended(entry, &codes) == Err(()) {
                *outcount = UNDEFINED;
                return Ok(());
            }
            settle_some::<A>(
                entry,
                &codes,
                array_of_requests,
                outcount,
                array_of_indices,
                array_of_statuses,
                comm,
            )
        }
    })
}

pub unsafe fn MPI_Request_free<A: Abi>(request: *mut A::Handle) -> c_int {
    on_requests::<A>("MPI_Request_free", |entry, _| {
        // SAFETY: this function's own conditions.
        let code = unsafe { code_of::<A>(entry, request)? };
        if code == REQUEST_NULL {
            return error(class::REQUEST, "the request is MPI_REQUEST_NULL");
        }
        release(entry, code);
        // SAFETY: writable, says the caller.
        unsafe { *request = null::<A>() };
        Ok(())
    })
}

/// Gives a request up; what is in flight goes on.
fn release(entry: &mut Entry, code: Code) {
    if code == REQUEST_DONE {
        return;
    }
    if look(entry, code) == Look::Ended {
        let (_, gone, _) = retire(entry, code);
        if gone {
            return;
        }
    }
    let Some(request) = entry.requests.get_mut(code) else {
        return;
    };
    if let Request::Persistent(p) = request {
        match p.active.take() {
            Some(active) => *request = active,
            None => {
                entry.requests.remove(code);
                return;
            }
        }
    }
    match entry.requests.get(code) {
        Some(Request::Transfer(t)) => {
            let id = t.id;
            entry.worker.detach(id);
            entry.requests.remove(code);
        }
        // Its work goes on; the entry is removed when that ends.
        Some(Request::Work(_) | Request::Advancing) => entry.orphans.push(code),
        // Freed before it is complete: MPI_Grequest_complete ends it.
        Some(Request::Generalized(_)) => entry.orphans.push(code),
        _ => {
            entry.requests.remove(code);
        }
    }
}

pub unsafe fn MPI_Cancel<A: Abi>(request: *mut A::Handle) -> c_int {
    on_requests::<A>("MPI_Cancel", |entry, _| {
        // SAFETY: this function's own conditions.
        let code = unsafe { code_of::<A>(entry, request)? };
        if code == REQUEST_NULL {
            return error(class::REQUEST, "the request is MPI_REQUEST_NULL");
        }
        let (transfer, generalized) = match entry.requests.get(code) {
            Some(Request::Transfer(t)) => (Some(t.id), None),
            Some(Request::Persistent(p)) => match &p.active {
                Some(Request::Transfer(t)) => (Some(t.id), None),
                _ => (None, None),
            },
            Some(Request::Generalized(g)) => {
                (None, Some((g.cancel, g.extra_state, g.complete, g.error_in)))
            }
            Some(Request::Work(_) | Request::Advancing) => {
                return error(
                    class::REQUEST,
                    "only sends, receives and generalized requests can \
                                              be cancelled",
                );
            }
            _ => (None, None),
        };
        if let Some(id) = transfer {
            entry.worker.cancel(id);
            // A message to ourselves is asked for, found and given back in three looks: users who
            // look at the request next should see what became of it.
            for _ in 0..3 {
                entry.progress();
            }
        }
        match generalized {
            Some(parts) => generalized::cancel(entry, parts),
            None => Ok(()),
        }
    })
}

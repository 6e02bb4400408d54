// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Looking at requests without completing them: the Request_get_status family (MPI-5.0
//! section 3.7.6).

use crate::abi::{Abi, Code, HandleKind, Status};
use crate::api::arguments::UNDEFINED;
use crate::api::generalized;
use crate::api::request::{Look, any_ended, check, codes, look, write_status};
use crate::entry::{Entry, on_requests};
use crate::object::request::{Finished, Request, finished};
use std::ffi::c_int;

/// What a status says of a request that stays as it is.
fn peek(entry: &mut Entry, code: Code) -> Finished {
    let finished_of = |entry: &mut Entry, request: *const Request| -> Finished {
        // SAFETY: the request is in the slab and nothing changes the slab meanwhile.
        match unsafe { &*request } {
            Request::Done(ended) => ended.clone(),
            Request::Failed(ended) => ended.0.clone(),
            Request::Generalized(g) => generalized::query(entry, g),
            _ => Finished::EMPTY,
        }
    };
    // A transfer is taken from the transport and kept here, for the Wait that follows.
    let (place, id) = match entry.requests.get_mut(code) {
        Some(Request::Persistent(p)) => match &mut p.active {
            Some(r) => (&raw mut *r, transfer_of(r)),
            None => return Finished::EMPTY,
        },
        Some(r) => (&raw mut *r, transfer_of(r)),
        None => return Finished::EMPTY,
    };
    if let Some((id, receive)) = id
        && let Some(completion) = entry.worker.take(id)
    {
        // SAFETY: the slab did not change since the pointer was made.
        unsafe { *place = Request::Done(finished(completion, receive)) };
    }
    finished_of(entry, place)
}

fn transfer_of(request: &Request) -> Option<(strait_transport::request::RequestId, bool)> {
    match request {
        Request::Transfer(t) => Some((t.id, t.receive)),
        _ => None,
    }
}

pub unsafe fn MPI_Request_get_status<A: Abi>(
    request: A::Handle,
    flag: *mut c_int,
    status: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Request_get_status", |entry, _| {
        let code = A::handle_in(HandleKind::Request, request);
        check(entry, code)?;
        if look(entry, code) == Look::Active {
            entry.progress();
        }
        let ended = look(entry, code) != Look::Active;
        // SAFETY: this function's own conditions.
        unsafe {
            *flag = c_int::from(ended);
            if ended {
                let found = peek(entry, code);
                write_status::<A>(status, &found.status);
            }
        }
        Ok(())
    })
}

pub unsafe fn MPI_Request_get_status_all<A: Abi>(
    count: c_int,
    array_of_requests: *const A::Handle,
    flag: *mut c_int,
    array_of_statuses: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Request_get_status_all", |entry, _| {
        // SAFETY: this function's own conditions.
        let codes = unsafe { codes::<A>(entry, count, array_of_requests)? };
        entry.progress();
        let ended = codes.iter().all(|&c| look(entry, c) != Look::Active);
        // SAFETY: this function's own conditions.
        unsafe {
            *flag = c_int::from(ended);
            if ended && !A::is_status_ignore(array_of_statuses) {
                for (i, &code) in codes.iter().enumerate() {
                    let found = peek(entry, code);
                    write_status::<A>(array_of_statuses.add(i), &found.status);
                }
            }
        }
        Ok(())
    })
}

pub unsafe fn MPI_Request_get_status_any<A: Abi>(
    count: c_int,
    array_of_requests: *const A::Handle,
    index: *mut c_int,
    flag: *mut c_int,
    status: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Request_get_status_any", |entry, _| {
        // SAFETY: this function's own conditions.
        let codes = unsafe { codes::<A>(entry, count, array_of_requests)? };
        entry.progress();
        let found = any_ended(entry, &codes);
        // SAFETY: this function's own conditions.
        unsafe {
            *flag = c_int::from(found != Ok(None));
            *index = UNDEFINED;
            match found {
                Ok(None) => {}
                Err(()) => write_status::<A>(status, &Status::EMPTY),
                Ok(Some(i)) => {
                    *index = i as c_int;
                    let found = peek(entry, codes[i]);
                    write_status::<A>(status, &found.status);
                }
            }
        }
        Ok(())
    })
}

pub unsafe fn MPI_Request_get_status_some<A: Abi>(
    incount: c_int,
    array_of_requests: *const A::Handle,
    outcount: *mut c_int,
    array_of_indices: *mut c_int,
    array_of_statuses: *mut A::Status,
) -> c_int {
    on_requests::<A>("MPI_Request_get_status_some", |entry, _| {
        // SAFETY: this function's own conditions.
        let codes = unsafe { codes::<A>(entry, incount, array_of_requests)? };
        entry.progress();
        if any_ended(entry, &codes) == Err(()) {
            // SAFETY: writable, says the caller.
            unsafe { *outcount = UNDEFINED };
            return Ok(());
        }
        let mut slot = 0;
        for (i, &code) in codes.iter().enumerate() {
            if look(entry, code) != Look::Ended {
                continue;
            }
            let found = peek(entry, code);
            // SAFETY: all arrays have as many elements as there are requests, says the caller.
            unsafe {
                *array_of_indices.add(slot) = i as c_int;
                if !A::is_status_ignore(array_of_statuses) {
                    write_status::<A>(array_of_statuses.add(slot), &found.status);
                }
            }
            slot += 1;
        }
        // SAFETY: writable, says the caller.
        unsafe { *outcount = slot as c_int };
        Ok(())
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Generalized requests (MPI-5.0 section 13.2).

use crate::abi::{Abi, HandleKind, Status};
use crate::api::arguments::handle;
use crate::entry::{Entry, on_process};
use crate::error::{Result, class, error, make};
use crate::object::request::{Finished, Generalized, Request};
use std::ffi::{c_int, c_void};

/// Calls a query callback with a status of one face.
type Query = fn(&mut Entry, *const c_void, *mut c_void) -> (Status, c_int);

/// The one of the face that is active, set by the first [`MPI_Grequest_start`].
static QUERY_OF_FACE: std::sync::OnceLock<Query> = std::sync::OnceLock::new();

fn query_as<A: Abi>(
    entry: &mut Entry,
    function: *const c_void,
    extra: *mut c_void,
) -> (Status, c_int) {
    type Function<S> = unsafe extern "C" fn(*mut c_void, *mut S) -> c_int;
    // SAFETY: the user passed a function of this type to MPI_Grequest_start.
    let function = unsafe { std::mem::transmute::<*const c_void, Function<A::Status>>(function) };
    // Large enough and aligned for the status of either face (32 bytes).
    let mut place = [0u64; 8];
    let status = place.as_mut_ptr().cast::<A::Status>();
    // SAFETY: `status` points to writable memory of sufficient size; the lock is not held.
    unsafe {
        A::status_write(status, &Status::EMPTY);
        let code = entry.outside(|| function(extra, status));
        (A::status_read(status), A::error_in(code))
    }
}

/// Calls the free callback; its canonical error code.
fn call_free(entry: &mut Entry, g: &Generalized) -> c_int {
    let (function, extra) = (g.free, g.extra_state);
    type Function = unsafe extern "C" fn(*mut c_void) -> c_int;
    // SAFETY: the user passed a function of this type to MPI_Grequest_start.
    let function = unsafe { std::mem::transmute::<*const c_void, Function>(function) };
    // SAFETY: as the user asked; the lock is not held.
    let code = entry.outside(|| unsafe { function(extra) });
    (g.error_in)(code)
}

/// The status that the user's query callback gives.
pub(crate) fn query(entry: &mut Entry, g: &Generalized) -> Finished {
    let ask = QUERY_OF_FACE.get().expect("set when the first one was started");
    let (function, extra) = (g.query, g.extra_state);
    let (status, code) = ask(entry, function, extra);
    let error = (code != 0).then(|| make(code, "the query function of a generalized request"));
    Finished { status, error }
}

/// Query and free callbacks, as a Wait or Test calls them.
pub(crate) fn conclude(entry: &mut Entry, g: &Generalized) -> Finished {
    let mut ended = query(entry, g);
    let code = call_free(entry, g);
    if code != 0 && ended.error.is_none() {
        ended.error = Some(make(code, "the free function of a generalized request failed"));
    }
    ended
}

/// What the cancel callback needs: function, state, whether complete, how its codes are read.
pub(crate) type CancelParts = (*const c_void, *mut c_void, bool, fn(c_int) -> c_int);

/// The cancel callback.
pub(crate) fn cancel(
    entry: &mut Entry,
    (function, extra, complete, error_in): CancelParts,
) -> Result {
    type Function = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;
    // SAFETY: the user passed a function of this type to MPI_Grequest_start.
    let function = unsafe { std::mem::transmute::<*const c_void, Function>(function) };
    // SAFETY: as the user asked; the lock is not held.
    match entry.outside(|| unsafe { function(extra, c_int::from(complete)) }) {
        0 => Ok(()),
        code => error(error_in(code), "the cancel function of a generalized request failed"),
    }
}

pub unsafe fn MPI_Grequest_start<A: Abi>(
    query_fn: *const c_void,
    free_fn: *const c_void,
    cancel_fn: *const c_void,
    extra_state: *mut c_void,
    request: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Grequest_start", |entry| {
        if query_fn.is_null() || free_fn.is_null() || cancel_fn.is_null() {
            return error(class::ARG, "a callback of the generalized request is NULL");
        }
        QUERY_OF_FACE.get_or_init(|| query_as::<A>);
        let code = entry.requests.insert(Request::Generalized(Box::new(Generalized {
            query: query_fn,
            free: free_fn,
            cancel: cancel_fn,
            extra_state,
            complete: false,
            error_in: A::error_in,
        })));
        // SAFETY: `request` is writable, says the caller.
        unsafe { *request = handle::<A>(HandleKind::Request, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_Grequest_complete<A: Abi>(request: A::Handle) -> c_int {
    on_process::<A>("MPI_Grequest_complete", |entry| {
        let code = A::handle_in(HandleKind::Request, request);
        let Some(Request::Generalized(g)) = entry.requests.get_mut(code) else {
            return error(class::REQUEST, "this is not a generalized request");
        };
        g.complete = true;
        // Another thread may wait for it.
        entry.sleeper.wake_all();
        if let Some(at) = entry.orphans.iter().position(|&o| o == code) {
            entry.orphans.swap_remove(at);
            if let Some(Request::Generalized(g)) = entry.requests.remove(code) {
                call_free(entry, &g);
            }
        }
        Ok(())
    })
}

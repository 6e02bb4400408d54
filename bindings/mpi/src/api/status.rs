// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fields of a status (MPI-5.0 sections 3.2.5, 3.8.4 and 13.3). Counts are with the datatypes.

use crate::abi::{Abi, Status};
use crate::error::class;
use std::ffi::c_int;

/// Reads a status for one field of it.
unsafe fn get<A: Abi, T>(
    status: *const A::Status,
    into: *mut T,
    field: impl FnOnce(&Status) -> T,
) -> c_int {
    if A::is_status_ignore(status) || status.is_null() || into.is_null() {
        return A::error_out(class::ARG);
    }
    // SAFETY: not the ignore value, so the caller says that it is a status, and `into` writable.
    unsafe { *into = field(&A::status_read(status)) };
    0
}

/// Changes one field of a status.
unsafe fn set<A: Abi>(status: *mut A::Status, change: impl FnOnce(&mut Status)) -> c_int {
    if A::is_status_ignore(status) || status.is_null() {
        return A::error_out(class::ARG);
    }
    // SAFETY: not the ignore value, so the caller says that it is a status of its own.
    unsafe {
        let mut value = A::status_read(status);
        change(&mut value);
        A::status_write(status, &value);
        A::status_write_error(status, value.error);
    }
    0
}

pub unsafe fn MPI_Status_get_source<A: Abi>(status: *const A::Status, source: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { get::<A, c_int>(status, source, |s| A::rank_out(s.source)) }
}

pub unsafe fn MPI_Status_get_tag<A: Abi>(status: *const A::Status, tag: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { get::<A, c_int>(status, tag, |s| A::tag_out(s.tag)) }
}

pub unsafe fn MPI_Status_get_error<A: Abi>(status: *const A::Status, err: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { get::<A, c_int>(status, err, |s| A::error_out(s.error)) }
}

pub unsafe fn MPI_Test_cancelled<A: Abi>(status: *const A::Status, flag: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { get::<A, c_int>(status, flag, |s| c_int::from(s.cancelled)) }
}

pub unsafe fn MPI_Status_set_source<A: Abi>(status: *mut A::Status, source: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { set::<A>(status, |s| s.source = A::rank_in(source)) }
}

pub unsafe fn MPI_Status_set_tag<A: Abi>(status: *mut A::Status, tag: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { set::<A>(status, |s| s.tag = A::tag_in(tag)) }
}

pub unsafe fn MPI_Status_set_error<A: Abi>(status: *mut A::Status, err: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { set::<A>(status, |s| s.error = A::error_in(err)) }
}

pub unsafe fn MPI_Status_set_cancelled<A: Abi>(status: *mut A::Status, flag: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { set::<A>(status, |s| s.cancelled = flag != 0) }
}

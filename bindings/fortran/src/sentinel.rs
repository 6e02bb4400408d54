// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The variables that stand for a constant by their address (MPI-5.0 section 2.5.4): MPI_IN_PLACE
//! and its like. A Fortran compiler passes addresses, so a place is all that can be recognised.
//!
//! Invariants:
//! 1. Each has one address in a process. In a program that uses mpif.h it is a COMMON block, which
//!    the program defines too; the dynamic linker settles on one of the two. Hence they are
//!    exported, and only looked at through the linker's table (Rust does so for what is exported).
//! 2. Nothing reads or writes them.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};

/// MPI_IN_PLACE, MPI_BUFFER_AUTOMATIC, MPI_UNWEIGHTED, MPI_WEIGHTS_EMPTY in C.
const IN_PLACE: usize = 1;
const BUFFER_AUTOMATIC: usize = 2;
const UNWEIGHTED: usize = 10;
const WEIGHTS_EMPTY: usize = 11;

/// A variable of Fortran's.
#[repr(transparent)]
pub struct Place<T>(UnsafeCell<T>);

// SAFETY: nothing reads or writes it.
unsafe impl<T> Sync for Place<T> {}

impl<T> Place<T> {
    const fn new(value: T) -> Place<T> {
        Place(UnsafeCell::new(value))
    }

    #[inline]
    fn is_at<U>(&self, address: *const U) -> bool {
        std::ptr::eq(self.0.get().cast_const().cast::<U>(), address)
    }
}

type Integer = Place<c_int>;
type Status = Place<[c_int; 8]>;

#[unsafe(no_mangle)]
pub static strait_bottom_: Integer = Place::new(0);
#[unsafe(no_mangle)]
pub static strait_in_place_: Integer = Place::new(0);
#[unsafe(no_mangle)]
pub static strait_buffer_automatic_: Integer = Place::new(0);
#[unsafe(no_mangle)]
pub static strait_unweighted_: Integer = Place::new(0);
#[unsafe(no_mangle)]
pub static strait_weights_empty_: Integer = Place::new(0);
#[unsafe(no_mangle)]
pub static strait_errcodes_ignore_: Integer = Place::new(0);
#[unsafe(no_mangle)]
pub static strait_argv_null_: Place<u8> = Place::new(0);
#[unsafe(no_mangle)]
pub static strait_argvs_null_: Place<u8> = Place::new(0);
#[unsafe(no_mangle)]
pub static strait_status_ignore_: Status = Place::new([0; 8]);
#[unsafe(no_mangle)]
pub static strait_statuses_ignore_: Status = Place::new([0; 8]);
#[unsafe(no_mangle)]
pub static strait_status_ignore_f08_: Status = Place::new([0; 8]);
#[unsafe(no_mangle)]
pub static strait_statuses_ignore_f08_: Status = Place::new([0; 8]);

/// A buffer, as C wants it.
#[inline]
pub fn choice(buffer: *mut c_void) -> *mut c_void {
    let number = match buffer {
        _ if strait_in_place_.is_at(buffer) => IN_PLACE,
        _ if strait_bottom_.is_at(buffer) => 0,
        _ if strait_buffer_automatic_.is_at(buffer) => BUFFER_AUTOMATIC,
        _ => return buffer,
    };
    std::ptr::without_provenance_mut(number)
}

/// A status or an array of them: null if it is to be ignored.
#[inline]
pub fn status(status: *mut c_void) -> *mut c_void {
    let all = [
        &strait_status_ignore_,
        &strait_statuses_ignore_,
        &strait_status_ignore_f08_,
        &strait_statuses_ignore_f08_,
    ];
    if all.iter().any(|place| place.is_at(status)) { std::ptr::null_mut() } else { status }
}

/// Weights of edges.
pub fn weights(weights: *mut c_int) -> *mut c_int {
    let number = match weights {
        _ if strait_unweighted_.is_at(weights) => UNWEIGHTED,
        _ if strait_weights_empty_.is_at(weights) => WEIGHTS_EMPTY,
        _ => return weights,
    };
    std::ptr::without_provenance_mut(number)
}

/// Error codes of a spawn.
pub fn errcodes(codes: *mut c_int) -> *mut c_int {
    if strait_errcodes_ignore_.is_at(codes) { std::ptr::null_mut() } else { codes }
}

/// MPI_BUFFER_AUTOMATIC, for a routine that returns a buffer's address.
pub fn buffer_automatic() -> *mut c_void {
    strait_buffer_automatic_.0.get().cast()
}

/// Whether it is MPI_ARGV_NULL or MPI_ARGVS_NULL.
pub fn is_no_arguments<T>(arguments: *const T) -> bool {
    strait_argv_null_.is_at(arguments) || strait_argvs_null_.is_at(arguments)
}

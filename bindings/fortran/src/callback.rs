// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Procedures of Fortran that C calls with other arguments than Fortran's: generalized requests
//! (MPI-5.0 section 13.2) and data representations (section 14.5.3).
//!
//! User operations and error handlers need nothing: C calls them with addresses only, which is how
//! Fortran is called (`lib.rs`, invariant 1).
#![allow(clippy::missing_safety_doc, reason = "Fortran's interfaces say what may be passed")]

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null;

use crate::exports::Handle;
use crate::handle::integer;
use crate::own::level;
use crate::text;

type Query = unsafe extern "C" fn(*mut isize, *mut c_void, *mut c_int);
type Free = unsafe extern "C" fn(*mut isize, *mut c_int);
type Cancel = unsafe extern "C" fn(*mut isize, *mut c_int, *mut c_int);

/// A generalized request's procedures; freed with the request.
struct Generalized {
    query: Query,
    free: Free,
    cancel: Cancel,
    extra: isize,
}

unsafe extern "C" fn query(extra: *mut c_void, status: *mut c_void) -> c_int {
    let (known, mut ierror) = (extra.cast::<Generalized>(), 0);
    // SAFETY: the extra state of a generalized request, until its `free` was called.
    unsafe { ((*known).query)(&raw mut (*known).extra, status, &raw mut ierror) };
    ierror
}

unsafe extern "C" fn free(extra: *mut c_void) -> c_int {
    // SAFETY: the extra state of a generalized request, for the last time.
    let mut known = unsafe { Box::from_raw(extra.cast::<Generalized>()) };
    let mut ierror = 0;
    // SAFETY: the user's procedure has this interface.
    unsafe { (known.free)(&raw mut known.extra, &raw mut ierror) };
    ierror
}

unsafe extern "C" fn cancel(extra: *mut c_void, complete: c_int) -> c_int {
    let (known, mut ierror) = (extra.cast::<Generalized>(), 0);
    let mut complete = c_int::from(complete != 0);
    // SAFETY: the extra state of a generalized request, until its `free` was called.
    unsafe {
        ((*known).cancel)(&raw mut (*known).extra, &raw mut complete, &raw mut ierror);
    }
    ierror
}

pub unsafe fn mpi_grequest_start<const PLAIN: bool>(
    query_fn: *const c_void,
    free_fn: *const c_void,
    cancel_fn: *const c_void,
    extra_state: *mut isize,
    request: *mut c_int,
) -> c_int {
    // SAFETY: the interface says that these are such procedures.
    let known = unsafe {
        Generalized {
            query: std::mem::transmute::<*const c_void, Query>(query_fn),
            free: std::mem::transmute::<*const c_void, Free>(free_fn),
            cancel: std::mem::transmute::<*const c_void, Cancel>(cancel_fn),
            extra: *extra_state,
        }
    };
    let known = Box::into_raw(Box::new(known));
    let (query, free, cancel) = (query as *const (), free as *const (), cancel as *const ());
    let (query, free, cancel) = (query.cast(), free.cast(), cancel.cast());
    let mut made: Handle = 0;
    let place = &raw mut made;
    // SAFETY: the functions are of C's types; the interface. C does not know of it if it failed.
    unsafe {
        let result = level!(
            MPI_Grequest_start | PMPI_Grequest_start(query, free, cancel, known.cast(), place)
        );
        match result {
            0 => *request = integer(made),
            _ => drop(Box::from_raw(known)),
        }
        result
    }
}

type Extent = unsafe extern "C" fn(*mut c_int, *mut isize, *mut isize, *mut c_int);
type Convert<N> = unsafe extern "C" fn(
    *mut c_void,
    *mut c_int,
    *mut N,
    *mut c_void,
    *mut i64,
    *mut isize,
    *mut c_int,
);

/// A data representation's procedures, with counts of one width. It lives as long as the process,
/// as the representation does.
struct Representation<N> {
    read: Convert<N>,
    write: Convert<N>,
    extent: Extent,
    extra: isize,
}

unsafe extern "C" fn extent<N>(datatype: Handle, extent: *mut isize, extra: *mut c_void) -> c_int {
    let known = extra.cast::<Representation<N>>();
    let (mut datatype, mut ierror) = (integer(datatype), 0);
    // SAFETY: the extra state of a data representation.
    unsafe {
        let (call, extra) = ((*known).extent, &raw mut (*known).extra);
        call(&raw mut datatype, extent, extra, &raw mut ierror);
    }
    ierror
}

/// A conversion, as C calls it: to read or to write.
unsafe extern "C" fn convert<N, const READ: bool>(
    userbuf: *mut c_void,
    datatype: Handle,
    mut count: N,
    filebuf: *mut c_void,
    mut position: i64,
    extra: *mut c_void,
) -> c_int {
    let known = extra.cast::<Representation<N>>();
    let (mut datatype, mut ierror) = (integer(datatype), 0);
    // SAFETY: the extra state of a data representation; the buffers are C's.
    unsafe {
        let call = if READ { (*known).read } else { (*known).write };
        let (count, position) = (&raw mut count, &raw mut position);
        let extra = &raw mut (*known).extra;
        call(userbuf, &raw mut datatype, count, filebuf, position, extra, &raw mut ierror);
    }
    ierror
}

/// Stands for no conversion; C is given none where it sees this address.
#[unsafe(no_mangle)]
pub extern "C" fn mpi_conversion_fn_null_() {
    never_called();
}

/// The same for large counts.
#[unsafe(no_mangle)]
pub extern "C" fn mpi_conversion_fn_null_c_() {
    never_called();
}

fn never_called() -> ! {
    eprintln!(
        "MPI_CONVERSION_FN_NULL was called: it stands for no conversion and cannot convert; pass \
         it to MPI_Register_datarep only"
    );
    std::process::abort()
}

/// C's function, or none.
fn unless_none(procedure: *const c_void, function: *const ()) -> *const c_void {
    let none = [mpi_conversion_fn_null_ as *const (), mpi_conversion_fn_null_c_ as *const ()];
    if none.contains(&procedure.cast()) { null() } else { function.cast() }
}

/// The routines that register data representations.
macro_rules! datareps {
    ($($routine:ident $plain:ident $profiling:ident $count:ty;)*) => {$(
        pub unsafe fn $routine<const PLAIN: bool>(
            datarep: *mut c_char,
            read_conversion_fn: *const c_void,
            write_conversion_fn: *const c_void,
            dtype_file_extent_fn: *const c_void,
            extra_state: *mut isize,
            datarep_len: usize,
        ) -> c_int {
            // SAFETY: the interface says that these are such procedures; C does not know of the
            // extra state if it failed.
            unsafe {
                let known = Box::into_raw(Box::new(Representation::<$count> {
                    read: std::mem::transmute::<*const c_void, Convert<$count>>(
                        read_conversion_fn,
                    ),
                    write: std::mem::transmute::<*const c_void, Convert<$count>>(
                        write_conversion_fn,
                    ),
                    extent: std::mem::transmute::<*const c_void, Extent>(dtype_file_extent_fn),
                    extra: *extra_state,
                }));
                let read = convert::<$count, true> as *const ();
                let write = convert::<$count, false> as *const ();
                let result = level!($plain | $profiling(
                    text::trimmed(datarep, datarep_len).as_ptr(),
                    unless_none(read_conversion_fn, read),
                    unless_none(write_conversion_fn, write),
                    (extent::<$count> as *const ()).cast(),
                    known.cast(),
                ));
                if result != 0 {
                    drop(Box::from_raw(known));
                }
                result
            }
        }
    )*};
}

datareps! {
    mpi_register_datarep MPI_Register_datarep PMPI_Register_datarep c_int;
    mpi_register_datarep_c MPI_Register_datarep_c PMPI_Register_datarep_c i64;
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Routines whose arguments cannot be translated one by one. `PLAIN` says by which of its names C
//! is called: `MPI_Init` for `mpi_init_`, `PMPI_Init` for `pmpi_init_`.
//!
//! All ask for what Fortran's interface of the routine says; the `SAFETY` comments call that the
//! interface.
#![allow(clippy::missing_safety_doc, reason = "Fortran's interfaces say what may be passed")]

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

use crate::exports::Handle;
use crate::handle::{handle, integer};
use crate::{sentinel, text};

pub use crate::attribute::*;
pub use crate::callback::*;
pub use crate::spawn::*;

/// Calls the C function by the name that the caller's `PLAIN` asks for.
macro_rules! level {
    ($plain:ident | $profiling:ident ($($argument:expr),* $(,)?)) => {
        match PLAIN {
            true => $crate::exports::$plain($($argument),*),
            false => $crate::exports::$profiling($($argument),*),
        }
    };
}
pub(crate) use level;

/// MPI_BUFFER_AUTOMATIC in C.
const BUFFER_AUTOMATIC: usize = 2;

unsafe extern "C" {
    fn MPI_Pcontrol(level: c_int, ...) -> c_int;
    fn PMPI_Pcontrol(level: c_int, ...) -> c_int;
}

/// Ends a routine: its error code, unless that was left away.
///
/// # Safety
/// Null, or writable.
#[inline]
pub unsafe fn done(ierror: *mut c_int, result: c_int) {
    if !ierror.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *ierror = result };
    }
}

pub unsafe fn mpi_init<const PLAIN: bool>() -> c_int {
    // SAFETY: C allows both to be null.
    unsafe { level!(MPI_Init | PMPI_Init(null_mut(), null_mut())) }
}

pub unsafe fn mpi_init_thread<const PLAIN: bool>(
    required: *mut c_int,
    provided: *mut c_int,
) -> c_int {
    // SAFETY: the interface; C allows two to be null.
    unsafe {
        level!(MPI_Init_thread | PMPI_Init_thread(null_mut(), null_mut(), *required, provided))
    }
}

pub unsafe fn mpi_pcontrol<const PLAIN: bool>(level: *mut c_int) {
    // SAFETY: the interface.
    let _ = unsafe {
        match PLAIN {
            true => MPI_Pcontrol(*level),
            false => PMPI_Pcontrol(*level),
        }
    };
}

pub unsafe fn mpi_info_create_env<const PLAIN: bool>(info: *mut c_int) -> c_int {
    let mut made: Handle = 0;
    // SAFETY: C allows no arguments; the place is ours, and the interface.
    unsafe {
        let result =
            level!(MPI_Info_create_env | PMPI_Info_create_env(0, null_mut(), &raw mut made));
        if result == 0 {
            *info = integer(made);
        }
        result
    }
}

pub unsafe fn mpi_info_get<const PLAIN: bool>(
    info: *mut c_int,
    key: *mut c_char,
    valuelen: *mut c_int,
    value: *mut c_char,
    flag: *mut c_int,
    key_len: usize,
    value_len: usize,
) -> c_int {
    // SAFETY: the interface; the answer has room for the byte that ends a text.
    unsafe {
        let key = text::stripped(key, key_len);
        let mut answer = text::Answer::of_length(usize::try_from(*valuelen).unwrap_or(0) + 1);
        let place = answer.as_mut_ptr();
        let result = level!(
            MPI_Info_get | PMPI_Info_get(handle(*info), key.as_ptr(), *valuelen, place, flag)
        );
        if result == 0 && *flag != 0 {
            answer.give(result, value, value_len);
        }
        result
    }
}

/// C counts the byte that ends a text, Fortran does not; nothing asked for is nothing in both.
fn with_end(length: c_int) -> c_int {
    if length > 0 { length.saturating_add(1) } else { length }
}

pub unsafe fn mpi_info_get_string<const PLAIN: bool>(
    info: *mut c_int,
    key: *mut c_char,
    buflen: *mut c_int,
    value: *mut c_char,
    flag: *mut c_int,
    key_len: usize,
    value_len: usize,
) -> c_int {
    // SAFETY: the interface; the answer is as long as C is told.
    unsafe {
        let key = text::stripped(key, key_len);
        let asked = with_end(*buflen);
        let mut length = asked;
        let mut answer = text::Answer::of_length(usize::try_from(asked).unwrap_or(0));
        let (place, room) = (answer.as_mut_ptr(), &raw mut length);
        let result = level!(
            MPI_Info_get_string
                | PMPI_Info_get_string(handle(*info), key.as_ptr(), room, place, flag)
        );
        if result == 0 && *flag != 0 {
            *buflen = length - 1;
            if asked > 0 {
                answer.give(result, value, value_len);
            }
        }
        result
    }
}

pub unsafe fn mpi_session_get_nth_pset<const PLAIN: bool>(
    session: *mut c_int,
    info: *mut c_int,
    n: *mut c_int,
    pset_len: *mut c_int,
    pset_name: *mut c_char,
    pset_name_len: usize,
) -> c_int {
    // SAFETY: the interface; the answer is as long as C is told.
    unsafe {
        let asked = with_end(*pset_len);
        let mut length = asked;
        let mut answer = text::Answer::of_length(usize::try_from(asked).unwrap_or(0));
        let (place, room) = (answer.as_mut_ptr(), &raw mut length);
        let (session, info) = (handle(*session), handle(*info));
        let result = level!(
            MPI_Session_get_nth_pset | PMPI_Session_get_nth_pset(session, info, *n, room, place)
        );
        if result == 0 {
            *pset_len = length - 1;
            if asked > 0 {
                answer.give(result, pset_name, pset_name_len);
            }
        }
        result
    }
}

/// Where a buffer lay, or the variable of Fortran that stands for "the library's".
fn detached(place: *mut c_void) -> *mut c_void {
    match place.addr() {
        BUFFER_AUTOMATIC => sentinel::buffer_automatic(),
        _ => place,
    }
}

/// The routines that give a buffer back: with a count of each width, of the process or of an
/// object.
macro_rules! detach {
    ($($routine:ident $plain:ident $profiling:ident ($($object:ident)?) $count:ty;)*) => {$(
        pub unsafe fn $routine<const PLAIN: bool>(
            $($object: *mut c_int,)?
            buffer_addr: *mut *mut c_void,
            size: *mut $count,
        ) -> c_int {
            let mut place: *mut c_void = null_mut();
            // SAFETY: the interface; the place is ours.
            unsafe {
                let result = level!(
                    $plain | $profiling($(handle(*$object),)? (&raw mut place).cast(), size)
                );
                if result == 0 {
                    *buffer_addr = detached(place);
                }
                result
            }
        }
    )*};
}

detach! {
    mpi_buffer_detach MPI_Buffer_detach PMPI_Buffer_detach () c_int;
    mpi_buffer_detach_c MPI_Buffer_detach_c PMPI_Buffer_detach_c () i64;
    mpi_comm_detach_buffer MPI_Comm_detach_buffer PMPI_Comm_detach_buffer (comm) c_int;
    mpi_comm_detach_buffer_c MPI_Comm_detach_buffer_c PMPI_Comm_detach_buffer_c (comm) i64;
    mpi_session_detach_buffer
        MPI_Session_detach_buffer PMPI_Session_detach_buffer (session) c_int;
    mpi_session_detach_buffer_c
        MPI_Session_detach_buffer_c PMPI_Session_detach_buffer_c (session) i64;
}

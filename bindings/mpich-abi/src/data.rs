// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The variables of the MPICH ABI.
//!
//! An executable may hold copies of them (COPY relocations), made before anything runs. Hence we
//! never change them, and only what they point to is compared (`strait-mpi`'s `abi/mpich.rs`).
#![allow(non_upper_case_globals)]

use std::ffi::{c_int, c_void};

use strait_mpi::abi::mpich::{ALL_HANDLES, UNWEIGHTED, WEIGHTS_EMPTY};

/// A pointer that C reads as a variable.
#[repr(transparent)]
pub struct Pointer(*const c_void);

// SAFETY: only ever read, and it is not followed by us.
unsafe impl Sync for Pointer {}

impl Pointer {
    const fn to<T>(object: &'static T) -> Pointer {
        Pointer((&raw const *object).cast())
    }
}

static F08_STATUS: [c_int; 5] = [3; 5];
static F08_STATUSES: [c_int; 5] = [4; 5];

#[unsafe(no_mangle)]
pub static MPI_UNWEIGHTED: Pointer = Pointer::to(&UNWEIGHTED);
#[unsafe(no_mangle)]
pub static MPI_WEIGHTS_EMPTY: Pointer = Pointer::to(&WEIGHTS_EMPTY);
#[unsafe(no_mangle)]
pub static MPI_T_PVAR_ALL_HANDLES: Pointer = Pointer::to(&ALL_HANDLES);
// A Fortran library stores its own addresses in these two; without one they are NULL.
#[unsafe(no_mangle)]
pub static mut MPI_F_STATUS_IGNORE: Pointer = Pointer(std::ptr::null());
#[unsafe(no_mangle)]
pub static mut MPI_F_STATUSES_IGNORE: Pointer = Pointer(std::ptr::null());
#[unsafe(no_mangle)]
pub static MPI_F08_STATUS_IGNORE: Pointer = Pointer::to(&F08_STATUS);
#[unsafe(no_mangle)]
pub static MPI_F08_STATUSES_IGNORE: Pointer = Pointer::to(&F08_STATUSES);

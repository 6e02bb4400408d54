// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What belongs to the language's types: MPI_Sizeof, conversions of statuses, MPI_F_sync_reg
//! (MPI-5.0 sections 19.1.8, 19.1.9 and 19.3.5).
#![allow(clippy::missing_safety_doc, reason = "Fortran's interfaces say what may be passed")]

use std::ffi::{c_int, c_void};

use crate::own::done;

/// The specific routines of MPI_Sizeof: one for each type and kind.
macro_rules! sizes {
    ($($name:ident $bytes:literal)*) => {$(
        /// The size of a variable of this type and kind; the variable itself is not looked at.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(_x: *const c_void, size: *mut c_int, ierror: *mut c_int) {
            // SAFETY: the interface.
            unsafe {
                *size = $bytes;
                done(ierror, 0);
            }
        }
    )*};
}

sizes! {
    strait_sizeof_i1_ 1 strait_sizeof_i2_ 2 strait_sizeof_i4_ 4 strait_sizeof_i8_ 8
    strait_sizeof_i16_ 16
    strait_sizeof_r4_ 4 strait_sizeof_r8_ 8 strait_sizeof_r10_ 16 strait_sizeof_r16_ 16
    strait_sizeof_c4_ 8 strait_sizeof_c8_ 16 strait_sizeof_c10_ 32 strait_sizeof_c16_ 32
}

/// A status is eight INTEGERs in either form.
type Status = [c_int; 8];

/// The conversions, which have the same arguments in the same order: from, to, ierror.
macro_rules! conversions {
    ($($name:ident)*) => {$(
        /// Copies a status from one form to the other (MPI-5.0 section 19.3.5).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(from: *const Status, to: *mut Status, ierror: *mut c_int) {
            // SAFETY: the interface.
            unsafe {
                *to = *from;
                done(ierror, 0);
            }
        }
    )*};
}

conversions! {
    mpi_status_f2f08_ mpi_status_f082f_ pmpi_status_f2f08_ pmpi_status_f082f_
}

/// Does nothing, in a way that a compiler cannot know: it must have the variable in memory
/// (MPI-5.0 section 19.1.8).
#[unsafe(no_mangle)]
pub extern "C" fn mpi_f_sync_reg_(_buf: *mut c_void) {}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `libstrait_fortran.so.1`: the routines that Fortran programs call, over the C functions of the
//! standard ABI (MPI-5.0 chapter 19; docs/fortran.md, docs/decisions/0013-fortran.md).
//!
//! Most are generated (`bindings/abi-table/src/fortran`). Here is what they are made of: handles
//! and their arrays, texts with blanks at their end, places that stand for a constant; and the
//! routines whose arguments cannot be translated one by one (`own`).
//!
//! Invariants:
//! 1. A handle is its C value cut to 32 bits, and no more is ever needed: in `libmpi_abi` handles
//!    are 32-bit numbers (`strait-mpi`'s `abi`). So a pointer to a C handle can be given to a
//!    user's Fortran procedure as a pointer to an INTEGER, on little-endian machines, and no other
//!    is supported.
//! 2. LOGICAL is four bytes, zero or one: gfortran's and LLVM flang's.
//! 3. No C function is given a place of Fortran's to write a handle to: it is half as long.
#![allow(non_snake_case)]
#![allow(non_upper_case_globals, reason = "a COMMON block's linker name is in small letters")]

#[cfg(target_endian = "big")]
compile_error!("handles are given to user procedures where they lie: low half first");

mod attribute;
mod callback;
mod count;
mod handle;
mod late;
mod own;
mod sentinel;
mod spawn;
mod text;
mod types;

/// Only inside a module can the names of the generated text not collide with ours.
#[allow(clippy::missing_safety_doc, reason = "Fortran's interfaces say what may be passed")]
#[expect(clippy::unnecessary_cast, reason = "counts of both widths are cast alike")]
mod exports {
    use std::ffi::{c_char, c_int, c_void};

    use crate::handle::{Handles, handle, integer};
    use crate::own::done;
    use crate::{count, late, own, sentinel, text};

    pub type Handle = usize;
    type File = usize;
    type Status = c_void;

    include!(concat!(env!("OUT_DIR"), "/exports.rs"));
}

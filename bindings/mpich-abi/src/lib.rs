// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `libmpi.so.12`: the exported symbols of the MPICH ABI, nothing else.
//!
//! The functions are generated (`bindings/abi-table`); each calls the generic body in `strait-mpi`.
//! The data symbols of this ABI are in `data.rs`.
#![allow(non_snake_case)]

mod data;

/// Only inside a module can the names of the generated text not collide with ours.
#[expect(clippy::unnecessary_cast, reason = "counts of both widths are cast alike")]
mod exports {
    use std::ffi::{c_char, c_int, c_void};

    use strait_mpi::abi;

    include!(concat!(env!("OUT_DIR"), "/exports.rs"));
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Addresses as integers (MPI-5.0 section 5.1.5); usable at any time.

use crate::abi::Abi;
use crate::error::class;
use std::ffi::{c_int, c_void};

pub unsafe fn MPI_Get_address<A: Abi>(location: *const c_void, address: *mut isize) -> c_int {
    if address.is_null() {
        return A::error_out(class::ARG);
    }
    // SAFETY: writable, says the caller.
    unsafe { *address = location.expose_provenance() as isize };
    0
}

pub unsafe fn MPI_Aint_add<A: Abi>(base: isize, disp: isize) -> isize {
    base.wrapping_add(disp)
}

pub unsafe fn MPI_Aint_diff<A: Abi>(addr1: isize, addr2: isize) -> isize {
    addr1.wrapping_sub(addr2)
}

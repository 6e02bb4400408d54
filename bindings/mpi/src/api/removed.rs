// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What only the MPICH ABI still has: names that MPI 3 removed, each a call of its successor, and
//! the function behind MPI_*_DUP_FN.

use crate::abi::Abi;
use crate::api::{
    MPI_Comm_create_errhandler, MPI_Comm_get_errhandler, MPI_Comm_set_errhandler, MPI_Get_address,
};
use std::ffi::{c_int, c_void};

/// The name of MPI_Get_address before MPI 2.
pub unsafe fn MPI_Address<A: Abi>(location: *mut c_void, address: *mut isize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Get_address::<A>(location, address) }
}

/// The name of MPI_Comm_create_errhandler before MPI 2.
pub unsafe fn MPI_Errhandler_create<A: Abi>(
    comm_errhandler_fn: *const c_void,
    errhandler: *mut A::Handle,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Comm_create_errhandler::<A>(comm_errhandler_fn, errhandler) }
}

/// The name of MPI_Comm_get_errhandler before MPI 2.
pub unsafe fn MPI_Errhandler_get<A: Abi>(comm: A::Handle, errhandler: *mut A::Handle) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Comm_get_errhandler::<A>(comm, errhandler) }
}

/// The name of MPI_Comm_set_errhandler before MPI 2.
pub unsafe fn MPI_Errhandler_set<A: Abi>(comm: A::Handle, errhandler: A::Handle) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Comm_set_errhandler::<A>(comm, errhandler) }
}

/// The attribute is copied as it is; for communicators, datatypes and windows.
pub unsafe fn MPIR_Dup_fn<A: Abi>(
    _oldcomm: A::Handle,
    _keyval: c_int,
    _extra_state: *mut c_void,
    attribute_val_in: *mut c_void,
    attribute_val_out: *mut c_void,
    flag: *mut c_int,
) -> c_int {
    // SAFETY: whoever calls a copy callback passes two writable places.
    unsafe {
        *attribute_val_out.cast::<*mut c_void>() = attribute_val_in;
        *flag = 1;
    }
    0
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attribute functions of MPI-1, deprecated since MPI-2 (MPI-5.0 section 16.1): each is a call of
//! its successor with the same arguments.

use crate::abi::Abi;
use crate::api::{
    MPI_Comm_create_keyval, MPI_Comm_delete_attr, MPI_Comm_free_keyval, MPI_Comm_get_attr,
    MPI_Comm_set_attr,
};
use std::ffi::{c_int, c_void};

/// The name of MPI_Comm_create_keyval before MPI 2.
pub unsafe fn MPI_Keyval_create<A: Abi>(
    copy_fn: *const c_void,
    delete_fn: *const c_void,
    keyval: *mut c_int,
    extra_state: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise; the types of the callbacks are those of the successor.
    unsafe { MPI_Comm_create_keyval::<A>(copy_fn, delete_fn, keyval, extra_state) }
}

/// The name of MPI_Comm_free_keyval before MPI 2.
pub unsafe fn MPI_Keyval_free<A: Abi>(keyval: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Comm_free_keyval::<A>(keyval) }
}

/// The name of MPI_Comm_set_attr before MPI 2.
pub unsafe fn MPI_Attr_put<A: Abi>(
    comm: A::Handle,
    keyval: c_int,
    attribute_val: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Comm_set_attr::<A>(comm, keyval, attribute_val) }
}

/// The name of MPI_Comm_get_attr before MPI 2.
pub unsafe fn MPI_Attr_get<A: Abi>(
    comm: A::Handle,
    keyval: c_int,
    attribute_val: *mut c_void,
    flag: *mut c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Comm_get_attr::<A>(comm, keyval, attribute_val, flag) }
}

/// The name of MPI_Comm_delete_attr before MPI 2.
pub unsafe fn MPI_Attr_delete<A: Abi>(comm: A::Handle, keyval: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Comm_delete_attr::<A>(comm, keyval) }
}

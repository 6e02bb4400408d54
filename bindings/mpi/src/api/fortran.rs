// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Handles and statuses as integers: `*_toint`, `*_fromint`, and what Fortran interfaces use in the
//! MPICH ABI, `*_c2f` and `*_f2c` (MPI-5.0 sections 19.3.4 and 20.3).
//!
//! The integer is the handle as the face shows it, cut to 32 bits: that is all a handle has. They
//! may be called at any time, and a handle that stands for nothing passes unchanged: whoever uses
//! it is told.

use crate::abi::Abi;
use crate::error::class;
use std::ffi::{c_int, c_void};

pub unsafe fn MPI_Comm_toint<A: Abi>(comm: A::Handle) -> c_int {
    A::handle_to_int(comm)
}

pub unsafe fn MPI_Comm_c2f<A: Abi>(comm: A::Handle) -> c_int {
    A::handle_to_int(comm)
}

pub unsafe fn MPI_Comm_fromint<A: Abi>(comm: c_int) -> A::Handle {
    A::handle_from_int(comm)
}

pub unsafe fn MPI_Comm_f2c<A: Abi>(comm: c_int) -> A::Handle {
    A::handle_from_int(comm)
}

pub unsafe fn MPI_Errhandler_toint<A: Abi>(errhandler: A::Handle) -> c_int {
    A::handle_to_int(errhandler)
}

pub unsafe fn MPI_Errhandler_c2f<A: Abi>(errhandler: A::Handle) -> c_int {
    A::handle_to_int(errhandler)
}

pub unsafe fn MPI_Errhandler_fromint<A: Abi>(errhandler: c_int) -> A::Handle {
    A::handle_from_int(errhandler)
}

pub unsafe fn MPI_Errhandler_f2c<A: Abi>(errhandler: c_int) -> A::Handle {
    A::handle_from_int(errhandler)
}

pub unsafe fn MPI_Group_toint<A: Abi>(group: A::Handle) -> c_int {
    A::handle_to_int(group)
}

pub unsafe fn MPI_Group_c2f<A: Abi>(group: A::Handle) -> c_int {
    A::handle_to_int(group)
}

pub unsafe fn MPI_Group_fromint<A: Abi>(group: c_int) -> A::Handle {
    A::handle_from_int(group)
}

pub unsafe fn MPI_Group_f2c<A: Abi>(group: c_int) -> A::Handle {
    A::handle_from_int(group)
}

pub unsafe fn MPI_Info_toint<A: Abi>(info: A::Handle) -> c_int {
    A::handle_to_int(info)
}

pub unsafe fn MPI_Info_c2f<A: Abi>(info: A::Handle) -> c_int {
    A::handle_to_int(info)
}

pub unsafe fn MPI_Info_fromint<A: Abi>(info: c_int) -> A::Handle {
    A::handle_from_int(info)
}

pub unsafe fn MPI_Info_f2c<A: Abi>(info: c_int) -> A::Handle {
    A::handle_from_int(info)
}

pub unsafe fn MPI_Message_toint<A: Abi>(message: A::Handle) -> c_int {
    A::handle_to_int(message)
}

pub unsafe fn MPI_Message_c2f<A: Abi>(message: A::Handle) -> c_int {
    A::handle_to_int(message)
}

pub unsafe fn MPI_Message_fromint<A: Abi>(message: c_int) -> A::Handle {
    A::handle_from_int(message)
}

pub unsafe fn MPI_Message_f2c<A: Abi>(message: c_int) -> A::Handle {
    A::handle_from_int(message)
}

pub unsafe fn MPI_Op_toint<A: Abi>(op: A::Handle) -> c_int {
    A::handle_to_int(op)
}

pub unsafe fn MPI_Op_c2f<A: Abi>(op: A::Handle) -> c_int {
    A::handle_to_int(op)
}

pub unsafe fn MPI_Op_fromint<A: Abi>(op: c_int) -> A::Handle {
    A::handle_from_int(op)
}

pub unsafe fn MPI_Op_f2c<A: Abi>(op: c_int) -> A::Handle {
    A::handle_from_int(op)
}

pub unsafe fn MPI_Request_toint<A: Abi>(request: A::Handle) -> c_int {
    A::handle_to_int(request)
}

pub unsafe fn MPI_Request_c2f<A: Abi>(request: A::Handle) -> c_int {
    A::handle_to_int(request)
}

pub unsafe fn MPI_Request_fromint<A: Abi>(request: c_int) -> A::Handle {
    A::handle_from_int(request)
}

pub unsafe fn MPI_Request_f2c<A: Abi>(request: c_int) -> A::Handle {
    A::handle_from_int(request)
}

pub unsafe fn MPI_Session_toint<A: Abi>(session: A::Handle) -> c_int {
    A::handle_to_int(session)
}

pub unsafe fn MPI_Session_c2f<A: Abi>(session: A::Handle) -> c_int {
    A::handle_to_int(session)
}

pub unsafe fn MPI_Session_fromint<A: Abi>(session: c_int) -> A::Handle {
    A::handle_from_int(session)
}

pub unsafe fn MPI_Session_f2c<A: Abi>(session: c_int) -> A::Handle {
    A::handle_from_int(session)
}

pub unsafe fn MPI_Type_toint<A: Abi>(datatype: A::Handle) -> c_int {
    A::handle_to_int(datatype)
}

pub unsafe fn MPI_Type_c2f<A: Abi>(datatype: A::Handle) -> c_int {
    A::handle_to_int(datatype)
}

pub unsafe fn MPI_Type_fromint<A: Abi>(datatype: c_int) -> A::Handle {
    A::handle_from_int(datatype)
}

pub unsafe fn MPI_Type_f2c<A: Abi>(datatype: c_int) -> A::Handle {
    A::handle_from_int(datatype)
}

pub unsafe fn MPI_Win_toint<A: Abi>(win: A::Handle) -> c_int {
    A::handle_to_int(win)
}

pub unsafe fn MPI_Win_c2f<A: Abi>(win: A::Handle) -> c_int {
    A::handle_to_int(win)
}

pub unsafe fn MPI_Win_fromint<A: Abi>(win: c_int) -> A::Handle {
    A::handle_from_int(win)
}

pub unsafe fn MPI_Win_f2c<A: Abi>(win: c_int) -> A::Handle {
    A::handle_from_int(win)
}

pub unsafe fn MPI_File_toint<A: Abi>(file: A::File) -> c_int {
    A::file_to_int(file)
}

pub unsafe fn MPI_File_c2f<A: Abi>(file: A::File) -> c_int {
    A::file_to_int(file)
}

pub unsafe fn MPI_File_fromint<A: Abi>(file: c_int) -> A::File {
    A::file_from_int(file)
}

pub unsafe fn MPI_File_f2c<A: Abi>(file: c_int) -> A::File {
    A::file_from_int(file)
}

/// Copies a status between two languages: the bytes are the same in all of them.
unsafe fn copy_status<A: Abi>(from: *const c_void, to: *mut c_void) -> c_int {
    let ignored = A::is_status_ignore(from.cast()) || A::is_status_ignore(to.cast());
    if from.is_null() || to.is_null() || ignored {
        return A::error_out(class::ARG);
    }
    // SAFETY: neither is NULL or the ignore value, so the caller says that both are statuses.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast(), size_of::<A::Status>()) };
    0
}

pub unsafe fn MPI_Status_c2f<A: Abi>(c_status: *const A::Status, f_status: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { copy_status::<A>(c_status.cast(), f_status.cast()) }
}

pub unsafe fn MPI_Status_f2c<A: Abi>(f_status: *const c_int, c_status: *mut A::Status) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { copy_status::<A>(f_status.cast(), c_status.cast()) }
}

pub unsafe fn MPI_Status_c2f08<A: Abi>(
    c_status: *const A::Status,
    f08_status: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { copy_status::<A>(c_status.cast(), f08_status.cast()) }
}

pub unsafe fn MPI_Status_f082c<A: Abi>(
    f08_status: *const c_void,
    c_status: *mut A::Status,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { copy_status::<A>(f08_status.cast(), c_status.cast()) }
}

pub unsafe fn MPI_Status_f082f<A: Abi>(f08_status: *const c_void, f_status: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { copy_status::<A>(f08_status.cast(), f_status.cast()) }
}

pub unsafe fn MPI_Status_f2f08<A: Abi>(f_status: *const c_int, f08_status: *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { copy_status::<A>(f_status.cast(), f08_status.cast()) }
}

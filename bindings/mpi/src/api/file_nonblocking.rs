// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nonblocking reads and writes (MPI-5.0 section 14.4). The bytes move within the call, to or from
//! the kernel's cache, and the request is complete when it is returned: no call waits for another
//! process. An error is raised by the call itself, on the file.

use crate::abi::{Abi, HandleKind};
use crate::api::arguments::{handle, out};
use crate::api::file_access::{At, How, Memory, access};
use crate::entry::on_file;
use crate::object::file_transfer::Direction;
use crate::object::request::{Finished, Request};
use std::ffi::{c_int, c_void};

/// The body of the functions below.
unsafe fn call<A: Abi>(
    name: &'static str,
    fh: A::File,
    how: How,
    memory: Memory<A>,
    request: *mut A::Handle,
) -> c_int {
    on_file::<A>(name, fh, |entry, file| {
        let place = out(request, "request")?;
        // SAFETY: the caller's promise.
        let status = unsafe { access::<A>(entry, file, how, memory)? };
        let code = entry.requests.insert(Request::Done(Finished { status, error: None }));
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *place = handle::<A>(HandleKind::Request, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_File_iread_at<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) =
        ((Direction::Read, At::Offset(offset)), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iread_at", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iwrite_at<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Offset(offset)), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iwrite_at", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iread<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Pointer), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iread", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iwrite<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Pointer), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iwrite", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iread_shared<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Shared), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iread_shared", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iwrite_shared<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Shared), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iwrite_shared", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iread_at_all<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) =
        ((Direction::Read, At::Offset(offset)), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iread_at_all", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iwrite_at_all<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Offset(offset)), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iwrite_at_all", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iread_all<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Pointer), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iread_all", fh, how, memory, request) }
}

pub unsafe fn MPI_File_iwrite_all<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Pointer), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_iwrite_all", fh, how, memory, request) }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Collective reads and writes (MPI-5.0 section 14.4): at offsets and individual pointers, and in
//! the order of the ranks at the shared pointer.
//!
//! At offsets and individual pointers each process moves its own bytes and waits for nobody, which
//! is all that the standard asks for. In the order of the ranks the first member moves the shared
//! pointer once for all.

use crate::abi::{Abi, Status};
use crate::agreement::Circle;
use crate::api::file_access::{At, How, Memory, access, perform, prepare};
use crate::entry::{Entry, on_file};
use crate::error::{Result, class, error};
use crate::object::file::FileRef;
use crate::object::file_transfer::Direction;
use std::ffi::{c_int, c_void};

/// One access of all members, each behind those of lower ranks.
///
/// # Safety
/// The user's buffer is as MPI says.
unsafe fn ordered<A: Abi>(
    entry: &mut Entry,
    file: &FileRef,
    direction: Direction,
    memory: Memory<A>,
) -> Result<Status> {
    let circle = Circle::of_comm(&file.comm);
    let prepared = prepare::<A>(entry, file, (direction, At::Shared), memory);
    let etypes = prepared.as_ref().map_or(0, |access| access.etypes());
    let (access, all) = circle.settle(entry, prepared, [etypes])?;
    let total = all.iter().try_fold(0i64, |sum, said| sum.checked_add(said[0]));
    let Some(total) = total else {
        return error(class::COUNT, "the ranks together pass more etypes than 64 bits can count");
    };
    let mut start = [0; size_of::<i64>()];
    if circle.me == 0 {
        start = file.shared()?.advance(total).to_le_bytes();
    }
    circle.bcast(entry, 0, &mut start)?;
    let before: i64 = all[..circle.me].iter().map(|said| said[0]).sum();
    let Some(offset) = i64::from_le_bytes(start).checked_add(before) else {
        return error(class::ARG, "the shared file pointer is beyond any file");
    };
    // SAFETY: the caller's promise.
    Ok(unsafe { perform::<A>(entry, file, &access, offset)? }.1)
}

/// One collective access, from its arguments to its status.
///
/// # Safety
/// The user's buffer is as MPI says.
pub(super) unsafe fn access_all<A: Abi>(
    entry: &mut Entry,
    file: &FileRef,
    how: How,
    memory: Memory<A>,
) -> Result<Status> {
    // SAFETY: the caller's promise.
    unsafe {
        match how.1 {
            At::Shared => ordered::<A>(entry, file, how.0, memory),
            _ => access::<A>(entry, file, how, memory),
        }
    }
}

/// The body of the functions below.
unsafe fn call<A: Abi>(
    name: &'static str,
    fh: A::File,
    how: How,
    memory: Memory<A>,
    status: *mut A::Status,
) -> c_int {
    on_file::<A>(name, fh, |entry, file| {
        // SAFETY: the caller's promise; the status is ignored or writable.
        unsafe {
            let told = access_all::<A>(entry, file, how, memory)?;
            A::status_write(status, &told);
        }
        Ok(())
    })
}

pub unsafe fn MPI_File_read_at_all<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) =
        ((Direction::Read, At::Offset(offset)), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_read_at_all", fh, how, memory, status) }
}

pub unsafe fn MPI_File_write_at_all<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Offset(offset)), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_write_at_all", fh, how, memory, status) }
}

pub unsafe fn MPI_File_read_all<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Pointer), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_read_all", fh, how, memory, status) }
}

pub unsafe fn MPI_File_write_all<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Pointer), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_write_all", fh, how, memory, status) }
}

pub unsafe fn MPI_File_read_ordered<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Shared), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_read_ordered", fh, how, memory, status) }
}

pub unsafe fn MPI_File_write_ordered<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Shared), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_write_ordered", fh, how, memory, status) }
}

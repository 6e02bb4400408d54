// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Collective reads and writes (MPI-5.0 section 14.4): at offsets and individual pointers, and in
//! the order of the ranks at the shared pointer.
//!
//! At offsets and individual pointers the ranks tell each other which part of the file they want;
//! where short runs interleave they exchange them (file_two_phase.rs). Otherwise, in atomic mode,
//! and in other representations than memory's, each moves its own bytes. With the hint
//! `collective_buffering` = `false` nobody waits for anybody. In the order of the ranks the first
//! member moves the shared pointer once for all.

use crate::abi::{Abi, Status};
use crate::agreement::Circle;
use crate::api::file_access::{At, How, Memory, access, perform, prepare};
use crate::api::file_two_phase::{Plan, Span};
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
    let mut moved = Ok(0);
    if circle.me == 0 {
        moved = file.with_shared(|position| position.advance(total));
    }
    let start = *moved.as_ref().unwrap_or(&0);
    let (_, starts) = circle.settle(entry, moved, [start])?;
    let before: i64 = all[..circle.me].iter().map(|said| said[0]).sum();
    let Some(offset) = starts[0][0].checked_add(before) else {
        return error(class::ARG, "the shared file pointer is beyond any file");
    };
    // SAFETY: the caller's promise.
    Ok(unsafe { perform::<A>(entry, file, &access, offset)? }.1)
}

/// One access of all members at offsets or individual pointers, exchanged where that helps.
///
/// # Safety
/// The user's buffer is as MPI says.
unsafe fn together<A: Abi>(
    entry: &mut Entry,
    file: &FileRef,
    how: How,
    memory: Memory<A>,
) -> Result<Status> {
    let prepared = prepare::<A>(entry, file, how, memory).and_then(|access| {
        let offset = match how.1 {
            At::Offset(offset) => offset,
            _ => file.position.get(),
        };
        let from = access.view.range(offset, access.bytes)?;
        Ok((access, offset, from))
    });
    let span = prepared.as_ref().map_or([0; 4], |(access, _, from)| access.span(*from));
    let plain = prepared.as_ref().is_ok_and(|(access, ..)| access.is_plain());
    let [first, end, bytes, short] = span;
    let circle = Circle::of_comm(&file.comm);
    let words = [first, end, bytes, short, i64::from(plain)];
    let ((access, offset, from), said) = circle.settle(entry, prepared, words)?;
    let all_plain = said.iter().all(|words| words[4] != 0);
    let spans: Vec<Span> = said.iter().map(|&[a, b, c, d, _]| [a, b, c, d]).collect();
    let plan = if all_plain && !file.atomic.get() { Plan::of(&spans) } else { None };
    // SAFETY: the caller's promise.
    let (moved, status) = unsafe {
        match plan {
            Some(plan) => access.exchange(entry, file, &circle, &plan, from)?,
            None => perform::<A>(entry, file, &access, offset)?,
        }
    };
    if let At::Pointer = how.1 {
        file.position.set(offset + moved);
    }
    Ok(status)
}

/// Whether a collective access may be exchanged; the hint is the same on all ranks, as the standard
/// wants it to be.
fn is_buffered(file: &FileRef) -> bool {
    let info = file.info.borrow();
    let refused = info.iter().any(|(key, value)| key == "collective_buffering" && value == "false");
    file.comm.group.size() > 1 && !refused
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
            _ if is_buffered(file) => together::<A>(entry, file, how, memory),
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

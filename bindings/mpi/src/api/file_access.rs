// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading and writing at an offset or at one of the two file pointers (MPI-5.0 section 14.4): what
//! all forms of an access share, and the blocking ones that one process calls alone.

use crate::abi::{Abi, Status};
use crate::api::arguments::{committed_type, payload};
use crate::api::datarep::{bytes_in_file, convert};
use crate::datatype::Type;
use crate::entry::{Entry, on_file};
use crate::error::{Result, class, error};
use crate::object::file::{File, FileRef, mode};
use crate::object::file_transfer::{Direction, transfer};
use crate::object::file_view::{Representation, View};
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use strait_transport::payload::Payload;

/// Where in the file.
#[derive(Clone, Copy)]
pub(super) enum At {
    /// An explicit offset, in etypes.
    Offset(i64),
    /// The individual file pointer, which moves on by what was moved.
    Pointer,
    /// The shared file pointer, which moves on by what was asked for.
    Shared,
}

/// A way and a place.
pub(super) type How = (Direction, At);
/// The user's buffer, count and datatype.
pub(super) type Memory<A> = (*const c_void, i64, <A as Abi>::Handle);

/// Refuses what the mode of the open excludes.
fn allowed(file: &File, direction: Direction, at: At) -> Result {
    match at {
        At::Offset(offset) if offset < 0 => {
            return error(class::ARG, format!("the offset is {offset}; it must not be negative"));
        }
        At::Offset(_) | At::Pointer => file.seekable()?,
        At::Shared => {
            file.shared()?;
        }
    }
    match direction {
        Direction::Write => file.writable(),
        Direction::Read if file.has(mode::WRONLY) => {
            error(class::ACCESS, format!("{} was opened with MPI_MODE_WRONLY", file.describe()))
        }
        Direction::Read => Ok(()),
    }
}

/// An access whose arguments are checked.
pub(super) struct Access<A: Abi> {
    pub(super) direction: Direction,
    memory: Memory<A>,
    ty: Arc<Type>,
    pub(super) payload: Payload,
    pub(super) view: View,
    /// Bytes that it has in the file.
    pub(super) bytes: i64,
}

impl<A: Abi> Access<A> {
    /// How far it goes, in etypes.
    pub(super) fn etypes(&self) -> i64 {
        self.bytes / self.view.etype_bytes
    }

    /// Whether the bytes of the file are those of memory.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.view.representation, Representation::Native | Representation::Internal)
    }
}

/// Checks the arguments of an access and finds out how long it is.
pub(super) fn prepare<A: Abi>(
    entry: &mut Entry,
    file: &FileRef,
    (direction, at): How,
    memory: Memory<A>,
) -> Result<Access<A>> {
    allowed(file, direction, at)?;
    let payload = payload::<A>(entry, memory.0, memory.1, memory.2)?;
    let ty = committed_type::<A>(entry, memory.2)?.clone();
    let view = file.view.borrow().clone();
    let each = bytes_in_file::<A>(entry, &view.representation, &ty)?;
    let Some(bytes) = each.checked_mul(memory.1) else {
        return error(class::COUNT, "the access has more bytes than 64 bits can count");
    };
    if bytes % view.etype_bytes != 0 {
        let text = format!("{bytes} bytes are not whole etypes of {} bytes", view.etype_bytes);
        return error(class::TYPE, text);
    }
    Ok(Access { direction, memory, ty, payload, view, bytes })
}

/// Does it, from an offset in etypes on; how many etypes were moved wholly, and its status.
///
/// # Safety
/// The user's buffer is as MPI says.
pub(super) unsafe fn perform<A: Abi>(
    entry: &mut Entry,
    file: &FileRef,
    access: &Access<A>,
    offset: i64,
) -> Result<(i64, Status)> {
    let Access { direction, view, bytes, .. } = access;
    let from = view.range(offset, *bytes)?;
    if *direction == Direction::Write && *bytes > 0 {
        file.unsynced.set(true);
    }
    let is_plain = access.is_plain();
    let mut converted = if is_plain { Vec::new() } else { vec![0; *bytes as usize] };
    if !is_plain && *direction == Direction::Write {
        // SAFETY: the caller's promise.
        unsafe {
            convert::<A>(entry, &view.representation, access.of(), *direction, &mut converted)?
        };
    }
    let whole = Payload::Contiguous { base: converted.as_mut_ptr(), bytes: converted.len() };
    let payload = if is_plain { &access.payload } else { &whole };
    let place: &File = file;
    // SAFETY: the caller's promise, or our own memory; the lock is not held.
    let moved = entry.outside(|| unsafe { transfer(place, view, *direction, payload, from) });
    let moved = moved.map_err(|error| {
        let what =
            if *direction == Direction::Read { "cannot be read" } else { "cannot be written" };
        file.failed(what, error)
    })?;
    let told = match (is_plain, direction) {
        (true, _) => moved as i64,
        (false, Direction::Write) => access.ty.size() * access.memory.1,
        (false, Direction::Read) => {
            let got = &mut converted[..moved];
            // SAFETY: the caller's promise.
            unsafe { convert::<A>(entry, &view.representation, access.of(), *direction, got)? }
        }
    };
    let status = Status { bytes: told as u64, ..Status::EMPTY };
    Ok((moved as i64 / view.etype_bytes, status))
}

impl<A: Abi> Access<A> {
    /// What a conversion needs of it.
    fn of(&self) -> (&Arc<Type>, Memory<A>) {
        (&self.ty, self.memory)
    }
}

/// One access of this process alone, from its arguments to its status.
///
/// # Safety
/// The user's buffer is as MPI says.
pub(super) unsafe fn access<A: Abi>(
    entry: &mut Entry,
    file: &FileRef,
    how: How,
    memory: Memory<A>,
) -> Result<Status> {
    let access = prepare::<A>(entry, file, how, memory)?;
    let offset = match how.1 {
        At::Offset(offset) => offset,
        At::Pointer => file.position.get(),
        At::Shared => file.with_shared(|position| position.advance(access.etypes()))?,
    };
    // SAFETY: the caller's promise.
    let (moved, status) = unsafe { perform::<A>(entry, file, &access, offset)? };
    if let At::Pointer = how.1 {
        file.position.set(offset + moved);
    }
    Ok(status)
}

/// The body of the blocking functions.
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
            let told = access::<A>(entry, file, how, memory)?;
            A::status_write(status, &told);
        }
        Ok(())
    })
}

pub unsafe fn MPI_File_read_at<A: Abi>(
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
    unsafe { call::<A>("MPI_File_read_at", fh, how, memory, status) }
}

pub unsafe fn MPI_File_write_at<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Offset(offset)), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_write_at", fh, how, memory, status) }
}

pub unsafe fn MPI_File_read<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Pointer), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_read", fh, how, memory, status) }
}

pub unsafe fn MPI_File_write<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Pointer), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_write", fh, how, memory, status) }
}

pub unsafe fn MPI_File_read_shared<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Shared), (buf.cast_const(), count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_read_shared", fh, how, memory, status) }
}

pub unsafe fn MPI_File_write_shared<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
    status: *mut A::Status,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Shared), (buf, count, datatype));
    // SAFETY: this function's own conditions.
    unsafe { call::<A>("MPI_File_write_shared", fh, how, memory, status) }
}

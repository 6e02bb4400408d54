// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading and writing at an offset or at one of the two file pointers (MPI-5.0 section 14.4).
//!
//! One `pread` or `pwrite` for memory that lies side by side, a packed copy between otherwise. In
//! atomic mode the bytes are locked in the file meanwhile: by every process of the group, since all
//! of them are in atomic mode. Views with holes, the collective and the nonblocking forms are not
//! built yet.

use crate::abi::{Abi, Status};
use crate::api::arguments::payload;
use crate::entry::{Entry, on_file};
use crate::error::{Result, class, error};
use crate::object::file::{File, FileRef, mode};
use std::ffi::{c_int, c_void};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use strait_transport::payload::Payload;

/// Which way data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// Where in the file.
#[derive(Clone, Copy)]
enum At {
    /// An explicit offset, in etypes.
    Offset(i64),
    /// The individual file pointer, which moves on by what was moved.
    Pointer,
    /// The shared file pointer, which moves on by what was asked for.
    Shared,
}

/// Reads until `into` is full or the file ends.
fn read_all(file: &std::fs::File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A lock on a range of bytes of an open file; dropping it unlocks.
struct RangeLock<'a> {
    file: &'a std::fs::File,
    range: libc::flock,
}

impl RangeLock<'_> {
    fn take(
        file: &std::fs::File,
        direction: Direction,
        at: i64,
        bytes: i64,
    ) -> io::Result<RangeLock<'_>> {
        // SAFETY: all zeros is a valid flock.
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        let kind = if direction == Direction::Read { libc::F_RDLCK } else { libc::F_WRLCK };
        range.l_type = kind as libc::c_short;
        range.l_whence = libc::SEEK_SET as libc::c_short;
        (range.l_start, range.l_len) = (at, bytes);
        loop {
            // SAFETY: the descriptor is open and the flock lives.
            if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const range) } == 0 {
                return Ok(RangeLock { file, range });
            }
            let error = io::Error::last_os_error();
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl Drop for RangeLock<'_> {
    fn drop(&mut self) {
        self.range.l_type = libc::F_UNLCK as libc::c_short;
        // SAFETY: as above. It cannot fail for a range that is locked.
        unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_SETLK, &raw const self.range) };
    }
}

/// Moves the bytes of a payload; how many it was.
///
/// # Safety
/// The payload's memory is readable (writing) or writable (reading).
unsafe fn transfer(
    file: &std::fs::File,
    atomic: bool,
    direction: Direction,
    payload: &Payload,
    at: i64,
) -> io::Result<usize> {
    let bytes = payload.bytes();
    if bytes == 0 {
        return Ok(0);
    }
    let _lock = match atomic {
        true => Some(RangeLock::take(file, direction, at, bytes as i64)?),
        false => None,
    };
    let at = at as u64;
    match (payload, direction) {
        (Payload::Contiguous { base, bytes }, Direction::Read) => {
            // SAFETY: the caller's promise.
            read_all(file, unsafe { std::slice::from_raw_parts_mut(*base, *bytes) }, at)
        }
        (Payload::Contiguous { base, bytes }, Direction::Write) => {
            // SAFETY: the caller's promise.
            file.write_all_at(unsafe { std::slice::from_raw_parts(*base, *bytes) }, at)?;
            Ok(*bytes)
        }
        (_, Direction::Read) => {
            let mut copy = vec![0; bytes];
            let done = read_all(file, &mut copy, at)?;
            // SAFETY: the caller's promise; `done` is at most the payload's bytes.
            unsafe { payload.unpack(0, &copy[..done]) };
            Ok(done)
        }
        (_, Direction::Write) => {
            let mut copy = vec![0; bytes];
            // SAFETY: the caller's promise.
            unsafe { payload.pack(0, &mut copy) };
            file.write_all_at(&copy, at)?;
            Ok(bytes)
        }
    }
}

/// Refuses what the mode of the open excludes.
fn allowed(file: &File, direction: Direction, at: At) -> Result {
    match at {
        At::Offset(offset) if offset < 0 => {
            return error(class::ARG, format!("the offset is {offset}; it must not be negative"));
        }
        At::Offset(_) | At::Pointer => file.seekable()?,
        At::Shared => {}
    }
    match direction {
        Direction::Write => file.writable(),
        Direction::Read if file.has(mode::WRONLY) => {
            error(class::ACCESS, format!("{} was opened with MPI_MODE_WRONLY", file.describe()))
        }
        Direction::Read => Ok(()),
    }
}

/// One call that reads or writes.
unsafe fn access<A: Abi>(
    entry: &mut Entry,
    file: &FileRef,
    (direction, at): (Direction, At),
    payload: Payload,
    status: *mut A::Status,
) -> Result {
    allowed(file, direction, at)?;
    let etype_bytes = file.view.borrow().etype.size();
    let bytes = payload.bytes() as i64;
    if bytes % etype_bytes != 0 {
        let text = format!("{bytes} bytes are not whole etypes of {etype_bytes} bytes");
        return error(class::TYPE, text);
    }
    let offset = match at {
        At::Offset(offset) => offset,
        At::Pointer => file.position.get(),
        At::Shared => file.shared()?.advance(bytes / etype_bytes),
    };
    let byte = file.view.borrow().byte_of(offset)?;
    if byte.checked_add(bytes).is_none() {
        return error(class::ARG, format!("the offset {offset} is beyond any file"));
    }
    if direction == Direction::Write && bytes > 0 {
        file.unsynced.set(true);
    }
    let atomic = file.atomic.get();
    let place: &std::fs::File = &file.file;
    // SAFETY: the user's buffer is as the function of MPI says; the lock is not held.
    let moved = entry.outside(|| unsafe { transfer(place, atomic, direction, &payload, byte) });
    let moved = moved.map_err(|error| {
        let what =
            if direction == Direction::Read { "cannot be read" } else { "cannot be written" };
        file.failed(what, error)
    })?;
    if let At::Pointer = at {
        file.position.set(offset + moved as i64 / etype_bytes);
    }
    // SAFETY: ignored or writable, says the caller.
    unsafe { A::status_write(status, &Status { bytes: moved as u64, ..Status::EMPTY }) };
    Ok(())
}

/// The body of all functions below.
unsafe fn call<A: Abi>(
    name: &'static str,
    fh: A::File,
    how: (Direction, At),
    (buffer, count, datatype): (*const c_void, i64, A::Handle),
    status: *mut A::Status,
) -> c_int {
    on_file::<A>(name, fh, |entry, file| {
        let payload = payload::<A>(entry, buffer, count, datatype)?;
        // SAFETY: the caller's promise.
        unsafe { access::<A>(entry, file, how, payload, status) }
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes between memory and the runs of a view, piece by piece.
//!
//! What lies side by side on both sides is one `pread` or `pwrite`. Many short runs near each other
//! are read at once, holes included; they are written one by one, since writing a hole back would
//! undo what somebody else writes there meanwhile. In atomic mode all bytes from the first to the
//! last are locked in the file: by every process of the group, since all of them are in that mode.

use crate::object::file::File;
use crate::object::file_view::View;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::PoisonError;
use strait_transport::payload::Payload;

/// Data bytes that are copied at once where a copy is needed: enough to make a system call's cost
/// small beside the copy's, little beside what programs read.
const CHUNK: usize = 4 << 20;
/// Runs of this many bytes or more are worth a system call each.
pub const LONG_RUN: usize = 16 << 10;
/// At most this many bytes are read for one byte that is wanted.
const SPAN_PER_BYTE: usize = 4;

/// Which way data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the file.
    Read,
    /// To the file.
    Write,
}

/// Reads until `into` is full or the file ends.
pub fn read_all(file: &std::fs::File, into: &mut [u8], at: u64) -> io::Result<usize> {
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
pub struct RangeLock<'a> {
    file: &'a std::fs::File,
    range: libc::flock,
}

impl RangeLock<'_> {
    /// Waits for it.
    pub fn take(
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

/// Reads runs one after another into `into`, until one ends early; how many bytes it was.
fn read_runs(
    file: &std::fs::File,
    runs: &[(i64, usize)],
    into: &mut [u8],
    span: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut done = 0;
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
        return Ok(0);
    };
    let stretch = (last.0 + last.1 as i64 - first.0) as usize;
    let is_near = stretch / SPAN_PER_BYTE <= into.len() && into.len() / runs.len() < LONG_RUN;
    if runs.len() == 1 || !is_near {
        for &(at, bytes) in runs {
            let got = read_all(file, &mut into[done..done + bytes], at as u64)?;
            done += got;
            if got < bytes {
                break;
            }
        }
        return Ok(done);
    }
    span.resize(stretch, 0);
    let there = read_all(file, span, first.0 as u64)?;
    for &(at, bytes) in runs {
        let from = (at - first.0) as usize;
        let got = bytes.min(there.saturating_sub(from));
        into[done..done + got].copy_from_slice(&span[from..from + got]);
        done += got;
        if got < bytes {
            break;
        }
    }
    Ok(done)
}

/// Writes runs one after another.
fn write_runs(file: &std::fs::File, runs: &[(i64, usize)], mut bytes: &[u8]) -> io::Result<()> {
    for &(at, length) in runs {
        let (run, rest) = bytes.split_at(length);
        file.write_all_at(run, at as u64)?;
        bytes = rest;
    }
    Ok(())
}

/// Moves the bytes of a payload from (or to) data byte `from` of a view on; how many it was:
/// reading ends where the file does. The caller has checked the range ([`View::range`]).
///
/// # Safety
/// The payload's memory is readable (writing) or writable (reading).
pub unsafe fn transfer(
    file: &File,
    view: &View,
    direction: Direction,
    payload: &Payload,
    from: i64,
) -> io::Result<usize> {
    let total = payload.bytes();
    if total == 0 {
        return Ok(0);
    }
    let place = &file.file;
    let _turn = file.atomic.get().then(|| file.turn.lock().unwrap_or_else(PoisonError::into_inner));
    let _lock = match file.atomic.get() {
        true => {
            let (first, last) = (view.place(from), view.place(from + total as i64 - 1));
            Some(RangeLock::take(place, direction, first, last - first + 1)?)
        }
        false => None,
    };
    let memory = match payload {
        Payload::Contiguous { base, .. } => Some(*base),
        _ => None,
    };
    let chunk = if memory.is_some() && view.is_dense() { total } else { CHUNK };
    let (mut runs, mut copy, mut span) = (Vec::new(), Vec::new(), Vec::new());
    let mut done = 0;
    while done < total {
        let part = chunk.min(total - done);
        runs.clear();
        view.each_run(from + done as i64, part, &mut |at, bytes| match runs.last_mut() {
            Some((last, length)) if *last + *length as i64 == at => *length += bytes,
            _ => runs.push((at, bytes)),
        });
        if memory.is_none() {
            copy.resize(part, 0);
        }
        let moved = match (direction, memory) {
            (Direction::Read, Some(base)) => {
                // SAFETY: the caller's promise; the part lies within the payload.
                let into = unsafe { std::slice::from_raw_parts_mut(base.add(done), part) };
                read_runs(place, &runs, into, &mut span)?
            }
            (Direction::Read, None) => {
                let got = read_runs(place, &runs, &mut copy, &mut span)?;
                // SAFETY: the caller's promise; the part lies within the payload.
                unsafe { payload.unpack(done, &copy[..got]) };
                got
            }
            (Direction::Write, Some(base)) => {
                // SAFETY: the caller's promise; the part lies within the payload.
                let bytes = unsafe { std::slice::from_raw_parts(base.add(done), part) };
                write_runs(place, &runs, bytes)?;
                part
            }
            (Direction::Write, None) => {
                // SAFETY: the caller's promise; the part lies within the payload.
                unsafe { payload.pack(done, &mut copy) };
                write_runs(place, &runs, &copy)?;
                part
            }
        };
        done += moved;
        if moved < part {
            break;
        }
    }
    Ok(done)
}

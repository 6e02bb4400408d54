// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Split collective accesses (MPI-5.0 section 14.4.5). The first half does the whole access, as the
//! standard allows; its status waits in the file for the second half. A file has one at a time.

use crate::abi::Abi;
use crate::api::file_access::{At, How, Memory};
use crate::api::file_collective::access_all;
use crate::entry::on_file;
use crate::error::{class, error};
use crate::object::file::Split;
use crate::object::file_transfer::Direction;
use std::ffi::{c_int, c_void};

/// The body of the first halves. `access` is the function's name without "_begin".
unsafe fn begin<A: Abi>(
    (name, access): (&'static str, &'static str),
    fh: A::File,
    how: How,
    memory: Memory<A>,
) -> c_int {
    on_file::<A>(name, fh, |entry, file| {
        if let Some(active) = &*file.split.borrow() {
            let text = format!("{}_begin was called and not ended yet", active.name);
            return error(class::OTHER, text);
        }
        // SAFETY: the caller's promise.
        let status = unsafe { access_all::<A>(entry, file, how, memory)? };
        *file.split.borrow_mut() = Some(Split { name: access, status });
        Ok(())
    })
}

/// The body of the second halves.
unsafe fn end<A: Abi>(
    (name, access): (&'static str, &'static str),
    fh: A::File,
    status: *mut A::Status,
) -> c_int {
    on_file::<A>(name, fh, |_, file| {
        let begun = file.split.take();
        match begun {
            Some(split) if split.name == access => {
                // SAFETY: ignored or writable, says the caller.
                unsafe { A::status_write(status, &split.status) };
                Ok(())
            }
            other => {
                let active = other.as_ref().map_or("nothing", |split| split.name);
                let text = format!("it ends {access}_begin, but what was begun is {active}");
                *file.split.borrow_mut() = other;
                error(class::OTHER, text)
            }
        }
    })
}

pub unsafe fn MPI_File_read_at_all_begin<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
) -> c_int {
    let (how, memory) =
        ((Direction::Read, At::Offset(offset)), (buf.cast_const(), count, datatype));
    let names = ("MPI_File_read_at_all_begin", "MPI_File_read_at_all");
    // SAFETY: this function's own conditions.
    unsafe { begin::<A>(names, fh, how, memory) }
}

pub unsafe fn MPI_File_read_at_all_end<A: Abi>(
    fh: A::File,
    _buf: *mut c_void,
    status: *mut A::Status,
) -> c_int {
    let names = ("MPI_File_read_at_all_end", "MPI_File_read_at_all");
    // SAFETY: this function's own conditions.
    unsafe { end::<A>(names, fh, status) }
}

pub unsafe fn MPI_File_write_at_all_begin<A: Abi>(
    fh: A::File,
    offset: i64,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Offset(offset)), (buf, count, datatype));
    let names = ("MPI_File_write_at_all_begin", "MPI_File_write_at_all");
    // SAFETY: this function's own conditions.
    unsafe { begin::<A>(names, fh, how, memory) }
}

pub unsafe fn MPI_File_write_at_all_end<A: Abi>(
    fh: A::File,
    _buf: *const c_void,
    status: *mut A::Status,
) -> c_int {
    let names = ("MPI_File_write_at_all_end", "MPI_File_write_at_all");
    // SAFETY: this function's own conditions.
    unsafe { end::<A>(names, fh, status) }
}

pub unsafe fn MPI_File_read_all_begin<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Pointer), (buf.cast_const(), count, datatype));
    let names = ("MPI_File_read_all_begin", "MPI_File_read_all");
    // SAFETY: this function's own conditions.
    unsafe { begin::<A>(names, fh, how, memory) }
}

pub unsafe fn MPI_File_read_all_end<A: Abi>(
    fh: A::File,
    _buf: *mut c_void,
    status: *mut A::Status,
) -> c_int {
    let names = ("MPI_File_read_all_end", "MPI_File_read_all");
    // SAFETY: this function's own conditions.
    unsafe { end::<A>(names, fh, status) }
}

pub unsafe fn MPI_File_write_all_begin<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Pointer), (buf, count, datatype));
    let names = ("MPI_File_write_all_begin", "MPI_File_write_all");
    // SAFETY: this function's own conditions.
    unsafe { begin::<A>(names, fh, how, memory) }
}

pub unsafe fn MPI_File_write_all_end<A: Abi>(
    fh: A::File,
    _buf: *const c_void,
    status: *mut A::Status,
) -> c_int {
    let names = ("MPI_File_write_all_end", "MPI_File_write_all");
    // SAFETY: this function's own conditions.
    unsafe { end::<A>(names, fh, status) }
}

pub unsafe fn MPI_File_read_ordered_begin<A: Abi>(
    fh: A::File,
    buf: *mut c_void,
    count: i64,
    datatype: A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Read, At::Shared), (buf.cast_const(), count, datatype));
    let names = ("MPI_File_read_ordered_begin", "MPI_File_read_ordered");
    // SAFETY: this function's own conditions.
    unsafe { begin::<A>(names, fh, how, memory) }
}

pub unsafe fn MPI_File_read_ordered_end<A: Abi>(
    fh: A::File,
    _buf: *mut c_void,
    status: *mut A::Status,
) -> c_int {
    let names = ("MPI_File_read_ordered_end", "MPI_File_read_ordered");
    // SAFETY: this function's own conditions.
    unsafe { end::<A>(names, fh, status) }
}

pub unsafe fn MPI_File_write_ordered_begin<A: Abi>(
    fh: A::File,
    buf: *const c_void,
    count: i64,
    datatype: A::Handle,
) -> c_int {
    let (how, memory) = ((Direction::Write, At::Shared), (buf, count, datatype));
    let names = ("MPI_File_write_ordered_begin", "MPI_File_write_ordered");
    // SAFETY: this function's own conditions.
    unsafe { begin::<A>(names, fh, how, memory) }
}

pub unsafe fn MPI_File_write_ordered_end<A: Abi>(
    fh: A::File,
    _buf: *const c_void,
    status: *mut A::Status,
) -> c_int {
    let names = ("MPI_File_write_ordered_end", "MPI_File_write_ordered");
    // SAFETY: this function's own conditions.
    unsafe { end::<A>(names, fh, status) }
}

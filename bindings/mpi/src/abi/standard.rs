// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The standard ABI (MPI 5.0): pointer-sized handles, canonical constants.
//!
//! Almost everything is the identity. Only the five reserved words of a status are ours to fill:
//! the packed bytes (63 bits) in the first two, with the cancelled flag as the topmost bit.

use std::ffi::{c_int, c_void};

use super::{Abi, Code, CopyFunction, Family, HandleKind, Limits, Status};

/// The face of `libmpi_abi.so.1`.
pub struct Standard;

/// `MPI_Status` of the standard ABI.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StandardStatus {
    source: c_int,
    tag: c_int,
    error: c_int,
    low: u32,
    high_and_cancelled: u32,
    unused: [c_int; 3],
}

const _: () = assert!(size_of::<StandardStatus>() == 32 && align_of::<StandardStatus>() == 4);

const CANCELLED: u32 = 1 << 31;

impl Abi for Standard {
    type Handle = usize;
    type File = usize;
    type Status = StandardStatus;

    const FACE: &'static str = "standard";
    const SONAME: &'static str = "libmpi_abi.so.1";
    const ABI_VERSION: (c_int, c_int) = (1, 0);
    const DISPLACEMENT_CURRENT: i64 = -1;
    const LIMITS: Limits = Limits {
        processor_name: 256,
        error_string: 512,
        object_name: 128,
        info_key: 256,
        info_value: 1024,
        port_name: 1024,
        process_set_name: 1024,
        string_tag: 1024,
        library_version: 8192,
        datarep: 128,
        bsend_overhead: 512,
    };

    #[inline]
    fn handle_in(_kind: HandleKind, handle: usize) -> Code {
        Code::try_from(handle).unwrap_or(0)
    }
    #[inline]
    fn handle_out(_kind: HandleKind, code: Code) -> usize {
        code as usize
    }
    #[inline]
    fn file_in(file: usize) -> Code {
        Code::try_from(file).unwrap_or(0)
    }
    #[inline]
    fn file_out(code: Code) -> usize {
        code as usize
    }
    #[inline]
    fn handle_to_int(handle: usize) -> c_int {
        handle as u32 as c_int
    }
    #[inline]
    fn handle_from_int(number: c_int) -> usize {
        number as u32 as usize
    }
    #[inline]
    fn file_to_int(file: usize) -> c_int {
        file as u32 as c_int
    }
    #[inline]
    fn file_from_int(number: c_int) -> usize {
        number as u32 as usize
    }
    #[inline]
    fn rank_in(rank: c_int) -> c_int {
        rank
    }
    #[inline]
    fn rank_out(rank: c_int) -> c_int {
        rank
    }
    #[inline]
    fn tag_in(tag: c_int) -> c_int {
        tag
    }
    #[inline]
    fn tag_out(tag: c_int) -> c_int {
        tag
    }
    #[inline]
    fn error_in(code: c_int) -> c_int {
        code
    }
    #[inline]
    fn error_out(code: c_int) -> c_int {
        code
    }
    #[inline]
    fn constant_in(_family: Family, value: c_int) -> c_int {
        value
    }
    #[inline]
    fn constant_out(_family: Family, value: c_int) -> c_int {
        value
    }
    #[inline]
    fn is_in_place(address: *const c_void) -> bool {
        address.addr() == 1
    }
    #[inline]
    fn is_buffer_automatic(address: *const c_void) -> bool {
        address.addr() == 2
    }
    #[inline]
    fn is_status_ignore(status: *const StandardStatus) -> bool {
        status.is_null()
    }
    #[inline]
    fn is_errcodes_ignore(codes: *const c_int) -> bool {
        codes.is_null()
    }
    #[inline]
    fn is_all_handles(handle: *const c_void) -> bool {
        handle.addr() == 1
    }

    fn is_unweighted(weights: *const c_int) -> bool {
        weights.addr() == 10
    }
    #[inline]
    fn is_weights_empty(weights: *const c_int) -> bool {
        weights.addr() == 11
    }
    #[inline]
    fn copy_function(function: *const c_void) -> CopyFunction {
        match function.addr() {
            0 => CopyFunction::Null,
            1 => CopyFunction::Dup,
            _ => CopyFunction::User(function),
        }
    }
    #[inline]
    unsafe fn status_write(status: *mut StandardStatus, value: &Status) {
        if !status.is_null() {
            let cancelled = if value.cancelled { CANCELLED } else { 0 };
            // SAFETY: not the ignore value, hence writable by the caller's promise.
            let status = unsafe { &mut *status };
            status.source = value.source;
            status.tag = value.tag;
            status.low = value.bytes as u32;
            status.high_and_cancelled = ((value.bytes >> 32) as u32 & !CANCELLED) | cancelled;
        }
    }
    #[inline]
    unsafe fn status_write_error(status: *mut StandardStatus, error: c_int) {
        if !status.is_null() {
            // SAFETY: not the ignore value, hence writable by the caller's promise.
            unsafe { (*status).error = error }
        }
    }
    #[inline]
    unsafe fn status_read(status: *const StandardStatus) -> Status {
        // SAFETY: readable by the caller's promise.
        let status = unsafe { *status };
        let high = u64::from(status.high_and_cancelled & !CANCELLED);
        Status {
            source: status.source,
            tag: status.tag,
            error: status.error,
            bytes: high << 32 | u64::from(status.low),
            cancelled: status.high_and_cancelled & CANCELLED != 0,
        }
    }
}

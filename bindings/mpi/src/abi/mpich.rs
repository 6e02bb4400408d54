// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The MPICH ABI: int handles, its own constants.
//!
//! A dynamic handle is its code (the two top bits are ones, which no predefined handle of this ABI
//! has), so the hot functions are one comparison for it; predefined handles take a small table.
//! A handle of the wrong kind becomes 0, which is never valid.

use std::ffi::{c_int, c_void};

use super::{Abi, Code, CopyFunction, Family, HandleKind, Limits, Status, is_dynamic};

mod constant;
mod datatype;

/// The face of `libmpi.so.12`.
pub struct Mpich;

/// `MPI_Status` of the MPICH ABI.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MpichStatus {
    low: u32,
    high_and_cancelled: u32,
    source: c_int,
    tag: c_int,
    error: c_int,
}

const _: () = assert!(size_of::<MpichStatus>() == 20 && align_of::<MpichStatus>() == 4);

/// What MPI_T_PVAR_ALL_HANDLES points to.
pub static ALL_HANDLES: c_int = 2;

/// What MPI_UNWEIGHTED points to: only the address counts.
pub static UNWEIGHTED: c_int = 0;
/// What MPI_WEIGHTS_EMPTY points to. Not zero, so that the two cannot be merged into one.
pub static WEIGHTS_EMPTY: c_int = 1;

/// The predefined handles of the small kinds: (MPICH, canonical), the NULL handle first.
const fn predefined(kind: HandleKind) -> &'static [(u32, Code)] {
    match kind {
        HandleKind::Comm => &[(0x0400_0000, 0x100), (0x4400_0000, 0x101), (0x4400_0001, 0x102)],
        HandleKind::Group => &[(0x0800_0000, 0x108), (0x4800_0000, 0x109)],
        HandleKind::Datatype => &[datatype::NULL],
        HandleKind::Op => &OPS,
        HandleKind::Request => &[(0x2c00_0000, 0x180)],
        HandleKind::Message => &[(0x2c00_0000, 0x128), (0x6c00_0000, 0x129)],
        HandleKind::Info => &[(0x1c00_0000, 0x130), (0x5c00_0001, 0x131)],
        HandleKind::Errhandler => &[
            (0x1400_0000, 0x140),
            (0x5400_0000, 0x141),
            (0x5400_0003, 0x142),
            (0x5400_0001, 0x143),
        ],
        HandleKind::Win => &[(0x2000_0000, 0x110)],
        HandleKind::File => &[(0, 0x118)],
        HandleKind::Session => &[(0x3800_0000, 0x120)],
    }
}

/// The operations: `0x5800_00NN` at index NN.
const OPS: [(u32, Code); 15] = [
    (0x1800_0000, 0x20),
    (0x5800_0001, 0x23), // MAX
    (0x5800_0002, 0x22), // MIN
    (0x5800_0003, 0x21), // SUM
    (0x5800_0004, 0x24), // PROD
    (0x5800_0005, 0x30), // LAND
    (0x5800_0006, 0x28), // BAND
    (0x5800_0007, 0x31), // LOR
    (0x5800_0008, 0x29), // BOR
    (0x5800_0009, 0x32), // LXOR
    (0x5800_000a, 0x2a), // BXOR
    (0x5800_000b, 0x38), // MINLOC
    (0x5800_000c, 0x39), // MAXLOC
    (0x5800_000d, 0x3c), // REPLACE
    (0x5800_000e, 0x3d), // NO_OP
];

#[inline]
fn search_in(kind: HandleKind, handle: u32) -> Code {
    predefined(kind).iter().find(|(known, _)| *known == handle).map_or(0, |(_, code)| *code)
}

#[inline]
fn search_out(kind: HandleKind, code: Code) -> u32 {
    let table = predefined(kind);
    table.iter().find(|(_, known)| *known == code).unwrap_or(&table[0]).0
}

/// The ranks below zero.
#[cold]
fn special_rank_in(rank: c_int) -> c_int {
    match rank {
        -2 => -1, // ANY_SOURCE
        -1 => -3, // PROC_NULL
        -3 => -4, // ROOT
        -4 => -5, // none of them here, so none of them inside
        other => other,
    }
}

#[cold]
fn special_rank_out(rank: c_int) -> c_int {
    match rank {
        -1 => -2,
        -3 => -1,
        -4 => -3,
        -5 => -4,
        other => other,
    }
}

impl Abi for Mpich {
    type Handle = u32;
    type File = usize;
    type Status = MpichStatus;

    const FACE: &'static str = "mpich";
    const SONAME: &'static str = "libmpi.so.12";
    const ABI_VERSION: (c_int, c_int) = (-1, -1);
    const DISPLACEMENT_CURRENT: i64 = -54278278;
    const LIMITS: Limits = Limits {
        processor_name: 128,
        error_string: 512,
        object_name: 128,
        info_key: 255,
        info_value: 1024,
        port_name: 256,
        process_set_name: 256,
        string_tag: 256,
        library_version: 8192,
        datarep: 128,
        bsend_overhead: 96,
    };

    #[inline]
    fn handle_in(kind: HandleKind, handle: u32) -> Code {
        if is_dynamic(handle) {
            return handle;
        }
        match kind {
            HandleKind::Datatype => datatype::code(handle),
            HandleKind::Comm if handle & !1 == 0x4400_0000 => 0x101 + (handle & 1),
            HandleKind::Op => match OPS.get((handle & 0xff) as usize) {
                Some((known, code)) if *known == handle => *code,
                _ => search_in(kind, handle),
            },
            _ => search_in(kind, handle),
        }
    }
    #[inline]
    fn handle_out(kind: HandleKind, code: Code) -> u32 {
        if is_dynamic(code) {
            return code;
        }
        match kind {
            HandleKind::Datatype => datatype::handle(code),
            HandleKind::Request => 0x2c00_0000,
            _ => search_out(kind, code),
        }
    }
    #[inline]
    fn file_in(file: usize) -> Code {
        match Code::try_from(file) {
            Ok(0) => 0x118,
            Ok(code) if is_dynamic(code) => code,
            _ => 0,
        }
    }
    #[inline]
    fn file_out(code: Code) -> usize {
        if is_dynamic(code) { code as usize } else { 0 }
    }
    #[inline]
    fn handle_to_int(handle: u32) -> c_int {
        handle as c_int
    }
    #[inline]
    fn handle_from_int(number: c_int) -> u32 {
        number as u32
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
        if rank >= 0 { rank } else { special_rank_in(rank) }
    }
    #[inline]
    fn rank_out(rank: c_int) -> c_int {
        if rank >= 0 { rank } else { special_rank_out(rank) }
    }
    #[inline]
    fn tag_in(tag: c_int) -> c_int {
        if tag >= 0 { tag } else { tag.saturating_sub(1) }
    }
    #[inline]
    fn tag_out(tag: c_int) -> c_int {
        if tag >= 0 { tag } else { tag + 1 }
    }
    #[inline]
    fn error_in(code: c_int) -> c_int {
        if code == 0 { 0 } else { constant::error_to_canonical(code) }
    }
    #[inline]
    fn error_out(code: c_int) -> c_int {
        if code == 0 { 0 } else { constant::error_from_canonical(code) }
    }
    fn constant_in(family: Family, value: c_int) -> c_int {
        constant::to_canonical(family, value)
    }
    fn constant_out(family: Family, value: c_int) -> c_int {
        constant::from_canonical(family, value)
    }
    #[inline]
    fn is_in_place(address: *const c_void) -> bool {
        address.addr() == usize::MAX
    }
    #[inline]
    fn is_buffer_automatic(address: *const c_void) -> bool {
        address.addr() == usize::MAX - 1
    }
    #[inline]
    fn is_status_ignore(status: *const MpichStatus) -> bool {
        status.addr() == 1
    }
    #[inline]
    fn is_errcodes_ignore(codes: *const c_int) -> bool {
        codes.is_null()
    }
    // An executable may hold a copy of the variables MPI_UNWEIGHTED and MPI_WEIGHTS_EMPTY, but what
    // they point to stays here.
    #[inline]
    fn is_all_handles(handle: *const c_void) -> bool {
        std::ptr::eq(handle.cast(), &ALL_HANDLES)
    }

    fn is_unweighted(weights: *const c_int) -> bool {
        std::ptr::eq(weights, &UNWEIGHTED)
    }
    #[inline]
    fn is_weights_empty(weights: *const c_int) -> bool {
        std::ptr::eq(weights, &WEIGHTS_EMPTY)
    }
    // MPI_*_DUP_FN is the function MPIR_Dup_fn, whose address may be one of the executable's own
    // stubs: it is called as a user's function.
    #[inline]
    fn copy_function(function: *const c_void) -> CopyFunction {
        if function.is_null() { CopyFunction::Null } else { CopyFunction::User(function) }
    }
    #[inline]
    unsafe fn status_write(status: *mut MpichStatus, value: &Status) {
        if !Self::is_status_ignore(status) {
            // SAFETY: not the ignore value, hence writable by the caller's promise.
            let status = unsafe { &mut *status };
            status.low = value.bytes as u32;
            status.high_and_cancelled =
                ((value.bytes >> 32) as u32) << 1 | u32::from(value.cancelled);
            status.source = Self::rank_out(value.source);
            status.tag = Self::tag_out(value.tag);
        }
    }
    #[inline]
    unsafe fn status_write_error(status: *mut MpichStatus, error: c_int) {
        if !Self::is_status_ignore(status) {
            // SAFETY: not the ignore value, hence writable by the caller's promise.
            unsafe { (*status).error = Self::error_out(error) }
        }
    }
    #[inline]
    unsafe fn status_read(status: *const MpichStatus) -> Status {
        // SAFETY: readable by the caller's promise.
        let status = unsafe { *status };
        Status {
            source: Self::rank_in(status.source),
            tag: Self::tag_in(status.tag),
            error: Self::error_in(status.error),
            bytes: u64::from(status.high_and_cancelled >> 1) << 32 | u64::from(status.low),
            cancelled: status.high_and_cancelled & 1 != 0,
        }
    }
}

#[cfg(test)]
mod tests;

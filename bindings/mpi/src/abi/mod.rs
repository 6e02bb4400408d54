// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What differs between the two C ABIs: handle width, codes of predefined handles, constants, the
//! layout of a status. Monomorphised, so that it costs nothing at run time.

use std::ffi::{c_int, c_void};

pub mod mpich;
pub mod standard;
pub mod unsupported;

/// Kinds of handles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum HandleKind {
    Comm = 1,
    Group,
    Datatype,
    Op,
    Request,
    Message,
    Info,
    Errhandler,
    Win,
    File,
    Session,
}

impl HandleKind {
    /// Code of the kind's NULL handle.
    pub const fn null(self) -> Code {
        match self {
            HandleKind::Comm => 0x100,
            HandleKind::Group => 0x108,
            HandleKind::Datatype => 0x200,
            HandleKind::Op => 0x20,
            HandleKind::Request => 0x180,
            HandleKind::Message => 0x128,
            HandleKind::Info => 0x130,
            HandleKind::Errhandler => 0x140,
            HandleKind::Win => 0x110,
            HandleKind::File => 0x118,
            HandleKind::Session => 0x120,
        }
    }
}

/// MPI_LB, a datatype that only the MPICH ABI has: our own code for it.
pub const LB: Code = 0x300;
/// MPI_UB, as `LB`.
pub const UB: Code = 0x301;
/// MPIX_C_FLOAT16, as `LB`.
pub const C_FLOAT16: Code = 0x302;
/// MPIX_BFLOAT16, as `LB`.
pub const BFLOAT16: Code = 0x303;

/// Sizes of the caller's text buffers (terminator included) and what else is a plain number.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// MPI_MAX_PROCESSOR_NAME
    pub processor_name: usize,
    /// MPI_MAX_ERROR_STRING
    pub error_string: usize,
    /// MPI_MAX_OBJECT_NAME
    pub object_name: usize,
    /// MPI_MAX_INFO_KEY
    pub info_key: usize,
    /// MPI_MAX_INFO_VAL
    pub info_value: usize,
    /// MPI_MAX_PORT_NAME
    pub port_name: usize,
    /// MPI_MAX_PSET_NAME_LEN
    pub process_set_name: usize,
    /// MPI_MAX_STRINGTAG_LEN
    pub string_tag: usize,
    /// MPI_MAX_LIBRARY_VERSION_STRING
    pub library_version: usize,
    /// MPI_MAX_DATAREP_STRING
    pub datarep: usize,
    /// MPI_BSEND_OVERHEAD
    pub bsend_overhead: usize,
}

/// A handle inside: the standard ABI's code of a predefined object (below 0x1000), or a dynamic
/// one: bits 31-30 are ones (so it is none of the MPICH ABI's predefined codes and above the
/// standard ABI's first page); `handle.rs` says what the rest means. Both faces show a dynamic
/// handle as it is (zero-extended in the standard ABI).
pub type Code = u32;

/// Whether a code is of a dynamic object.
#[inline]
pub fn is_dynamic(code: Code) -> bool {
    code >= 0xC000_0000
}

/// The terminal record of an operation, as `MPI_Status` holds it; canonical values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Rank, ANY_SOURCE (-1) in an empty status, PROC_NULL (-3).
    pub source: c_int,
    /// Tag, ANY_TAG (-2) in an empty status.
    pub tag: c_int,
    /// Canonical error code.
    pub error: c_int,
    /// Packed bytes received.
    pub bytes: u64,
    /// Whether it was cancelled.
    pub cancelled: bool,
}

impl Status {
    /// What a wait on an inactive or null request returns.
    pub const EMPTY: Status = Status { source: -1, tag: -2, error: 0, bytes: 0, cancelled: false };
    /// What a receive from MPI_PROC_NULL returns.
    pub const PROC_NULL: Status =
        Status { source: -3, tag: -2, error: 0, bytes: 0, cancelled: false };
}

/// One C ABI. "in" translates from the caller to canonical, "out" back.
pub trait Abi: Sized + 'static {
    /// A handle as C sees it, except files.
    type Handle: Copy + PartialEq + 'static;
    /// `MPI_File` as C sees it.
    type File: Copy + PartialEq + 'static;
    /// `MPI_Status` as C sees it (only used behind pointers).
    type Status: 'static;

    /// Which face this is, as text: "standard" or "mpich".
    const FACE: &'static str;
    /// SONAME of the library.
    const SONAME: &'static str;
    /// What `MPI_Abi_get_version` answers.
    const ABI_VERSION: (c_int, c_int);
    /// MPI_DISPLACEMENT_CURRENT.
    const DISPLACEMENT_CURRENT: i64;
    /// Lengths of the caller's buffers.
    const LIMITS: Limits;

    /// Canonical code of a caller's handle; an unknown one becomes 0 (never valid).
    fn handle_in(kind: HandleKind, handle: Self::Handle) -> Code;
    /// The caller's form of a code.
    fn handle_out(kind: HandleKind, code: Code) -> Self::Handle;
    /// Canonical code of a caller's file handle.
    fn file_in(file: Self::File) -> Code;
    /// The caller's form of a file's code.
    fn file_out(code: Code) -> Self::File;

    /// A handle as the integer that Fortran has for it.
    fn handle_to_int(handle: Self::Handle) -> c_int;
    /// The same back.
    fn handle_from_int(number: c_int) -> Self::Handle;
    /// A file handle as the integer that Fortran has for it.
    fn file_to_int(file: Self::File) -> c_int;
    /// The same back.
    fn file_from_int(number: c_int) -> Self::File;

    /// A rank argument: ANY_SOURCE -1, PROC_NULL -3, ROOT -4 canonical.
    fn rank_in(rank: c_int) -> c_int;
    /// A rank for the caller.
    fn rank_out(rank: c_int) -> c_int;
    /// A tag argument: ANY_TAG -2 canonical.
    fn tag_in(tag: c_int) -> c_int;
    /// A tag for the caller.
    fn tag_out(tag: c_int) -> c_int;
    /// An error class or code argument.
    fn error_in(code: c_int) -> c_int;
    /// An error class or code for the caller.
    fn error_out(code: c_int) -> c_int;
    /// Any other enum-like constant of the named family (comparison results, thread levels, split
    /// types, combiners, orders, distributions, topologies, modes, keyvals...). MPI_UNDEFINED
    /// stays; a number that the family does not have becomes one that is not canonical
    /// (`c_int::MIN`). Keyvals that users create are numbered from 0x1000 on in both faces.
    /// `Special` translates MPI_DISTRIBUTE_DFLT_DARG and leaves any other number as it is.
    fn constant_in(family: Family, value: c_int) -> c_int;
    /// The same back.
    fn constant_out(family: Family, value: c_int) -> c_int;

    /// Whether the address is MPI_IN_PLACE.
    fn is_in_place(address: *const c_void) -> bool;
    /// Whether the address is MPI_BUFFER_AUTOMATIC.
    fn is_buffer_automatic(address: *const c_void) -> bool;
    /// Whether the pointer is MPI_STATUS(ES)_IGNORE.
    fn is_status_ignore(status: *const Self::Status) -> bool;
    /// Whether the pointer is MPI_ERRCODES_IGNORE.
    fn is_errcodes_ignore(codes: *const c_int) -> bool;
    /// Whether the handle is MPI_T_PVAR_ALL_HANDLES.
    fn is_all_handles(handle: *const c_void) -> bool;
    /// Whether the pointer is MPI_UNWEIGHTED.
    fn is_unweighted(weights: *const c_int) -> bool;
    /// Whether the pointer is MPI_WEIGHTS_EMPTY.
    fn is_weights_empty(weights: *const c_int) -> bool;
    /// How the caller's copy-function pointer is to be read.
    fn copy_function(function: *const c_void) -> CopyFunction;

    /// Writes a status except its error field. `status` may be the ignore value.
    ///
    /// # Safety
    /// `status` is the ignore value or writable.
    unsafe fn status_write(status: *mut Self::Status, value: &Status);
    /// Writes the error field only.
    ///
    /// # Safety
    /// `status` is the ignore value or writable.
    unsafe fn status_write_error(status: *mut Self::Status, error: c_int);
    /// Reads a status.
    ///
    /// # Safety
    /// `status` is readable.
    unsafe fn status_read(status: *const Self::Status) -> Status;
}

/// Copy callbacks that a caller may name by value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyFunction {
    /// MPI_*_NULL_COPY_FN (or NULL): the attribute is not copied.
    Null,
    /// MPI_*_DUP_FN: the attribute is copied as it is.
    Dup,
    /// The user's.
    User(*const c_void),
}

/// Families of enum-like constants whose numbers differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Comparison,
    ThreadLevel,
    SplitType,
    Combiner,
    Order,
    Distribution,
    Topology,
    FileMode,
    Seek,
    WinAssert,
    LockType,
    Typeclass,
    Keyval,
    WinFlavor,
    WinModel,
    /// MPI_T_BIND_*
    ToolBind,
    /// MPI_T_SCOPE_*
    ToolScope,
    /// MPI_T_VERBOSITY_*
    ToolVerbosity,
    /// MPI_T_PVAR_CLASS_*
    ToolClass,
    /// MPI_T_CB_REQUIRE_*
    ToolSafety,
    /// MPI_T_SOURCE_*
    ToolOrder,
    Special,
}

/// An array of counts or displacements, as `int` or as `MPI_Count`/`MPI_Aint`: one body serves a
/// function and its `_c` twin.
#[derive(Clone, Copy)]
pub enum Counts {
    /// `const int[]`
    Int(*const c_int),
    /// `const MPI_Count[]` or `const MPI_Aint[]`
    Long(*const i64),
}

// SAFETY: only a description of the caller's array; reading it is unsafe.
unsafe impl Send for Counts {}

impl Counts {
    /// The caller's pointer is null.
    pub fn is_null(&self) -> bool {
        match self {
            Counts::Int(p) => p.is_null(),
            Counts::Long(p) => p.is_null(),
        }
    }
    /// Element `i`.
    ///
    /// # Safety
    /// The caller's array has more than `i` elements.
    #[inline]
    pub unsafe fn at(&self, i: usize) -> i64 {
        match self {
            // SAFETY: the caller's promise.
            Counts::Int(p) => unsafe { *p.add(i) as i64 },
            // SAFETY: the caller's promise.
            Counts::Long(p) => unsafe { *p.add(i) },
        }
    }
    /// The first `n` elements.
    ///
    /// # Safety
    /// The caller's array has at least `n` elements.
    pub unsafe fn to_vec(&self, n: usize) -> Vec<i64> {
        // SAFETY: the caller's promise.
        (0..n).map(|i| unsafe { self.at(i) }).collect()
    }
}

/// A scalar result (or an array of them) that is `int` in a function and `MPI_Count` in its twin.
#[derive(Clone, Copy)]
pub enum CountOut {
    /// `int *`
    Int(*mut c_int),
    /// `MPI_Count *` or `MPI_Aint *`
    Long(*mut i64),
}

impl CountOut {
    /// The caller's pointer is null.
    pub fn is_null(&self) -> bool {
        match self {
            CountOut::Int(p) => p.is_null(),
            CountOut::Long(p) => p.is_null(),
        }
    }
    /// Writes element `i`; a value that an `int` cannot hold becomes MPI_UNDEFINED (-32766).
    ///
    /// # Safety
    /// The caller's array has more than `i` writable elements.
    pub unsafe fn set_at(&self, i: usize, value: i64) {
        match self {
            // SAFETY: the caller's promise.
            CountOut::Int(p) => unsafe { *p.add(i) = c_int::try_from(value).unwrap_or(-32766) },
            // SAFETY: the caller's promise.
            CountOut::Long(p) => unsafe { *p.add(i) = value },
        }
    }
    /// Reads element `i` of what is also an argument (the position of a pack).
    ///
    /// # Safety
    /// The caller's array has more than `i` readable elements.
    pub unsafe fn get_at(&self, i: usize) -> i64 {
        match self {
            // SAFETY: the caller's promise.
            CountOut::Int(p) => unsafe { i64::from(*p.add(i)) },
            // SAFETY: the caller's promise.
            CountOut::Long(p) => unsafe { *p.add(i) },
        }
    }
    /// Reads a scalar.
    ///
    /// # Safety
    /// The caller's pointer is readable.
    pub unsafe fn get(&self) -> i64 {
        // SAFETY: the caller's promise.
        unsafe { self.get_at(0) }
    }
    /// Writes a scalar.
    ///
    /// # Safety
    /// The caller's pointer is writable.
    pub unsafe fn set(&self, value: i64) {
        // SAFETY: the caller's promise.
        unsafe { self.set_at(0, value) }
    }
}

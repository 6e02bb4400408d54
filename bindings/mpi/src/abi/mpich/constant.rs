// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Enum-like constants and error classes of the MPICH ABI: pairs of (MPICH, canonical).
//!
//! A number that a family does not have becomes `UNKNOWN` inside, so that it can never be taken for
//! a canonical one; families of bits are translated bit by bit. A test compares the tables with the
//! project's table of constants.

use std::ffi::c_int;

use crate::abi::Family;

/// What an unknown number becomes; no family has it.
pub const UNKNOWN: c_int = c_int::MIN;

type Pair = (c_int, c_int);

const COMPARISON: [Pair; 4] = [
    (0, 201), // IDENT
    (1, 202), // CONGRUENT
    (2, 203), // SIMILAR
    (3, 204), // UNEQUAL
];

const THREAD_LEVEL: [Pair; 4] = [
    (0, 0),    // THREAD_SINGLE
    (1, 1024), // THREAD_FUNNELED
    (2, 2048), // THREAD_SERIALIZED
    (3, 4096), // THREAD_MULTIPLE
];

const SPLIT_TYPE: [Pair; 4] = [
    (1, 221), // COMM_TYPE_SHARED
    (2, 223), // COMM_TYPE_HW_GUIDED
    (3, 222), // COMM_TYPE_HW_UNGUIDED
    (4, 224), // COMM_TYPE_RESOURCE_GUIDED
];

const COMBINER: [Pair; 17] = [
    (1, 101),  // COMBINER_NAMED
    (2, 102),  // COMBINER_DUP
    (3, 103),  // COMBINER_CONTIGUOUS
    (4, 104),  // COMBINER_VECTOR
    (6, 105),  // COMBINER_HVECTOR
    (7, 106),  // COMBINER_INDEXED
    (9, 107),  // COMBINER_HINDEXED
    (10, 108), // COMBINER_INDEXED_BLOCK
    (12, 110), // COMBINER_STRUCT
    (13, 111), // COMBINER_SUBARRAY
    (14, 112), // COMBINER_DARRAY
    (15, 113), // COMBINER_F90_REAL
    (16, 114), // COMBINER_F90_COMPLEX
    (17, 115), // COMBINER_F90_INTEGER
    (18, 116), // COMBINER_RESIZED
    (19, 109), // COMBINER_HINDEXED_BLOCK
    (20, 117), // COMBINER_VALUE_INDEX
];

const TOOL_BIND: [Pair; 12] = [
    (9701, 2),  // T_BIND_MPI_COMM
    (9702, 3),  // T_BIND_MPI_DATATYPE
    (9703, 4),  // T_BIND_MPI_ERRHANDLER
    (9704, 5),  // T_BIND_MPI_FILE
    (9705, 6),  // T_BIND_MPI_GROUP
    (9710, 11), // T_BIND_MPI_INFO
    (9709, 10), // T_BIND_MPI_MESSAGE
    (9706, 7),  // T_BIND_MPI_OP
    (9707, 8),  // T_BIND_MPI_REQUEST
    (9711, 12), // T_BIND_MPI_SESSION
    (9708, 9),  // T_BIND_MPI_WIN
    (9700, 1),  // T_BIND_NO_OBJECT
];

const TOOL_SCOPE: [Pair; 7] = [
    (60443, 6), // T_SCOPE_ALL
    (60444, 7), // T_SCOPE_ALL_EQ
    (60438, 1), // T_SCOPE_CONSTANT
    (60441, 4), // T_SCOPE_GROUP
    (60442, 5), // T_SCOPE_GROUP_EQ
    (60440, 3), // T_SCOPE_LOCAL
    (60439, 2), // T_SCOPE_READONLY
];

const TOOL_VERBOSITY: [Pair; 9] = [
    (229, 36), // T_VERBOSITY_MPIDEV_ALL
    (227, 33), // T_VERBOSITY_MPIDEV_BASIC
    (228, 34), // T_VERBOSITY_MPIDEV_DETAIL
    (226, 20), // T_VERBOSITY_TUNER_ALL
    (224, 17), // T_VERBOSITY_TUNER_BASIC
    (225, 18), // T_VERBOSITY_TUNER_DETAIL
    (223, 12), // T_VERBOSITY_USER_ALL
    (221, 9),  // T_VERBOSITY_USER_BASIC
    (222, 10), // T_VERBOSITY_USER_DETAIL
];

const TOOL_CLASS: [Pair; 10] = [
    (247, 8),  // T_PVAR_CLASS_AGGREGATE
    (246, 7),  // T_PVAR_CLASS_COUNTER
    (249, 10), // T_PVAR_CLASS_GENERIC
    (244, 5),  // T_PVAR_CLASS_HIGHWATERMARK
    (241, 2),  // T_PVAR_CLASS_LEVEL
    (245, 6),  // T_PVAR_CLASS_LOWWATERMARK
    (243, 4),  // T_PVAR_CLASS_PERCENTAGE
    (242, 3),  // T_PVAR_CLASS_SIZE
    (240, 1),  // T_PVAR_CLASS_STATE
    (248, 9),  // T_PVAR_CLASS_TIMER
];

const TOOL_SAFETY: [Pair; 4] = [
    (3, 63), // T_CB_REQUIRE_ASYNC_SIGNAL_SAFE
    (1, 3),  // T_CB_REQUIRE_MPI_RESTRICTED
    (0, 0),  // T_CB_REQUIRE_NONE
    (2, 15), // T_CB_REQUIRE_THREAD_SAFE
];

const TOOL_ORDER: [Pair; 2] = [
    (0, 1), // T_SOURCE_ORDERED
    (1, 2), // T_SOURCE_UNORDERED
];

const ORDER: [Pair; 2] = [
    (56, 12), // ORDER_C
    (57, 15), // ORDER_FORTRAN
];

const DISTRIBUTION: [Pair; 3] = [
    (121, 17), // DISTRIBUTE_BLOCK
    (122, 18), // DISTRIBUTE_CYCLIC
    (123, 16), // DISTRIBUTE_NONE
];

const TOPOLOGY: [Pair; 3] = [
    (1, 212), // GRAPH
    (2, 211), // CART
    (3, 213), // DIST_GRAPH
];

const FILE_MODE: [Pair; 9] = [
    (1, 2),    // MODE_CREATE
    (2, 16),   // MODE_RDONLY
    (4, 256),  // MODE_WRONLY
    (8, 32),   // MODE_RDWR
    (16, 4),   // MODE_DELETE_ON_CLOSE
    (32, 128), // MODE_UNIQUE_OPEN
    (64, 8),   // MODE_EXCL
    (128, 1),  // MODE_APPEND
    (256, 64), // MODE_SEQUENTIAL
];

const SEEK: [Pair; 3] = [
    (600, 403), // SEEK_SET
    (602, 401), // SEEK_CUR
    (604, 402), // SEEK_END
];

const WIN_ASSERT: [Pair; 5] = [
    (1024, 1024),   // MODE_NOCHECK
    (2048, 8192),   // MODE_NOSTORE
    (4096, 4096),   // MODE_NOPUT
    (8192, 2048),   // MODE_NOPRECEDE
    (16384, 16384), // MODE_NOSUCCEED
];

const LOCK_TYPE: [Pair; 2] = [
    (234, 301), // LOCK_EXCLUSIVE
    (235, 302), // LOCK_SHARED
];

const TYPECLASS: [Pair; 3] = [
    (1, 193), // TYPECLASS_REAL
    (2, 192), // TYPECLASS_INTEGER
    (3, 194), // TYPECLASS_COMPLEX
];

const KEYVAL: [Pair; 13] = [
    (603979776, 0),    // KEYVAL_INVALID
    (1681915905, 501), // TAG_UB
    (1681915907, 503), // HOST
    (1681915909, 502), // IO
    (1681915911, 504), // WTIME_IS_GLOBAL
    (1681915913, 507), // UNIVERSE_SIZE
    (1681915915, 506), // LASTUSEDCODE
    (1681915917, 505), // APPNUM
    (1711276033, 601), // WIN_BASE
    (1711276035, 603), // WIN_SIZE
    (1711276037, 602), // WIN_DISP_UNIT
    (1711276039, 604), // WIN_CREATE_FLAVOR
    (1711276041, 605), // WIN_MODEL
];

const WIN_FLAVOR: [Pair; 4] = [
    (1, 311), // WIN_FLAVOR_CREATE
    (2, 312), // WIN_FLAVOR_ALLOCATE
    (3, 313), // WIN_FLAVOR_DYNAMIC
    (4, 314), // WIN_FLAVOR_SHARED
];

const WIN_MODEL: [Pair; 2] = [
    (1, 322), // WIN_SEPARATE
    (2, 321), // WIN_UNIFIED
];

const SPECIAL: [Pair; 1] = [
    (-49767, 19), // DISTRIBUTE_DFLT_DARG
];

/// Error classes; LASTCODE and what users add lie above, MPICH's extensions at 101 to 107.
const ERRORS: [Pair; 84] = [
    (0, 0),     // SUCCESS
    (1, 1),     // ERR_BUFFER
    (2, 2),     // ERR_COUNT
    (3, 3),     // ERR_TYPE
    (4, 4),     // ERR_TAG
    (5, 5),     // ERR_COMM
    (6, 6),     // ERR_RANK
    (7, 8),     // ERR_ROOT
    (8, 9),     // ERR_GROUP
    (9, 10),    // ERR_OP
    (10, 11),   // ERR_TOPOLOGY
    (11, 12),   // ERR_DIMS
    (12, 13),   // ERR_ARG
    (13, 14),   // ERR_UNKNOWN
    (14, 15),   // ERR_TRUNCATE
    (15, 16),   // ERR_OTHER
    (16, 17),   // ERR_INTERN
    (17, 19),   // ERR_IN_STATUS
    (18, 18),   // ERR_PENDING
    (19, 7),    // ERR_REQUEST
    (20, 20),   // ERR_ACCESS
    (21, 21),   // ERR_AMODE
    (22, 23),   // ERR_BAD_FILE
    (23, 25),   // ERR_CONVERSION
    (24, 27),   // ERR_DUP_DATAREP
    (25, 28),   // ERR_FILE_EXISTS
    (26, 29),   // ERR_FILE_IN_USE
    (27, 30),   // ERR_FILE
    (28, 34),   // ERR_INFO
    (29, 31),   // ERR_INFO_KEY
    (30, 33),   // ERR_INFO_VALUE
    (31, 32),   // ERR_INFO_NOKEY
    (32, 35),   // ERR_IO
    (33, 38),   // ERR_NAME
    (34, 39),   // ERR_NO_MEM
    (35, 40),   // ERR_NOT_SAME
    (36, 41),   // ERR_NO_SPACE
    (37, 42),   // ERR_NO_SUCH_FILE
    (38, 43),   // ERR_PORT
    (39, 44),   // ERR_QUOTA
    (40, 45),   // ERR_READ_ONLY
    (41, 51),   // ERR_SERVICE
    (42, 53),   // ERR_SPAWN
    (43, 54),   // ERR_UNSUPPORTED_DATAREP
    (44, 55),   // ERR_UNSUPPORTED_OPERATION
    (45, 56),   // ERR_WIN
    (46, 24),   // ERR_BASE
    (47, 37),   // ERR_LOCKTYPE
    (48, 36),   // ERR_KEYVAL
    (49, 47),   // ERR_RMA_CONFLICT
    (50, 50),   // ERR_RMA_SYNC
    (51, 52),   // ERR_SIZE
    (52, 26),   // ERR_DISP
    (53, 22),   // ERR_ASSERT
    (55, 48),   // ERR_RMA_RANGE
    (56, 46),   // ERR_RMA_ATTACH
    (57, 49),   // ERR_RMA_SHARED
    (58, 57),   // ERR_RMA_FLAVOR
    (59, 1005), // T_ERR_MEMORY
    (60, 1003), // T_ERR_NOT_INITIALIZED
    (61, 1001), // T_ERR_CANNOT_INIT
    (62, 1007), // T_ERR_INVALID_INDEX
    (63, 1008), // T_ERR_INVALID_ITEM
    (64, 1010), // T_ERR_INVALID_HANDLE
    (65, 1012), // T_ERR_OUT_OF_HANDLES
    (66, 1013), // T_ERR_OUT_OF_SESSIONS
    (67, 1009), // T_ERR_INVALID_SESSION
    (68, 1014), // T_ERR_CVAR_SET_NOT_NOW
    (69, 1015), // T_ERR_CVAR_SET_NEVER
    (70, 1017), // T_ERR_PVAR_NO_STARTSTOP
    (71, 1016), // T_ERR_PVAR_NO_WRITE
    (72, 1018), // T_ERR_PVAR_NO_ATOMIC
    (73, 1011), // T_ERR_INVALID_NAME
    (74, 1006), // T_ERR_INVALID
    (75, 60),   // ERR_SESSION
    (76, 58),   // ERR_PROC_ABORTED
    (77, 59),   // ERR_VALUE_TOO_LARGE
    (78, 1004), // T_ERR_NOT_SUPPORTED
    (79, 1002), // T_ERR_NOT_ACCESSIBLE
    (80, 61),   // ERR_ERRHANDLER
    (81, 62),   // ERR_ABI
    (101, 101), // MPIX_ERR_PROC_FAILED
    (102, 102), // MPIX_ERR_PROC_FAILED_PENDING
    (103, 103), // MPIX_ERR_REVOKED
];

/// MPI_ERR_LASTCODE of both: the codes that users add follow it.
const LASTCODE: Pair = (0x3fff_ffff, 16383);

/// Added to a number that is no error class, so that it comes back as it was.
const STRANGE: c_int = 0x2000_0000;

const CLASSES: usize = 128;
const CANONICAL_CLASSES: usize = 1024;

static ERROR_IN: [i16; CLASSES] = error_in();
static ERROR_OUT: [i16; CANONICAL_CLASSES] = error_out();

const fn error_in() -> [i16; CLASSES] {
    let mut table = [-1; CLASSES];
    let mut i = 0;
    while i < ERRORS.len() {
        table[ERRORS[i].0 as usize] = ERRORS[i].1 as i16;
        i += 1;
    }
    let mut extension = 101;
    while extension <= 107 {
        table[extension] = extension as i16;
        extension += 1;
    }
    table
}

const fn error_out() -> [i16; CANONICAL_CLASSES] {
    let mut table = [-1; CANONICAL_CLASSES];
    let mut i = 0;
    while i < ERRORS.len() {
        table[ERRORS[i].1 as usize] = ERRORS[i].0 as i16;
        i += 1;
    }
    let mut extension = 101;
    while extension <= 107 {
        table[extension] = extension as i16;
        extension += 1;
    }
    table
}

/// Canonical error code of a caller's.
pub fn error_to_canonical(code: c_int) -> c_int {
    match usize::try_from(code).ok().and_then(|i| ERROR_IN.get(i)) {
        Some(known) if *known >= 0 => c_int::from(*known),
        _ if code >= LASTCODE.0 => code - LASTCODE.0 + LASTCODE.1,
        _ if (0..STRANGE).contains(&code) => code + STRANGE,
        _ => code,
    }
}

/// The caller's form of a canonical error code.
#[cold]
#[inline(never)]
pub fn error_from_canonical(code: c_int) -> c_int {
    match usize::try_from(code).ok().and_then(|i| ERROR_OUT.get(i)) {
        Some(known) if *known >= 0 => c_int::from(*known),
        _ if code >= STRANGE => code - STRANGE,
        _ if code >= LASTCODE.1 => code - LASTCODE.1 + LASTCODE.0,
        _ => code,
    }
}

/// How the numbers of a family are translated.
enum Reading {
    /// One number is one constant.
    Number(&'static [Pair]),
    /// A number is a sum of constants.
    Bits(&'static [Pair]),
    /// As `Number`, but a number that the table does not have stays as it is.
    Open(&'static [Pair]),
}

fn reading(family: Family) -> Reading {
    match family {
        Family::Comparison => Reading::Number(&COMPARISON),
        Family::ThreadLevel => Reading::Number(&THREAD_LEVEL),
        Family::SplitType => Reading::Number(&SPLIT_TYPE),
        Family::Combiner => Reading::Number(&COMBINER),
        Family::Order => Reading::Number(&ORDER),
        Family::Distribution => Reading::Number(&DISTRIBUTION),
        Family::Topology => Reading::Number(&TOPOLOGY),
        Family::FileMode => Reading::Bits(&FILE_MODE),
        Family::Seek => Reading::Number(&SEEK),
        Family::WinAssert => Reading::Bits(&WIN_ASSERT),
        Family::LockType => Reading::Number(&LOCK_TYPE),
        Family::Typeclass => Reading::Number(&TYPECLASS),
        Family::Keyval => Reading::Number(&KEYVAL),
        Family::WinFlavor => Reading::Number(&WIN_FLAVOR),
        Family::WinModel => Reading::Number(&WIN_MODEL),
        Family::ToolBind => Reading::Number(&TOOL_BIND),
        Family::ToolScope => Reading::Number(&TOOL_SCOPE),
        Family::ToolVerbosity => Reading::Number(&TOOL_VERBOSITY),
        Family::ToolClass => Reading::Number(&TOOL_CLASS),
        Family::ToolSafety => Reading::Number(&TOOL_SAFETY),
        Family::ToolOrder => Reading::Number(&TOOL_ORDER),
        Family::Special => Reading::Open(&SPECIAL),
    }
}

/// MPI_UNDEFINED, the same in both ABIs and all families.
const UNDEFINED: c_int = -32766;

/// Keyvals that users create are numbered from here on and below `USER_KEYVALS_END`, in both ABIs.
const USER_KEYVALS: c_int = 0x1000;
const USER_KEYVALS_END: c_int = 0x2000_0000;

/// Canonical form of a caller's constant.
pub fn to_canonical(family: Family, value: c_int) -> c_int {
    translate(family, value, |pair| pair.0, |pair| pair.1)
}

/// The caller's form of a canonical constant.
pub fn from_canonical(family: Family, value: c_int) -> c_int {
    translate(family, value, |pair| pair.1, |pair| pair.0)
}

fn translate(
    family: Family,
    value: c_int,
    from: fn(&Pair) -> c_int,
    to: fn(&Pair) -> c_int,
) -> c_int {
    let find = |table: &[Pair]| table.iter().find(|pair| from(pair) == value).map(to);
    let user_keyval = family == Family::Keyval && (USER_KEYVALS..USER_KEYVALS_END).contains(&value);
    if value == UNDEFINED || user_keyval {
        return value;
    }
    match reading(family) {
        Reading::Number(table) => find(table).unwrap_or(UNKNOWN),
        Reading::Open(table) => find(table).unwrap_or(value),
        Reading::Bits(table) => {
            let known: c_int = table.iter().map(from).sum();
            if value & !known != 0 {
                return UNKNOWN;
            }
            table.iter().filter(|pair| value & from(pair) != 0).map(to).sum()
        }
    }
}

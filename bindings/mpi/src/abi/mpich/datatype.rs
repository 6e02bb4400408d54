// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The predefined datatypes of the MPICH ABI.
//!
//! Such a handle is `0x4c00SSNN`: SS is the size in bytes, NN a number that no two of them share,
//! so that one look-up by NN and one comparison translate it. The pair types with a hole are
//! `0x8c00000N`. A test compares the tables with the project's table of constants.

use crate::abi::{BFLOAT16, C_FLOAT16, Code, LB, UB};

/// MPI_DATATYPE_NULL
pub const NULL: (u32, Code) = (0x0c00_0000, 0x200);

/// The pair types with a hole, by N.
const PAIRS: [(u32, Code); 5] = [
    (0x8c00_0000, 0x228), // MPI_FLOAT_INT
    (0x8c00_0001, 0x229), // MPI_DOUBLE_INT
    (0x8c00_0002, 0x22a), // MPI_LONG_INT
    (0x8c00_0003, 0x22c), // MPI_SHORT_INT
    (0x8c00_0004, 0x22d), // MPI_LONG_DOUBLE_INT
];

/// The others, by name of their MPICH handle.
const SIMPLE: [(u32, Code); 69] = [
    (0x4c00_0101, 0x243),     // MPI_CHAR
    (0x4c00_0102, 0x245),     // MPI_UNSIGNED_CHAR
    (0x4c00_0203, 0x208),     // MPI_SHORT
    (0x4c00_0204, 0x20c),     // MPI_UNSIGNED_SHORT
    (0x4c00_0405, 0x209),     // MPI_INT
    (0x4c00_0406, 0x20d),     // MPI_UNSIGNED
    (0x4c00_0807, 0x20a),     // MPI_LONG
    (0x4c00_0808, 0x20e),     // MPI_UNSIGNED_LONG
    (0x4c00_0809, 0x20b),     // MPI_LONG_LONG
    (0x4c00_040a, 0x210),     // MPI_FLOAT
    (0x4c00_080b, 0x214),     // MPI_DOUBLE
    (0x4c00_100c, 0x220),     // MPI_LONG_DOUBLE
    (0x4c00_010d, 0x247),     // MPI_BYTE
    (0x4c00_040e, 0x23c),     // MPI_WCHAR
    (0x4c00_010f, 0x207),     // MPI_PACKED
    (0x4c00_0010, LB),        // MPI_LB
    (0x4c00_0011, UB),        // MPI_UB
    (0x4c00_0816, 0x22b),     // MPI_2INT
    (0x4c00_0118, 0x244),     // MPI_SIGNED_CHAR
    (0x4c00_0819, 0x20f),     // MPI_UNSIGNED_LONG_LONG
    (0x4c00_011a, 0x21e),     // MPI_CHARACTER
    (0x4c00_041b, 0x219),     // MPI_INTEGER
    (0x4c00_041c, 0x21a),     // MPI_REAL
    (0x4c00_041d, 0x218),     // MPI_LOGICAL
    (0x4c00_081e, 0x21b),     // MPI_COMPLEX
    (0x4c00_081f, 0x21c),     // MPI_DOUBLE_PRECISION
    (0x4c00_0820, 0x232),     // MPI_2INTEGER
    (0x4c00_0821, 0x230),     // MPI_2REAL
    (0x4c00_1022, 0x21d),     // MPI_DOUBLE_COMPLEX
    (0x4c00_1023, 0x231),     // MPI_2DOUBLE_PRECISION
    (0x4c00_0226, 0x2ca),     // MPI_REAL2
    (0x4c00_0427, 0x2d2),     // MPI_REAL4
    (0x4c00_0828, 0x2db),     // MPI_COMPLEX8
    (0x4c00_0829, 0x2da),     // MPI_REAL8
    (0x4c00_102a, 0x2e3),     // MPI_COMPLEX16
    (0x4c00_102b, 0x2e2),     // MPI_REAL16
    (0x4c00_202c, 0x2eb),     // MPI_COMPLEX32
    (0x4c00_012d, 0x2c1),     // MPI_INTEGER1
    (0x4c00_042e, 0x2d3),     // MPI_COMPLEX4
    (0x4c00_022f, 0x2c9),     // MPI_INTEGER2
    (0x4c00_0430, 0x2d1),     // MPI_INTEGER4
    (0x4c00_0831, 0x2d9),     // MPI_INTEGER8
    (0x4c00_1032, 0x2e1),     // MPI_INTEGER16
    (0x4c00_0133, 0x239),     // MPI_CXX_BOOL
    (0x4c00_0834, 0x213),     // MPI_CXX_FLOAT_COMPLEX
    (0x4c00_1035, 0x217),     // MPI_CXX_DOUBLE_COMPLEX
    (0x4c00_2036, 0x225),     // MPI_CXX_LONG_DOUBLE_COMPLEX
    (0x4c00_0137, 0x240),     // MPI_INT8_T
    (0x4c00_0238, 0x248),     // MPI_INT16_T
    (0x4c00_0439, 0x250),     // MPI_INT32_T
    (0x4c00_083a, 0x258),     // MPI_INT64_T
    (0x4c00_013b, 0x241),     // MPI_UINT8_T
    (0x4c00_023c, 0x249),     // MPI_UINT16_T
    (0x4c00_043d, 0x251),     // MPI_UINT32_T
    (0x4c00_083e, 0x259),     // MPI_UINT64_T
    (0x4c00_013f, 0x238),     // MPI_C_BOOL
    (0x4c00_0840, 0x212),     // MPI_C_COMPLEX
    (0x4c00_1041, 0x216),     // MPI_C_DOUBLE_COMPLEX
    (0x4c00_2042, 0x224),     // MPI_C_LONG_DOUBLE_COMPLEX
    (0x4c00_0843, 0x201),     // MPI_AINT
    (0x4c00_0844, 0x203),     // MPI_OFFSET
    (0x4c00_0845, 0x202),     // MPI_COUNT
    (0x4c00_0246, C_FLOAT16), // MPIX_C_FLOAT16
    (0x4c00_0147, 0x2c0),     // MPI_LOGICAL1
    (0x4c00_0248, 0x2c8),     // MPI_LOGICAL2
    (0x4c00_0449, 0x2d0),     // MPI_LOGICAL4
    (0x4c00_084a, 0x2d8),     // MPI_LOGICAL8
    (0x4c00_104b, 0x2e0),     // MPI_LOGICAL16
    (0x4c00_024c, BFLOAT16),  // MPIX_BFLOAT16
];

/// NN to the handle that has it and its code.
static BY_NUMBER: [(u32, u16); 0x50] = by_number();

/// Code, less 0x200, to handle; 0 where there is none.
static BY_CODE: [u32; 0x110] = by_code();

const fn by_number() -> [(u32, u16); 0x50] {
    let mut table = [(0, 0); 0x50];
    let mut i = 0;
    while i < SIMPLE.len() {
        let (handle, code) = SIMPLE[i];
        table[(handle & 0xff) as usize] = (handle, code as u16);
        i += 1;
    }
    table
}

const fn by_code() -> [u32; 0x110] {
    let mut table = [0; 0x110];
    let mut i = 0;
    while i < SIMPLE.len() {
        table[(SIMPLE[i].1 - 0x200) as usize] = SIMPLE[i].0;
        i += 1;
    }
    let mut i = 0;
    while i < PAIRS.len() {
        table[(PAIRS[i].1 - 0x200) as usize] = PAIRS[i].0;
        i += 1;
    }
    table[0] = NULL.0;
    table
}

/// Code of a predefined datatype; 0 for what is none.
#[inline]
pub fn code(handle: u32) -> Code {
    match BY_NUMBER.get((handle & 0xff) as usize) {
        Some((known, code)) if *known == handle => Code::from(*code),
        _ => rare_code(handle),
    }
}

#[cold]
#[inline(never)]
fn rare_code(handle: u32) -> Code {
    if handle == NULL.0 {
        return NULL.1;
    }
    PAIRS.iter().find(|(known, _)| *known == handle).map_or(0, |(_, code)| *code)
}

/// Handle of a predefined datatype; MPI_DATATYPE_NULL for one that the MPICH ABI does not have.
#[inline]
pub fn handle(code: Code) -> u32 {
    match BY_CODE.get(code.wrapping_sub(0x200) as usize) {
        Some(handle) if *handle != 0 => *handle,
        _ => NULL.0,
    }
}

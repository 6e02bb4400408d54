// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The predefined datatypes: one row each.
//!
//! Codes are the standard ABI's; the few types that only the MPICH ABI knows have private ones from
//! 0x300 on (`crate::abi`). Types that this library does not have are rows of `ABSENT`: their
//! handles are valid constants, but every use is an error and their size is undefined.

use super::Type;
use crate::abi::{BFLOAT16, C_FLOAT16, Code, LB, UB};
use std::sync::{Arc, OnceLock};
use strait_collectives::reduce::{Basic, Element, Group};

/// How a part travels in the representation "external32".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum External {
    /// As it is, with the first byte first.
    Swap,
    /// A signed integer in this many bytes.
    Signed(usize),
    /// An unsigned integer in this many bytes.
    Unsigned(usize),
    /// A `long double` as IEEE quadruple precision.
    Quad,
}

/// A basic element of a predefined type: a pair has two, a complex number one of two units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Where it begins.
    pub offset: i64,
    /// Numbers in it: 2 if it is complex.
    pub units: usize,
    /// Bytes of one number.
    pub unit_bytes: usize,
    /// Its representation elsewhere.
    pub external: External,
}

impl Part {
    /// Its bytes in memory.
    pub fn bytes(&self) -> i64 {
        (self.units * self.unit_bytes) as i64
    }

    /// Its bytes in "external32".
    pub fn external_bytes(&self) -> i64 {
        let unit = match self.external {
            External::Swap => self.unit_bytes,
            External::Signed(bytes) | External::Unsigned(bytes) => bytes,
            External::Quad => 16,
        };
        (self.units * unit) as i64
    }
}

/// A predefined type.
#[derive(Debug)]
pub(super) struct Named {
    pub code: Code,
    pub name: &'static str,
    pub basic: Basic,
    pub external: External,
}

impl Named {
    /// Its basic elements.
    pub fn parts(&self) -> Vec<Part> {
        let part =
            |offset, units, unit_bytes, external| Part { offset, units, unit_bytes, external };
        let swap = External::Swap;
        match self.basic.element {
            Element::ComplexF32 => vec![part(0, 2, 4, swap)],
            Element::ComplexF64 => vec![part(0, 2, 8, swap)],
            Element::ComplexLong => vec![part(0, 2, 16, self.external)],
            Element::F32Int | Element::I32Int | Element::F32F32 => {
                vec![part(0, 1, 4, swap), part(4, 1, 4, swap)]
            }
            Element::F64F64 => vec![part(0, 1, 8, swap), part(8, 1, 8, swap)],
            Element::F64Int => vec![part(0, 1, 8, swap), part(8, 1, 4, swap)],
            Element::I64Int => vec![part(0, 1, 8, self.external), part(8, 1, 4, swap)],
            Element::I16Int => vec![part(0, 1, 2, swap), part(4, 1, 4, swap)],
            Element::LongInt => vec![part(0, 1, 16, self.external), part(16, 1, 4, swap)],
            single => vec![part(0, 1, single.bytes(), self.external)],
        }
    }

    /// What its address must be a multiple of in a C struct.
    pub fn alignment(&self) -> i64 {
        match self.basic.element {
            Element::ComplexF32 | Element::F32Int | Element::I32Int => 4,
            Element::F32F32 | Element::I16Int => 4,
            Element::ComplexF64 | Element::F64F64 | Element::F64Int | Element::I64Int => 8,
            Element::ComplexLong | Element::LongInt => 16,
            single => single.bytes() as i64,
        }
    }
}

const fn row(code: Code, name: &'static str, element: Element, group: Group) -> Named {
    Named { code, name, basic: Basic::new(element, group), external: External::Swap }
}

const fn with(external: External, row: Named) -> Named {
    Named { external, ..row }
}

/// Every predefined type that this library has, but for the two markers.
#[rustfmt::skip]
pub(super) static NAMED: [Named; 64] = {
    use Element::*;
    use External::*;
    use Group::*;
    [
    row(0x201, "MPI_AINT", I64, MultiLanguage),
    row(0x202, "MPI_COUNT", I64, MultiLanguage),
    row(0x203, "MPI_OFFSET", I64, MultiLanguage),
    row(0x207, "MPI_PACKED", U8, Opaque),
    row(0x208, "MPI_SHORT", I16, CInteger),
    row(0x209, "MPI_INT", I32, CInteger),
    with(Signed(4), row(0x20a, "MPI_LONG", I64, CInteger)),
    row(0x20b, "MPI_LONG_LONG_INT", I64, CInteger),
    row(0x20c, "MPI_UNSIGNED_SHORT", U16, CInteger),
    row(0x20d, "MPI_UNSIGNED", U32, CInteger),
    with(Unsigned(4), row(0x20e, "MPI_UNSIGNED_LONG", U64, CInteger)),
    row(0x20f, "MPI_UNSIGNED_LONG_LONG", U64, CInteger),
    row(0x210, "MPI_FLOAT", F32, Floating),
    row(0x212, "MPI_C_FLOAT_COMPLEX", ComplexF32, Complex),
    row(0x213, "MPI_CXX_FLOAT_COMPLEX", ComplexF32, Complex),
    row(0x214, "MPI_DOUBLE", F64, Floating),
    row(0x216, "MPI_C_DOUBLE_COMPLEX", ComplexF64, Complex),
    row(0x217, "MPI_CXX_DOUBLE_COMPLEX", ComplexF64, Complex),
    row(0x218, "MPI_LOGICAL", I32, Logical),
    row(0x219, "MPI_INTEGER", I32, FortranInteger),
    row(0x21a, "MPI_REAL", F32, Floating),
    row(0x21b, "MPI_COMPLEX", ComplexF32, Complex),
    row(0x21c, "MPI_DOUBLE_PRECISION", F64, Floating),
    row(0x21d, "MPI_DOUBLE_COMPLEX", ComplexF64, Complex),
    row(0x21e, "MPI_CHARACTER", U8, Opaque),
    with(Quad, row(0x220, "MPI_LONG_DOUBLE", Long, Floating)),
    with(Quad, row(0x224, "MPI_C_LONG_DOUBLE_COMPLEX", ComplexLong, Complex)),
    with(Quad, row(0x225, "MPI_CXX_LONG_DOUBLE_COMPLEX", ComplexLong, Complex)),
    row(0x228, "MPI_FLOAT_INT", F32Int, Pair),
    row(0x229, "MPI_DOUBLE_INT", F64Int, Pair),
    with(Signed(4), row(0x22a, "MPI_LONG_INT", I64Int, Pair)),
    row(0x22b, "MPI_2INT", I32Int, Pair),
    row(0x22c, "MPI_SHORT_INT", I16Int, Pair),
    with(Quad, row(0x22d, "MPI_LONG_DOUBLE_INT", LongInt, Pair)),
    row(0x230, "MPI_2REAL", F32F32, Pair),
    row(0x231, "MPI_2DOUBLE_PRECISION", F64F64, Pair),
    row(0x232, "MPI_2INTEGER", I32Int, Pair),
    row(0x238, "MPI_C_BOOL", U8, Logical),
    row(0x239, "MPI_CXX_BOOL", U8, Logical),
    with(Unsigned(2), row(0x23c, "MPI_WCHAR", U32, Opaque)),
    row(0x240, "MPI_INT8_T", I8, CInteger),
    row(0x241, "MPI_UINT8_T", U8, CInteger),
    row(0x243, "MPI_CHAR", U8, Opaque),
    row(0x244, "MPI_SIGNED_CHAR", I8, CInteger),
    row(0x245, "MPI_UNSIGNED_CHAR", U8, CInteger),
    row(0x247, "MPI_BYTE", U8, Byte),
    row(0x248, "MPI_INT16_T", I16, CInteger),
    row(0x249, "MPI_UINT16_T", U16, CInteger),
    row(0x250, "MPI_INT32_T", I32, CInteger),
    row(0x251, "MPI_UINT32_T", U32, CInteger),
    row(0x258, "MPI_INT64_T", I64, CInteger),
    row(0x259, "MPI_UINT64_T", U64, CInteger),
    row(0x2c0, "MPI_LOGICAL1", I8, Logical),
    row(0x2c1, "MPI_INTEGER1", I8, FortranInteger),
    row(0x2c8, "MPI_LOGICAL2", I16, Logical),
    row(0x2c9, "MPI_INTEGER2", I16, FortranInteger),
    row(0x2d0, "MPI_LOGICAL4", I32, Logical),
    row(0x2d1, "MPI_INTEGER4", I32, FortranInteger),
    row(0x2d2, "MPI_REAL4", F32, Floating),
    row(0x2d8, "MPI_LOGICAL8", I64, Logical),
    row(0x2d9, "MPI_INTEGER8", I64, FortranInteger),
    row(0x2da, "MPI_REAL8", F64, Floating),
    row(0x2db, "MPI_COMPLEX8", ComplexF32, Complex),
    row(0x2e3, "MPI_COMPLEX16", ComplexF64, Complex),
    ]
};

/// The sixteen-byte integers and logicals, which not every Fortran compiler has.
static WIDE: [Named; 2] = [
    row(0x2e0, "MPI_LOGICAL16", Element::I128, Group::Logical),
    row(0x2e1, "MPI_INTEGER16", Element::I128, Group::FortranInteger),
];

/// Types that have a handle but do not exist here.
const ABSENT: [(Code, &str); 6] = [
    (0x2ca, "MPI_REAL2"),
    (0x2d3, "MPI_COMPLEX4"),
    (0x2e2, "MPI_REAL16"),
    (0x2eb, "MPI_COMPLEX32"),
    (C_FLOAT16, "MPIX_C_FLOAT16"),
    (BFLOAT16, "MPIX_BFLOAT16"),
];

const FIRST: Code = 0x200;
const LAST: Code = 0x303;

/// The predefined type of a canonical code; nothing for the null handle, unknown codes and types
/// that do not exist here ([`is_absent`]).
pub fn predefined(code: Code) -> Option<&'static Arc<Type>> {
    static TABLE: OnceLock<Vec<Option<Arc<Type>>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table = vec![None; (LAST - FIRST + 1) as usize];
        for named in NAMED.iter().chain(&WIDE) {
            table[(named.code - FIRST) as usize] = Some(Arc::new(Type::named(named)));
        }
        table[(LB - FIRST) as usize] = Some(Arc::new(Type::marker(LB, "MPI_LB")));
        table[(UB - FIRST) as usize] = Some(Arc::new(Type::marker(UB, "MPI_UB")));
        table
    });
    table.get(code.checked_sub(FIRST)? as usize)?.as_ref()
}

/// For each predefined type whether any number of its elements is one run of bytes that begins at
/// the buffer, and the size of one: a table of numbers, since every short message asks.
pub struct ContiguousSizes([u16; (LAST - FIRST + 1) as usize]);

/// Not such a type.
const SCATTERED: u16 = u16::MAX;

impl ContiguousSizes {
    /// The table.
    pub fn new() -> ContiguousSizes {
        let mut sizes = [SCATTERED; (LAST - FIRST + 1) as usize];
        for code in codes() {
            let Some(ty) = predefined(code) else { continue };
            let size = ty.size();
            let is_run = ty.contiguous_bytes(2) == Some((0, 2 * size as usize));
            if size > 0 && is_run && size < i64::from(SCATTERED) {
                sizes[(code - FIRST) as usize] = size as u16;
            }
        }
        ContiguousSizes(sizes)
    }

    /// Bytes of an element.
    #[inline(always)]
    pub fn of(&self, code: Code) -> Option<u16> {
        let size = *self.0.get(code.wrapping_sub(FIRST) as usize)?;
        (size != SCATTERED).then_some(size)
    }
}

impl Default for ContiguousSizes {
    fn default() -> ContiguousSizes {
        ContiguousSizes::new()
    }
}

/// Every canonical code that [`predefined`] knows.
pub fn codes() -> impl Iterator<Item = Code> {
    (FIRST..=LAST).filter(|&code| predefined(code).is_some())
}

/// Whether the code names a type that has a handle but does not exist here.
pub fn is_absent(code: Code) -> bool {
    ABSENT.iter().any(|row| row.0 == code)
}

/// The name of a type that [`is_absent`].
pub fn absent_name(code: Code) -> Option<&'static str> {
    ABSENT.iter().find(|row| row.0 == code).map(|row| row.1)
}

/// A class of types with the same meaning in several sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    Logical,
    Integer,
    Real,
    Complex,
}

impl Class {
    /// The class of a canonical code (MPI_TYPECLASS_...).
    pub fn from_code(code: i32) -> Option<Class> {
        Some(match code {
            191 => Class::Logical,
            192 => Class::Integer,
            193 => Class::Real,
            194 => Class::Complex,
            _ => return None,
        })
    }
}

/// MPI_Type_match_size: the code of the type of this class and size, if it exists.
pub fn match_size(class: Class, bytes: i64) -> Option<Code> {
    let code = match (class, bytes) {
        (Class::Logical, 1) => 0x2c0,
        (Class::Logical, 2) => 0x2c8,
        (Class::Logical, 4) => 0x2d0,
        (Class::Logical, 8) => 0x2d8,
        (Class::Logical, 16) => 0x2e0,
        (Class::Integer, 1) => 0x2c1,
        (Class::Integer, 2) => 0x2c9,
        (Class::Integer, 4) => 0x2d1,
        (Class::Integer, 8) => 0x2d9,
        (Class::Integer, 16) => 0x2e1,
        (Class::Real, 4) => 0x2d2,
        (Class::Real, 8) => 0x2da,
        (Class::Complex, 8) => 0x2db,
        (Class::Complex, 16) => 0x2e3,
        _ => return None,
    };
    predefined(code).map(|_| code)
}

/// MPI_Type_get_value_index: the code of the named pair of these two types, if there is one.
pub fn value_index(value: Code, index: Code) -> Option<Code> {
    Some(match (value, index) {
        (0x210, 0x209) => 0x228,
        (0x214, 0x209) => 0x229,
        (0x20a, 0x209) => 0x22a,
        (0x209, 0x209) => 0x22b,
        (0x208, 0x209) => 0x22c,
        (0x220, 0x209) => 0x22d,
        (0x21a, 0x21a) => 0x230,
        (0x21c, 0x21c) => 0x231,
        (0x219, 0x219) => 0x232,
        _ => return None,
    })
}

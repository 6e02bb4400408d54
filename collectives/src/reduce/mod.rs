// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Predefined reduction operations over elements in memory.
//!
//! What an element is made of ([`Element`]) and what the standard counts it among ([`Group`]) are
//! two facts: a C `int` and a Fortran INTEGER have the same bytes, but only the first may be the
//! operand of a logical operation. Together they are a [`Basic`].
//!
//! Rules of all operations:
//! 1. The left operand is the one of the lower rank; the order is kept, `into` may be either.
//! 2. Integers wrap around. Nothing panics and nothing depends on the build profile.
//! 3. MAX and MIN of floating numbers propagate NaN: if one operand is NaN, so is the result. So
//!    the answer does not depend on the algorithm. Which sign a zero gets when both occur does.
//! 4. MAXLOC and MINLOC take the lower index among equal values; a NaN value wins over any other.
//! 5. Logical operations store 1 for true, whatever non-zero value true had before.
//!
//! Addresses need no alignment. Not here: operations of the user, and the layout of derived types.

mod complex;
pub mod exact;
mod extended;
mod kernel;
mod pair;
mod scalar;
#[cfg(test)]
mod tests;
mod wide;

/// What an element is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Element {
    /// Signed integers of 1, 2, 4, 8 and 16 bytes.
    I8,
    I16,
    I32,
    I64,
    I128,
    /// Unsigned integers of 1, 2, 4 and 8 bytes.
    U8,
    U16,
    U32,
    U64,
    /// IEEE single and double.
    F32,
    F64,
    /// C `long double`: ten bytes of x87 in sixteen on x86-64; moved but not computed elsewhere.
    Long,
    /// Complex numbers of two `F32`, `F64` or `Long`.
    ComplexF32,
    ComplexF64,
    ComplexLong,
    /// Value and index as a C struct: `{float, int}`, `{double, int}`, `{long, int}`,
    /// `{short, int}`, `{int, int}`, `{long double, int}`.
    F32Int,
    F64Int,
    I64Int,
    I16Int,
    I32Int,
    LongInt,
    /// Value and index of the same Fortran type (REAL, DOUBLE PRECISION).
    F32F32,
    F64F64,
}

impl Element {
    /// Every element.
    pub const ALL: [Element; 23] = [
        Element::I8,
        Element::I16,
        Element::I32,
        Element::I64,
        Element::I128,
        Element::U8,
        Element::U16,
        Element::U32,
        Element::U64,
        Element::F32,
        Element::F64,
        Element::Long,
        Element::ComplexF32,
        Element::ComplexF64,
        Element::ComplexLong,
        Element::F32Int,
        Element::F64Int,
        Element::I64Int,
        Element::I16Int,
        Element::I32Int,
        Element::LongInt,
        Element::F32F32,
        Element::F64F64,
    ];

    /// Bytes from one element to the next in an array.
    pub const fn bytes(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 1,
            Element::I16 | Element::U16 => 2,
            Element::I32 | Element::U32 | Element::F32 => 4,
            Element::I64 | Element::U64 | Element::F64 | Element::ComplexF32 => 8,
            Element::F32Int | Element::I16Int | Element::I32Int | Element::F32F32 => 8,
            Element::I128 | Element::Long | Element::ComplexF64 => 16,
            Element::F64Int | Element::I64Int | Element::F64F64 => 16,
            Element::ComplexLong | Element::LongInt => 32,
        }
    }

    /// Bytes that carry data: less than [`Element::bytes`] where a pair has padding.
    pub const fn packed_bytes(self) -> usize {
        match self {
            Element::I16Int => 6,
            Element::F64Int | Element::I64Int => 12,
            Element::LongInt => 20,
            other => other.bytes(),
        }
    }
}

/// What the standard counts an element among when it says which operations are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Group {
    /// C integer.
    CInteger,
    /// Fortran integer.
    FortranInteger,
    /// Floating point.
    Floating,
    /// Complex.
    Complex,
    /// Logical: Fortran LOGICAL, C and C++ bool.
    Logical,
    /// MPI_BYTE.
    Byte,
    /// Multi-language types: MPI_AINT, MPI_OFFSET, MPI_COUNT.
    MultiLanguage,
    /// Value and index.
    Pair,
    /// Characters and packed data: moved, never computed.
    Opaque,
}

impl Group {
    /// Every group.
    pub const ALL: [Group; 9] = [
        Group::CInteger,
        Group::FortranInteger,
        Group::Floating,
        Group::Complex,
        Group::Logical,
        Group::Byte,
        Group::MultiLanguage,
        Group::Pair,
        Group::Opaque,
    ];
}

/// A basic datatype as reductions see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Basic {
    /// Its bytes.
    pub element: Element,
    /// Its group.
    pub group: Group,
}

impl Basic {
    /// A C `int`.
    pub const INT: Basic = Basic::new(Element::I32, Group::CInteger);
    /// A C `double`.
    pub const DOUBLE: Basic = Basic::new(Element::F64, Group::Floating);
    /// MPI_BYTE.
    pub const BYTE: Basic = Basic::new(Element::U8, Group::Byte);

    /// An element of a group.
    pub const fn new(element: Element, group: Group) -> Basic {
        Basic { element, group }
    }

    /// Bytes from one element to the next in an array.
    pub const fn bytes(self) -> usize {
        self.element.bytes()
    }
}

/// A predefined operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Op {
    Max,
    Min,
    Sum,
    Prod,
    Land,
    Band,
    Lor,
    Bor,
    Lxor,
    Bxor,
    Minloc,
    Maxloc,
    /// The right operand; for accumulation only.
    Replace,
    /// The left operand; for accumulation only.
    NoOp,
}

impl Op {
    /// Every operation.
    pub const ALL: [Op; 14] = [
        Op::Max,
        Op::Min,
        Op::Sum,
        Op::Prod,
        Op::Land,
        Op::Band,
        Op::Lor,
        Op::Bor,
        Op::Lxor,
        Op::Bxor,
        Op::Minloc,
        Op::Maxloc,
        Op::Replace,
        Op::NoOp,
    ];

    /// The operation of a code of the standard ABI.
    pub const fn from_code(code: u32) -> Option<Op> {
        Some(match code {
            0x21 => Op::Sum,
            0x22 => Op::Min,
            0x23 => Op::Max,
            0x24 => Op::Prod,
            0x28 => Op::Band,
            0x29 => Op::Bor,
            0x2a => Op::Bxor,
            0x30 => Op::Land,
            0x31 => Op::Lor,
            0x32 => Op::Lxor,
            0x38 => Op::Minloc,
            0x39 => Op::Maxloc,
            0x3c => Op::Replace,
            0x3d => Op::NoOp,
            _ => return None,
        })
    }

    /// The code of the standard ABI.
    pub const fn code(self) -> u32 {
        match self {
            Op::Sum => 0x21,
            Op::Min => 0x22,
            Op::Max => 0x23,
            Op::Prod => 0x24,
            Op::Band => 0x28,
            Op::Bor => 0x29,
            Op::Bxor => 0x2a,
            Op::Land => 0x30,
            Op::Lor => 0x31,
            Op::Lxor => 0x32,
            Op::Minloc => 0x38,
            Op::Maxloc => 0x39,
            Op::Replace => 0x3c,
            Op::NoOp => 0x3d,
        }
    }

    /// Its name in C.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Max => "MPI_MAX",
            Op::Min => "MPI_MIN",
            Op::Sum => "MPI_SUM",
            Op::Prod => "MPI_PROD",
            Op::Land => "MPI_LAND",
            Op::Band => "MPI_BAND",
            Op::Lor => "MPI_LOR",
            Op::Bor => "MPI_BOR",
            Op::Lxor => "MPI_LXOR",
            Op::Bxor => "MPI_BXOR",
            Op::Minloc => "MPI_MINLOC",
            Op::Maxloc => "MPI_MAXLOC",
            Op::Replace => "MPI_REPLACE",
            Op::NoOp => "MPI_NO_OP",
        }
    }

    /// Whether operands may change places.
    pub const fn is_commutative(self) -> bool {
        !matches!(self, Op::Replace | Op::NoOp)
    }

    /// Whether only accumulation into a window may use it, no reduction.
    pub const fn is_accumulate_only(self) -> bool {
        matches!(self, Op::Replace | Op::NoOp)
    }
}

/// Whether the standard allows the operation on such elements, and this machine can compute it.
pub const fn supports(op: Op, basic: Basic) -> bool {
    let group = basic.group;
    let allowed = match op {
        Op::Max | Op::Min => matches!(
            group,
            Group::CInteger | Group::FortranInteger | Group::Floating | Group::MultiLanguage
        ),
        Op::Sum | Op::Prod => matches!(
            group,
            Group::CInteger
                | Group::FortranInteger
                | Group::Floating
                | Group::MultiLanguage
                | Group::Complex
        ),
        Op::Land | Op::Lor | Op::Lxor => matches!(group, Group::CInteger | Group::Logical),
        Op::Band | Op::Bor | Op::Bxor => matches!(
            group,
            Group::CInteger | Group::FortranInteger | Group::Byte | Group::MultiLanguage
        ),
        Op::Minloc | Op::Maxloc => matches!(group, Group::Pair),
        Op::Replace | Op::NoOp => return true,
    };
    let long = matches!(basic.element, Element::Long | Element::ComplexLong | Element::LongInt);
    allowed && (extended::AVAILABLE || !long)
}

/// `into[i] = left[i] op right[i]` for `count` elements.
///
/// # Panics
/// If [`supports`] says no.
///
/// # Safety
/// `left` and `right` are readable and `into` writable for `count` elements of
/// [`Basic::bytes`]; `into` equals `left` or `right` or overlaps neither.
pub unsafe fn reduce(
    op: Op,
    basic: Basic,
    left: *const u8,
    right: *const u8,
    into: *mut u8,
    count: usize,
) {
    if count == 0 {
        return;
    }
    assert!(supports(op, basic), "{op:?} is not defined for {basic:?}");
    let operands = kernel::Operands { left, right, into, count };
    // SAFETY: the caller's promise is the condition of both.
    unsafe {
        if count >= WIDE_MIN && wide::is_available() {
            wide::reduce(op, basic, &operands);
        } else {
            dispatch(op, basic, &operands);
        }
    }
}

/// From so many elements on the widest vectors of the machine pay.
const WIDE_MIN: usize = 32;

/// The loop for an operation on elements.
///
/// # Safety
/// The condition of [`reduce`].
#[inline(always)]
unsafe fn dispatch(op: Op, basic: Basic, operands: &kernel::Operands) {
    // SAFETY: the caller's promise is what `Operands` asks for in each of these.
    unsafe {
        match op {
            Op::Replace => operands.keep(operands.right, basic.bytes()),
            Op::NoOp => operands.keep(operands.left, basic.bytes()),
            Op::Minloc | Op::Maxloc => pair::reduce(op, basic.element, operands),
            _ if matches!(basic.group, Group::Complex) => {
                complex::reduce(op, basic.element, operands)
            }
            _ => scalar::reduce(op, basic.element, operands),
        }
    }
}

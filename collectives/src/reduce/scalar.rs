// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operations on integers, logicals and real numbers.

use super::extended::{self, Long};
use super::kernel::Operands;
use super::{Element, Op};

macro_rules! integer {
    ($op:expr, $operands:expr, $t:ty) => {
        match $op {
            Op::Max => $operands.apply(|a: $t, b: $t| if a > b { a } else { b }),
            Op::Min => $operands.apply(|a: $t, b: $t| if a < b { a } else { b }),
            Op::Sum => $operands.apply(|a: $t, b: $t| a.wrapping_add(b)),
            Op::Prod => $operands.apply(|a: $t, b: $t| a.wrapping_mul(b)),
            Op::Band => $operands.apply(|a: $t, b: $t| a & b),
            Op::Bor => $operands.apply(|a: $t, b: $t| a | b),
            Op::Bxor => $operands.apply(|a: $t, b: $t| a ^ b),
            Op::Land => $operands.apply(|a: $t, b: $t| <$t>::from((a != 0) & (b != 0))),
            Op::Lor => $operands.apply(|a: $t, b: $t| <$t>::from((a != 0) | (b != 0))),
            Op::Lxor => $operands.apply(|a: $t, b: $t| <$t>::from((a != 0) ^ (b != 0))),
            other => unreachable!("{other:?} of an integer: refused by `supports`"),
        }
    };
}

macro_rules! floating {
    ($op:expr, $operands:expr, $t:ty) => {
        match $op {
            Op::Max => {
                $operands.apply(|a: $t, b: $t| if (a > b) | a.is_nan() { a } else { b });
            }
            Op::Min => {
                $operands.apply(|a: $t, b: $t| if (a < b) | a.is_nan() { a } else { b });
            }
            Op::Sum => $operands.apply(|a: $t, b: $t| a + b),
            Op::Prod => $operands.apply(|a: $t, b: $t| a * b),
            other => unreachable!("{other:?} of a floating number: refused by `supports`"),
        }
    };
}

/// # Safety
/// The condition of [`super::reduce`]; `supports` holds.
#[inline(always)]
pub(super) unsafe fn reduce(op: Op, element: Element, operands: &Operands) {
    // SAFETY: the caller's promise; any bytes are a valid number of each of these types.
    unsafe {
        match element {
            Element::I8 => integer!(op, operands, i8),
            Element::I16 => integer!(op, operands, i16),
            Element::I32 => integer!(op, operands, i32),
            Element::I64 => integer!(op, operands, i64),
            Element::I128 => integer!(op, operands, i128),
            Element::U8 => integer!(op, operands, u8),
            Element::U16 => integer!(op, operands, u16),
            Element::U32 => integer!(op, operands, u32),
            Element::U64 => integer!(op, operands, u64),
            Element::F32 => floating!(op, operands, f32),
            Element::F64 => floating!(op, operands, f64),
            Element::Long => {
                match op {
                    Op::Max => operands
                        .apply(|a: Long, b: Long| if a.above(b) | a.is_nan() { a } else { b }),
                    Op::Min => operands
                        .apply(|a: Long, b: Long| if b.above(a) | a.is_nan() { a } else { b }),
                    Op::Sum => operands.apply(extended::add),
                    Op::Prod => operands.apply(extended::multiply),
                    other => unreachable!("{other:?} of a floating number: refused by `supports`"),
                }
            }
            other => unreachable!("{other:?} is no scalar"),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MAXLOC and MINLOC on pairs of a value and an index.
//!
//! Elements are read and written as C lays them out; what the padding holds afterwards is not said.

use super::extended::Long;
use super::kernel::Operands;
use super::{Element, Op};

#[derive(Clone, Copy)]
#[repr(C)]
struct Pair<V, I> {
    value: V,
    index: I,
}

/// A value that can be the larger of two.
trait Value: Copy {
    fn above(self, other: Self) -> bool;
    fn is_nan(self) -> bool;
}

macro_rules! value {
    ($($t:ty),* => $nan:expr) => {$(
        impl Value for $t {
            #[inline(always)]
            fn above(self, other: Self) -> bool {
                self > other
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                let nan: fn($t) -> bool = $nan;
                nan(self)
            }
        }
    )*};
}
value!(i16, i32, i64 => |_| false);
value!(f32 => f32::is_nan);
value!(f64 => f64::is_nan);

impl Value for Long {
    fn above(self, other: Self) -> bool {
        Long::above(self, other)
    }
    fn is_nan(self) -> bool {
        Long::is_nan(self)
    }
}

/// Whether the left pair is the result.
#[inline(always)]
fn takes_left<V: Value, I: PartialOrd + Copy>(max: bool, a: Pair<V, I>, b: Pair<V, I>) -> bool {
    if a.value.is_nan() != b.value.is_nan() {
        return a.value.is_nan();
    }
    let (better, worse) = if max { (a, b) } else { (b, a) };
    if better.value.above(worse.value) {
        true
    } else if worse.value.above(better.value) {
        false
    } else {
        a.index <= b.index
    }
}

/// # Safety
/// The condition of [`super::reduce`], for pairs of these types.
#[inline(always)]
unsafe fn choose<V: Value, I: PartialOrd + Copy>(op: Op, operands: &Operands) {
    let max = op == Op::Maxloc;
    // SAFETY: the caller's promise.
    unsafe {
        operands.apply(|a: Pair<V, I>, b: Pair<V, I>| if takes_left(max, a, b) { a } else { b });
    }
}

/// # Safety
/// The condition of [`super::reduce`]; `supports` holds.
#[inline(always)]
pub(super) unsafe fn reduce(op: Op, element: Element, operands: &Operands) {
    // SAFETY: the caller's promise; any bytes are a valid number of each of these types.
    unsafe {
        match element {
            Element::F32Int => choose::<f32, i32>(op, operands),
            Element::F64Int => choose::<f64, i32>(op, operands),
            Element::I64Int => choose::<i64, i32>(op, operands),
            Element::I16Int => choose::<i16, i32>(op, operands),
            Element::I32Int => choose::<i32, i32>(op, operands),
            Element::LongInt => choose::<Long, i32>(op, operands),
            Element::F32F32 => choose::<f32, f32>(op, operands),
            Element::F64F64 => choose::<f64, f64>(op, operands),
            other => unreachable!("{other:?} is no pair"),
        }
    }
}

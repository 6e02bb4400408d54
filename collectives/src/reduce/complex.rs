// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sums and products of complex numbers, by the plain formulas.

use super::extended::{Long, add, multiply};
use super::kernel::Operands;
use super::{Element, Op};

/// Real and imaginary part, as C and Fortran lay them out.
#[derive(Clone, Copy)]
#[repr(C)]
struct Complex<T> {
    re: T,
    im: T,
}

macro_rules! complex {
    ($op:expr, $operands:expr, $t:ty) => {
        match $op {
            Op::Sum => $operands.apply(|a: Complex<$t>, b: Complex<$t>| Complex {
                re: a.re + b.re,
                im: a.im + b.im,
            }),
            Op::Prod => $operands.apply(|a: Complex<$t>, b: Complex<$t>| Complex {
                re: a.re * b.re - a.im * b.im,
                im: a.re * b.im + a.im * b.re,
            }),
            other => unreachable!("{other:?} of a complex number: refused by `supports`"),
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
            Element::ComplexF32 => complex!(op, operands, f32),
            Element::ComplexF64 => complex!(op, operands, f64),
            Element::ComplexLong => match op {
                Op::Sum => operands.apply(|a: Complex<Long>, b: Complex<Long>| Complex {
                    re: add(a.re, b.re),
                    im: add(a.im, b.im),
                }),
                Op::Prod => operands.apply(|a: Complex<Long>, b: Complex<Long>| Complex {
                    re: add(multiply(a.re, b.re), multiply(a.im, b.im).negated()),
                    im: add(multiply(a.re, b.im), multiply(a.im, b.re)),
                }),
                other => unreachable!("{other:?} of a complex number: refused by `supports`"),
            },
            other => unreachable!("{other:?} is not complex"),
        }
    }
}

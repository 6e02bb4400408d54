// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sums and products on the x87 stack.

use super::Long;
use std::arch::asm;

/// Whether this machine computes with `long double`.
pub const AVAILABLE: bool = true;

macro_rules! binary {
    ($name:ident, $instruction:literal, $text:literal) => {
        #[doc = $text]
        pub fn $name(left: Long, right: Long) -> Long {
            let mut result = Long([0; 16]);
            // SAFETY: reads ten bytes of each operand and writes ten bytes of the result; the
            // x87 stack is empty at the entry (the ABI's rule) and empty again afterwards.
            unsafe {
                asm!(
                    "fld tbyte ptr [{left}]",
                    "fld tbyte ptr [{right}]",
                    $instruction,
                    "fstp tbyte ptr [{result}]",
                    left = in(reg) &left,
                    right = in(reg) &right,
                    result = in(reg) &mut result,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                    options(nostack),
                );
            }
            result
        }
    };
}
binary!(add, "faddp st(1), st", "The sum.");
binary!(multiply, "fmulp st(1), st", "The product.");

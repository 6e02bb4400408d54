// SPDX-License-Identifier: Apache-2.0 OR MIT
//! No wider vectors than the compiler uses anyway (on aarch64 it uses NEON).

use super::super::kernel::Operands;
use super::super::{Basic, Op, dispatch};

/// Whether there are any.
#[inline]
pub fn is_available() -> bool {
    false
}

/// # Safety
/// The condition of `reduce`.
pub unsafe fn reduce(op: Op, basic: Basic, operands: &Operands) {
    // SAFETY: the caller's promise.
    unsafe { dispatch(op, basic, operands) }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! AVX2: vectors of 32 bytes.

use super::super::kernel::Operands;
use super::super::{Basic, Op, dispatch};

/// Whether this machine has them.
#[inline]
pub fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

/// # Safety
/// The condition of `reduce`, and [`is_available`].
#[target_feature(enable = "avx2")]
pub unsafe fn reduce(op: Op, basic: Basic, operands: &Operands) {
    // SAFETY: the caller's promise.
    unsafe { dispatch(op, basic, operands) }
}

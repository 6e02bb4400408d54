// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one loop of all predefined operations.
//!
//! The compiler turns it into vector code only if it can prove that a store does not change a later
//! load. It can when source and destination are the same pointer, and checks at run time when they
//! are different ones; so the three cases of aliasing are three loops over one closure.

use std::ptr;

/// The operands of one call of `reduce`.
pub(super) struct Operands {
    pub left: *const u8,
    pub right: *const u8,
    pub into: *mut u8,
    pub count: usize,
}

impl Operands {
    /// Applies `f` to each pair of elements.
    ///
    /// # Safety
    /// The condition of `reduce`, for elements of type `T`; any bytes are a valid `T`.
    #[inline(always)]
    pub unsafe fn apply<T: Copy>(&self, f: impl Fn(T, T) -> T) {
        let (left, right) = (self.left.cast::<T>(), self.right.cast::<T>());
        let into = self.into.cast::<T>();
        if ptr::eq(left, into) {
            for i in 0..self.count {
                // SAFETY: `i` is below the count that the caller answers for.
                unsafe {
                    let value = f(into.add(i).read_unaligned(), right.add(i).read_unaligned());
                    into.add(i).write_unaligned(value);
                }
            }
        } else if ptr::eq(right, into) {
            for i in 0..self.count {
                // SAFETY: as above.
                unsafe {
                    let value = f(left.add(i).read_unaligned(), into.add(i).read_unaligned());
                    into.add(i).write_unaligned(value);
                }
            }
        } else {
            for i in 0..self.count {
                // SAFETY: as above.
                unsafe {
                    let value = f(left.add(i).read_unaligned(), right.add(i).read_unaligned());
                    into.add(i).write_unaligned(value);
                }
            }
        }
    }

    /// Copies one operand to the result.
    ///
    /// # Safety
    /// The condition of `reduce`, for elements of `bytes` bytes; `from` is one of the operands.
    pub unsafe fn keep(&self, from: *const u8, bytes: usize) {
        // SAFETY: both are valid for `count` elements; `copy` allows them to be the same.
        unsafe { ptr::copy(from, self.into, self.count * bytes) }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! C `long double` on x86-64: the x87 format, ten bytes in sixteen.
//!
//! Comparisons are made on the bits; sums and products by the machine (in a file per architecture).

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "absent.rs")]
mod machine;

pub(super) use machine::{AVAILABLE, add, multiply};

/// A `long double`: 64 bits of significand with an explicit first bit, 15 of exponent, a sign.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct Long([u8; 16]);

impl Long {
    fn significand(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn exponent(self) -> u16 {
        u16::from_le_bytes([self.0[8], self.0[9]]) & 0x7fff
    }

    /// Whether it is not a number.
    pub fn is_nan(self) -> bool {
        self.exponent() == 0x7fff && self.significand() << 1 != 0
    }

    /// Whether it is larger; false if either is not a number.
    pub fn above(self, other: Long) -> bool {
        !self.is_nan() && !other.is_nan() && self.ordered() > other.ordered()
    }

    /// With the other sign.
    pub fn negated(mut self) -> Long {
        self.0[9] ^= 0x80;
        self
    }

    /// An integer in the order of the numbers; both zeros are 0.
    fn ordered(self) -> i128 {
        let magnitude = i128::from(self.exponent()) << 64 | i128::from(self.significand());
        if self.0[9] & 0x80 == 0 { magnitude } else { -magnitude }
    }
}

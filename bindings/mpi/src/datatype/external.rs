// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The representation "external32": fixed sizes, first byte first.
//!
//! C `long` has four bytes there, `wchar_t` two, and `long double` is IEEE quadruple precision; all
//! else keeps its size. Values that do not fit lose their high bits. There are no gaps.

use super::named::{External, Part};
use super::{Body, Type};

impl Type {
    /// Bytes of one element in "external32".
    pub fn external_size(&self) -> i64 {
        self.bounds.external
    }

    /// Writes `count` elements at `base` to `into`, in "external32".
    ///
    /// # Panics
    /// If `into` has not `count` times [`Type::external_size`] bytes.
    ///
    /// # Safety
    /// `base` points to `count` readable elements.
    pub unsafe fn pack_external(&self, base: *const u8, count: i64, into: &mut [u8]) {
        assert_eq!(into.len() as i64, self.external_size() * count);
        let mut rest = into;
        for i in 0..count {
            self.each_part(i.wrapping_mul(self.extent()), &mut |offset, part| {
                let at = base.wrapping_offset(offset as isize);
                let (to, later) =
                    std::mem::take(&mut rest).split_at_mut(part.external_bytes() as usize);
                rest = later;
                // SAFETY: the part lies in the element, for which the caller answers.
                let value = unsafe { std::slice::from_raw_parts(at, part.bytes() as usize) };
                let units = value.chunks(part.unit_bytes);
                for (unit, to) in units.zip(to.chunks_mut(to_unit_bytes(part))) {
                    encode(part, unit, to);
                }
            });
        }
    }

    /// Reads `count` elements in "external32" from `from` to `base`; where `from` ends earlier,
    /// only the basic elements that are whole.
    ///
    /// # Panics
    /// If `from` has more than `count` times [`Type::external_size`] bytes.
    ///
    /// # Safety
    /// `base` points to `count` writable elements.
    pub unsafe fn unpack_external(&self, base: *mut u8, count: i64, from: &[u8]) {
        assert!(from.len() as i64 <= self.external_size() * count);
        let mut rest = from;
        for i in 0..count {
            if rest.is_empty() {
                return;
            }
            self.each_part(i.wrapping_mul(self.extent()), &mut |offset, part| {
                if rest.len() < part.external_bytes() as usize {
                    rest = &[];
                    return;
                }
                let at = base.wrapping_offset(offset as isize);
                let (value, later) = rest.split_at(part.external_bytes() as usize);
                rest = later;
                for (i, unit) in value.chunks(to_unit_bytes(part)).enumerate() {
                    let mut native = [0; 16];
                    decode(part, unit, &mut native[..part.unit_bytes]);
                    // SAFETY: the part lies in the element, for which the caller answers.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            native.as_ptr(),
                            at.wrapping_add(i * part.unit_bytes),
                            part.unit_bytes,
                        );
                    }
                }
            });
        }
    }

    /// Bytes in memory of the whole basic elements in so many bytes of "external32".
    pub fn bytes_of_external(&self, external: i64) -> i64 {
        if self.external_size() == 0 {
            return 0;
        }
        let mut rest = external % self.external_size();
        let mut bytes = external / self.external_size() * self.size();
        if rest > 0 {
            self.each_part(0, &mut |_, part| {
                rest -= part.external_bytes();
                if rest >= 0 {
                    bytes += part.bytes();
                }
            });
        }
        bytes
    }

    /// Calls `f` with the offset of each basic element, in the order of the type map.
    pub(super) fn each_part(&self, offset: i64, f: &mut dyn FnMut(i64, &Part)) {
        let mut block = |child: &Type, at: i64, length: i64| {
            for i in 0..length {
                child.each_part(at.wrapping_add(i.wrapping_mul(child.extent())), f);
            }
        };
        match &self.body {
            Body::Marker => {}
            Body::Named { parts } => {
                for part in parts {
                    f(offset.wrapping_add(part.offset), part);
                }
            }
            Body::Same { child } => block(child, offset, 1),
            Body::Strided { child, count, length, stride } => {
                for i in 0..*count {
                    block(child, offset.wrapping_add(i.wrapping_mul(*stride)), *length);
                }
            }
            Body::Blocks { child, blocks } => {
                for (at, length) in blocks {
                    block(child, offset.wrapping_add(*at), *length);
                }
            }
            Body::Struct { fields } => {
                for (at, length, child) in fields {
                    block(child, offset.wrapping_add(*at), *length);
                }
            }
        }
    }
}

fn to_unit_bytes(part: &Part) -> usize {
    part.external_bytes() as usize / part.units
}

/// One number to its representation, big-endian.
fn encode(part: &Part, native: &[u8], into: &mut [u8]) {
    match part.external {
        External::Quad if cfg!(target_arch = "x86_64") => {
            into.copy_from_slice(&quad_from_x87(native).to_be_bytes());
        }
        _ => {
            // A little-endian number's low bytes come first: a shorter one is its beginning.
            let low = if cfg!(target_endian = "little") {
                &native[..into.len()]
            } else {
                &native[native.len() - into.len()..]
            };
            into.copy_from_slice(low);
            if cfg!(target_endian = "little") {
                into.reverse();
            }
        }
    }
}

/// One number back.
fn decode(part: &Part, external: &[u8], native: &mut [u8]) {
    let fill = match part.external {
        External::Quad if cfg!(target_arch = "x86_64") => {
            let bytes = <[u8; 16]>::try_from(external).expect("a quad has sixteen bytes");
            native.copy_from_slice(&x87_from_quad(u128::from_be_bytes(bytes)));
            return;
        }
        External::Signed(_) if external[0] & 0x80 != 0 => 0xff,
        _ => 0,
    };
    let extra = native.len() - external.len();
    native[..extra].fill(fill);
    native[extra..].copy_from_slice(external);
    if cfg!(target_endian = "little") {
        native.reverse();
    }
}

/// Quadruple precision of an x87 number: the same exponent, and a fraction without its first bit.
fn quad_from_x87(native: &[u8]) -> u128 {
    let low = |from: usize| u64::from_le_bytes(native[from..from + 8].try_into().expect("8 bytes"));
    let significand = low(0);
    let top = u16::from_le_bytes([native[8], native[9]]);
    let (sign, exponent) = (u128::from(top >> 15), top & 0x7fff);
    // A denormal has exponent 0 and no first bit in both formats, and the same scale.
    let fraction = u128::from(significand << 1) << 48;
    sign << 127 | u128::from(exponent) << 112 | fraction
}

/// The x87 number nearest to a quadruple one (ties to even).
fn x87_from_quad(quad: u128) -> [u8; 16] {
    let sign = (quad >> 127) as u16;
    let mut exponent = (quad >> 112) as u16 & 0x7fff;
    let fraction = quad & ((1 << 112) - 1);
    let mut significand = (fraction >> 49) as u64;
    if exponent != 0 {
        significand |= 1 << 63;
    }
    let rest = fraction & ((1 << 49) - 1);
    let half = 1 << 48;
    let up = rest > half || rest == half && significand & 1 == 1;
    if exponent == 0x7fff {
        // Infinity stays; a NaN must not become one by losing its low bits.
        if fraction != 0 && significand << 1 == 0 {
            significand |= 1 << 62;
        }
    } else if up {
        let (sum, carried) = significand.overflowing_add(1);
        significand = sum;
        if carried {
            significand = 1 << 63;
            exponent += 1;
        } else if exponent == 0 && significand >> 63 == 1 {
            exponent = 1;
        }
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&significand.to_le_bytes());
    bytes[8..10].copy_from_slice(&(sign << 15 | exponent).to_le_bytes());
    bytes
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exact sums of floating-point numbers: each number becomes a fixed-point one that is as wide as
//! all numbers of its format together (Kulisch's long accumulator: U. Kulisch, W. L. Miranker, "The
//! arithmetic of the digital computer", SIAM Review 28, 1986). These add without any rounding, so
//! their sum does not depend on order or grouping; it is rounded once, to nearest, ties to even.
//!
//! ```text
//! accumulator   words of 64 bits, the lowest first, in two's complement; bit 0 is worth the
//!               smallest subnormal number. Then a word of marks.
//! ```
//!
//! Invariants:
//! 1. There is room for 2^63 of the largest numbers.
//! 2. Infinities and NaN are marks: infinities of both signs, or a NaN, make NaN. A sum of nothing
//!    but negative zeros is a negative zero, any other sum of zero a positive one, as IEEE 754 has
//!    it for two operands (section 6.3).
//!
//! Not here: who asks for it (strait-mpi, collective/reproducible.rs).

use super::Element;

/// A binary format of IEEE 754, and the words that its sums take.
#[derive(Clone, Copy)]
struct Format {
    /// Bits of the fraction.
    fraction: u32,
    /// All ones of the exponent's field.
    special: u64,
    /// Words of an accumulator.
    words: usize,
}

/// 23 + 254 bits and 64 of room; six words have 384.
const SINGLE: Format = Format { fraction: 23, special: 0xff, words: 6 };
/// 52 + 2046 bits and 64 of room; 34 words have 2176.
const DOUBLE: Format = Format { fraction: 52, special: 0x7ff, words: 34 };
/// Words of the widest accumulator.
const WORDS_MAX: usize = DOUBLE.words;

/// Marks.
const NAN: u64 = 1;
const PLUS_INFINITY: u64 = 2;
const MINUS_INFINITY: u64 = 4;
/// Something that is no negative zero was added.
const OTHER: u64 = 8;

fn format(element: Element) -> Option<(Format, usize)> {
    match element {
        Element::F32 => Some((SINGLE, 1)),
        Element::F64 => Some((DOUBLE, 1)),
        Element::ComplexF32 => Some((SINGLE, 2)),
        Element::ComplexF64 => Some((DOUBLE, 2)),
        _ => None,
    }
}

/// Bytes of the accumulator of one element; `None` where exact sums are not built (everything but
/// float, double and complex numbers of these).
pub fn bytes(element: Element) -> Option<usize> {
    let (format, numbers) = format(element)?;
    Some((format.words + 1) * numbers * 8)
}

/// An accumulator outside memory.
struct Sum {
    words: [u64; WORDS_MAX],
    marks: u64,
}

impl Sum {
    /// Reads one.
    ///
    /// # Safety
    /// `from` is readable for the format's words and the marks.
    unsafe fn read(format: Format, from: *const u64) -> Sum {
        let mut sum = Sum { words: [0; WORDS_MAX], marks: 0 };
        for (index, word) in sum.words[..format.words].iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *word = unsafe { from.add(index).read_unaligned() };
        }
        // SAFETY: as above.
        sum.marks = unsafe { from.add(format.words).read_unaligned() };
        sum
    }

    /// Writes it.
    ///
    /// # Safety
    /// `into` is writable for the format's words and the marks.
    unsafe fn write(&self, format: Format, into: *mut u64) {
        for (index, word) in self.words[..format.words].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { into.add(index).write_unaligned(*word) };
        }
        // SAFETY: as above.
        unsafe { into.add(format.words).write_unaligned(self.marks) };
    }

    /// One number, by its bits.
    fn of(format: Format, bits: u64) -> Sum {
        let mut sum = Sum { words: [0; WORDS_MAX], marks: OTHER };
        let fraction = bits & ((1 << format.fraction) - 1);
        let exponent = bits >> format.fraction & format.special;
        let is_negative = bits >> format.fraction > format.special;
        if exponent == format.special {
            sum.marks |= match (fraction != 0, is_negative) {
                (true, _) => NAN,
                (false, true) => MINUS_INFINITY,
                (false, false) => PLUS_INFINITY,
            };
            return sum;
        }
        let hidden = u64::from(exponent != 0) << format.fraction;
        let significand = fraction | hidden;
        if significand == 0 && is_negative {
            sum.marks = 0;
        }
        let shift = exponent.max(1) - 1;
        let (word, bit) = ((shift / 64) as usize, shift % 64);
        sum.words[word] = significand << bit;
        if bit != 0 {
            sum.words[word + 1] = significand >> (64 - bit);
        }
        if is_negative {
            sum.negate(format);
        }
        sum
    }

    fn negate(&mut self, format: Format) {
        let mut carry = true;
        for word in &mut self.words[..format.words] {
            (*word, carry) = (!*word).overflowing_add(u64::from(carry));
        }
    }

    fn add(&mut self, format: Format, other: &Sum) {
        let mut carry = false;
        for (mine, theirs) in self.words.iter_mut().zip(&other.words).take(format.words) {
            let (sum, first) = mine.overflowing_add(*theirs);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*mine, carry) = (sum, first | second);
        }
        self.marks |= other.marks;
    }

    /// The bits of the nearest number of the format.
    fn rounded(mut self, format: Format) -> u64 {
        let infinity = format.special << format.fraction;
        let minus = (format.special + 1) << format.fraction;
        let infinities = self.marks & (PLUS_INFINITY | MINUS_INFINITY);
        if self.marks & NAN != 0 || infinities == PLUS_INFINITY | MINUS_INFINITY {
            return infinity | 1 << (format.fraction - 1);
        }
        if infinities != 0 {
            return if infinities == MINUS_INFINITY { minus | infinity } else { infinity };
        }
        let is_negative = self.words[format.words - 1] >> 63 != 0;
        if is_negative {
            self.negate(format);
        }
        let sign = if is_negative { minus } else { 0 };
        let Some(top) = self.words[..format.words].iter().rposition(|word| *word != 0) else {
            return if self.marks & OTHER == 0 { minus } else { 0 };
        };
        let highest = top as u32 * 64 + self.words[top].ilog2();
        if highest <= format.fraction {
            // A subnormal number, or one of the smallest binade: its bits are the number's.
            return sign | self.words[0];
        }
        let shift = highest - format.fraction;
        let significand = self.bits(shift) & ((2 << format.fraction) - 1);
        let half = self.bits(shift - 1) & 1;
        let rises = half != 0 && (significand & 1 != 0 || self.any_below(shift - 1));
        let exponent = u64::from(shift) << format.fraction;
        // The hidden bit adds one to the exponent, and a carry out of the fraction another one.
        let magnitude = exponent + significand + u64::from(rises);
        sign | magnitude.min(infinity)
    }

    /// 64 bits from this one on.
    fn bits(&self, from: u32) -> u64 {
        let (word, bit) = ((from / 64) as usize, from % 64);
        let low = self.words[word] >> bit;
        match self.words.get(word + 1) {
            Some(next) if bit != 0 => low | next << (64 - bit),
            _ => low,
        }
    }

    fn any_below(&self, end: u32) -> bool {
        let (word, bit) = ((end / 64) as usize, end % 64);
        self.words[..word].iter().any(|word| *word != 0) || self.words[word] & ((1 << bit) - 1) != 0
    }
}

/// The accumulators of `count` elements.
///
/// # Safety
/// `from` is readable for so many elements, `into` writable for so many times [`bytes`].
///
/// # Panics
/// Where [`bytes`] is `None`.
pub unsafe fn load(element: Element, from: *const u8, into: *mut u8, count: usize) {
    let (format, numbers) = format(element).expect("sums of this element are exact");
    for index in 0..count * numbers {
        // SAFETY: the caller's promise.
        let bits = unsafe {
            match format.fraction {
                23 => u64::from(from.cast::<u32>().add(index).read_unaligned()),
                _ => from.cast::<u64>().add(index).read_unaligned(),
            }
        };
        // SAFETY: the caller's promise.
        unsafe { Sum::of(format, bits).write(format, place(format, into, index)) };
    }
}

/// `into = left + right`, of the accumulators of `count` elements; `into` may be either.
///
/// # Safety
/// All are valid for so many times [`bytes`].
///
/// # Panics
/// As [`load`].
pub unsafe fn add(
    element: Element,
    left: *const u8,
    right: *const u8,
    into: *mut u8,
    count: usize,
) {
    let (format, numbers) = format(element).expect("sums of this element are exact");
    for index in 0..count * numbers {
        // SAFETY: the caller's promise; both are read before `into` is written.
        unsafe {
            let mut sum = Sum::read(format, place(format, left.cast_mut(), index));
            sum.add(format, &Sum::read(format, place(format, right.cast_mut(), index)));
            sum.write(format, place(format, into, index));
        }
    }
}

/// The elements that are nearest to `count` accumulators.
///
/// # Safety
/// `from` is readable for so many times [`bytes`], `into` writable for so many elements.
///
/// # Panics
/// As [`load`].
pub unsafe fn store(element: Element, from: *const u8, into: *mut u8, count: usize) {
    let (format, numbers) = format(element).expect("sums of this element are exact");
    for index in 0..count * numbers {
        // SAFETY: the caller's promise.
        unsafe {
            let sum = Sum::read(format, place(format, from.cast_mut(), index));
            let bits = sum.rounded(format);
            match format.fraction {
                23 => into.cast::<u32>().add(index).write_unaligned(bits as u32),
                _ => into.cast::<u64>().add(index).write_unaligned(bits),
            }
        }
    }
}

/// Where an accumulator begins; only an address.
fn place(format: Format, base: *mut u8, index: usize) -> *mut u64 {
    base.wrapping_add(index * (format.words + 1) * 8).cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exact sum, of one format.
    fn sum<T: Copy>(element: Element, numbers: &[T]) -> T {
        let size = bytes(element).unwrap();
        let (mut all, mut one) = (vec![0u8; size], vec![0u8; size]);
        for (index, number) in numbers.iter().enumerate() {
            let into = if index == 0 { &mut all } else { &mut one };
            // SAFETY: the vectors have the bytes of an accumulator.
            unsafe { load(element, (&raw const *number).cast(), into.as_mut_ptr(), 1) };
            if index > 0 {
                // SAFETY: as above.
                unsafe { add(element, one.as_ptr(), all.as_ptr(), all.as_mut_ptr(), 1) };
            }
        }
        let mut result = numbers[0];
        // SAFETY: as above; a result of the element's type.
        unsafe { store(element, all.as_ptr(), (&raw mut result).cast(), 1) };
        result
    }

    fn single(numbers: &[f32]) -> f32 {
        sum(Element::F32, numbers)
    }

    fn double(numbers: &[f64]) -> f64 {
        sum(Element::F64, numbers)
    }

    /// Numbers of every kind, by a small generator.
    fn bits(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    #[test]
    fn one_number_comes_back() {
        let mut state = 1;
        for _ in 0..20_000 {
            let number = f64::from_bits(bits(&mut state));
            assert!(number.is_nan() || double(&[number]).to_bits() == number.to_bits());
            let number = f32::from_bits(bits(&mut state) as u32);
            assert!(number.is_nan() || single(&[number]).to_bits() == number.to_bits());
        }
        for edge in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::from_bits(1), -0.0, 0.0] {
            assert_eq!(double(&[edge]).to_bits(), edge.to_bits());
        }
    }

    /// IEEE's sum of two is the exact one, rounded once.
    #[test]
    fn two_numbers_are_as_the_processor_adds_them() {
        let mut state = 2;
        for turn in 0..40_000_u64 {
            // Near exponents, so that bits cancel, round and carry.
            let near = |bits: u64| match turn % 3 {
                0 => bits,
                1 => bits & 0x800f_ffff_ffff_ffff | (1000 + bits % 60) << 52,
                _ => bits & 0x800f_ffff_ffff_ffff | (bits % 3) << 52,
            };
            let pair = [bits(&mut state), bits(&mut state)].map(|b| f64::from_bits(near(b)));
            let wanted = pair[0] + pair[1];
            let got = double(&pair);
            assert!(
                got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan()),
                "{pair:?}: {got:e}, not {wanted:e}"
            );
            let pair = [bits(&mut state), bits(&mut state)].map(|b| f32::from_bits(b as u32));
            let (got, wanted) = (single(&pair), pair[0] + pair[1]);
            assert!(got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan()));
        }
    }

    #[test]
    fn order_and_grouping_do_not_matter() {
        let mut state = 3;
        for _ in 0..200 {
            let mut numbers: Vec<f64> = (0..30)
                .map(|_| f64::from_bits(bits(&mut state)))
                .filter(|number| number.is_finite())
                .collect();
            let first = double(&numbers).to_bits();
            for _ in 0..5 {
                for at in (1..numbers.len()).rev() {
                    numbers.swap(at, (bits(&mut state) % (at as u64 + 1)) as usize);
                }
                assert_eq!(double(&numbers).to_bits(), first);
            }
            // What cancels leaves the rest alone.
            let mut more = numbers.clone();
            more.extend(numbers.iter().map(|number| -number));
            more.push(1.5);
            assert_eq!(double(&more), 1.5);
        }
    }

    #[test]
    fn sums_beyond_the_range_in_between_come_back() {
        assert_eq!(double(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
        assert_eq!(double(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(double(&[-f64::MAX, -f64::MAX]), f64::NEG_INFINITY);
        assert_eq!(double(&[1e300, 1.0, -1e300]), 1.0);
        assert_eq!(single(&[1e30, 1.0, -1e30]), 1.0);
        // A tie is broken by the smallest number there is.
        let tie = [1.0, f64::EPSILON / 2.0];
        assert_eq!(double(&tie), 1.0);
        assert_eq!(double(&[tie[0], tie[1], f64::from_bits(1)]), 1.0 + f64::EPSILON);
        assert_eq!(double(&[tie[0], tie[1], -f64::from_bits(1)]), 1.0);
    }

    #[test]
    fn infinities_nan_and_zeros() {
        let (infinity, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(double(&[infinity, 1.0, -1e308]), infinity);
        assert_eq!(double(&[-infinity, 1.0]), -infinity);
        assert!(double(&[infinity, 2.0, -infinity]).is_nan());
        assert!(double(&[1.0, nan, 1.0]).is_nan());
        assert!(single(&[f32::NAN]).is_nan());
        assert!(double(&[-0.0, -0.0]).is_sign_negative());
        assert!(double(&[-0.0, 0.0]).is_sign_positive());
        assert!(double(&[1.0, -1.0]).is_sign_positive());
    }

    #[test]
    fn complex_numbers_are_two() {
        let sum = sum(Element::ComplexF64, &[[1e300, 1.0], [1.0, 2.0], [-1e300, 4.0]]);
        assert_eq!(sum, [1.0, 7.0]);
        assert_eq!(bytes(Element::ComplexF32), Some(112));
        assert_eq!(bytes(Element::Long), None);
        assert_eq!(bytes(Element::I32), None);
    }
}

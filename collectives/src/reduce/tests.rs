// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every operation against a definition that looks at one element at a time.

use super::{Basic, Element, Group, Op, reduce, supports};
use proptest::prelude::*;

const GROUPS: [Group; 9] = [
    Group::CInteger,
    Group::FortranInteger,
    Group::Floating,
    Group::Complex,
    Group::Logical,
    Group::Byte,
    Group::MultiLanguage,
    Group::Pair,
    Group::Opaque,
];

/// Runs `reduce` at odd addresses, in the three cases of aliasing, which must agree.
fn run(op: Op, basic: Basic, left: &[u8], right: &[u8]) -> Vec<u8> {
    let bytes = basic.bytes();
    let count = left.len() / bytes;
    assert!(left.len() == right.len() && left.len().is_multiple_of(bytes));
    let shifted = |from: &[u8]| [&[0u8][..], from, &[0xa5]].concat();
    let (mut a, mut b) = (shifted(left), shifted(right));
    let mut into = shifted(&vec![0; left.len()]);
    // SAFETY: each vector holds `count` elements from its second byte on.
    unsafe {
        reduce(op, basic, a[1..].as_ptr(), b[1..].as_ptr(), into[1..].as_mut_ptr(), count);
        let at = a[1..].as_mut_ptr();
        reduce(op, basic, at, b[1..].as_ptr(), at, count);
        let at = b[1..].as_mut_ptr();
        reduce(op, basic, shifted(left)[1..].as_ptr(), at, at, count);
    }
    assert_eq!((a[0], a[a.len() - 1]), (0, 0xa5));
    let same = |x: &[u8]| meaningful(basic.element, &x[1..x.len() - 1]);
    assert_eq!(same(&a), same(&into));
    assert_eq!(same(&b), same(&into));
    into[1..=left.len()].to_vec()
}

/// The bytes without padding, for comparisons.
fn meaningful(element: Element, bytes: &[u8]) -> Vec<u8> {
    let keep = |chunk: &[u8]| match element {
        Element::Long => chunk[..10].to_vec(),
        Element::ComplexLong => [&chunk[..10], &chunk[16..26]].concat(),
        Element::I16Int => [&chunk[..2], &chunk[4..8]].concat(),
        Element::F64Int | Element::I64Int => chunk[..12].to_vec(),
        Element::LongInt => [&chunk[..10], &chunk[16..20]].concat(),
        _ => chunk.to_vec(),
    };
    bytes.chunks(element.bytes()).flat_map(keep).collect()
}

macro_rules! integers {
    ($name:ident, $t:ty, $element:ident) => {
        proptest! {
            #[test]
            fn $name(values in proptest::collection::vec((any::<$t>(), any::<$t>()), 0..40)) {
                let bytes = |v: Vec<$t>| -> Vec<u8> {
                    v.iter().flat_map(|x| x.to_ne_bytes()).collect()
                };
                let values: Vec<($t, $t)> =
                    values.into_iter().chain([(0, 1), (1, 0), (0, 0), (<$t>::MAX, 1)]).collect();
                let (left, right): (Vec<$t>, Vec<$t>) = values.iter().copied().unzip();
                let (left, right) = (bytes(left), bytes(right));
                let basic = Basic::new(Element::$element, Group::CInteger);
                for op in Op::ALL {
                    if !supports(op, basic) {
                        continue;
                    }
                    let expected = values.iter().map(|&(a, b)| match op {
                        Op::Max => a.max(b),
                        Op::Min => a.min(b),
                        Op::Sum => a.wrapping_add(b),
                        Op::Prod => a.wrapping_mul(b),
                        Op::Land => (a != 0 && b != 0) as $t,
                        Op::Lor => (a != 0 || b != 0) as $t,
                        Op::Lxor => ((a != 0) != (b != 0)) as $t,
                        Op::Band => a & b,
                        Op::Bor => a | b,
                        Op::Bxor => a ^ b,
                        Op::Replace => b,
                        Op::NoOp => a,
                        _ => unreachable!(),
                    });
                    prop_assert_eq!(run(op, basic, &left, &right), bytes(expected.collect()));
                }
            }
        }
    };
}
integers!(i8, i8, I8);
integers!(i16, i16, I16);
integers!(i32, i32, I32);
integers!(i64, i64, I64);
integers!(i128, i128, I128);
integers!(u8, u8, U8);
integers!(u16, u16, U16);
integers!(u32, u32, U32);
integers!(u64, u64, U64);

proptest! {
    #[test]
    fn doubles(values in proptest::collection::vec((any::<f64>(), any::<f64>()), 0..40)) {
        let basic = Basic::DOUBLE;
        let bytes = |v: &[f64]| -> Vec<u8> { v.iter().flat_map(|x| x.to_ne_bytes()).collect() };
        let (left, right): (Vec<f64>, Vec<f64>) = values.iter().copied().unzip();
        for op in [Op::Max, Op::Min, Op::Sum, Op::Prod] {
            let result = run(op, basic, &bytes(&left), &bytes(&right));
            for (chunk, (a, b)) in result.chunks(8).zip(&values) {
                let got = f64::from_ne_bytes(chunk.try_into().unwrap());
                let expected = match op {
                    Op::Sum => a + b,
                    Op::Prod => a * b,
                    _ if a.is_nan() || b.is_nan() => f64::NAN,
                    Op::Max => a.max(*b),
                    _ => a.min(*b),
                };
                prop_assert!(got == expected || got.is_nan() && expected.is_nan());
            }
        }
    }
}

#[test]
fn a_nan_wins_on_either_side() {
    for (a, b) in [(f32::NAN, 1.0f32), (1.0, f32::NAN)] {
        for op in [Op::Max, Op::Min] {
            let basic = Basic::new(Element::F32, Group::Floating);
            let result = run(op, basic, &a.to_ne_bytes(), &b.to_ne_bytes());
            assert!(f32::from_ne_bytes(result.try_into().unwrap()).is_nan());
        }
    }
}

#[test]
fn complex_products() {
    let bytes = |z: [f32; 2]| z.map(f32::to_ne_bytes).concat();
    let basic = Basic::new(Element::ComplexF32, Group::Complex);
    let product = run(Op::Prod, basic, &bytes([1.0, 2.0]), &bytes([3.0, 4.0]));
    assert_eq!(product, bytes([-5.0, 10.0]));
    let sum = run(Op::Sum, basic, &bytes([1.0, 2.0]), &bytes([3.0, 4.0]));
    assert_eq!(sum, bytes([4.0, 6.0]));
}

#[test]
fn the_lower_index_wins_a_tie() {
    let pair = |value: i16, index: i32| {
        let mut bytes = [0u8; 8];
        bytes[..2].copy_from_slice(&value.to_ne_bytes());
        bytes[4..].copy_from_slice(&index.to_ne_bytes());
        bytes.to_vec()
    };
    let basic = Basic::new(Element::I16Int, Group::Pair);
    let is = |op, a: (i16, i32), b: (i16, i32), expected: (i16, i32)| {
        let got = run(op, basic, &pair(a.0, a.1), &pair(b.0, b.1));
        assert_eq!(got, pair(expected.0, expected.1));
    };
    is(Op::Maxloc, (3, 9), (3, 2), (3, 2));
    is(Op::Minloc, (3, 2), (3, 9), (3, 2));
    is(Op::Maxloc, (3, 9), (-3, 2), (3, 9));
    is(Op::Minloc, (3, 9), (-3, 2), (-3, 2));
    is(Op::Maxloc, (-3, 1), (3, 2), (3, 2));
    is(Op::Minloc, (-3, 1), (3, 2), (-3, 1));
}

#[test]
fn pairs_of_all_layouts() {
    let layouts: [(Element, usize, usize); 8] = [
        (Element::F32Int, 4, 4),
        (Element::F64Int, 8, 8),
        (Element::I64Int, 8, 8),
        (Element::I16Int, 2, 4),
        (Element::I32Int, 4, 4),
        (Element::LongInt, 16, 16),
        (Element::F32F32, 4, 4),
        (Element::F64F64, 8, 8),
    ];
    for (element, value_bytes, index_at) in layouts {
        // The value's bytes for 1 and 2, in its own format.
        let value = |two: bool| -> Vec<u8> {
            match element {
                Element::F32Int | Element::F32F32 => {
                    (1.0f32 + f32::from(two)).to_ne_bytes().to_vec()
                }
                Element::F64Int | Element::F64F64 => {
                    (1.0f64 + f64::from(two)).to_ne_bytes().to_vec()
                }
                Element::LongInt => long(1.0 + f64::from(two)).to_vec(),
                _ => (1i64 + i64::from(two)).to_le_bytes()[..value_bytes].to_vec(),
            }
        };
        let pair = |two: bool, index: u8| {
            let mut bytes = vec![0; element.bytes()];
            bytes[..value_bytes].copy_from_slice(&value(two));
            match element {
                Element::F32F32 => {
                    bytes[4..].copy_from_slice(&f32::from(index).to_ne_bytes());
                }
                Element::F64F64 => {
                    bytes[8..].copy_from_slice(&f64::from(index).to_ne_bytes());
                }
                _ => bytes[index_at] = index,
            }
            bytes
        };
        if !supports(Op::Maxloc, Basic::new(element, Group::Pair)) {
            continue;
        }
        let basic = Basic::new(element, Group::Pair);
        let (low, high) = (pair(false, 3), pair(true, 7));
        assert_eq!(run(Op::Maxloc, basic, &low, &high), high, "{element:?}");
        assert_eq!(run(Op::Minloc, basic, &low, &high), low, "{element:?}");
        assert_eq!(run(Op::Minloc, basic, &pair(true, 9), &high), high, "{element:?}");
    }
}

/// The x87 form of a number, by hand.
fn long(value: f64) -> [u8; 16] {
    let bits = value.to_bits();
    let mut bytes = [0; 16];
    if value != 0.0 {
        let exponent = (bits >> 52 & 0x7ff) as u16 + 16383 - 1023;
        bytes[..8].copy_from_slice(&(1 << 63 | bits << 11).to_le_bytes());
        bytes[8..10].copy_from_slice(&exponent.to_le_bytes());
    }
    bytes[9] |= u8::from(value < 0.0) << 7;
    bytes
}

#[test]
fn long_doubles() {
    let basic = Basic::new(Element::Long, Group::Floating);
    if !supports(Op::Sum, basic) {
        return;
    }
    let numbers = [0.0, 1.0, -1.0, 1.5, -2.25, 1e10, -1e-3, 123456.789];
    for a in numbers {
        for b in numbers {
            let is = |op, expected: f64| {
                let got = run(op, basic, &long(a), &long(b));
                assert_eq!(got[..10], long(expected)[..10], "{a} {op:?} {b}");
            };
            is(Op::Max, a.max(b));
            is(Op::Min, a.min(b));
        }
    }
    for (a, b) in [(1.5, 2.25), (-3.0, 0.5), (1e10, 3.0), (7.0, -7.0)] {
        assert_eq!(run(Op::Sum, basic, &long(a), &long(b))[..10], long(a + b)[..10]);
        assert_eq!(run(Op::Prod, basic, &long(a), &long(b))[..10], long(a * b)[..10]);
    }
    let basic = Basic::new(Element::ComplexLong, Group::Complex);
    let complex = |re, im| [long(re), long(im)].concat();
    let product = run(Op::Prod, basic, &complex(1.0, 2.0), &complex(3.0, 4.0));
    assert_eq!(meaningful(basic.element, &product), {
        meaningful(basic.element, &complex(-5.0, 10.0))
    });
}

#[test]
fn groups_allow_what_the_standard_allows() {
    let allowed = |op: Op| -> Vec<Group> {
        let element = |group| match group {
            Group::Pair => Element::I32Int,
            Group::Complex => Element::ComplexF64,
            Group::Floating => Element::F64,
            _ => Element::I32,
        };
        GROUPS.into_iter().filter(|&g| supports(op, Basic::new(element(g), g))).collect()
    };
    use Group::*;
    for op in [Op::Max, Op::Min] {
        assert_eq!(allowed(op), [CInteger, FortranInteger, Floating, MultiLanguage]);
    }
    for op in [Op::Sum, Op::Prod] {
        assert_eq!(allowed(op), [CInteger, FortranInteger, Floating, Complex, MultiLanguage]);
    }
    for op in [Op::Land, Op::Lor, Op::Lxor] {
        assert_eq!(allowed(op), [CInteger, Logical]);
    }
    for op in [Op::Band, Op::Bor, Op::Bxor] {
        assert_eq!(allowed(op), [CInteger, FortranInteger, Byte, MultiLanguage]);
    }
    for op in [Op::Minloc, Op::Maxloc] {
        assert_eq!(allowed(op), [Pair]);
    }
}

#[test]
fn codes_and_names() {
    let codes =
        [0x23, 0x22, 0x21, 0x24, 0x30, 0x28, 0x31, 0x29, 0x32, 0x2a, 0x38, 0x39, 0x3c, 0x3d];
    for (op, code) in Op::ALL.into_iter().zip(codes) {
        assert_eq!(Op::from_code(code), Some(op));
    }
    assert_eq!(Op::from_code(0x20), None);
    assert_eq!(Op::Maxloc.name(), "MPI_MAXLOC");
}

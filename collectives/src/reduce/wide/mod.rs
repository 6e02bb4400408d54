// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same loops, compiled for wider vectors than every machine has, and chosen at run time.
//!
//! Each element is computed by the same operations in the same order, so the bits are the same.
//! Multiplications and additions are never fused: the feature for that is not turned on.

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "absent.rs")]
mod machine;

pub(super) use machine::{is_available, reduce};

#[cfg(test)]
mod tests {
    use super::super::{Basic, Element, Group, Op, dispatch, kernel::Operands, supports};
    use super::{is_available, reduce};

    /// Elements of both kinds that a group can have, so that each supported pair is met.
    const ELEMENTS: [(Element, Group); 20] = [
        (Element::I8, Group::CInteger),
        (Element::I16, Group::CInteger),
        (Element::I32, Group::CInteger),
        (Element::I64, Group::CInteger),
        (Element::I128, Group::FortranInteger),
        (Element::U8, Group::CInteger),
        (Element::U16, Group::CInteger),
        (Element::U32, Group::CInteger),
        (Element::U64, Group::CInteger),
        (Element::F32, Group::Floating),
        (Element::F64, Group::Floating),
        (Element::ComplexF32, Group::Complex),
        (Element::ComplexF64, Group::Complex),
        (Element::F32Int, Group::Pair),
        (Element::F64Int, Group::Pair),
        (Element::I64Int, Group::Pair),
        (Element::I32Int, Group::Pair),
        (Element::F32F32, Group::Pair),
        (Element::F64F64, Group::Pair),
        (Element::U8, Group::Logical),
    ];

    #[test]
    fn wide_loops_give_the_same_bits() {
        if !is_available() {
            return;
        }
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        for (element, group) in ELEMENTS {
            let basic = Basic::new(element, group);
            for op in Op::ALL.into_iter().filter(|op| supports(*op, basic)) {
                for count in [1, 3, 31, 64, 67, 200] {
                    let bytes = count * basic.bytes();
                    let left: Vec<u8> = (0..bytes + 3).map(|_| byte()).collect();
                    let right: Vec<u8> = (0..bytes + 3).map(|_| byte()).collect();
                    // Not aligned, and into each of the places that are allowed.
                    for place in 0..3 {
                        let results = [false, true].map(|wide| {
                            let (mut l, mut r) = (left.clone(), right.clone());
                            let mut other = vec![0_u8; bytes + 3];
                            let at = |v: &mut Vec<u8>| v[3..].as_mut_ptr();
                            let (lp, rp) = (at(&mut l), at(&mut r));
                            let into = [lp, rp, at(&mut other)][place];
                            let operands = Operands { left: lp, right: rp, into, count };
                            // SAFETY: all three have `bytes` bytes behind the third one.
                            unsafe {
                                match wide {
                                    true => reduce(op, basic, &operands),
                                    false => dispatch(op, basic, &operands),
                                }
                            }
                            [l, r, other]
                        });
                        assert_eq!(results[0], results[1], "{op:?} of {basic:?}, {count}");
                    }
                }
            }
        }
    }
}

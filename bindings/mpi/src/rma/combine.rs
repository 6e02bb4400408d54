// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an accumulate does with elements, given as packed bytes.

use crate::datatype::{self, Type};
use crate::error::{Result, class, error};
use std::sync::{Arc, OnceLock};
use strait_collectives::reduce::{self, Basic, Element, Group, Op};

/// Packed bytes that are combined at once: whole elements of every type.
pub const PIECE_BYTES: usize = 64 << 10;

/// An operation on basic elements.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Combine {
    op: Op,
    basic: Basic,
}

impl Combine {
    /// The operation, if it is defined for the type of the target.
    pub fn new(op: Op, ty: &Type) -> Result<Combine> {
        let Some(basic) = ty.basic() else {
            let text = format!("{ty:?} is not made of one predefined datatype only");
            return error(class::TYPE, text);
        };
        if !reduce::supports(op, basic) {
            let text = format!("{} is not defined for the datatype {ty:?}", op.name());
            return error(class::OP, text);
        }
        Ok(Combine { op, basic })
    }

    /// The operation.
    pub fn op(&self) -> Op {
        self.op
    }

    /// Packed bytes of one element.
    #[inline]
    pub fn element_bytes(&self) -> usize {
        self.basic.element.packed_bytes()
    }

    /// Packed bytes that are combined at once: whole elements.
    pub fn piece_bytes(&self) -> usize {
        PIECE_BYTES - PIECE_BYTES % self.element_bytes()
    }

    /// Whether elements in memory are their packed bytes.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.basic.bytes() == self.element_bytes()
    }

    /// `old[i] = old[i] op data[i]` in memory, of elements that are plain.
    ///
    /// # Safety
    /// Both have `bytes` bytes, `old` writable, and do not overlap.
    #[inline]
    pub unsafe fn onto(&self, old: *mut u8, data: *const u8, bytes: usize) {
        debug_assert!(self.is_plain() && bytes.is_multiple_of(self.element_bytes()));
        let count = bytes / self.element_bytes();
        // SAFETY: the caller's promise; `new` asked whether it is supported.
        unsafe { reduce::reduce(self.op, self.basic, old, data, old, count) }
    }

    /// The same of packed bytes of any elements.
    pub fn onto_packed(&self, old: &mut [u8], data: &[u8]) {
        assert_eq!(old.len(), data.len());
        if self.is_plain() {
            // SAFETY: both slices have that many bytes.
            return unsafe { self.onto(old.as_mut_ptr(), data.as_ptr(), old.len()) };
        }
        let ty = padded(self.basic.element);
        let count = old.len() / self.element_bytes();
        let mut left = Padded::new(ty, count);
        let mut right = Padded::new(ty, count);
        left.put(old);
        right.put(data);
        // SAFETY: both hold as many elements as they lie in memory.
        unsafe {
            let (into, from) = (left.bytes.as_mut_ptr(), right.bytes.as_ptr());
            reduce::reduce(self.op, self.basic, into, from, into, count);
        }
        left.take(old);
    }

    /// As it travels: operation, element, group.
    pub fn to_words(self) -> [u8; 3] {
        [self.op.code() as u8, self.basic.element as u8, self.basic.group as u8]
    }

    /// From words that came from elsewhere.
    pub fn from_words([op, element, group]: [u8; 3]) -> Option<Combine> {
        let op = Op::from_code(op.into())?;
        let element = Element::ALL.into_iter().find(|known| *known as u8 == element)?;
        let group = Group::ALL.into_iter().find(|known| *known as u8 == group)?;
        let basic = Basic { element, group };
        reduce::supports(op, basic).then_some(Combine { op, basic })
    }
}

/// The predefined pair whose elements have gaps.
fn padded(element: Element) -> &'static Arc<Type> {
    static PAIRS: OnceLock<Vec<&'static Arc<Type>>> = OnceLock::new();
    let is_pair =
        |ty: &&Arc<Type>| ty.basic().is_some_and(|b| b.element.packed_bytes() != b.bytes());
    let all = || datatype::codes().filter_map(datatype::predefined).filter(is_pair).collect();
    let found = PAIRS.get_or_init(all).iter();
    let mut found = found.filter(|ty| ty.basic().is_some_and(|b| b.element == element));
    found.next().expect("each element with gaps has a predefined type")
}

/// Elements as they lie in memory.
struct Padded {
    ty: &'static Arc<Type>,
    count: usize,
    bytes: Vec<u8>,
}

impl Padded {
    fn new(ty: &'static Arc<Type>, count: usize) -> Padded {
        Padded { ty, count, bytes: vec![0; count * ty.extent() as usize] }
    }

    fn put(&mut self, packed: &[u8]) {
        let payload = self.ty.payload(self.bytes.as_mut_ptr(), self.count as i64);
        // SAFETY: the bytes hold all elements.
        unsafe { payload.unpack(0, packed) }
    }

    fn take(&mut self, packed: &mut [u8]) {
        let payload = self.ty.payload(self.bytes.as_mut_ptr(), self.count as i64);
        // SAFETY: as above.
        unsafe { payload.pack(0, packed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u32, op: Op) -> Combine {
        Combine::new(op, datatype::predefined(code).unwrap()).unwrap()
    }

    #[test]
    fn pairs_with_gaps_are_combined_packed() {
        let maxloc = of(0x229, Op::Maxloc);
        assert!(!maxloc.is_plain());
        let pair = |value: f64, index: i32| {
            [value.to_ne_bytes().as_slice(), index.to_ne_bytes().as_slice()].concat()
        };
        let mut old = [pair(1.0, 5), pair(4.0, 2), pair(3.0, 9)].concat();
        let data = [pair(2.0, 1), pair(4.0, 1), pair(-1.0, 0)].concat();
        maxloc.onto_packed(&mut old, &data);
        assert_eq!(old, [pair(2.0, 1), pair(4.0, 1), pair(3.0, 9)].concat());
    }

    #[test]
    fn words_round_trip_and_nonsense_is_refused() {
        for code in datatype::codes() {
            let Some(ty) = datatype::predefined(code) else { continue };
            for op in Op::ALL {
                let Ok(combine) = Combine::new(op, ty) else { continue };
                assert_eq!(Combine::from_words(combine.to_words()), Some(combine));
                assert_eq!(combine.piece_bytes() % combine.element_bytes(), 0);
            }
        }
        assert_eq!(Combine::from_words([0x21, 99, 0]), None);
        assert_eq!(Combine::from_words([0xff, 0, 0]), None);
        let [op, _, group] = of(0x209, Op::Sum).to_words();
        assert_eq!(Combine::from_words([op, Element::I32Int as u8, group + 7]), None);
    }

    #[test]
    fn replace_and_no_op() {
        let (mut old, data) = ([1u8, 2], [7u8, 8]);
        of(0x247, Op::NoOp).onto_packed(&mut old, &data);
        assert_eq!(old, [1, 2]);
        of(0x247, Op::Replace).onto_packed(&mut old, &data);
        assert_eq!(old, [7, 8]);
    }
}

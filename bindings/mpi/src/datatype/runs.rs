// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The runs of bytes that a range of packed bytes has: how a view finds its data in a file.

use super::Type;
use super::program::Node;

/// A walk over nodes: packed bytes to pass over, then packed bytes that are wanted.
struct Walk<'a> {
    skip: usize,
    left: usize,
    found: &'a mut dyn FnMut(i64, usize),
}

impl Walk<'_> {
    /// Up to `bytes` bytes side by side at `at`.
    fn run(&mut self, at: i64, bytes: usize) {
        let own = (bytes - self.skip).min(self.left);
        (self.found)(at + self.skip as i64, own);
        self.left -= own;
        self.skip = 0;
    }

    /// A node at `at`; `skip` is less than its bytes.
    fn node(&mut self, node: &Node, at: i64) {
        match node {
            Node::Empty => {}
            Node::Run { bytes } => self.run(at, *bytes),
            Node::Repeat { count, stride, child } => {
                let first = self.skip / child.bytes();
                self.skip %= child.bytes();
                for i in first..*count {
                    if self.left == 0 {
                        return;
                    }
                    self.node(child, at + i as i64 * stride);
                }
            }
            Node::Blocks { offsets, bytes } => {
                let first = self.skip / bytes;
                self.skip %= bytes;
                for offset in &offsets[first..] {
                    if self.left == 0 {
                        return;
                    }
                    self.run(at + offset, *bytes);
                }
            }
            Node::List { starts, parts } => {
                let first = starts.partition_point(|&start| start <= self.skip) - 1;
                self.skip -= starts[first];
                for part in &parts[first..] {
                    if self.left == 0 {
                        return;
                    }
                    self.node(&part.node, at + part.offset);
                }
            }
        }
    }
}

impl Type {
    /// Calls `found` with the displacement and length of each run of the packed bytes
    /// `from .. from + bytes` of elements side by side without end, in the order of the type map.
    /// The caller has checked that displacements fit in 64 bits.
    pub fn each_run(&self, from: i64, bytes: usize, found: &mut dyn FnMut(i64, usize)) {
        let program = self.program();
        if program.bytes == 0 || bytes == 0 {
            return;
        }
        if let Some((offset, true)) = program.run() {
            return found(offset + from, bytes);
        }
        let size = program.bytes as i64;
        let mut walk = Walk { skip: (from % size) as usize, left: bytes, found };
        let mut element = from / size;
        while walk.left > 0 {
            walk.node(&program.root.node, program.root.offset + element * program.extent);
            element += 1;
        }
    }

    /// Whether the runs of elements side by side never go back, and whether none overlap.
    pub fn order_of_runs(&self) -> (bool, bool) {
        let (mut ordered, mut apart) = (true, true);
        let (mut last, mut end, mut first) = (i64::MIN, i64::MIN, None);
        self.each_run(0, self.size() as usize, &mut |at, bytes| {
            first.get_or_insert(at);
            ordered &= at >= last;
            apart &= at >= end;
            (last, end) = (at, at + bytes as i64);
        });
        if let Some(first) = first {
            let next = first.saturating_add(self.extent());
            (ordered, apart) = (ordered && next >= last, apart && next >= end);
        }
        (ordered, apart)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Form, Type, predefined};
    use std::sync::Arc;

    /// Every packed byte's displacement, by packing an array that says where it is.
    fn plainly(ty: &Arc<Type>, elements: usize) -> Vec<i64> {
        let span = (ty.extent() * elements as i64).max(ty.true_ub()) as usize + 64;
        let place: Vec<u16> = (0..span as u16).collect();
        let (low, high): (Vec<u8>, Vec<u8>) =
            place.iter().map(|at| (*at as u8, (at >> 8) as u8)).unzip();
        let pack = |bytes: &[u8]| {
            let payload = ty.payload(bytes.as_ptr().cast_mut(), elements as i64);
            let mut packed = vec![0; payload.bytes()];
            // SAFETY: the array covers all elements.
            unsafe { payload.pack(0, &mut packed) };
            packed
        };
        pack(&low).iter().zip(pack(&high)).map(|(l, h)| i64::from(*l) | i64::from(h) << 8).collect()
    }

    #[test]
    fn any_range_has_the_bytes_that_packing_takes() {
        let int = predefined(0x209).unwrap();
        let vector = Type::vector(Form::Int, 3, 2, 5, int).unwrap();
        let blocks = Type::indexed(Form::Int, &[1, 3, 2], &[0, 2, 9], int).unwrap();
        let nested = Type::structure(
            Form::Int,
            &[1, 2],
            &[4, 80],
            &[vector.clone(), Type::resized(Form::Int, 0, 60, &blocks).unwrap()],
        )
        .unwrap();
        for ty in [int.clone(), vector, blocks, nested] {
            const ELEMENTS: usize = 3;
            let all = plainly(&ty, ELEMENTS);
            for from in 0..all.len() {
                for to in (from..=all.len()).step_by(3) {
                    let mut found = Vec::new();
                    ty.each_run(from as i64, to - from, &mut |at, bytes| {
                        found.extend(at..at + bytes as i64);
                    });
                    assert_eq!(found, all[from..to], "{ty:?} {from} {to}");
                }
            }
        }
    }

    #[test]
    fn going_back_and_overlapping_are_seen() {
        let int = predefined(0x209).unwrap();
        let order =
            |at: &[i64]| Type::indexed_block(Form::Int, 2, at, int).unwrap().order_of_runs();
        assert_eq!(order(&[0, 2, 7]), (true, true));
        assert_eq!(order(&[0, 1]), (true, false));
        assert_eq!(order(&[5, 0]), (false, false));
        let short = Type::indexed_block(Form::Int, 1, &[0, 4], int).unwrap();
        let short = Type::resized(Form::Int, 0, 4, &short).unwrap();
        assert_eq!(short.order_of_runs(), (false, false));
    }
}

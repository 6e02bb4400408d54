// SPDX-License-Identifier: Apache-2.0 OR MIT
//! K-nomial trees: flatter than binomial ones where a rank can serve several others at once.
//!
//! Ranks are counted from the root and written in digits of the radix `k`. A number `v` has the
//! children `v + j k^i`, `0 < j < k`, for the places `i` below its lowest digit that is not zero;
//! its parent has a zero in the place of that digit. A subtree is an interval of numbers, and
//! upward they are appended in rising order.
//!
//! ```text
//! 0 -- 3 -- 4       five ranks, radix 3: 0 is the parent of 1, 2 and 3, which is that of 4
//! |-- 2
//! +-- 1
//! ```
//!
//! The receives of a place do not wait for each other: each lands in memory of its own, which the
//! third place after takes again. For operations that commute, since the root may be any rank.
//!
//! Messages p - 1. Rounds: the most digits other than zero that a number below p has, which is the
//! number of digits of p - 1, or one less if p - 1 < 11..1.
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Builder, Refused, Step};
use crate::shape::Shape;

/// After how many places memory is taken again: until then nothing reads it any more that another
/// place's receives would not have waited for anyway.
const SETS: usize = 3;

/// The tree, seen from number `v`.
struct Tree {
    v: u32,
    root: u32,
    ranks: u32,
    radix: u64,
}

impl Tree {
    fn new(b: &Builder, parameters: Parameters) -> Tree {
        let (rank, root, ranks) = (b.rank(), b.shape().root, b.shape().ranks);
        let v = if root == 0 { rank } else { ahead(rank, ranks - root, ranks) };
        Tree { v, root, ranks, radix: radix(parameters) }
    }

    fn rank(&self, v: u32) -> u32 {
        ahead(v, self.root, self.ranks)
    }

    /// The places below the lowest digit that is not zero, as powers of the radix.
    fn places(&self) -> impl Iterator<Item = u64> + use<> {
        let (v, ranks, radix) = (u64::from(self.v), u64::from(self.ranks), self.radix);
        std::iter::successors(Some(1), move |place| Some(place * radix))
            .take_while(move |place| *place < ranks && v % (place * radix) == 0)
    }

    /// The children of a place, lowest first.
    fn children(&self, place: u64) -> impl Iterator<Item = u32> + use<> {
        let (v, ranks) = (u64::from(self.v), u64::from(self.ranks));
        (1..self.radix)
            .map(move |digit| v + digit * place)
            .take_while(move |child| *child < ranks)
            .map(|child| child as u32)
    }

    fn parent(&self) -> Option<u32> {
        let v = u64::from(self.v);
        let mut place = 1;
        while v != 0 && v % (place * self.radix) == 0 {
            place *= self.radix;
        }
        (v != 0).then(|| self.rank((v - v % (place * self.radix)) as u32))
    }
}

fn radix(parameters: Parameters) -> u64 {
    u64::from(parameters.radix.max(2))
}

pub(super) fn bcast(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let tree = Tree::new(b, parameters);
    let parent = tree.parent();
    let at = if parent.is_none() { b.input() } else { b.output() };
    if let Some(from) = parent {
        b.add(Step::Recv { from, into: at })?;
    }
    // Whose subtree is deepest comes first.
    let mut places: Vec<u64> = tree.places().collect();
    places.reverse();
    for place in places {
        for child in tree.children(place) {
            b.add(Step::Send { to: tree.rank(child), what: at })?;
        }
    }
    Ok(())
}

pub(super) fn reduce(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let tree = Tree::new(b, parameters);
    let (parent, input, in_place) = (tree.parent(), b.input(), b.shape().in_place);
    let output = parent.is_none().then(|| b.output());
    let last = tree.places().flat_map(|place| tree.children(place)).last();
    let mut sets: [Vec<Blocks>; SETS] = Default::default();
    let mut result = input;
    for (index, place) in tree.places().enumerate() {
        let set = &mut sets[index % SETS];
        let mut received = Vec::new();
        for (nth, child) in tree.children(place).enumerate() {
            let into = match output {
                // In place our own contribution lies there.
                Some(output) if Some(child) == last && !in_place => output,
                _ => {
                    if set.len() == nth {
                        set.push(b.scratch_like(input)?);
                    }
                    set[nth]
                }
            };
            b.add(Step::Recv { from: tree.rank(child), into })?;
            received.push(into);
        }
        for right in received {
            b.add(Step::Reduce { left: result, right, into: right })?;
            result = right;
        }
    }
    if let Some(to) = parent {
        b.add(Step::Send { to, what: result })?;
    }
    match output {
        Some(into) if result != into => b.add(Step::Copy { what: result, into }).map(drop),
        _ => Ok(()),
    }
}

pub(super) fn cost(shape: &Shape, parameters: Parameters) -> Cost {
    let (highest, radix) = (u64::from(shape.ranks - 1), radix(parameters));
    // The digits of p - 1, and as many ones.
    let (mut digits, mut ones, mut rest) = (0, 0, highest);
    while rest > 0 {
        (digits, ones, rest) = (digits + 1, ones * radix + 1, rest / radix);
    }
    Cost {
        rounds: digits - u64::from(highest < ones),
        messages: highest,
        blocks: highest * u64::from(shape.blocks),
    }
}

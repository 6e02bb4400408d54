// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The double binary tree (Sanders, Speck and Traeff, "Two-tree algorithms for full bandwidth
//! broadcast, reduction and scan", 2009): the vector is cut, half of the segments goes through
//! one binary tree, half through another, and who has children in one has none in the other. So
//! everybody sends and receives the vector about once, in a logarithmic number of hops.
//!
//! Ranks are counted from the root, which feeds both trees and belongs to none. In the first tree
//! number `v` has as children those half its lowest bit below and above (less above, where that
//! is beyond the last); odd numbers are leaves. In the second tree everybody stands where another
//! stands in the first: mirrored if p is odd, else one further, which turns odd into even.
//!
//! Five ranks: the first tree is 0 -> 4 -> 2 -> {1, 3}, the second one 0 -> 1 -> 3 -> {4, 2}.
//!
//! A reduction goes up the trees, for operations that commute; an allreduce goes up and down
//! again, so the root alone completes each segment. A segment passes 1 + floor(log2 (p - 1))
//! messages one way; p - 1 messages for each segment.
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step};
use crate::shape::Shape;

/// The neighbours of a rank in one tree.
#[derive(Default)]
struct Place {
    parent: Option<u32>,
    children: Vec<u32>,
}

/// Parent and children of number `v` in the first tree.
fn standing(v: u32, ranks: u32) -> (Option<u32>, Vec<u32>) {
    if v == 0 {
        let top = (ranks > 1).then(|| 1 << (ranks - 1).ilog2());
        return (None, top.into_iter().collect());
    }
    let bit = 1 << v.trailing_zeros();
    let above = u64::from(v ^ bit) | u64::from(bit) << 1;
    let parent = if above < u64::from(ranks) { above as u32 } else { v ^ bit };
    let steps = std::iter::successors(Some(bit / 2), |step| Some(step / 2));
    let right = steps.take_while(|step| *step > 0).find(|step| *step < ranks - v);
    let left = (bit > 1).then(|| v - bit / 2);
    (Some(parent), left.into_iter().chain(right.map(|step| v + step)).collect())
}

/// Where number `v` stands in the second tree, and who stands there: in the numbers of the first.
fn second(v: u32, ranks: u32) -> u32 {
    match v {
        0 => 0,
        _ if ranks % 2 == 1 => ranks - v,
        1 => ranks - 1,
        _ => v - 1,
    }
}

fn second_back(place: u32, ranks: u32) -> u32 {
    match place {
        0 => 0,
        _ if ranks % 2 == 1 => ranks - place,
        _ if place == ranks - 1 => 1,
        _ => place + 1,
    }
}

/// The rank's places in both trees.
fn places(b: &Builder) -> [Place; 2] {
    let (rank, ranks, root) = (b.rank(), b.shape().ranks, b.shape().root);
    let v = ahead(rank, ranks - root, ranks);
    let rank_of = |v: u32| ahead(v, root, ranks);
    let (parent, children) = standing(v, ranks);
    let one = Place {
        parent: parent.map(rank_of),
        children: children.into_iter().map(rank_of).collect(),
    };
    let (parent, children) = standing(second(v, ranks), ranks);
    let there = |place: u32| rank_of(second_back(place, ranks));
    let two =
        Place { parent: parent.map(there), children: children.into_iter().map(there).collect() };
    [one, two]
}

/// The segments in the order in which all ranks pass them on, each with its tree: the first half
/// goes through the first tree, the second half through the second, in turns.
fn segments(blocks: u32) -> impl Iterator<Item = (usize, u32)> {
    let half = blocks.div_ceil(2);
    (0..half).flat_map(move |at| {
        let other = (half + at < blocks).then_some((1, half + at));
        [(0, at)].into_iter().chain(other)
    })
}

/// Every segment from the parent to the children.
fn down(b: &mut Builder, places: &[Place; 2], at: Buffer) -> Result<(), Refused> {
    for (tree, block) in segments(b.shape().blocks) {
        let Place { parent, children } = &places[tree];
        let what = Blocks::one(at, block);
        if let Some(from) = *parent {
            b.add(Step::Recv { from, into: what })?;
        }
        for &to in children {
            b.add(Step::Send { to, what })?;
        }
    }
    Ok(())
}

/// Every segment from the children, combined, to the parent; at the root into the output.
fn up(b: &mut Builder, places: &[Place; 2]) -> Result<(), Refused> {
    let blocks = b.shape().blocks;
    let half = blocks.div_ceil(2);
    let mut landings = [Vec::new(), Vec::new()];
    let parts = [Blocks::new(Buffer::Input, 0..half), Blocks::new(Buffer::Input, half..blocks)];
    for (tree, part) in parts.into_iter().enumerate() {
        for _ in places[tree].children.iter().filter(|_| part.count > 0) {
            landings[tree].push(b.scratch_like(part)?);
        }
    }
    for (tree, block) in segments(blocks) {
        let Place { parent, children } = &places[tree];
        let mut sum = Blocks::one(Buffer::Input, block);
        for (&from, landing) in children.iter().zip(&landings[tree]) {
            let into = Blocks::one(landing.buffer, block - parts[tree].first);
            b.add(Step::Recv { from, into })?;
            if parent.is_none() {
                // The root has one child in each tree. In place the output is its contribution.
                let output = Blocks::one(Buffer::Output, block);
                b.add(Step::Reduce { left: into, right: sum, into: output })?;
            } else {
                b.add(Step::Reduce { left: sum, right: into, into })?;
            }
            sum = into;
        }
        if let Some(to) = *parent {
            b.add(Step::Send { to, what: sum })?;
        }
    }
    Ok(())
}

pub(super) fn bcast(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let is_root = b.rank() == b.shape().root;
    let places = places(b);
    down(b, &places, if is_root { Buffer::Input } else { Buffer::Output })
}

pub(super) fn reduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    if b.shape().ranks == 1 {
        return b.add(Step::Copy { what: b.input(), into: b.output() }).map(drop);
    }
    let places = places(b);
    up(b, &places)
}

pub(super) fn allreduce(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    reduce(b, parameters)?;
    let places = places(b);
    down(b, &places, Buffer::Output)
}

pub(super) fn cost(shape: &Shape, _: Parameters) -> Cost {
    let others = shape.ranks - 1;
    let messages = u64::from(others) * u64::from(shape.blocks);
    let rounds = if others == 0 { 0 } else { 1 + u64::from(others.ilog2()) };
    Cost { rounds, messages, blocks: messages }
}

pub(super) fn allreduce_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let way = cost(shape, parameters);
    Cost { rounds: 2 * way.rounds, messages: 2 * way.messages, blocks: 2 * way.blocks }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Circulant exchange: reduce-scatter in ceil(log2 p) rounds for any number of ranks, and what is
//! made of it (Traeff, "Optimal, Non-pipelined Reduce-scatter and Allreduce Algorithms", 2024).
//!
//! Ranks are counted from the root; number `v` keeps the vector in its own rotation: `R[i]` is
//! block `v + i`. With s = p first, each round halves s to s' = ceil(s / 2), sends `R[s' .. s]` to
//! `v + s'`, where it is `R[0 .. s - s']`, and combines what it receives there. In the end `R[0]`
//! is block `v`, complete. The allgather of the allreduce goes the same way back; the reduce
//! gathers by a binomial tree. For operations that commute.
//!
//! Five ranks: s = 5, 3, 2, 1. `R[3..5]` goes 3 ahead, `R[2..3]` goes 2 ahead, `R[1..2]` goes 1
//! ahead.
//!
//! Each half: ceil(log2 p) messages of each rank, p - 1 blocks. A round need not wait for the one
//! before if nothing that it sends was just combined, as in the second of five ranks, so the
//! longest chain is found by following the rounds.
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Extent, Refused, Step};
use crate::shape::Shape;

/// The rounds: s and s' of each.
fn halves(ranks: u32) -> impl DoubleEndedIterator<Item = (u32, u32)> {
    let mut all = Vec::new();
    let mut s = ranks;
    while s > 1 {
        all.push((s, s.div_ceil(2)));
        s = s.div_ceil(2);
    }
    all.into_iter()
}

/// A rank's rotated vector.
struct Rotated {
    buffer: Buffer,
    v: u32,
    root: u32,
    ranks: u32,
}

impl Rotated {
    /// A copy of the input.
    fn new(b: &mut Builder, root: u32) -> Result<Rotated, Refused> {
        let (rank, ranks) = (b.rank(), b.shape().ranks);
        let v = ahead(rank, ranks - root, ranks);
        let extents = (0..ranks).map(|i| Extent(u64::from(ahead(v, i, ranks)))).collect();
        let buffer = b.scratch(extents)?;
        let rotated = Rotated { buffer, v, root, ranks };
        for (own, there) in rotated.pieces() {
            let what = Blocks::new(Buffer::Input, there);
            b.add(Step::Copy { what, into: Blocks::new(buffer, own) })?;
        }
        Ok(rotated)
    }

    /// Where parts of it lie in a vector that is not rotated.
    fn pieces(&self) -> impl Iterator<Item = (std::ops::Range<u32>, std::ops::Range<u32>)> {
        let split = self.ranks - self.v;
        let both = [(0..split, self.v..self.ranks), (split..self.ranks, 0..self.v)];
        both.into_iter().filter(|(own, _)| !own.is_empty())
    }

    fn blocks(&self, range: std::ops::Range<u32>) -> Blocks {
        Blocks::new(self.buffer, range)
    }

    /// The rank whose number is so far ahead of ours.
    fn rank(&self, distance: u32) -> u32 {
        ahead(ahead(self.v, distance, self.ranks), self.root, self.ranks)
    }

    fn behind(&self, distance: u32) -> u32 {
        self.rank(self.ranks - distance)
    }

    /// The reduce-scatter: `R[0]` is complete in the end.
    fn reduce_scatter(&self, b: &mut Builder) -> Result<(), Refused> {
        for (s, half) in halves(self.ranks) {
            let kept = self.blocks(0..s - half);
            let received = b.scratch_like(kept)?;
            b.add(Step::Recv { from: self.behind(half), into: received })?;
            b.add(Step::Send { to: self.rank(half), what: self.blocks(half..s) })?;
            b.add(Step::Reduce { left: received, right: kept, into: kept })?;
        }
        Ok(())
    }

    fn copy_out(&self, b: &mut Builder) -> Result<(), Refused> {
        for (own, there) in self.pieces() {
            let into = Blocks::new(Buffer::Output, there);
            b.add(Step::Copy { what: self.blocks(own), into })?;
        }
        Ok(())
    }
}

pub(super) fn reduce_scatter(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let rotated = Rotated::new(b, 0)?;
    rotated.reduce_scatter(b)?;
    let into = b.output();
    b.add(Step::Copy { what: rotated.blocks(0..1), into }).map(drop)
}

pub(super) fn allreduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let rotated = Rotated::new(b, 0)?;
    rotated.reduce_scatter(b)?;
    for (s, half) in halves(rotated.ranks).rev() {
        let (into, what) = (rotated.blocks(half..s), rotated.blocks(0..s - half));
        b.add(Step::Recv { from: rotated.rank(half), into })?;
        b.add(Step::Send { to: rotated.behind(half), what })?;
    }
    rotated.copy_out(b)
}

pub(super) fn reduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let root = b.shape().root;
    let rotated = Rotated::new(b, root)?;
    rotated.reduce_scatter(b)?;
    // Up a binomial tree: a child's blocks follow ours.
    let (v, ranks) = (rotated.v, rotated.ranks);
    let bits = if v == 0 { 32 } else { v.trailing_zeros() };
    let mut have = 1;
    for k in 0..bits {
        let distance = 1u32.checked_shl(k).unwrap_or(u32::MAX);
        if distance >= ranks - v {
            break;
        }
        let end = distance.saturating_mul(2).min(ranks - v);
        let into = rotated.blocks(distance..end);
        b.add(Step::Recv { from: rotated.rank(distance), into })?;
        have = end;
    }
    match v {
        0 => rotated.copy_out(b),
        _ => {
            let parent = rotated.behind(v - (v & (v - 1)));
            b.add(Step::Send { to: parent, what: rotated.blocks(0..have) }).map(drop)
        }
    }
}

/// How many messages each part of R has waited for: ends of parts, and numbers that do not rise.
struct Depths(Vec<(u32, u64)>);

impl Depths {
    fn new(ranks: u32) -> Depths {
        Depths(vec![(ranks, 0)])
    }

    fn most(&self, range: std::ops::Range<u32>) -> u64 {
        let mut start = 0;
        let mut most = 0;
        for &(end, depth) in &self.0 {
            if start < range.end && end > range.start {
                most = most.max(depth);
            }
            start = end;
        }
        most
    }

    /// A message of this depth came for the parts.
    fn raise(&mut self, range: std::ops::Range<u32>, to: u64) {
        let mut parts = Vec::with_capacity(self.0.len() + 2);
        let mut start = 0;
        for &(end, depth) in &self.0 {
            for (from, until, depth) in [
                (start, end.min(range.start), depth),
                (start.max(range.start), end.min(range.end), depth.max(to)),
                (start.max(range.end), end, depth),
            ] {
                if from < until {
                    match parts.last_mut() {
                        Some((last, same)) if *same == depth => *last = until,
                        _ => parts.push((until, depth)),
                    }
                }
            }
            start = end;
        }
        self.0 = parts;
    }
}

/// The depths after the reduce-scatter, and the longest chain so far.
fn scattered(ranks: u32) -> (Depths, u64) {
    let (mut depths, mut chain) = (Depths::new(ranks), 0);
    for (s, half) in halves(ranks) {
        let depth = depths.most(half..s) + 1;
        depths.raise(0..s - half, depth);
        chain = chain.max(depth);
    }
    (depths, chain)
}

pub(super) fn reduce_scatter_cost(shape: &Shape, _: Parameters) -> Cost {
    let ranks = u64::from(shape.ranks);
    let (_, rounds) = scattered(shape.ranks);
    let messages = ranks * halves(shape.ranks).count() as u64;
    Cost { rounds, messages, blocks: ranks * (ranks - 1) }
}

pub(super) fn allreduce_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let half = reduce_scatter_cost(shape, parameters);
    let (mut depths, mut rounds) = scattered(shape.ranks);
    for (s, half) in halves(shape.ranks).rev() {
        let depth = depths.most(0..s - half) + 1;
        depths.raise(half..s, depth);
        rounds = rounds.max(depth);
    }
    Cost { rounds, messages: 2 * half.messages, blocks: 2 * half.blocks }
}

pub(super) fn reduce_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let half = reduce_scatter_cost(shape, parameters);
    let ranks = shape.ranks;
    let subtrees = (1..ranks).map(|v| u64::from((1 << v.trailing_zeros()).min(ranks - v)));
    Cost {
        rounds: half.rounds + u64::from(ranks.ilog2()),
        messages: half.messages + u64::from(ranks - 1),
        blocks: half.blocks + subtrees.sum::<u64>(),
    }
}

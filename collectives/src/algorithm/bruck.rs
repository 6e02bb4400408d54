// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bruck's algorithms (Bruck et al., "Efficient algorithms for all-to-all communications in
//! multiport message-passing systems", 1997).
//!
//! Allgather: every rank keeps the blocks in its own rotation (`A[o]` is the block of rank
//! `r + o`) and multiplies them by the radix `k` each round: with `s` of them it fetches those of
//! `r + s`, `r + 2 s`, up to `k - 1`.
//!
//! Five ranks, radix 2: round 1 fetches `A[0]` of r + 1 as `A[1]`; round 2 fetches `A[0..2]` of
//! r + 2 as `A[2..4]`; round 4 fetches `A[0..1]` of r + 4 as `A[4..5]`; then A is copied out in two
//! pieces.
//!
//! Blocks p (p - 1); radix 2: q = ceil(log2 p) messages per rank. A message waits only for what it
//! carries, and the last ones may be short, so the longest chain is found by following them.
//!
//! Alltoall: `T[o]` is the block for rank `r + o`. In round `2^k` all `T[o]` with bit `k` in `o`
//! go to rank `r + 2^k` together, and those of `r - 2^k` take their places; in the end `T[o]` is
//! the block of rank `r - o`. Few messages, but each block travels as often as its `o` has bits:
//! for short ones. Five ranks: 1 and 3 go one ahead, 2 and 3 two, 4 four. The chain is as above.
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters, log2_ceil};
use crate::schedule::{Blocks, Buffer, Builder, Extent, Refused, Step};
use crate::shape::Shape;

pub(super) fn allgather(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let whole = b.shape().regular;
    let rotated = (0..ranks)
        .map(|o| Extent(if whole { 0 } else { u64::from(ahead(rank, o, ranks)) }))
        .collect();
    // Rank 0 is not rotated: its blocks grow in the output itself.
    let a = if rank == 0 { Buffer::Output } else { b.scratch(rotated)? };
    b.add(Step::Copy { what: b.input(), into: Blocks::one(a, 0) })?;
    for (at, count) in fetches(ranks, parameters.radix) {
        let (from, to) = (ahead(rank, at, ranks), ahead(rank, ranks - at, ranks));
        b.add(Step::Recv { from, into: Blocks::new(a, at..at + count) })?;
        b.add(Step::Send { to, what: Blocks::new(a, 0..count) })?;
    }
    if rank > 0 {
        let split = ranks - rank;
        b.add(Step::Copy {
            what: Blocks::new(a, 0..split),
            into: Blocks::new(Buffer::Output, rank..ranks),
        })?;
        b.add(Step::Copy {
            what: Blocks::new(a, split..ranks),
            into: Blocks::new(Buffer::Output, 0..rank),
        })?;
    }
    Ok(())
}

pub(super) fn allgather_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let (ranks, radix) = (u64::from(shape.ranks), parameters.radix);
    let messages = ranks * fetches(shape.ranks, radix).count() as u64;
    Cost { rounds: chain(shape.ranks, radix), messages, blocks: ranks * (ranks - 1) }
}

/// What a rank fetches, in order: from how far ahead, and how many blocks.
fn fetches(ranks: u32, radix: u32) -> impl Iterator<Item = (u32, u32)> {
    let (ranks, radix) = (u64::from(ranks), u64::from(radix.max(2)));
    std::iter::successors(Some(1), move |stride| Some(stride * radix))
        .take_while(move |stride| *stride < ranks)
        .flat_map(move |stride| (1..radix).map(move |digit| (digit * stride, stride)))
        .filter(move |(at, _)| *at < ranks)
        .map(move |(at, stride)| (at as u32, stride.min(ranks - at) as u32))
}

/// Messages of the longest chain.
fn chain(ranks: u32, radix: u32) -> u64 {
    // Where the blocks begin that came together, and how many messages they waited for.
    let mut parts = vec![(0, 0)];
    for (at, count) in fetches(ranks, radix) {
        let carried = parts.iter().take_while(|(start, _)| *start < count);
        let depth = carried.map(|(_, depth)| depth + 1).max().unwrap_or(1);
        parts.push((at, depth));
    }
    parts.into_iter().map(|(_, depth)| depth).max().unwrap_or(0)
}

/// Where the blocks with this bit lie: runs of `bit` blocks, but perhaps for the last.
fn with_bit(bit: u32, ranks: u32) -> impl Iterator<Item = std::ops::Range<u32>> {
    let starts = (bit..ranks).step_by(2 * bit as usize);
    starts.map(move |start| start..(start + bit).min(ranks))
}

pub(super) fn alltoall(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let turned = b.scratch(vec![Extent(0); ranks as usize])?;
    for o in 0..ranks {
        let what = Blocks::one(Buffer::Input, ahead(rank, o, ranks));
        // What goes nowhere is there at once.
        let into = if o == 0 { Blocks::one(Buffer::Output, rank) } else { Blocks::one(turned, o) };
        b.add(Step::Copy { what, into })?;
    }
    let mut bit = 1;
    while bit < ranks {
        let count: u32 = with_bit(bit, ranks).map(|run| run.end - run.start).sum();
        let extents = vec![Extent(0); count as usize];
        let (out, back) = (b.scratch(extents.clone())?, b.scratch(extents)?);
        let (to, from) = (ahead(rank, bit, ranks), ahead(rank, ranks - bit, ranks));
        let mut at = 0;
        for run in with_bit(bit, ranks) {
            let next = at + run.end - run.start;
            b.add(Step::Copy { what: Blocks::new(turned, run), into: Blocks::new(out, at..next) })?;
            at = next;
        }
        b.add(Step::Recv { from, into: Blocks::new(back, 0..count) })?;
        b.add(Step::Send { to, what: Blocks::new(out, 0..count) })?;
        let mut at = 0;
        for run in with_bit(bit, ranks) {
            let next = at + run.end - run.start;
            let what = Blocks::new(back, at..next);
            b.add(Step::Copy { what, into: Blocks::new(turned, run) })?;
            at = next;
        }
        bit = bit.saturating_mul(2);
    }
    for o in 1..ranks {
        let into = Blocks::one(Buffer::Output, ahead(rank, ranks - o, ranks));
        b.add(Step::Copy { what: Blocks::one(turned, o), into })?;
    }
    Ok(())
}

pub(super) fn alltoall_cost(shape: &Shape, _: Parameters) -> Cost {
    let (ranks, turns) = (shape.ranks, log2_ceil(shape.ranks));
    let of_bit = |k: u32| {
        let (whole, rest) = (ranks >> (k + 1) << k, ranks & ((2 << k) - 1));
        u64::from(whole + rest.saturating_sub(1 << k))
    };
    let sent: u64 = (0..turns).map(of_bit).sum();
    let ranks = u64::from(ranks);
    Cost { rounds: chain(shape.ranks, 2), messages: ranks * u64::from(turns), blocks: ranks * sent }
}

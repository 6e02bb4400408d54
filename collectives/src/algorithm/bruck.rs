// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bruck's allgather: every rank keeps the blocks in its own rotation (`A[o]` is the block of rank
//! `r + o`) and doubles them each round.
//!
//! Five ranks: round 1 fetches `A[0]` of r + 1 as `A[1]`; round 2 fetches `A[0..2]` of r + 2 as
//! `A[2..4]`; round 4 fetches `A[0..1]` of r + 4 as `A[4..5]`; then A is copied out in two pieces.
//!
//! q = ceil(log2 p) messages per rank, blocks p (p - 1). The last carries c = p - 2^(q-1) blocks
//! and waits only for these, so the longest chain is max(q - 1, 1 + ceil(log2 c)).
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters, log2_ceil};
use crate::schedule::{Blocks, Buffer, Builder, Extent, Refused, Step};
use crate::shape::Shape;

pub(super) fn allgather(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let whole = b.shape().regular;
    let rotated = (0..ranks)
        .map(|o| Extent(if whole { 0 } else { u64::from(ahead(rank, o, ranks)) }))
        .collect();
    // Rank 0 is not rotated: its blocks grow in the output itself.
    let a = if rank == 0 { Buffer::Output } else { b.scratch(rotated)? };
    b.add(Step::Copy { what: b.input(), into: Blocks::one(a, 0) })?;
    let mut stride = 1;
    while stride < ranks {
        let count = stride.min(ranks - stride);
        let (from, to) = (ahead(rank, stride, ranks), ahead(rank, ranks - stride, ranks));
        b.add(Step::Recv { from, into: Blocks::new(a, stride..stride + count) })?;
        b.add(Step::Send { to, what: Blocks::new(a, 0..count) })?;
        stride *= 2;
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

pub(super) fn allgather_cost(shape: &Shape, _: Parameters) -> Cost {
    let (ranks, turns) = (u64::from(shape.ranks), log2_ceil(shape.ranks));
    let rounds = match turns {
        0 => 0,
        _ => (turns - 1).max(1 + log2_ceil(shape.ranks - (1 << (turns - 1)))),
    };
    let (rounds, messages) = (u64::from(rounds), ranks * u64::from(turns));
    Cost { rounds, messages, blocks: ranks * (ranks - 1) }
}

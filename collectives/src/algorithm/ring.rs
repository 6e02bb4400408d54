// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rings: everybody sends to the next rank and receives from the one before.
//!
//! Allgather: in turn `t` rank `r` passes block `r - t` on. Allreduce: first a turn of reductions,
//! in which block `b` starts at rank `b + 1`, visits everyone and ends complete at rank `b`; then
//! an allgather. Each block is combined in one fixed order (b + 1, b + 2, .., b), so all ranks get
//! the same bits, but not in rank order: for operations that commute.
//!
//! Five ranks, rank 0, first half: sends block 4, receives 3, adds its own; sends 3, receives 2;
//! and so on, until it receives block 0 and completes it.
//!
//! Each half: p - 1 rounds, p (p - 1) messages of one block.
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step};
use crate::shape::Shape;

pub(super) fn allgather(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let rank = b.rank();
    let own = b.input();
    b.add(Step::Copy { what: own, into: Blocks::one(Buffer::Output, rank) })?;
    pass_around(b, rank)
}

/// Passes the blocks of the output around, beginning with block `mine`, which is there.
fn pass_around(b: &mut Builder, mine: u32) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let (next, previous) = (ahead(rank, 1, ranks), ahead(rank, ranks - 1, ranks));
    for t in 0..ranks - 1 {
        let passed = ahead(mine, ranks - t, ranks);
        let received = ahead(mine, ranks - t - 1, ranks);
        b.add(Step::Recv { from: previous, into: Blocks::one(Buffer::Output, received) })?;
        b.add(Step::Send { to: next, what: Blocks::one(Buffer::Output, passed) })?;
    }
    Ok(())
}

pub(super) fn allgather_cost(shape: &Shape, _: Parameters) -> Cost {
    let ranks = u64::from(shape.ranks);
    let messages = ranks * (ranks - 1);
    Cost { rounds: ranks - 1, messages, blocks: messages }
}

pub(super) fn allreduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks, in_place) = (b.rank(), b.shape().ranks, b.shape().in_place);
    let (next, previous) = (ahead(rank, 1, ranks), ahead(rank, ranks - 1, ranks));
    if ranks == 1 {
        return b.add(Step::Copy { what: b.input(), into: b.output() }).map(drop);
    }
    // In place a received block cannot land on our own contribution to it.
    let landing = if in_place { b.scratch_like(b.input())?.buffer } else { Buffer::Output };
    let first = Blocks::one(Buffer::Input, ahead(rank, ranks - 1, ranks));
    b.add(Step::Send { to: next, what: first })?;
    for t in 0..ranks - 1 {
        let block = ahead(rank, 2 * ranks - 2 - t, ranks);
        let (own, received) = (Blocks::one(Buffer::Input, block), Blocks::one(landing, block));
        let sum = Blocks::one(Buffer::Output, block);
        b.add(Step::Recv { from: previous, into: received })?;
        let (left, right) = if in_place { (received, own) } else { (own, received) };
        b.add(Step::Reduce { left, right, into: sum })?;
        if t + 2 < ranks {
            b.add(Step::Send { to: next, what: sum })?;
        }
    }
    pass_around(b, rank)
}

pub(super) fn allreduce_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let half = allgather_cost(shape, parameters);
    Cost { rounds: 2 * half.rounds, messages: 2 * half.messages, blocks: 2 * half.blocks }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sparbit allgather (Loch and Koslovski, "Sparbit: a new logarithmic-cost and data locality-aware
//! MPI Allgather algorithm", 2021): the distance halves from round to round, so the farthest rank
//! gets one block and the nearest half of them. Where ranks lie in blocks on hosts, few bytes go
//! far. No rotation: each block goes straight to its place, as a message of its own.
//!
//! In the round of distance `d` rank `r` passes on those blocks `r - 2 t d` that it has, and that
//! `r + d` lacks.
//!
//! Five ranks: distance 4: 0 gets block 1 from rank 1, which is 4 behind, and everybody alike;
//! distance 2: the block 2 behind; that 4 behind is there already; distance 1: blocks 1 and 3
//! behind.
//!
//! p (p - 1) messages of one block. The block at distance `o` has travelled as often as `o` has
//! bits, so the longest chain is floor(log2 p).
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters, log2_ceil};
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step};
use crate::shape::Shape;

pub(super) fn allgather(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let own = b.input();
    b.add(Step::Copy { what: own, into: Blocks::one(Buffer::Output, rank) })?;
    let block = |behind: u32| Blocks::one(Buffer::Output, ahead(rank, ranks - behind, ranks));
    for k in (0..log2_ceil(ranks)).rev() {
        let distance = 1 << k;
        let (next, previous) = (ahead(rank, distance, ranks), ahead(rank, ranks - distance, ranks));
        // Odd multiples of the distance are new; even ones came at greater distances.
        let mut there = 0;
        while there + distance < ranks {
            b.add(Step::Recv { from: previous, into: block(there + distance) })?;
            b.add(Step::Send { to: next, what: block(there) })?;
            there += 2 * distance;
        }
    }
    Ok(())
}

pub(super) fn allgather_cost(shape: &Shape, _: Parameters) -> Cost {
    let ranks = u64::from(shape.ranks);
    let messages = ranks * (ranks - 1);
    Cost { rounds: u64::from(shape.ranks.ilog2()), messages, blocks: messages }
}

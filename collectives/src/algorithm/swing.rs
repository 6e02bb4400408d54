// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Swing allreduce (De Sensi and others, "Swing: Short-cutting Rings for Higher Bandwidth
//! Allreduce", 2024), the bandwidth variant, for a power of two of ranks: a reduce-scatter and an
//! allgather whose partners are nearer on a ring than those of a halving at XOR distances.
//!
//! In round `s` rank `r` exchanges with `r + rho(s)` if it is even, else with `r - rho(s)`, where
//! rho is 1, -1, 3, -5, 11, ...: (1 - (-2)^(s+1)) / 3. Half the vector goes 1 far, a quarter 1
//! the other way, an eighth 3, and so on; the allgather goes back.
//!
//! Which half a rank keeps: write `r` if it is odd, `-r` if it is even, in base -2, and compare
//! each digit with the next one. A round changes the comparison at `s`, and of those before it
//! none; so partners agree about their window and take different halves of it. Every block is
//! combined by one rank, so all ranks get the same bits; for operations that commute.
//!
//! Eight ranks, rank 0: sends blocks 4..8 to 1 and keeps 0..4; sends 2..4 to 7; sends 1 to 3 and
//! keeps 0; then it gets 1 from 3, 2..4 from 7, 4..8 from 1.
//!
//! Each half: log2 p rounds of p messages, p (p - 1) blocks.
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step};
use crate::shape::Shape;

/// The partner in round `s`.
fn partner(rank: u32, s: u32, ranks: u32) -> u32 {
    let distance = (1 - (-2i64).pow(s + 1)) / 3;
    let distance = distance.rem_euclid(i64::from(ranks)) as u32;
    let is_even = rank.is_multiple_of(2);
    ahead(rank, if is_even { distance } else { ranks - distance }, ranks)
}

/// Bit `s`: whether the rank keeps the upper half of its window in round `s`.
fn uppers(rank: u32, ranks: u32) -> u32 {
    const ODD_DIGITS: u32 = 0xAAAA_AAAA;
    let value = if rank.is_multiple_of(2) { rank.wrapping_neg() } else { rank };
    let digits = (value.wrapping_add(ODD_DIGITS) ^ ODD_DIGITS) & (ranks - 1);
    digits ^ digits >> 1
}

pub(super) fn allreduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let levels = ranks.ilog2();
    let uppers = uppers(rank, ranks);
    let (mut held, mut low, mut windows) = (b.input(), 0, Vec::with_capacity(levels as usize));
    if levels == 0 {
        return b.add(Step::Copy { what: held, into: b.output() }).map(drop);
    }
    for s in 0..levels {
        let half = ranks >> (s + 1);
        let part = |first: u32| Blocks { first, count: half, ..held };
        let (lower, upper) = (part(held.first), part(held.first + half));
        let is_upper = uppers >> s & 1 == 1;
        let (kept, sent) = if is_upper { (upper, lower) } else { (lower, upper) };
        let to = partner(rank, s, ranks);
        let landing = b.scratch_like(kept)?;
        b.add(Step::Recv { from: to, into: landing })?;
        b.add(Step::Send { to, what: sent })?;
        windows.push((low, half, is_upper));
        low += if is_upper { half } else { 0 };
        if half == 1 {
            // In place the output can be what is kept, which is then the right operand.
            let into = Blocks::one(Buffer::Output, low);
            b.add(Step::Reduce { left: landing, right: kept, into })?;
        } else {
            b.add(Step::Reduce { left: kept, right: landing, into: landing })?;
        }
        held = landing;
    }
    for (s, &(low, half, is_upper)) in windows.iter().enumerate().rev() {
        let (lower, upper) = (low..low + half, low + half..low + 2 * half);
        let (ours, theirs) = if is_upper { (upper, lower) } else { (lower, upper) };
        let to = partner(rank, s as u32, ranks);
        b.add(Step::Recv { from: to, into: Blocks::new(Buffer::Output, theirs) })?;
        b.add(Step::Send { to, what: Blocks::new(Buffer::Output, ours) })?;
    }
    Ok(())
}

pub(super) fn allreduce_cost(shape: &Shape, _: Parameters) -> Cost {
    let (ranks, levels) = (u64::from(shape.ranks), u64::from(shape.ranks.ilog2()));
    Cost { rounds: 2 * levels, messages: 2 * ranks * levels, blocks: 2 * ranks * (ranks - 1) }
}

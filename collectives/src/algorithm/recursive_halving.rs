// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recursive halving reduce-scatter (Thakur, Rabenseifner and Gropp, "Optimization of collective
//! communication operations in MPICH", 2005), for operations that commute.
//!
//! With `pof` the largest power of two, the first `2 (p - pof)` ranks pair up: the even one gives
//! its vector to the odd one and waits. Those that remain are numbered; a number stands for one
//! block, or for the two of its pair. In each round partners at half the distance of the round
//! before send each other the half of their window that the other one keeps.
//!
//! Five ranks: 0 gives its vector to 1; numbers 0 1 2 3 are ranks 1 2 3 4 with blocks {0 1} 2 3 4.
//! Rank 1 sends blocks 3 and 4 to 3 and keeps {0 1} and 2; then it sends block 2 to rank 2; then it
//! gives block 0 to rank 0.
//!
//! Rounds log2 pof, one more if p is not a power of two, and a second one if so many ranks pair up
//! that a chain can begin and end with a pair. Each round halves what the pof ranks send.
#![forbid(unsafe_code)]

use super::{Cost, Parameters};
use crate::schedule::{Blocks, Builder, Refused, Step};
use crate::shape::Shape;

pub(super) fn reduce_scatter(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let levels = ranks.ilog2();
    let surplus = ranks - (1 << levels);
    let output = b.output();
    let is_paired = rank < 2 * surplus;
    if is_paired && rank.is_multiple_of(2) {
        b.add(Step::Send { to: rank + 1, what: b.input() })?;
        return b.add(Step::Recv { from: rank + 1, into: output }).map(drop);
    }
    let number = if is_paired { rank / 2 } else { rank - surplus };
    let rank_of = |number: u32| {
        if number < surplus { 2 * number + 1 } else { number + surplus }
    };
    let first_block = |number: u32| number + number.min(surplus);
    // What we hold: a window of numbers, its blocks, and where these lie.
    let (mut low, mut held) = (0, b.input());
    if is_paired {
        let landing = b.scratch_like(held)?;
        b.add(Step::Recv { from: rank - 1, into: landing })?;
        b.add(Step::Reduce { left: held, right: landing, into: landing })?;
        held = landing;
    }
    for level in (0..levels).rev() {
        let half = 1 << level;
        let partner = rank_of(number ^ half);
        let start = first_block(low);
        let part = |from: u32, to: u32| Blocks {
            buffer: held.buffer,
            first: held.first + first_block(from) - start,
            count: first_block(to) - first_block(from),
        };
        let (lower, upper) = (part(low, low + half), part(low + half, low + 2 * half));
        let is_upper = number & half != 0;
        let (kept, sent) = if is_upper { (upper, lower) } else { (lower, upper) };
        let landing = b.scratch_like(kept)?;
        b.add(Step::Recv { from: partner, into: landing })?;
        b.add(Step::Send { to: partner, what: sent })?;
        b.add(Step::Reduce { left: kept, right: landing, into: landing })?;
        low += if is_upper { half } else { 0 };
        held = landing;
    }
    let own = Blocks { first: held.first + held.count - 1, count: 1, ..held };
    b.add(Step::Copy { what: own, into: output })?;
    if is_paired {
        b.add(Step::Send { to: rank - 1, what: Blocks { count: 1, ..held } })?;
    }
    Ok(())
}

pub(super) fn cost(shape: &Shape, _: Parameters) -> Cost {
    let (ranks, levels) = (u64::from(shape.ranks), u64::from(shape.ranks.ilog2()));
    let numbers = 1 << levels;
    let surplus = ranks - numbers;
    Cost {
        rounds: levels + u64::from(surplus > 0) + u64::from(surplus > numbers / 2),
        messages: numbers * levels + 2 * surplus,
        blocks: ranks * (numbers - 1) + surplus * (ranks + 1),
    }
}

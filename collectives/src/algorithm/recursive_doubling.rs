// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recursive doubling, any number of ranks, always in rank order: partners hold neighbouring
//! intervals of ranks, and the lower interval's vector is the left operand on both sides, so all
//! ranks compute the same expression and get the same bits.
//!
//! Allreduce at five ranks (pof = 4, one too many): 0 gives its vector to 1 and drops out; then
//! {01 2 3 4} have the numbers 0..4: 01 with 2 and 3 with 4, then 012 with 34; 1 gives the result
//! back to 0. Rounds floor(log2 p), one more if p is not a power of two, and a second one if so
//! many ranks fold that a chain can begin and end with a folded pair.
//!
//! Scan: in round m partners r and r ^ m exchange what their interval holds; who is higher also
//! prepends it to its own result. Partners beyond the last rank are left out. Rounds ceil(log2 p).
#![forbid(unsafe_code)]

use super::fold::Fold;
use super::{Cost, Parameters, log2_ceil};
use crate::schedule::{Blocks, Builder, Refused, Step};
use crate::shape::Shape;

pub(super) fn allreduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let levels = ranks.ilog2();
    let surplus = ranks - (1 << levels);
    let output = b.output();
    if rank < 2 * surplus && rank.is_multiple_of(2) {
        b.add(Step::Send { to: rank + 1, what: b.input() })?;
        return b.add(Step::Recv { from: rank + 1, into: output }).map(drop);
    }
    let number = if rank < 2 * surplus { rank / 2 } else { rank - surplus };
    let rank_of = |number: u32| {
        if number < surplus { 2 * number + 1 } else { number + surplus }
    };
    // The partner of a level is higher where our bit is 0; then we append.
    let moves_from = |level: u32| (level..levels).filter(|k| number >> k & 1 == 0).count() as u32;
    let mut fold = Fold::new(b, Some(output));
    if rank < 2 * surplus {
        let received = fold.landing_left(b)?;
        b.add(Step::Recv { from: rank - 1, into: received })?;
        fold.prepend(b, received, moves_from(0))?;
    }
    for level in 0..levels {
        let partner = number ^ (1 << level);
        let moves = moves_from(level + 1);
        let is_higher = partner > number;
        let received = if is_higher { fold.landing(b, moves)? } else { fold.landing_left(b)? };
        b.add(Step::Recv { from: rank_of(partner), into: received })?;
        b.add(Step::Send { to: rank_of(partner), what: fold.result() })?;
        if is_higher {
            fold.append(b, received)?;
        } else {
            fold.prepend(b, received, moves)?;
        }
    }
    fold.finish(b)?;
    if rank < 2 * surplus {
        b.add(Step::Send { to: rank - 1, what: output })?;
    }
    Ok(())
}

pub(super) fn allreduce_cost(shape: &Shape, _: Parameters) -> Cost {
    let levels = u64::from(shape.ranks.ilog2());
    let surplus = u64::from(shape.ranks) - (1 << levels);
    let messages = (1 << levels) * levels + 2 * surplus;
    Cost {
        rounds: levels + u64::from(surplus > 0) + u64::from(surplus > (1 << levels) / 2),
        messages,
        blocks: messages * u64::from(shape.blocks),
    }
}

pub(super) fn scan(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let output = b.output();
    let mut interval = if b.shape().in_place { Fold::of_copy(b)? } else { Fold::new(b, None) };
    b.add(Step::Copy { what: b.input(), into: output })?;
    sweep(b, &mut interval, |b, received, _| {
        b.add(Step::Reduce { left: received, right: output, into: output }).map(drop)
    })
}

pub(super) fn exscan(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let output = b.output();
    let mut interval = if b.shape().in_place { Fold::of_copy(b)? } else { Fold::new(b, None) };
    sweep(b, &mut interval, |b, received, is_first| {
        if is_first {
            b.add(Step::Copy { what: received, into: output }).map(drop)
        } else {
            b.add(Step::Reduce { left: received, right: output, into: output }).map(drop)
        }
    })
}

/// The exchanges of a scan; `take` gets each vector that comes from lower ranks.
fn sweep(
    b: &mut Builder,
    interval: &mut Fold,
    mut take: impl FnMut(&mut Builder, Blocks, bool) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let partners: Vec<u32> =
        (0..log2_ceil(ranks)).map(|k| rank ^ (1 << k)).filter(|partner| *partner < ranks).collect();
    let mut is_first = true;
    for (index, &partner) in partners.iter().enumerate() {
        let received = interval.landing_left(b)?;
        b.add(Step::Recv { from: partner, into: received })?;
        b.add(Step::Send { to: partner, what: interval.result() })?;
        if partner < rank {
            take(b, received, is_first)?;
            is_first = false;
        }
        if index + 1 == partners.len() {
            continue; // Nobody asks for our interval again.
        }
        if partner < rank {
            interval.prepend(b, received, 0)?;
        } else {
            interval.append(b, received)?;
        }
    }
    Ok(())
}

/// Messages of round m: the ranks whose partner exists.
pub(super) fn scan_cost(shape: &Shape, _: Parameters) -> Cost {
    let ranks = u64::from(shape.ranks);
    let rounds = log2_ceil(shape.ranks);
    let messages: u64 = (0..rounds)
        .map(|k| {
            let (pair, rest) = (2u64 << k, ranks % (2u64 << k));
            ranks / pair * pair + 2 * rest.saturating_sub(pair / 2)
        })
        .sum();
    Cost { rounds: u64::from(rounds), messages, blocks: messages * u64::from(shape.blocks) }
}

pub(super) fn exscan_cost(shape: &Shape, parameters: Parameters) -> Cost {
    scan_cost(shape, parameters)
}

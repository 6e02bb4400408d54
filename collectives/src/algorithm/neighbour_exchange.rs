// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Neighbour exchange allgather (Chen and others, "Performance evaluation of allgather algorithms
//! on terascale Linux cluster with fast Ethernet", 2005), for an even number of ranks: half the
//! rounds of a ring, and all messages go to one of two neighbours.
//!
//! First pairs `{2 i, 2 i + 1}` swap their blocks. Then everybody turns to the other neighbour and
//! back, and passes on the two blocks that came in the round before (first the pair's own).
//!
//! Six ranks, rank 2: swaps with 3; gives blocks 2 and 3 to 1 and gets 0 and 1; gives those to 3
//! and gets 4 and 5.
//!
//! Rounds p / 2, each of p messages; of one block in the first, of two in the others.
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step};
use crate::shape::Shape;

pub(super) fn allgather(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let own = b.input();
    b.add(Step::Copy { what: own, into: Blocks::one(Buffer::Output, rank) })?;
    let is_even = rank.is_multiple_of(2);
    // The neighbour of the pair, and the other one.
    let (mate, other) = match is_even {
        true => (rank + 1, ahead(rank, ranks - 1, ranks)),
        false => (rank - 1, ahead(rank, 1, ranks)),
    };
    b.add(Step::Recv { from: mate, into: Blocks::one(Buffer::Output, mate) })?;
    b.add(Step::Send { to: mate, what: Blocks::one(Buffer::Output, rank) })?;
    let pair = rank - rank % 2;
    let two = |first: u32| Blocks::new(Buffer::Output, first..first + 2);
    let mut passed = pair;
    for round in 1..ranks / 2 {
        // With the other neighbour in odd rounds, with the mate in even ones; the pairs that come
        // from each lie farther and farther away in its direction.
        let neighbor = if round % 2 == 1 { other } else { mate };
        let distance = round.div_ceil(2) * 2;
        let is_ahead = (round % 2 == 0) == is_even;
        let distance = if is_ahead { distance } else { ranks - distance };
        let received = ahead(pair, distance, ranks);
        b.add(Step::Recv { from: neighbor, into: two(received) })?;
        b.add(Step::Send { to: neighbor, what: two(passed) })?;
        passed = received;
    }
    Ok(())
}

pub(super) fn allgather_cost(shape: &Shape, _: Parameters) -> Cost {
    let ranks = u64::from(shape.ranks);
    Cost { rounds: ranks / 2, messages: ranks * (ranks / 2), blocks: ranks * (ranks - 1) }
}

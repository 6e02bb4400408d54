// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Dissemination barrier: in round `i` with stride `k^i` each rank tells the `k - 1` ranks that
//! many strides ahead, and hears from those behind.
//!
//! Five ranks, radix 2 (strides 1, 2, 4), rank 0: tells 1, hears 4; tells 2, hears 3; tells 4,
//! hears 1. After a round a rank has heard of the `k^(i+1)` ranks up to itself. Messages carry no
//! blocks, so the order of the rounds is said with explicit edges.
//!
//! Rounds ceil(log_k p); messages p (k - 1) per round.
#![forbid(unsafe_code)]

use super::{Cost, Parameters};
use crate::schedule::{Blocks, Builder, Refused, Step, StepId};
use crate::shape::Shape;

pub(super) fn barrier(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (u64::from(b.rank()), u64::from(b.shape().ranks));
    let mut heard: Vec<StepId> = Vec::new();
    for (stride, radix) in strides(ranks, parameters) {
        let mut next = Vec::new();
        for i in 1..radix {
            let ahead = (i * stride) % ranks;
            if ahead == 0 {
                continue;
            }
            let to = ((rank + ahead) % ranks) as u32;
            let from = ((rank + ranks - ahead) % ranks) as u32;
            b.add_after(Step::Send { to, what: Blocks::NONE }, &heard)?;
            next.push(b.add(Step::Recv { from, into: Blocks::NONE })?);
        }
        heard.extend(next);
    }
    Ok(())
}

/// The strides of the rounds, each with the radix.
fn strides(ranks: u64, parameters: Parameters) -> impl Iterator<Item = (u64, u64)> {
    let radix = u64::from(parameters.radix.max(2));
    std::iter::successors(Some(1u64), move |stride| Some(stride * radix))
        .take_while(move |stride| *stride < ranks)
        .map(move |stride| (stride, radix))
}

pub(super) fn barrier_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let ranks = u64::from(shape.ranks);
    let messages = strides(ranks, parameters)
        .map(|(stride, radix)| (1..radix).filter(|i| (i * stride) % ranks != 0).count() as u64)
        .sum::<u64>();
    Cost {
        rounds: strides(ranks, parameters).count() as u64,
        messages: ranks * messages,
        blocks: 0,
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recursive multiplying (Ruefenacht, Bull and Booth, "Generalisation of recursive doubling for
//! AllReduce", 2017), in mixed radix: ranks are written in the digits of a factorization of their
//! number, and in each round all that differ in one digit exchange their vectors.
//!
//! The factors are the largest divisors up to the radix; a prime that is larger is a factor, too,
//! so any number of ranks works, and 96 or 112 need no folding. The lowest digit comes first, so
//! who exchanges holds neighbouring intervals of ranks, and combines them in order: for operations
//! that do not commute, too, and the same bits everywhere.
//!
//! Six ranks, radix 3: {0 1 2} and {3 4 5} exchange, then {0 3}, {1 4}, {2 5}.
//!
//! As many rounds as factors f, each of p (f - 1) messages.
#![forbid(unsafe_code)]

use super::{Cost, Parameters};
use crate::schedule::{Blocks, Builder, Refused, Step};
use crate::shape::Shape;

/// The factors of a number of ranks, each the largest divisor of the rest up to the radix, or its
/// least prime factor.
fn factors(ranks: u32, parameters: Parameters) -> impl Iterator<Item = u32> {
    let most = parameters.radix.max(2);
    let mut rest = ranks;
    std::iter::from_fn(move || {
        if rest == 1 {
            return None;
        }
        let divides = |factor: &u32| rest.is_multiple_of(*factor);
        let factor = (2..=most.min(rest)).rev().find(divides);
        let factor = factor.or_else(|| {
            let root = rest.isqrt();
            (most..=root).find(|factor| rest.is_multiple_of(*factor))
        });
        let factor = factor.unwrap_or(rest);
        rest /= factor;
        Some(factor)
    })
}

pub(super) fn allreduce(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let (input, output) = (b.input(), b.output());
    let (mut result, mut stride) = (input, 1);
    // Vectors that hold nothing any more.
    let mut free: Vec<Blocks> = Vec::new();
    for factor in factors(ranks, parameters) {
        let digit = rank / stride % factor;
        let others = (0..factor).filter(|other| *other != digit);
        let mut landings = Vec::with_capacity(factor as usize);
        for other in others {
            let from = rank - digit * stride + other * stride;
            let into = take(b, &mut free)?;
            b.add(Step::Recv { from, into })?;
            b.add(Step::Send { to: from, what: result })?;
            landings.push(into);
        }
        // The interval of each digit, in order; ours among them.
        landings.insert(digit as usize, result);
        let mut sum = landings[0];
        for (at, &right) in landings.iter().enumerate().skip(1) {
            // What is being sent is not written.
            let into = if at == digit as usize { take(b, &mut free)? } else { right };
            b.add(Step::Reduce { left: sum, right, into })?;
            for used in [sum, right] {
                if used != into && used != input {
                    free.push(used);
                }
            }
            sum = into;
        }
        result = sum;
        stride *= factor;
    }
    if result == output {
        Ok(())
    } else {
        b.add(Step::Copy { what: result, into: output }).map(drop)
    }
}

fn take(b: &mut Builder, free: &mut Vec<Blocks>) -> Result<Blocks, Refused> {
    match free.is_empty() {
        true => b.scratch_like(b.input()),
        // The one that has been free for longest: nobody reads it any more.
        false => Ok(free.remove(0)),
    }
}

pub(super) fn allreduce_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let (mut rounds, mut sent) = (0, 0);
    for factor in factors(shape.ranks, parameters) {
        rounds += 1;
        sent += u64::from(factor) - 1;
    }
    let messages = u64::from(shape.ranks) * sent;
    Cost { rounds, messages, blocks: messages * u64::from(shape.blocks) }
}

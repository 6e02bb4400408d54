// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A bcast of long vectors: the root scatters the blocks down a binomial tree, then all pass them
//! around a ring (van de Geijn; "Interprocessor collective communication library", 1994).
//!
//! Ranks are counted from the root; number `v` gets the blocks of its subtree, `v .. v + 2^low(v)`.
//! Then, in turn `t`, it passes block `v - t` on to `v + 1`, unless the scatter brought it there.
//! Nothing goes to the root, which has all, and therefore passes on every block from the start.
//!
//! Five ranks: 4 gets block 4, 2 gets blocks 2 and 3, 1 gets block 1, and 3 gets block 3 from 2.
//! The root passes 0, 4, 3, 2 on to 1; 1 passes 1, 0, 4 on to 2, and so on.
//!
//! The longest chain is that of block 0: p - 1 messages.
#![forbid(unsafe_code)]

use super::linear::ahead;
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step};
use crate::shape::Shape;

/// How many ranks the subtree of `v` has.
fn subtree(v: u32, ranks: u32) -> u32 {
    if v == 0 { ranks } else { (1 << v.trailing_zeros()).min(ranks - v) }
}

pub(super) fn bcast(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks, root) = (b.rank(), b.shape().ranks, b.shape().root);
    let v = ahead(rank, ranks - root, ranks);
    let rank_of = |v: u32| ahead(v, root, ranks);
    let at = if v == 0 { Buffer::Input } else { Buffer::Output };
    if v > 0 {
        let into = Blocks::new(at, v..v + subtree(v, ranks));
        b.add(Step::Recv { from: rank_of(v & (v - 1)), into })?;
    }
    let bits = if v == 0 { 32 } else { v.trailing_zeros() };
    for k in (0..bits).rev() {
        let child = u64::from(v) + (1u64 << k);
        if child < u64::from(ranks) {
            let child = child as u32;
            let what = Blocks::new(at, child..child + subtree(child, ranks));
            b.add(Step::Send { to: rank_of(child), what })?;
        }
    }
    for t in 0..ranks - 1 {
        let received = ahead(v, 2 * ranks - 1 - t, ranks);
        if v > 0 && !has(v, received, ranks) {
            let into = Blocks::one(at, received);
            b.add(Step::Recv { from: rank_of(v - 1), into })?;
        }
        let passed = ahead(v, ranks - t, ranks);
        if v + 1 < ranks && !has(v + 1, passed, ranks) {
            b.add(Step::Send { to: rank_of(v + 1), what: Blocks::one(at, passed) })?;
        }
    }
    Ok(())
}

/// Whether the scatter brings a block to number `v`.
fn has(v: u32, block: u32, ranks: u32) -> bool {
    (v..v + subtree(v, ranks)).contains(&block)
}

pub(super) fn bcast_cost(shape: &Shape, _: Parameters) -> Cost {
    let ranks = shape.ranks;
    let subtrees: u64 = (1..ranks).map(|v| u64::from(subtree(v, ranks))).sum();
    let others = u64::from(ranks - 1);
    let passed = others * u64::from(ranks) - subtrees;
    Cost { rounds: others, messages: others + passed, blocks: subtrees + passed }
}

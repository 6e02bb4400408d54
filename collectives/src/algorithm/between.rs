// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Collectives between two groups, from pieces within a group and messages across.
//!
//! A group's first rank is its leader. Bcast: root to the other leader, then down its tree.
//! Reduce: up the tree of the contributing group (rooted at its leader, so in rank order), then
//! across to the root. Allreduce: up both trees, the leaders exchange, down both trees. Gather,
//! scatter, allgather and alltoall: one message for each pair, windowed.
//!
//! In round `t` of an exchange, member `i` of a group meets member `t - i` (modulo the larger
//! group's size) of the other, if there is one: both sides count the same rounds. Groups of 3 and
//! 2, t = 0, 1, 2: {0-0, 2-1}, {0-1, 1-0}, {1-1, 2-0}.
#![forbid(unsafe_code)]

use super::fold::Fold;
use super::linear::Window;
use super::{Cost, Parameters, binomial, dissemination};
use crate::kind::Kind;
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step};
use crate::shape::Shape;

pub(super) fn barrier(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    dissemination::barrier(b, parameters)
}

pub(super) fn barrier_cost(shape: &Shape, parameters: Parameters) -> Cost {
    dissemination::barrier_cost(shape, parameters)
}

pub(super) fn bcast(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, root) = (b.rank(), b.shape().root);
    let others = b.shape().contributors(root);
    if rank == root {
        return b.add(Step::Send { to: others.start, what: b.input() }).map(drop);
    }
    if !others.contains(&rank) {
        return Ok(());
    }
    let output = b.output();
    if rank == others.start {
        b.add(Step::Recv { from: root, into: output })?;
    }
    binomial::spread(b, others.clone(), others.start, output)
}

pub(super) fn bcast_cost(shape: &Shape, _: Parameters) -> Cost {
    with_crossing(shape, shape.contributors(shape.root).len() as u32)
}

pub(super) fn gather(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, root) = (b.rank(), b.shape().root);
    let others = b.shape().contributors(root);
    if rank == root {
        for (index, from) in others.enumerate() {
            b.add(Step::Recv { from, into: Blocks::one(Buffer::Output, index as u32) })?;
        }
    } else if others.contains(&rank) {
        b.add(Step::Send { to: root, what: b.input() })?;
    }
    Ok(())
}

pub(super) fn scatter(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, root) = (b.rank(), b.shape().root);
    let others = b.shape().contributors(root);
    if rank == root {
        for (index, to) in others.enumerate() {
            b.add(Step::Send { to, what: Blocks::one(Buffer::Input, index as u32) })?;
        }
    } else if others.contains(&rank) {
        b.add(Step::Recv { from: root, into: b.output() })?;
    }
    Ok(())
}

pub(super) fn rooted_cost(shape: &Shape, _: Parameters) -> Cost {
    let others = shape.contributors(shape.root).len() as u64;
    Cost { rounds: 1, messages: others, blocks: others }
}

pub(super) fn allgather(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    exchange(b, parameters)
}

pub(super) fn alltoall(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    exchange(b, parameters)
}

fn exchange(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let rank = b.rank();
    let (mine, others) = (b.shape().group_of(rank), b.shape().contributors(rank));
    let size = mine.len().max(others.len()) as u32;
    let place = rank - mine.start;
    let has_one_block = b.shape().kind == Kind::Allgather;
    let mut window = Window::new(parameters);
    for t in 0..size {
        let index = (t + size - place) % size;
        let peer = others.start + index;
        if peer >= others.end {
            continue;
        }
        let what = Blocks::one(Buffer::Input, if has_one_block { 0 } else { index });
        let into = Blocks::one(Buffer::Output, index);
        window.exchange(b, Step::Send { to: peer, what }, Step::Recv { from: peer, into })?;
    }
    Ok(())
}

/// Messages twice the pairs; rounds ceil(larger group / window).
pub(super) fn exchange_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let (one, two) = (shape.group_of(0).len() as u64, shape.contributors(0).len() as u64);
    let rounds = one.max(two).div_ceil(u64::from(parameters.window.max(1)));
    Cost { rounds, messages: 2 * one * two, blocks: 2 * one * two }
}

pub(super) fn reduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, root) = (b.rank(), b.shape().root);
    let others = b.shape().contributors(root);
    if rank == root {
        return b.add(Step::Recv { from: others.start, into: b.output() }).map(drop);
    }
    if !others.contains(&rank) {
        return Ok(());
    }
    let mut fold = Fold::new(b, None);
    binomial::combine(b, others.clone(), others.start, &mut fold)?;
    if rank == others.start {
        b.add(Step::Send { to: root, what: fold.result() })?;
    }
    Ok(())
}

pub(super) fn reduce_cost(shape: &Shape, _: Parameters) -> Cost {
    with_crossing(shape, shape.contributors(shape.root).len() as u32)
}

/// A tree of that size and one message across.
fn with_crossing(shape: &Shape, size: u32) -> Cost {
    let tree = binomial::tree_cost(size, shape.blocks);
    Cost {
        rounds: tree.rounds + 1,
        messages: tree.messages + 1,
        blocks: tree.blocks + u64::from(shape.blocks),
    }
}

pub(super) fn allreduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let rank = b.rank();
    let (mine, others) = (b.shape().group_of(rank), b.shape().contributors(rank));
    let output = b.output();
    let mut fold = Fold::new(b, None);
    binomial::combine(b, mine.clone(), mine.start, &mut fold)?;
    if rank == mine.start {
        b.add(Step::Recv { from: others.start, into: output })?;
        b.add(Step::Send { to: others.start, what: fold.result() })?;
    }
    binomial::spread(b, mine.clone(), mine.start, output)
}

pub(super) fn allreduce_cost(shape: &Shape, _: Parameters) -> Cost {
    let size = |range: std::ops::Range<u32>| range.len() as u32;
    let one = binomial::tree_cost(size(shape.group_of(0)), shape.blocks);
    let two = binomial::tree_cost(size(shape.contributors(0)), shape.blocks);
    Cost {
        rounds: one.rounds + two.rounds + 1,
        messages: 2 * (one.messages + two.messages + 1),
        blocks: 2 * (one.blocks + two.blocks + u64::from(shape.blocks)),
    }
}

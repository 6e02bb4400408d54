// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One message for each pair: gather, scatter and alltoall that need to know only their own sizes.
//!
//! Gather and scatter: the root exchanges one message with each other rank, all at once. Alltoall:
//! in exchange `t` a rank sends to `r + t` and receives from `r - t`, and begins exchange `t` when
//! exchange `t - window` is over, so that not everybody starts at rank 0 and not everything is in
//! flight. Five ranks, window 2, rank 0: {to 1, from 4} {to 2, from 3}, then {to 3, from 2}, ...
#![forbid(unsafe_code)]

use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step, StepId};
use crate::shape::Shape;

pub(super) fn gather(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, root, ranks) = (b.rank(), b.shape().root, b.shape().ranks);
    let own = b.input();
    if rank != root {
        return b.add(Step::Send { to: root, what: own }).map(drop);
    }
    for from in (0..ranks).filter(|from| *from != root) {
        b.add(Step::Recv { from, into: Blocks::one(Buffer::Output, from) })?;
    }
    b.add(Step::Copy { what: own, into: Blocks::one(Buffer::Output, root) }).map(drop)
}

pub(super) fn scatter(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, root, ranks) = (b.rank(), b.shape().root, b.shape().ranks);
    let own = b.output();
    if rank != root {
        return b.add(Step::Recv { from: root, into: own }).map(drop);
    }
    for to in (0..ranks).filter(|to| *to != root) {
        b.add(Step::Send { to, what: Blocks::one(Buffer::Input, to) })?;
    }
    b.add(Step::Copy { what: Blocks::one(Buffer::Input, root), into: own }).map(drop)
}

/// Rounds 1, messages p - 1, blocks p - 1.
pub(super) fn rooted_cost(shape: &Shape, _: Parameters) -> Cost {
    let others = u64::from(shape.ranks - 1);
    Cost { rounds: others.min(1), messages: others, blocks: others }
}

pub(super) fn alltoall(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    b.add(Step::Copy {
        what: Blocks::one(Buffer::Input, rank),
        into: Blocks::one(Buffer::Output, rank),
    })?;
    let mut window = Window::new(parameters);
    for t in 1..ranks {
        let (to, from) = (ahead(rank, t, ranks), ahead(rank, ranks - t, ranks));
        window.exchange(
            b,
            Step::Send { to, what: Blocks::one(Buffer::Input, to) },
            Step::Recv { from, into: Blocks::one(Buffer::Output, from) },
        )?;
    }
    Ok(())
}

/// Rounds ceil((p - 1) / window), messages p (p - 1).
pub(super) fn alltoall_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let ranks = u64::from(shape.ranks);
    let messages = ranks * (ranks - 1);
    let rounds = (ranks - 1).div_ceil(u64::from(parameters.window.max(1)));
    Cost { rounds, messages, blocks: messages }
}

/// `rank + t`, modulo the ranks.
pub(super) fn ahead(rank: u32, t: u32, ranks: u32) -> u32 {
    ((u64::from(rank) + u64::from(t)) % u64::from(ranks)) as u32
}

/// Keeps a bounded number of exchanges in flight.
pub(super) struct Window {
    size: usize,
    exchanges: Vec<[StepId; 2]>,
}

impl Window {
    pub(super) fn new(parameters: Parameters) -> Window {
        Window { size: parameters.window.max(1) as usize, exchanges: Vec::new() }
    }

    /// Adds an exchange that waits for the one a window earlier; returns the receive.
    pub(super) fn exchange(
        &mut self,
        b: &mut Builder,
        send: Step,
        recv: Step,
    ) -> Result<StepId, Refused> {
        let after = match self.exchanges.len().checked_sub(self.size) {
            Some(earlier) => self.exchanges[earlier].to_vec(),
            None => Vec::new(),
        };
        let recv = b.add_after(recv, &after)?;
        let send = b.add_after(send, &after)?;
        self.exchanges.push([send, recv]);
        Ok(recv)
    }
}

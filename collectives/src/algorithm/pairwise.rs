// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reduce_scatter by direct exchange: every rank sends block `j` to rank `j` and combines what it
//! receives for its own.
//!
//! The windowed form combines in the order of arrival partners (r - 1, r - 2, ..): for operations
//! that commute. The ordered form keeps all contributions until it combines them in rank order; it
//! holds p - 1 blocks, about as much as the input. Either way one rank computes each block.
//!
//! Five ranks, rank 2: to 3 from 1, to 4 from 0, to 0 from 4, to 1 from 3; ordered it then computes
//! ((((0 op 1) op own) op 3) op 4).
//!
//! Messages p (p - 1) of one block.
#![forbid(unsafe_code)]

use super::linear::{self, Window, ahead};
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step};
use crate::shape::Shape;

pub(super) fn reduce_scatter(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let own = Blocks::one(Buffer::Input, rank);
    let sum = b.output();
    if ranks == 1 {
        return b.add(Step::Copy { what: own, into: sum }).map(drop);
    }
    let slots = parameters.window.max(1).min(ranks - 1);
    let extents = vec![crate::schedule::Extent(u64::from(rank)); slots as usize];
    let scratch = b.scratch(extents)?;
    let mut window = Window::new(parameters);
    for t in 1..ranks {
        let (to, from) = (ahead(rank, t, ranks), ahead(rank, ranks - t, ranks));
        let received = Blocks::one(scratch, (t - 1) % slots);
        // The slot is free when its reduction is done; that edge follows from the blocks.
        window.exchange(
            b,
            Step::Send { to, what: Blocks::one(Buffer::Input, to) },
            Step::Recv { from, into: received },
        )?;
        let right = if t == 1 { own } else { sum };
        b.add(Step::Reduce { left: received, right, into: sum })?;
    }
    Ok(())
}

/// Rounds ceil((p - 1) / window).
pub(super) fn windowed_cost(shape: &Shape, parameters: Parameters) -> Cost {
    linear::alltoall_cost(shape, parameters)
}

pub(super) fn reduce_scatter_ordered(
    b: &mut Builder,
    parameters: Parameters,
) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let own = Blocks::one(Buffer::Input, rank);
    let output = b.output();
    if ranks == 1 {
        return b.add(Step::Copy { what: own, into: output }).map(drop);
    }
    let extents = vec![crate::schedule::Extent(u64::from(rank)); ranks as usize];
    let scratch = b.scratch(extents)?;
    let mut window = Window::new(parameters);
    for t in 1..ranks {
        let (to, from) = (ahead(rank, t, ranks), ahead(rank, ranks - t, ranks));
        window.exchange(
            b,
            Step::Send { to, what: Blocks::one(Buffer::Input, to) },
            Step::Recv { from, into: Blocks::one(scratch, from) },
        )?;
    }
    let part = |j| if j == rank { own } else { Blocks::one(scratch, j) };
    let mut result = part(0);
    for j in 1..ranks {
        let right = part(j);
        // Our own contribution is in the input, which is never written: its slot is free for it.
        let free = if j == rank { Blocks::one(scratch, rank) } else { right };
        let into = if j + 1 == ranks { output } else { free };
        b.add(Step::Reduce { left: result, right, into })?;
        result = into;
    }
    Ok(())
}

/// As the windowed one.
pub(super) fn ordered_cost(shape: &Shape, parameters: Parameters) -> Cost {
    linear::alltoall_cost(shape, parameters)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The whole vocabulary of a collective.
#![forbid(unsafe_code)]

use crate::shape::Rank;
use std::ops::Range;

/// A symbolic buffer of one rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Buffer {
    /// What the rank brings; never written.
    Input,
    /// What it takes home.
    Output,
    /// Temporary memory of the schedule.
    Scratch(u16),
}

/// A symbolic size. What the numbers mean is defined by the kind; equal numbers are equal sizes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Extent(pub u64);

/// A range of blocks of a buffer; bytes appear only at bind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Blocks {
    /// Which buffer.
    pub buffer: Buffer,
    /// The first block.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Blocks {
    /// No block at all: what the messages of a barrier carry.
    pub const NONE: Blocks = Blocks { buffer: Buffer::Input, first: 0, count: 0 };

    /// The blocks `range` of a buffer.
    pub fn new(buffer: Buffer, range: Range<u32>) -> Blocks {
        Blocks { buffer, first: range.start, count: range.end - range.start }
    }

    /// One block.
    pub fn one(buffer: Buffer, block: u32) -> Blocks {
        Blocks { buffer, first: block, count: 1 }
    }

    /// The block numbers.
    pub fn range(self) -> Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }
}

/// A shared cell of the node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cell(pub u32);

/// One action of one rank.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Sends blocks to a rank.
    Send { to: Rank, what: Blocks },
    /// Receives blocks from a rank.
    Recv { from: Rank, into: Blocks },
    /// Copies blocks.
    Copy { what: Blocks, into: Blocks },
    /// `into = left op right`. The order is part of the data, since the operation may not commute.
    /// `into` may be `right`, never `left`: that is what a caller-defined operation can do.
    Reduce { left: Blocks, right: Blocks, into: Blocks },
    /// A flag, or a flag with a small payload, in a cell that the node shares.
    Publish { cell: Cell, what: Blocks },
    /// Waits for a published cell.
    Await { cell: Cell, into: Blocks },
    /// Reads blocks of another rank's buffer where both sides mapped memory.
    Get { from: Rank, what: Blocks, into: Blocks },
    /// Writes blocks of another rank's buffer where both sides mapped memory.
    Put { to: Rank, what: Blocks, into: Blocks },
}

impl Step {
    /// The blocks of this rank that the step reads.
    pub fn reads(&self) -> impl Iterator<Item = Blocks> {
        let (one, two) = match *self {
            Step::Send { what, .. }
            | Step::Copy { what, .. }
            | Step::Publish { what, .. }
            | Step::Put { what, .. } => (Some(what), None),
            Step::Reduce { left, right, .. } => (Some(left), Some(right)),
            Step::Recv { .. } | Step::Await { .. } | Step::Get { .. } => (None, None),
        };
        one.into_iter().chain(two)
    }

    /// The blocks of this rank that the step writes.
    pub fn writes(&self) -> Option<Blocks> {
        match *self {
            Step::Recv { into, .. }
            | Step::Copy { into, .. }
            | Step::Reduce { into, .. }
            | Step::Await { into, .. }
            | Step::Get { into, .. } => Some(into),
            Step::Send { .. } | Step::Publish { .. } | Step::Put { .. } => None,
        }
    }

    /// The other rank, where there is one.
    pub fn peer(&self) -> Option<Rank> {
        match *self {
            Step::Send { to, .. } | Step::Put { to, .. } => Some(to),
            Step::Recv { from, .. } | Step::Get { from, .. } => Some(from),
            _ => None,
        }
    }

    /// Whether it is done by this process alone, without the transport.
    pub fn is_local(&self) -> bool {
        matches!(self, Step::Copy { .. } | Step::Reduce { .. })
    }
}

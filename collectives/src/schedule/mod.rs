// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one rank does in one collective: steps over blocks, and for each the earlier steps that it
//! waits for.
//!
//! Invariants, all checked by the builder, which is the only way to make a schedule:
//! 1. An edge goes to an earlier step.
//! 2. Blocks lie within their buffers; the input is never written under its own name.
//! 3. The operands of a copy or reduction have equal extents, block by block.
//! 4. Scratch has extents that this rank knows.
//! 5. Two messages from one rank to another are posted in list order, and match in that order.
//!
//! Not here: bytes, ranks of communicators, anything that runs.
#![forbid(unsafe_code)]

mod builder;
mod front;
mod step;
mod text;

pub use builder::{Builder, Outline, Refused, StepId};
pub use front::Front;
pub use step::{Blocks, Buffer, Cell, Extent, Step};
pub use text::{TEXT_VERSION, TextError, parse, parse_all};

use crate::kind;
use crate::shape::{Rank, Shape};
use std::collections::HashMap;

/// The steps of one rank.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    shape: Shape,
    rank: Rank,
    /// The extents of each scratch buffer's blocks.
    scratch: Vec<Vec<Extent>>,
    steps: Vec<Step>,
    /// `after[after_start[i] .. after_start[i + 1]]` are the steps that step `i` waits for.
    after: Vec<StepId>,
    after_start: Vec<u32>,
    links: Links,
}

/// The edges the other way round, as an executor needs them; made once, when the schedule is
/// finished.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Links {
    /// For each step: how many steps (and, for a message, an earlier one between the same two
    /// ranks in the same direction) stand before it.
    pub waits: Vec<u32>,
    /// `dependents[dependents_start[i] .. dependents_start[i + 1]]` wait for the end of step `i`.
    pub dependents: Vec<u32>,
    /// See `dependents`.
    pub dependents_start: Vec<u32>,
    /// For each message: the next one between the same two ranks in the same direction, which
    /// waits for this one to be posted.
    pub next_message: Vec<Option<u32>>,
}

impl Links {
    fn new(schedule: &Schedule) -> Links {
        let count = schedule.steps.len();
        let mut waits: Vec<u32> = schedule.after_start.windows(2).map(|w| w[1] - w[0]).collect();
        let mut start = vec![0u32; count + 1];
        schedule.after.iter().for_each(|earlier| start[earlier.0 as usize + 1] += 1);
        (0..count).for_each(|step| start[step + 1] += start[step]);
        let mut place = start.clone();
        let mut dependents = vec![0u32; schedule.after.len()];
        let mut next_message = vec![None; count];
        let mut latest: HashMap<(bool, Rank), usize> = HashMap::new();
        for (step, action) in schedule.steps.iter().enumerate() {
            for earlier in schedule.after(step) {
                let place = &mut place[earlier.0 as usize];
                dependents[*place as usize] = step as u32;
                *place += 1;
            }
            let direction = match *action {
                Step::Send { to, .. } => (true, to),
                Step::Recv { from, .. } => (false, from),
                _ => continue,
            };
            if let Some(earlier) = latest.insert(direction, step) {
                next_message[earlier] = Some(step as u32);
                waits[step] += 1;
            }
        }
        Links { waits, dependents, dependents_start: start, next_message }
    }
}

impl Schedule {
    /// The shape that it was made for.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whose steps these are.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// The steps in list order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps that a step waits for.
    pub fn after(&self, step: usize) -> &[StepId] {
        &self.after[self.after_start[step] as usize..self.after_start[step + 1] as usize]
    }

    /// The edges the other way round.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The extents of each scratch buffer's blocks.
    pub fn scratch(&self) -> &[Vec<Extent>] {
        &self.scratch
    }

    /// The extent of a block of any buffer of this rank; `block` is within the buffer.
    pub fn extent(&self, buffer: Buffer, block: u32) -> Extent {
        match buffer {
            Buffer::Scratch(index) => self.scratch[index as usize][block as usize],
            _ => kind::extent(&self.shape, self.rank, buffer, block),
        }
    }

    /// The extents of a range of blocks.
    pub fn extents(&self, blocks: Blocks) -> impl Iterator<Item = Extent> + '_ {
        blocks.range().map(move |block| self.extent(blocks.buffer, block))
    }
}

/// Numbers for the blocks of one rank, so that tables can be indexed by them. Blocks that share
/// memory (in place) share the number.
#[derive(Clone, Debug)]
pub struct Places {
    shape: Shape,
    rank: Rank,
    output_start: u32,
    scratch_start: Vec<u32>,
    end: u32,
}

impl Places {
    /// The numbering for a rank, without scratch.
    pub fn new(shape: &Shape, rank: Rank) -> Places {
        let output_start = kind::blocks(shape, rank, Buffer::Input);
        let end = output_start + kind::blocks(shape, rank, Buffer::Output);
        Places { shape: shape.clone(), rank, output_start, scratch_start: Vec::new(), end }
    }

    /// The numbering for a schedule.
    pub fn of(schedule: &Schedule) -> Places {
        let mut places = Places::new(&schedule.shape, schedule.rank);
        schedule.scratch.iter().for_each(|extents| places.add_scratch(extents.len() as u32));
        places
    }

    /// Adds the next scratch buffer.
    pub fn add_scratch(&mut self, blocks: u32) {
        self.scratch_start.push(self.end);
        self.end += blocks;
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.end as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// The number of a block, which is within its buffer.
    pub fn number(&self, buffer: Buffer, block: u32) -> u32 {
        let (buffer, block) = self.shape.place(self.rank, buffer, block);
        match buffer {
            Buffer::Input => block,
            Buffer::Output => self.output_start + block,
            Buffer::Scratch(index) => self.scratch_start[index as usize] + block,
        }
    }

    /// The numbers of a range of blocks.
    pub fn numbers(&self, blocks: Blocks) -> impl Iterator<Item = u32> + '_ {
        blocks.range().map(move |block| self.number(blocks.buffer, block))
    }
}

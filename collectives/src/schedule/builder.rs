// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The only way to make a schedule.
//!
//! An algorithm adds steps in an order that would be right if they ran one after another. The
//! builder derives the edges: a step waits for the last writer of what it reads, and for the last
//! readers and writer of what it writes. What data does not order (windows, barriers) is said with
//! explicit edges. Blocks that share memory in place are one block here.
//!
//! Refusals are errors, not panics: schedules may come from text.
#![forbid(unsafe_code)]

use super::{Blocks, Buffer, Extent, Links, Places, Schedule, Step};
use crate::kind;
use crate::shape::{Rank, Shape};

/// Index of a step in its schedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StepId(pub u32);

/// Why a step cannot be added.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Who touched a block last.
#[derive(Clone, Default)]
struct Touched {
    writer: Option<StepId>,
    readers: Vec<StepId>,
}

/// A schedule that is being made.
pub struct Builder {
    schedule: Schedule,
    places: Places,
    touched: Vec<Touched>,
    /// Only the steps and the edges that are said: nothing is checked, nothing is kept per block.
    is_outline: bool,
}

/// The steps of one rank without what the blocks imply: what a simulation of very many ranks
/// needs, at a cost of the steps alone, however many blocks there are.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The steps in list order.
    pub steps: Vec<Step>,
    /// The edges that the algorithm said: `(step, an earlier one that it waits for)`, in the order
    /// of the steps.
    pub said: Vec<(StepId, StepId)>,
}

impl Outline {
    /// The steps of a schedule, and all its edges.
    pub fn of(schedule: &Schedule) -> Outline {
        let edges = |step| {
            let earlier = schedule.after(step).iter();
            earlier.map(move |earlier| (StepId(step as u32), *earlier))
        };
        let said = (0..schedule.steps.len()).flat_map(edges).collect();
        Outline { said, steps: schedule.steps.clone() }
    }
}

impl Builder {
    /// An empty schedule of one rank.
    pub fn new(shape: &Shape, rank: Rank) -> Builder {
        assert!(rank < shape.ranks, "rank {rank} is not among {} ranks", shape.ranks);
        let places = Places::new(shape, rank);
        let touched = vec![Touched::default(); places.len()];
        let schedule = Schedule {
            shape: shape.clone(),
            rank,
            scratch: Vec::new(),
            steps: Vec::new(),
            after: Vec::new(),
            after_start: vec![0],
            links: Links::default(),
        };
        Builder { schedule, places, touched, is_outline: false }
    }

    /// An empty outline of one rank. Only for algorithms that the verifier passed: mistakes are
    /// not found here.
    pub fn outline(shape: &Shape, rank: Rank) -> Builder {
        let places = Places::new(shape, rank);
        let schedule = Schedule {
            shape: shape.clone(),
            rank,
            scratch: Vec::new(),
            steps: Vec::new(),
            after: Vec::new(),
            after_start: vec![0],
            links: Links::default(),
        };
        Builder { schedule, places, touched: Vec::new(), is_outline: true }
    }

    /// The finished outline.
    pub fn finish_outline(self) -> Outline {
        Outline::of(&self.schedule)
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.schedule.shape
    }

    /// The rank whose schedule it is.
    pub fn rank(&self) -> Rank {
        self.schedule.rank
    }

    /// All blocks of this rank's input.
    pub fn input(&self) -> Blocks {
        Blocks::new(Buffer::Input, 0..self.len(Buffer::Input))
    }

    /// All blocks of this rank's output.
    pub fn output(&self) -> Blocks {
        Blocks::new(Buffer::Output, 0..self.len(Buffer::Output))
    }

    /// Declares temporary memory with these extents.
    pub fn scratch(&mut self, extents: Vec<Extent>) -> Result<Buffer, Refused> {
        if self.is_outline {
            return self.scratch_unseen();
        }
        let Schedule { shape, rank, scratch, .. } = &mut self.schedule;
        if let Some(unknown) = extents.iter().find(|extent| !kind::knows(shape, *rank, **extent)) {
            return Err(Refused(format!(
                "rank {rank} does not know how large extent {} is",
                unknown.0
            )));
        }
        let index = u16::try_from(scratch.len())
            .map_err(|_| Refused("more than 65536 scratch buffers".into()))?;
        self.places.add_scratch(extents.len() as u32);
        self.touched.resize(self.places.len(), Touched::default());
        scratch.push(extents);
        Ok(Buffer::Scratch(index))
    }

    /// Temporary memory for as many blocks of the extents of `like`.
    pub fn scratch_like(&mut self, like: Blocks) -> Result<Blocks, Refused> {
        if self.is_outline {
            return Ok(Blocks { buffer: self.scratch_unseen()?, first: 0, count: like.count });
        }
        let extents: Vec<_> = self.schedule.extents(like).collect();
        Ok(Blocks { buffer: self.scratch(extents)?, first: 0, count: like.count })
    }

    /// A scratch buffer of an outline: it has a name, nothing else.
    fn scratch_unseen(&mut self) -> Result<Buffer, Refused> {
        let index = u16::try_from(self.schedule.scratch.len())
            .map_err(|_| Refused("more than 65536 scratch buffers".into()))?;
        self.schedule.scratch.push(Vec::new());
        Ok(Buffer::Scratch(index))
    }

    /// Adds a step; its edges follow from the blocks that it touches.
    pub fn add(&mut self, step: Step) -> Result<StepId, Refused> {
        self.add_after(step, &[])
    }

    /// Adds a step that moreover waits for the steps `after`.
    pub fn add_after(&mut self, step: Step, after: &[StepId]) -> Result<StepId, Refused> {
        let id = self.next_id()?;
        if self.is_outline {
            self.push(step, after.to_vec())?;
            return Ok(id);
        }
        self.check(&step)?;
        let mut edges: Vec<StepId> = after.to_vec();
        for blocks in step.reads() {
            for number in self.places.numbers(blocks) {
                edges.extend(self.touched[number as usize].writer);
            }
        }
        if let Some(blocks) = step.writes() {
            for number in self.places.numbers(blocks) {
                let touched = &self.touched[number as usize];
                edges.extend(touched.writer);
                edges.extend(&touched.readers);
            }
        }
        self.touch(&step, id);
        self.push(step, edges)?;
        Ok(id)
    }

    /// Adds a step with exactly these edges: what the text form needs.
    pub(super) fn add_exact(&mut self, step: Step, edges: Vec<StepId>) -> Result<(), Refused> {
        self.next_id()?;
        self.check(&step)?;
        self.push(step, edges)
    }

    /// The finished schedule.
    pub fn finish(self) -> Schedule {
        let links = Links::new(&self.schedule);
        Schedule { links, ..self.schedule }
    }

    fn next_id(&self) -> Result<StepId, Refused> {
        let index = u32::try_from(self.schedule.steps.len());
        index.map(StepId).map_err(|_| Refused("more than 2^32 steps".into()))
    }

    fn push(&mut self, step: Step, mut edges: Vec<StepId>) -> Result<(), Refused> {
        let schedule = &mut self.schedule;
        edges.sort_unstable();
        edges.dedup();
        if let Some(last) = edges.last()
            && last.0 as usize >= schedule.steps.len()
        {
            return Err(Refused(format!("an edge to step {}, which is not earlier", last.0)));
        }
        schedule.steps.push(step);
        schedule.after.extend(edges);
        schedule.after_start.push(schedule.after.len() as u32);
        Ok(())
    }

    fn touch(&mut self, step: &Step, id: StepId) {
        for blocks in step.reads() {
            for number in self.places.numbers(blocks) {
                self.touched[number as usize].readers.push(id);
            }
        }
        if let Some(blocks) = step.writes() {
            for number in self.places.numbers(blocks) {
                self.touched[number as usize] = Touched { writer: Some(id), readers: Vec::new() };
            }
        }
    }

    fn len(&self, buffer: Buffer) -> u32 {
        match buffer {
            Buffer::Scratch(index) => {
                self.schedule.scratch.get(usize::from(index)).map_or(0, |s| s.len() as u32)
            }
            _ => kind::blocks(self.shape(), self.rank(), buffer),
        }
    }

    fn check(&self, step: &Step) -> Result<(), Refused> {
        let (rank, ranks) = (self.rank(), self.shape().ranks);
        if let Some(peer) = step.peer()
            && (peer == rank || peer >= ranks)
        {
            return Err(Refused(format!("rank {rank} of {ranks} cannot exchange with {peer}")));
        }
        for blocks in step.reads().chain(step.writes()) {
            self.check_bounds(blocks)?;
        }
        if let Some(Blocks { buffer: Buffer::Input, count: 1.., .. }) = step.writes() {
            return Err(Refused("the input is never written".into()));
        }
        match *step {
            Step::Copy { what, into } => {
                self.check_extents(what, into)?;
                self.check_apart(what, into, true)
            }
            Step::Reduce { left, right, into } => {
                self.check_extents(left, into)?;
                self.check_extents(right, into)?;
                self.check_apart(left, into, false)?;
                self.check_apart(left, right, false)?;
                self.check_apart(right, into, true)
            }
            _ => Ok(()),
        }
    }

    fn check_bounds(&self, blocks: Blocks) -> Result<(), Refused> {
        let len = self.len(blocks.buffer);
        match blocks.first.checked_add(blocks.count) {
            Some(end) if end <= len => Ok(()),
            _ => Err(Refused(format!(
                "blocks {}..{} of {:?}, which has {len}",
                blocks.first,
                u64::from(blocks.first) + u64::from(blocks.count),
                blocks.buffer
            ))),
        }
    }

    fn check_extents(&self, one: Blocks, two: Blocks) -> Result<(), Refused> {
        if one.count != two.count || !self.schedule.extents(one).eq(self.schedule.extents(two)) {
            return Err(Refused(format!("the extents of {one:?} and {two:?} differ")));
        }
        Ok(())
    }

    /// The two ranges do not share blocks, or (where `same` is allowed) are the same blocks.
    fn check_apart(&self, one: Blocks, two: Blocks, same: bool) -> Result<(), Refused> {
        if same && self.places.numbers(one).eq(self.places.numbers(two)) {
            return Ok(());
        }
        let mut numbers: Vec<_> = self.places.numbers(one).collect();
        numbers.sort_unstable();
        if self.places.numbers(two).any(|number| numbers.binary_search(&number).is_ok()) {
            return Err(Refused(format!("{one:?} and {two:?} overlap")));
        }
        Ok(())
    }
}

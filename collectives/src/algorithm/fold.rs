// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The running result of a rank that combines received vectors with its own, in rank order.
//!
//! A reduction may overwrite its right operand only. So `result op received` lands where the
//! received vector is, `received op result` lands where the result is, and the two change places.
//! The fold keeps track of who is where, never writes the input, and tries to end in the output:
//! the caller says how many right-hand combinations are still to come, and the last of them is
//! received there. A vector is never received where the latest combination still reads, so that
//! the receive can be posted before that combination is over; three scratch vectors suffice.
#![forbid(unsafe_code)]

use crate::schedule::{Blocks, Builder, Refused, Step};

pub(super) struct Fold {
    /// Where the result lies now.
    result: Blocks,
    /// The rank's own contribution.
    input: Blocks,
    /// Where the result shall lie in the end, if this rank has an output.
    output: Option<Blocks>,
    /// What the latest right-hand combination reads on its left.
    recent: Option<Blocks>,
    scratch: Vec<Blocks>,
}

impl Fold {
    /// Begins with the input alone.
    pub(super) fn new(b: &Builder, output: Option<Blocks>) -> Fold {
        let input = b.input();
        Fold { result: input, input, output, recent: None, scratch: Vec::new() }
    }

    /// Begins with a copy of the input, for those who write over the input in place.
    pub(super) fn of_copy(b: &mut Builder) -> Result<Fold, Refused> {
        let input = b.input();
        let copy = b.scratch_like(input)?;
        b.add(Step::Copy { what: input, into: copy })?;
        Ok(Fold { result: copy, input, output: None, recent: None, scratch: vec![copy] })
    }

    /// Where the result lies now.
    pub(super) fn result(&self) -> Blocks {
        self.result
    }

    /// Where to receive the next vector, if `moves` right-hand combinations are to come after it.
    pub(super) fn landing(&mut self, b: &mut Builder, moves: u32) -> Result<Blocks, Refused> {
        // In place the output is the input, which the first combination reads.
        let first = self.result == self.input || self.recent == Some(self.input);
        let holds_input = b.shape().in_place && first;
        match self.output {
            Some(output) if moves == 0 && self.result != output && !holds_input => Ok(output),
            _ => self.free_scratch(b, self.recent),
        }
    }

    /// Where to receive a vector that will be prepended.
    pub(super) fn landing_left(&mut self, b: &mut Builder) -> Result<Blocks, Refused> {
        // Never the output, which is kept free for the last append to land on.
        self.free_scratch(b, self.recent)
    }

    /// `result = result op received`.
    pub(super) fn append(&mut self, b: &mut Builder, received: Blocks) -> Result<(), Refused> {
        b.add(Step::Reduce { left: self.result, right: received, into: received })?;
        self.recent = Some(self.result);
        self.result = received;
        Ok(())
    }

    /// `result = received op result`, with `moves` right-hand combinations to come.
    pub(super) fn prepend(
        &mut self,
        b: &mut Builder,
        received: Blocks,
        moves: u32,
    ) -> Result<(), Refused> {
        let into = match self.output {
            _ if self.result != self.input => self.result,
            // The last append needs the output free to land on.
            Some(output) if moves == 0 && output != received => output,
            _ => self.free_scratch(b, Some(received))?,
        };
        b.add(Step::Reduce { left: received, right: self.result, into })?;
        self.result = into;
        Ok(())
    }

    /// Brings the result into the output.
    pub(super) fn finish(&mut self, b: &mut Builder) -> Result<(), Refused> {
        match self.output {
            Some(output) if self.result != output => {
                b.add(Step::Copy { what: self.result, into: output })?;
                self.result = output;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn free_scratch(&mut self, b: &mut Builder, taken: Option<Blocks>) -> Result<Blocks, Refused> {
        let is_free = |s: &&Blocks| **s != self.result && Some(**s) != taken;
        if let Some(free) = self.scratch.iter().find(is_free) {
            return Ok(*free);
        }
        let made = b.scratch_like(self.input)?;
        self.scratch.push(made);
        Ok(made)
    }
}

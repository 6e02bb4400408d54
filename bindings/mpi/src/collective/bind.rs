// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blocks of schedules over the buffers of MPI calls.
//!
//! Scratch of collectives that move data holds packed bytes; scratch of reductions holds elements
//! of the call's type, since a user's function works on these.

use super::area::{Area, Memory, byte, copy};
use super::operation::Operation;
use std::rc::Rc;
use strait_collectives::execute::Binding;
use strait_collectives::schedule::{Blocks, Buffer, Extent, Schedule};
use strait_transport::payload::Payload;

/// How large scratch blocks are.
#[derive(Clone)]
pub enum Sizes {
    /// All blocks have so many packed bytes.
    Regular(usize),
    /// Packed bytes by extent.
    Packed(Rc<[usize]>),
    /// As many elements as the input's block of that number.
    Elements,
}

/// What stands behind the blocks of one call.
pub struct CallBinding {
    input: Area,
    output: Area,
    scratch: Vec<Area>,
    operation: Option<Operation>,
    /// Memory of ours behind the areas.
    _memory: Vec<Memory>,
}

impl CallBinding {
    /// For a schedule; `memory` is what else must live as long.
    pub fn new(
        schedule: &Schedule,
        (input, output): (Area, Area),
        sizes: &Sizes,
        operation: Option<Operation>,
        mut memory: Vec<Memory>,
    ) -> CallBinding {
        let mut scratch = Vec::new();
        for extents in schedule.scratch() {
            let count = |extent: &Extent| match sizes {
                Sizes::Regular(bytes) => *bytes as i64,
                Sizes::Packed(bytes) => bytes[extent.0 as usize] as i64,
                Sizes::Elements => input.count(extent.0 as u32),
            };
            let ty = if matches!(sizes, Sizes::Elements) { input.ty() } else { byte() };
            let counts: Vec<i64> = extents.iter().map(count).collect();
            let (own, area) = Memory::of_elements(ty, &counts);
            memory.push(own);
            scratch.push(area);
        }
        CallBinding { input, output, scratch, operation, _memory: memory }
    }

    fn area(&self, buffer: Buffer) -> &Area {
        match buffer {
            Buffer::Input => &self.input,
            Buffer::Output => &self.output,
            Buffer::Scratch(index) => &self.scratch[usize::from(index)],
        }
    }
}

impl Binding for CallBinding {
    fn payload(&self, blocks: Blocks) -> Payload {
        self.area(blocks.buffer).payload(blocks.first, blocks.count)
    }

    unsafe fn copy(&mut self, what: Blocks, into: Blocks) {
        // SAFETY: the caller's promise; user memory is readable and writable as the call says.
        unsafe { copy(&self.payload(what), &self.payload(into)) };
    }

    unsafe fn reduce(&mut self, left: Blocks, right: Blocks, into: Blocks) {
        let operation = self.operation.as_ref().expect("a reduction has an operation");
        let run = |b: Blocks| self.area(b.buffer).run(b.first, b.count);
        if let (Some(left), Some(right), Some(into)) = (run(left), run(right), run(into)) {
            // SAFETY: the caller's promise.
            unsafe { operation.combine(&left, &right, &into) };
            return;
        }
        for i in 0..into.count {
            let piece = |b: Blocks| self.area(b.buffer).piece(b.first + i);
            // SAFETY: the caller's promise.
            unsafe { operation.combine(&piece(left), &piece(right), &piece(into)) };
        }
    }

    fn calls_user_code(&self) -> bool {
        self.operation.as_ref().is_some_and(Operation::is_user)
    }
}

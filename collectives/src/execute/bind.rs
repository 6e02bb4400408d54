// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blocks become bytes here and nowhere else.
//!
//! A binding knows where the blocks of input and output lie, how large each extent is, and how to
//! combine; it owns the scratch. The executor asks it for payloads and for local work, in an order
//! that the schedule allows. [`ByteBinding`] is the plain one, of bytes that it owns.

use crate::schedule::{Blocks, Buffer, Extent, Schedule};
use strait_transport::payload::Payload;

/// What stands behind the blocks of one rank.
pub trait Binding {
    /// The memory of a range of blocks. It stays where it is as long as the binding lives.
    fn payload(&self, blocks: Blocks) -> Payload;

    /// Copies blocks; the two may be the same memory (in place), then nothing is to be done.
    ///
    /// # Safety
    /// Nothing in flight writes `what` or touches `into`.
    unsafe fn copy(&mut self, what: Blocks, into: Blocks);

    /// `into = left op right`; `into` may be `right`.
    ///
    /// # Safety
    /// Nothing in flight writes `left` or `right` or touches `into`.
    unsafe fn reduce(&mut self, left: Blocks, right: Blocks, into: Blocks);

    /// Whether `reduce` runs code of the user. Then the executor never runs it from `advance`, but
    /// says [`super::Progress::Compute`] and leaves it to `compute`, without the worker.
    fn calls_user_code(&self) -> bool {
        false
    }
}

/// Combines bytes: `(left, right) -> result`, all of one length.
pub type ByteOperation = fn(&[u8], &[u8]) -> Vec<u8>;

/// A binding of bytes that it owns: for tests and tools.
pub struct ByteBinding {
    /// Input, output, then the scratch buffers; each block on its own.
    buffers: Vec<Vec<Block>>,
    operation: ByteOperation,
}

/// Memory of one block. It is shared with the transport, so it is reached through its pointer.
struct Block {
    base: *mut u8,
    bytes: usize,
}

impl Block {
    fn new(content: Vec<u8>) -> Block {
        let bytes = content.len();
        Block { base: Box::into_raw(content.into_boxed_slice()).cast(), bytes }
    }

    /// # Safety
    /// Nothing writes the block meanwhile.
    unsafe fn read(&self) -> Vec<u8> {
        // SAFETY: the block owns this memory; the caller excludes writers.
        unsafe { std::slice::from_raw_parts(self.base, self.bytes) }.to_vec()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` in `new` with this length.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.base, self.bytes)) });
    }
}

impl ByteBinding {
    /// Memory for a schedule that is not in place: the blocks of the input, and the size of each
    /// extent.
    pub fn new(
        schedule: &Schedule,
        input: Vec<Vec<u8>>,
        bytes: impl Fn(Extent) -> usize,
        operation: ByteOperation,
    ) -> ByteBinding {
        assert!(!schedule.shape().in_place, "a byte binding keeps input and output apart");
        let (shape, rank) = (schedule.shape(), schedule.rank());
        let zeros = |extent| Block::new(vec![0; bytes(extent)]);
        let output = 0..crate::kind::blocks(shape, rank, Buffer::Output);
        let output = output.map(|block| zeros(schedule.extent(Buffer::Output, block))).collect();
        let mut buffers = vec![input.into_iter().map(Block::new).collect(), output];
        for extents in schedule.scratch() {
            buffers.push(extents.iter().map(|extent| zeros(*extent)).collect());
        }
        ByteBinding { buffers, operation }
    }

    /// The bytes of the output's blocks. Only after the execution is done.
    pub fn output(&self) -> Vec<Vec<u8>> {
        // SAFETY: the execution is done, says the caller; a wrong caller reads stale bytes of
        // memory that is owned here.
        self.buffers[1].iter().map(|block| unsafe { block.read() }).collect()
    }

    fn blocks(&self, blocks: Blocks) -> &[Block] {
        let index = match blocks.buffer {
            Buffer::Input => 0,
            Buffer::Output => 1,
            Buffer::Scratch(index) => 2 + usize::from(index),
        };
        &self.buffers[index][blocks.first as usize..(blocks.first + blocks.count) as usize]
    }

    /// # Safety
    /// Nothing else touches the blocks.
    unsafe fn write(&self, into: Blocks, contents: &[Vec<u8>]) {
        for (block, content) in self.blocks(into).iter().zip(contents) {
            assert_eq!(block.bytes, content.len(), "extents are equal");
            // SAFETY: the block owns as many bytes; the caller excludes everybody else.
            unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), block.base, block.bytes) };
        }
    }
}

/// The blocks of a range as one message.
struct Pieces(Vec<(usize, usize)>);

// SAFETY: touches only the pieces, whose addresses and lengths it was given; `pack` copies
// `into.len()` bytes, which the pieces have.
unsafe impl strait_transport::payload::Layout for Pieces {
    fn packed_bytes(&self) -> usize {
        self.0.iter().map(|piece| piece.1).sum()
    }

    unsafe fn pack(&self, _: *const u8, _: usize, offset: usize, into: &mut [u8]) {
        self.walk(offset, into.len(), |memory, at, bytes| {
            // SAFETY: the piece is readable, says the caller; `at + bytes <= into.len()`.
            unsafe { std::ptr::copy_nonoverlapping(memory, into.as_mut_ptr().add(at), bytes) };
        });
    }

    unsafe fn unpack(&self, _: *mut u8, _: usize, offset: usize, from: &[u8]) {
        self.walk(offset, from.len(), |memory, at, bytes| {
            // SAFETY: the piece is writable, says the caller; `at + bytes <= from.len()`.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr().add(at), memory, bytes) };
        });
    }
}

impl Pieces {
    /// The parts of the pieces that packed bytes `offset .. offset + len` fall on.
    fn walk(&self, offset: usize, len: usize, mut part: impl FnMut(*mut u8, usize, usize)) {
        let mut start = 0;
        for &(address, bytes) in &self.0 {
            let (from, to) = (offset.max(start), (offset + len).min(start + bytes));
            if from < to {
                let memory = std::ptr::with_exposed_provenance_mut(address + (from - start));
                part(memory, from - offset, to - from);
            }
            start += bytes;
        }
    }
}

impl Binding for ByteBinding {
    fn payload(&self, blocks: Blocks) -> Payload {
        match self.blocks(blocks) {
            [] => Payload::EMPTY,
            [one] => Payload::Contiguous { base: one.base, bytes: one.bytes },
            many => {
                let pieces = many.iter().map(|block| (block.base.expose_provenance(), block.bytes));
                let layout = std::sync::Arc::new(Pieces(pieces.collect()));
                Payload::Typed { base: std::ptr::null_mut(), count: 1, layout }
            }
        }
    }

    unsafe fn copy(&mut self, what: Blocks, into: Blocks) {
        // SAFETY: the caller's promise is what reading and writing ask for.
        unsafe {
            let contents: Vec<_> = self.blocks(what).iter().map(|block| block.read()).collect();
            self.write(into, &contents);
        }
    }

    unsafe fn reduce(&mut self, left: Blocks, right: Blocks, into: Blocks) {
        let pairs = self.blocks(left).iter().zip(self.blocks(right));
        // SAFETY: the caller's promise is what reading asks for.
        let results = pairs.map(|(l, r)| unsafe { (self.operation)(&l.read(), &r.read()) });
        let results: Vec<_> = results.collect();
        // SAFETY: the caller's promise is what writing asks for.
        unsafe { self.write(into, &results) };
    }
}

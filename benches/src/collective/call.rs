// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The arguments of a collective, made before the clock runs: buffers, counts, displacements.

use super::movement::{Movement, Side};
use crate::benchmark::Case;
use crate::buffer::Buffer;
use crate::datatype::Type;
use crate::mpi::World;
use crate::mpi::raw::{self, Comm, Datatype};
use crate::options::{Options, Root};
use std::ffi::{c_int, c_void};

pub struct Call {
    pub world: World,
    pub movement: Movement,
    pub element: Type,
    /// Bytes of a block; of the whole for those that share one out.
    pub size: usize,
    pub send: Buffer,
    pub receive: Buffer,
    root: Root,
    pub current_root: usize,
    pub in_place: bool,
    /// One for each rank, all blocks having the same size but for sums that are shared out.
    pub counts: Vec<c_int>,
    pub displacements: Vec<c_int>,
    byte_displacements: Vec<c_int>,
    datatypes: Vec<Datatype>,
}

impl Call {
    pub fn new(movement: Movement, world: &World, options: &Options, case: &Case) -> Call {
        let element = case.datatype;
        let counts = movement.counts(case.size / element.size(), world.size);
        let mut displacements = Vec::with_capacity(counts.len());
        let mut at = 0;
        for count in &counts {
            displacements.push(at as c_int);
            at += count;
        }
        let bytes = |elements: &c_int| elements * element.size() as c_int;
        let counts: Vec<c_int> = counts.iter().map(|count| *count as c_int).collect();
        let first_root = if let Root::Fixed(root) = options.root { root } else { 0 };
        let may_be_root = options.root == Root::Rotating || world.rank == first_root;
        let own = counts.get(world.rank).map_or(0, |count| bytes(count) as usize);
        let (send, receive) =
            movement.buffers(case.size, world.size, own, may_be_root, options.in_place);
        Call {
            world: *world,
            movement,
            element,
            size: case.size,
            send: Buffer::new(send),
            receive: Buffer::new(receive),
            root: options.root,
            current_root: first_root,
            in_place: options.in_place,
            byte_displacements: displacements.iter().map(bytes).collect(),
            datatypes: vec![element.handle(); world.size],
            counts,
            displacements,
        }
    }

    /// Another root for another round, if that was asked for.
    #[inline]
    pub fn next_root(&mut self, round: usize) {
        if self.root == Root::Rotating {
            self.current_root = round % self.world.size;
        }
    }

    pub fn is_root(&self) -> bool {
        self.world.rank == self.current_root
    }

    fn in_place_at(&self) -> Option<Side> {
        if self.in_place { self.movement.in_place(self.is_root()) } else { None }
    }

    #[inline]
    pub fn comm(&self) -> Comm {
        self.world.comm
    }

    #[inline]
    pub fn root(&self) -> c_int {
        self.current_root as c_int
    }

    /// Where MPI reads from.
    #[inline]
    pub fn from(&self) -> *const c_void {
        match self.in_place_at() {
            Some(Side::Send) => raw::IN_PLACE,
            _ => self.send.bytes().as_ptr().cast(),
        }
    }

    /// Where MPI writes to.
    #[inline]
    pub fn to(&self) -> *mut c_void {
        match self.in_place_at() {
            Some(Side::Receive) => raw::IN_PLACE.cast_mut(),
            // The buffer is written through this pointer while the call is borrowed only to be
            // read: nothing reads the bytes before the operation has ended.
            _ => self.receive.start().cast(),
        }
    }

    /// Elements of a block.
    #[inline]
    pub fn count(&self) -> c_int {
        (self.size / self.element.size()) as c_int
    }

    /// Elements of the own part of sums that are shared out in equal blocks.
    #[inline]
    pub fn block(&self) -> c_int {
        self.counts[0]
    }

    #[inline]
    pub fn datatype(&self) -> Datatype {
        self.element.handle()
    }

    #[inline]
    pub fn counts(&self) -> *const c_int {
        self.counts.as_ptr()
    }

    #[inline]
    pub fn displacements(&self) -> *const c_int {
        self.displacements.as_ptr()
    }

    #[inline]
    pub fn byte_displacements(&self) -> *const c_int {
        self.byte_displacements.as_ptr()
    }

    #[inline]
    pub fn datatypes(&self) -> *const Datatype {
        self.datatypes.as_ptr()
    }
}

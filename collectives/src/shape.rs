// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of a collective call: ranks, groups, root and blocks as numbers.
//!
//! Every rank of a call must use the same shape. For a call between two groups the ranks of the
//! first group come first, those of the second after them, and both sides agree which is first.
#![forbid(unsafe_code)]

use crate::kind::Kind;
use crate::neighbors::Neighborhood;
use crate::schedule::Buffer;
use std::ops::Range;

/// A rank of the shape: `0 .. Shape::ranks`.
pub type Rank = u32;

/// What all ranks of a call agree on, apart from the bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    /// Which collective.
    pub kind: Kind,
    /// How many ranks, of both groups together.
    pub ranks: u32,
    /// Between two groups: how many of the ranks are in the first.
    pub first_group: Option<u32>,
    /// The root, where the kind has one; else 0.
    pub root: Rank,
    /// In how many blocks the vector is cut, where the kind leaves it free; else 1.
    pub blocks: u32,
    /// Whether all blocks have one size that every rank knows (gather, scatter, allgather,
    /// alltoall). The v and w variants are irregular.
    pub regular: bool,
    /// Whether input and output share memory as `MPI_IN_PLACE` says ([`Shape::place`]).
    pub in_place: bool,
    /// Who exchanges with whom, where the kind has neighbours.
    pub neighbors: Option<Neighborhood>,
}

impl Shape {
    /// A call within one group: root 0, one block, regular, not in place.
    pub fn new(kind: Kind, ranks: u32) -> Shape {
        assert!(ranks > 0, "a group has at least one rank");
        Shape {
            kind,
            ranks,
            first_group: None,
            root: 0,
            blocks: 1,
            regular: true,
            in_place: false,
            neighbors: None,
        }
    }

    /// A call between two groups.
    pub fn between(kind: Kind, first: u32, second: u32) -> Shape {
        assert!(first > 0 && second > 0, "both groups have at least one rank");
        Shape { first_group: Some(first), ..Shape::new(kind, first + second) }
    }

    /// The same with a root.
    pub fn root(self, root: Rank) -> Shape {
        assert!(root < self.ranks, "root {root} is not among {} ranks", self.ranks);
        Shape { root, ..self }
    }

    /// The same with the vector cut into blocks.
    pub fn cut(self, blocks: u32) -> Shape {
        Shape { blocks, ..self }
    }

    /// The same with blocks of different sizes.
    pub fn irregular(self) -> Shape {
        Shape { regular: false, ..self }
    }

    /// The same with input and output in the same memory.
    pub fn in_place(self) -> Shape {
        Shape { in_place: true, ..self }
    }

    /// The same among neighbours. Their blocks are never regular.
    pub fn around(self, neighbors: Neighborhood) -> Shape {
        Shape { regular: false, neighbors: Some(neighbors), ..self }
    }

    /// Who exchanges with whom.
    ///
    /// # Panics
    /// If the kind has no neighbours, or none were given ([`Shape::check`] refuses that).
    pub fn neighbors(&self) -> &Neighborhood {
        self.neighbors.as_ref().expect("a neighbourhood collective has a neighbourhood")
    }

    /// Whether two groups take part.
    pub fn is_inter(&self) -> bool {
        self.first_group.is_some()
    }

    /// The ranks of the rank's own group.
    pub fn group_of(&self, rank: Rank) -> Range<Rank> {
        match self.first_group {
            None => 0..self.ranks,
            Some(first) if rank < first => 0..first,
            Some(first) => first..self.ranks,
        }
    }

    /// The ranks whose contributions this rank's output is made of (and, by symmetry, that its
    /// contributions go to): its own group, or the other one where there are two.
    pub fn contributors(&self, rank: Rank) -> Range<Rank> {
        match self.first_group {
            None => 0..self.ranks,
            Some(first) if rank < first => first..self.ranks,
            Some(first) => 0..first,
        }
    }

    /// Where a block really lies: with `in_place` some input blocks are output blocks (at a
    /// scatter's root, the other way round).
    pub fn place(&self, rank: Rank, buffer: Buffer, block: u32) -> (Buffer, u32) {
        if !self.in_place || self.is_inter() {
            return (buffer, block);
        }
        let is_root = rank == self.root;
        match (self.kind, buffer) {
            (Kind::Gather, Buffer::Input) if is_root => (Buffer::Output, rank),
            (Kind::Scatter, Buffer::Output) if is_root => (Buffer::Input, rank),
            (Kind::Allgather, Buffer::Input) => (Buffer::Output, rank),
            (Kind::Reduce, Buffer::Input) if is_root => (Buffer::Output, block),
            (Kind::Alltoall | Kind::Allreduce | Kind::Scan, Buffer::Input) => {
                (Buffer::Output, block)
            }
            (Kind::Exscan, Buffer::Input) if rank > 0 => (Buffer::Output, block),
            _ => (buffer, block),
        }
    }

    /// What is wrong with it, if anything. Text from elsewhere can make such shapes.
    pub fn check(&self) -> Result<(), String> {
        let kind = self.kind.name();
        if self.ranks == 0
            || self.first_group.is_some_and(|first| first == 0 || first >= self.ranks)
        {
            return Err("every group needs at least one rank".into());
        }
        if self.root >= self.ranks {
            return Err(format!("root {} is not among {} ranks", self.root, self.ranks));
        }
        if self.root != 0 && !self.kind.is_rooted() {
            return Err(format!("{kind} has no root"));
        }
        if self.blocks != 1 && !self.kind.is_partitioned() {
            return Err(format!("{kind} has its blocks from the ranks, not a number of its own"));
        }
        if self.is_inter() && !self.kind.joins_groups() {
            return Err(format!("{kind} is not defined between two groups"));
        }
        if self.is_inter() && self.in_place {
            return Err("between two groups nothing is in place".into());
        }
        match &self.neighbors {
            None if self.kind.has_neighbors() => Err(format!("{kind} needs a neighbourhood")),
            None => Ok(()),
            Some(_) if !self.kind.has_neighbors() => Err(format!("{kind} has no neighbourhood")),
            Some(_) if self.in_place => Err(format!("{kind} cannot be in place")),
            Some(_) if self.regular => Err(format!("the blocks of {kind} are not regular")),
            Some(neighbors) => neighbors.check(self.ranks),
        }
    }
}

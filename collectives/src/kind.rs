// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The collectives, and for each the definition of a right answer.
//!
//! A definition has three parts: how many blocks each rank's input and output have, which extent
//! (symbolic size) each block has, and which contributions, in which order, each block of an
//! output must hold in the end. The verifier compares schedules with this file and with nothing
//! else. The v and w variants of MPI are the same kinds: they only bind other sizes to the extents.
//!
//! Between two groups (an intercommunicator) the contributions of a rank's output come from the
//! other group, as MPI defines it; scan, exscan and reduce_scatter are not defined there
//! (a binding makes the latter from allreduce, because a rank does not know how the other group
//! partitions).
//!
//! The neighbourhood kinds are always irregular: two ranks agree on the sizes of the edges between
//! them, and nobody on more. `neighbors` defines which block meets which. Blocks of edges to or
//! from nobody are expected to hold nothing, so a schedule that writes them is refused.
#![forbid(unsafe_code)]

use crate::schedule::{Buffer, Extent};
use crate::shape::{Rank, Shape};

/// Which collective.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Nobody leaves before everybody has come.
    Barrier,
    /// The root's blocks to everyone.
    Bcast,
    /// One block of everyone to the root, in rank order.
    Gather,
    /// One block of the root's to everyone.
    Scatter,
    /// One block of everyone to everyone, in rank order.
    Allgather,
    /// A block of each to each.
    Alltoall,
    /// The blockwise combination of all inputs, in rank order, at the root.
    Reduce,
    /// The same, at everyone.
    Allreduce,
    /// The same, block `r` of it at rank `r`.
    ReduceScatter,
    /// The combination of the inputs of ranks `0 ..= r` at rank `r`.
    Scan,
    /// The combination of the inputs of ranks `0 .. r` at rank `r`; rank 0 has no output.
    Exscan,
    /// One block of each neighbour to its neighbours, in the order of the edges.
    NeighborAllgather,
    /// A block along each edge to a neighbour.
    NeighborAlltoall,
}

/// One rank's block, as a contribution to a result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Atom {
    /// Whose input.
    pub rank: Rank,
    /// Which block of it.
    pub block: u32,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 13] = [
        Kind::Barrier,
        Kind::Bcast,
        Kind::Gather,
        Kind::Scatter,
        Kind::Allgather,
        Kind::Alltoall,
        Kind::Reduce,
        Kind::Allreduce,
        Kind::ReduceScatter,
        Kind::Scan,
        Kind::Exscan,
        Kind::NeighborAllgather,
        Kind::NeighborAlltoall,
    ];

    /// Its name, as in tables and schedule text.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Barrier => "barrier",
            Kind::Bcast => "bcast",
            Kind::Gather => "gather",
            Kind::Scatter => "scatter",
            Kind::Allgather => "allgather",
            Kind::Alltoall => "alltoall",
            Kind::Reduce => "reduce",
            Kind::Allreduce => "allreduce",
            Kind::ReduceScatter => "reduce_scatter",
            Kind::Scan => "scan",
            Kind::Exscan => "exscan",
            Kind::NeighborAllgather => "neighbor_allgather",
            Kind::NeighborAlltoall => "neighbor_alltoall",
        }
    }

    /// The kind of that name.
    pub fn by_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether one rank has a part of its own.
    pub fn is_rooted(self) -> bool {
        matches!(self, Kind::Bcast | Kind::Gather | Kind::Scatter | Kind::Reduce)
    }

    /// Whether it combines contributions with an operation.
    pub fn reduces(self) -> bool {
        matches!(
            self,
            Kind::Reduce | Kind::Allreduce | Kind::ReduceScatter | Kind::Scan | Kind::Exscan
        )
    }

    /// Whether `Shape::blocks` is free: the vector is cut into as many blocks as the plan likes.
    pub fn is_partitioned(self) -> bool {
        matches!(self, Kind::Bcast | Kind::Reduce | Kind::Allreduce | Kind::Scan | Kind::Exscan)
    }

    /// Whether it is defined between two groups.
    pub fn joins_groups(self) -> bool {
        !matches!(self, Kind::ReduceScatter | Kind::Scan | Kind::Exscan) && !self.has_neighbors()
    }

    /// Whether ranks exchange with their neighbours alone ([`Shape::neighbors`]).
    pub fn has_neighbors(self) -> bool {
        matches!(self, Kind::NeighborAllgather | Kind::NeighborAlltoall)
    }
}

/// How many blocks a rank's input or output has. (Scratch is declared by each schedule.)
pub fn blocks(shape: &Shape, rank: Rank, buffer: Buffer) -> u32 {
    let is_root = shape.kind.is_rooted() && rank == shape.root;
    // In a rooted collective between two groups the root's own group has no other part in it.
    let takes_part = !shape.is_inter() || shape.group_of(rank) != shape.group_of(shape.root);
    let others = shape.contributors(rank).len() as u32;
    let input = match shape.kind {
        Kind::Barrier => 0,
        Kind::Bcast => u32::from(is_root) * shape.blocks,
        Kind::Gather => u32::from(takes_part),
        Kind::Scatter => u32::from(is_root) * others,
        Kind::Allgather => 1,
        Kind::Alltoall | Kind::ReduceScatter => others,
        Kind::Reduce => u32::from(takes_part) * shape.blocks,
        Kind::Allreduce | Kind::Scan | Kind::Exscan => shape.blocks,
        Kind::NeighborAllgather => 1,
        Kind::NeighborAlltoall => shape.neighbors().out_degree(rank),
    };
    let output = match shape.kind {
        Kind::Barrier => 0,
        Kind::Bcast => u32::from(takes_part && !is_root) * shape.blocks,
        Kind::Gather => u32::from(is_root) * others,
        Kind::Scatter => u32::from(takes_part),
        Kind::Allgather | Kind::Alltoall => others,
        Kind::Reduce => u32::from(is_root) * shape.blocks,
        Kind::ReduceScatter => 1,
        Kind::Allreduce | Kind::Scan => shape.blocks,
        Kind::Exscan => u32::from(rank > 0) * shape.blocks,
        Kind::NeighborAllgather | Kind::NeighborAlltoall => shape.neighbors().in_degree(rank),
    };
    match buffer {
        Buffer::Input => input,
        Buffer::Output => output,
        Buffer::Scratch(_) => 0,
    }
}

/// The extent of a block of a rank's input or output: equal numbers mean equal sizes.
/// `block` must be within [`blocks`].
pub fn extent(shape: &Shape, rank: Rank, buffer: Buffer, block: u32) -> Extent {
    let other = || shape.contributors(rank).start + block;
    let is_input = buffer == Buffer::Input;
    match shape.kind {
        Kind::Gather | Kind::Scatter | Kind::Allgather | Kind::Alltoall if shape.regular => {
            Extent(0)
        }
        Kind::Gather | Kind::Allgather if is_input => Extent(u64::from(rank)),
        Kind::Gather | Kind::Allgather => Extent(u64::from(other())),
        Kind::Scatter if is_input => Extent(u64::from(other())),
        Kind::Scatter => Extent(u64::from(rank)),
        Kind::Alltoall if is_input => pair_extent(shape, rank, other()),
        Kind::Alltoall => pair_extent(shape, other(), rank),
        Kind::ReduceScatter if !is_input => Extent(u64::from(rank)),
        Kind::NeighborAllgather if is_input => Extent(u64::from(rank)),
        Kind::NeighborAllgather => {
            shape.neighbors().source(rank, block).map_or(NOBODY, |from| Extent(u64::from(from)))
        }
        Kind::NeighborAlltoall => edge_extent(shape, rank, is_input, block),
        _ => Extent(u64::from(block)),
    }
}

/// The extent of the block of an edge to or from nobody.
const NOBODY: Extent = Extent(u64::MAX);

/// The extent of what goes along an edge: its ends, and how many like it come before. (So many
/// edges between so many ranks that the numbers wrap would only make the verifier less strict.)
fn edge_extent(shape: &Shape, rank: Rank, is_input: bool, block: u32) -> Extent {
    let around = shape.neighbors();
    let ends = match is_input {
        true => around.departure(rank, block).map(|(target, before)| (rank, target, before)),
        false => around.arrival(rank, block).map(|(source, before)| (source, rank, before)),
    };
    let Some((source, target, before)) = ends else { return NOBODY };
    let pairs = u64::from(shape.ranks).wrapping_mul(u64::from(shape.ranks));
    let first = pair_extent(shape, source, target).0;
    Extent(first.wrapping_add(pairs.wrapping_mul(u64::from(before))))
}

/// The extent of what `source` has for `target` in an irregular alltoall.
fn pair_extent(shape: &Shape, source: Rank, target: Rank) -> Extent {
    Extent(u64::from(source) * u64::from(shape.ranks) + u64::from(target))
}

/// Whether a rank knows how large an extent is: nobody but the two ends knows an irregular one.
/// Scratch may only be declared in extents that its rank knows.
pub fn knows(shape: &Shape, rank: Rank, extent: Extent) -> bool {
    let own = extent.0 == u64::from(rank);
    let remote = || shape.contributors(rank).contains(&(extent.0 as u32));
    match shape.kind {
        Kind::Barrier => false,
        Kind::Gather | Kind::Scatter | Kind::Allgather | Kind::Alltoall if shape.regular => {
            extent == Extent(0)
        }
        Kind::Gather | Kind::Scatter => own || (rank == shape.root && remote()),
        Kind::Allgather => own || remote(),
        Kind::Alltoall => {
            let ranks = u64::from(shape.ranks);
            extent.0 < ranks * ranks
                && (extent.0 / ranks == u64::from(rank) || extent.0 % ranks == u64::from(rank))
        }
        Kind::ReduceScatter => extent.0 < u64::from(shape.ranks),
        // No algorithm needs scratch: a binding has no sizes by these extents.
        Kind::NeighborAllgather | Kind::NeighborAlltoall => false,
        _ => extent.0 < u64::from(shape.blocks),
    }
}

/// What a block of a rank's output must hold in the end: these contributions, combined in this
/// order (any order if the operation commutes and the algorithm says that it relies on it).
pub fn expected(shape: &Shape, rank: Rank, block: u32) -> Vec<Atom> {
    let others = shape.contributors(rank);
    let all = |range: std::ops::Range<Rank>, block| {
        range.map(|rank| Atom { rank, block }).collect::<Vec<_>>()
    };
    // My place among those that the other side counts.
    let place = rank - shape.contributors(others.start).start;
    match shape.kind {
        Kind::Barrier => Vec::new(),
        Kind::Bcast => vec![Atom { rank: shape.root, block }],
        Kind::Scatter => vec![Atom { rank: shape.root, block: place }],
        Kind::Gather | Kind::Allgather => vec![Atom { rank: others.start + block, block: 0 }],
        Kind::Alltoall => vec![Atom { rank: others.start + block, block: place }],
        Kind::Reduce | Kind::Allreduce => all(others, block),
        Kind::ReduceScatter => all(others, rank),
        Kind::Scan => all(0..rank + 1, block),
        Kind::Exscan => all(0..rank, block),
        Kind::NeighborAllgather => {
            let source = shape.neighbors().source(rank, block);
            source.map(|rank| Atom { rank, block: 0 }).into_iter().collect()
        }
        Kind::NeighborAlltoall => met(shape, rank, block).into_iter().collect(),
    }
}

/// What meets a block of the output of a neighbourhood alltoall: the sender's edge to this rank
/// with as many before it.
fn met(shape: &Shape, rank: Rank, block: u32) -> Option<Atom> {
    let around = shape.neighbors();
    let (source, before) = around.arrival(rank, block)?;
    let mut edges = 0..around.out_degree(source);
    let block = edges.find(|edge| around.departure(source, *edge) == Some((rank, before)))?;
    Some(Atom { rank: source, block })
}

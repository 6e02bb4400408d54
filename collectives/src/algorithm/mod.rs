// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The registry: every algorithm with its kind, its constraints, its cost and its constructor.
//!
//! A constructor is a pure function of shape, parameters and rank. To add one: write it in a file
//! of its own, draw five ranks, write the cost, add the row below; the exhaustive test finds it by
//! the row.
#![forbid(unsafe_code)]

mod between;
mod binomial;
mod bruck;
mod circulant;
mod dissemination;
mod double_tree;
mod fold;
mod knomial;
mod linear;
mod neighbor;
mod neighbour_exchange;
mod pairwise;
mod recursive_doubling;
mod recursive_halving;
mod recursive_multiplying;
mod ring;
mod scatter_allgather;
mod sparbit;
mod swing;

use crate::kind::Kind;
use crate::schedule::{Builder, Outline, Refused, Schedule};
use crate::shape::{Rank, Shape};

/// What a plan may choose beside the algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Parameters {
    /// How many exchanges of a linear algorithm are in flight at once; at least 1.
    pub window: u32,
    /// The radix of a dissemination, a k-nomial tree, Bruck's allgather; the largest factor of a
    /// recursive multiplying. At least 2.
    pub radix: u32,
    /// In how many segments a pipelined algorithm cuts the vector; at least 1.
    pub segments: u32,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters { window: 16, radix: 2, segments: 8 }
    }
}

impl Parameters {
    /// Those that are not the usual ones, by the names of the selection table.
    pub fn unusual(self) -> impl Iterator<Item = (&'static str, u32)> {
        let usual = Parameters::default();
        let all = [
            ("window", self.window, usual.window),
            ("radix", self.radix, usual.radix),
            ("segments", self.segments, usual.segments),
        ];
        all.into_iter().filter(|(_, own, usual)| own != usual).map(|(name, own, _)| (name, own))
    }
}

/// What an algorithm costs, as closed formulas of shape and parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Messages on the longest chain in which each waits for the one before. In place it may be
    /// one more, where a receive has to wait for a reader of the input.
    pub rounds: u64,
    /// Messages of all ranks together.
    pub messages: u64,
    /// Blocks in these messages.
    pub blocks: u64,
}

/// One row of the registry, or what a user's file holds.
pub struct Algorithm {
    /// Its name, unique within its kind.
    pub name: &'static str,
    /// The collective that it computes.
    pub kind: Kind,
    /// Whether it combines contributions in rank order, so that the operation need not commute.
    pub ordered: bool,
    /// Whether it works where a rank knows only the extents of its own data.
    pub irregular: bool,
    /// Whether it works between two groups (and then only there).
    pub inter: bool,
    /// Whether input and output may share memory.
    pub in_place: bool,
    /// Into how many blocks it wants the vector cut.
    pub cut: Cut,
    /// Of how many ranks it works.
    pub numbers: Numbers,
    /// Where its steps come from.
    pub way: Way,
}

/// Where the steps of an algorithm come from.
#[derive(Clone, Copy)]
pub enum Way {
    /// They are constructed.
    Constructed {
        /// The steps of one rank, added to an empty builder.
        build: fn(&mut Builder, Parameters) -> Result<(), Refused>,
        /// The cost.
        cost: fn(&Shape, Parameters) -> Cost,
    },
    /// They were read from a file of the user and verified.
    File {
        /// The schedules of all ranks, in order.
        schedules: &'static [Schedule],
        /// The cost that the verifier found.
        cost: Cost,
    },
}

/// Into how many blocks an algorithm wants a free vector cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// It sends whole vectors: one block will do, any number works.
    Whole,
    /// One block per rank.
    PerRank,
    /// As many blocks as the parameters say; any number works.
    Segments,
    /// So many blocks.
    Exactly(u32),
}

/// The numbers of ranks that an algorithm works for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// Any.
    All,
    /// Multiples of two.
    Even,
    /// Powers of two.
    PowersOfTwo,
    /// This one.
    Exactly(u32),
}

impl std::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

impl Numbers {
    /// Whether this is one of them.
    pub fn contain(self, ranks: u32) -> bool {
        match self {
            Numbers::All => true,
            Numbers::Even => ranks.is_multiple_of(2),
            Numbers::PowersOfTwo => ranks.is_power_of_two(),
            Numbers::Exactly(only) => ranks == only,
        }
    }
}

impl Algorithm {
    /// The shape with the cut that it wants.
    pub fn cut(&self, shape: &Shape, parameters: Parameters) -> Shape {
        let blocks = match self.cut {
            _ if !shape.kind.is_partitioned() => 1,
            Cut::Whole => 1,
            Cut::PerRank => shape.ranks,
            Cut::Segments => parameters.segments,
            Cut::Exactly(blocks) => blocks,
        };
        shape.clone().cut(blocks)
    }

    /// Why it cannot serve the shape, if so.
    pub fn misfit(&self, shape: &Shape) -> Option<&'static str> {
        if shape.kind != self.kind {
            Some("computes another kind")
        } else if shape.is_inter() != self.inter {
            Some(if self.inter { "works between two groups" } else { "works within one group" })
        } else if !shape.regular && !self.irregular {
            Some("needs blocks of one size that every rank knows")
        } else if shape.in_place && !self.in_place {
            Some("needs input and output apart")
        } else if self.cut == Cut::PerRank && shape.blocks != shape.ranks {
            Some("needs one block per rank")
        } else if let Way::File { schedules, .. } = self.way
            && schedules[0].shape() != shape
            && self.numbers.contain(shape.ranks)
        {
            Some("is written for another root, another number of blocks, or other sizes of them")
        } else if !self.numbers.contain(shape.ranks) {
            Some(match self.numbers {
                Numbers::PowersOfTwo => "needs a power of two of ranks",
                Numbers::Exactly(_) => "is written for another number of ranks",
                _ => "needs an even number of ranks",
            })
        } else {
            None
        }
    }

    /// The schedule of one rank.
    pub fn schedule(
        &self,
        shape: &Shape,
        parameters: Parameters,
        rank: Rank,
    ) -> Result<Schedule, Refused> {
        if let Some(why) = self.misfit(shape) {
            return Err(Refused(format!("{} {}: it {why}", self.kind.name(), self.name)));
        }
        shape.check().map_err(Refused)?;
        if shape.neighbors.as_ref().is_some_and(|neighbors| !neighbors.knows(rank)) {
            return Err(Refused(format!("the neighbours of rank {rank} are not known here")));
        }
        match self.way {
            Way::Constructed { build, .. } => {
                let mut builder = Builder::new(shape, rank);
                build(&mut builder, parameters)?;
                Ok(builder.finish())
            }
            Way::File { schedules, .. } => Ok(schedules[rank as usize].clone()),
        }
    }

    /// What it costs.
    pub fn cost(&self, shape: &Shape, parameters: Parameters) -> Cost {
        match self.way {
            Way::Constructed { cost, .. } => cost(shape, parameters),
            Way::File { cost, .. } => cost,
        }
    }

    /// The outline of one rank: its steps, without checks and without what the blocks imply.
    pub fn outline(
        &self,
        shape: &Shape,
        parameters: Parameters,
        rank: Rank,
    ) -> Result<Outline, Refused> {
        match self.way {
            Way::Constructed { build, .. } => {
                let mut builder = Builder::outline(shape, rank);
                build(&mut builder, parameters)?;
                Ok(builder.finish_outline())
            }
            Way::File { schedules, .. } => Ok(Outline::of(&schedules[rank as usize])),
        }
    }
}

/// The algorithm of that name for that kind.
pub fn by_name(kind: Kind, name: &str) -> Option<&'static Algorithm> {
    ALL.iter().find(|algorithm| algorithm.kind == kind && algorithm.name == name)
}

/// The least `q` with `2^q >= n`.
pub(crate) fn log2_ceil(n: u32) -> u32 {
    n.max(1).next_power_of_two().trailing_zeros()
}

const fn row(
    kind: Kind,
    name: &'static str,
    build: fn(&mut Builder, Parameters) -> Result<(), Refused>,
    cost: fn(&Shape, Parameters) -> Cost,
) -> Algorithm {
    Algorithm {
        name,
        kind,
        ordered: true,
        irregular: true,
        inter: false,
        in_place: true,
        cut: Cut::Whole,
        numbers: Numbers::All,
        way: Way::Constructed { build, cost },
    }
}

/// Every algorithm.
pub static ALL: &[Algorithm] = &[
    row(Kind::Barrier, "dissemination", dissemination::barrier, dissemination::barrier_cost),
    row(Kind::Bcast, "binomial", binomial::bcast, binomial::bcast_cost),
    row(Kind::Bcast, "knomial", knomial::bcast, knomial::cost),
    Algorithm {
        cut: Cut::PerRank,
        ..row(
            Kind::Bcast,
            "scatter_allgather",
            scatter_allgather::bcast,
            scatter_allgather::bcast_cost,
        )
    },
    Algorithm {
        cut: Cut::Segments,
        ..row(Kind::Bcast, "double_tree", double_tree::bcast, double_tree::cost)
    },
    Algorithm {
        irregular: false,
        ..row(Kind::Gather, "binomial", binomial::gather, binomial::gather_cost)
    },
    row(Kind::Gather, "linear", linear::gather, linear::rooted_cost),
    Algorithm {
        irregular: false,
        ..row(Kind::Scatter, "binomial", binomial::scatter, binomial::scatter_cost)
    },
    row(Kind::Scatter, "linear", linear::scatter, linear::rooted_cost),
    row(Kind::Allgather, "ring", ring::allgather, ring::allgather_cost),
    row(Kind::Allgather, "bruck", bruck::allgather, bruck::allgather_cost),
    row(Kind::Allgather, "sparbit", sparbit::allgather, sparbit::allgather_cost),
    Algorithm {
        numbers: Numbers::Even,
        ..row(
            Kind::Allgather,
            "neighbour_exchange",
            neighbour_exchange::allgather,
            neighbour_exchange::allgather_cost,
        )
    },
    Algorithm {
        in_place: false,
        ..row(Kind::Alltoall, "linear", linear::alltoall, linear::alltoall_cost)
    },
    Algorithm {
        irregular: false,
        in_place: false,
        ..row(Kind::Alltoall, "bruck", bruck::alltoall, bruck::alltoall_cost)
    },
    Algorithm {
        ordered: false,
        ..row(Kind::Reduce, "binomial", binomial::reduce, binomial::reduce_cost)
    },
    Algorithm {
        ordered: false,
        cut: Cut::PerRank,
        ..row(Kind::Reduce, "circulant", circulant::reduce, circulant::reduce_cost)
    },
    Algorithm { ordered: false, ..row(Kind::Reduce, "knomial", knomial::reduce, knomial::cost) },
    Algorithm {
        ordered: false,
        cut: Cut::Segments,
        ..row(Kind::Reduce, "double_tree", double_tree::reduce, double_tree::cost)
    },
    row(Kind::Reduce, "binomial_ordered", binomial::reduce_ordered, binomial::reduce_ordered_cost),
    row(
        Kind::Allreduce,
        "recursive_doubling",
        recursive_doubling::allreduce,
        recursive_doubling::allreduce_cost,
    ),
    row(
        Kind::Allreduce,
        "recursive_multiplying",
        recursive_multiplying::allreduce,
        recursive_multiplying::allreduce_cost,
    ),
    Algorithm {
        ordered: false,
        cut: Cut::PerRank,
        ..row(Kind::Allreduce, "ring", ring::allreduce, ring::allreduce_cost)
    },
    Algorithm {
        ordered: false,
        cut: Cut::PerRank,
        ..row(Kind::Allreduce, "circulant", circulant::allreduce, circulant::allreduce_cost)
    },
    Algorithm {
        ordered: false,
        cut: Cut::Segments,
        ..row(Kind::Allreduce, "double_tree", double_tree::allreduce, double_tree::allreduce_cost)
    },
    Algorithm {
        ordered: false,
        cut: Cut::PerRank,
        numbers: Numbers::PowersOfTwo,
        ..row(Kind::Allreduce, "swing", swing::allreduce, swing::allreduce_cost)
    },
    Algorithm {
        ordered: false,
        in_place: false,
        ..row(
            Kind::ReduceScatter,
            "circulant",
            circulant::reduce_scatter,
            circulant::reduce_scatter_cost,
        )
    },
    Algorithm {
        ordered: false,
        in_place: false,
        ..row(
            Kind::ReduceScatter,
            "recursive_halving",
            recursive_halving::reduce_scatter,
            recursive_halving::cost,
        )
    },
    Algorithm {
        ordered: false,
        in_place: false,
        ..row(Kind::ReduceScatter, "pairwise", pairwise::reduce_scatter, pairwise::windowed_cost)
    },
    Algorithm {
        in_place: false,
        ..row(
            Kind::ReduceScatter,
            "pairwise_ordered",
            pairwise::reduce_scatter_ordered,
            pairwise::ordered_cost,
        )
    },
    Algorithm {
        in_place: false,
        ..row(
            Kind::ReduceScatter,
            "binomial_ordered",
            binomial::reduce_scatter,
            binomial::reduce_scatter_cost,
        )
    },
    row(Kind::Scan, "recursive_doubling", recursive_doubling::scan, recursive_doubling::scan_cost),
    row(
        Kind::Exscan,
        "recursive_doubling",
        recursive_doubling::exscan,
        recursive_doubling::exscan_cost,
    ),
    Algorithm {
        in_place: false,
        ..row(Kind::NeighborAllgather, "combined", neighbor::allgather, neighbor::allgather_cost)
    },
    Algorithm {
        in_place: false,
        ..row(Kind::NeighborAlltoall, "direct", neighbor::alltoall, neighbor::alltoall_cost)
    },
    inter(Kind::Barrier, between::barrier, between::barrier_cost),
    inter(Kind::Bcast, between::bcast, between::bcast_cost),
    inter(Kind::Gather, between::gather, between::rooted_cost),
    inter(Kind::Scatter, between::scatter, between::rooted_cost),
    inter(Kind::Allgather, between::allgather, between::exchange_cost),
    inter(Kind::Alltoall, between::alltoall, between::exchange_cost),
    inter(Kind::Reduce, between::reduce, between::reduce_cost),
    inter(Kind::Allreduce, between::allreduce, between::allreduce_cost),
];

const fn inter(
    kind: Kind,
    build: fn(&mut Builder, Parameters) -> Result<(), Refused>,
    cost: fn(&Shape, Parameters) -> Cost,
) -> Algorithm {
    Algorithm { inter: true, in_place: false, ..row(kind, "between", build, cost) }
}

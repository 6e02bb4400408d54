// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a collective costs on a machine that is not there.
//!
//! Three readers of the same schedules, each with its price:
//!
//! - `analytic`: a closed formula of the algorithm's cost and of what a few ranks do. Microseconds;
//!   what a selector can afford.
//! - `structural`: all ranks, slot by slot, with the load of every link. Schedules are made rank by
//!   rank and not kept; a million ranks in a minute.
//! - `event`: every step under a virtual clock, run by the executor's own
//!   [`Front`](crate::schedule::Front), with skew, noise, rendezvous and queues at the links. Up to
//!   some ten thousand ranks.
//!
//! They share the [`Model`] and the [`Topology`], and agree where they must: the tests compare
//! them with each other and with closed forms. Times are microseconds.
//!
//! Not here: the transport, clocks, threads, randomness without a seed.
#![forbid(unsafe_code)]

mod analytic;
mod event;
mod model;
mod structural;
mod topology;
mod walk;

pub use analytic::analytic;
pub use event::{Disturbance, Outcome, event};
pub use model::{Model, PRESETS, Way};
pub use structural::{Structure, structural};
pub use topology::{BadTopology, FORMS, Topology};

use crate::algorithm::{Algorithm, Parameters};
use crate::kind::Kind;
use crate::neighbors::Neighborhood;
use crate::schedule::Refused;
use crate::shape::{Rank, Shape};

/// One collective, by one algorithm, on one machine.
#[derive(Clone)]
pub struct Job<'a> {
    /// The algorithm.
    pub algorithm: &'static Algorithm,
    /// Its parameters.
    pub parameters: Parameters,
    /// The shape it is built for.
    pub shape: Shape,
    /// What things cost.
    pub model: &'a Model,
    /// Where nodes are.
    pub topology: &'a Topology,
    /// Ranks of a node; rank `r` is on node `r / ranks_per_node`.
    pub ranks_per_node: u32,
}

/// Why something is not simulated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The nodes of the topology do not hold the ranks.
    #[error("{ranks} ranks, {per_node} per node, need {needed} nodes; the topology has {nodes}")]
    TooFewNodes {
        /// Ranks.
        ranks: u32,
        /// Of one node.
        per_node: u32,
        /// Nodes that they need.
        needed: u32,
        /// Nodes that there are.
        nodes: u32,
    },
    /// The algorithm cannot serve the shape.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// It would take too long or too much memory.
    #[error("{0}")]
    TooLarge(String),
    /// Schedules do not fit each other.
    #[error("the schedules do not end: rank {rank} waits for ever")]
    Stuck {
        /// A rank that waits.
        rank: Rank,
    },
}

impl<'a> Job<'a> {
    /// An algorithm for so many ranks, with the cut that it wants; root 0; neighbours are those on
    /// a ring.
    pub fn new(
        algorithm: &'static Algorithm,
        ranks: u32,
        model: &'a Model,
        topology: &'a Topology,
        ranks_per_node: u32,
    ) -> Result<Job<'a>, Failure> {
        let parameters = Parameters::default();
        let mut shape = algorithm.cut(&Shape::new(algorithm.kind, ranks), parameters);
        if algorithm.kind.has_neighbors() {
            shape = shape.around(Neighborhood::grid(vec![(ranks, true)]));
        }
        if let Some(why) = algorithm.misfit(&shape) {
            return Err(Refused(format!("{}: it {why}", algorithm.name)).into());
        }
        let needed = ranks.div_ceil(ranks_per_node.max(1));
        if needed > topology.nodes() {
            let (per_node, nodes) = (ranks_per_node, topology.nodes());
            return Err(Failure::TooFewNodes { ranks, per_node, needed, nodes });
        }
        Ok(Job { algorithm, parameters, shape, model, topology, ranks_per_node })
    }

    /// The node of a rank.
    fn node(&self, rank: Rank) -> u32 {
        rank / self.ranks_per_node
    }

    /// Half a ping-pong of no bytes between two ranks, and whether they share a node.
    fn latency(&self, one: Rank, two: Rank) -> (f64, bool) {
        let (from, to) = (self.node(one), self.node(two));
        if from == to {
            (self.model.latency_us(true, 0), true)
        } else {
            (self.model.latency_us(false, self.topology.hops(from, to)), false)
        }
    }

    /// Bytes of one block, where the call has `bytes`: the whole vector of a kind whose vector is
    /// cut, else one rank's block.
    fn block_bytes(&self, bytes: f64) -> f64 {
        match self.shape.kind {
            Kind::Barrier => 0.0,
            kind if kind.is_partitioned() => bytes / f64::from(self.shape.blocks),
            _ => bytes,
        }
    }
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A closed formula: what a selector can afford.
//!
//! ```text
//! T = rounds x (mean latency + asking) + max(rounds x a mean message, all of the busiest rank)
//!     + combining and copying of the busiest rank
//! ```
//!
//! Rounds come from the algorithm's own formula. Means and the busiest rank come from some ranks
//! whose outlines are made: the first node's, the root's and a few more. A message is as slow as
//! its class: within a node, or over the network with the adapter shared by those of the node who
//! send as much, and squeezed by the tapering of a fat tree.
#![forbid(unsafe_code)]

use super::walk::Walker;
use super::{Failure, Job, Topology};
use crate::shape::Rank;
use std::collections::BTreeSet;

/// Steps that the looked-at ranks may have together; beyond, fewer ranks are looked at.
const STEPS_MAX: usize = 1 << 21;
/// Ranks of the first node that are looked at.
const NODE_RANKS_MAX: u32 = 64;

/// What one rank does.
#[derive(Clone, Copy, Default)]
struct Doing {
    /// Messages and blocks within the node, and over the network.
    messages: [f64; 2],
    blocks: [f64; 2],
    latency_us: f64,
    reduced: f64,
    copied: f64,
    cells: f64,
}

/// The time of a job for each number of bytes.
pub fn analytic(job: &Job, bytes: &[f64]) -> Result<Vec<f64>, Failure> {
    let model = job.model;
    let cost = job.algorithm.cost(&job.shape, job.parameters);
    let ranks = looked_at(job);
    let (mut all, mut steps) = (Vec::new(), 0);
    let mut walker = Walker::default();
    for rank in ranks {
        let outline = job.algorithm.outline(&job.shape, job.parameters, rank)?;
        steps += outline.steps.len();
        all.push((job.node(rank), doing(job, &mut walker, &outline, rank)));
        if steps > STEPS_MAX {
            break;
        }
    }
    let sum = |part: &dyn Fn(&Doing) -> f64| all.iter().map(|(_, doing)| part(doing)).sum::<f64>();
    let messages = [sum(&|d| d.messages[0]), sum(&|d| d.messages[1])];
    let blocks = [sum(&|d| d.blocks[0]), sum(&|d| d.blocks[1])];
    let count = (messages[0] + messages[1]).max(1.0);
    let latency = sum(&|d| d.latency_us) / count;
    let most =
        |part: &dyn Fn(&Doing) -> f64| all.iter().map(|(_, doing)| part(doing)).fold(0.0, f64::max);
    // Of the first node: all that leaves it, over what leaves it from one rank.
    let first = all.first().map_or(0, |(node, _)| *node);
    let leaving = all.iter().filter(|(node, _)| *node == first).map(|(_, d)| d.blocks[1]);
    let shared = leaving.clone().sum::<f64>() / leaving.fold(0.0, f64::max);
    let shared = if shared.is_finite() { shared.max(1.0) } else { 1.0 };
    let rates = [
        model.node.rate.min(model.memory_rate / f64::from(job.ranks_per_node)),
        model.network.rate / (shared * squeeze(job)),
    ];
    let rounds = cost.rounds as f64;
    let mean_message = cost.blocks as f64 / cost.messages.max(1) as f64;
    let slowness = (blocks[0] / rates[0] + blocks[1] / rates[1]) / (blocks[0] + blocks[1]).max(1.0);
    let busiest = most(&|d| d.blocks[0] / rates[0] + d.blocks[1] / rates[1]);
    let overheads = most(&|d| {
        d.messages[0] * model.node.overhead_us + d.messages[1] * model.network.overhead_us
    });
    let (reduced, copied) = (most(&|d| d.reduced), most(&|d| d.copied));
    let cells = most(&|d| d.cells) * model.cell_us;
    let time = |bytes: &f64| {
        let block = job.block_bytes(*bytes);
        let asks = |way: usize| {
            let mean = blocks[way] / messages[way].max(1.0) * block;
            let way_model = [&model.node, &model.network][way];
            if mean > way_model.eager_bytes {
                way_model.handshake_us * messages[way] / count
            } else {
                0.0
            }
        };
        let waits = rounds * (latency + asks(0) + asks(1));
        waits.max(overheads)
            + cells
            + (rounds * mean_message * slowness).max(busiest) * block
            + block * (reduced / model.reduce_rate + copied / model.copy_rate)
    };
    Ok(bytes.iter().map(time).collect())
}

/// The root's whole node, as far as it is small, then some ranks far and near.
fn looked_at(job: &Job) -> Vec<Rank> {
    let ranks = job.shape.ranks;
    let first = job.node(job.shape.root) * job.ranks_per_node;
    let mut chosen: Vec<Rank> = vec![job.shape.root];
    let mut seen: BTreeSet<Rank> = chosen.iter().copied().collect();
    let node = first..(first + job.ranks_per_node.min(NODE_RANKS_MAX)).min(ranks);
    let spread = (1..8u64).map(|k| (k * 0x9e37_79b1 % u64::from(ranks)) as Rank);
    for rank in node.chain([ranks - 1, ranks / 2]).chain(spread) {
        if seen.insert(rank) {
            chosen.push(rank);
        }
    }
    chosen
}

fn doing(job: &Job, walker: &mut Walker, outline: &crate::schedule::Outline, rank: Rank) -> Doing {
    let mut doing = Doing::default();
    let mut received = [0.0; 2];
    for step in &outline.steps {
        if let crate::schedule::Step::Recv { from, into } = *step {
            received[usize::from(!job.latency(rank, from).1)] += f64::from(into.count);
        }
    }
    let mut seen = |sent: super::walk::Sent| {
        let (latency_us, same_node) = job.latency(rank, sent.to);
        let way = usize::from(!same_node);
        doing.messages[way] += 1.0;
        doing.blocks[way] += f64::from(sent.blocks);
        doing.latency_us += latency_us;
    };
    let summary = walker.walk(outline, |_, _| None, &mut seen);
    // A rank that receives more than it sends is as busy as that.
    if received[0] + received[1] > doing.blocks[0] + doing.blocks[1] {
        doing.blocks = received;
    }
    (doing.reduced, doing.copied) = (summary.reduced as f64, summary.copied as f64);
    doing.cells = summary.cells as f64;
    doing
}

/// How much less than its adapter a node gets of the network when all send far.
fn squeeze(job: &Job) -> f64 {
    let nodes = job.shape.ranks.div_ceil(job.ranks_per_node);
    match job.topology {
        Topology::FatTree { down, taper } => {
            let mut below = 1;
            let crossed = down.iter().take_while(|count| {
                below *= **count;
                below < nodes
            });
            taper.powi(crossed.count() as i32).max(1.0)
        }
        Topology::Dragonfly { groups, nodes: at, global, .. } if *groups > 1 => {
            (f64::from(*at) / global).max(1.0)
        }
        _ => 1.0,
    }
}

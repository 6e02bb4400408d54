// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Neighbourhood collectives, each edge or each pair of neighbours by one message.
//!
//! All receives are posted at once, and at most a window of sends is in flight: every send finds
//! its receive, whatever the graph looks like, so nothing can wait in a circle.
//!
//! Allgather combines: the same block for the same rank travels once, and the receiver copies it to
//! the other edges from there. On a grid that saves half the messages of a dimension that wraps
//! and has two places; other neighbours on a grid are distinct, so that nothing more can be
//! combined without forwarding, and forwarding cannot pay for neighbours one step away. Alltoall
//! sends each edge its own message: the ranks need not agree on anything but the graph.
//!
//! Five ranks on a ring (a grid of one dimension that wraps), rank 2: receives output 0 from 1 and
//! output 1 from 3, sends to 1 and 3.
#![forbid(unsafe_code)]

use super::{Cost, Parameters};
use crate::neighbors::Neighborhood;
use crate::schedule::{Blocks, Buffer, Builder, Refused, Step, StepId};
use crate::shape::{Rank, Shape};
use std::collections::{HashMap, HashSet};

/// Adds the sends, a window of them at once.
fn send_all(
    b: &mut Builder,
    parameters: Parameters,
    sends: impl Iterator<Item = (Rank, Blocks)>,
) -> Result<(), Refused> {
    let window = parameters.window.max(1) as usize;
    let mut sent: Vec<StepId> = Vec::new();
    for (to, what) in sends {
        let after: Vec<_> = sent.len().checked_sub(window).map(|i| sent[i]).into_iter().collect();
        sent.push(b.add_after(Step::Send { to, what }, &after)?);
    }
    Ok(())
}

/// Whom a rank sends its block in an allgather: each destination but itself once.
fn receivers(around: &Neighborhood, rank: Rank) -> Vec<Rank> {
    let mut seen = HashSet::from([rank]);
    let all = (0..around.out_degree(rank)).filter_map(|edge| around.destination(rank, edge));
    all.filter(|to| seen.insert(*to)).collect()
}

pub(super) fn allgather(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let (rank, around, own) = (b.rank(), b.shape().neighbors().clone(), b.input());
    let mut arrived = HashMap::from([(rank, own)]);
    let mut copies = Vec::new();
    for edge in 0..around.in_degree(rank) {
        let into = Blocks::one(Buffer::Output, edge);
        let Some(from) = around.source(rank, edge) else { continue };
        match arrived.get(&from) {
            Some(&what) => copies.push(Step::Copy { what, into }),
            None => {
                b.add(Step::Recv { from, into })?;
                arrived.insert(from, into);
            }
        }
    }
    let sends = receivers(&around, rank).into_iter().map(|to| (to, own));
    send_all(b, parameters, sends)?;
    copies.into_iter().try_for_each(|copy| b.add(copy).map(drop))
}

pub(super) fn alltoall(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let (rank, around) = (b.rank(), b.shape().neighbors().clone());
    let mut to_self = Vec::new();
    for edge in around.arrivals(rank) {
        let into = Blocks::one(Buffer::Output, edge);
        match around.source(rank, edge) {
            Some(from) if from == rank => to_self.push(into),
            Some(from) => drop(b.add(Step::Recv { from, into })?),
            None => {}
        }
    }
    let edges = (0..around.out_degree(rank)).filter_map(|edge| {
        Some((around.destination(rank, edge)?, Blocks::one(Buffer::Input, edge)))
    });
    let (own, others): (Vec<_>, Vec<_>) = edges.partition(|(to, _)| *to == rank);
    send_all(b, parameters, others.into_iter())?;
    if own.len() != to_self.len() {
        return Err(Refused(format!(
            "rank {rank} has unequal numbers of edges to and from itself"
        )));
    }
    let pairs = own.into_iter().zip(to_self);
    pairs.map(|((_, what), into)| b.add(Step::Copy { what, into })).try_for_each(|s| s.map(drop))
}

/// With each rank's messages: rounds max ceil(messages of a rank / window).
fn cost(messages_of: impl Iterator<Item = u64>, parameters: Parameters) -> Cost {
    let (most, all) = messages_of.fold((0, 0), |(most, all), n| (n.max(most), all + n));
    let rounds = most.div_ceil(u64::from(parameters.window.max(1)));
    Cost { rounds, messages: all, blocks: all }
}

/// On a grid: for each dimension of `n` places, 2 messages of each rank, at a border that does not
/// wrap 1, 0 where n = 1. `pair`: the messages between two ranks that are each other's both
/// neighbours.
fn grid_cost(
    (ranks, dimensions): (u32, &[(u32, bool)]),
    pair: u64,
    parameters: Parameters,
) -> Cost {
    let (mut most, mut all) = (0, 0);
    for &(places, wraps) in dimensions {
        let lines = u64::from(ranks / places);
        let (of_one, of_line) = match (u64::from(places), wraps) {
            (1, _) => (0, 0),
            (2, true) => (pair, 2 * pair),
            (2, false) => (1, 2),
            (n, true) => (2, 2 * n),
            (n, false) => (2, 2 * (n - 1)),
        };
        most += of_one;
        all += lines * of_line;
    }
    let rounds = most.div_ceil(u64::from(parameters.window.max(1)));
    Cost { rounds, messages: all, blocks: all }
}

/// A message for each pair of neighbours.
pub(super) fn allgather_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let around = shape.neighbors();
    match around.as_grid() {
        Some(dimensions) => grid_cost((shape.ranks, dimensions), 1, parameters),
        None => {
            let messages = around.known(shape.ranks).map(|r| receivers(around, r).len() as u64);
            cost(messages, parameters)
        }
    }
}

/// A message for each edge that does not end where it begins.
pub(super) fn alltoall_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let around = shape.neighbors();
    let edges = |rank| {
        let all = (0..around.out_degree(rank)).filter_map(move |e| around.destination(rank, e));
        all.filter(move |to| *to != rank).count() as u64
    };
    match around.as_grid() {
        Some(dimensions) => grid_cost((shape.ranks, dimensions), 2, parameters),
        None => cost(around.known(shape.ranks).map(edges), parameters),
    }
}

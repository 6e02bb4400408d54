// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Distributed graph topologies (MPI-5.0 sections 8.5.4 and 8.5.5).

use crate::abi::Abi;
use crate::agreement::Circle;
use crate::api::arguments::out;
use crate::api::communicator::{give_comm, info_of};
use crate::api::topology::{give, intra, no_topology, numbers, with_topology};
use crate::entry::{Entry, on_comm};
use crate::error::{Result, class, error};
use crate::object::comm::{Comm, CommRef};
use crate::object::topology::{DistGraph, Edges, Topology};
use std::cell::Ref;
use std::ffi::c_int;

fn graph_of(comm: &Comm) -> Result<Ref<'_, DistGraph>> {
    let found = Ref::filter_map(comm.topology.borrow(), |t| match t {
        Some(Topology::DistGraph(graph)) => Some(graph),
        _ => None,
    });
    match found {
        Ok(graph) => Ok(graph),
        Err(_) => no_topology(comm, "distributed graph"),
    }
}

/// The caller's weights: none when unweighted.
unsafe fn weights_of<A: Abi>(n: c_int, weights: *const c_int) -> Result<Option<Vec<c_int>>> {
    if A::is_unweighted(weights) {
        return Ok(None);
    }
    if A::is_weights_empty(weights) {
        return Ok(Some(Vec::new()));
    }
    // SAFETY: the array has n elements, says the caller.
    let weights = unsafe { numbers(n, weights)? };
    match weights.iter().find(|&&w| w < 0) {
        Some(weight) => error(class::ARG, format!("the weight of an edge is {weight}")),
        None => Ok(Some(weights)),
    }
}

fn check_ranks(comm: &Comm, ranks: &[c_int]) -> Result {
    let size = comm.group.size() as c_int;
    match ranks.iter().find(|r| !(0..size).contains(*r)) {
        Some(rank) => error(class::RANK, format!("an edge names rank {rank} of {size}")),
        None => Ok(()),
    }
}

unsafe fn finish<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    graph: DistGraph,
    newcomm: *mut A::Handle,
) -> Result {
    let size = comm.group.size() as i32;
    let new = with_topology(entry, comm, size, Topology::DistGraph(graph))?;
    // SAFETY: the caller's conditions.
    unsafe { give_comm::<A>(entry, new, newcomm)? };
    Ok(())
}

pub unsafe fn MPI_Dist_graph_create_adjacent<A: Abi>(
    comm_old: A::Handle,
    indegree: c_int,
    sources: *const c_int,
    sourceweights: *const c_int,
    outdegree: c_int,
    destinations: *const c_int,
    destweights: *const c_int,
    info: A::Handle,
    _reorder: c_int,
    comm_dist_graph: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Dist_graph_create_adjacent", comm_old, |entry, comm| {
        intra(comm)?;
        info_of::<A>(entry, info)?;
        // SAFETY: the arrays are as long as the degrees say, says the caller.
        unsafe {
            let (near, far) = (numbers(indegree, sources)?, numbers(outdegree, destinations)?);
            check_ranks(comm, &near)?;
            check_ranks(comm, &far)?;
            let near_weights = weights_of::<A>(indegree, sourceweights)?;
            let far_weights = weights_of::<A>(outdegree, destweights)?;
            let weighted = near_weights.is_some() || far_weights.is_some();
            let graph = DistGraph {
                sources: Edges { ranks: near, weights: near_weights.unwrap_or_default() },
                destinations: Edges { ranks: far, weights: far_weights.unwrap_or_default() },
                weighted,
            };
            finish::<A>(entry, comm, graph, comm_dist_graph)
        }
    })
}

/// One edge as it is exchanged.
type Edge = [c_int; 3];

fn encode(edges: &[Edge]) -> Vec<u8> {
    edges.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
}

fn decode(bytes: &[u8]) -> impl Iterator<Item = Edge> {
    let word = |c: &[u8]| c_int::from_le_bytes(c.try_into().expect("four bytes"));
    bytes.chunks_exact(12).map(move |e| [word(&e[..4]), word(&e[4..8]), word(&e[8..])])
}

/// The edges that the caller lists: (source, destination, weight).
unsafe fn listed<A: Abi>(
    comm: &Comm,
    (n, sources, degrees): (c_int, *const c_int, *const c_int),
    (destinations, weights): (*const c_int, *const c_int),
) -> Result<(Vec<Edge>, bool)> {
    // SAFETY: the arrays are as long as n and the degrees say, says the caller.
    unsafe {
        let (sources, degrees) = (numbers(n, sources)?, numbers(n, degrees)?);
        if degrees.iter().any(|&d| d < 0) {
            return error(class::ARG, format!("the degrees are {degrees:?}"));
        }
        let total = degrees.iter().sum();
        let ends = numbers(total, destinations)?;
        check_ranks(comm, &sources)?;
        check_ranks(comm, &ends)?;
        let weights = weights_of::<A>(total, weights)?;
        let starts = sources
            .iter()
            .zip(&degrees)
            .flat_map(|(&source, &degree)| std::iter::repeat_n(source, degree as usize));
        let weight = |i: usize| weights.as_ref().and_then(|w| w.get(i)).copied().unwrap_or(1);
        let edges = starts.zip(&ends).enumerate().map(|(i, (s, &d))| [s, d, weight(i)]).collect();
        Ok((edges, weights.is_some()))
    }
}

pub unsafe fn MPI_Dist_graph_create<A: Abi>(
    comm_old: A::Handle,
    n: c_int,
    sources: *const c_int,
    degrees: *const c_int,
    destinations: *const c_int,
    weights: *const c_int,
    info: A::Handle,
    _reorder: c_int,
    comm_dist_graph: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Dist_graph_create", comm_old, |entry, comm| {
        intra(comm)?;
        info_of::<A>(entry, info)?;
        // SAFETY: this function's own conditions.
        let (edges, weighted) =
            unsafe { listed::<A>(comm, (n, sources, degrees), (destinations, weights))? };
        let all = Circle::of_comm(comm).allgatherv(entry, &encode(&edges))?;
        let me = comm.rank as c_int;
        let (mut near, mut far) = (Edges::default(), Edges::default());
        for [source, destination, weight] in decode(&all) {
            if destination == me {
                near.ranks.push(source);
                near.weights.push(weight);
            }
            if source == me {
                far.ranks.push(destination);
                far.weights.push(weight);
            }
        }
        if !weighted {
            near.weights.clear();
            far.weights.clear();
        }
        let graph = DistGraph { sources: near, destinations: far, weighted };
        // SAFETY: this function's own conditions.
        unsafe { finish::<A>(entry, comm, graph, comm_dist_graph) }
    })
}

pub unsafe fn MPI_Dist_graph_neighbors_count<A: Abi>(
    comm: A::Handle,
    indegree: *mut c_int,
    outdegree: *mut c_int,
    weighted: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Dist_graph_neighbors_count", comm, |_, comm| {
        let graph = graph_of(comm)?;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe {
            *out(indegree, "indegree")? = graph.sources.ranks.len() as c_int;
            *out(outdegree, "outdegree")? = graph.destinations.ranks.len() as c_int;
            *out(weighted, "weighted")? = c_int::from(graph.weighted);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Dist_graph_neighbors<A: Abi>(
    comm: A::Handle,
    maxindegree: c_int,
    sources: *mut c_int,
    sourceweights: *mut c_int,
    maxoutdegree: c_int,
    destinations: *mut c_int,
    destweights: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Dist_graph_neighbors", comm, |_, comm| {
        let graph = graph_of(comm)?;
        let wanted = |weights: *mut c_int| {
            graph.weighted && !A::is_unweighted(weights) && !A::is_weights_empty(weights)
        };
        // SAFETY: the arrays are as long as their limits say, says the caller.
        unsafe {
            give(&graph.sources.ranks, maxindegree, sources);
            give(&graph.destinations.ranks, maxoutdegree, destinations);
            if wanted(sourceweights) {
                give(&graph.sources.weights, maxindegree, sourceweights);
            }
            if wanted(destweights) {
                give(&graph.destinations.weights, maxoutdegree, destweights);
            }
        }
        Ok(())
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cartesian and graph topologies (MPI-5.0 sections 8.5.1 to 8.5.6). Distributed graphs are in
//! dist_graph.rs.

use crate::abi::{Abi, Family};
use crate::api::arguments::{PROC_NULL, UNDEFINED, out};
use crate::api::communicator::give_comm;
use crate::api::split::split;
use crate::entry::{Entry, on_comm};
use crate::error::{Result, class, error};
use crate::object::comm::{Comm, CommRef};
use crate::object::topology::{Cart, Graph, Topology};
use std::cell::Ref;
use std::ffi::c_int;

/// Canonical MPI_CART, MPI_GRAPH, MPI_DIST_GRAPH.
const KINDS: (c_int, c_int, c_int) = (211, 212, 213);

pub unsafe fn MPI_Topo_test<A: Abi>(comm: A::Handle, status: *mut c_int) -> c_int {
    on_comm::<A>("MPI_Topo_test", comm, |_, comm| {
        let kind = |kind| A::constant_out(Family::Topology, kind);
        let found = match &*comm.topology.borrow() {
            None => UNDEFINED,
            Some(Topology::Cart(_)) => kind(KINDS.0),
            Some(Topology::Graph(_)) => kind(KINDS.1),
            Some(Topology::DistGraph(_)) => kind(KINDS.2),
        };
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(status, "status")? = found };
        Ok(())
    })
}

/// The `n` elements of an array of the caller's.
pub(crate) unsafe fn numbers(n: c_int, array: *const c_int) -> Result<Vec<c_int>> {
    match usize::try_from(n) {
        Ok(0) => Ok(Vec::new()),
        Ok(n) if !array.is_null() => {
            // SAFETY: the array has n elements, says the caller.
            Ok(unsafe { std::slice::from_raw_parts(array, n) }.to_vec())
        }
        Ok(_) => error(class::ARG, "an array is NULL"),
        Err(_) => error(class::ARG, format!("a number of elements is {n}")),
    }
}

/// Copies as many numbers as the caller's array holds.
pub(crate) unsafe fn give(numbers: &[c_int], limit: c_int, array: *mut c_int) {
    for (i, &number) in numbers.iter().take(limit.max(0) as usize).enumerate() {
        // SAFETY: the array has `limit` elements, says the caller.
        unsafe { *array.add(i) = number };
    }
}

/// Makes a communicator of the first `size` ranks with a topology.
pub(crate) fn with_topology(
    entry: &mut Entry,
    comm: &CommRef,
    size: i32,
    topology: Topology,
) -> Result<Option<Comm>> {
    let members = comm.group.size() as i32;
    if size > members {
        return error(
            class::TOPOLOGY,
            format!("the topology has {size} places, {} has {members}", comm.describe()),
        );
    }
    let color = if (comm.rank as i32) < size { 0 } else { UNDEFINED };
    let new = split(entry, comm, color, comm.rank as i32)?;
    if let Some(new) = &new {
        new.topology.replace(Some(topology));
    }
    Ok(new)
}

pub(crate) fn intra(comm: &Comm) -> Result {
    match comm.is_inter() {
        true => error(class::COMM, "topologies need an intracommunicator"),
        false => Ok(()),
    }
}

fn cart_of(comm: &Comm) -> Result<Ref<'_, Cart>> {
    let found = Ref::filter_map(comm.topology.borrow(), |t| match t {
        Some(Topology::Cart(cart)) => Some(cart),
        _ => None,
    });
    match found {
        Ok(cart) => Ok(cart),
        Err(_) => no_topology(comm, "Cartesian"),
    }
}

fn graph_of(comm: &Comm) -> Result<Ref<'_, Graph>> {
    let found = Ref::filter_map(comm.topology.borrow(), |t| match t {
        Some(Topology::Graph(graph)) => Some(graph),
        _ => None,
    });
    match found {
        Ok(graph) => Ok(graph),
        Err(_) => no_topology(comm, "graph"),
    }
}

pub(crate) fn no_topology<T>(comm: &Comm, kind: &str) -> Result<T> {
    error(class::TOPOLOGY, format!("{} has no {kind} topology", comm.describe()))
}

unsafe fn grid(ndims: c_int, dims: *const c_int, periods: *const c_int) -> Result<Cart> {
    if ndims < 0 {
        return error(class::DIMS, format!("the number of dimensions is {ndims}"));
    }
    // SAFETY: both arrays have ndims elements, says the caller.
    let (dims, periods) = unsafe { (numbers(ndims, dims)?, numbers(ndims, periods)?) };
    let places = dims.iter().try_fold(1i32, |places, &dim| places.checked_mul(dim));
    if dims.iter().any(|&dim| dim < 1) || places.is_none() {
        return error(class::DIMS, format!("the dimensions are {dims:?}"));
    }
    Ok(Cart { dims, periods: periods.into_iter().map(|p| p != 0).collect() })
}

pub unsafe fn MPI_Cart_create<A: Abi>(
    comm_old: A::Handle,
    ndims: c_int,
    dims: *const c_int,
    periods: *const c_int,
    _reorder: c_int,
    comm_cart: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Cart_create", comm_old, |entry, comm| {
        intra(comm)?;
        // SAFETY: this function's own conditions.
        let cart = unsafe { grid(ndims, dims, periods)? };
        let new = with_topology(entry, comm, cart.size(), Topology::Cart(cart))?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, comm_cart)? };
        Ok(())
    })
}

pub unsafe fn MPI_Cart_map<A: Abi>(
    comm: A::Handle,
    ndims: c_int,
    dims: *const c_int,
    periods: *const c_int,
    newrank: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Cart_map", comm, |_, comm| {
        // SAFETY: this function's own conditions.
        let size = unsafe { grid(ndims, dims, periods)? }.size();
        map(comm, size, newrank)
    })
}

/// The rank that this process would have in a topology of `size` places.
fn map(comm: &Comm, size: i32, newrank: *mut c_int) -> Result {
    if size > comm.group.size() as i32 {
        return error(class::TOPOLOGY, format!("the topology has {size} places: too many"));
    }
    let rank = comm.rank as i32;
    // SAFETY: checked not to be null; writable, says the caller of MPI.
    unsafe { *out(newrank, "newrank")? = if rank < size { rank } else { UNDEFINED } };
    Ok(())
}

pub unsafe fn MPI_Cartdim_get<A: Abi>(comm: A::Handle, ndims: *mut c_int) -> c_int {
    on_comm::<A>("MPI_Cartdim_get", comm, |_, comm| {
        let found = cart_of(comm)?.dims.len() as c_int;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(ndims, "ndims")? = found };
        Ok(())
    })
}

pub unsafe fn MPI_Cart_get<A: Abi>(
    comm: A::Handle,
    maxdims: c_int,
    dims: *mut c_int,
    periods: *mut c_int,
    coords: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Cart_get", comm, |_, comm| {
        let cart = cart_of(comm)?;
        let wraps: Vec<c_int> = cart.periods.iter().map(|&p| c_int::from(p)).collect();
        // SAFETY: the arrays have maxdims elements, says the caller.
        unsafe {
            give(&cart.dims, maxdims, dims);
            give(&wraps, maxdims, periods);
            give(&cart.coords(comm.rank as i32), maxdims, coords);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Cart_rank<A: Abi>(
    comm: A::Handle,
    coords: *const c_int,
    rank: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Cart_rank", comm, |_, comm| {
        let cart = cart_of(comm)?;
        // SAFETY: the array has an element for each dimension, says the caller.
        let coords = unsafe { numbers(cart.dims.len() as c_int, coords)? };
        let Some(found) = cart.rank(&coords) else {
            let dims = &cart.dims;
            return error(class::RANK, format!("{coords:?} lie outside the grid {dims:?}"));
        };
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(rank, "rank")? = found };
        Ok(())
    })
}

pub unsafe fn MPI_Cart_coords<A: Abi>(
    comm: A::Handle,
    rank: c_int,
    maxdims: c_int,
    coords: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Cart_coords", comm, |_, comm| {
        let cart = cart_of(comm)?;
        if !(0..cart.size()).contains(&rank) {
            return error(class::RANK, format!("the rank is {rank} of {}", cart.size()));
        }
        // SAFETY: the array has maxdims elements, says the caller.
        unsafe { give(&cart.coords(rank), maxdims, coords) };
        Ok(())
    })
}

pub unsafe fn MPI_Cart_shift<A: Abi>(
    comm: A::Handle,
    direction: c_int,
    disp: c_int,
    rank_source: *mut c_int,
    rank_dest: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Cart_shift", comm, |_, comm| {
        let cart = cart_of(comm)?;
        let Some(axis) = usize::try_from(direction).ok().filter(|&d| d < cart.dims.len()) else {
            return error(class::ARG, format!("there is no dimension {direction}"));
        };
        let at =
            |steps| cart.shifted(comm.rank as i32, axis, steps).unwrap_or(A::rank_out(PROC_NULL));
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe {
            *out(rank_source, "rank_source")? = at(-disp);
            *out(rank_dest, "rank_dest")? = at(disp);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Cart_sub<A: Abi>(
    comm: A::Handle,
    remain_dims: *const c_int,
    newcomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Cart_sub", comm, |entry, comm| {
        let cart = cart_of(comm)?.clone();
        // SAFETY: the array has an element for each dimension, says the caller.
        let remain = unsafe { numbers(cart.dims.len() as c_int, remain_dims)? };
        let coords = cart.coords(comm.rank as i32);
        let (mut color, mut part) = (0, Cart { dims: Vec::new(), periods: Vec::new() });
        for (axis, &keep) in remain.iter().enumerate() {
            if keep != 0 {
                part.dims.push(cart.dims[axis]);
                part.periods.push(cart.periods[axis]);
            } else {
                color = color * cart.dims[axis] + coords[axis];
            }
        }
        let new = split(entry, comm, color, comm.rank as i32)?;
        if let Some(new) = &new {
            new.topology.replace(Some(Topology::Cart(part)));
        }
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, newcomm)? };
        Ok(())
    })
}

unsafe fn graph(nnodes: c_int, index: *const c_int, edges: *const c_int) -> Result<Graph> {
    // SAFETY: the array has nnodes elements, says the caller.
    let index = unsafe { numbers(nnodes, index)? };
    if index.iter().any(|&i| i < 0) || !index.is_sorted() {
        return error(class::ARG, format!("the index of the graph is {index:?}"));
    }
    // SAFETY: the array has as many elements as the last index says, says the caller.
    let edges = unsafe { numbers(index.last().copied().unwrap_or(0), edges)? };
    if let Some(edge) = edges.iter().find(|e| !(0..nnodes).contains(*e)) {
        return error(class::ARG, format!("an edge leads to {edge} in a graph of {nnodes}"));
    }
    Ok(Graph { index, edges })
}

pub unsafe fn MPI_Graph_create<A: Abi>(
    comm_old: A::Handle,
    nnodes: c_int,
    indx: *const c_int,
    edges: *const c_int,
    _reorder: c_int,
    comm_graph: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Graph_create", comm_old, |entry, comm| {
        intra(comm)?;
        // SAFETY: this function's own conditions.
        let graph = unsafe { graph(nnodes, indx, edges)? };
        let new = with_topology(entry, comm, nnodes, Topology::Graph(graph))?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, comm_graph)? };
        Ok(())
    })
}

pub unsafe fn MPI_Graph_map<A: Abi>(
    comm: A::Handle,
    nnodes: c_int,
    indx: *const c_int,
    edges: *const c_int,
    newrank: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Graph_map", comm, |_, comm| {
        // SAFETY: this function's own conditions.
        unsafe { graph(nnodes, indx, edges)? };
        map(comm, nnodes, newrank)
    })
}

pub unsafe fn MPI_Graphdims_get<A: Abi>(
    comm: A::Handle,
    nnodes: *mut c_int,
    nedges: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Graphdims_get", comm, |_, comm| {
        let graph = graph_of(comm)?;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe {
            *out(nnodes, "nnodes")? = graph.index.len() as c_int;
            *out(nedges, "nedges")? = graph.edges.len() as c_int;
        }
        Ok(())
    })
}

pub unsafe fn MPI_Graph_get<A: Abi>(
    comm: A::Handle,
    maxindex: c_int,
    maxedges: c_int,
    indx: *mut c_int,
    edges: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Graph_get", comm, |_, comm| {
        let graph = graph_of(comm)?;
        // SAFETY: the arrays are as long as their limits say, says the caller.
        unsafe {
            give(&graph.index, maxindex, indx);
            give(&graph.edges, maxedges, edges);
        }
        Ok(())
    })
}

fn neighbors_of(comm: &Comm, rank: c_int) -> Result<Vec<c_int>> {
    let graph = graph_of(comm)?;
    match usize::try_from(rank) {
        Ok(rank) if rank < graph.index.len() => Ok(graph.neighbors(rank).to_vec()),
        _ => error(class::RANK, format!("the rank is {rank} of {}", graph.index.len())),
    }
}

pub unsafe fn MPI_Graph_neighbors_count<A: Abi>(
    comm: A::Handle,
    rank: c_int,
    nneighbors: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Graph_neighbors_count", comm, |_, comm| {
        let found = neighbors_of(comm, rank)?.len() as c_int;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(nneighbors, "nneighbors")? = found };
        Ok(())
    })
}

pub unsafe fn MPI_Graph_neighbors<A: Abi>(
    comm: A::Handle,
    rank: c_int,
    maxneighbors: c_int,
    neighbors: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Graph_neighbors", comm, |_, comm| {
        // SAFETY: the array has maxneighbors elements, says the caller.
        unsafe { give(&neighbors_of(comm, rank)?, maxneighbors, neighbors) };
        Ok(())
    })
}

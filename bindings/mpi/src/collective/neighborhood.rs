// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Arguments of the neighbourhood collectives, checked, as a [`Call`] (MPI-5.0 section 8.6).
//!
//! The topology of the communicator says who the neighbours are, and their order is that of the
//! blocks: on a Cartesian grid, of each dimension the one below and the one above; in a graph,
//! the order of MPI_Graph_neighbors or MPI_Dist_graph_neighbors. MPI_IN_PLACE has no meaning.

use super::area::Area;
use super::build::{Even, Rows, in_place, piece};
use super::{Call, shape};
use crate::abi::Abi;
use crate::api::topology::no_topology;
use crate::entry::Entry;
use crate::error::Result;
use crate::object::comm::{Comm, CommRef};
use crate::object::topology::Topology;
use strait_collectives::kind::Kind;
use strait_collectives::neighbors::{Edges, Neighborhood};

/// Who exchanges with whom on this communicator.
fn neighborhood(comm: &Comm) -> Result<Neighborhood> {
    let ranks = |numbers: &[i32]| numbers.iter().map(|rank| *rank as u32).collect::<Vec<_>>();
    let local =
        |sources, destinations| Neighborhood::local(comm.rank, Edges { sources, destinations });
    Ok(match &*comm.topology.borrow() {
        Some(Topology::Cart(cart)) => {
            let places = cart.dims.iter().map(|dim| *dim as u32);
            Neighborhood::grid(places.zip(cart.periods.iter().copied()).collect())
        }
        Some(Topology::Graph(graph)) => {
            let around = ranks(graph.neighbors(comm.rank as usize));
            local(around.clone(), around)
        }
        Some(Topology::DistGraph(graph)) => {
            local(ranks(&graph.sources.ranks), ranks(&graph.destinations.ranks))
        }
        None => return no_topology(comm, "virtual"),
    })
}

/// # Safety
/// Arrays have an element for each edge that comes in.
pub unsafe fn allgather<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    send: Even<A>,
    receive: Rows<A>,
) -> Result<Call> {
    let around = neighborhood(comm)?;
    in_place::<A>(comm, send.0, false)?;
    in_place::<A>(comm, receive.base(), false)?;
    let edges = around.in_degree(comm.rank) as usize;
    let mut call = Call::new(shape(comm, Kind::NeighborAllgather).around(around));
    call.input = Area::of_piece(piece::<A>(entry, send)?);
    // SAFETY: the caller's promise.
    call.output = unsafe { receive.area(entry, edges)? };
    Ok(call)
}

/// # Safety
/// Arrays have an element for each edge that goes out, or comes in.
pub unsafe fn alltoall<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    send: Rows<A>,
    receive: Rows<A>,
) -> Result<Call> {
    let around = neighborhood(comm)?;
    in_place::<A>(comm, send.base(), false)?;
    in_place::<A>(comm, receive.base(), false)?;
    let (out, into) = (around.out_degree(comm.rank), around.in_degree(comm.rank));
    let mut call = Call::new(shape(comm, Kind::NeighborAlltoall).around(around));
    // SAFETY: the caller's promise.
    (call.input, call.output) =
        unsafe { (send.area(entry, out as usize)?, receive.area(entry, into as usize)?) };
    Ok(call)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How many, and which: lengths of arrays that C takes from a communicator, and indices.

use crate::exports::{
    PMPI_Cartdim_get, PMPI_Comm_remote_size, PMPI_Comm_size, PMPI_Comm_test_inter,
    PMPI_Dist_graph_neighbors_count, PMPI_Graph_neighbors_count, PMPI_Topo_test,
};
use crate::handle::handle;
use std::ffi::c_int;

/// MPI_UNDEFINED
pub const UNDEFINED: c_int = -32766;
/// MPI_COMM_NULL
const COMM_NULL: c_int = 0x100;
/// What MPI_Topo_test says.
const CART: c_int = 211;
const GRAPH: c_int = 212;
const DIST_GRAPH: c_int = 213;

/// Turns indices of C into those of Fortran.
///
/// # Safety
/// There are so many.
#[inline]
pub unsafe fn from_one(indices: *mut c_int, count: c_int) {
    for i in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller's promise.
        let index = unsafe { &mut *indices.add(i) };
        if *index >= 0 {
            *index += 1;
        }
    }
}

/// The ranks that a collective call of the communicator has a block for.
///
/// A communicator that is none has no ranks: the C function will say so.
pub fn everyone(comm: c_int) -> i64 {
    if comm == COMM_NULL {
        return 0;
    }
    let (comm, mut is_inter, mut size) = (handle(comm), 0, 0);
    // SAFETY: the places are ours.
    let tested = unsafe { PMPI_Comm_test_inter(comm, &raw mut is_inter) };
    // SAFETY: the same.
    let sized = unsafe {
        match is_inter {
            0 => PMPI_Comm_size(comm, &raw mut size),
            _ => PMPI_Comm_remote_size(comm, &raw mut size),
        }
    };
    if tested == 0 && sized == 0 { size.into() } else { 0 }
}

/// The neighbours that a rank sends to.
pub fn targets(comm: c_int) -> i64 {
    neighbors(comm).1.into()
}

/// The neighbours that a rank receives from.
pub fn sources(comm: c_int) -> i64 {
    neighbors(comm).0.into()
}

fn neighbors(comm: c_int) -> (c_int, c_int) {
    if comm == COMM_NULL {
        return (0, 0);
    }
    let (comm, mut topology) = (handle(comm), UNDEFINED);
    // SAFETY: the place is ours.
    if unsafe { PMPI_Topo_test(comm, &raw mut topology) } != 0 {
        return (0, 0);
    }
    let (mut some, mut others, mut weighted) = (0, 0, 0);
    let result = match topology {
        // SAFETY: the place is ours.
        CART => unsafe { PMPI_Cartdim_get(comm, &raw mut some) },
        GRAPH => {
            let mut rank = 0;
            // SAFETY: the place is ours.
            match unsafe { crate::exports::PMPI_Comm_rank(comm, &raw mut rank) } {
                // SAFETY: the same.
                0 => unsafe { PMPI_Graph_neighbors_count(comm, rank, &raw mut some) },
                error => error,
            }
        }
        // SAFETY: the places are ours.
        DIST_GRAPH => unsafe {
            PMPI_Dist_graph_neighbors_count(comm, &raw mut some, &raw mut others, &raw mut weighted)
        },
        _ => 0,
    };
    match (result, topology) {
        (0, CART) => (2 * some, 2 * some),
        (0, GRAPH) => (some, some),
        (0, _) => (some, others),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices() {
        let mut indices = [0, 4, UNDEFINED, 7];
        // SAFETY: there are more.
        unsafe { from_one(indices.as_mut_ptr(), 3) };
        assert_eq!(indices, [1, 5, UNDEFINED, 7]);
        // SAFETY: none is touched.
        unsafe { from_one(indices.as_mut_ptr(), UNDEFINED) };
        assert_eq!(indices[0], 1);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtual topologies: what a communicator knows of its neighbours (MPI-5.0 chapter 8). Ranks are
//! never reordered yet.

/// A Cartesian grid, row-major: the last dimension varies fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cart {
    /// Extent of each dimension.
    pub dims: Vec<i32>,
    /// Whether it wraps around.
    pub periods: Vec<bool>,
}

impl Cart {
    /// Number of grid points.
    pub fn size(&self) -> i32 {
        self.dims.iter().product()
    }

    /// Coordinates of a rank.
    pub fn coords(&self, rank: i32) -> Vec<i32> {
        let mut coords = vec![0; self.dims.len()];
        let mut rest = rank;
        for (coord, dim) in coords.iter_mut().zip(&self.dims).rev() {
            *coord = rest % dim;
            rest /= dim;
        }
        coords
    }

    /// Rank at coordinates; those of a periodic dimension wrap. `None`: outside the grid.
    pub fn rank(&self, coords: &[i32]) -> Option<i32> {
        let mut rank = 0;
        for ((&coord, &dim), &wraps) in coords.iter().zip(&self.dims).zip(&self.periods) {
            let coord = if wraps { coord.rem_euclid(dim) } else { coord };
            if !(0..dim).contains(&coord) {
                return None;
            }
            rank = rank * dim + coord;
        }
        Some(rank)
    }

    /// The rank `steps` further along a dimension.
    pub fn shifted(&self, rank: i32, direction: usize, steps: i32) -> Option<i32> {
        let mut coords = self.coords(rank);
        coords[direction] += steps;
        self.rank(&coords)
    }
}

/// A graph that every member knows wholly: `index[r]` ends the neighbours of rank r in `edges`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// Cumulated degrees.
    pub index: Vec<i32>,
    /// Neighbours of rank 0, then of rank 1, ...
    pub edges: Vec<i32>,
}

impl Graph {
    /// Neighbours of a rank.
    pub fn neighbors(&self, rank: usize) -> &[i32] {
        let start = if rank == 0 { 0 } else { self.index[rank - 1] };
        &self.edges[start as usize..self.index[rank] as usize]
    }
}

/// One side of a distributed graph at this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// The other ranks.
    pub ranks: Vec<i32>,
    /// A weight each; empty when unweighted.
    pub weights: Vec<i32>,
}

/// A graph of which every member knows its own edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistGraph {
    /// Edges that come in.
    pub sources: Edges,
    /// Edges that go out.
    pub destinations: Edges,
    /// Whether weights were given.
    pub weighted: bool,
}

/// What a communicator has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// MPI_CART
    Cart(Cart),
    /// MPI_GRAPH
    Graph(Graph),
    /// MPI_DIST_GRAPH
    DistGraph(DistGraph),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_coordinates_are_inverse() {
        let cart = Cart { dims: vec![2, 3, 4], periods: vec![false, true, false] };
        for rank in 0..cart.size() {
            assert_eq!(cart.rank(&cart.coords(rank)), Some(rank));
        }
        assert_eq!(cart.coords(23), [1, 2, 3]);
        assert_eq!(cart.rank(&[0, -1, 0]), Some(8));
        assert_eq!(cart.rank(&[0, 0, 4]), None);
        assert_eq!(cart.shifted(0, 1, -1), Some(8));
        assert_eq!(cart.shifted(0, 0, -1), None);
    }

    #[test]
    fn neighbours_of_a_graph() {
        let graph = Graph { index: vec![2, 2, 3], edges: vec![1, 2, 0] };
        assert_eq!(graph.neighbors(0), [1, 2]);
        assert!(graph.neighbors(1).is_empty());
        assert_eq!(graph.neighbors(2), [0]);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who exchanges with whom in a neighbourhood collective (MPI-5.0 section 8.6).
//!
//! A rank sends input block `k` along its `k`-th outgoing edge, and receives output block `l` along
//! its `l`-th incoming one. Which block meets which is part of the definition, for two ranks may be
//! joined by several edges:
//!
//! - On a grid there are two edges for each dimension, down and up, in both directions. What goes
//!   down comes from above: the block sent along edge `2d` arrives as block `2d + 1` of the
//!   receiver, and the other way round. This matters where a dimension that wraps has one or two
//!   places, because then both neighbours are the same rank. At a border that does not wrap there
//!   is nobody: the blocks exist, and nothing reads or writes them.
//! - In a graph the `j`-th edge from one rank to another in the sender's list is the `j`-th of them
//!   in the receiver's list.
//!
//! Five ranks on a line that does not wrap, alltoall: rank 0 {nobody, 1}, rank 1 {0, 2}, ...,
//! rank 4 {3, nobody}; rank 1's block 0 arrives as rank 0's block 1.
#![forbid(unsafe_code)]

use crate::shape::Rank;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The edges of one rank of a graph, each list in the order of its blocks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Edges {
    /// Where it receives from.
    pub sources: Vec<Rank>,
    /// Where it sends to.
    pub destinations: Vec<Rank>,
}

#[derive(PartialEq, Eq, Hash, Debug)]
enum Form {
    /// Places along each dimension (the last varies fastest), and whether it wraps.
    Grid(Vec<(u32, bool)>),
    /// What one rank knows of a graph.
    Local(Rank, Edges),
    /// All of a graph, for tools and tests.
    Whole(Vec<Edges>),
}

/// The neighbours of all ranks, as far as they are known here. Cheap to clone, hash and compare.
#[derive(Clone, Debug)]
pub struct Neighborhood {
    form: Arc<Form>,
    /// Of the form, made once: a shape is hashed at every call.
    hash: u64,
}

impl PartialEq for Neighborhood {
    fn eq(&self, other: &Neighborhood) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.form, &other.form) || self.form == other.form)
    }
}

impl Eq for Neighborhood {}

impl Hash for Neighborhood {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The number of edge `2d` for `2d + 1`, and the other way round.
fn mirrored(edge: u32) -> u32 {
    edge ^ 1
}

impl Neighborhood {
    fn new(form: Form) -> Neighborhood {
        let mut hasher = DefaultHasher::new();
        form.hash(&mut hasher);
        Neighborhood { form: Arc::new(form), hash: hasher.finish() }
    }

    /// A Cartesian grid: places along each dimension, and whether it wraps.
    pub fn grid(dimensions: Vec<(u32, bool)>) -> Neighborhood {
        Neighborhood::new(Form::Grid(dimensions))
    }

    /// A graph of which only the edges of one rank are known.
    pub fn local(rank: Rank, edges: Edges) -> Neighborhood {
        Neighborhood::new(Form::Local(rank, edges))
    }

    /// A graph of which everything is known.
    pub fn whole(edges: Vec<Edges>) -> Neighborhood {
        Neighborhood::new(Form::Whole(edges))
    }

    /// Whether the edges of a rank are known here.
    pub fn knows(&self, rank: Rank) -> bool {
        match &*self.form {
            Form::Grid(_) => true,
            Form::Local(known, _) => rank == *known,
            Form::Whole(all) => (rank as usize) < all.len(),
        }
    }

    /// What is wrong with it for so many ranks, if anything.
    pub fn check(&self, ranks: u32) -> Result<(), String> {
        let within = |edges: &Edges| {
            let stranger = edges.sources.iter().chain(&edges.destinations).find(|r| **r >= ranks);
            stranger.map_or(Ok(()), |r| Err(format!("an edge names rank {r} of {ranks}")))
        };
        match &*self.form {
            Form::Grid(dimensions) => {
                let places = dimensions.iter().try_fold(1u32, |all, d| all.checked_mul(d.0));
                match places == Some(ranks) {
                    true => Ok(()),
                    false => Err(format!("a grid of other than {ranks} places")),
                }
            }
            Form::Local(rank, edges) if *rank < ranks => within(edges),
            Form::Local(rank, _) => Err(format!("edges of rank {rank} of {ranks}")),
            Form::Whole(all) if all.len() == ranks as usize => all.iter().try_for_each(within),
            Form::Whole(all) => Err(format!("edges of {} ranks, not {ranks}", all.len())),
        }
    }

    /// The edges of a rank of a graph; `None` on a grid.
    fn edges(&self, rank: Rank) -> Option<&Edges> {
        assert!(self.knows(rank), "the edges of rank {rank} are not known here");
        match &*self.form {
            Form::Grid(_) => None,
            Form::Local(_, edges) => Some(edges),
            Form::Whole(all) => Some(&all[rank as usize]),
        }
    }

    fn dimensions(&self) -> &[(u32, bool)] {
        match &*self.form {
            Form::Grid(dimensions) => dimensions,
            _ => &[],
        }
    }

    /// The rank at the end of an edge on a grid.
    fn beyond(&self, rank: Rank, edge: u32) -> Option<Rank> {
        let (axis, up) = (edge as usize / 2, edge % 2 == 1);
        let (places, wraps) = self.dimensions()[axis];
        let stride: u32 = self.dimensions()[axis + 1..].iter().map(|d| d.0).product();
        let here = rank / stride % places;
        let there = match up {
            true if here + 1 < places => here + 1,
            true => 0,
            false if here > 0 => here - 1,
            false => places - 1,
        };
        let is_inside = if up { there == here + 1 } else { there + 1 == here };
        (is_inside || wraps).then(|| rank - here * stride + there * stride)
    }

    /// How many edges come in: the blocks of the output.
    pub fn in_degree(&self, rank: Rank) -> u32 {
        let edges = self.edges(rank).map(|edges| edges.sources.len());
        edges.unwrap_or(2 * self.dimensions().len()) as u32
    }

    /// How many edges go out.
    pub fn out_degree(&self, rank: Rank) -> u32 {
        let edges = self.edges(rank).map(|edges| edges.destinations.len());
        edges.unwrap_or(2 * self.dimensions().len()) as u32
    }

    /// Whom an edge comes from, if there is somebody; the edge is below [`Self::in_degree`].
    pub fn source(&self, rank: Rank, edge: u32) -> Option<Rank> {
        match self.edges(rank) {
            Some(edges) => Some(edges.sources[edge as usize]),
            None => self.beyond(rank, edge),
        }
    }

    /// Whom an edge leads to, if there is somebody; the edge is below [`Self::out_degree`].
    pub fn destination(&self, rank: Rank, edge: u32) -> Option<Rank> {
        match self.edges(rank) {
            Some(edges) => Some(edges.destinations[edge as usize]),
            None => self.beyond(rank, edge),
        }
    }

    /// The incoming edges in the order in which any one sender counts those to this rank.
    pub fn arrivals(&self, rank: Rank) -> impl Iterator<Item = u32> {
        let is_grid = self.edges(rank).is_none();
        (0..self.in_degree(rank)).map(move |edge| if is_grid { mirrored(edge) } else { edge })
    }

    /// The sender of an incoming edge, and how many edges from it come before in its count.
    pub fn arrival(&self, rank: Rank, edge: u32) -> Option<(Rank, u32)> {
        let source = self.source(rank, edge)?;
        let before = self.arrivals(rank).take_while(|other| *other != edge);
        let before = before.filter(|other| self.source(rank, *other) == Some(source));
        Some((source, before.count() as u32))
    }

    /// The receiver of an outgoing edge, and how many edges to it come before.
    pub fn departure(&self, rank: Rank, edge: u32) -> Option<(Rank, u32)> {
        let target = self.destination(rank, edge)?;
        let before = (0..edge).filter(|other| self.destination(rank, *other) == Some(target));
        Some((target, before.count() as u32))
    }

    /// The ranks whose edges are known, of so many.
    pub fn known(&self, ranks: u32) -> impl Iterator<Item = Rank> + '_ {
        let (first, end) = match &*self.form {
            Form::Local(rank, _) => (*rank, rank + 1),
            _ => (0, ranks),
        };
        first..end
    }

    /// The dimensions of a grid.
    pub fn as_grid(&self) -> Option<&[(u32, bool)]> {
        match &*self.form {
            Form::Grid(dimensions) => Some(dimensions),
            _ => None,
        }
    }

    /// Reads the text form that `Display` writes.
    pub fn parse(text: &str) -> Option<Neighborhood> {
        let (form, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match form {
            "grid" => {
                let dimension = |word: &str| {
                    let places = word.strip_suffix('*');
                    Some((number(places.unwrap_or(word))?, places.is_some()))
                };
                let dimensions: Option<Vec<_>> = rest.split_whitespace().map(dimension).collect();
                // Nobody lives on a grid with a dimension of no places.
                dimensions.filter(|all| all.iter().all(|d| d.0 > 0)).map(Neighborhood::grid)
            }
            "of" => {
                let (rank, edges) = rest.split_once(':')?;
                Some(Neighborhood::local(number(rank.trim())?, Edges::parse(edges)?))
            }
            "all" => {
                let all: Option<Vec<_>> = rest.split(';').map(Edges::parse).collect();
                all.map(Neighborhood::whole)
            }
            _ => None,
        }
    }
}

fn number(word: &str) -> Option<u32> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

impl Edges {
    fn parse(text: &str) -> Option<Edges> {
        let (sources, destinations) = text.split_once('>')?;
        let list = |text: &str| text.split_whitespace().map(number).collect::<Option<Vec<_>>>();
        Some(Edges { sources: list(sources)?, destinations: list(destinations)? })
    }
}

impl fmt::Display for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sources.iter().try_for_each(|rank| write!(f, "{rank} "))?;
        write!(f, ">")?;
        self.destinations.iter().try_for_each(|rank| write!(f, " {rank}"))
    }
}

/// `grid 3* 4` (a star: wraps), `of 3 : 0 1 > 2` (sources > destinations of rank 3), or
/// `all 1 > 1 ; 0 > 0` (of ranks 0, 1, ..).
impl fmt::Display for Neighborhood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.form {
            Form::Grid(dimensions) => {
                write!(f, "grid")?;
                let star = |wraps: bool| if wraps { "*" } else { "" };
                dimensions.iter().try_for_each(|(n, wraps)| write!(f, " {n}{}", star(*wraps)))
            }
            Form::Local(rank, edges) => write!(f, "of {rank} : {edges}"),
            Form::Whole(all) => {
                write!(f, "all ")?;
                all.iter().enumerate().try_for_each(|(rank, edges)| {
                    write!(f, "{}{edges}", if rank > 0 { " ; " } else { "" })
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_down_comes_from_above() {
        // 2 x 3, the first dimension wraps.
        let grid = Neighborhood::grid(vec![(2, true), (3, false)]);
        let of = |rank| (0..4).map(|edge| grid.source(rank, edge)).collect::<Vec<_>>();
        assert_eq!(of(0), [Some(3), Some(3), None, Some(1)]);
        assert_eq!(of(4), [Some(1), Some(1), Some(3), Some(5)]);
        // Rank 0 sends its edges 0 and 1 to rank 3, which counts edge 1 first.
        assert_eq!(grid.departure(0, 1), Some((3, 1)));
        assert_eq!((grid.arrival(3, 1), grid.arrival(3, 0)), (Some((0, 0)), Some((0, 1))));
        assert_eq!(grid.arrival(0, 2), None);
    }

    #[test]
    fn bad_ones_are_refused() {
        assert!(Neighborhood::grid(vec![(2, true)]).check(3).is_err());
        assert!(Neighborhood::grid(vec![(1 << 16, true), (1 << 16, true)]).check(0).is_err());
        let edges = Edges { sources: vec![4], destinations: vec![] };
        assert!(Neighborhood::local(1, edges.clone()).check(4).is_err());
        assert!(Neighborhood::local(1, edges.clone()).check(5).is_ok());
        assert!(Neighborhood::whole(vec![edges]).check(5).is_err());
        for text in ["", "grid 0", "grid 3+", "of : >", "of 1 : 2", "all", "all 1 2", "ring"] {
            assert_eq!(Neighborhood::parse(text), None, "{text}");
        }
    }
}

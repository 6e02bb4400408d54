// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where nodes are, and which links a message between two of them uses.
//!
//! Links `0 .. nodes` are the adapters outwards, `nodes .. 2 nodes` inwards; the network's own
//! links follow. A link's width is in adapters. Parallel links that an adaptive network fills
//! evenly are one wide link here: all links from a subtree of a fat tree upwards, all between two
//! groups of a dragonfly. Routes go the shortest way; a torus goes dimension by dimension.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::str::FromStr;

/// A network.
#[derive(Clone, PartialEq, Debug)]
pub enum Topology {
    /// One switch without limits.
    Flat {
        /// Nodes.
        nodes: u32,
    },
    /// Switches over switches: `down[0]` nodes under a leaf, `down[1]` leaves under the next, ...
    FatTree {
        /// How many below each level.
        down: Vec<u32>,
        /// Capacity downwards over capacity upwards at each level but the top.
        taper: f64,
    },
    /// Groups of routers, every router linked to all of its group, every group to all groups.
    Dragonfly {
        /// Groups.
        groups: u32,
        /// Routers of a group.
        routers: u32,
        /// Nodes at a router.
        nodes: u32,
        /// Global links at a router.
        global: f64,
        /// Whether messages avoid full global links by a third group.
        adaptive: bool,
    },
    /// Rings in each dimension.
    Torus {
        /// Nodes along each dimension; the first varies fastest.
        dims: Vec<u32>,
    },
}

/// Why a description of a network is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("topology '{text}': {why}")]
pub struct BadTopology {
    text: String,
    why: String,
}

/// What a description may look like.
pub const FORMS: &str = "flat[:NODES], fattree:AxBx..[,taper=T], \
    dragonfly:GROUPSxROUTERSxNODES[,global=G][,routing=minimal|adaptive], torus:XxYx..";

impl Topology {
    /// How many nodes there are.
    pub fn nodes(&self) -> u32 {
        match self {
            Topology::Flat { nodes } => *nodes,
            Topology::FatTree { down, .. } => down.iter().product(),
            Topology::Dragonfly { groups, routers, nodes, .. } => groups * routers * nodes,
            Topology::Torus { dims } => dims.iter().product(),
        }
    }

    /// How many links there are.
    pub fn links(&self) -> usize {
        let nodes = self.nodes() as usize;
        2 * nodes
            + match self {
                Topology::Flat { .. } => 0,
                Topology::FatTree { down, .. } => 2 * subtrees(down).iter().sum::<usize>(),
                Topology::Dragonfly { groups, routers, .. } => {
                    let (groups, routers) = (*groups as usize, *routers as usize);
                    groups * routers * routers + groups * groups
                }
                Topology::Torus { dims } => 2 * dims.len() * nodes,
            }
    }

    /// How wide a link is, in adapters.
    pub fn width(&self, link: usize) -> f64 {
        let nodes = self.nodes() as usize;
        if link < 2 * nodes {
            return 1.0;
        }
        match self {
            Topology::Flat { .. } => 1.0,
            Topology::FatTree { down, taper } => {
                let mut at = (link - 2 * nodes) / 2;
                let mut below = 1.0;
                for (level, count) in subtrees(down).into_iter().enumerate() {
                    below *= f64::from(down[level]);
                    if at < count {
                        return below / taper.powi(level as i32 + 1);
                    }
                    at -= count;
                }
                1.0
            }
            Topology::Dragonfly { groups, routers, global, .. } => {
                let is_local = link < 2 * nodes + (groups * routers * routers) as usize;
                if is_local {
                    1.0
                } else {
                    f64::from(*routers) * global / f64::from((groups - 1).max(1))
                }
            }
            Topology::Torus { .. } => 1.0,
        }
    }

    /// Switches between two different nodes.
    pub fn hops(&self, source: u32, target: u32) -> u32 {
        match self {
            Topology::Flat { .. } => 1,
            Topology::FatTree { down, .. } => 2 * meeting(down, source, target) as u32 + 1,
            Topology::Dragonfly { routers, nodes, .. } => {
                let (from, to) = (source / nodes, target / nodes);
                if from == to {
                    1
                } else if from / routers == to / routers {
                    2
                } else {
                    let (out, into) = self.gateways(from, to);
                    2 + u32::from(from != out) + u32::from(to != into)
                }
            }
            Topology::Torus { dims } => {
                ways(dims, source, target).map(|(_, _, steps, _)| steps).sum::<u32>().max(1)
            }
        }
    }

    /// Tells each link on the way between two different nodes.
    pub fn route(&self, source: u32, target: u32, mut link: impl FnMut(usize)) {
        let nodes = self.nodes() as usize;
        link(source as usize);
        link(nodes + target as usize);
        match self {
            Topology::Flat { .. } => {}
            Topology::FatTree { down, .. } => {
                let mut start = 2 * nodes;
                let (mut from, mut to) = (source, target);
                let counts = subtrees(down);
                for level in 0..meeting(down, source, target) {
                    from /= down[level];
                    to /= down[level];
                    link(start + 2 * from as usize);
                    link(start + 2 * to as usize + 1);
                    start += 2 * counts[level];
                }
            }
            Topology::Dragonfly { groups, routers, nodes: at_router, .. } => {
                let (from, to) = (source / at_router, target / at_router);
                let local =
                    |one: u32, two: u32| 2 * nodes + (one * routers + two % routers) as usize;
                if from / routers == to / routers {
                    if from != to {
                        link(local(from, to));
                    }
                    return;
                }
                let (out, into) = self.gateways(from, to);
                if from != out {
                    link(local(from, out));
                }
                if into != to {
                    link(local(into, to));
                }
                let pair = (from / routers) * groups + to / routers;
                link(2 * nodes + (groups * routers * routers + pair) as usize);
            }
            Topology::Torus { dims } => {
                for (dim, first, steps, up) in ways(dims, source, target) {
                    let stride: u32 = dims[..dim].iter().product();
                    let size = dims[dim];
                    let mut at = first;
                    for _ in 0..steps {
                        link(2 * nodes + (2 * dim + usize::from(up)) * nodes + at as usize);
                        let place = at / stride % size;
                        let next = if up { (place + 1) % size } else { (place + size - 1) % size };
                        at = at - place * stride + next * stride;
                    }
                }
            }
        }
    }

    /// The links between groups that share their load by detours, if the network does that.
    pub fn detours(&self) -> Option<Range<usize>> {
        match self {
            Topology::Dragonfly { groups, routers, adaptive: true, .. } if *groups > 2 => {
                let first = 2 * self.nodes() as usize + (groups * routers * routers) as usize;
                Some(first..first + (groups * groups) as usize)
            }
            _ => None,
        }
    }

    /// A usual network of a kind, just large enough.
    pub fn sized(kind: &str, nodes: u32) -> Option<Topology> {
        let grow = |mut fits: Box<dyn FnMut(u32) -> bool>| (1..).find(|k| fits(*k)).unwrap_or(1);
        Some(match kind {
            "flat" => Topology::Flat { nodes },
            "fattree" => {
                let down = if nodes <= 32 {
                    vec![nodes]
                } else if nodes <= 1024 {
                    vec![32, nodes.div_ceil(32)]
                } else {
                    vec![32, 32, nodes.div_ceil(1024)]
                };
                Topology::FatTree { down, taper: 1.0 }
            }
            "dragonfly" => {
                let (routers, at) = if nodes <= 512 { (8, 4) } else { (16, 8) };
                let groups = nodes.div_ceil(routers * at);
                let global = f64::from(at);
                Topology::Dragonfly { groups, routers, nodes: at, global, adaptive: true }
            }
            "torus" => {
                let side = grow(Box::new(move |k| u64::from(k).pow(3) >= u64::from(nodes)));
                Topology::Torus { dims: vec![side, side, nodes.div_ceil(side * side)] }
            }
            _ => return None,
        })
    }

    /// The routers of a dragonfly at both ends of the global way between two routers' groups:
    /// spread over the routers, so that neighbours use different ones.
    fn gateways(&self, from: u32, to: u32) -> (u32, u32) {
        let Topology::Dragonfly { routers, .. } = self else { return (from, to) };
        let (one, two) = (from / routers, to / routers);
        let spread = from % routers + to % routers;
        (one * routers + (two + spread) % routers, two * routers + (one + spread) % routers)
    }
}

/// How many subtrees there are at each level below the top.
fn subtrees(down: &[u32]) -> Vec<usize> {
    (1..down.len()).map(|level| down[level..].iter().map(|d| *d as usize).product()).collect()
}

/// The level at which the ways of two nodes meet.
fn meeting(down: &[u32], source: u32, target: u32) -> usize {
    let (mut from, mut to) = (source, target);
    for (level, count) in down.iter().enumerate() {
        from /= count;
        to /= count;
        if from == to {
            return level;
        }
    }
    down.len().saturating_sub(1)
}

/// For each dimension of a torus in which two nodes differ: where the way along it begins, how
/// many steps it has, and whether it goes up.
fn ways(
    dims: &[u32],
    source: u32,
    target: u32,
) -> impl Iterator<Item = (usize, u32, u32, bool)> + '_ {
    let mut at = source;
    let mut stride = 1;
    dims.iter().enumerate().filter_map(move |(dim, &size)| {
        let (from, to) = (source / stride % size, target / stride % size);
        let first = at;
        at = at - from * stride + to * stride;
        stride *= size;
        let up = (to + size - from) % size;
        (up > 0).then_some(if up <= size - up {
            (dim, first, up, true)
        } else {
            (dim, first, size - up, false)
        })
    })
}

impl FromStr for Topology {
    type Err = BadTopology;

    fn from_str(text: &str) -> Result<Topology, BadTopology> {
        parse(text).map_err(|why| BadTopology { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Topology, String> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut parts = rest.split(',').filter(|part| !part.is_empty()).peekable();
    let dims = match parts.next_if(|part| !part.contains('=')) {
        Some(part) => sizes(part)?,
        None => Vec::new(),
    };
    let product = dims.iter().try_fold(1u32, |all, dim| all.checked_mul(*dim));
    if product.is_none_or(|nodes| nodes > 1 << 24) {
        return Err("more than 16777216 nodes".into());
    }
    let mut topology = match (kind, dims.as_slice()) {
        ("flat", [nodes]) => Topology::Flat { nodes: *nodes },
        ("fattree", [_, ..]) => Topology::FatTree { down: dims, taper: 1.0 },
        ("dragonfly", &[groups, routers, nodes]) => {
            let global = f64::from(nodes);
            Topology::Dragonfly { groups, routers, nodes, global, adaptive: true }
        }
        ("torus", [_, ..]) => Topology::Torus { dims },
        ("flat", _) => return Err("say how many nodes, as in flat:64".into()),
        ("fattree" | "torus", _) => return Err(format!("say its sizes, as in {kind}:32x16")),
        ("dragonfly", _) => {
            return Err("say groups, routers of a group and nodes at a router, as in \
                        dragonfly:64x16x8"
                .into());
        }
        _ => return Err(format!("no such kind; known are {FORMS}")),
    };
    for part in parts {
        option(&mut topology, kind, part)?;
    }
    Ok(topology)
}

fn option(topology: &mut Topology, kind: &str, part: &str) -> Result<(), String> {
    let (key, value) =
        part.split_once('=').ok_or_else(|| format!("'{part}' should be key=value"))?;
    let number = || match value.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("{key}={value}: not a positive number")),
    };
    match (topology, key) {
        (Topology::FatTree { taper, .. }, "taper") => *taper = number()?,
        (Topology::Dragonfly { global, .. }, "global") => *global = number()?,
        (Topology::Dragonfly { adaptive, .. }, "routing") => {
            *adaptive = match value {
                "adaptive" => true,
                "minimal" => false,
                _ => return Err(format!("routing={value}: minimal or adaptive")),
            }
        }
        _ => return Err(format!("a {kind} has no '{key}'; known forms are {FORMS}")),
    }
    Ok(())
}

fn sizes(text: &str) -> Result<Vec<u32>, String> {
    let size = |part: &str| match part.parse::<u32>() {
        Ok(size) if size > 0 => Ok(size),
        _ => Err(format!("'{part}' is not a positive number")),
    };
    text.split('x').map(size).collect()
}

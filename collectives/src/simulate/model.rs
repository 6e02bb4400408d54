// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a machine costs: a few numbers per class of link. Times are in microseconds, rates in
//! bytes per microsecond (that is MB/s).
//!
//! The numbers come from ping-pong, incast and bisection, never from a collective
//! (docs/simulation.md says which run or which published figure each preset stands on).
#![forbid(unsafe_code)]

/// The way between two ranks, by where they are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Way {
    /// Half a ping-pong of no bytes, processor time of both ends included.
    pub latency_us: f64,
    /// How fast one message goes once it has begun.
    pub rate: f64,
    /// Processor time of one message at one end; also the least distance of two messages.
    pub overhead_us: f64,
    /// Up to how many bytes a message goes without asking.
    pub eager_bytes: f64,
    /// What asking first costs more.
    pub handshake_us: f64,
}

/// A machine.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// What it is called.
    pub name: &'static str,
    /// Where its numbers come from.
    pub origin: &'static str,
    /// Two ranks of one node.
    pub node: Way,
    /// Two ranks of different nodes behind one switch; `rate` is the network adapter's.
    pub network: Way,
    /// What each further switch adds.
    pub hop_us: f64,
    /// All copies within one node together.
    pub memory_rate: f64,
    /// Least distance of two messages through one adapter, from incast.
    pub adapter_gap_us: f64,
    /// How fast a vector is combined with another.
    pub reduce_rate: f64,
    /// How fast a vector is copied within a rank.
    pub copy_rate: f64,
    /// Setting and seeing a shared cell of the node.
    pub cell_us: f64,
}

impl Model {
    /// The way between ranks of one node, or of two.
    pub fn way(&self, same_node: bool) -> &Way {
        if same_node { &self.node } else { &self.network }
    }

    /// Half a ping-pong of no bytes over so many switches.
    pub fn latency_us(&self, same_node: bool, hops: u32) -> f64 {
        if same_node {
            self.node.latency_us
        } else {
            self.network.latency_us + f64::from(hops.saturating_sub(1)) * self.hop_us
        }
    }

    /// The preset of that name.
    pub fn by_name(name: &str) -> Option<&'static Model> {
        PRESETS.iter().find(|model| model.name == name)
    }
}

/// Whatever a node of today has: ten cores' worth of copies, one adapter.
const NODE: Way = Way {
    latency_us: 0.3,
    rate: 10_000.0,
    overhead_us: 0.1,
    eager_bytes: 16_384.0,
    handshake_us: 0.6,
};

const CLUSTER: Model = Model {
    name: "cluster",
    origin: "nominal: 25 GB/s per node, 1.5 us between neighbours, 0.3 us in a node",
    node: NODE,
    network: Way {
        latency_us: 1.5,
        rate: 25_000.0,
        overhead_us: 0.3,
        eager_bytes: 16_384.0,
        handshake_us: 3.0,
    },
    hop_us: 0.2,
    memory_rate: 100_000.0,
    adapter_gap_us: 0.01,
    reduce_rate: 10_000.0,
    copy_rate: 10_000.0,
    cell_us: 0.1,
};

/// The machines that come with Strait.
pub static PRESETS: &[Model] = &[
    CLUSTER,
    Model {
        name: "leonardo",
        origin: "nominal: one HDR100 port per rank, dragonfly+; not fitted",
        network: Way { latency_us: 1.4, rate: 12_000.0, ..CLUSTER.network },
        hop_us: 0.25,
        ..CLUSTER
    },
    Model {
        name: "lumi",
        origin: "nominal: one Slingshot 11 port per rank, 200 Gbit/s, dragonfly; not fitted",
        network: Way { latency_us: 2.0, rate: 23_000.0, ..CLUSTER.network },
        hop_us: 0.3,
        ..CLUSTER
    },
    Model {
        name: "fugaku",
        origin: "nominal: one Tofu-D interface per rank, 6.8 GB/s, torus; not fitted",
        network: Way { latency_us: 1.5, rate: 6_300.0, ..CLUSTER.network },
        hop_us: 0.1,
        reduce_rate: 5_000.0,
        ..CLUSTER
    },
    Model {
        name: "two-core",
        origin: "CHANGELOG.md: one way 8 bytes 0.18 us, 1 MiB 44 us, two near cores",
        node: Way { latency_us: 0.18, rate: 23_800.0, overhead_us: 0.05, ..NODE },
        memory_rate: 47_600.0,
        ..CLUSTER
    },
];

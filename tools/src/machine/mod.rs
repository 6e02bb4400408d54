// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a host is made of: packages, NUMA nodes, caches, cores, hardware threads, and the cards
//! that messages go through.
//!
//! A [`Machine`] comes from sysfs (sysfs.rs), from hwloc (hwloc/) or from a synthetic string
//! (synthetic.rs); all else here and in mpiexec's placement does not care from which. foreign.rs
//! reads `STRAIT_TOPOLOGY`; docs/decisions/0008-topology.md says which source serves whom.
//!
//! Invariants:
//! 1. What a source does not know is left out; what is left is still a machine. Without any
//!    topology every processor is a core of one package.
//! 2. Only processors that are online are here; those that we may not use are marked.
#![deny(unsafe_code)]

mod devices;
mod draw;
pub mod foreign;
pub mod hwloc;
mod picture;
mod synthetic;
mod sysfs;

pub use devices::{Device, DeviceKind};
pub use sysfs::Detail;

use serde::Serialize;
use std::collections::BTreeMap;

/// A cache that some processors share.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Cache {
    /// 1 is the nearest.
    pub level: u32,
    /// Its size.
    pub bytes: u64,
    /// Who shares it.
    pub processors: Vec<u32>,
}

/// A hardware thread.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Processor {
    /// As the kernel counts.
    pub number: u32,
    /// Its package.
    pub package: u32,
    /// The threads of its core, itself included.
    pub core: Vec<u32>,
    /// Its NUMA node, where there is such a thing.
    pub node: Option<u32>,
    /// Data and unified caches, nearest first.
    pub caches: Vec<Cache>,
    /// Whether we may use it.
    pub allowed: bool,
}

/// A piece of memory and the processors near it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NumaNode {
    /// As the kernel counts.
    pub number: u32,
    /// Its size.
    pub bytes: u64,
    /// Who is near.
    pub processors: Vec<u32>,
    /// To all nodes in their order; 10 is to itself.
    pub distances: Vec<u32>,
}

/// A host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Machine {
    /// Online, in the kernel's order.
    pub processors: Vec<Processor>,
    /// In the kernel's order.
    pub nodes: Vec<NumaNode>,
    /// By kind and name; loopback is none.
    pub devices: Vec<Device>,
}

/// A core as placement sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Core {
    /// Those of its threads that we may use; never none.
    pub threads: Vec<u32>,
    /// Its package.
    pub package: u32,
    /// Its NUMA node.
    pub node: Option<u32>,
    /// For each level the first processor that shares its cache of that level.
    pub caches: Vec<(u32, u32)>,
}

impl Machine {
    /// The cores, each as its threads, package by package, neighbours beside each other.
    pub fn cores(&self) -> BTreeMap<u32, Vec<&[u32]>> {
        let mut seen = std::collections::HashSet::new();
        let is_first = |one: &&Processor| seen.insert(one.core.first().copied());
        let mut firsts: Vec<&Processor> = self.processors.iter().filter(is_first).collect();
        firsts.sort_by_key(|one| (one.node, one.caches.last().map(first_sharer), one.number));
        let mut packages: BTreeMap<u32, Vec<&[u32]>> = BTreeMap::new();
        for processor in firsts {
            packages.entry(processor.package).or_default().push(&processor.core);
        }
        packages
    }

    /// The cores of which we may use a thread, neighbours beside each other: by package, NUMA node
    /// and largest cache, then as the kernel counts. (Some machines number their packages in turn.)
    pub fn usable_cores(&self) -> Vec<Core> {
        let mut cores: Vec<Core> = Vec::new();
        let allowed: std::collections::HashSet<u32> =
            self.processors.iter().filter(|one| one.allowed).map(|one| one.number).collect();
        for processor in self.processors.iter().filter(|one| one.allowed) {
            let is_ours = |number: &&u32| allowed.contains(number);
            let mut threads: Vec<u32> = processor.core.iter().filter(is_ours).copied().collect();
            if threads.is_empty() {
                threads.push(processor.number);
            }
            if threads[0] != processor.number {
                continue;
            }
            let of = |cache: &Cache| (cache.level, first_sharer(cache));
            cores.push(Core {
                threads,
                package: processor.package,
                node: processor.node,
                caches: processor.caches.iter().map(of).collect(),
            });
        }
        let last = |core: &Core| core.caches.last().copied();
        cores.sort_by_key(|core| (core.package, core.node, last(core), core.threads[0]));
        cores
    }

    /// How many processors we may use.
    pub fn allowed_count(&self) -> usize {
        self.processors.iter().filter(|processor| processor.allowed).count()
    }

    /// How many different caches of a level there are.
    pub fn cache_count(&self, level: u32) -> usize {
        let of_level = |processor: &Processor| {
            processor.caches.iter().find(|cache| cache.level == level).cloned()
        };
        let mut all: Vec<Cache> = self.processors.iter().filter_map(of_level).collect();
        all.sort();
        all.dedup();
        all.len()
    }

    /// The machine in numbers: `2 packages, 4 NUMA nodes, 32 cores, 64 processors`.
    pub fn in_numbers(&self) -> String {
        let cores = self.cores();
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        [
            count(cores.len(), "package"),
            count(self.nodes.len().max(1), "NUMA node"),
            count(cores.values().map(Vec::len).sum(), "core"),
            count(self.processors.len(), "processor"),
        ]
        .join(", ")
    }
}

/// What tells a cache from others of its level.
fn first_sharer(cache: &Cache) -> u32 {
    cache.processors.first().copied().unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests;

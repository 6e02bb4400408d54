// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this host is made of, from sysfs: packages, NUMA nodes, caches, cores, hardware threads,
//! and the cards that messages go through.
//!
//! Invariants:
//! 1. A file that is missing or strange leaves its fact out; what is left is still a machine.
//!    Without any topology every processor is a core of one package.
//! 2. Only processors that are online are here; those that we may not use are marked.
#![forbid(unsafe_code)]

mod draw;

use crate::mpiexec::processor_list;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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

/// What a card is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// An interface of the kernel's network.
    Network,
    /// A card that moves data by itself: InfiniBand, RoCE, EFA, Omni-Path, Slingshot.
    Fabric,
}

/// A card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: DeviceKind,
    /// `up`, `down`, or what else the kernel says.
    pub state: Option<String>,
    /// Megabits in a second.
    pub megabits: Option<u32>,
    /// The NUMA node it hangs on.
    pub node: Option<u32>,
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

impl Machine {
    /// Reads it. `sys` is /sys, or a copy of one; `allowed` the processors that we may use.
    pub fn read(sys: &Path, allowed: &[u32]) -> Machine {
        let nodes = nodes(&sys.join("devices/system/node"));
        let cpus = sys.join("devices/system/cpu");
        let online = list(&cpus.join("online")).unwrap_or_else(|| allowed.to_vec());
        let processor = |number: u32| {
            let place = cpus.join(format!("cpu{number}"));
            let mut core = core_of(&cpus, number);
            core.retain(|other| online.contains(other));
            let node = nodes.iter().find(|node| node.processors.contains(&number));
            Processor {
                number,
                package: value(&place.join("topology/physical_package_id")).unwrap_or(0),
                core,
                node: node.map(|node| node.number),
                caches: caches(&place.join("cache")),
                allowed: allowed.contains(&number),
            }
        };
        let processors = online.iter().map(|number| processor(*number)).collect();
        Machine { processors, nodes, devices: devices(&sys.join("class")) }
    }

    /// The cores, each as its threads, package by package.
    pub fn cores(&self) -> BTreeMap<u32, Vec<&[u32]>> {
        let mut packages: BTreeMap<u32, Vec<&[u32]>> = BTreeMap::new();
        for processor in &self.processors {
            let cores = packages.entry(processor.package).or_default();
            if !cores.iter().any(|core| core.contains(&processor.number)) {
                cores.push(&processor.core);
            }
        }
        packages
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
}

/// The threads of a processor's core, itself included; `cpus` is /sys/devices/system/cpu.
pub fn core_of(cpus: &Path, number: u32) -> Vec<u32> {
    let threads = list(&cpus.join(format!("cpu{number}/topology/thread_siblings_list")));
    threads.filter(|core| core.contains(&number)).unwrap_or_else(|| vec![number])
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn value(path: &Path) -> Option<u32> {
    text(path)?.parse().ok()
}

fn list(path: &Path) -> Option<Vec<u32>> {
    processor_list(&text(path)?)
}

/// Names and numbers of directories such as `node0`.
fn numbered(place: &Path, prefix: &str) -> Vec<u32> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let number = |name: String| name.strip_prefix(prefix)?.parse().ok();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| number(entry.file_name().to_string_lossy().into_owned()))
        .collect();
    numbers.sort_unstable();
    numbers
}

fn nodes(place: &Path) -> Vec<NumaNode> {
    let one = |number: u32| {
        let place = place.join(format!("node{number}"));
        let kilobytes = text(&place.join("meminfo")).and_then(|text| {
            let line = text.lines().find(|line| line.contains("MemTotal:"))?;
            line.split_ascii_whitespace().rev().nth(1)?.parse::<u64>().ok()
        });
        let distances = text(&place.join("distance")).unwrap_or_default();
        NumaNode {
            number,
            bytes: kilobytes.unwrap_or(0) * 1024,
            processors: list(&place.join("cpulist")).unwrap_or_default(),
            distances: distances.split_ascii_whitespace().filter_map(|d| d.parse().ok()).collect(),
        }
    };
    numbered(place, "node").into_iter().map(one).collect()
}

fn caches(place: &Path) -> Vec<Cache> {
    let one = |index: u32| {
        let place = place.join(format!("index{index}"));
        if text(&place.join("type"))? == "Instruction" {
            return None;
        }
        let size = text(&place.join("size"))?;
        let (number, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit())?);
        let unit = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => return None,
        };
        let bytes = number.parse::<u64>().ok()? * unit;
        let processors = list(&place.join("shared_cpu_list"))?;
        Some(Cache { level: value(&place.join("level"))?, bytes, processors })
    };
    let mut caches: Vec<Cache> = numbered(place, "index").into_iter().filter_map(one).collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

fn devices(class: &Path) -> Vec<Device> {
    let kinds = [
        (DeviceKind::Fabric, "infiniband"),
        (DeviceKind::Fabric, "cxi"),
        (DeviceKind::Network, "net"),
    ];
    let mut devices = Vec::new();
    for (kind, directory) in kinds {
        let entries = fs::read_dir(class.join(directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        for name in names.into_iter().filter(|name| name != "lo") {
            let place = class.join(directory).join(&name);
            devices.push(Device {
                name,
                kind,
                state: text(&place.join("operstate")),
                megabits: value(&place.join("speed")),
                // Minus one, or no file, where the machine has one node only.
                node: value(&place.join("device/numa_node")),
            });
        }
    }
    devices
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A copy of a sysfs: two packages of two NUMA nodes each, a node of two cores of two threads
    /// that share an L3; a fabric's card at node 3.
    pub(crate) fn made_up(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("strait-sys-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let write = |path: String, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        };
        write("devices/system/cpu/online".into(), "0-15");
        for cpu in 0..16_u32 {
            let core = cpu % 8;
            let place = format!("devices/system/cpu/cpu{cpu}");
            write(format!("{place}/topology/physical_package_id"), &(core / 4).to_string());
            write(
                format!("{place}/topology/thread_siblings_list"),
                &format!("{core},{}", core + 8),
            );
            let l3 = core / 2 * 2;
            let l3 = format!("{l3}-{},{}-{}", l3 + 1, l3 + 8, l3 + 9);
            let one = format!("{core},{}", core + 8);
            let all = [
                ("Data", "1", "32K", &one),
                ("Instruction", "1", "64K", &one),
                ("Unified", "2", "1024K", &one),
                ("Unified", "3", "16M", &l3),
            ];
            for (index, (kind, level, size, shared)) in all.into_iter().enumerate() {
                let place = format!("{place}/cache/index{index}");
                write(format!("{place}/type"), kind);
                write(format!("{place}/level"), level);
                write(format!("{place}/size"), size);
                write(format!("{place}/shared_cpu_list"), shared);
            }
        }
        for node in 0..4_u32 {
            let place = format!("devices/system/node/node{node}");
            let first = node * 2;
            let cpus = format!("{first}-{},{}-{}", first + 1, first + 8, first + 9);
            write(format!("{place}/cpulist"), &cpus);
            write(format!("{place}/meminfo"), &format!("Node {node} MemTotal:  8388608 kB"));
            write(format!("{place}/distance"), "10 12 32 32");
        }
        write("class/infiniband/mlx5_0/device/numa_node".into(), "3");
        write("class/net/eth0/operstate".into(), "up");
        write("class/net/eth0/speed".into(), "25000");
        write("class/net/eth0/device/numa_node".into(), "-1");
        write("class/net/lo/operstate".into(), "unknown");
        root
    }

    #[test]
    fn a_machine_is_read() {
        let root = made_up("read");
        let allowed: Vec<u32> = (0..16).filter(|cpu| *cpu != 9).collect();
        let machine = Machine::read(&root, &allowed);
        assert_eq!((machine.processors.len(), machine.nodes.len()), (16, 4));
        let nine = &machine.processors[9];
        assert_eq!((nine.package, nine.node, nine.allowed), (0, Some(0), false));
        assert_eq!(nine.core, [1, 9]);
        let levels: Vec<(u32, u64)> = nine.caches.iter().map(|c| (c.level, c.bytes)).collect();
        assert_eq!(levels, [(1, 32 << 10), (2, 1 << 20), (3, 16 << 20)]);
        assert_eq!([1, 2, 3, 4].map(|level| machine.cache_count(level)), [8, 8, 4, 0]);
        assert_eq!(machine.nodes[2].bytes, 8 << 30);
        let cores = machine.cores();
        assert_eq!((cores.len(), cores[&0].len(), cores[&1][0]), (2, 4, &[4, 12][..]));
        let devices: Vec<(&str, Option<u32>)> =
            machine.devices.iter().map(|d| (d.name.as_str(), d.node)).collect();
        assert_eq!(devices, [("mlx5_0", Some(3)), ("eth0", None)]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn without_any_file_each_processor_is_a_core() {
        let machine = Machine::read(Path::new("/nonexistent"), &[0, 3]);
        assert_eq!(machine.cores()[&0], [&[0][..], &[3]]);
        assert!(machine.nodes.is_empty() && machine.devices.is_empty());
    }

    #[test]
    fn this_machine_is_what_hwloc_says() {
        let allowed = crate::mpiexec::allowed_processors();
        let machine = Machine::read(Path::new("/sys"), &allowed);
        assert!(allowed.iter().all(|cpu| machine.processors.iter().any(|p| p.number == *cpu)));
        let count = |kind: &str| {
            let output = std::process::Command::new("hwloc-calc")
                .args(["--whole-system", "-N", kind, "all"])
                .output()
                .ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<usize>().ok()
        };
        let Some(processors) = count("pu") else {
            eprintln!("hwloc-calc is not installed: nothing to compare with");
            return;
        };
        assert_eq!(machine.processors.len(), processors);
        let cores = machine.cores();
        assert_eq!(Some(cores.len()), count("package"));
        assert_eq!(Some(cores.values().map(Vec::len).sum()), count("core"));
        assert_eq!(Some(machine.nodes.len().max(1)), count("numanode"));
        for (level, kind) in [(1, "l1cache"), (2, "l2cache"), (3, "l3cache")] {
            assert_eq!(Some(machine.cache_count(level)), count(kind), "{kind}");
        }
    }
}

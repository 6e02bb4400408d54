// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine from sysfs. A file that is missing or strange leaves its fact out.
#![forbid(unsafe_code)]

use super::{Cache, Machine, NumaNode, Processor, devices};
use crate::mpiexec::processor_list;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// How much is read: each fact of each processor is a file, and there may be hundreds of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Packages, NUMA nodes and cores: two files for each core.
    Cores,
    /// Caches, too.
    Caches,
    /// Everything.
    All,
}

impl Machine {
    /// Reads this host. `sys` is /sys, or a copy of one; `allowed` the processors that we may use.
    pub fn read(sys: &Path, allowed: &[u32], detail: Detail) -> Machine {
        let cpus = sys.join("devices/system/cpu");
        let online = list(&cpus.join("online")).unwrap_or_else(|| allowed.to_vec());
        let nodes = nodes(&sys.join("devices/system/node"), detail);
        let of_node: HashMap<u32, u32> = nodes
            .iter()
            .flat_map(|node| node.processors.iter().map(|number| (*number, node.number)))
            .collect();
        // All threads of a core answer the same, so only the first is asked.
        let mut known: HashMap<u32, (u32, Vec<u32>)> = HashMap::new();
        let processor = |number: u32| {
            let place = cpus.join(format!("cpu{number}"));
            let (package, core) = known.remove(&number).unwrap_or_else(|| {
                let mut core = core_of(&cpus, number);
                core.retain(|other| online.contains(other));
                let package = value(&place.join("topology/physical_package_id")).unwrap_or(0);
                for other in core.iter().filter(|other| **other > number) {
                    known.insert(*other, (package, core.clone()));
                }
                (package, core)
            });
            let caches = match detail {
                Detail::Cores => Vec::new(),
                Detail::Caches | Detail::All => caches(&place.join("cache")),
            };
            let node = of_node.get(&number).copied();
            Processor { number, package, core, node, caches, allowed: allowed.contains(&number) }
        };
        let processors = online.iter().copied().map(processor).collect();
        let devices = match detail {
            Detail::All => devices::read(sys),
            Detail::Cores | Detail::Caches => Vec::new(),
        };
        let mut machine = Machine { processors, nodes, devices };
        machine.place_devices();
        machine
    }
}

/// The threads of a processor's core, itself included; `cpus` is /sys/devices/system/cpu.
fn core_of(cpus: &Path, number: u32) -> Vec<u32> {
    let threads = list(&cpus.join(format!("cpu{number}/topology/thread_siblings_list")));
    threads.filter(|core| core.contains(&number)).unwrap_or_else(|| vec![number])
}

pub(super) fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

pub(super) fn value(path: &Path) -> Option<u32> {
    text(path)?.parse().ok()
}

pub(super) fn list(path: &Path) -> Option<Vec<u32>> {
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

fn nodes(place: &Path, detail: Detail) -> Vec<NumaNode> {
    let one = |number: u32| {
        let place = place.join(format!("node{number}"));
        if detail != Detail::All {
            let processors = list(&place.join("cpulist")).unwrap_or_default();
            return NumaNode { number, bytes: 0, processors, distances: Vec::new() };
        }
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

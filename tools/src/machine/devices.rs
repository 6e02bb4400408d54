// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The cards that messages go through, and where in the machine they hang.
#![forbid(unsafe_code)]

use super::Machine;
use super::sysfs::{list, text, value};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What a card is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A card that moves data by itself: InfiniBand, RoCE, EFA, Omni-Path, Slingshot.
    Fabric,
    /// An interface of the kernel's network.
    Network,
}

/// A card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: DeviceKind,
    /// `up`, `down`, `active`, or what else the kernel says.
    pub state: Option<String>,
    /// Megabits in a second.
    pub megabits: Option<u32>,
    /// The NUMA node it hangs on.
    pub node: Option<u32>,
    /// The package it hangs on, where that is one.
    pub package: Option<u32>,
    /// The processors near it; none where nobody knows, or for an interface without a card.
    pub near: Vec<u32>,
    /// Network interfaces of the same card.
    pub interfaces: Vec<String>,
}

/// The classes of sysfs that cards are in.
const KINDS: &[(DeviceKind, &str)] = &[
    (DeviceKind::Fabric, "infiniband"),
    (DeviceKind::Fabric, "cxi"),
    (DeviceKind::Network, "net"),
];

/// The cards of a sysfs, by kind and name; loopback is none.
pub(super) fn read(sys: &Path) -> Vec<Device> {
    let mut devices = Vec::new();
    for (kind, directory) in KINDS {
        let class = sys.join("class").join(directory);
        for name in names(&class).into_iter().filter(|name| name != "lo") {
            devices.push(device(&class.join(&name), name, *kind));
        }
    }
    devices
}

/// Names in a directory, sorted as people count: eth2 before eth10.
fn names(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_by_cached_key(|name| {
        let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        (stem.to_owned(), name[stem.len()..].parse::<u64>().unwrap_or(0))
    });
    names
}

fn device(place: &Path, name: String, kind: DeviceKind) -> Device {
    let card = card_of(place);
    let is_fabric = kind == DeviceKind::Fabric;
    Device {
        kind,
        state: if is_fabric { port_state(place) } else { text(&place.join("operstate")) },
        megabits: if is_fabric { port_rate(place) } else { value(&place.join("speed")) },
        // Minus one, or no file, where the machine has one node only.
        node: card.as_ref().and_then(|card| value(&card.join("numa_node"))),
        near: card.as_ref().and_then(|card| list(&card.join("local_cpulist"))).unwrap_or_default(),
        interfaces: match is_fabric {
            true => names(&place.join("device/net")),
            false => Vec::new(),
        },
        package: None,
        name,
    }
}

/// The card behind an entry of a class: its device, or for a virtual one (virtio) what carries it.
fn card_of(place: &Path) -> Option<PathBuf> {
    let device = fs::canonicalize(place.join("device")).ok()?;
    let is_card =
        |place: &&Path| place.join("local_cpulist").exists() || place.join("numa_node").exists();
    // No deeper than a device below a bus of a card.
    device.ancestors().take(3).find(is_card).map(Path::to_path_buf)
}

/// `4: ACTIVE` is active. A card of InfiniBand's kind counts by its first port.
fn port_state(place: &Path) -> Option<String> {
    let state = text(&place.join("ports/1/state"))?;
    Some(state.rsplit(": ").next()?.to_lowercase())
}

/// `100 Gb/sec (4X EDR)`.
fn port_rate(place: &Path) -> Option<u32> {
    let rate = text(&place.join("ports/1/rate"))?;
    let (number, rest) = rate.split_once(' ')?;
    let gigabits: f64 = number.parse().ok().filter(|_| rest.starts_with("Gb"))?;
    Some((gigabits * 1000.0) as u32)
}

impl Machine {
    /// Fills in what follows from a card's processors: its package, and its NUMA node where sysfs
    /// has none although there are several.
    pub(super) fn place_devices(&mut self) {
        for device in &mut self.devices {
            if device.near.is_empty()
                && let Some(node) = self.nodes.iter().find(|node| Some(node.number) == device.node)
            {
                device.near = node.processors.clone();
            }
            let near = |number: u32| device.near.contains(&number);
            let mut packages: Vec<u32> = self
                .processors
                .iter()
                .filter(|processor| near(processor.number))
                .map(|processor| processor.package)
                .collect();
            packages.sort_unstable();
            packages.dedup();
            device.package = packages.first().copied().filter(|_| packages.len() == 1);
            if device.node.is_none() {
                let within = |processors: &[u32]| {
                    !device.near.is_empty() && device.near.iter().all(|n| processors.contains(n))
                };
                device.node =
                    self.nodes.iter().find(|node| within(&node.processors)).map(|node| node.number);
            }
        }
    }
}

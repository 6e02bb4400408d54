// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which cores are near a card on the PCI bus, by the kernel's word.
#![forbid(unsafe_code)]

use super::CoreSet;
use std::path::Path;

/// Where the kernel tells of devices.
pub const SYSFS: &str = "/sys";

/// A card's place on the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PciAddress {
    /// Domain.
    pub domain: u16,
    /// Bus.
    pub bus: u8,
    /// Device.
    pub device: u8,
    /// Function.
    pub function: u8,
}

impl PciAddress {
    /// The cores near it; `None` if the kernel does not tell.
    pub fn cores(&self, sysfs: &Path) -> Option<CoreSet> {
        let PciAddress { domain, bus, device, function } = self;
        let name = format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}");
        let file = sysfs.join("bus/pci/devices").join(name).join("local_cpulist");
        CoreSet::parse(&std::fs::read_to_string(file).ok()?)
    }
}

/// Chooses one of several cards that serve equally well: of those near the process, or of all if
/// none is, the one at this process's place, so that the processes of a host share them evenly.
/// `cards` has one entry each, `None` for one whose place nobody knows. Answers an index.
pub fn choose(
    cards: &[Option<PciAddress>],
    sysfs: &Path,
    mine: &CoreSet,
    place: u32,
) -> Option<usize> {
    let is_near = |card: &Option<PciAddress>| {
        card.and_then(|card| card.cores(sysfs)).is_some_and(|cores| cores.meets(mine))
    };
    let all = || cards.iter().enumerate().map(|(at, _)| at);
    let near: Vec<usize> = all().filter(|at| is_near(&cards[*at])).collect();
    let among = if near.is_empty() { all().collect() } else { near };
    (!among.is_empty()).then(|| among[place as usize % among.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_card_and_all_of_them_in_turn() {
        let sysfs = tempfile::tempdir().expect("a directory");
        let card = |bus: u8, cores: &str| {
            let address = PciAddress { domain: 0, bus, device: 1, function: 0 };
            let dir = sysfs.path().join(format!("bus/pci/devices/0000:{bus:02x}:01.0"));
            std::fs::create_dir_all(&dir).expect("a directory");
            std::fs::write(dir.join("local_cpulist"), cores).expect("a file");
            Some(address)
        };
        let cards = [card(0x17, "0-3\n"), card(0x65, "4-7\n"), card(0xca, "4-7\n"), None];
        let chosen = |cores: &[u32], place| {
            choose(&cards, sysfs.path(), &CoreSet::of(cores), place).expect("one of them")
        };
        assert_eq!([0, 1, 2].map(|place| chosen(&[2], place)), [0, 0, 0]);
        assert_eq!([0, 1, 2].map(|place| chosen(&[5, 6], place)), [1, 2, 1]);
        assert_eq!([0, 1, 2, 3].map(|place| chosen(&[3, 4], place)), [0, 1, 2, 0]);
        assert_eq!([0, 3, 4].map(|place| chosen(&[9], place)), [0, 3, 0], "none is near");
        assert_eq!(choose(&[], sysfs.path(), &CoreSet::of(&[0]), 0), None);
    }
}

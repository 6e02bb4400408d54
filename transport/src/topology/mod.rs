// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which cores this process may use, and how many of them the quota of its control groups is worth.
//! Facts for the waiting policy and for mpiexec's placement, which must not differ; no policy here.
//!
//! Not here: packages, NUMA nodes and caches, which only the tools look at (tools/src/machine).
#![forbid(unsafe_code)]

pub mod card;
pub mod cgroup;

pub use cgroup::quota_millicores;

/// Whether this host has a network card that moves data by itself (InfiniBand, RoCE, EFA, Omni-Path
/// and Slingshot cards all appear in one of these).
pub fn has_fabric_devices() -> bool {
    ["/sys/class/infiniband", "/sys/class/cxi"]
        .iter()
        .any(|class| std::fs::read_dir(class).is_ok_and(|mut devices| devices.next().is_some()))
}

/// Whether one of these cards is one for which UCX was made (Mellanox, now NVIDIA: PCI vendor
/// 0x15b3).
pub fn has_ucx_devices() -> bool {
    let Ok(devices) = std::fs::read_dir("/sys/class/infiniband") else { return false };
    devices.flatten().any(|device| {
        let vendor = std::fs::read_to_string(device.path().join("device/vendor"));
        vendor.is_ok_and(|vendor| vendor.trim() == "0x15b3")
    })
}

/// Words of a core set: 1024 cores.
pub const CORE_WORDS: usize = 16;

/// A set of cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CoreSet(pub [u64; CORE_WORDS]);

impl CoreSet {
    /// The cores the calling thread may run on; core 0 alone if that cannot be learnt.
    pub fn allowed() -> CoreSet {
        let mut cores = CoreSet::default();
        if let Ok(mask) = rustix::thread::sched_getaffinity(None) {
            for core in (0..CORE_WORDS * 64).filter(|core| *core < rustix::thread::CpuSet::MAX_CPU)
            {
                if mask.is_set(core) {
                    cores.0[core / 64] |= 1 << (core % 64);
                }
            }
        }
        if cores.count() == 0 {
            cores.0[0] = 1;
        }
        cores
    }

    /// The set of these cores; those beyond the last that a set can hold are left out.
    pub fn of(numbers: &[u32]) -> CoreSet {
        let mut cores = CoreSet::default();
        for core in numbers.iter().map(|core| *core as usize) {
            if core < CORE_WORDS * 64 {
                cores.0[core / 64] |= 1 << (core % 64);
            }
        }
        cores
    }

    /// The set that a list of the kernel names (`0-3,8`).
    pub fn parse(list: &str) -> Option<CoreSet> {
        let mut numbers = Vec::new();
        for part in list.trim().split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            numbers.extend(first..=last.min(CORE_WORDS as u32 * 64));
        }
        Some(CoreSet::of(&numbers))
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether both have a core.
    pub fn meets(&self, other: &CoreSet) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Adds the cores of another set.
    pub fn add(&mut self, other: &CoreSet) {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a |= b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_may_run_somewhere() {
        let cores = CoreSet::allowed();
        assert!(cores.count() >= 1 && cores.meets(&cores));
        assert!(!cores.meets(&CoreSet::default()));
        let mut all = CoreSet::default();
        all.add(&cores);
        assert_eq!(all, cores);
    }

    #[test]
    fn a_list_of_the_kernel() {
        assert_eq!(CoreSet::parse("0-2,65\n"), Some(CoreSet::of(&[0, 1, 2, 65])));
        assert_eq!(CoreSet::parse("\n"), Some(CoreSet::default()));
        assert_eq!(CoreSet::parse("5"), Some(CoreSet::of(&[5])));
        assert_eq!(CoreSet::parse("x-2"), None);
        assert_eq!(CoreSet::parse("0-4294967295").map(|cores| cores.count()), Some(1024));
    }

    #[test]
    fn a_set_of_numbers() {
        let cores = CoreSet::of(&[0, 65, 1_000_000]);
        assert_eq!((cores.count(), cores.0[0], cores.0[1]), (2, 1, 2));
    }
}

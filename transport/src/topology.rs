// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which cores this process may use, and how many the quota of its control groups is worth. Facts
//! for the waiting policy; no policy here.
//!
//! Not here yet: NUMA domains and caches.
#![forbid(unsafe_code)]

use std::path::Path;

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

/// The processor quota of this process's control groups in thousandths of a core, if one is set.
pub fn quota_millicores() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(|line| quota_of_line(line, Path::new("/sys/fs/cgroup"))).min()
}

/// The quota behind one line of /proc/self/cgroup: `id:controllers:path`, version 2 without
/// controllers. The smallest quota on the way up counts.
fn quota_of_line(line: &str, root: &Path) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let is_v2 = controllers.is_empty();
    if !is_v2 && !controllers.split(',').any(|controller| controller == "cpu") {
        return None;
    }
    let mounts: &[&str] = if is_v2 { &["", "unified"] } else { &["cpu", "cpu,cpuacct"] };
    mounts
        .iter()
        .flat_map(|mount| {
            let top = root.join(mount);
            let bottom = top.join(path.trim_start_matches('/'));
            let directories: Vec<_> = bottom
                .ancestors()
                .take_while(|directory| directory.starts_with(&top))
                .map(Path::to_path_buf)
                .collect();
            directories
        })
        .filter_map(|directory| quota_in(&directory, is_v2))
        .min()
}

fn quota_in(directory: &Path, is_v2: bool) -> Option<u64> {
    let read = |name| std::fs::read_to_string(directory.join(name)).ok();
    let (quota, period) = if is_v2 {
        let text = read("cpu.max")?;
        let mut fields = text.split_ascii_whitespace().map(str::to_owned);
        (fields.next()?, fields.next()?)
    } else {
        (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?)
    };
    // "max" and -1 mean no quota: neither is an unsigned number.
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    Some(quota.saturating_mul(1000) / period)
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
    fn quotas_of_both_versions_are_read_and_the_smallest_counts() {
        let root = std::env::temp_dir().join(format!("strait-quota-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("cpu.max", "400000 100000\n");
        write("a/cpu.max", "150000 100000\n");
        write("a/b/cpu.max", "max 100000\n");
        write("cpu/x/cpu.cfs_quota_us", "50000\n");
        write("cpu/x/cpu.cfs_period_us", "100000\n");
        write("cpu/cpu.cfs_quota_us", "-1\n");
        write("cpu/cpu.cfs_period_us", "100000\n");
        assert_eq!(quota_of_line("0::/a/b", &root), Some(1500));
        assert_eq!(quota_of_line("0::/elsewhere", &root), Some(4000));
        assert_eq!(quota_of_line("4:cpu,cpuacct:/x", &root), Some(500));
        assert_eq!(quota_of_line("4:cpu:/y", &root), None);
        assert_eq!(quota_of_line("5:memory:/x", &root), None);
        assert_eq!(quota_of_line("nonsense", &root), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}

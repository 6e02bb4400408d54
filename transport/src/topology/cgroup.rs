// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the control groups of this process allow: a quota of processor time, a set of processors.
//! Both versions, at their usual places below /sys/fs/cgroup.
//!
//! Groups outside the process's view (a container's namespace) are not seen; what they forbid shows
//! in the affinity mask all the same, a quota of theirs does not.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The processor quota of this process's control groups in thousandths of a core, if one is set.
pub fn quota_millicores() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(|line| quota_of_line(line, Path::new(ROOT))).min()
}

/// How many of `ranks` share a core's worth of a quota, rounded up; with more than one they are
/// crowded.
///
/// A quota of 1.5 cores crowds two ranks already. Tried on two cores with such a quota: where two
/// ranks took themselves for uncrowded, 8 bytes one way took 37 us (median of 12 runs, unbound) or
/// 0.8 us (bound), and 64 KiB 98 or 19 us; crowded and unbound, 1.5 and 8.9 us. Who spins spends
/// the quota of who works.
pub fn ranks_per_core(ranks: u32, millicores: u64) -> u64 {
    (u64::from(ranks) * 1000).div_ceil(millicores.max(1)).max(1)
}

/// Whether so many busy ranks leave a whole processor of a quota.
pub fn has_idle_core(ranks: u32, millicores: u64) -> bool {
    (u64::from(ranks) + 1) * 1000 <= millicores
}

/// The processors that the control groups of this process allow, as the kernel lists them
/// (`0-3,8`), and the directory that says so; `None` where none of them says anything.
pub fn cpuset() -> Option<(String, PathBuf)> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| cpuset_of_line(line, Path::new(ROOT)))
}

/// The set behind one line of /proc/self/cgroup; the nearest group on the way up that has one.
fn cpuset_of_line(line: &str, root: &Path) -> Option<(String, PathBuf)> {
    let (directories, is_v2) = directories_of(line, "cpuset", root)?;
    let name = if is_v2 { "cpuset.cpus.effective" } else { "cpuset.effective_cpus" };
    directories.into_iter().find_map(|directory| {
        let text = std::fs::read_to_string(directory.join(name)).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| (text.to_owned(), directory))
    })
}

/// The group of a line of /proc/self/cgroup and those above it, nearest first, if `controller` may
/// be there; and whether it is of version 2.
fn directories_of(line: &str, controller: &str, root: &Path) -> Option<(Vec<PathBuf>, bool)> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let is_v2 = controllers.is_empty();
    if !is_v2 && !controllers.split(',').any(|one| one == controller) {
        return None;
    }
    let mounts =
        if is_v2 { vec!["", "unified"] } else { vec![controller, controllers, "cpu,cpuacct"] };
    let above = |mount: &str| {
        let top = root.join(mount);
        let bottom = top.join(path.trim_start_matches('/'));
        let up = bottom.ancestors().take_while(|directory| directory.starts_with(&top));
        up.map(Path::to_path_buf).collect::<Vec<_>>()
    };
    Some((mounts.into_iter().flat_map(above).collect(), is_v2))
}

/// The quota behind one line of /proc/self/cgroup: `id:controllers:path`, version 2 without
/// controllers. The smallest quota on the way up counts.
fn quota_of_line(line: &str, root: &Path) -> Option<u64> {
    let (directories, is_v2) = directories_of(line, "cpu", root)?;
    directories.iter().filter_map(|directory| quota_in(directory, is_v2)).min()
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
    fn ranks_are_crowded_as_soon_as_the_quota_is_less_than_a_core_each() {
        let shared = |ranks, millicores| ranks_per_core(ranks, millicores);
        assert_eq!([1, 2, 3, 4].map(|ranks| shared(ranks, 1500)), [1, 2, 2, 3]);
        assert_eq!([1, 2, 3].map(|ranks| shared(ranks, 2000)), [1, 1, 2]);
        assert_eq!((shared(1, 500), shared(1, 0)), (2, 1000));
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

    #[test]
    fn sets_of_both_versions_are_found_on_the_way_up() {
        let root = std::env::temp_dir().join(format!("strait-cpuset-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/cpuset.cpus.effective", "0-3,8\n");
        write("cpuset/x/cpuset.effective_cpus", "2\n");
        write("cpuset/cpuset.effective_cpus", "0-1\n");
        let found = |line: &str| {
            let (text, directory) = cpuset_of_line(line, &root)?;
            Some((text, directory.strip_prefix(&root).unwrap().display().to_string()))
        };
        let is = |text: &str, place: &str| Some((text.to_owned(), place.to_owned()));
        assert_eq!(found("0::/a/b"), is("0-3,8", "a"));
        assert_eq!(found("0::/elsewhere"), None);
        assert_eq!(found("4:cpuset:/x/y"), is("2", "cpuset/x"));
        assert_eq!(found("4:cpuset:/"), is("0-1", "cpuset"));
        assert_eq!(found("4:cpu:/x"), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}

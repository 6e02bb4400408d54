// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small looks at the machine, each an answer or a reason.

use std::fs;
use std::io;

/// Whether memfd_create works.
pub fn memfd() -> io::Result<()> {
    let fd = rustix::fs::memfd_create("strait-probe", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(rustix::fs::ftruncate(&fd, 1 << 20)?)
}

/// The level of Yama's ptrace restriction; 0 where Yama is absent.
pub fn yama() -> u32 {
    let text = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Bytes of /dev/shm: all and free.
pub fn dev_shm() -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs("/dev/shm")?;
    Ok((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

/// Processors that the cgroup's quota allows, if there is one (v2, then v1).
pub fn quota() -> Option<f64> {
    let parts = |text: String| {
        let mut words = text.split_ascii_whitespace();
        let quota: f64 = words.next()?.parse().ok()?;
        let period: f64 = words.next()?.parse().ok()?;
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    };
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
    let v2 = [format!("/sys/fs/cgroup{path}/cpu.max"), "/sys/fs/cgroup/cpu.max".to_owned()];
    if let Some(found) = v2.iter().find_map(|file| fs::read_to_string(file).ok().and_then(parts)) {
        return Some(found);
    }
    let v1 = "/sys/fs/cgroup/cpu/cpu.cfs_";
    let quota = fs::read_to_string(format!("{v1}quota_us")).ok()?;
    let period = fs::read_to_string(format!("{v1}period_us")).ok()?;
    parts(format!("{} {}", quota.trim(), period.trim()))
}

/// The kernel.
pub fn kernel() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}

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

/// Processors that the quota of our control groups is worth, if there is one.
pub fn quota() -> Option<f64> {
    strait_transport::topology::quota_millicores().map(|thousandths| thousandths as f64 / 1000.0)
}

/// The kernel.
pub fn kernel() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}

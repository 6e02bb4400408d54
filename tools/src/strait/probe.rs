// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small looks at the machine, each an answer or a reason.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

/// Whether memfd_create works.
pub fn memfd() -> io::Result<()> {
    let fd = rustix::fs::memfd_create("strait-probe", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(rustix::fs::ftruncate(&fd, 1 << 20)?)
}

/// Whether a process may read the memory of another one of the same user: a child of ours is
/// stopped in a read, and we read eight bytes of it. Children are easier to read than siblings
/// where Yama restricts tracing, so the level of Yama is told besides.
pub fn peer_read() -> io::Result<()> {
    let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let result = read_from(child.id());
    drop(child.stdin.take());
    child.wait()?;
    result
}

fn read_from(pid: u32) -> io::Result<()> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let start = maps
        .lines()
        .find(|line| line.contains(" r"))
        .and_then(|line| line.split('-').next())
        .and_then(|hex| usize::from_str_radix(hex, 16).ok())
        .ok_or_else(|| io::Error::other("no readable map"))?;
    let mut bytes = [0_u8; 8];
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: start as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: one local range, ours and writable; the remote address is never dereferenced here.
    let count = unsafe { libc::process_vm_readv(pid as libc::pid_t, &local, 1, &remote, 1, 0) };
    if count == bytes.len() as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
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

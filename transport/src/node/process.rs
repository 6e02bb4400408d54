// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts about processes: whether one lives, when it started, whether we are a forked child.

use std::io::Read;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Room for a line of /proc/PID/stat: at most 52 numbers of 20 digits and a command.
const STAT_BYTES: usize = 1280;

static FORKED: AtomicBool = AtomicBool::new(false);
static WATCH_FORKS: Once = Once::new();

extern "C" fn note_fork() {
    FORKED.store(true, Relaxed);
}

/// Whether this process is a forked child of the one that joined the job. Such a child shares the
/// parent's identity and must not use MPI. One load; no system call.
#[inline]
pub fn is_forked_child() -> bool {
    FORKED.load(Relaxed)
}

/// From now on forks are noticed.
pub(crate) fn watch_forks() {
    WATCH_FORKS.call_once(|| {
        // SAFETY: the handler is a plain function that stores to a static and lives forever.
        unsafe { libc::pthread_atfork(None, None, Some(note_fork)) };
    });
}

/// Start time of a process in ticks since boot; `None` when it is gone, or a zombie.
pub(crate) fn started(pid: u32) -> Option<u64> {
    // One read: the kernel writes the whole line at once, and the fields wanted are in its front.
    let mut bytes = [0; STAT_BYTES];
    let mut file = std::fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let got = file.read(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes[..got]);
    // The command in parentheses may contain anything: count from the last parenthesis.
    let rest = &text[text.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    // The state is field 3 of the manual, the start time field 22.
    fields.nth(18)?.parse().ok()
}

/// Whether the process that started then still runs (0: start time unknown).
pub(crate) fn is_alive(pid: u32, since: u64) -> bool {
    match started(pid) {
        Some(found) => since == 0 || found == since,
        // Without /proc, or where it hides others: ask the kernel, who cannot tell zombies.
        None if started(std::process::id()).is_none() => exists(pid),
        None => false,
    }
}

fn exists(pid: u32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid as i32) else { return false };
    rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_live_and_a_later_process_with_our_pid_would_not_be_us() {
        let me = std::process::id();
        let since = started(me).unwrap();
        assert!(is_alive(me, since));
        assert!(is_alive(me, 0));
        assert!(!is_alive(me, since + 1));
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let mut looks = 0;
        while is_alive(pid, 0) && looks < 1000 {
            looks += 1;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let alive = is_alive(pid, 0);
        child.wait().unwrap();
        assert!(!alive, "an exited child counts as alive");
    }
}

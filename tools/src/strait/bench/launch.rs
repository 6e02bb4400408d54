// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs one command to its end, its time limit or a signal to us, and leaves no process behind.
//!
//! Invariants:
//! 1. The command is a process group of its own and hears of a ^C only from us: what it had to say
//!    is lost in that case, what was measured before is not.
//! 2. We adopt its orphans (PR_SET_CHILD_SUBREAPER), so every process that it started and that
//!    outlives it becomes our child and is ended.
//! 3. While it runs we sleep in poll: no thread, no reader. Its output goes to a memory file.

use super::contender::Invocation;
use super::machine::busy_seconds;
use crate::mpiexec::signals::{self, Exit, Signals};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How long its orphans may take to end by themselves, after it.
const ORPHANS: Duration = Duration::from_millis(300);
/// A process that cannot be ended (it sleeps in the kernel) is not waited for any longer.
const GIVE_UP: Duration = Duration::from_secs(10);
/// In a run as long as this, a hundredth of a second of each processor is little.
const TELLING_SECONDS: f64 = 0.5;
/// So much of each output is read.
const OUTPUT_BYTES: u64 = 64 << 20;

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    By(Exit),
    /// Its time was up.
    TimedOut,
    /// This signal came to us.
    Stopped(i32),
}

/// What became of a command.
pub struct Ran {
    pub ended: Ended,
    pub seconds: f64,
    pub out: String,
    pub err: String,
    /// Processors that others kept busy meanwhile; the kernel counts in hundredths of a second, so
    /// nothing is said of a short run.
    pub foreign_cpus: Option<f64>,
    /// Processes that it had left, which were ended.
    pub left_behind: usize,
}

/// Runs commands, one at a time.
pub struct Launcher {
    signals: Signals,
    /// The signal that told us to stop.
    stopped: Option<i32>,
    /// Children that were ours before: a shell that became us by exec may have had some.
    before: Vec<u32>,
}

impl Launcher {
    /// Blocks the signals that end us, to read them at a moment of our choice.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Launcher> {
        let signals = Signals::watch()?;
        // SAFETY: an attribute of this process; no memory is touched.
        if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Launcher { signals, stopped: None, before: children() })
    }

    /// The signal that told us to stop, if one came.
    pub fn stopped(&mut self) -> Option<i32> {
        self.take_signals();
        self.stopped
    }

    fn take_signals(&mut self) {
        while let Some(arrived) = self.signals.next() {
            let ends = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
            if ends.contains(&arrived.number) {
                self.stopped.get_or_insert(arrived.number);
            }
        }
    }

    /// Runs a command. `tick` is called once a second while it runs, if there is one.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(
        &mut self,
        invocation: &Invocation,
        limit: Duration,
        tick: Option<&dyn Fn()>,
    ) -> io::Result<Ran> {
        let (mut out, mut err) = (memory_file("out")?, memory_file("err")?);
        let (busy, own) = (busy_seconds(), children_cpu_seconds());
        let begun = Instant::now();
        let pid = self.start(invocation, &out, &err)?;
        let mut ended = self.wait(pid, begun + limit, tick);
        if ended.is_none() {
            let why = self.stopped.map_or(Ended::TimedOut, Ended::Stopped);
            self.end_group(pid);
            ended = Some(why);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let left_behind = self.end_orphans();
        let own = children_cpu_seconds() - own;
        let foreign_cpus = busy
            .zip(busy_seconds())
            .filter(|_| seconds >= TELLING_SECONDS)
            .map(|(from, to)| ((to - from - own) / seconds).max(0.0));
        Ok(Ran {
            ended: ended.expect("set above"),
            seconds,
            out: contents(&mut out),
            err: contents(&mut err),
            foreign_cpus,
            left_behind,
        })
    }

    fn start(&self, invocation: &Invocation, out: &File, err: &File) -> io::Result<u32> {
        let (program, words) = invocation.argv.split_first().expect("a command has a first word");
        let mut command = Command::new(program);
        command.args(words).envs(&invocation.env).process_group(0).stdin(Stdio::null());
        command.stdout(out.try_clone()?).stderr(err.try_clone()?);
        let mask = self.signals.mask_before;
        // SAFETY: the closure makes two system calls and touches only its copy of the mask.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) < 0
                    || libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut()) < 0
                {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        Ok(command.spawn()?.id())
    }

    /// How the child ended; `None` when its time is up or we have to stop.
    fn wait(&mut self, pid: u32, until: Instant, tick: Option<&dyn Fn()>) -> Option<Ended> {
        loop {
            if let Some(exit) = reap_for(pid) {
                return Some(Ended::By(exit));
            }
            if self.stopped.is_some() {
                return None;
            }
            let rest = until.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())?;
            let pause = if tick.is_some() { rest.min(Duration::from_secs(1)) } else { rest };
            self.sleep(pause);
            if let Some(tick) = tick {
                tick();
            }
        }
    }

    /// Until a signal comes, at most so long.
    fn sleep(&mut self, pause: Duration) {
        let mut fds = [PollFd::new(&self.signals, PollFlags::IN)];
        let pause = rustix::event::Timespec {
            tv_sec: pause.as_secs() as i64,
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        // An interrupted or failed poll is a short sleep: the caller looks again.
        let _ = poll(&mut fds, Some(&pause));
        self.take_signals();
    }

    /// Asks the group to end, then ends it. A launcher that is asked can end its ranks.
    fn end_group(&mut self, pid: u32) {
        signal_group(pid, libc::SIGTERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if reap_for(pid).is_some() {
                // What is left of its group was adopted, and is ended as orphans.
                return;
            }
            self.sleep(Duration::from_millis(20));
        }
        signal_group(pid, libc::SIGKILL);
        while reap_for(pid).is_none() {
            self.sleep(Duration::from_millis(20));
        }
    }

    /// Waits for what the command left, and ends what stays; answers how many had to be ended.
    fn end_orphans(&mut self) -> usize {
        let begun = Instant::now();
        let mut ended = std::collections::BTreeSet::new();
        loop {
            while signals::reap().is_some() {}
            let mut orphans = children();
            orphans.retain(|orphan| !self.before.contains(orphan));
            if orphans.is_empty() || begun.elapsed() >= GIVE_UP {
                return ended.len();
            }
            if begun.elapsed() >= ORPHANS || self.stopped.is_some() {
                for orphan in orphans {
                    // Our own child, not reaped yet: the number is still its own.
                    signals::send(orphan, libc::SIGKILL);
                    ended.insert(orphan);
                }
            }
            self.sleep(Duration::from_millis(5));
        }
    }
}

fn memory_file(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read back is as good as not printed; the run then has no figures.
    let _ = file.rewind().and_then(|()| file.take(OUTPUT_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Removes children that have ended; answers how this one did.
fn reap_for(pid: u32) -> Option<Exit> {
    let mut found = None;
    while let Some((reaped, exit)) = signals::reap() {
        if reaped == pid {
            found = Some(exit);
        }
    }
    found
}

fn signal_group(leader: u32, number: i32) {
    // SAFETY: kill touches no memory; the group is one that we made.
    unsafe { libc::kill(-(leader as libc::pid_t), number) };
}

/// Our children, adopted ones too.
fn children() -> Vec<u32> {
    let ours = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parent(*pid) == Some(ours))
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Processor time of all children that were reaped.
fn children_cpu_seconds() -> f64 {
    // SAFETY: rusage is integers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes one rusage, ours.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

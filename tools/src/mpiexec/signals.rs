// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals as a descriptor: mpiexec installs no handler, so nothing can run in a child that shares
//! our memory, and nothing interrupts the loop.

use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals that mpiexec reads.
const WATCHED: &[libc::c_int] = &[
    libc::SIGCHLD,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// A signal that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Which.
    pub number: i32,
    /// The kernel sent it, as a terminal does to all of its foreground process group; otherwise a
    /// process sent it, and nobody can tell whether to us alone.
    pub by_kernel: bool,
}

/// The watched signals, blocked and readable.
pub struct Signals {
    fd: OwnedFd,
    /// The mask that was in force before, for the ranks.
    pub mask_before: libc::sigset_t,
}

impl Signals {
    /// Blocks the signals and opens the descriptor. A SIGHUP or SIGINT that was ignored (nohup, a
    /// background job of a plain shell) stays ignored, here and in the ranks.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn watch() -> io::Result<Signals> {
        // SAFETY: sigset_t is an array of integers; it is filled by the calls below.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut mask_before: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: writes one set, ours.
        unsafe { libc::sigemptyset(&mut set) };
        for number in WATCHED {
            // SAFETY: writes one set, ours, with a valid number.
            unsafe { libc::sigaddset(&mut set, *number) };
        }
        // SAFETY: reads one set and writes the other; changes this thread's mask only.
        if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, &mut mask_before) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: reads one set; makes a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Signals { fd, mask_before })
    }

    /// The next signal, if one waits.
    pub fn next(&self) -> Option<Arrived> {
        // SAFETY: signalfd_siginfo is integers, for which all zeroes is a value.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: writes at most `size` bytes into `info`, which has that many.
        let count = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size) };
        (count == size as isize).then_some(Arrived {
            number: info.ssi_signo as i32,
            by_kernel: info.ssi_code == libc::SI_KERNEL,
        })
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A child that only waits for signals, in our process group like the ranks. Who signals the group
/// kills it too; who signals mpiexec alone does not. The kernel tells the two apart nowhere else.
///
/// It shares our descriptors. When mpiexec is killed, the kernel closes a process's descriptors
/// before it signals the children: MPI processes below a shell would die by their connection first,
/// and the shell, for a moment, go on with its next command. Shared descriptors close when the
/// canary dies, which gets its signal together with that shell.
pub struct Canary {
    /// Its process id.
    pub pid: u32,
}

impl Canary {
    /// Starts it, with the mask that was in force before ours. Call it first: it keeps a copy of
    /// what we hold in memory then.
    ///
    /// # Errors
    /// No processes left.
    pub fn start(signals: &Signals) -> io::Result<Canary> {
        // SAFETY: getpid cannot fail.
        let parent = unsafe { libc::getpid() };
        let flags = libc::CLONE_FILES | libc::SIGCHLD;
        // SAFETY: like fork but for the descriptors. mpiexec has one thread, and the child below
        // only makes system calls.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid > 0 {
            return Ok(Canary { pid: pid as u32 });
        }
        // SAFETY: an attribute of this process; getppid and _exit touch no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // SAFETY: getppid cannot fail.
        if unsafe { libc::getppid() } != parent {
            // SAFETY: ends this process without destructors.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: reads one set; changes this process only.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &signals.mask_before, std::ptr::null_mut()) };
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }
}

impl Canary {
    /// Kills and reaps it, if nobody reaped it before: mpiexec leaves nothing behind, not even for
    /// the moment that a death signal takes.
    pub fn end(&self) {
        let pid = self.pid as libc::pid_t;
        // SAFETY: nothing is written. Answers 0 only for a child of ours that lives, so the number
        // is still its own.
        while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) } == 0 {
            send(self.pid, libc::SIGKILL);
            // SAFETY: nothing is written. It returns early when a signal arrives; hence the loop.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// What a shell would say.
    pub fn code(self) -> u8 {
        match self {
            Exit::Code(code) => (code & 0xff) as u8,
            Exit::Signal(number) => (128 + number).clamp(0, 255) as u8,
        }
    }
}

/// A child that has ended, removed; `None` when there is none now.
pub fn reap() -> Option<(u32, Exit)> {
    let mut status = 0;
    // SAFETY: writes one integer, ours.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    if pid <= 0 {
        return None;
    }
    let exit = if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    };
    Some((pid.unsigned_abs(), exit))
}

/// Sends a signal to a process that we have not reaped yet, so its number is still its own.
pub fn send(pid: u32, number: i32) {
    // SAFETY: kill touches no memory.
    unsafe { libc::kill(pid as libc::pid_t, number) };
}

/// The name of a signal, with a word for people.
pub fn name(number: i32) -> String {
    let known = [
        (libc::SIGHUP, "SIGHUP (hangup)"),
        (libc::SIGINT, "SIGINT (interrupt)"),
        (libc::SIGQUIT, "SIGQUIT (quit)"),
        (libc::SIGILL, "SIGILL (illegal instruction)"),
        (libc::SIGTRAP, "SIGTRAP (trap)"),
        (libc::SIGABRT, "SIGABRT (abort)"),
        (libc::SIGBUS, "SIGBUS (bus error)"),
        (libc::SIGFPE, "SIGFPE (arithmetic error)"),
        (libc::SIGKILL, "SIGKILL (killed)"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV (segmentation fault)"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE (broken pipe)"),
        (libc::SIGALRM, "SIGALRM (alarm)"),
        (libc::SIGTERM, "SIGTERM (terminated)"),
        (libc::SIGXCPU, "SIGXCPU (processor time limit)"),
        (libc::SIGXFSZ, "SIGXFSZ (file size limit)"),
        (libc::SIGSYS, "SIGSYS (bad system call)"),
    ];
    known
        .iter()
        .find(|(candidate, _)| *candidate == number)
        .map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

/// Raises the soft limit of open descriptors to the hard one; returns the limit before, for the
/// ranks, and the limit now.
pub fn raise_descriptor_limit() -> (Option<libc::rlimit>, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit, ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } < 0 {
        return (None, 1024);
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: reads one rlimit; changes this process only.
    let now = if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } < 0 {
        limit.rlim_cur
    } else {
        limit.rlim_max
    };
    (Some(limit), now)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starts the agent of a host: a child of ours on this host, ssh or another program for the others.

use super::agent;
use super::hosts::Launcher;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long ssh may take to connect, in seconds, and between two of its own signs of life.
const SSH_OPTIONS: &[&str] = &[
    "-x",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=20",
    "-o",
    "ServerAliveInterval=10",
    "-o",
    "ServerAliveCountMax=3",
];

/// A started agent, or what will become one.
pub struct Started {
    /// The launcher's process.
    pub pid: u32,
    /// What it is called, for people.
    pub name: String,
    /// Its standard input, or the agent's command pipe: does not block.
    pub to: OwnedFd,
    /// Its standard output: does not block.
    pub from: OwnedFd,
    /// Its standard error.
    pub err: OwnedFd,
}

/// What differs from a plain child.
pub struct Setting {
    /// The signal mask before ours.
    pub mask: libc::sigset_t,
    /// The descriptor limit before ours.
    pub limit: Option<libc::rlimit>,
}

/// Starts the agent of the host `host`, or of this one.
///
/// # Errors
/// The launcher cannot be started.
pub fn start(
    host: Option<&str>,
    launcher: &Launcher,
    executable: &Path,
    setting: &Setting,
) -> io::Result<Started> {
    let (out_read, out_write) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err_read, err_write) = pipe_with(PipeFlags::CLOEXEC)?;
    let (in_read, in_write) = pipe_with(PipeFlags::CLOEXEC)?;
    for end in [&out_read, &in_write] {
        rustix::io::ioctl_fionbio(end, true)?;
    }
    let (mut command, name) = match host {
        None => {
            let mut command = Command::new(executable);
            command.arg(agent::OPTION).arg(in_read.as_raw_fd().to_string());
            // It keeps its number; mpiexec starts nothing else before it is closed below.
            rustix::io::fcntl_setfd(&in_read, rustix::io::FdFlags::empty())?;
            (command, "the agent on this host".to_owned())
        }
        Some(host) => {
            let (mut command, name) = remote(host, launcher, executable);
            command.stdin(Stdio::from(in_read.try_clone()?));
            // ^C is for us, who then end the job in order.
            command.process_group(0);
            (command, name)
        }
    };
    command.stdout(Stdio::from(out_write)).stderr(Stdio::from(err_write));
    let (mask, limit) = (setting.mask, setting.limit);
    let parent = rustix::process::getpid();
    let prepare = move || {
        // SAFETY: sets an attribute of this process only.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        if let Some(limit) = &limit {
            // SAFETY: reads one rlimit; changes this process only.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) };
        }
        // SAFETY: reads one set; changes this process only.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut()) };
        Ok(())
    };
    // SAFETY: the closure makes system calls only: nothing of it allocates or locks, as a child of
    // a process with one thread could do anyway.
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn().map_err(|error| {
        let program = command.get_program().to_string_lossy().into_owned();
        io::Error::new(error.kind(), format!("{program}: {}", super::parse::reason(&error)))
    })?;
    Ok(Started { pid: child.id(), name, to: in_write, from: out_read, err: err_read })
}

fn remote(host: &str, launcher: &Launcher, executable: &Path) -> (Command, String) {
    let ours = [executable.as_os_str().to_owned(), agent::OPTION.into(), "0".into()];
    let mut command;
    match launcher {
        Launcher::Program(program) => {
            command = Command::new(program);
            command.arg(host).args(ours);
            return (command, program.clone());
        }
        Launcher::Fork => {
            command = Command::new(executable);
            command.args(&ours[1..]);
            return (command, "the agent".to_owned());
        }
        Launcher::Srun => {
            command = Command::new("srun");
            // The agent needs all cores of its host: it binds the ranks.
            let how = ["--overlap", "--mpi=none", "--cpu-bind=none", "-N1", "-n1", "-w", host];
            command.args(how).args(ours);
            return (command, "srun".to_owned());
        }
        Launcher::Auto | Launcher::Ssh(_) => {}
    }
    let program = match launcher {
        Launcher::Ssh(program) => program.as_str(),
        _ => "ssh",
    };
    // ssh hands one line to the shell of the other host.
    let mut line = OsString::from("exec ");
    line.push(quoted(executable));
    line.push(format!(" {} 0", agent::OPTION));
    command = Command::new(program);
    command.args(SSH_OPTIONS).arg(host).arg(line);
    (command, program.to_owned())
}

/// As one word for a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

/// The file of mpiexec on a host: with `-prefix` that of the other installation, else as here.
///
/// # Errors
/// Our own file cannot be found.
pub fn executable(host: Option<&str>, prefix: Option<&str>) -> io::Result<PathBuf> {
    match prefix {
        Some(prefix) if host.is_some() => Ok(Path::new(prefix).join("bin/mpiexec")),
        _ => std::env::current_exe(),
    }
}

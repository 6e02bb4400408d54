// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ranks ask for while they run: names of ports, and more processes.
//!
//! Each job that ranks spawn has an mpiexec of its own, a child of ours, which reads the request
//! from the rank's connection and answers there. It shows its ranks' output and reports its
//! failures by itself; we wait for it, end it with the job, and its exit code counts if ours is
//! 0.

use super::Job;
use crate::mpiexec::ending::Cause;
use crate::mpiexec::signals::{self, Exit};
use crate::mpiexec::waiting;
use rustix::net::{RecvFlags, SendFlags};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use strait_transport::bootstrap::contract::{Ask, ENV_KEEP_GOING, SPAWN_OPTION, words};

/// The longest request about a name: a name and a port.
const NAMES_BYTES_MAX: usize = 16 << 10;

/// Between two looks at ranks that may have lost a job that failed.
const LOOK_TIME: Duration = Duration::from_millis(100);

/// The jobs that ranks of ours spawned.
#[derive(Default)]
pub struct Spawned {
    running: Vec<u32>,
    /// The first exit code that was not 0.
    code: u8,
}

impl Spawned {
    /// One of them ended, if it is one.
    pub fn ended(&mut self, pid: u32, exit: Exit) {
        let before = self.running.len();
        self.running.retain(|other| *other != pid);
        if self.running.len() != before && self.code == 0 {
            self.code = exit.code();
        }
    }

    /// Whether some go on.
    pub fn any(&self) -> bool {
        !self.running.is_empty()
    }

    /// The exit code of all.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Signals all.
    pub fn signal(&self, number: i32) {
        self.running.iter().for_each(|pid| signals::send(*pid, number));
    }
}

impl Job<'_> {
    /// A job that ranks spawned has failed: those that lose it by a fatal error wait for us to end
    /// them, and nothing else tells that they do.
    pub(super) fn look_at_spawned(&mut self) {
        let code = self.spawned.code();
        let goes_on = self.plan.request.options.keep_going;
        if code == 0 || self.ending.is_some() || self.link.is_some() || goes_on {
            return;
        }
        let tells_of_a_loss = |rank| {
            let report = self.node.record(rank).report();
            report.is_some_and(|text| waiting::tells_of_a_loss(&text))
        };
        if self.running().any(tells_of_a_loss) {
            self.end(Cause::Spawned(code));
        }
    }

    /// When that is looked at next.
    pub(super) fn spawned_look(&self) -> Option<Instant> {
        let failed = self.spawned.code() != 0 && self.alive > 0 && self.ending.is_none();
        failed.then(|| Instant::now() + LOOK_TIME)
    }

    pub(super) fn serve_request(&mut self, ask: Ask, socket: OwnedFd) {
        if self.link.is_some() {
            let what = match ask {
                Ask::Names => "names of ports are kept",
                Ask::Spawn => "processes can be spawned",
            };
            let text = format!("{what} by an mpiexec on one host only, and this job spans several");
            return answer(&socket, &[b"failed", text.as_bytes()]);
        }
        match ask {
            Ask::Names => self.serve_names(&socket),
            Ask::Spawn if self.ending.is_some() => {
                answer(&socket, &[b"failed", b"the job is ending"])
            }
            Ask::Spawn => self.spawn(socket),
        }
    }

    fn serve_names(&mut self, socket: &OwnedFd) {
        let mut bytes = vec![0; NAMES_BYTES_MAX];
        // It was sent together with what brought us here.
        let got = rustix::net::recv(socket, &mut bytes[..], RecvFlags::DONTWAIT);
        let Some((request, _)) = words::decode(&bytes[..got.map_or(0, |(count, _)| count)]) else {
            return;
        };
        let request: Vec<_> = request.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let request: Vec<&str> = request.iter().map(|word| &**word).collect();
        let said = self.names.serve(&request);
        answer(socket, &said.iter().map(String::as_bytes).collect::<Vec<_>>());
    }

    fn spawn(&mut self, socket: OwnedFd) {
        let again = socket.try_clone();
        let mask = self.signals.mask_before;
        let parent = std::process::id();
        let started = std::env::current_exe().and_then(|program| {
            // mpiexec's sockets do not wait; the request may be long.
            rustix::io::ioctl_fionbio(&socket, false)?;
            let mut command = Command::new(program);
            command.arg(SPAWN_OPTION).stdin(Stdio::from(socket));
            match self.plan.request.options.keep_going {
                true => command.env(ENV_KEEP_GOING, "on"),
                false => command.env_remove(ENV_KEEP_GOING),
            };
            let prepare = move || {
                // SAFETY: reads one set; the child is to have the signals that we had.
                unsafe { libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut()) };
                // SAFETY: changes a setting of the child.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                // SAFETY: asks for a number.
                match unsafe { libc::getppid() } as u32 == parent {
                    true => Ok(()),
                    false => Err(std::io::Error::from_raw_os_error(libc::ESRCH)),
                }
            };
            // SAFETY: what it does between fork and exec are system calls alone.
            unsafe { command.pre_exec(prepare) };
            command.spawn()
        });
        match started {
            Ok(child) => self.spawned.running.push(child.id()),
            Err(error) => {
                if let Ok(socket) = again {
                    let text = format!("mpiexec cannot start another mpiexec: {error}");
                    answer(&socket, &[b"failed", text.as_bytes()]);
                }
            }
        }
    }
}

/// Who does not read it has gone.
fn answer(socket: &OwnedFd, said: &[&[u8]]) {
    let said: Vec<Vec<u8>> = said.iter().map(|word| word.to_vec()).collect();
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let _ = rustix::net::send(socket, &words::encode(&said), flags);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starts the ranks: pipes, files, processes, in the order of the ranks. The first one that cannot
//! be started ends all.

use super::environment::{self, JobFacts, Who};
use super::failure::{CODE_NOT_EXECUTABLE, CODE_NOT_FOUND, Failure};
use super::label::{Meaning, expand};
use super::parse::reason;
use super::plan::Plan;
use super::pmi;
use super::relay::{Channel, Relay, Route};
use super::request::Stdin;
use super::signals;
use super::spawn::{Spawner, Start, Step};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Descriptors of mpiexec per rank: two pipes, its connection and its PMI socket, and some for all.
const DESCRIPTORS_PER_RANK: u64 = 4;
const DESCRIPTORS_FOR_ALL: u64 = 64;

/// What all starts need.
pub struct Starter<'a> {
    /// What to start.
    pub plan: &'a Plan<'a>,
    /// How.
    pub spawner: &'a Spawner,
    /// What the ranks are told.
    pub facts: &'a JobFacts,
    /// The node memory, which they inherit under its number.
    pub node: BorrowedFd<'a>,
}

/// The ranks, started.
pub struct Started {
    /// Process ids by rank.
    pub pids: Vec<u32>,
    /// Writing ends for copies of our standard input.
    pub stdin_pipes: Vec<OwnedFd>,
    /// Our ends of the ranks' PMI sockets.
    pub pmi_sockets: Vec<OwnedFd>,
}

impl Started {
    /// Keeps the writing end of a rank's standard input, and answers the other.
    fn add_stdin(&mut self, (read, write): (OwnedFd, OwnedFd)) -> Result<OwnedFd, Failure> {
        rustix::io::ioctl_fionbio(&write, true)
            .map_err(|errno| system("cannot set up a pipe", errno.into()))?;
        self.stdin_pipes.push(write);
        Ok(read)
    }
}

/// Whether the descriptors suffice.
///
/// # Errors
/// They do not.
pub fn check_descriptors(size: u32, limit: u64) -> Result<(), Failure> {
    let wanted = u64::from(size) * DESCRIPTORS_PER_RANK + DESCRIPTORS_FOR_ALL;
    if wanted <= limit {
        return Ok(());
    }
    Err(Failure::with_code(
        1,
        format!("{size} ranks need {wanted} descriptors, the limit is {limit}"),
    )
    .help("raise it: ulimit -Hn, or /etc/security/limits.conf"))
}

impl Starter<'_> {
    /// Starts all ranks.
    ///
    /// # Errors
    /// The first one that cannot be started; those before it are killed.
    pub fn start_all(&self, relay: &mut Relay) -> Result<Started, Failure> {
        let mut started =
            Started { pids: Vec::new(), stdin_pipes: Vec::new(), pmi_sockets: Vec::new() };
        let mut files = Files { plan: self.plan, opened: HashMap::new() };
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| system("cannot open /dev/null", errno.into()))?;
        for local_rank in 0..self.plan.size() {
            if let Err(failure) = self.start_one(local_rank, &null, &mut files, relay, &mut started)
            {
                for pid in &started.pids {
                    signals::send(*pid, libc::SIGKILL);
                }
                return Err(failure);
            }
        }
        Ok(started)
    }

    fn start_one(
        &self,
        local_rank: u32,
        null: &OwnedFd,
        files: &mut Files<'_>,
        relay: &mut Relay,
        started: &mut Started,
    ) -> Result<(), Failure> {
        let options = &self.plan.request.options;
        let rank = self.plan.ranks[local_rank as usize];
        let index = self.plan.program_of[local_rank as usize];
        let prepared = &self.plan.programs[index];
        let pipe = || {
            pipe_with(PipeFlags::CLOEXEC)
                .map_err(|errno| system("cannot make a pipe", errno.into()))
        };
        let (out_read, out_write) = pipe()?;
        let (err_read, err_write) = pipe()?;
        let copies = match &options.stdin {
            Stdin::Copy(None) => true,
            Stdin::Copy(Some(list)) => list.contains(&rank),
            _ => false,
        };
        let own_stdin = match copies {
            true => Some(started.add_stdin(pipe()?)?),
            false => None,
        };
        let stdin = match &own_stdin {
            Some(read) => Some(read.as_fd()),
            None if options.stdin == Stdin::Inherit(rank) => None,
            None => Some(null.as_fd()),
        };
        let out_file = files.open(options.out_file.as_deref(), rank, index, relay)?;
        let err_file = files.open(options.err_file.as_deref(), rank, index, relay)?;
        let (pmi_ours, pmi_theirs) =
            pmi::pair().map_err(|errno| system("cannot make a socket", errno.into()))?;
        let who = Who { rank, local_rank, program: index };
        let env = environment::of_rank(self.facts, who, pmi_theirs.as_raw_fd());
        let start = Start {
            path: &prepared.path,
            argv: &prepared.argv,
            env: [&prepared.env, &env],
            directory: prepared.directory.as_deref(),
            stdin,
            outputs: [out_write.as_fd(), err_write.as_fd()],
            kept: [self.node, pmi_theirs.as_fd()],
            processors: self.plan.processors(local_rank),
        };
        let pid = self
            .spawner
            .start(&start)
            .map_err(|(step, error)| self.explain(rank, index, step, &error))?;
        started.pids.push(pid);
        started.pmi_sockets.push(pmi_ours);
        let meaning = Meaning { rank, host: &self.plan.host, pid, program: index };
        let label =
            options.label.as_ref().map_or(String::new(), |pattern| expand(pattern, &meaning));
        let hidden = options.output_from.as_ref().is_some_and(|list| !list.contains(&rank));
        let route = |sink, hidden| Route {
            sink,
            label: label.clone().into_bytes(),
            label_has_time: label.contains("%t"),
            hidden,
            interactive: (rank == 0).then_some(pid),
        };
        relay
            .add(out_read, Channel::Out, route(out_file, hidden))
            .and_then(|()| relay.add(err_read, Channel::Err, route(err_file, false)))
            .map_err(|errno| system("cannot watch a pipe", errno.into()))
    }

    fn explain(&self, rank: u32, index: usize, step: Step, error: &io::Error) -> Failure {
        let program = &self.plan.request.programs[index];
        let name = program.argv[0].to_string_lossy();
        let host = &self.plan.host;
        let why = reason(error);
        match (step, error.raw_os_error()) {
            (Step::Execute, Some(libc::ENOEXEC)) => Failure::with_code(
                CODE_NOT_EXECUTABLE,
                format!("cannot run '{name}' (rank {rank}, host {host}): not a program"),
            )
            .help("a script needs a first line such as #!/bin/sh, a program this processor"),
            (Step::Execute, Some(libc::ENOENT)) => Failure::with_code(
                CODE_NOT_FOUND,
                format!("cannot run '{name}' (rank {rank}, host {host}): its loader is missing"),
            ),
            (Step::Execute, _) => Failure::with_code(
                CODE_NOT_EXECUTABLE,
                format!("cannot run '{name}' (rank {rank}, host {host}): {why}"),
            ),
            (Step::Directory, _) => Failure::with_code(
                CODE_NOT_FOUND,
                format!("cannot run in the directory of rank {rank} (host {host}): {why}"),
            ),
            (Step::Affinity, _) => Failure::with_code(
                1,
                format!("cannot bind rank {rank} (host {host}) to its processors: {why}"),
            ),
            (Step::Process, _) => {
                Failure::with_code(1, format!("cannot start rank {rank} (host {host}): {why}"))
                    .help("ulimit -u and the pids limit of a container bound the processes")
            }
        }
    }
}

/// A failed system call of the start.
pub fn system(what: &str, error: io::Error) -> Failure {
    Failure::with_code(1, format!("{what}: {}", reason(&error)))
}

/// Files of -outfile-pattern and -errfile-pattern: a name is opened once, whoever writes to it.
struct Files<'a> {
    plan: &'a Plan<'a>,
    opened: HashMap<String, usize>,
}

impl Files<'_> {
    fn open(
        &mut self,
        pattern: Option<&str>,
        rank: u32,
        program: usize,
        relay: &mut Relay,
    ) -> Result<Option<usize>, Failure> {
        let Some(pattern) = pattern else { return Ok(None) };
        let name = expand(pattern, &Meaning { rank, host: &self.plan.host, pid: 0, program });
        if let Some(sink) = self.opened.get(&name) {
            return Ok(Some(*sink));
        }
        let path = Path::new(&name);
        let made = match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => std::fs::create_dir_all(parent),
            None => Ok(()),
        };
        let file = made.and_then(|()| std::fs::File::create(path)).map_err(|error| {
            Failure::with_code(1, format!("cannot write to '{name}': {}", reason(&error)))
        })?;
        let sink = relay.add_file(file.into());
        self.opened.insert(name, sink);
        Ok(Some(sink))
    }
}

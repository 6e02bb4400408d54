// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the agents are told: orders, commands, the addresses of each other's ranks.
#![forbid(unsafe_code)]

use super::stdin::StdinFeed;
use super::{Head, State, TOKEN_TO, address};
use crate::mpiexec::ending::Cause;
use crate::mpiexec::failure::Failure;
use crate::mpiexec::report::Summary;
use crate::mpiexec::request::Stdin;
use crate::mpiexec::wire::{self, Command, Kind, Order};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::time::Instant;

/// Variables that describe the host of mpiexec, or the way to it, and mean nothing on another one.
const OF_ONE_HOST: &[&str] = &[
    "HOSTNAME",
    "HOST",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];

impl Head<'_> {
    /// Tells each agent what it will run.
    pub(super) fn give_orders(&mut self) -> Result<(), Failure> {
        let (job, key) = crate::mpiexec::fresh_secrets()?;
        let directory = std::env::current_dir()
            .map_err(|error| super::start::system("the working directory is gone", error))?;
        let addresses: Vec<_> =
            self.agents.iter().map(|agent| address::of_host(&agent.part.host)).collect();
        let counts = self.agents.iter().map(|agent| agent.part.count);
        let mapping = crate::mpiexec::pmi::mapping(counts);
        let mut fed = Vec::new();
        for index in 0..self.agents.len() {
            let agent = &self.agents[index];
            let part = agent.part.clone();
            let has = |rank: &u32| part.ranks().contains(rank);
            let mut request = self.request.clone();
            let feeds_stdin = match &self.request.options.stdin {
                Stdin::Inherit(rank) if !has(rank) => {
                    request.options.stdin = Stdin::None;
                    false
                }
                Stdin::Inherit(_) if agent.is_local => false,
                Stdin::Inherit(rank) => {
                    request.options.stdin = Stdin::Copy(Some(vec![*rank]));
                    true
                }
                Stdin::Copy(None) => true,
                Stdin::Copy(Some(list)) => list.iter().any(has),
                Stdin::None => false,
            };
            if feeds_stdin {
                fed.push(index);
            }
            let is_of_one_host =
                |name: &OsString| OF_ONE_HOST.iter().any(|one| name.to_str() == Some(*one));
            let env =
                std::env::vars_os().filter(|(name, _)| agent.is_local || !is_of_one_host(name));
            let others = addresses.iter().enumerate().filter(|(other, _)| *other != index);
            let order = Order {
                build: strait_transport::node::BUILD_ID.to_owned(),
                host: if agent.is_local { self.host.clone() } else { part.host.clone() },
                index,
                first: part.first,
                count: part.count,
                job,
                key,
                directory: directory.clone().into_os_string(),
                env: env.collect(),
                request,
                others: others.filter_map(|(_, address)| *address).collect(),
                mapping: mapping.clone(),
                is_local: agent.is_local,
                feeds_stdin,
            };
            self.command(index, &Command::Prepare(Box::new(order)));
        }
        if !fed.is_empty() {
            self.stdin = Some(StdinFeed::to(fed));
        }
        Ok(())
    }

    /// All hosts are ready.
    pub(super) fn begin(&mut self) {
        self.begun = Instant::now();
        if self.ending.is_some() {
            return;
        }
        for index in 0..self.agents.len() {
            self.agents[index].state = State::Running;
            self.command(index, &Command::Start);
        }
        self.watch_stdin();
    }

    /// Ends the job; the first cause stays.
    pub(super) fn end(&mut self, cause: Cause) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((cause.clone(), Instant::now()));
        for index in 0..self.agents.len() {
            match self.agents[index].state {
                // An agent that has started nothing just goes.
                State::Starting | State::Ready => {
                    self.agents[index].state = State::Lost;
                    self.agents[index].to = None;
                }
                State::Running => {
                    let forward = !self.agents[index].is_local;
                    self.command(index, &Command::End { cause: cause.clone(), forward });
                }
                State::Done | State::Lost => {}
            }
        }
    }

    /// A rank of a host failed: the others end, too. That host is at it already.
    pub(super) fn end_for(&mut self, host: usize, summary: Summary) {
        let first = summary.first.as_ref().map(|first| Cause::Failed(first.rank));
        let Some(cause) = summary.cause.or(first) else { return };
        if self.ending.is_some() || matches!(cause, Cause::Elsewhere(_)) {
            return;
        }
        self.ending = Some((cause.clone(), Instant::now()));
        for index in (0..self.agents.len()).filter(|index| *index != host) {
            if self.agents[index].state == State::Running {
                self.command(index, &Command::End { cause: cause.clone(), forward: false });
            }
        }
    }

    /// A host needs the addresses of ranks of other hosts: their agents know them.
    pub(super) fn wants(&mut self, asker: usize, ranks: &[u32]) {
        let mut questions = vec![Vec::new(); self.agents.len()];
        for rank in ranks {
            if let Some(bytes) = self.addresses.get(rank).cloned() {
                self.command(asker, &Command::Address { rank: *rank, bytes });
                continue;
            }
            let askers = self.askers.entry(*rank).or_default();
            askers.push(asker);
            let owner = self.agents.iter().position(|agent| agent.part.ranks().contains(rank));
            if let Some(owner) = owner.filter(|_| askers.len() == 1) {
                questions[owner].push(*rank);
            }
        }
        for (owner, ranks) in questions.into_iter().enumerate().filter(|(_, list)| !list.is_empty())
        {
            self.command(owner, &Command::Ask(ranks));
        }
    }

    /// Passes an address on to all who asked for it.
    pub(super) fn answer(&mut self, rank: u32, bytes: Vec<u8>) {
        for asker in self.askers.remove(&rank).unwrap_or_default() {
            self.command(asker, &Command::Address { rank, bytes: bytes.clone() });
        }
        self.addresses.insert(rank, bytes);
    }

    pub(super) fn command(&mut self, index: usize, command: &Command) {
        self.send(index, Kind::Command, &wire::json(command));
    }

    pub(super) fn send(&mut self, index: usize, kind: Kind, body: &[u8]) {
        if self.agents[index].to.is_some() {
            wire::write(&mut self.agents[index].queue, kind, body);
            self.flush(index);
        }
    }

    /// Writes what an agent takes; if it is gone, its output tells.
    pub(super) fn flush(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        let Some(to) = &agent.to else { return };
        while !agent.queue.is_empty() {
            match rustix::io::write(to, &agent.queue) {
                Ok(count) => drop(agent.queue.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => agent.queue.clear(),
            }
        }
        let wanted = !agent.queue.is_empty();
        if wanted != agent.armed {
            let token = EventData::new_u64(TOKEN_TO | index as u64);
            let changed = match wanted {
                true => epoll::add(&self.outer, to, token, EventFlags::OUT),
                false => epoll::delete(&self.outer, to),
            };
            agent.armed = if changed.is_ok() { wanted } else { agent.armed };
        }
    }
}

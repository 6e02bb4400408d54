// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the agents are told: orders, commands, the addresses of each other's ranks.
#![forbid(unsafe_code)]

use super::stdin::StdinFeed;
use super::{Agent, Head, State, address};
use crate::mpiexec::ending::Cause;
use crate::mpiexec::failure::Failure;
use crate::mpiexec::report::Summary;
use crate::mpiexec::request::Stdin;
use crate::mpiexec::spread;
use crate::mpiexec::wire::{self, ALL, Branch, Command, Kind, Order, Seat};
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

/// Hosts whose addresses are looked up.
const ADDRESSES_MAX: usize = 9;

impl Head<'_> {
    /// Tells each agent what it will run.
    pub(super) fn give_orders(&mut self, mapping: String) -> Result<(), Failure> {
        let (job, key) = crate::mpiexec::fresh_secrets()?;
        let directory = std::env::current_dir()
            .map_err(|error| super::start::system("the working directory is gone", error))?;
        // To find the interface towards the others, some of them are enough.
        let sample = self.agents.iter().take(ADDRESSES_MAX);
        let others = sample.filter_map(|agent| address::of_host(&agent.part.host)).collect();
        let is_of_one_host =
            |name: &OsString| OF_ONE_HOST.iter().any(|one| name.to_str() == Some(*one));
        let mut request = self.request.clone();
        // Each host knows its own ranks; a list of all of them would travel to each.
        request.options.hosts.clear();
        if let Stdin::Inherit(rank) = request.options.stdin {
            request.options.stdin = Stdin::Copy(Some(vec![rank]));
        }
        let order = Order {
            build: strait_transport::node::BUILD_ID.to_owned(),
            seat: self.seat(0),
            job,
            key,
            directory: directory.into_os_string(),
            env: std::env::vars_os().filter(|(name, _)| !is_of_one_host(name)).collect(),
            request,
            others,
            mapping,
            ranks: spread::runs(&self.order),
            is_local: false,
        };
        let mut fed = Vec::new();
        for port in 0..self.ports.len() {
            let seats: Vec<Seat> = self.behind[port].iter().map(|at| self.seat(*at)).collect();
            fed.extend(seats.iter().filter(|seat| seat.feeds_stdin).map(|seat| seat.index));
            let command = match &seats[..] {
                [seat] => Command::Prepare(Box::new(self.order_of(&order, seat))),
                _ => Command::Branch(Box::new(Branch {
                    order: order.clone(),
                    seats,
                    fan_out: self.request.options.fan_out,
                })),
            };
            self.ports[port].send(Kind::Command, &wire::json(&command));
        }
        if !fed.is_empty() {
            self.stdin = Some(StdinFeed::to(fed));
        }
        Ok(())
    }

    /// The place of a host.
    fn seat(&self, index: usize) -> Seat {
        let Agent { part, is_local, .. } = &self.agents[index];
        let has = |rank: &u32| part.processes().contains(&self.order.process_of(*rank));
        let feeds_stdin = match &self.request.options.stdin {
            Stdin::Inherit(rank) => has(rank) && !is_local,
            Stdin::Copy(None) => true,
            Stdin::Copy(Some(list)) => list.iter().any(has),
            Stdin::None => false,
        };
        let host = if *is_local { &self.host } else { &part.host };
        Seat { host: host.clone(), index, first: part.first, count: part.count, feeds_stdin }
    }

    /// The order of a host with a port of its own.
    fn order_of(&self, order: &Order, seat: &Seat) -> Order {
        let mut order = Order { seat: seat.clone(), ..order.clone() };
        if self.agents[seat.index].is_local {
            order.is_local = true;
            order.env = std::env::vars_os().collect();
            // A rank of this host inherits our standard input itself.
            order.request.options.stdin = self.request.options.stdin.clone();
            if let Stdin::Inherit(rank) = order.request.options.stdin
                && !(self.agents[seat.index].part.processes())
                    .contains(&self.order.process_of(rank))
            {
                order.request.options.stdin = Stdin::None;
            }
        }
        order
    }

    /// All hosts are ready.
    pub(super) fn begin(&mut self) {
        self.begun = Instant::now();
        if self.ending.is_some() {
            return;
        }
        (0..self.agents.len()).for_each(|index| self.set_state(index, State::Running));
        self.command_all(&Command::Start);
        self.watch_stdin();
    }

    /// Ends the job; the first cause stays.
    pub(super) fn end(&mut self, cause: Cause) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((cause.clone(), Instant::now()));
        for port in 0..self.ports.len() {
            let has = |state| self.behind[port].iter().any(|at| self.agents[*at].state == state);
            if has(State::Running) {
                let forward = !self.agents[self.behind[port][0]].is_local;
                self.command_port(port, &Command::End { cause: cause.clone(), forward });
            } else if has(State::Starting) || has(State::Ready) {
                // Agents that have started nothing just go.
                self.ports[port].close();
            }
        }
        for index in 0..self.agents.len() {
            if self.agents[index].state < State::Running {
                self.set_state(index, State::Lost);
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
        // Where the ending began the first cause stays, so it need not be left out.
        for port in 0..self.ports.len() {
            if self.behind[port] != [host] {
                self.command_port(port, &Command::End { cause: cause.clone(), forward: false });
            }
        }
    }

    /// Hosts are lost, and the ranks of the others go on.
    pub(super) fn go_on_without(&mut self, hosts: &[usize]) {
        let ranks = hosts.iter().flat_map(|at| self.agents[*at].part.processes()).collect();
        let names: Vec<&str> = hosts.iter().map(|at| self.agents[*at].part.host.as_str()).collect();
        let text = format!("note: host {} is lost; the others go on", names.join(","));
        self.relay.say(&text);
        self.command_all(&Command::Gone { ranks, are_lost: true });
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
            // Hosts have consecutive processes, in the order of the hosts.
            let owner = self.agents.partition_point(|agent| agent.part.processes().end <= *rank);
            if owner < self.agents.len() && askers.len() == 1 {
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

    /// To all hosts.
    pub(super) fn command_all(&mut self, command: &Command) {
        (0..self.ports.len()).for_each(|port| self.command_port(port, command));
    }

    /// To all hosts behind a port.
    fn command_port(&mut self, port: usize, command: &Command) {
        let body = wire::json(command);
        match self.behind[port].len() {
            1 => self.ports[port].send(Kind::Command, &body),
            _ => self.ports[port].send_via(ALL, Kind::Command, &body),
        }
    }

    pub(super) fn send(&mut self, index: usize, kind: Kind, body: &[u8]) {
        let port = self.agents[index].port;
        match self.behind[port].len() {
            1 => self.ports[port].send(kind, body),
            _ => self.ports[port].send_via(index as u32, kind, body),
        }
    }
}

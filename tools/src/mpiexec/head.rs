// SPDX-License-Identifier: Apache-2.0 OR MIT
//! mpiexec of a job on several hosts: an agent on each of them runs its ranks (agent.rs); here they
//! are started together, what they say comes together, and they are ended together.
//!
//! Invariants:
//! 1. Nothing is started on any host before all hosts are ready.
//! 2. The first cause of an ending stays; which failure is shown is decided when all have ended:
//!    the most telling one, since a rank that lost a peer may be heard of before the peer's end.
//! 3. A host that is gone or silent ends the job; nothing here waits for it.
//! 4. What waits in memory is bounded: an agent is not read while our own output takes no more.
//! 5. A host is reached through a port (port.rs): its own, or that of another host which started it
//!    (branch.rs). Whoever started a host watches over it.
//!
//! Not here: what the agents are told (head/orders.rs), time and signals (head/clock.rs).

mod clock;
mod fence;
mod orders;
mod stdin;

use super::ending::Cause;
use super::failure::{CODE_USAGE, Failure};
use super::hosts;
use super::job::{
    COLLATERAL, RELAY_TOKENS, TOKEN_GROUPS, TOKEN_LOCKED, TOKEN_SIGNALS, TOKEN_SINKS, TOKEN_STDIN,
};
use super::launch::{self, Setting};
use super::port::{self, Port};
use super::ready::ready;
use super::relay::{Channel, Relay, Route};
use super::report::{self, Summary};
use super::request::Request;
use super::signals::{Canary, Exit, Signals};
use super::spread::{Part, Spread, spread};
use super::start;
use super::values::ranks_named;
use super::wire::{self, Command, Event, Kind, Loss};
use super::{Ground, address};
use fence::Fence;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Instant;
use stdin::StdinFeed;
use strait_transport::node::RankOrder;

const TOKEN_FROM: u64 = 2 << 32;
const TOKEN_TO: u64 = 3 << 32;
const TOKEN_MASK: u64 = (1 << 32) - 1;

/// Most names of hosts in one report.
const NAMES_MAX: usize = 20;

/// How far an agent is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum State {
    Starting,
    Ready,
    Running,
    Done,
    Lost,
}

/// A host of the job.
struct Agent {
    part: Part,
    is_local: bool,
    /// Through which port it is reached.
    port: usize,
    state: State,
    summary: Option<Summary>,
    streams: [usize; 2],
}

/// A job on several hosts.
pub struct Head<'a> {
    request: &'a Request,
    host: String,
    /// Which rank each process is; hosts, addresses and questions for them count processes.
    order: RankOrder,
    relay: Relay,
    outer: OwnedFd,
    signals: Signals,
    canary: Canary,
    canary_exit: Option<Exit>,
    agents: Vec<Agent>,
    ports: Vec<Port>,
    /// The hosts behind each port; several if the first of them starts the others.
    behind: Vec<Vec<usize>>,
    /// Hosts that are not done, and hosts that are not ready.
    open: usize,
    unready: usize,
    begun: Instant,
    /// Why the job is ended, and since when.
    ending: Option<(Cause, Instant)>,
    /// The first host that was lost, in words.
    host_loss: Option<String>,
    refused: Option<Failure>,
    forward: Option<(Instant, i32)>,
    addresses: HashMap<u32, Vec<u8>>,
    askers: HashMap<u32, Vec<usize>>,
    fence: Fence,
    stdin: Option<StdinFeed>,
    presses: u32,
    beat_at: Instant,
    look_at: Instant,
}

/// Where the ranks of a request go.
///
/// # Errors
/// The hosts have no room for them.
pub fn spread_of(request: &Request) -> Result<Spread, Failure> {
    let options = &request.options;
    spread(&options.hosts, options.per_host, &options.map, request.size())
}

/// What would be started.
pub fn table(request: &Request, spread: &Spread) -> String {
    let mut text = String::new();
    for part in &spread.parts {
        let ranks = part.ranks(&spread.order);
        text.push_str(&format!("host {}: {}\n", part.host, ranks_named(&ranks)));
    }
    let mut first = 0;
    for program in &request.programs {
        let ranks: Vec<u32> = (first..first + program.ranks).collect();
        first += program.ranks;
        let words: Vec<_> = program.argv.iter().map(|word| word.to_string_lossy()).collect();
        text.push_str(&format!("{}: {}\n", ranks_named(&ranks), words.join(" ")));
    }
    text.push_str(&format!("{} ranks; nothing was started\n", request.size()));
    text
}

/// Runs a job on these hosts; returns the exit code.
///
/// # Errors
/// What keeps it from starting.
pub fn run(request: &Request, spread: Spread, host: String) -> Result<u8, Failure> {
    let Ground { signals, canary, limit, outer, again, .. } = Ground::lay()?;
    let mut relay =
        Relay::new(again, RELAY_TOKENS).map_err(|errno| fail("cannot set up the output", errno))?;
    epoll::add(&outer, &signals, EventData::new_u64(TOKEN_SIGNALS), EventFlags::IN)
        .map_err(|errno| fail("cannot watch signals", errno))?;
    let setting = Setting { mask: signals.mask_before, limit };
    let mapping = super::pmi::mapping(&spread.parts_of_ranks());
    let Spread { parts, order } = spread;
    let (here, away): (Vec<usize>, Vec<usize>) =
        (0..parts.len()).partition(|index| hosts::is_here(&parts[*index].host, &host));
    let groups = port::groups(&away, request.options.fan_out);
    let behind: Vec<Vec<usize>> = here.iter().map(|index| vec![*index]).chain(groups).collect();
    let mut ports = Vec::new();
    for (number, hosts) in behind.iter().enumerate() {
        let name = &parts[hosts[0]].host;
        let is_local = number < here.len();
        let tokens = (TOKEN_FROM | number as u64, TOKEN_TO | number as u64);
        let started = start_agent(request, name, is_local, &setting)?;
        let (port, err) = Port::new(started, &outer, tokens)
            .map_err(|errno| fail("no descriptors left", errno))?;
        relay
            .add(err, Channel::Err, Route::default())
            .map_err(|errno| fail("cannot watch a pipe", errno))?;
        ports.push(port);
    }
    let agents = agents_of(parts, &behind, here.len(), &mut relay);
    let now = Instant::now();
    let mut head = Head {
        request,
        host,
        order,
        relay,
        outer,
        signals,
        canary,
        canary_exit: None,
        open: agents.len(),
        unready: agents.len(),
        agents,
        ports,
        behind,
        begun: now,
        ending: None,
        host_loss: None,
        refused: None,
        forward: None,
        addresses: HashMap::new(),
        askers: HashMap::new(),
        fence: Fence::default(),
        stdin: None,
        presses: 0,
        beat_at: now,
        look_at: now,
    };
    head.give_orders(mapping)?;
    Ok(head.run())
}

/// The hosts; those behind the first ports are this one.
fn agents_of(
    parts: Vec<Part>,
    behind: &[Vec<usize>],
    here: usize,
    relay: &mut Relay,
) -> Vec<Agent> {
    let mut agents: Vec<Agent> = (parts.into_iter())
        .map(|part| Agent {
            part,
            is_local: false,
            port: 0,
            state: State::Starting,
            summary: None,
            streams: [relay.add_fed(Channel::Out), relay.add_fed(Channel::Err)],
        })
        .collect();
    for (number, hosts) in behind.iter().enumerate() {
        for index in hosts {
            agents[*index].port = number;
            agents[*index].is_local = number < here;
        }
    }
    agents
}

fn fail(what: &str, errno: Errno) -> Failure {
    start::system(what, errno.into())
}

fn start_agent(
    request: &Request,
    host: &str,
    is_local: bool,
    setting: &Setting,
) -> Result<launch::Started, Failure> {
    let name = (!is_local).then_some(host);
    let executable = launch::executable(name, request.options.prefix.as_deref())
        .map_err(|error| start::system("cannot find the file of mpiexec", error))?;
    launch::start(name, &request.options.launcher, &executable, setting).map_err(|error| {
        let text = format!("cannot start what starts ranks on host {host}: {error}");
        Failure::with_code(CODE_USAGE, text)
            .help("-launcher-exec PROGRAM names another one; it gets the host and a command")
    })
}

impl Head<'_> {
    fn run(mut self) -> u8 {
        while self.open > 0 {
            self.step();
        }
        self.command_all(&Command::Leave);
        self.await_launchers();
        self.canary.end();
        let (text, code) = self.conclusion();
        if !text.is_empty() {
            self.relay.say(&text);
        }
        while self.presses < 2 && !self.relay.is_flushed() && self.relay.broken().is_none() {
            self.step();
        }
        code
    }

    /// The report and the exit code.
    fn conclusion(&mut self) -> (String, u8) {
        self.relay.drain();
        if let Some(failure) = &self.refused {
            return (failure.to_string(), failure.code);
        }
        let summary = self.merged();
        let mut text = report::text(&summary, self.request.size());
        let options = &self.request.options;
        if options.verbose || options.exit_codes {
            let table = report::exit_table(&summary.exits);
            text = [text, table]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("\n");
        }
        (text, summary.exit_code())
    }

    /// One summary of what the hosts told.
    fn merged(&mut self) -> Summary {
        let summaries: Vec<Summary> =
            self.agents.iter_mut().filter_map(|agent| agent.summary.take()).collect();
        let failed = summaries.iter().filter(|summary| summary.first.is_some());
        let worst = failed.min_by_key(|summary| summary.weight);
        let is_own = |cause: &Cause| !matches!(cause, Cause::Elsewhere(_));
        let aborted = summaries.iter().find(|one| matches!(one.cause, Some(Cause::Abort(..))));
        let chosen = aborted.or(worst).or_else(|| {
            summaries.iter().find(|summary| summary.cause.as_ref().is_some_and(is_own))
        });
        let mut merged = chosen.cloned().unwrap_or_default();
        if chosen.is_none() {
            merged.host.clone_from(&self.host);
        }
        let ours = self.ending.as_ref().map(|(cause, _)| cause);
        merged.cause = match ours {
            // Ranks go on without a host, and tell of it in the end.
            None if self.host_loss.is_some() => self.host_loss.clone().map(Cause::HostLost),
            None => merged.cause.filter(is_own),
            // The ranks that it took along heard of each other before we heard of the host.
            Some(Cause::Failed(_)) if merged.weight == COLLATERAL && self.host_loss.is_some() => {
                self.host_loss.clone().map(Cause::HostLost)
            }
            // The host of the failure may have heard of another one first.
            Some(Cause::Failed(_) | Cause::Abort(..)) => {
                let first = merged.first.as_ref().map(|first| Cause::Failed(first.rank));
                merged.cause.filter(is_own).or(first)
            }
            Some(own) => Some(own.clone()),
        };
        merged.failed = summaries.iter().map(|summary| summary.failed).sum();
        merged.ended = summaries.iter().map(|summary| summary.ended).sum();
        merged.lost_file = summaries.iter().any(|summary| summary.lost_file);
        for summary in summaries {
            merged.doings.extend(summary.doings);
            merged.lost.extend(summary.lost);
            merged.exits.extend(summary.exits);
        }
        merged
    }

    fn step(&mut self) {
        self.update_watch();
        for token in ready(&self.outer, Some(&self.timeout())) {
            self.serve(token);
        }
        self.serve_impatient_stdin();
        self.on_time(Instant::now());
        if self.relay.broken().is_some() && self.ending.is_none() {
            self.relay.hide_all();
            self.end(Cause::OutputGone);
        }
    }

    fn serve(&mut self, token: u64) {
        let index = (token & TOKEN_MASK) as usize;
        match token & !TOKEN_MASK {
            TOKEN_SINKS => return self.relay.serve_sink(index),
            TOKEN_FROM => return self.read(index),
            TOKEN_TO => return self.ports[index].flush(),
            _ => {}
        }
        match token {
            TOKEN_SIGNALS => self.serve_signals(),
            TOKEN_LOCKED => self.relay.serve_locked(),
            TOKEN_STDIN => self.serve_stdin(),
            _ => self.relay.serve_group((token - TOKEN_GROUPS) as usize),
        }
    }

    /// Agents are read while our own output takes what they send.
    fn update_watch(&mut self) {
        let has_room = self.relay.has_room();
        self.ports.iter_mut().for_each(|port| port.watch(has_room));
    }

    /// One read from a port, and all frames that are whole then.
    fn read(&mut self, port: usize) {
        if !self.ports[port].read() {
            return self.gone(port);
        }
        loop {
            match self.ports[port].next() {
                Ok(None) => return,
                Ok(Some((kind, body))) => self.hear_port(port, kind, &body),
                Err(why) => return self.lose(port, &why),
            }
        }
    }

    /// A frame of the one host behind a port, or of one of several.
    fn hear_port(&mut self, port: usize, kind: Kind, body: &[u8]) {
        let hosts = &self.behind[port];
        if hosts.len() == 1 && kind != Kind::Via {
            return self.hear(hosts[0], kind, body);
        }
        match wire::inside(body).filter(|_| kind == Kind::Via) {
            Some((host, kind, body)) if hosts.contains(&(host as usize)) => {
                self.hear(host as usize, kind, body);
            }
            // The sign of life of who started them.
            _ if kind == Kind::Event => {}
            _ => self.lose(port, "it speaks for hosts that it did not start"),
        }
    }

    fn hear(&mut self, index: usize, kind: Kind, body: &[u8]) {
        let streams = self.agents[index].streams;
        match kind {
            Kind::Out => self.relay.feed(streams[0], body),
            Kind::Err => self.relay.feed(streams[1], body),
            Kind::Event => match wire::parse(body) {
                Some(event) => self.take(index, event),
                None => self.lose(self.agents[index].port, "this mpiexec does not know its words"),
            },
            Kind::Command | Kind::Stdin | Kind::Via => {
                self.lose(self.agents[index].port, "it says what only mpiexec says");
            }
        }
    }

    /// A host goes to this state.
    fn set_state(&mut self, index: usize, state: State) {
        let before = std::mem::replace(&mut self.agents[index].state, state);
        self.unready -= usize::from(before == State::Starting && state > State::Starting);
        self.open -= usize::from(before < State::Done && state >= State::Done);
    }

    fn take(&mut self, index: usize, event: Event) {
        match event {
            Event::Ready => {
                if self.agents[index].state == State::Starting {
                    self.set_state(index, State::Ready);
                    if self.unready == 0 {
                        self.begin();
                    }
                }
            }
            Event::Refused(failure) => {
                self.set_state(index, State::Lost);
                self.refused.get_or_insert(failure);
                self.end(Cause::HostLost(String::new()));
            }
            Event::Wants(ranks) => self.wants(index, &ranks),
            Event::Address { rank, bytes } => self.answer(rank, bytes),
            Event::Ending(summary) => self.end_for(index, *summary),
            Event::Gone { ranks, are_lost } => {
                self.command_all(&Command::Gone { ranks, are_lost });
            }
            Event::Values(values) => self.fence.keep(values),
            Event::Fence => self.come_to_fence(),
            Event::StdinTaken => self.stdin_taken(index),
            Event::Lost(loss) => self.lose_all(loss),
            Event::Done(summary) => {
                self.set_state(index, State::Done);
                for stream in self.agents[index].streams {
                    self.relay.end_fed(stream);
                }
                self.stdin_left(index);
                let is_own = |cause: &Cause| !matches!(cause, Cause::Elsewhere(_));
                let has_failed = summary.first.is_some() && !self.request.options.keep_going;
                if has_failed || summary.cause.as_ref().is_some_and(is_own) {
                    self.end_for(index, (*summary).clone());
                }
                self.agents[index].summary = Some(*summary);
            }
            Event::Beat => {}
        }
    }

    /// A launcher has closed its output.
    fn gone(&mut self, port: usize) {
        if self.behind[port].iter().any(|index| self.agents[*index].state < State::Done) {
            self.await_exit(port);
            let how = self.ports[port].end_in_words();
            self.lose(port, &how);
        }
    }

    /// What is behind a port is lost.
    fn lose(&mut self, port: usize, why: &str) {
        // What the launcher had to say comes first.
        self.relay.serve_group(Channel::Err as usize);
        self.ports[port].kill();
        self.lose_all(Loss {
            hosts: self.behind[port].clone(),
            by: None,
            why: why.to_owned(),
            launcher: self.ports[port].launcher.clone(),
            chatter: self.ports[port].chatter(),
        });
    }

    /// These hosts are lost, those that the first had started with it.
    fn lose_all(&mut self, loss: Loss) {
        let known = loss.hosts.iter().copied().filter(|index| *index < self.agents.len());
        let open: Vec<usize> =
            known.filter(|index| self.agents[*index].state < State::Done).collect();
        let Some(first) = open.first().copied() else { return };
        let was_running = self.agents[first].state == State::Running;
        let text = self.loss_in_words(&loss, &open, was_running);
        for index in &open {
            self.set_state(*index, State::Lost);
            self.stdin_left(*index);
        }
        self.host_loss.get_or_insert_with(|| text.clone());
        if self.request.options.keep_going && was_running && self.ending.is_none() {
            return self.go_on_without(&open);
        }
        self.end(Cause::HostLost(text));
    }

    fn loss_in_words(&self, loss: &Loss, open: &[usize], was_running: bool) -> String {
        let ranks = |hosts: &[usize]| {
            let parts = hosts.iter().flat_map(|at| self.agents[*at].part.ranks(&self.order));
            let mut ranks: Vec<u32> = parts.collect();
            ranks.sort_unstable();
            ranks_named(&ranks)
        };
        let host = &self.agents[open[0]].part.host;
        let (own, others) = open.split_at(1);
        let verb = if was_running { "host" } else { "cannot start on host" };
        let end = if was_running { " is lost" } else { "" };
        let mut text = format!("error[S0111]: {verb} {host}{end} ({}): {}", ranks(own), loss.why);
        if let Some(by) = &loss.by {
            text.push_str(&format!("\n   it was started from host {by}"));
        }
        if !others.is_empty() {
            let names: Vec<&str> =
                others.iter().map(|index| self.agents[*index].part.host.as_str()).collect();
            let shown = names[..names.len().min(NAMES_MAX)].join(",");
            let more = if names.len() > NAMES_MAX { ",..." } else { "" };
            text.push_str(&format!(
                "\n   with it {} hosts behind it ({}): {shown}{more}",
                names.len(),
                ranks(others)
            ));
        }
        for line in loss.chatter.lines().take(20) {
            text.push_str(&format!("\n   | {line}"));
        }
        if !was_running && !self.agents[open[0]].is_local {
            let place = loss.by.as_ref().map_or(String::new(), |by| format!(" on host {by}"));
            text.push_str(&format!(
                "\n   help: `{} {host} true` must work without a question{place}; mpiexec must be \
                 installed there in the same place, or -prefix DIR says where",
                loss.launcher
            ));
        }
        text
    }
}

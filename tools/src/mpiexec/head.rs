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
//!
//! Not here: what the agents are told (head/orders.rs), time and signals (head/clock.rs).

mod clock;
mod fence;
mod orders;
mod stdin;

use super::ending::Cause;
use super::failure::{CODE_USAGE, Failure};
use super::hosts::{self, Part};
use super::job::{
    RELAY_TOKENS, TOKEN_GROUPS, TOKEN_LOCKED, TOKEN_SIGNALS, TOKEN_SINKS, TOKEN_STDIN,
};
use super::launch::{self, Setting};
use super::ready::ready;
use super::relay::{Channel, Relay, Route};
use super::report::{self, Summary};
use super::request::Request;
use super::signals::{self, Canary, Exit, Signals};
use super::start;
use super::values::ranks_named;
use super::wire::{self, Command, Event, Kind};
use super::{Ground, address};
use fence::Fence;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Instant;
use stdin::StdinFeed;

const TOKEN_FROM: u64 = 2 << 32;
const TOKEN_TO: u64 = 3 << 32;
const TOKEN_MASK: u64 = (1 << 32) - 1;
/// Bytes of one read from an agent.
const READ_BYTES: usize = 64 * 1024;

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
    launcher: String,
    pid: u32,
    exit: Option<Exit>,
    to: Option<OwnedFd>,
    queue: Vec<u8>,
    armed: bool,
    from: Option<OwnedFd>,
    watched: bool,
    reader: wire::Reader,
    state: State,
    summary: Option<Summary>,
    heard: Instant,
    streams: [usize; 2],
}

/// A job on several hosts.
pub struct Head<'a> {
    request: &'a Request,
    host: String,
    relay: Relay,
    outer: OwnedFd,
    signals: Signals,
    canary: Canary,
    canary_exit: Option<Exit>,
    agents: Vec<Agent>,
    begun: Instant,
    /// Why the job is ended, and since when.
    ending: Option<(Cause, Instant)>,
    refused: Option<Failure>,
    forward: Option<(Instant, i32)>,
    addresses: HashMap<u32, Vec<u8>>,
    askers: HashMap<u32, Vec<usize>>,
    fence: Fence,
    stdin: Option<StdinFeed>,
    presses: u32,
    beat_at: Instant,
}

/// Where the ranks of a request go.
///
/// # Errors
/// Ranks of a host would not follow each other.
pub fn parts(request: &Request) -> Result<Vec<Part>, Failure> {
    let options = &request.options;
    hosts::mapped(&options.hosts, options.per_host, &options.map, request.size())
}

/// What would be started.
pub fn table(request: &Request, parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        let ranks: Vec<u32> = part.ranks().collect();
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
pub fn run(request: &Request, parts: Vec<Part>, host: String) -> Result<u8, Failure> {
    let fail = |what: &str, errno: Errno| start::system(what, errno.into());
    let Ground { signals, canary, limit, outer, again, .. } = Ground::lay()?;
    let mut relay =
        Relay::new(again, RELAY_TOKENS).map_err(|errno| fail("cannot set up the output", errno))?;
    epoll::add(&outer, &signals, EventData::new_u64(TOKEN_SIGNALS), EventFlags::IN)
        .map_err(|errno| fail("cannot watch signals", errno))?;
    let setting = Setting { mask: signals.mask_before, limit };
    let mut agents = Vec::new();
    for part in parts {
        let agent = start_agent(request, part, &host, &setting, &mut relay)?;
        agents.push(agent);
    }
    let now = Instant::now();
    let mut head = Head {
        request,
        host,
        relay,
        outer,
        signals,
        canary,
        canary_exit: None,
        agents,
        begun: now,
        ending: None,
        refused: None,
        forward: None,
        addresses: HashMap::new(),
        askers: HashMap::new(),
        fence: Fence::default(),
        stdin: None,
        presses: 0,
        beat_at: now,
    };
    head.give_orders()?;
    Ok(head.run())
}

fn start_agent(
    request: &Request,
    part: Part,
    here: &str,
    setting: &Setting,
    relay: &mut Relay,
) -> Result<Agent, Failure> {
    let is_local = hosts::is_here(&part.host, here);
    let own = std::env::current_exe()
        .map_err(|error| start::system("cannot find the file of mpiexec", error))?;
    let executable = match &request.options.prefix {
        Some(prefix) if !is_local => std::path::Path::new(prefix).join("bin/mpiexec"),
        _ => own,
    };
    let name = (!is_local).then_some(part.host.as_str());
    let started =
        launch::start(name, &request.options.launcher, &executable, setting).map_err(|error| {
            let text = format!("cannot start what starts ranks on host {}: {error}", part.host);
            Failure::with_code(CODE_USAGE, text)
                .help("-launcher-exec PROGRAM names another one; it gets the host and a command")
        })?;
    let streams = [relay.add_fed(Channel::Out), relay.add_fed(Channel::Err)];
    relay
        .add(started.err, Channel::Err, Route::default())
        .map_err(|errno| start::system("cannot watch a pipe", errno.into()))?;
    Ok(Agent {
        part,
        is_local,
        launcher: started.name,
        pid: started.pid,
        exit: None,
        to: Some(started.to),
        queue: Vec::new(),
        armed: false,
        from: Some(started.from),
        watched: false,
        reader: wire::Reader::after_preface(),
        state: State::Starting,
        summary: None,
        heard: Instant::now(),
        streams,
    })
}

impl Head<'_> {
    fn run(mut self) -> u8 {
        while self.agents.iter().any(|agent| agent.state < State::Done) {
            self.step();
        }
        for index in 0..self.agents.len() {
            self.command(index, &Command::Leave);
        }
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
            None => merged.cause.filter(is_own),
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
            TOKEN_TO => return self.flush(index),
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
        for (index, agent) in self.agents.iter_mut().enumerate() {
            let Some(from) = &agent.from else { continue };
            if has_room == agent.watched {
                continue;
            }
            let token = EventData::new_u64(TOKEN_FROM | index as u64);
            let changed = match has_room {
                true => epoll::add(&self.outer, from, token, EventFlags::IN),
                false => epoll::delete(&self.outer, from),
            };
            if changed.is_ok() {
                agent.watched = has_room;
                // It was not listened to, so it was not silent.
                agent.heard = Instant::now();
            }
        }
    }

    /// One read from an agent, and all frames that are whole then.
    fn read(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        let Some(from) = &agent.from else { return };
        let mut bytes = [0; READ_BYTES];
        let count = match rustix::io::read(from, &mut bytes) {
            Ok(0) => return self.gone(index),
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => return,
            Err(_) => return self.gone(index),
        };
        agent.heard = Instant::now();
        agent.reader.push(&bytes[..count]);
        loop {
            match self.agents[index].reader.next() {
                Ok(None) => return,
                Ok(Some((kind, body))) => self.hear(index, kind, &body),
                Err(why) => return self.lose(index, &why),
            }
        }
    }

    fn hear(&mut self, index: usize, kind: Kind, body: &[u8]) {
        let streams = self.agents[index].streams;
        match kind {
            Kind::Out => self.relay.feed(streams[0], body),
            Kind::Err => self.relay.feed(streams[1], body),
            Kind::Event => match wire::parse(body) {
                Some(event) => self.take(index, event),
                None => self.lose(index, "it says what this mpiexec does not know"),
            },
            Kind::Command | Kind::Stdin => self.lose(index, "it says what only mpiexec says"),
        }
    }

    fn take(&mut self, index: usize, event: Event) {
        match event {
            Event::Ready => {
                self.agents[index].state = State::Ready;
                if self.agents.iter().all(|agent| agent.state == State::Ready) {
                    self.begin();
                }
            }
            Event::Refused(failure) => {
                self.agents[index].state = State::Lost;
                self.refused.get_or_insert(failure);
                self.end(Cause::HostLost(String::new()));
            }
            Event::Wants(ranks) => self.wants(index, &ranks),
            Event::Address { rank, bytes } => self.answer(rank, bytes),
            Event::Ending(summary) => self.end_for(index, *summary),
            Event::Values(values) => self.fence.keep(values),
            Event::Fence => self.come_to_fence(),
            Event::StdinTaken => self.stdin_taken(index),
            Event::Done(summary) => {
                self.agents[index].state = State::Done;
                for stream in self.agents[index].streams {
                    self.relay.end_fed(stream);
                }
                self.stdin_left(index);
                let is_own = |cause: &Cause| !matches!(cause, Cause::Elsewhere(_));
                if summary.first.is_some() || summary.cause.as_ref().is_some_and(is_own) {
                    self.end_for(index, (*summary).clone());
                }
                self.agents[index].summary = Some(*summary);
            }
            Event::Beat => {}
        }
    }

    /// The agent's launcher has closed its output.
    fn gone(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        if let Some(from) = agent.from.take()
            && agent.watched
        {
            let _ = epoll::delete(&self.outer, &from);
        }
        if agent.state < State::Done {
            self.await_exit(index);
            let agent = &self.agents[index];
            let how = match agent.exit {
                Some(Exit::Code(code)) => format!("{} ended with exit code {code}", agent.launcher),
                Some(Exit::Signal(number)) => {
                    format!("{} died by {}", agent.launcher, signals::name(number))
                }
                None => format!("{} closed its output", agent.launcher),
            };
            self.lose(index, &how);
        }
    }

    /// A host is lost.
    fn lose(&mut self, index: usize, why: &str) {
        // What the launcher had to say comes first.
        self.relay.serve_group(Channel::Err as usize);
        let agent = &mut self.agents[index];
        if agent.state >= State::Done {
            return;
        }
        let was_running = agent.state == State::Running;
        agent.state = State::Lost;
        launch::kill(agent.pid);
        let part = &agent.part;
        let ranks = ranks_named(&part.ranks().collect::<Vec<_>>());
        let host = &part.host;
        let mut text = if was_running {
            format!("error[S0111]: host {host} is lost ({ranks}): {why}")
        } else {
            format!("error[S0111]: cannot start on host {host} ({ranks}): {why}")
        };
        let chatter = agent.reader.chatter().unwrap_or(&[]);
        for line in String::from_utf8_lossy(chatter).lines().take(20) {
            text.push_str(&format!("\n   | {line}"));
        }
        if !was_running && !agent.is_local {
            text.push_str(&format!(
                "\n   help: `{} {host} true` must work without a question; mpiexec must be \
                 installed there in the same place, or -prefix DIR says where",
                agent.launcher
            ));
        }
        self.stdin_left(index);
        self.end(Cause::HostLost(text));
    }
}

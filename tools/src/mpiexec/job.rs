// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A running job: one thread, one epoll, until every rank has ended and all they said is written.
//!
//! Invariants:
//! 1. mpiexec has one thread: the ranks' parent-death signal is tied to the thread that made them.
//! 2. A process id is signalled only while we have not reaped it.
//! 3. Grandchildren become ours when their parents end (we are a subreaper), but only ranks are
//!    waited for; when a job is ended early, what is left of them is killed.
//! 4. The first cause of an ending stays.

mod keeping;
mod linked;
mod looks;
mod services;

use super::agent::Link;
use super::control::{Control, Heard};
use super::ending::{Cause, Ending, Stage};
use super::failure::Failure;
use super::plan::Plan;
use super::pmi::{self, Said, Server};
use super::ready::ready;
use super::relay::{Relay, Tokens};
use super::report::{self, Failed, FirstFailure, Summary};
use super::signals::{self, Arrived, Canary, Exit, Signals};
use super::start::{self, Started, Starter};
use super::stdin_copy::StdinCopy;
use super::tree;
use super::waiting::{self, Look};
use rustix::event::epoll::{self, EventData, EventFlags};
use services::Spawned;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_transport::bootstrap::names::Names;
use strait_transport::node::{Node, RankState};

pub(super) const TOKEN_SIGNALS: u64 = 1;
pub(super) const TOKEN_LISTENER: u64 = 2;
pub(super) const TOKEN_STDIN: u64 = 4;
pub(super) const TOKEN_LOCKED: u64 = 5;
pub(super) const TOKEN_GROUPS: u64 = 6;
pub(super) const TOKEN_LINK: u64 = 9;
pub(super) const TOKEN_SINKS: u64 = 1 << 32;
pub(super) const TOKEN_CONNECTIONS: u64 = 2 << 32;
pub(super) const TOKEN_READERS: u64 = 3 << 32;
pub(super) const TOKEN_PMI: u64 = 4 << 32;
const TOKEN_MASK: u64 = (1 << 32) - 1;

/// How long a rank whose MPI process is gone may take to end itself, which tells us more.
const LEFT_TIME: Duration = Duration::from_millis(100);
/// How long the canary may take to die of a signal to the group.
const FORWARD_TIME: Duration = Duration::from_millis(100);
/// Ends that we hear of within this time count as simultaneous: the kernel closes the connections
/// of a dead process before we can reap it, so those who lost it may be heard of first.
const SETTLE_TIME: Duration = Duration::from_millis(20);
/// Weight of an end that the rank itself announced, and of one that another rank caused.
const ABORTED: u8 = 0;
pub(super) const COLLATERAL: u8 = 5;

/// A rank of this host; everything here counts them as the host's processes, from 0.
struct Rank {
    pid: u32,
    exit: Option<Exit>,
    /// Its own process ended well while its MPI process, a grandchild of ours, goes on.
    lingering: Option<Exit>,
    joined: bool,
}

/// A job.
pub struct Job<'a> {
    plan: &'a Plan<'a>,
    node: Node,
    outer: OwnedFd,
    signals: Signals,
    canary: Canary,
    canary_exit: Option<Exit>,
    control: Control,
    pmi: Server,
    relay: Relay,
    stdin: Option<StdinCopy>,
    ranks: Vec<Rank>,
    rank_of: HashMap<u32, u32>,
    alive: usize,
    begun: Instant,
    first: Option<FirstFailure>,
    failed: usize,
    ending: Option<Ending>,
    forward: Option<(Instant, i32)>,
    left: Vec<(Instant, u32)>,
    foreign_looks: usize,
    hang: Option<Look>,
    hang_said: bool,
    impatient: bool,
    link: Option<Link>,
    names: Names,
    spawned: Spawned,
}

/// What a job is made of, before ranks are started.
pub struct Parts {
    /// The node memory.
    pub node: Node,
    /// The epoll of everything.
    pub outer: OwnedFd,
    /// Signals.
    pub signals: Signals,
    /// Tells signals to the group from signals to us.
    pub canary: Canary,
    /// The socket of MPI_Init.
    pub control: Control,
    /// Output.
    pub relay: Relay,
    /// Which ranks share a host, in the words of PMI.
    pub mapping: String,
    /// The mpiexec that we are an agent of.
    pub link: Option<Link>,
}

/// The tokens of the relay.
pub const RELAY_TOKENS: Tokens =
    Tokens { groups: TOKEN_GROUPS, locked: TOKEN_LOCKED, sinks: TOKEN_SINKS };

fn pmi_facts(plan: &Plan<'_>, name: String, mapping: String) -> pmi::JobFacts {
    let programs = plan.program_of.clone();
    pmi::JobFacts { name, size: plan.job_size, ranks: plan.ranks.clone(), mapping, programs }
}

impl<'a> Job<'a> {
    /// Starts the ranks.
    ///
    /// # Errors
    /// A rank that cannot be started.
    pub fn start(
        plan: &'a Plan<'a>,
        parts: Parts,
        starter: &Starter<'_>,
    ) -> Result<Job<'a>, Failure> {
        let Parts { node, outer, signals, canary, control, mut relay, mapping, link } = parts;
        let watch = |fd: rustix::fd::BorrowedFd<'_>, token: u64| {
            epoll::add(&outer, fd, EventData::new_u64(token), EventFlags::IN)
                .map_err(|errno| start::system("cannot watch a descriptor", errno.into()))
        };
        watch(signals.as_fd(), TOKEN_SIGNALS)?;
        watch(control.as_fd(), TOKEN_LISTENER)?;
        if let Some(link) = &link {
            watch(link.as_fd(), TOKEN_LINK)?;
        }
        let begun = Instant::now();
        let Started { pids, stdin_pipes, pmi_sockets } = starter.start_all(&mut relay)?;
        for (socket, rank) in pmi_sockets.iter().zip(0_u64..) {
            watch(socket.as_fd(), TOKEN_PMI | rank)?;
        }
        let pmi = Server::new(pmi_facts(plan, starter.facts.job.clone(), mapping), pmi_sockets);
        let rank_of = pids.iter().zip(0..).map(|(pid, rank)| (*pid, rank)).collect();
        let stdin = match stdin_pipes.is_empty() {
            true => None,
            false => {
                let outer = rustix::io::fcntl_dupfd_cloexec(&outer, 3)
                    .map_err(|errno| start::system("no descriptors left", errno.into()))?;
                Some(match link.as_ref().is_some_and(|link| link.feeds_stdin) {
                    true => StdinCopy::fed(outer, TOKEN_READERS, stdin_pipes),
                    false => StdinCopy::new(outer, TOKEN_STDIN, TOKEN_READERS, stdin_pipes),
                })
            }
        };
        let rank = |pid| Rank { pid, exit: None, lingering: None, joined: false };
        let alive = pids.len();
        let ranks = pids.into_iter().map(rank).collect();
        let mut job = Job {
            plan,
            node,
            outer,
            signals,
            canary,
            canary_exit: None,
            control,
            pmi,
            relay,
            stdin,
            ranks,
            rank_of,
            alive,
            begun,
            first: None,
            failed: 0,
            ending: None,
            forward: None,
            left: Vec::new(),
            foreign_looks: 0,
            hang: None,
            hang_said: false,
            impatient: false,
            link,
            names: Names::default(),
            spawned: Spawned::default(),
        };
        let options = &plan.request.options;
        if options.hang_report.is_some() || options.timeout.is_some() {
            job.hang = Some(Look::at(&job.node, job.running()));
        }
        Ok(job)
    }

    /// Says something on standard error.
    pub fn say(&mut self, text: &str) {
        self.relay.say(text);
    }

    /// Runs to the end; returns the exit code.
    pub fn run(mut self) -> u8 {
        // What came together with the order to start: no descriptor tells of it any more.
        self.serve_link();
        while self.is_busy() {
            self.step();
        }
        self.canary.end();
        if self.ending.is_some() {
            tree::end_rest();
        }
        while !self.impatient && !self.relay.drain() {
            self.step();
        }
        let summary = self.summary();
        if self.link.is_some() {
            self.attend_until_release(summary);
            return 0;
        }
        let report = report::text(&summary, self.plan.job_size);
        if !report.is_empty() {
            self.relay.say(&report);
        }
        let options = &self.plan.request.options;
        if options.verbose || options.exit_codes {
            self.relay.say(&report::exit_table(&summary.exits));
        }
        while !self.impatient && !self.relay.is_flushed() {
            self.step();
        }
        match summary.exit_code() {
            0 => self.spawned.code(),
            code => code,
        }
    }

    /// Whether ranks go on, or jobs that they spawned.
    fn is_busy(&self) -> bool {
        self.alive > 0 || self.spawned.any()
    }

    fn step(&mut self) {
        for token in ready(&self.outer, self.timeout().as_ref()) {
            self.serve(token);
        }
        if let Some(stdin) = &mut self.stdin
            && stdin.is_impatient()
        {
            stdin.serve_source();
        }
        self.on_time(Instant::now());
        self.check_abort();
        self.look_at_addresses();
        self.look_at_spawned();
        if self.relay.broken().is_some() && self.ending.is_none() {
            self.relay.hide_all();
            self.end(Cause::OutputGone);
        }
    }

    fn serve(&mut self, token: u64) {
        let index = (token & TOKEN_MASK) as usize;
        match token & !TOKEN_MASK {
            TOKEN_SINKS => return self.relay.serve_sink(index),
            TOKEN_CONNECTIONS => return self.serve_connection(index as u64),
            TOKEN_PMI => return self.serve_pmi(index as u32),
            TOKEN_READERS => {
                if let Some(stdin) = &mut self.stdin {
                    stdin.serve_reader(index);
                }
                return;
            }
            _ => {}
        }
        match token {
            TOKEN_SIGNALS => self.serve_signals(),
            TOKEN_LISTENER => self.serve_listener(),
            TOKEN_LOCKED => self.relay.serve_locked(),
            TOKEN_LINK => self.serve_link(),
            TOKEN_STDIN => {
                if let Some(stdin) = &mut self.stdin {
                    stdin.serve_source();
                }
            }
            _ => self.relay.serve_group((token - TOKEN_GROUPS) as usize),
        }
    }

    fn serve_listener(&mut self) {
        while let Some((key, socket)) = self.control.accept() {
            let token = EventData::new_u64(TOKEN_CONNECTIONS | key & TOKEN_MASK);
            let _ = epoll::add(&self.outer, socket, token, EventFlags::IN);
        }
    }

    fn serve_connection(&mut self, key: u64) {
        match self.control.serve(key, self.node.descriptor()) {
            Heard::Nothing => {}
            Heard::Joined(rank) => self.ranks[rank as usize].joined = true,
            Heard::Asks(ask, socket) => self.serve_request(ask, socket),
            Heard::Left(rank) => self.left.push((Instant::now() + LEFT_TIME, rank)),
        }
    }

    /// A rank that brings another MPI library: its place is told by PMI.
    fn serve_pmi(&mut self, rank: u32) {
        match self.pmi.serve(rank) {
            Said::Began => self.ranks[rank as usize].joined = true,
            Said::Aborts(code) => {
                let _ = self.node.request_abort(self.plan.ranks[rank as usize], code);
            }
            Said::Nothing | Said::Gone => {}
        }
        if let Some(values) = self.pmi.take_departure() {
            self.bring_to_fence(values);
        }
    }

    fn serve_signals(&mut self) {
        while let Some(arrived) = self.signals.next() {
            match arrived.number {
                libc::SIGCHLD => self.reap(),
                // What comes from the terminal reaches mpiexec too, which tells us what to do.
                _ if self.link.as_ref().is_some_and(|link| link.is_local) => {}
                libc::SIGUSR1 | libc::SIGUSR2 => {
                    for rank in self.ranks.iter().filter(|rank| rank.exit.is_none()) {
                        signals::send(rank.pid, arrived.number);
                    }
                }
                _ => self.interrupt(arrived),
            }
        }
    }

    /// A signal that ends jobs. The ranks are in our process group, so a signal from the terminal
    /// has reached them. One that a process sent may have gone to us alone: if the canary lives on
    /// after a moment, the ranks get it from us.
    fn interrupt(&mut self, arrived: Arrived) {
        if !self.is_busy() {
            self.impatient = true;
            return;
        }
        if let Some(ending) = &mut self.ending {
            ending.hasten();
            return;
        }
        if !arrived.by_kernel {
            self.forward = Some((Instant::now() + FORWARD_TIME, arrived.number));
        }
        self.end(Cause::Signal(arrived.number));
    }

    /// Collects all that ended; of several that failed at once, the most telling is the first.
    fn reap(&mut self) {
        let mut candidates = Vec::new();
        while let Some((pid, exit)) = signals::reap() {
            if pid == self.canary.pid {
                self.canary_exit = Some(exit);
            }
            self.spawned.ended(pid, exit);
            let Some(rank) = self.rank_of.remove(&pid) else { continue };
            let record = self.node.record(rank);
            let goes_on = record.state() == RankState::Running
                && record.pid() != pid
                && !record.is_owner_gone();
            if goes_on && exit == Exit::Code(0) {
                self.ranks[rank as usize].lingering = Some(exit);
                continue;
            }
            self.note_exit(rank, exit, &mut candidates);
        }
        self.judge(candidates);
    }

    fn note_exit(&mut self, rank: u32, exit: Exit, candidates: &mut Vec<(u32, Failed)>) {
        self.ranks[rank as usize].exit = Some(exit);
        self.alive -= 1;
        let is_running = self.node.record(rank).state() == RankState::Running;
        self.announce_end(rank, is_running);
        match exit {
            Exit::Code(0)
                if (is_running || self.pmi.is_unfinished(rank)) && self.plan.job_size > 1 =>
            {
                candidates.push((rank, Failed::NoFinalize));
            }
            Exit::Code(0) => {}
            _ => candidates.push((rank, Failed::Exit(exit))),
        }
    }

    /// Keeps the first cause: of ends heard of at once the most telling one, and never that of a
    /// rank that ended because it had lost another.
    fn judge(&mut self, mut candidates: Vec<(u32, Failed)>) {
        // Those that we ended did not fail by themselves.
        let ended = self.ending.as_ref().map_or(&[][..], |ending| &ending.ended_by_us);
        let aborter = self.aborter().map(|(aborter, _)| aborter);
        candidates.retain(|(rank, _)| !ended.contains(rank) || aborter == Some(*rank));
        self.failed += candidates.len();
        if self.plan.request.options.keep_going && self.alive > 0 {
            self.say_who_failed(&candidates);
        }
        let best =
            candidates.into_iter().min_by_key(|(rank, why)| (self.weight(*rank, *why), *rank));
        let Some((rank, why)) = best else { return };
        if let Some(first) = &self.first {
            let (old, new) = (self.weight(first.rank, first.why), self.weight(rank, why));
            let is_settled = self.begun.elapsed() > first.after + SETTLE_TIME;
            let cause = self.ending.as_ref().map(|ending| &ending.cause);
            let is_aborter = matches!(cause, Some(Cause::Abort(aborter, _)) if *aborter == rank);
            if new >= old || is_settled && old < COLLATERAL && !is_aborter {
                return;
            }
        }
        let aborted = self.aborter().filter(|(aborter, _)| *aborter == rank);
        if let Some(Ending { cause: cause @ Cause::Failed(_), .. }) = &mut self.ending {
            *cause = aborted.map_or(Cause::Failed(rank), |(rank, code)| Cause::Abort(rank, code));
        }
        self.first = Some(self.failure(rank, why));
        self.check_abort();
        if self.is_busy() && !self.plan.request.options.keep_going {
            self.end(Cause::Failed(rank));
        }
    }

    /// What there is to say of a failure.
    fn failure(&self, rank: u32, why: Failed) -> FirstFailure {
        let record = self.node.record(rank);
        let sample = record.call();
        let call = matches!(why, Failed::Exit(Exit::Signal(_)))
            .then(|| self.node.call_name(sample.call))
            .flatten();
        FirstFailure {
            rank,
            pid: self.ranks[rank as usize].pid,
            why,
            after: self.begun.elapsed(),
            text: record.report(),
            call,
        }
    }

    /// How little an end tells of the cause, for ends that are heard of at once.
    fn weight(&self, rank: u32, why: Failed) -> u8 {
        match why {
            _ if self.aborter().is_some_and(|(aborter, _)| aborter == rank) => ABORTED,
            _ if self.is_collateral(rank) => COLLATERAL,
            Failed::Exit(Exit::Signal(_)) => 1,
            Failed::NoFinalize | Failed::ProcessInside(_) => 2,
            Failed::Exit(Exit::Code(_)) => {
                let is_running = self.node.record(rank).state() == RankState::Running;
                if is_running { 3 } else { 4 }
            }
        }
    }

    /// Whether a rank ended the job because it lost another one: the other one is the cause, and
    /// its end is known or will be in a moment.
    fn is_collateral(&self, rank: u32) -> bool {
        let record = self.node.record(rank);
        record.lost_in() != 0 || record.report().is_some_and(|text| waiting::tells_of_a_loss(&text))
    }

    /// Who called MPI_Abort, or was ended by a fatal error of its own, with which code.
    fn aborter(&self) -> Option<(u32, i32)> {
        let (rank, code) = self.node.abort_requested()?;
        let rank = self.plan.local_of(rank)?;
        (!self.is_collateral(rank)).then_some((rank, code))
    }

    fn check_abort(&mut self) {
        if self.ending.is_none()
            && let Some((rank, code)) = self.aborter()
        {
            self.end(Cause::Abort(rank, code));
        }
    }

    fn running(&self) -> impl Iterator<Item = u32> + use<> {
        let alive = self.ranks.iter().zip(0..).filter(|(one, _)| one.exit.is_none());
        alive.map(|(_, rank)| rank).collect::<Vec<u32>>().into_iter()
    }

    fn end(&mut self, cause: Cause) {
        if self.ending.is_some() {
            return;
        }
        // A look that was kept all along knows since when.
        let look = match (&cause, self.hang.take()) {
            (Cause::Timeout(_), Some(look)) => look,
            _ => Look::at(&self.node, self.running()),
        };
        let mut ending = Ending::new(cause, self.plan.request.options.grace, look);
        if ending.stage == Stage::Terminated {
            ending.ended_by_us = self.running().collect();
        }
        self.ending = Some(ending);
        self.tell_of_ending();
        if self.ending.as_ref().is_some_and(|ending| ending.next <= Instant::now()) {
            self.next_stage();
        }
    }

    /// The next step of an ending.
    fn next_stage(&mut self) {
        let running: Vec<u32> = self.running().collect();
        let Some(ending) = &mut self.ending else { return };
        match ending.stage {
            Stage::Grace => {
                ending.doings = ending.look.doings(&self.node);
                let alive = |rank: &u32| running.contains(rank);
                ending.doings.retain(|rank, _| alive(rank));
                ending.ended_by_us = running;
                ending.stage = Stage::Terminated;
                ending.next = Instant::now() + ending.term_time();
                self.signal_ranks(libc::SIGTERM);
            }
            Stage::Terminated | Stage::Killed => {
                ending.stage = Stage::Killed;
                // Again after a while: a rank may have started a process meanwhile.
                ending.next = Instant::now() + Duration::from_millis(100);
                tree::signal_all(libc::SIGKILL);
                self.settle_lingering();
            }
        }
    }

    /// Signals the ranks that run, and their MPI processes where these are grandchildren. Other
    /// grandchildren are left to their parents: a shell would tell of their end.
    fn signal_ranks(&self, number: i32) {
        self.spawned.signal(number);
        for (one, rank) in self.ranks.iter().zip(0..).filter(|(one, _)| one.exit.is_none()) {
            if one.lingering.is_none() {
                signals::send(one.pid, number);
            }
            let record = self.node.record(rank);
            let inside = record.pid();
            let goes_on = record.state() == RankState::Running && !record.is_owner_gone();
            if inside != one.pid && goes_on {
                signals::send(inside, number);
            }
        }
    }

    /// Ranks whose own process ended while their MPI process went on: that one is killed now.
    fn settle_lingering(&mut self) {
        let waiting = self.ranks.iter().zip(0..).filter_map(|(one, rank)| {
            one.lingering.filter(|_| one.exit.is_none()).map(|exit| (rank, exit))
        });
        for (rank, exit) in waiting.collect::<Vec<_>>() {
            self.note_exit(rank, exit, &mut Vec::new());
        }
    }

    /// How it ended, with the numbers that ranks have in the job.
    fn summary(&self) -> Summary {
        let global = |rank: u32| self.plan.ranks[rank as usize];
        let cause = self.ending.as_ref().map(|ending| match &ending.cause {
            Cause::Failed(rank) => Cause::Failed(global(*rank)),
            Cause::Abort(rank, code) => Cause::Abort(global(*rank), *code),
            other => other.clone(),
        });
        let abort_text = match self.ending.as_ref().map(|ending| &ending.cause) {
            Some(Cause::Abort(rank, _)) => self.node.record(*rank).report(),
            _ => None,
        };
        let first = self.first.as_ref();
        let doings = self.ending.as_ref().map(|ending| ending.doings.clone()).unwrap_or_default();
        let lost = waiting::of_lost(&self.node, 0..self.plan.size());
        Summary {
            host: self.plan.host.clone(),
            first: first.map(|first| FirstFailure { rank: global(first.rank), ..first.clone() }),
            weight: first.map_or(0, |first| self.weight(first.rank, first.why)),
            abort_text,
            failed: self.failed,
            cause,
            ended: self.ending.as_ref().map_or(0, |ending| ending.ended_by_us.len()),
            doings: doings.into_iter().map(|(rank, doing)| (global(rank), doing)).collect(),
            lost: lost.into_iter().map(|(rank, doing)| (global(rank), doing)).collect(),
            exits: (self.ranks.iter().zip(&self.plan.ranks))
                .filter_map(|(one, rank)| Some((*rank, one.exit?)))
                .collect(),
            lost_file: self.relay.broken_file().is_some(),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mpiexec of several hosts does by the clock, and about signals.
#![forbid(unsafe_code)]

use super::{Head, State};
use crate::mpiexec::agent::BEAT_TIME;
use crate::mpiexec::ending::Cause;
use crate::mpiexec::launch;
use crate::mpiexec::signals::{self, Arrived, Exit};
use crate::mpiexec::wire::Command;
use rustix::event::Timespec;
use std::time::{Duration, Instant};

/// How long a host may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a host may take to be ready: ssh gives up before that.
const READY_TIME: Duration = Duration::from_secs(60);
/// How long hosts may take to end their ranks, beyond the grace of the user.
const ENDING_TIME: Duration = Duration::from_secs(15);
/// How long the canary may take to die of a signal to the group (as on one host).
const FORWARD_TIME: Duration = Duration::from_millis(100);
/// How long launchers may take to end after their agents.
const LEAVE_TIME: Duration = Duration::from_secs(5);
/// ... and after they closed their output.
const EXIT_TIME: Duration = Duration::from_millis(500);

impl Head<'_> {
    pub(super) fn timeout(&self) -> Timespec {
        let now = Instant::now();
        let ending = self.ending.is_some();
        let limit = self.request.options.timeout.filter(|_| !ending).map(|t| self.begun + t);
        let times = [
            Some(now + Duration::from_secs(1)),
            self.relay.next_time(),
            limit,
            self.forward.map(|(at, _)| at),
            self.stdin.as_ref().filter(|feed| feed.is_impatient()).map(|_| now),
        ];
        let next = times.into_iter().flatten().min().unwrap_or(now);
        let wait = next.saturating_duration_since(now);
        let wait = if wait.is_zero() { wait } else { wait + Duration::from_millis(1) };
        Timespec::try_from(wait).unwrap_or_default()
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        self.relay.on_time(now);
        if let Some((at, number)) = self.forward
            && now >= at
        {
            self.forward = None;
            // The signal came to us alone: the ranks here have not got it.
            if self.canary_exit != Some(Exit::Signal(number)) {
                for index in 0..self.agents.len() {
                    if self.agents[index].is_local {
                        self.command(index, &Command::Signal(number));
                    }
                }
            }
        }
        if now >= self.beat_at {
            self.beat_at = now + BEAT_TIME;
            for index in 0..self.agents.len() {
                if matches!(self.agents[index].state, State::Running | State::Done) {
                    self.command(index, &Command::Beat);
                }
            }
        }
        if let Some(limit) = self.request.options.timeout
            && now >= self.begun + limit
        {
            self.end(Cause::Timeout(limit));
        }
        self.look_for_silence(now);
    }

    fn look_for_silence(&mut self, now: Instant) {
        let grace = self.request.options.grace;
        let overdue = self.ending.as_ref().is_some_and(|(_, at)| now > *at + grace + ENDING_TIME);
        for index in 0..self.agents.len() {
            let agent = &self.agents[index];
            let silent = now.saturating_duration_since(agent.heard);
            match agent.state {
                State::Starting if silent > READY_TIME => {
                    let why = format!("no answer within {} s", READY_TIME.as_secs());
                    self.lose(index, &why);
                }
                State::Running if agent.watched && silent > SILENCE_MAX => {
                    let why = format!("nothing was heard from it for {} s", SILENCE_MAX.as_secs());
                    self.lose(index, &why);
                }
                State::Running if overdue => self.lose(index, "its ranks do not end"),
                _ => {}
            }
        }
    }

    pub(super) fn serve_signals(&mut self) {
        while let Some(arrived) = self.signals.next() {
            match arrived.number {
                libc::SIGCHLD => self.reap(),
                libc::SIGUSR1 | libc::SIGUSR2 => {
                    for index in 0..self.agents.len() {
                        self.command(index, &Command::Signal(arrived.number));
                    }
                }
                _ => self.interrupt(arrived),
            }
        }
    }

    /// The first signal ends the job in order, the next ones hasten it, the fourth leaves.
    fn interrupt(&mut self, arrived: Arrived) {
        self.presses += 1;
        if self.ending.is_none() {
            if !arrived.by_kernel {
                self.forward = Some((Instant::now() + FORWARD_TIME, arrived.number));
            }
            return self.end(Cause::Signal(arrived.number));
        }
        for index in 0..self.agents.len() {
            if self.presses > 3 && self.agents[index].state < State::Done {
                launch::kill(self.agents[index].pid);
            } else {
                self.command(index, &Command::Hasten);
            }
        }
    }

    fn reap(&mut self) {
        while let Some((pid, exit)) = signals::reap() {
            if pid == self.canary.pid {
                self.canary_exit = Some(exit);
            }
            if let Some(agent) = self.agents.iter_mut().find(|agent| agent.pid == pid) {
                agent.exit = Some(exit);
            }
        }
    }

    /// Waits a moment for the exit code of a launcher that closed its output.
    pub(super) fn await_exit(&mut self, index: usize) {
        let until = Instant::now() + EXIT_TIME;
        loop {
            self.reap();
            if self.agents[index].exit.is_some() || Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The agents go, and with them what started them; nothing is left behind.
    pub(super) fn await_launchers(&mut self) {
        for index in 0..self.agents.len() {
            self.flush(index);
            if self.agents[index].queue.is_empty() {
                self.agents[index].to = None;
            }
        }
        let until = Instant::now() + LEAVE_TIME;
        let mut killed = false;
        loop {
            self.reap();
            let left = self.agents.iter().filter(|agent| agent.exit.is_none());
            let left: Vec<u32> = left.map(|agent| agent.pid).collect();
            if left.is_empty() || (killed && Instant::now() > until + LEAVE_TIME) {
                return;
            }
            if !killed && (Instant::now() > until || self.presses > 3) {
                left.iter().for_each(|pid| launch::kill(*pid));
                killed = true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mpiexec of several hosts does by the clock, and about signals.
#![forbid(unsafe_code)]

use super::{Head, State};
use crate::mpiexec::agent::BEAT_TIME;
use crate::mpiexec::ending::Cause;
use crate::mpiexec::port::{EXIT_TIME, Port, READY_TIME, SILENCE_MAX};
use crate::mpiexec::signals::{self, Arrived, Exit};
use crate::mpiexec::wire::{self, Command, Kind, Loss};
use rustix::event::Timespec;
use std::time::{Duration, Instant};

/// How long hosts may take to end their ranks, beyond the grace of the user.
const ENDING_TIME: Duration = Duration::from_secs(15);
/// How long the canary may take to die of a signal to the group (as on one host).
const FORWARD_TIME: Duration = Duration::from_millis(100);
/// How long launchers may take to end after their agents.
const LEAVE_TIME: Duration = Duration::from_secs(5);
/// Between two looks at who is silent.
const LOOK_TIME: Duration = Duration::from_secs(1);

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
            let beat = wire::json(&Command::Beat);
            self.ports.iter_mut().for_each(|port| port.send(Kind::Command, &beat));
        }
        if let Some(limit) = self.request.options.timeout
            && now >= self.begun + limit
        {
            self.end(Cause::Timeout(limit));
        }
        if now >= self.look_at {
            self.look_at = now + LOOK_TIME;
            self.look_for_silence(now);
        }
    }

    /// Looks at the ports; who is behind another host is watched by that one.
    fn look_for_silence(&mut self, now: Instant) {
        let grace = self.request.options.grace;
        let overdue = self.ending.as_ref().is_some_and(|(_, at)| now > *at + grace + ENDING_TIME);
        for index in (0..self.agents.len()).filter(|_| overdue) {
            if self.agents[index].state == State::Running {
                self.lose_all(Loss {
                    hosts: vec![index],
                    by: None,
                    why: "its ranks do not end".to_owned(),
                    launcher: String::new(),
                    chatter: String::new(),
                });
                if let [_] = self.behind[self.agents[index].port][..] {
                    self.ports[self.agents[index].port].kill();
                }
            }
        }
        for port in 0..self.ports.len() {
            let Some(silence) = self.ports[port].silence(now) else { continue };
            let has = |state| self.behind[port].iter().any(|at| self.agents[*at].state == state);
            let beats = self.behind[port].len() > 1 && self.ports[port].has_answered();
            let (is_starting, is_running) = (has(State::Starting), has(State::Running));
            if (is_running || is_starting && beats) && silence > SILENCE_MAX {
                let why = format!("nothing was heard from it for {} s", SILENCE_MAX.as_secs());
                self.lose(port, &why);
            } else if is_starting && silence > READY_TIME {
                let why = format!("no answer within {} s", READY_TIME.as_secs());
                self.lose(port, &why);
            }
        }
    }

    pub(super) fn serve_signals(&mut self) {
        while let Some(arrived) = self.signals.next() {
            match arrived.number {
                libc::SIGCHLD => self.reap(),
                libc::SIGUSR1 | libc::SIGUSR2 => {
                    self.command_all(&Command::Signal(arrived.number));
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
        if self.presses <= 3 {
            return self.command_all(&Command::Hasten);
        }
        let is_open =
            |hosts: &Vec<usize>| hosts.iter().any(|index| self.agents[*index].state < State::Done);
        let open = self.ports.iter().zip(&self.behind).filter(|(_, hosts)| is_open(hosts));
        open.for_each(|(port, _)| port.kill());
    }

    fn reap(&mut self) {
        while let Some((pid, exit)) = signals::reap() {
            if pid == self.canary.pid {
                self.canary_exit = Some(exit);
            }
            if let Some(port) = self.ports.iter_mut().find(|port| port.pid == pid) {
                port.exit = Some(exit);
            }
        }
    }

    /// Waits a moment for the exit code of a launcher that closed its output.
    pub(super) fn await_exit(&mut self, port: usize) {
        let until = Instant::now() + EXIT_TIME;
        loop {
            self.reap();
            if self.ports[port].exit.is_some() || Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The agents go, and with them what started them; nothing is left behind.
    pub(super) fn await_launchers(&mut self) {
        self.ports.iter_mut().for_each(Port::close_soon);
        let until = Instant::now() + LEAVE_TIME;
        let mut killed = false;
        loop {
            self.reap();
            let left: Vec<&Port> = self.ports.iter().filter(|port| port.exit.is_none()).collect();
            if left.is_empty() || (killed && Instant::now() > until + LEAVE_TIME) {
                return;
            }
            if !killed && (Instant::now() > until || self.presses > 3) {
                left.iter().for_each(|port| port.kill());
                killed = true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

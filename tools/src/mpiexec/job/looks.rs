// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a job does by the clock: the next time it must look, and the looks themselves.
#![forbid(unsafe_code)]

use super::Job;
use crate::mpiexec::ending::{Cause, INTERRUPT_LOOK, Stage};
use crate::mpiexec::foreign;
use crate::mpiexec::report::Failed;
use crate::mpiexec::signals::Exit;
use crate::mpiexec::stdin_copy::StdinCopy;
use crate::mpiexec::tree;
use crate::mpiexec::waiting::{self, Doing};
use rustix::event::Timespec;
use std::time::{Duration, Instant};
use strait_transport::node::RankState;

impl Job<'_> {
    pub(super) fn timeout(&self) -> Option<Timespec> {
        if self.stdin.as_ref().is_some_and(StdinCopy::is_impatient) {
            return Some(Timespec::default());
        }
        let options = &self.plan.request.options;
        let ending = self.ending.as_ref();
        let limit = self.time_limit().filter(|_| ending.is_none()).map(|limit| self.begun + limit);
        let look = ending
            .filter(|ending| ending.stage == Stage::Grace && is_interrupt(&ending.cause))
            .map(|ending| ending.begun + INTERRUPT_LOOK)
            .filter(|at| *at > Instant::now());
        let hang = options.hang_report.filter(|_| !self.hang_said).or(options.timeout);
        let hang = hang.filter(|_| ending.is_none());
        let times = [
            self.relay.next_time(),
            self.control.next_time(),
            ending.map(|ending| ending.next),
            limit,
            look,
            self.forward.map(|(at, _)| at),
            self.left.iter().map(|(at, _)| *at).min(),
            self.next_foreign_look(),
            self.next_beat(),
            self.spawned_look(),
            hang.map(|still| Instant::now() + (still / 4).min(Duration::from_secs(1))),
        ];
        let next = times.into_iter().flatten().min()?;
        // One millisecond more: epoll counts whole ones, and a rounded-down wait would spin.
        let wait = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let wait = if !self.is_busy() { wait.min(Duration::from_secs(1)) } else { wait };
        Timespec::try_from(wait).ok()
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        self.relay.on_time(now);
        self.control.on_time(now);
        if self.ending.as_ref().is_some_and(|ending| now >= ending.next) && self.is_busy() {
            self.next_stage();
        }
        if let Some((at, number)) = self.forward
            && now >= at
        {
            self.forward = None;
            if self.canary_exit != Some(Exit::Signal(number)) {
                self.signal_ranks(number);
            }
        }
        self.look_after_interrupt(now);
        self.look_at_left(now);
        self.look_for_foreign(now);
        self.look_for_hang(now);
        self.beat(now);
        if let Some(limit) = self.time_limit()
            && now >= self.begun + limit
            && self.is_busy()
        {
            self.end(Cause::Timeout(limit));
        }
    }

    /// Our own time limit; that of an agent is mpiexec's.
    fn time_limit(&self) -> Option<Duration> {
        self.plan.request.options.timeout.filter(|_| self.link.is_none())
    }

    /// After a ^C, ranks that all sit in MPI calls cannot handle it: they need not be waited for.
    fn look_after_interrupt(&mut self, now: Instant) {
        let running: Vec<u32> = self.running().collect();
        let Some(ending) = &mut self.ending else { return };
        if ending.stage != Stage::Grace
            || !is_interrupt(&ending.cause)
            || now < ending.begun + INTERRUPT_LOOK
        {
            return;
        }
        let doings = ending.look.doings(&self.node);
        let stuck = |rank: &u32| matches!(doings.get(rank), Some((Doing::Waiting(_), _)));
        if running.iter().all(stuck) {
            ending.hasten();
        }
    }

    fn look_at_left(&mut self, now: Instant) {
        let due: Vec<u32> =
            self.left.iter().filter(|(at, _)| now >= *at).map(|(_, rank)| *rank).collect();
        self.left.retain(|(at, _)| now < *at);
        let mut candidates = Vec::new();
        for rank in due {
            let record = self.node.record(rank);
            let one = &self.ranks[rank as usize];
            if one.exit.is_some() || !record.is_owner_gone() {
                continue;
            }
            if let Some(exit) = one.lingering {
                self.note_exit(rank, exit, &mut candidates);
            } else if record.state() == RankState::Running {
                candidates.push((rank, Failed::ProcessInside(record.pid())));
                self.announce_end(rank, true);
            }
        }
        self.judge(candidates);
    }

    fn next_foreign_look(&self) -> Option<Instant> {
        if self.plan.job_size == 1 || self.ending.is_some() {
            return None;
        }
        let missing = self.ranks.iter().any(|rank| rank.exit.is_none() && !rank.joined);
        foreign::LOOKS.get(self.foreign_looks).filter(|_| missing).map(|after| self.begun + *after)
    }

    fn look_for_foreign(&mut self, now: Instant) {
        if self.next_foreign_look().is_none_or(|at| now < at) {
            return;
        }
        self.foreign_looks += 1;
        let lib = self.plan.prefix.as_ref().map(|prefix| prefix.lib());
        let missing = self.ranks.iter().filter(|rank| rank.exit.is_none() && !rank.joined);
        let is_early = self.foreign_looks <= foreign::EARLY_LOOKS;
        let count = if is_early { foreign::EARLY_RANKS } else { self.ranks.len() };
        let missing: Vec<u32> = missing.map(|rank| rank.pid).take(count).collect();
        let found = tree::with_descendants(&missing)
            .into_iter()
            .filter_map(|pid| foreign::look(pid, lib.as_deref()))
            // What speaks PMI finds its place.
            .find(|found| !found.speaks_pmi());
        if let Some(found) = found {
            self.end(Cause::Foreign(foreign::describe(self.plan.job_size, &found)));
        }
    }

    fn look_for_hang(&mut self, now: Instant) {
        if self.ending.is_some() || self.alive == 0 {
            return;
        }
        let running = self.running();
        let Some(look) = &mut self.hang else { return };
        look.again(&self.node, running);
        let report = self.plan.request.options.hang_report.filter(|_| !self.hang_said);
        let Some(still) = report.filter(|still| look.stillness(now) >= *still) else { return };
        self.hang_said = true;
        let mut lines = vec![format!(
            "hang report after {} s without progress{} (job still running; Ctrl-C to stop)",
            still.as_secs_f64(),
            self.link.as_ref().map_or(String::new(), |_| format!(" on host {}", self.plan.host))
        )];
        let doings = look.doings(&self.node);
        let ranks = &self.plan.ranks;
        let doings =
            doings.into_iter().map(|(rank, doing)| (ranks[rank as usize], doing)).collect();
        let words = waiting::in_words(&doings, true);
        lines.extend(words.into_iter().map(|line| format!("   {line}")));
        self.relay.say(&lines.join("\n"));
    }
}

fn is_interrupt(cause: &Cause) -> bool {
    matches!(cause, Cause::Signal(libc::SIGINT | libc::SIGQUIT))
}

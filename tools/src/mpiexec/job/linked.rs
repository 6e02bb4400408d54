// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of a job that an agent runs: what mpiexec says, and what it is told.
#![forbid(unsafe_code)]

use super::Job;
use crate::mpiexec::agent::{BEAT_TIME, Heard, PATIENCE};
use crate::mpiexec::ending::{Cause, Stage};
use crate::mpiexec::report::Summary;
use crate::mpiexec::wire::{self, Command, Event, Kind};
use std::time::{Duration, Instant};

/// Values of one frame, which may be 16 MiB long, escapes included.
const VALUES_BYTES: usize = 1024 * 1024;

impl Job<'_> {
    pub(super) fn tell(&mut self, event: &Event) {
        self.relay.send(Kind::Event, &wire::json(event));
    }

    /// mpiexec said something, or is gone.
    pub(super) fn serve_link(&mut self) {
        loop {
            let Some(link) = &mut self.link else { return };
            match link.hear() {
                Heard::Nothing => break,
                Heard::Gone => {
                    link.is_released = true;
                    // Nobody is left who would want to know why.
                    self.relay.hide_all();
                    self.end(Cause::Elsewhere(Box::new(Cause::OutputGone)));
                    break;
                }
                Heard::Stdin(piece) => {
                    let is_end = piece.is_empty();
                    match &mut self.stdin {
                        Some(stdin) => stdin.feed(piece),
                        None if is_end => {}
                        None => self.tell(&Event::StdinTaken),
                    }
                    let Some(link) = &mut self.link else { return };
                    link.owes_stdin = !is_end && self.stdin.is_some();
                }
                Heard::Command(command) => self.obey(command),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let Some(link) = &mut self.link else { return };
        match command {
            Command::End { cause, forward } => self.end_by_order(cause, forward),
            Command::Hasten => {
                if let Some(ending) = &mut self.ending {
                    ending.hasten();
                }
            }
            Command::Signal(number) => self.signal_ranks(number),
            Command::Ask(ranks) => link.owed.extend(ranks),
            Command::Address { rank, bytes } => {
                link.asked.remove(&rank);
                let is_far = rank.wrapping_sub(self.plan.first) >= self.plan.size();
                let fits =
                    (1..=strait_transport::node::FAR_ADDRESS_BYTES_MAX).contains(&bytes.len());
                if is_far && fits && rank < self.plan.job_size {
                    self.node.set_far_address(rank, &bytes);
                }
            }
            Command::Gone { ranks, are_lost } => self.hear_of_ends(&ranks, are_lost),
            Command::Values(values) => self.pmi.arrive(values),
            Command::FenceEnds => self.pmi.end_fence(),
            Command::Leave => link.is_released = true,
            Command::Beat | Command::Prepare(_) | Command::Branch(_) | Command::Start => {}
        }
    }

    fn end_by_order(&mut self, cause: Cause, forward: bool) {
        if let Cause::Abort(rank, code) = &cause {
            // Our ranks find here that losing a peer is no news.
            self.node.request_abort(*rank, *code);
        }
        if let (Cause::Signal(number), true) = (&cause, forward) {
            self.signal_ranks(*number);
        }
        match cause {
            Cause::Signal(_) | Cause::Timeout(_) => self.end(cause),
            other => self.end(Cause::Elsewhere(Box::new(other))),
        }
    }

    /// Ranks with another MPI library wait at a fence of all hosts, with what they put.
    pub(super) fn bring_to_fence(&mut self, values: Vec<(String, String)>) {
        let mut piece = Vec::new();
        let mut bytes = 0;
        for (key, value) in values {
            bytes += key.len() + value.len();
            piece.push((key, value));
            if bytes > VALUES_BYTES {
                self.tell(&Event::Values(std::mem::take(&mut piece)));
                bytes = 0;
            }
        }
        self.tell(&Event::Values(piece));
        self.tell(&Event::Fence);
    }

    /// An ending that began here is told at once.
    pub(super) fn tell_of_ending(&mut self) {
        let is_own = self.ending.as_ref().is_some_and(|ending| {
            !matches!(ending.cause, Cause::Elsewhere(_) | Cause::Timeout(_) | Cause::Signal(_))
        });
        let is_first = self.ending.as_ref().is_some_and(|ending| ending.stage == Stage::Grace);
        if self.link.is_some() && is_own && is_first {
            let summary = self.summary();
            self.tell(&Event::Ending(Box::new(summary)));
        }
    }

    /// Passes on which addresses are wanted here, and answers what others want to know.
    pub(super) fn look_at_addresses(&mut self) {
        let Some(link) = &mut self.link else { return };
        let wanted: Vec<u32> =
            self.node.take_wanted().into_iter().filter(|rank| link.asked.insert(*rank)).collect();
        let mut found = Vec::new();
        link.owed.retain(|rank| {
            let local = rank.wrapping_sub(self.plan.first);
            if local >= self.plan.size() {
                return false;
            }
            let address = self.node.record(local).address();
            let is_open = address.is_none();
            found.extend(address.map(|bytes| (*rank, bytes)));
            is_open
        });
        let was_taken = link.owes_stdin && self.stdin.as_ref().is_none_or(|copy| copy.is_hungry());
        if was_taken {
            link.owes_stdin = false;
        }
        if !wanted.is_empty() {
            self.tell(&Event::Wants(wanted));
        }
        for (rank, bytes) in found {
            self.tell(&Event::Address { rank, bytes });
        }
        if was_taken {
            self.tell(&Event::StdinTaken);
        }
    }

    pub(super) fn next_beat(&self) -> Option<Instant> {
        self.link.as_ref().map(|link| link.beat_at)
    }

    pub(super) fn beat(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        if now < link.beat_at {
            return;
        }
        link.beat_at = now + BEAT_TIME;
        let is_forgotten = now > link.heard + PATIENCE;
        self.tell(&Event::Beat);
        if is_forgotten {
            if let Some(link) = &mut self.link {
                link.is_released = true;
            }
            self.relay.hide_all();
            self.end(Cause::Elsewhere(Box::new(Cause::OutputGone)));
        }
    }

    /// The ranks of this host have ended. Their addresses may still be asked for.
    pub(super) fn attend_until_release(&mut self, summary: Summary) {
        self.tell(&Event::Done(Box::new(summary)));
        while self.link.as_ref().is_some_and(|link| !link.is_released)
            && self.relay.broken().is_none()
        {
            self.step();
        }
        let until = Instant::now() + Duration::from_secs(1);
        while !self.relay.is_flushed() && self.relay.broken().is_none() && Instant::now() < until {
            self.step();
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who noticed that a process of the node died.
//!
//! Under our launcher nobody watches: it reaps its children, marks the record, counts, and rings
//! every bell, so a look is one load. Without it each process watches the pidfds of the peers that
//! it has seen running: in poll now and then, and in the epoll set it sleeps in.
//!
//! A peer that finalized and ended is not lost. A peer's number that was reused is not the peer.

use crate::node::{Node, RankState, is_alive};
use crate::wait::Sleepers;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};

/// Who notices deaths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Supervision {
    /// Our launcher announces them in the node memory.
    Launcher,
    /// Nobody does it for us.
    Ourselves,
}

/// What is known about one peer.
enum Watch {
    /// Not yet seen running.
    Unmet,
    /// Running; readable when it ends.
    Process(OwnedFd),
    /// Gone or finalized: nothing to watch.
    Over,
}

/// The watch over all peers.
pub(super) struct Deaths {
    supervision: Supervision,
    local_rank: u32,
    /// Announcements that were dealt with.
    losses_seen: u32,
    /// By local rank; empty under a launcher.
    watches: Vec<Watch>,
    /// Found dead, not yet reported.
    found: Vec<u32>,
}

impl Deaths {
    pub(super) fn new(supervision: Supervision, local_rank: u32, local_size: u32) -> Deaths {
        let watches = match supervision {
            Supervision::Launcher => Vec::new(),
            Supervision::Ourselves => (0..local_size).map(|_| Watch::Unmet).collect(),
        };
        Deaths { supervision, local_rank, losses_seen: 0, watches, found: Vec::new() }
    }

    /// Before sleep: sees to it that the sleepers are woken by deaths.
    pub(super) fn watch(&mut self, node: &Node, sleepers: &Sleepers) {
        for local_rank in 0..self.watches.len() as u32 {
            if self.open(node, local_rank)
                && let Watch::Process(process) = &self.watches[local_rank as usize]
            {
                // Refused means no descriptors left: then the looks in poll must do.
                let _ = sleepers.watch(process.as_fd());
            }
        }
    }

    /// Starts to watch a peer that runs now; `true` if it is newly watched.
    fn open(&mut self, node: &Node, local_rank: u32) -> bool {
        let record = node.record(local_rank);
        let watch = &mut self.watches[local_rank as usize];
        if local_rank == self.local_rank
            || !matches!(watch, Watch::Unmet)
            || record.state() != RankState::Running
        {
            return false;
        }
        let pid = record.pid();
        let opened = Pid::from_raw(pid as i32)
            .and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok());
        match opened {
            // Asked after opening, so that the descriptor is the peer's and not a later process's.
            Some(process) if is_alive(pid, record.started()) => *watch = Watch::Process(process),
            _ if is_alive(pid, record.started()) => return false,
            _ => {
                *watch = Watch::Over;
                self.found.push(local_rank);
                return false;
            }
        }
        true
    }

    /// Whether somebody died who was not reported. `thorough`: also when that costs system calls.
    pub(super) fn any(&mut self, node: &Node, thorough: bool) -> bool {
        match self.supervision {
            Supervision::Launcher => node.losses() != self.losses_seen,
            Supervision::Ourselves => {
                if thorough {
                    self.look(node);
                }
                !self.found.is_empty()
            }
        }
    }

    /// Those who died since the last time.
    pub(super) fn collect(&mut self, node: &Node) -> Vec<u32> {
        if self.supervision == Supervision::Launcher {
            self.losses_seen = node.losses();
            let all = 0..node.plan_ref().local_size;
            return all.filter(|local_rank| node.record(*local_rank).is_lost()).collect();
        }
        std::mem::take(&mut self.found)
    }

    fn look(&mut self, node: &Node) {
        for local_rank in 0..self.watches.len() as u32 {
            self.open(node, local_rank);
        }
        let mut ranks = Vec::new();
        let mut polled = Vec::new();
        for (local_rank, watch) in self.watches.iter().enumerate() {
            if let Watch::Process(process) = watch {
                ranks.push(local_rank);
                polled.push(PollFd::new(process, PollFlags::IN));
            }
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut polled, Some(&now)).unwrap_or(0) == 0 {
            return;
        }
        let ended = |polled: &PollFd<'_>| !polled.revents().is_empty();
        let over: Vec<usize> = ranks
            .into_iter()
            .zip(&polled)
            .filter(|(_, p)| ended(p))
            .map(|(rank, _)| rank)
            .collect();
        for local_rank in over {
            // Dropping the descriptor also takes it out of the sleepers' epoll set.
            self.watches[local_rank] = Watch::Over;
            if node.record(local_rank as u32).state() == RankState::Running {
                self.found.push(local_rank as u32);
            }
        }
    }
}

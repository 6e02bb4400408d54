// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A job whose ranks go on when one fails (`--keep-going`): who is gone is told to all, of this
//! host and of others.
#![forbid(unsafe_code)]

use super::Job;
use crate::mpiexec::report::{self, Failed, FirstFailure};
use crate::mpiexec::wire::Event;

impl Job<'_> {
    /// A rank of this host has ended; `is_lost`: between MPI_Init and MPI_Finalize.
    pub(super) fn announce_end(&mut self, rank: u32, is_lost: bool) {
        if is_lost {
            self.node.announce_loss(rank);
        }
        if !self.plan.request.options.keep_going {
            return;
        }
        if !is_lost {
            // Who agrees with others must not wait for one that has finalized.
            self.node.tell_of_ends();
        }
        if self.link.is_some() {
            let ranks = vec![self.plan.first + rank];
            self.tell(&Event::Gone { ranks, are_lost: is_lost });
        }
    }

    /// Processes of any host are gone.
    pub(super) fn hear_of_ends(&self, ranks: &[u32], are_lost: bool) {
        let is_far = |rank: &&u32| {
            rank.wrapping_sub(self.plan.first) >= self.plan.size() && **rank < self.plan.job_size
        };
        for rank in ranks.iter().filter(is_far) {
            self.node.announce_far_end(*rank, are_lost);
        }
    }

    /// Ranks failed, and the others go on.
    pub(super) fn say_who_failed(&mut self, failures: &[(u32, Failed)]) {
        for (rank, why) in failures {
            let failure = self.failure(*rank, *why);
            let failure = FirstFailure { rank: self.plan.ranks[*rank as usize], ..failure };
            let text = report::goes_on(&self.plan.host, &failure);
            self.relay.say(&text);
        }
    }
}

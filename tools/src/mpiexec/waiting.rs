// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who waits in what: two looks at the current-call slot of each rank. The same call with the same
//! count in both looks means that the rank is in that call still.
#![forbid(unsafe_code)]

use super::values::ranks_named;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use strait_transport::error::IS_LOST;
use strait_transport::node::{CallSample, Node, RankState};

/// What a rank was seen to do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Doing {
    /// In this call since the first look.
    Waiting(String),
    /// Between Init and Finalize, but in no call.
    OutsideMpi,
    /// From call to call.
    Moving,
    /// Before Init, or no MPI program.
    NotStarted,
    /// After Finalize.
    Finalized,
}

/// Whether the text that a rank left says that it ends because it lost another rank.
pub fn tells_of_a_loss(text: &str) -> bool {
    text.contains(IS_LOST)
}

/// One look at some ranks.
#[derive(Clone, Debug)]
pub struct Look {
    taken: BTreeMap<u32, (CallSample, Instant)>,
}

impl Look {
    /// Looks at these ranks now.
    pub fn at(node: &Node, ranks: impl Iterator<Item = u32>) -> Look {
        let now = Instant::now();
        Look { taken: ranks.map(|rank| (rank, (node.record(rank).call(), now))).collect() }
    }

    /// Looks again; a rank that has not moved keeps the time of the earlier look.
    pub fn again(&mut self, node: &Node, ranks: impl Iterator<Item = u32>) {
        let mut new = Look::at(node, ranks);
        for (rank, entry) in &mut new.taken {
            if let Some(old) = self.taken.get(rank)
                && old.0 == entry.0
            {
                entry.1 = old.1;
            }
        }
        *self = new;
    }

    /// How long no rank has moved while one of them was in a call; zero when all are outside.
    pub fn stillness(&self, now: Instant) -> Duration {
        let inside = self.taken.values().any(|(sample, _)| sample.call != 0);
        let last = self.taken.values().map(|(_, since)| *since).max();
        last.filter(|_| inside).map_or(Duration::ZERO, |last| now.duration_since(last))
    }

    /// Compares with now.
    pub fn doings(&self, node: &Node) -> BTreeMap<u32, (Doing, Duration)> {
        let now = Instant::now();
        let one = |(rank, (old, since)): (&u32, &(CallSample, Instant))| {
            let record = node.record(*rank);
            let new = record.call();
            let doing = match record.state() {
                RankState::Absent => Doing::NotStarted,
                RankState::Finalized => Doing::Finalized,
                RankState::Running if new.call == 0 => Doing::OutsideMpi,
                // A rank that lost a peer leaves its call, says so, and waits there for its end.
                RankState::Running
                    if new == *old
                        || record.report().is_some_and(|text| tells_of_a_loss(&text)) =>
                {
                    let unnamed = || format!("call {}", new.call);
                    Doing::Waiting(node.call_name(new.call).unwrap_or_else(unnamed))
                }
                RankState::Running => Doing::Moving,
            };
            (*rank, (doing, now.duration_since(*since)))
        };
        self.taken.iter().map(one).collect()
    }
}

/// Of these ranks, those whose call ended because they lost another one: they waited in that call,
/// whether they have ended since or not.
pub fn of_lost(node: &Node, ranks: impl Iterator<Item = u32>) -> BTreeMap<u32, (Doing, Duration)> {
    let one = |rank| {
        let call = node.record(rank).lost_in();
        let name = || node.call_name(call).unwrap_or_else(|| format!("call {call}"));
        (call != 0).then(|| (rank, (Doing::Waiting(name()), Duration::ZERO)))
    };
    ranks.filter_map(one).collect()
}

/// The doings in words, one line per kind: `ranks 0,2-3 were waiting in MPI_Barrier`. Ranks that
/// never joined are told of only when others did.
pub fn in_words(doings: &BTreeMap<u32, (Doing, Duration)>, with_times: bool) -> Vec<String> {
    let mut groups: BTreeMap<&Doing, (Vec<u32>, Duration)> = BTreeMap::new();
    for (rank, (doing, since)) in doings {
        let group = groups.entry(doing).or_insert((Vec::new(), *since));
        group.0.push(*rank);
        group.1 = group.1.max(*since);
    }
    let is_mpi = groups.keys().any(|doing| **doing != Doing::NotStarted);
    let mut lines = Vec::new();
    for (doing, (ranks, since)) in groups.iter().filter(|_| is_mpi) {
        let verb = if ranks.len() == 1 { "was" } else { "were" };
        let what = match doing {
            Doing::Waiting(call) if with_times => {
                format!("waiting in {call} since {:.1} s", since.as_secs_f64())
            }
            Doing::Waiting(call) => format!("waiting in {call}"),
            Doing::OutsideMpi => "outside MPI (computing, or in other code)".to_owned(),
            Doing::Moving => "going from call to call".to_owned(),
            Doing::NotStarted => "not yet in MPI_Init".to_owned(),
            Doing::Finalized => "past MPI_Finalize".to_owned(),
        };
        lines.push(format!("{} {verb} {what}", ranks_named(ranks)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let wait = |call: &str| (Doing::Waiting(call.to_owned()), Duration::from_millis(1500));
        let doings = BTreeMap::from([
            (0, wait("MPI_Barrier")),
            (1, (Doing::OutsideMpi, Duration::ZERO)),
            (2, wait("MPI_Barrier")),
            (3, wait("MPI_Barrier")),
        ]);
        assert_eq!(
            in_words(&doings, false),
            [
                "ranks 0,2-3 were waiting in MPI_Barrier",
                "rank 1 was outside MPI (computing, or in other code)"
            ]
        );
        assert!(in_words(&doings, true)[0].ends_with("since 1.5 s"));
        let absent = BTreeMap::from([(0, (Doing::NotStarted, Duration::ZERO))]);
        assert!(in_words(&absent, false).is_empty());
    }
}

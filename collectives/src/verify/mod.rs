// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Proves of the schedules of all ranks of a shape that together they are right.
//!
//! In this order: every send has its receive and their sizes agree (`matching`); all steps come to
//! an end even if a send blocks until it is received (`deadlock`); no two steps of a rank touch
//! the same block unordered, one of them writing (`overlap`); executed symbolically, every output
//! holds what `kind` defines (`result`). Bounds, extents and known sizes hold by construction: the
//! builder checks them.
//!
//! The executions of a schedule that passes all have the same outcome: steps are deterministic,
//! messages between two ranks match in list order, and conflicting accesses are ordered. So one
//! symbolic execution is enough.
//!
//! Not here: node cells and remote get and put, which are refused by name.
#![forbid(unsafe_code)]

mod deadlock;
mod matching;
mod overlap;
mod result;

use crate::algorithm::Cost;
use crate::schedule::Schedule;
use crate::shape::Rank;

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("rank {rank}{}: {what}", .step.map(|step| format!(", step {step}")).unwrap_or_default())]
pub struct Flaw {
    /// In whose schedule.
    pub rank: Rank,
    /// At which step, if it is one.
    pub step: Option<usize>,
    /// What is wrong there.
    pub what: String,
}

impl Flaw {
    fn new(rank: usize, step: Option<usize>, what: String) -> Flaw {
        Flaw { rank: rank as Rank, step, what }
    }
}

/// Checks the schedules of ranks `0 ..`, in order. With `ordered`, reductions must combine in rank
/// order; without, in any. The answer is the cost that was found.
pub fn verify(schedules: &[Schedule], ordered: bool) -> Result<Cost, Flaw> {
    let Some(first) = schedules.first() else {
        return Err(Flaw::new(0, None, "there is no schedule".into()));
    };
    for (rank, schedule) in schedules.iter().enumerate() {
        if schedule.shape() != first.shape() || schedule.rank() as usize != rank {
            return Err(Flaw::new(rank, None, "a schedule of another shape or rank".into()));
        }
    }
    if schedules.len() != first.shape().ranks as usize {
        let what = format!("{} schedules for {} ranks", schedules.len(), first.shape().ranks);
        return Err(Flaw::new(0, None, what));
    }
    let matches = matching::check(schedules)?;
    let run = deadlock::check(schedules, &matches)?;
    for (rank, schedule) in schedules.iter().enumerate() {
        overlap::check(rank, schedule)?;
    }
    result::check(schedules, &run.events, ordered)?;
    Ok(Cost { rounds: run.rounds, messages: matches.messages, blocks: matches.blocks })
}

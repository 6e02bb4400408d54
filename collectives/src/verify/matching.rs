// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every send has its receive, and their sizes agree. The k-th send from one rank to another
//! matches the k-th receive there, in list order.
#![forbid(unsafe_code)]

use super::Flaw;
use crate::schedule::{Schedule, Step};
use std::collections::HashMap;

/// Who belongs to whom.
pub(super) struct Matches {
    /// For each rank and step: the other end of the message.
    pub(super) partner: Vec<Vec<Option<(usize, usize)>>>,
    pub(super) messages: u64,
    pub(super) blocks: u64,
}

pub(super) fn check(schedules: &[Schedule]) -> Result<Matches, Flaw> {
    let mut sends: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
    let mut receives: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
    for (rank, schedule) in schedules.iter().enumerate() {
        for (index, step) in schedule.steps().iter().enumerate() {
            match *step {
                Step::Send { to, .. } => {
                    sends.entry((rank, to as usize)).or_default().push(index);
                }
                Step::Recv { from, .. } => {
                    receives.entry((from as usize, rank)).or_default().push(index);
                }
                Step::Copy { .. } | Step::Reduce { .. } => {}
                _ => {
                    let what = format!("`{step}`: node cells and remote access are not verified");
                    return Err(Flaw::new(rank, Some(index), what));
                }
            }
        }
    }
    let partner = schedules.iter().map(|schedule| vec![None; schedule.steps().len()]).collect();
    let mut matches = Matches { partner, messages: 0, blocks: 0 };
    for (&(source, target), steps) in &sends {
        let others = receives.remove(&(source, target)).unwrap_or_default();
        if let Some(&lonely) = steps.get(others.len()) {
            let what = format!("rank {target} does not receive this message");
            return Err(Flaw::new(source, Some(lonely), what));
        }
        if let Some(&lonely) = others.get(steps.len()) {
            return Err(no_sender(source, target, lonely));
        }
        for (&send, &receive) in steps.iter().zip(&others) {
            matches.blocks += check_sizes(schedules, (source, send), (target, receive))?;
            matches.messages += 1;
            matches.partner[source][send] = Some((target, receive));
            matches.partner[target][receive] = Some((source, send));
        }
    }
    match receives.iter().next() {
        Some((&(source, target), steps)) => Err(no_sender(source, target, steps[0])),
        None => Ok(matches),
    }
}

fn no_sender(source: usize, target: usize, step: usize) -> Flaw {
    Flaw::new(target, Some(step), format!("rank {source} does not send this message"))
}

fn check_sizes(
    schedules: &[Schedule],
    (source, send): (usize, usize),
    (target, receive): (usize, usize),
) -> Result<u64, Flaw> {
    let what = schedules[source].steps()[send].reads().next().expect("a send reads");
    let into = schedules[target].steps()[receive].writes().expect("a receive writes");
    if !schedules[source].extents(what).eq(schedules[target].extents(into)) {
        let what = format!("sends {what}, but rank {target} receives {into} of other extents");
        return Err(Flaw::new(source, Some(send), what));
    }
    Ok(u64::from(what.count))
}

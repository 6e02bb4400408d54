// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All steps come to an end even if every send blocks until its receive is posted.
//!
//! A step is posted when the steps it waits for are done and the message before it between the
//! same two ranks in the same direction is posted. A message is done when both its ends are
//! posted. Nothing here is a choice, so one run to the end decides: what is left over waits for
//! itself. The run also yields an order for the symbolic execution, and the longest chain.
#![forbid(unsafe_code)]

use super::Flaw;
use super::matching::Matches;
use crate::schedule::{Schedule, Step};
use std::collections::HashMap;

/// Something that has ended: a local step, or a message with both its ends.
pub(super) enum Event {
    Local { rank: usize, step: usize },
    Message { source: usize, send: usize, target: usize, receive: usize },
}

pub(super) struct Run {
    /// In an order in which they can happen.
    pub(super) events: Vec<Event>,
    /// Messages on the longest chain.
    pub(super) rounds: u64,
}

/// What one step waits for and who waits for it.
#[derive(Clone, Default)]
struct State {
    waits: usize,
    posted: bool,
    /// Messages before this one on the longest chain to its post; with its own, when it is done.
    depth: u64,
    dependents: Vec<usize>,
    next_post: Option<usize>,
}

pub(super) fn check(schedules: &[Schedule], matches: &Matches) -> Result<Run, Flaw> {
    let mut states: Vec<Vec<State>> = schedules.iter().map(states).collect();
    let mut ready: Vec<(usize, usize)> = Vec::new();
    for (rank, steps) in states.iter().enumerate() {
        let free = (0..steps.len()).filter(|step| steps[*step].waits == 0);
        ready.extend(free.map(|step| (rank, step)));
    }
    let mut run = Run { events: Vec::new(), rounds: 0 };
    let mut ended = 0;
    while let Some((rank, step)) = ready.pop() {
        states[rank][step].posted = true;
        let depth = states[rank][step].depth;
        if let Some(next) = states[rank][step].next_post {
            release(&mut states, &mut ready, rank, next, depth);
        }
        let Some((other, other_step)) = matches.partner[rank][step] else {
            run.events.push(Event::Local { rank, step });
            finish(&mut states, &mut ready, rank, step, depth);
            ended += 1;
            continue;
        };
        if !states[other][other_step].posted {
            continue;
        }
        let depth = depth.max(states[other][other_step].depth) + 1;
        run.rounds = run.rounds.max(depth);
        run.events.push(match schedules[rank].steps()[step] {
            Step::Send { .. } => {
                Event::Message { source: rank, send: step, target: other, receive: other_step }
            }
            _ => Event::Message { source: other, send: other_step, target: rank, receive: step },
        });
        finish(&mut states, &mut ready, rank, step, depth);
        finish(&mut states, &mut ready, other, other_step, depth);
        ended += 2;
    }
    if ended == states.iter().map(Vec::len).sum::<usize>() {
        return Ok(run);
    }
    Err(stuck(schedules, &states, matches))
}

fn states(schedule: &Schedule) -> Vec<State> {
    let mut states = vec![State::default(); schedule.steps().len()];
    let mut last_message = HashMap::new();
    for (index, step) in schedule.steps().iter().enumerate() {
        states[index].waits += schedule.after(index).len();
        for earlier in schedule.after(index) {
            states[earlier.0 as usize].dependents.push(index);
        }
        let direction = match *step {
            Step::Send { to, .. } => (true, to),
            Step::Recv { from, .. } => (false, from),
            _ => continue,
        };
        if let Some(earlier) = last_message.insert(direction, index) {
            let earlier: &mut State = &mut states[earlier];
            earlier.next_post = Some(index);
            states[index].waits += 1;
        }
    }
    states
}

fn finish(
    states: &mut [Vec<State>],
    ready: &mut Vec<(usize, usize)>,
    rank: usize,
    step: usize,
    depth: u64,
) {
    for dependent in std::mem::take(&mut states[rank][step].dependents) {
        release(states, ready, rank, dependent, depth);
    }
}

fn release(
    states: &mut [Vec<State>],
    ready: &mut Vec<(usize, usize)>,
    rank: usize,
    step: usize,
    depth: u64,
) {
    let state = &mut states[rank][step];
    state.waits -= 1;
    state.depth = state.depth.max(depth);
    if state.waits == 0 {
        ready.push((rank, step));
    }
}

fn stuck(schedules: &[Schedule], states: &[Vec<State>], matches: &Matches) -> Flaw {
    for (rank, steps) in states.iter().enumerate() {
        for (step, state) in steps.iter().enumerate() {
            if let (true, Some((other, other_step))) = (state.posted, matches.partner[rank][step])
                && !states[other][other_step].posted
            {
                let what = format!(
                    "`{}` waits for ever: step {other_step} of rank {other} is never posted",
                    schedules[rank].steps()[step]
                );
                return Flaw::new(rank, Some(step), what);
            }
        }
    }
    Flaw::new(0, None, "the messages of the schedules wait for each other".into())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How far a run of a schedule is: which steps may begin now. Whoever runs a schedule, over a
//! worker or under a virtual clock, asks this and nothing else.
//!
//! 1. A step becomes ready when its count of waits is zero, and only once.
//! 2. A message between two ranks becomes ready after the one before it in the same direction was
//!    posted (`Links::next_message`).
#![forbid(unsafe_code)]

use super::{Schedule, Step};
use std::collections::VecDeque;

/// The steps that are ready and not yet begun, and the count of those that have ended.
#[derive(Clone, Debug)]
pub struct Front {
    /// What still stands before each step.
    waits: Vec<u32>,
    receives: VecDeque<u32>,
    sends: VecDeque<u32>,
    local: Vec<u32>,
    others: Vec<u32>,
    ended: usize,
}

impl Front {
    /// Nothing has begun.
    pub fn new(schedule: &Schedule) -> Front {
        let waits = schedule.links().waits.clone();
        let mut front = Front {
            waits,
            receives: VecDeque::new(),
            sends: VecDeque::new(),
            local: Vec::new(),
            others: Vec::new(),
            ended: 0,
        };
        for step in 0..front.waits.len() {
            if front.waits[step] == 0 {
                front.make_ready(schedule, step as u32);
            }
        }
        front
    }

    /// The next message to post: receives before sends, and each in the order in which they became
    /// ready, so that a root serves its largest subtree first if its algorithm says so.
    pub fn next_message(&mut self) -> Option<u32> {
        self.receives.pop_front().or_else(|| self.sends.pop_front())
    }

    /// The next copy or reduction.
    pub fn next_local(&mut self) -> Option<u32> {
        self.local.pop()
    }

    /// Whether a copy or reduction is ready.
    pub fn has_local(&self) -> bool {
        !self.local.is_empty()
    }

    /// The next ready step of another sort.
    pub fn next_other(&mut self) -> Option<u32> {
        self.others.pop()
    }

    /// A message was posted.
    pub fn posted(&mut self, schedule: &Schedule, step: u32) {
        if let Some(next) = schedule.links().next_message[step as usize] {
            self.release(schedule, next);
        }
    }

    /// A step has ended.
    pub fn finish(&mut self, schedule: &Schedule, step: u32) {
        self.ended += 1;
        let links = schedule.links();
        let (from, to) =
            (links.dependents_start[step as usize], links.dependents_start[step as usize + 1]);
        for &dependent in &links.dependents[from as usize..to as usize] {
            self.release(schedule, dependent);
        }
    }

    /// Whether all steps have ended.
    pub fn is_done(&self) -> bool {
        self.ended == self.waits.len()
    }

    fn release(&mut self, schedule: &Schedule, step: u32) {
        let waits = &mut self.waits[step as usize];
        *waits -= 1;
        if *waits == 0 {
            self.make_ready(schedule, step);
        }
    }

    fn make_ready(&mut self, schedule: &Schedule, step: u32) {
        match schedule.steps()[step as usize] {
            Step::Send { .. } => self.sends.push_back(step),
            Step::Recv { .. } => self.receives.push_back(step),
            Step::Copy { .. } | Step::Reduce { .. } => self.local.push(step),
            _ => self.others.push(step),
        }
    }
}

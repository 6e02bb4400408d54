// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Schedules that were made already, by plan, shape and rank; bounded.
#![forbid(unsafe_code)]

use super::Plan;
use crate::algorithm::Parameters;
use crate::schedule::{Refused, Schedule};
use crate::shape::{Rank, Shape};
use std::collections::HashMap;
use std::sync::Arc;

/// Steps that all kept schedules may have together: at about 100 bytes a step, 6 MiB.
const STEPS_MAX: usize = 1 << 16;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    algorithm: &'static str,
    parameters: Parameters,
    shape: Shape,
    rank: Rank,
}

/// A bounded cache: when it is full it is emptied, which is simple, and rare for programs that
/// repeat themselves.
#[derive(Default)]
pub struct Cache {
    kept: HashMap<Key, Arc<Schedule>>,
    steps: usize,
}

impl Cache {
    /// An empty one.
    pub fn new() -> Cache {
        Cache::default()
    }

    /// The schedule of a plan for a rank: kept, or made now.
    pub fn schedule(&mut self, plan: &Plan, rank: Rank) -> Result<Arc<Schedule>, Refused> {
        let Plan { algorithm, parameters, shape } = plan;
        let key =
            Key { algorithm: algorithm.name, parameters: *parameters, shape: shape.clone(), rank };
        if let Some(schedule) = self.kept.get(&key) {
            return Ok(Arc::clone(schedule));
        }
        let schedule = Arc::new(algorithm.schedule(shape, *parameters, rank)?);
        let steps = schedule.steps().len() + 1;
        if self.steps + steps > STEPS_MAX {
            self.kept.clear();
            self.steps = 0;
        }
        if steps <= STEPS_MAX {
            self.steps += steps;
            self.kept.insert(key, Arc::clone(&schedule));
        }
        Ok(schedule)
    }

    /// How many schedules are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::select::{Circumstances, Hosts, choose};

    #[test]
    fn it_keeps_and_stays_bounded() {
        let mut cache = Cache::new();
        let call = Circumstances { bytes: 8, commutes: true, hosts: Hosts::Several };
        let plan = choose(&Shape::new(Kind::Alltoall, 300), call);
        let once = cache.schedule(&plan, 1).unwrap();
        let again = cache.schedule(&plan, 1).unwrap();
        assert!(Arc::ptr_eq(&once, &again));
        for rank in 0..300 {
            cache.schedule(&plan, rank).unwrap();
        }
        assert!(cache.len() * once.steps().len() <= STEPS_MAX && !cache.is_empty());
    }
}

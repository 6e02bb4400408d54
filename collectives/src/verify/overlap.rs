// SPDX-License-Identifier: Apache-2.0 OR MIT
//! No two steps of a rank touch the same block unordered, one of them writing.
//!
//! Ordered means: a path of edges within the rank. An order that only exists through another
//! rank's messages does not count; it would be hard to see for a reader, too.
#![forbid(unsafe_code)]

use super::Flaw;
use crate::schedule::{Places, Schedule};

pub(super) fn check(rank: usize, schedule: &Schedule) -> Result<(), Flaw> {
    let ancestors = ancestors(schedule);
    let is_ordered =
        |earlier: usize, later: usize| ancestors[later][earlier / 64] >> (earlier % 64) & 1 == 1;
    let places = Places::of(schedule);
    let mut accesses: Vec<Vec<(usize, bool)>> = vec![Vec::new(); places.len()];
    for (index, step) in schedule.steps().iter().enumerate() {
        let reads = step.reads().map(|blocks| (blocks, false));
        let writes = step.writes().map(|blocks| (blocks, true));
        for (blocks, is_write) in reads.chain(writes) {
            for number in places.numbers(blocks) {
                accesses[number as usize].push((index, is_write));
            }
        }
    }
    for touched in &accesses {
        for (at, &(later, later_writes)) in touched.iter().enumerate() {
            for &(earlier, earlier_writes) in &touched[..at] {
                let conflict = earlier != later && (earlier_writes || later_writes);
                if conflict && !is_ordered(earlier, later) {
                    let what = format!(
                        "`{}` and step {earlier} `{}` touch the same block in no order",
                        schedule.steps()[later],
                        schedule.steps()[earlier]
                    );
                    return Err(Flaw::new(rank, Some(later), what));
                }
            }
        }
    }
    Ok(())
}

/// For each step a bit set of the steps that are done before it.
fn ancestors(schedule: &Schedule) -> Vec<Vec<u64>> {
    let words = schedule.steps().len().div_ceil(64);
    let mut ancestors: Vec<Vec<u64>> = Vec::with_capacity(schedule.steps().len());
    for index in 0..schedule.steps().len() {
        let mut set = vec![0u64; words];
        for earlier in schedule.after(index) {
            let earlier = earlier.0 as usize;
            set[earlier / 64] |= 1 << (earlier % 64);
            set.iter_mut().zip(&ancestors[earlier]).for_each(|(to, from)| *to |= from);
        }
        ancestors.push(set);
    }
    ancestors
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How far two processors are from each other: the time that one cache line takes from one to the
//! other, measured by two pinned threads that throw it back and forth for about 40 ms.
//!
//! A virtual machine may be moved: at one time its processors are two threads of one core, at
//! another two cores, and every figure of message passing changes by a factor. So each run is
//! probed before and after, and only runs of one class are compared. What happens in between is
//! not seen.
#![forbid(unsafe_code)]

use crate::mpiexec::Cores;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Below this many nanoseconds for a line one way, two processors are near, unless told otherwise.
/// Two threads of one core take 30 to 55, two cores of the machine it was chosen on 160.
pub const NEAR_BELOW_NS: f64 = 80.0;

/// How long the probe measures.
const LENGTH: Duration = Duration::from_millis(40);
/// There and back so often between two looks at the clock.
const BATCH: u64 = 500;
/// After so many looks in vain, let others run: the other thread may need this very processor.
const PATIENCE: u32 = 200_000;
/// Ends the second thread; odd, like all that it waits for.
const STOP: u64 = u64::MAX;

/// The class of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A line was quick before the run and after it.
    Near,
    /// A line was slow before and after.
    Far,
    /// The two probes differ: the machine changed meanwhile.
    Mixed,
    /// Not probed: one processor only, or not wanted.
    Unknown,
}

impl Class {
    /// From the times before and after.
    pub fn of(before: Option<f64>, after: Option<f64>, near_below: f64) -> Class {
        match (before, after) {
            (Some(before), Some(after)) => match (before < near_below, after < near_below) {
                (true, true) => Class::Near,
                (false, false) => Class::Far,
                _ => Class::Mixed,
            },
            _ => Class::Unknown,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Class::Near => "near",
            Class::Far => "far",
            Class::Mixed => "mixed",
            Class::Unknown => "unknown",
        }
    }
}

/// The first processors of the first two cores that we may use, which are those that launchers
/// bind two ranks to; two threads of one core where there is only one.
pub fn pair() -> Option<(u32, u32)> {
    let Cores(cores) = Cores::of_this_process();
    match cores.as_slice() {
        [first, second, ..] => Some((*first.first()?, *second.first()?)),
        [only] => Some((*only.first()?, *only.get(1)?)),
        [] => None,
    }
}

/// A word alone on its cache lines: neighbours would be fetched with it.
#[repr(align(128))]
struct Line(AtomicU64);

/// Nanoseconds for a line one way, the median over batches; `None` where a thread cannot be bound.
pub fn probe(pair: (u32, u32)) -> Option<f64> {
    let (line, start, unbound) = (Line(AtomicU64::new(0)), Barrier::new(2), AtomicBool::new(false));
    // Both threads are bound, or both give up; the barrier carries the news from one to the other.
    let ready = |cpu: u32| {
        if !bind(cpu) {
            unbound.store(true, Relaxed);
        }
        start.wait();
        !unbound.load(Relaxed)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| ready(pair.1).then(|| answer(&line)));
        scope.spawn(|| ready(pair.0).then(|| measure(&line))).join().ok().flatten()
    })
}

fn bind(cpu: u32) -> bool {
    let mut set = CpuSet::new();
    set.set(cpu as usize);
    sched_setaffinity(None, &set).is_ok()
}

/// Throws odd numbers, waits for the even one above. The word alone passes between the threads and
/// publishes nothing, so relaxed accesses are enough.
fn measure(line: &Line) -> f64 {
    let mut times = Vec::new();
    let mut number = 0;
    let begun = Instant::now();
    // The first batch, in which caches warm up, is not counted.
    while times.len() < 2 || begun.elapsed() < LENGTH {
        let batch = Instant::now();
        for _ in 0..BATCH {
            line.0.store(number + 1, Relaxed);
            number += 2;
            wait(line, |seen| seen == number);
        }
        times.push(batch.elapsed().as_nanos() as f64 / (2 * BATCH) as f64);
    }
    line.0.store(STOP, Relaxed);
    times.remove(0);
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn answer(line: &Line) {
    loop {
        let seen = wait(line, |seen| seen % 2 == 1);
        if seen == STOP {
            return;
        }
        line.0.store(seen + 1, Relaxed);
    }
}

fn wait(line: &Line, is_it: impl Fn(u64) -> bool) -> u64 {
    let mut looks = 0;
    loop {
        let seen = line.0.load(Relaxed);
        if is_it(seen) {
            return seen;
        }
        looks += 1;
        if looks % PATIENCE == 0 {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let of = |before: f64, after: f64| Class::of(Some(before), Some(after), 80.0);
        assert_eq!(of(30.0, 79.0), Class::Near);
        assert_eq!(of(160.0, 80.0), Class::Far);
        assert_eq!(of(30.0, 160.0), Class::Mixed);
        assert_eq!(of(160.0, 30.0), Class::Mixed);
        assert_eq!(Class::of(None, Some(30.0), 80.0), Class::Unknown);
    }

    #[test]
    fn a_line_takes_some_time() {
        let Some(pair) = pair() else { return };
        let time = probe(pair).expect("our own processors can be bound to");
        assert!(time > 1.0, "{time} ns for a cache line is too good");
    }

    #[test]
    fn a_processor_that_is_not_there_is_no_answer() {
        let Some((first, _)) = pair() else { return };
        assert_eq!(probe((first, 1023)), None);
        assert_eq!(probe((1023, first)), None);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rank 0 of a tuning run: which call next, who is still in its race, when to end.

use super::field::{Field, Task};
use super::keep;
use crate::mpi::{library_version, processor_name};
use crate::statistics::{median, median_interval};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use strait_collectives::select::tuning::race::{ROUND_SAMPLES, drop_losers, is_settled};
use strait_collectives::select::tuning::{Candidate, Record, Request, VERSION};
use strait_collectives::select::{Measured, Times};

/// How often a line says how far it is.
const TELL: Duration = Duration::from_secs(1);

/// The run.
pub struct Lead {
    record: Record,
    state: PathBuf,
    began: Instant,
    told: Instant,
    budget: Duration,
    draw: Draw,
}

impl Lead {
    pub fn new(field: &Field, request: &Request) -> Result<Lead, String> {
        let measured = Measured {
            machine: format!("{} ranks on {}", field.world.size, processor_name()),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            strait: env!("CARGO_PKG_VERSION").into(),
            library: library_version().lines().next().unwrap_or_default().into(),
        };
        let mut record = Record { version: VERSION, measured, cells: field.cells.clone() };
        if request.resume {
            record.take_over(keep::load(&request.state)?);
        } else if request.state.exists() {
            let state = request.state.display();
            return Err(format!("{state} has an earlier run: --resume goes on, or remove it"));
        }
        keep::save(&request.state, &record)?;
        Ok(Lead {
            record,
            state: request.state.clone(),
            began: Instant::now(),
            told: Instant::now(),
            budget: Duration::from_secs_f64(request.budget.clamp(0.0, 1e9)),
            draw: Draw(request.seed | 1),
        })
    }

    /// Round after round over all calls that are open, each in another order, until all are settled
    /// or the time is up. One call at least is looked at, however short the time is.
    pub fn run(&mut self, field: &Field) -> Result<(), String> {
        let result = self.rounds(field);
        field.end(result.is_ok());
        result
    }

    fn rounds(&mut self, field: &Field) -> Result<(), String> {
        loop {
            let is_open = |index: &usize| !is_settled(&self.record.cells[*index]);
            let mut open: Vec<usize> = (0..self.record.cells.len()).filter(is_open).collect();
            if open.is_empty() {
                return Ok(());
            }
            self.draw.shuffle(&mut open);
            for index in open {
                self.round(field, index)?;
                keep::save(&self.state, &self.record)?;
                self.tell(index);
                if self.began.elapsed() >= self.budget {
                    eprintln!("strait tune: the time is up; --resume goes on where it ended");
                    return Ok(());
                }
            }
        }
    }

    /// Everybody who is still in the race is measured once more.
    fn round(&mut self, field: &Field, index: usize) -> Result<(), String> {
        let all = 0..self.record.cells[index].candidates.len();
        let is_open = |at: &usize| self.record.cells[index].candidates[*at].is_open();
        let mut order: Vec<usize> = all.filter(is_open).collect();
        self.draw.shuffle(&mut order);
        for at in order {
            let is_first = self.record.cells[index].candidates[at].samples.is_empty();
            let times = field.measure(Task {
                cell: index,
                candidate: at,
                count: ROUND_SAMPLES,
                is_first,
            })?;
            add(&mut self.record.cells[index].candidates[at], &times);
        }
        drop_losers(&mut self.record.cells[index]);
        Ok(())
    }

    /// A line in a while: `strait tune` makes a bar of it where there is a terminal.
    fn tell(&mut self, index: usize) {
        if self.told.elapsed() < TELL {
            return;
        }
        self.told = Instant::now();
        let (all, cell) = (self.record.cells.len(), &self.record.cells[index]);
        let done = self.record.cells.iter().filter(|cell| is_settled(cell)).count();
        let spent = self.began.elapsed();
        let rest = self.budget.saturating_sub(spent).as_secs();
        let best = cell.best().map_or(String::new(), |(named, times)| {
            let default = cell.default_times().map_or(1.0, |default| default.us / times.us);
            format!("{named}, {:+.0} % against the default", (default - 1.0) * 100.0)
        });
        eprintln!(
            "strait tune: progress {done}/{all} settled, at most {} left, {} ranks, {} bytes: \
             {best}",
            humantime::format_duration(Duration::from_secs(rest)),
            cell.ranks,
            cell.bytes
        );
    }
}

/// Takes samples in, to the nanosecond (so short, JSON gives them back as they are), and what they
/// say.
fn add(candidate: &mut Candidate, samples: &[f64]) {
    candidate.samples.extend(samples.iter().map(|us| (us * 1e3).round() / 1e3));
    let known = median(&candidate.samples).zip(median_interval(&candidate.samples));
    candidate.times =
        known.map(|(us, (low, high))| Times { us, low, high, samples: candidate.samples.len() });
}

/// Numbers in no order (xorshift, 64 bits).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn shuffle(&mut self, list: &mut [usize]) {
        for last in (1..list.len()).rev() {
            let other = (self.next() % (last as u64 + 1)) as usize;
            list.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_list_holds_the_same_in_another_order() {
        let mut list: Vec<usize> = (0..50).collect();
        Draw(7).shuffle(&mut list);
        assert!(list.windows(2).any(|two| two[0] > two[1]));
        list.sort_unstable();
        assert_eq!(list, (0..50).collect::<Vec<_>>());
    }
}

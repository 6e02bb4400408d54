// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is measured once more: losers drop out as soon as their interval lies above the best one's,
//! and while there are many, the slower half of those that are not near the best.
#![forbid(unsafe_code)]

use super::{Candidate, Cell};

/// Samples that one round takes of each candidate.
pub const ROUND_SAMPLES: usize = 20;
/// More are not taken: what is open then is a tie.
pub const SAMPLES_MAX: usize = 400;
/// An interval so narrow, as a share of the median, needs no more samples.
pub const NARROW: f64 = 0.03;
/// While more are in the race, halves drop out.
const FEW: usize = 4;
/// So near the best, nobody drops out by a median alone.
const NEAR: f64 = 1.25;

impl Candidate {
    /// Whether it is worth another round.
    pub fn is_open(&self) -> bool {
        let is_narrow = self.times.is_some_and(|times| times.high - times.low <= NARROW * times.us);
        !self.dropped && self.samples.len() < SAMPLES_MAX && !is_narrow
    }
}

/// Drops who lost, after a round.
pub fn drop_losers(cell: &mut Cell) {
    let Some((best, least)) = cell.best() else { return };
    for candidate in &mut cell.candidates {
        let lost = candidate.times.is_some_and(|times| times.low > least.high);
        candidate.dropped |= lost && candidate.named != best;
    }
    let mut racing: Vec<(f64, usize)> = Vec::new();
    for (index, candidate) in cell.candidates.iter().enumerate() {
        if let Some(times) = candidate.times.filter(|_| !candidate.dropped) {
            racing.push((times.us, index));
        }
    }
    if racing.len() <= FEW {
        return;
    }
    racing.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (us, index) in racing.split_off(racing.len() / 2) {
        cell.candidates[index].dropped |= us > NEAR * least.us;
    }
}

/// Whether nothing is left to find out: one is left, or all that are left are known well.
pub fn is_settled(cell: &Cell) -> bool {
    let mut left = cell.candidates.iter().filter(|candidate| !candidate.dropped);
    let alone = left.clone().count() <= 1 && cell.measured().next().is_some();
    alone || left.all(|candidate| candidate.times.is_some() && !candidate.is_open())
}

#[cfg(test)]
mod tests {
    use super::super::Times;
    use super::*;
    use crate::kind::Kind;
    use crate::select::Hosts;

    fn cell(times: &[(f64, f64, f64)]) -> Cell {
        let mut cell = Cell::new(Kind::Alltoall, 17, Hosts::One, 8);
        cell.candidates.truncate(times.len());
        assert_eq!(cell.candidates.len(), times.len(), "alltoall has so many variants");
        for (candidate, (low, us, high)) in cell.candidates.iter_mut().zip(times) {
            candidate.times = Some(Times { us: *us, low: *low, high: *high, samples: 20 });
            candidate.samples = vec![*us; 20];
        }
        cell
    }

    fn dropped(cell: &Cell) -> Vec<bool> {
        cell.candidates.iter().map(|candidate| candidate.dropped).collect()
    }

    #[test]
    fn only_clear_losers_drop_out() {
        let mut race = cell(&[(9.0, 10.0, 12.0), (11.0, 14.0, 15.0), (12.5, 13.0, 14.0)]);
        drop_losers(&mut race);
        assert_eq!(dropped(&race), [false, false, true]);
        assert!(!is_settled(&race));
        race.candidates[1].dropped = true;
        assert!(is_settled(&race), "one is left");
    }

    #[test]
    fn what_is_known_well_or_sampled_enough_is_settled() {
        let mut race = cell(&[(9.9, 10.0, 10.1), (10.0, 10.1, 10.2)]);
        assert!(is_settled(&race), "a tie of narrow intervals");
        race.candidates[1].times = Some(Times { us: 10.1, low: 9.0, high: 12.0, samples: 20 });
        assert!(!is_settled(&race));
        race.candidates[1].samples = vec![10.1; SAMPLES_MAX];
        assert!(is_settled(&race));
        race.candidates[1].times = None;
        assert!(!is_settled(&race), "nobody who was not measured is settled");
    }

    #[test]
    fn halves_drop_out_while_there_are_many() {
        let wide = |us: f64| (1.0, us, 100.0);
        let mut race = cell(&[wide(10.0), wide(11.0), wide(12.0), wide(20.0), wide(12.4)]);
        drop_losers(&mut race);
        assert_eq!(dropped(&race), [false, false, false, true, false]);
        drop_losers(&mut race);
        assert_eq!(dropped(&race), [false, false, false, true, false], "few stay");
    }
}

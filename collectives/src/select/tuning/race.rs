// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is measured once more: losers drop out as soon as their interval lies above the best one's,
//! and while there are many, the slower half of those that are not near the best.
#![forbid(unsafe_code)]

use super::{Candidate, Cell};

/// Samples that one round takes of each candidate.
pub const ROUND_SAMPLES: usize = 20;
/// Nobody drops out, and nothing counts as known, before so many: two rounds, apart in time, so
/// that one disturbance does not decide.
pub const SAMPLES_MIN: usize = 2 * ROUND_SAMPLES;
/// The shipped choice stays in longer: all others are compared with it.
const SAMPLES_OF_DEFAULT: usize = 4 * ROUND_SAMPLES;
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
        let is_known = is_narrow && self.samples.len() >= SAMPLES_MIN;
        !self.dropped && self.samples.len() < SAMPLES_MAX && !is_known
    }
}

/// Drops who lost, after a round.
pub fn drop_losers(cell: &mut Cell) {
    let Some((best, least)) = cell.best() else { return };
    let default = cell.default;
    let may_drop = |candidate: &Candidate| {
        let least = if candidate.named == default { SAMPLES_OF_DEFAULT } else { SAMPLES_MIN };
        candidate.samples.len() >= least
    };
    for candidate in cell.candidates.iter_mut().filter(|one| may_drop(one)) {
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
        let candidate = &mut cell.candidates[index];
        candidate.dropped |= us > NEAR * least.us && may_drop(candidate);
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
        let mut cell = Cell::new(Kind::Alltoall, 130, Hosts::One, 8);
        cell.candidates.truncate(times.len());
        assert_eq!(cell.candidates.len(), times.len(), "alltoall has so many variants");
        for (candidate, (low, us, high)) in cell.candidates.iter_mut().zip(times) {
            candidate.times = Some(Times { us: *us, low: *low, high: *high, samples: 80 });
            candidate.samples = vec![*us; 80];
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
    fn one_round_decides_nothing_and_the_default_stays_longer() {
        let mut race = cell(&[(9.0, 10.0, 11.0), (20.0, 21.0, 22.0), (20.0, 21.0, 22.0)]);
        race.default = race.candidates[1].named;
        race.candidates[1].samples.truncate(SAMPLES_MIN);
        race.candidates[2].samples.truncate(ROUND_SAMPLES);
        drop_losers(&mut race);
        assert_eq!(dropped(&race), [false, false, false]);
        race.candidates[2].samples = vec![21.0; SAMPLES_MIN];
        drop_losers(&mut race);
        assert_eq!(dropped(&race), [false, false, true]);
        race.candidates[1].samples = vec![21.0; SAMPLES_OF_DEFAULT];
        drop_losers(&mut race);
        assert_eq!(dropped(&race), [false, true, true]);
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Few numbers from some numbers: median, band, geometric mean.
#![forbid(unsafe_code)]

use serde::Serialize;

/// From so many runs on, the band is the quartiles; below, the least and the most are all there is.
pub const QUARTILES_FROM: usize = 4;

/// What a band is, so that nobody has to guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// First to third quartile over runs.
    Quartiles,
    /// Least to most over runs, which are fewer than `QUARTILES_FROM`.
    Extremes,
    /// One run only: the program's own 95 % interval over its samples.
    Interval,
    /// One run, and nothing known about its spread.
    None,
}

/// The middle of some values and a band around it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Summary {
    pub runs: usize,
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub band: Band,
}

impl Summary {
    /// Of at least one value. `interval` is what the program itself said of its only run.
    pub fn of(values: &[f64], interval: Option<(f64, f64)>) -> Option<Summary> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let median = quantile(&sorted, 0.5);
        let (low, high, band) = match (sorted.len(), interval) {
            (1, Some((low, high))) => (low.min(median), high.max(median), Band::Interval),
            (1, None) => (median, median, Band::None),
            (runs, _) if runs < QUARTILES_FROM => (least, most, Band::Extremes),
            _ => (quantile(&sorted, 0.25), quantile(&sorted, 0.75), Band::Quartiles),
        };
        Some(Summary { runs: sorted.len(), median, low, high, band })
    }

    /// Whether the bands have a value in common.
    pub fn overlaps(&self, other: &Summary) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// The value below which the share `part` of the sorted values lies, between neighbours by
/// proportion.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// Of positive values; `None` of none.
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value.ln();
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0], None).unwrap();
        assert_eq!((summary.median, summary.low, summary.high), (2.5, 1.75, 3.25));
        assert_eq!((summary.runs, summary.band), (4, Band::Quartiles));
        let five = Summary::of(&[10.0, 50.0, 20.0, 40.0, 1000.0], None).unwrap();
        assert_eq!((five.median, five.low, five.high), (40.0, 20.0, 50.0));
    }

    #[test]
    fn few_runs_show_their_extremes() {
        let three = Summary::of(&[5.0, 1.0, 2.0], Some((0.0, 9.0))).unwrap();
        assert_eq!((three.median, three.low, three.high), (2.0, 1.0, 5.0));
        assert_eq!(three.band, Band::Extremes);
        let one = Summary::of(&[5.0], Some((4.0, 7.0))).unwrap();
        assert_eq!((one.low, one.high, one.band), (4.0, 7.0, Band::Interval));
        let bare = Summary::of(&[5.0], None).unwrap();
        assert_eq!((bare.low, bare.high, bare.band), (5.0, 5.0, Band::None));
        assert_eq!(Summary::of(&[], None), None);
    }

    #[test]
    fn bands_that_touch_overlap() {
        let of = |low: f64, high: f64| Summary::of(&[low, high], None).unwrap();
        assert!(of(1.0, 2.0).overlaps(&of(2.0, 3.0)));
        assert!(of(0.0, 9.0).overlaps(&of(2.0, 3.0)));
        assert!(!of(1.0, 2.0).overlaps(&of(2.1, 3.0)));
    }

    #[test]
    fn the_geometric_mean_of_ratios() {
        let mean = geometric_mean([0.5, 2.0]).unwrap();
        assert!((mean - 1.0).abs() < 1e-12);
        assert!((geometric_mean([8.0, 2.0, 4.0]).unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(geometric_mean([]), None);
    }
}

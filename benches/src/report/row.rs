// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One line of results, condensed from the passes over one case.
#![forbid(unsafe_code)]

use crate::benchmark::{Benchmark, Family, Measured};
use crate::datatype::Type;
use crate::options::Options;
use crate::statistics::{mean, median, median_interval, percentiles};

/// Percentiles that JSON and CSV have if single operations were timed.
const USUAL: [u32; 3] = [50, 90, 99];

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// None if the benchmark has no messages.
    pub size: Option<usize>,
    pub datatype: Type,
    /// One for each column of the benchmark.
    pub values: Vec<f64>,
    pub least: Option<f64>,
    pub most: Option<f64>,
    /// Timed iterations, all passes together.
    pub iterations: usize,
    /// The first column's value in each pass.
    pub samples: Vec<f64>,
    /// Of single operations.
    pub percentiles: Vec<(u32, f64)>,
    pub median: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub valid: Option<bool>,
}

impl Row {
    /// `passes` are those whose means count; `singles` those whose single times do.
    pub fn new(
        benchmark: &Benchmark,
        options: &Options,
        (size, datatype): (usize, Type),
        iterations: usize,
        passes: &[Measured],
        singles: Option<&Measured>,
    ) -> Row {
        let value = |column: usize| {
            mean(&passes.iter().map(|pass| pass.values[column]).collect::<Vec<_>>())
        };
        let samples: Vec<f64> =
            passes.iter().filter_map(|pass| pass.values.first().copied()).collect();
        let of_ranks = matches!(benchmark.family, Family::Collective | Family::Startup);
        let extremes: Vec<&Measured> =
            if of_ranks { passes.iter().collect() } else { singles.into_iter().collect() };
        let percents =
            if options.percentiles.is_empty() { &USUAL[..] } else { &options.percentiles };
        let singles = singles.map_or(&[][..], |pass| &pass.singles);
        let valid = options.validate.then(|| passes.iter().all(|pass| pass.valid));
        Row {
            size: benchmark.sized.then_some(size),
            datatype,
            values: (0..benchmark.columns.len()).map(value).collect(),
            least: extremes.iter().map(|pass| pass.least).reduce(f64::min),
            most: extremes.iter().map(|pass| pass.most).reduce(f64::max),
            iterations,
            median: if samples.len() > 1 { median(&samples) } else { None },
            interval: median_interval(&samples),
            samples,
            percentiles: percents.iter().copied().zip(percentiles(singles, percents)).collect(),
            valid,
        }
    }

    pub fn percentile(&self, percent: u32) -> Option<f64> {
        self.percentiles.iter().find(|(p, _)| *p == percent).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::all;

    fn pass(value: f64, valid: bool) -> Measured {
        Measured { values: vec![value], least: value, most: value, singles: vec![], valid }
    }

    #[test]
    fn passes_are_condensed() {
        let benchmark = all().into_iter().find(|b| b.program == "osu_latency").unwrap();
        let options = Options { validate: true, ..Options::default() };
        let passes = [pass(1.0, true), pass(3.0, true), pass(2.0, true)];
        let singles =
            Measured { least: 0.5, most: 9.0, singles: vec![0.5, 9.0], ..passes[0].clone() };
        let case = (8, Type::Char);
        let row = Row::new(&benchmark, &options, case, 30, &passes, Some(&singles));
        assert_eq!((row.size, row.values[0], row.median), (Some(8), 2.0, Some(2.0)));
        assert_eq!((row.least, row.most), (Some(0.5), Some(9.0)));
        assert_eq!(row.percentile(99), Some(9.0));
        assert_eq!((row.samples.len(), row.interval, row.valid), (3, None, Some(true)));
    }

    #[test]
    fn one_bad_pass_spoils_the_row() {
        let benchmark = all().into_iter().find(|b| b.program == "osu_allreduce").unwrap();
        let options = Options { validate: true, ..Options::default() };
        let passes = [pass(1.0, true), pass(1.0, false)];
        let row = Row::new(&benchmark, &options, (8, Type::Int), 2, &passes, None);
        assert_eq!(row.valid, Some(false));
        let row = Row::new(&benchmark, &Options::default(), (8, Type::Int), 2, &passes, None);
        assert_eq!((row.valid, row.percentile(50)), (None, None));
    }
}

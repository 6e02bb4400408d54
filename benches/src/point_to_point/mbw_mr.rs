// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_mbw_mr`: megabytes and messages a second of all pairs together, each pair doing what
//! `osu_bw` does. The first half of the ranks sends, rank i to rank i + pairs: whether a pair
//! shares a host is up to the placement, which should be in blocks.
//!
//! Not measured: a single pair's share, nor how uneven the shares are; the time is the mean of
//! the pairs'.

use super::bandwidth::OneWay;
use super::exchange::{Exchange, Setting, measure};
use super::pairs;
use crate::benchmark::{Benchmark, Column, Family, Ranks};

/// The windows that `-V` goes through.
pub const WINDOWS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

const COLUMNS: &[Column] =
    &[Column::more("bandwidth", "MB/s", "MB/s"), Column::more("rate", "Messages/s", "Messages/s")];

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Multiple Bandwidth / Message Rate Test";
    Benchmark {
        ranks: Ranks::AtLeastTwo,
        columns: COLUMNS,
        notes: |options, ranks| {
            let window = if options.vary_window { "varied" } else { &options.window.to_string() };
            let pairs = pairs(options, ranks);
            [String::new(), format!("# [ pairs: {pairs} ] [ window size: {window} ]\n")]
        },
        ..Benchmark::new("osu_mbw_mr", title, Family::MessageRate, measure::<Rate>)
    }
}

struct Rate(OneWay);

impl Exchange for Rate {
    fn new(setting: &Setting) -> Rate {
        Rate(OneWay::new(setting))
    }

    #[inline]
    fn turn(&mut self) {
        self.0.turn();
    }

    fn fill(&mut self, round: u64) {
        self.0.fill(round);
    }

    fn holds(&self, round: u64) -> bool {
        self.0.holds(round)
    }

    fn values(setting: &Setting, seconds: f64) -> Vec<f64> {
        let messages = (setting.window * setting.pairs) as f64;
        vec![setting.bandwidth(seconds, 1), messages / seconds]
    }
}

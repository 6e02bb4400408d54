// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Benchmarks between two ranks, or between pairs of ranks at the same time.
//!
//! Each is an [`exchange::Exchange`]: what one turn does, and what bytes it should have moved.
//! How turns are timed is written once, in [`exchange`].

mod bandwidth;
mod bandwidth_persistent;
mod bibw;
mod bibw_persistent;
pub mod exchange;
mod latency;
mod latency_mt;
mod latency_persistent;
mod mbw_mr;
mod multi_lat;
mod window;

use crate::benchmark::Benchmark;

pub use mbw_mr::WINDOWS;

pub fn all() -> Vec<Benchmark> {
    vec![
        latency::benchmark(),
        bandwidth::benchmark(),
        bibw::benchmark(),
        mbw_mr::benchmark(),
        multi_lat::benchmark(),
        latency_mt::benchmark(),
        latency_persistent::benchmark(),
        bandwidth_persistent::benchmark(),
        bibw_persistent::benchmark(),
    ]
}

/// How many pairs these ranks make: ranks below it send to those above.
pub fn pairs(options: &crate::options::Options, ranks: usize) -> usize {
    options.pairs.unwrap_or(ranks / 2)
}

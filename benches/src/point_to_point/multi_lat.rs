// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_multi_lat`: as `osu_latency`, in all pairs at the same time; the mean of the pairs.
//! Rank i of the first half plays with rank i + half.
//!
//! Not measured: how uneven the pairs are.

use super::exchange::measure;
use super::latency::PingPong;
use crate::benchmark::{Benchmark, Family, Ranks};

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Multi Latency Test";
    Benchmark {
        ranks: Ranks::Even,
        ..Benchmark::new("osu_multi_lat", title, Family::Latency, measure::<PingPong>)
    }
}

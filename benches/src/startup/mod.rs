// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs about the start of a job.
#![forbid(unsafe_code)]

mod hello;
mod init;

use crate::benchmark::Benchmark;

pub fn all() -> Vec<Benchmark> {
    vec![init::benchmark(), hello::benchmark()]
}

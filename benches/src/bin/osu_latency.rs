// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_latency`: see `strait_benches::latency`.

use std::process::ExitCode;
use strait_benches::latency::LATENCY;
use strait_benches::table;

fn main() -> ExitCode {
    table::main(&LATENCY)
}

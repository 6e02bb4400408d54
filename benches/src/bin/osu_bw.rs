// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_bw`: see `strait_benches::bandwidth`.

use std::process::ExitCode;
use strait_benches::bandwidth::BANDWIDTH;
use strait_benches::table;

fn main() -> ExitCode {
    table::main(&BANDWIDTH)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All `osu_*` programs in one: the name that it is called by, or its first argument, says which.

use std::process::ExitCode;

fn main() -> ExitCode {
    strait_benches::run::main()
}

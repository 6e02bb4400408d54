// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ranks of `strait tune`.

use std::process::ExitCode;

fn main() -> ExitCode {
    strait_benches::tune::main()
}

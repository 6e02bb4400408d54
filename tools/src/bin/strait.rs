// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The strait command.

fn main() -> std::process::ExitCode {
    strait_tools::strait::main()
}

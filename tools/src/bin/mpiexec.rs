// SPDX-License-Identifier: Apache-2.0 OR MIT
//! mpiexec and mpirun: one program under two names.

fn main() -> std::process::ExitCode {
    strait_tools::mpiexec::main(std::env::args_os().skip(1).collect())
}

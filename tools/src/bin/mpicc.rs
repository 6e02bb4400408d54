// SPDX-License-Identifier: Apache-2.0 OR MIT
//! mpicc, mpicxx and mpifort: one program under three names.

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_else(|| "mpicc".into());
    strait_tools::wrapper::main(&name, args.collect())
}

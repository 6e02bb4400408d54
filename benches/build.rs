// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes a stub of `libmpi_abi` to link against, so that the benchmarks are ordinary programs of
//! the C ABI: at run time they take the library that mpiexec names, or the one beside them.
//!
//! The stub has the functions that `src/mpi/raw.rs` names.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use strait_abi_table::stub;

const DECLARATIONS: &str = "src/mpi/raw.rs";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={DECLARATIONS}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let declarations = fs::read_to_string(DECLARATIONS).expect("the declarations are there");
    let functions = functions(&declarations).into_iter();
    stub::make(functions, "the benchmarks", &out).expect("a stub to link against");
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=dylib=mpi_abi");
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib");
    println!("cargo:rustc-link-arg-bins=-Wl,--enable-new-dtags");
}

/// Every name of the form `MPI_Word...` outside comments: functions, since constants have
/// capitals only and no prefix there.
fn functions(declarations: &str) -> BTreeSet<&str> {
    let code = declarations.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with("MPI_"))
        .collect()
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes a stub of `libmpi_abi` to link against, so that the benchmarks are ordinary programs of
//! the C ABI: at run time they take the library that mpiexec names, or the one beside them.
//!
//! The stub has the SONAME of the real library and the functions that `src/mpi.rs` declares. It
//! must never run: each function says so and aborts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What `src/mpi.rs` declares.
const FUNCTIONS: &[&str] = &[
    "MPI_Init",
    "MPI_Finalize",
    "MPI_Comm_rank",
    "MPI_Comm_size",
    "MPI_Wtime",
    "MPI_Barrier",
    "MPI_Send",
    "MPI_Recv",
    "MPI_Isend",
    "MPI_Irecv",
    "MPI_Waitall",
    "MPI_Abort",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let source = out.join("stub.c");
    fs::write(&source, stub()).expect("OUT_DIR is writable");
    // The second name is the one that the loader of a unit test looks for.
    let names = ["libmpi_abi.so", "libmpi_abi.so.1"];
    names.iter().for_each(|name| compile(&source, &out.join(name)));
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=dylib=mpi_abi");
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib");
    println!("cargo:rustc-link-arg-bins=-Wl,--enable-new-dtags");
}

fn stub() -> String {
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n");
    for name in FUNCTIONS {
        text.push_str(&format!(
            "int {name}(void) {{\n    fputs(\"{name}: this is the stub that benchmarks are linked \
             against; start them with mpiexec\\n\", stderr);\n    abort();\n}}\n"
        ));
    }
    text
}

fn compile(source: &Path, library: &Path) {
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-Wl,-soname,libmpi_abi.so.1", "-o"])
        .arg(library)
        .arg(source)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} failed on the link stub: {status}", compiler.display()),
        Err(error) => panic!("cannot run {}: {error}; install gcc", compiler.display()),
    }
}

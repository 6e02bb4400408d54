// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes a stub of `libmpi_abi` to link against, so that the benchmarks are ordinary programs of
//! the C ABI: at run time they take the library that mpiexec names, or the one beside them.
//!
//! The stub has the SONAME of the real library and the functions that `src/mpi/raw.rs` names. It
//! must never run: each function says so and aborts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const DECLARATIONS: &str = "src/mpi/raw.rs";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={DECLARATIONS}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let source = out.join("stub.c");
    let declarations = fs::read_to_string(DECLARATIONS).expect("the declarations are there");
    fs::write(&source, stub(&functions(&declarations))).expect("OUT_DIR is writable");
    // The second name is the one that the loader of a unit test looks for.
    let names = ["libmpi_abi.so", "libmpi_abi.so.1"];
    names.iter().for_each(|name| compile(&source, &out.join(name)));
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

fn stub(functions: &BTreeSet<&str>) -> String {
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n");
    for name in functions {
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

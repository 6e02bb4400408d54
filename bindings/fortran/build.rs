// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes the exported routines, and links the library with one that has the C functions.

use std::path::PathBuf;
use std::{env, error::Error, fs};

use strait_abi_table::{Face, fortran, stub};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("exports.rs"), fortran::generate_shim())?;
    let functions = Face::Standard.symbols();
    stub::make(functions.iter().map(String::as_str), "the Fortran library", &out)?;
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=dylib=mpi_abi");
    for argument in ["-soname,libstrait_fortran.so.1", "-rpath,$ORIGIN", "--enable-new-dtags"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{argument}");
    }
    Ok(())
}

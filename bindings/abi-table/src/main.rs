// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes what is generated and committed: `bindings/include/mpi.h`, `mpi-ext.h` beside it, and
//! `docs/mpi-coverage.md`.
//! With `fortran DIR` it writes there what a Fortran compiler reads: modules and mpif.h.
//! With `signature NAME...` it prints the heads that generic bodies must have instead.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use strait_abi_table::export::Face;
use strait_abi_table::{
    fortran, generate_coverage, generate_extensions, generate_header, implemented, signature,
};

fn main() -> io::Result<()> {
    let mut words = env::args().skip(1);
    match words.next().as_deref() {
        None => write_all(),
        Some("fortran") => match words.next() {
            Some(folder) => write_fortran(Path::new(&folder)),
            None => Err(io::Error::other("fortran: expected the directory to write to")),
        },
        Some("signature") => {
            print_signatures(&words.collect::<Vec<_>>());
            Ok(())
        }
        Some(word) => Err(io::Error::other(format!(
            "{word}: expected nothing, `fortran DIR` or `signature NAME`"
        ))),
    }
}

fn write_all() -> io::Result<()> {
    let bindings: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = implemented(&bindings.join("mpi/src/api"))?;
    fs::create_dir_all(bindings.join("include"))?;
    fs::create_dir_all(bindings.join("../docs"))?;
    fs::write(bindings.join("include/mpi.h"), generate_header())?;
    fs::write(bindings.join("include/mpi-ext.h"), generate_extensions())?;
    fs::write(bindings.join("../docs/mpi-coverage.md"), generate_coverage(&done))
}

fn write_fortran(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in fortran::generate_all() {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn print_signatures(names: &[String]) {
    let functions = Face::Mpich.functions();
    for name in names {
        match functions.iter().find(|function| function.name == *name) {
            Some(function) => println!("{}", signature::body_head(function)),
            None => println!("// {name}: no such function"),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes the exported functions of this face and names the library.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use strait_abi_table::{Face, generate_exports, implemented};

fn main() -> Result<(), Box<dyn Error>> {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mpi/src/api");
    println!("cargo:rerun-if-changed={}", api.display());
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libmpi_abi.so.1");
    let text = generate_exports(Face::Standard, &implemented(&api)?);
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("exports.rs"), text)?;
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What Fortran programs include and use: written by strait-abi-table, compiled by the gfortran
//! that is there.
//!
//! Invariant: modules are compiled again when their text or the compiler changed, and only then.

use crate::places::Places;
use crate::process::Task;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each after those that it uses.
pub const MODULES: [&str; 3] = ["strait_types", "mpi", "mpi_f08"];
/// What programs without modules include.
pub const INCLUDE: &str = "mpif.h";
/// Whose modules they are.
const COMPILER: &str = "gfortran";
/// What was compiled, and by what.
const STAMP: &str = "compiled";

/// What was made.
pub struct Made {
    /// Where it lies.
    pub dir: PathBuf,
    /// Why there are no modules, if there are none.
    pub without: Option<String>,
}

/// Writes the sources, and compiles them if there is a compiler.
pub fn make(places: &Places) -> Result<Made, String> {
    let dir = places.scratch().join("fortran-modules");
    Task::new(places.target.join("tools/strait-abi-table"))
        .arg("fortran")
        .arg(&dir)
        .limit(60)
        .run_visible()?;
    let without = match compiler() {
        Ok(version) => {
            compile(&dir, &version)?;
            None
        }
        Err(why) => Some(why),
    };
    Ok(Made { dir, without })
}

/// The compiler's name for itself.
fn compiler() -> Result<String, String> {
    compiler_in(std::env::var_os("PATH").unwrap_or_default())
}

/// The same where these directories are searched.
pub fn compiler_in(path: impl AsRef<OsStr>) -> Result<String, String> {
    let found = std::env::split_paths(&path).map(|dir| dir.join(COMPILER)).find(|p| p.is_file());
    let Some(found) = found else {
        return Err(format!("there is no {COMPILER} in PATH; install it, then install again"));
    };
    let outcome = Task::new(found).arg("--version").limit(60).run()?;
    match outcome.success() {
        true => Ok(outcome.out.lines().next().unwrap_or_default().to_string()),
        false => Err(outcome.describe()),
    }
}

fn compile(dir: &Path, version: &str) -> Result<(), String> {
    let mut state = format!("{version}\n");
    for name in MODULES {
        let path = dir.join(format!("{name}.f90"));
        state += &fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let stamp = dir.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|old| old == state) {
        return Ok(());
    }
    for name in MODULES {
        let source = format!("{name}.f90");
        let task = Task::new(COMPILER).args(["-fsyntax-only", "-Wall", "-Werror", &source]);
        task.dir(dir).limit(300).run_visible()?;
    }
    fs::write(&stamp, state).map_err(|e| format!("{}: {e}", stamp.display()))
}

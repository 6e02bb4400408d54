// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What Fortran programs include and use: written by strait-abi-table, compiled by the gfortran
//! that is there.
//!
//! Invariant: modules are compiled again when their text or the compiler changed, and only then.

use crate::places::Places;
use crate::process::{Task, in_path};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each after those that it uses.
pub const MODULES: [&str; 3] = ["strait_types", "mpi", "mpi_f08"];
/// What programs without modules include.
pub const INCLUDE: &str = "mpif.h";
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
    if !in_path("gfortran") {
        return Err("there is no gfortran in PATH".into());
    }
    let outcome = Task::new("gfortran").arg("--version").limit(60).run()?;
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
        let task = Task::new("gfortran").args(["-fsyntax-only", "-Wall", "-Werror", &source]);
        task.dir(dir).limit(300).run_visible()?;
    }
    fs::write(&stamp, state).map_err(|e| format!("{}: {e}", stamp.display()))
}

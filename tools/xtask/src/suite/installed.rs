// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The installed tree is complete, and works from another place after `mv`.

use super::{Suite, Tally};
use crate::process::{Outcome, Task};
use std::fs;
use std::path::{Path, PathBuf};

const FILES: &[&str] = &[
    "bin/mpiexec",
    "bin/mpirun",
    "bin/mpicc",
    "bin/mpicxx",
    "bin/mpifort",
    "bin/strait",
    "lib/libmpi_abi.so.1",
    "lib/libmpi_abi.so",
    "lib/libmpi.so.12",
    "lib/libstrait_fortran.so.1",
    "lib/libstrait_fortran.so",
    "include/mpi.h",
    "include/mpif.h",
    "share/strait/fortran/mpi_f08.f90",
    "lib/pkgconfig/strait.pc",
    "lib/pkgconfig/mpi_abi.pc",
    "lib/pkgconfig/strait_fortran.pc",
    "share/doc/strait/README.md",
];

const PROGRAM: &str = "\
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
    int rank, sum = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) printf(\"sum %d\\n\", sum);
    MPI_Finalize();
    return 0;
}
";

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    for name in FILES {
        let there = suite.places.prefix().join(name).exists();
        tally.record(name, if there { Ok(()) } else { Err("missing".into()) });
    }
    tally.record("no unversioned libmpi.so", absent(&suite.places.prefix().join("lib/libmpi.so")));
    let moved = moved_tree(suite)?;
    tally.record("no text names the first place", no_text_names(&moved, &suite.places.prefix()));
    for (name, check) in CHECKS {
        tally.record(name, check(&moved));
    }
    let _ = fs::remove_dir_all(moved.parent().unwrap_or(&moved));
    Ok(tally)
}

/// Something that must work in the moved tree.
type Check = fn(&Path) -> Result<(), String>;

const CHECKS: &[(&str, Check)] = &[
    ("mpicc and mpiexec after mv", compile_and_run),
    ("mpicxx after mv", compile_cxx),
    ("pkg-config after mv", package_config),
    ("mpicc -show after mv", show),
    ("mpirun of a program without MPI after mv", plain_program),
    ("a profiler that is linked", linked_profiler),
    ("a profiler that is preloaded", preloaded_profiler),
];

const PROFILER: &str = include_str!("../../../../bindings/tests/c/profiler/profiler.c");
/// What the program says, and then the profiler.
const PROFILED: &str = "sum 0\nrank 0: 0 sends, 1 reductions\n";

/// The profiler's source beside the program's.
fn profiler(moved: &Path) -> Result<PathBuf, String> {
    let source = moved.with_file_name("profiler.c");
    fs::write(&source, PROFILER).map_err(|e| e.to_string())?;
    Ok(source)
}

fn linked_profiler(moved: &Path) -> Result<(), String> {
    let binary = moved.with_file_name("program-profiled");
    let compile = Task::new(moved.join("bin/mpicc")).arg("-o").arg(&binary);
    let compile = compile.arg(moved.with_file_name("program.c")).arg(profiler(moved)?);
    expect(compile.limit(60).run()?, "")?;
    expect(
        Task::new(moved.join("bin/mpiexec")).args(["-n", "1"]).arg(&binary).limit(30).run()?,
        PROFILED,
    )
}

fn preloaded_profiler(moved: &Path) -> Result<(), String> {
    let library = moved.with_file_name("profiler.so");
    let compile = Task::new(moved.join("bin/mpicc")).args(["-shared", "-fPIC", "-o"]);
    let compile = compile.arg(&library).arg(profiler(moved)?);
    expect(compile.limit(60).run()?, "")?;
    let preload = format!("LD_PRELOAD={}", library.display());
    let task = Task::new(moved.join("bin/mpiexec")).args(["-n", "1", "env", preload.as_str()]);
    expect(task.arg(moved.with_file_name("program")).limit(30).run()?, PROFILED)
}

/// A copy of the tree under one name, then `mv` to another: nothing may remember the first.
fn moved_tree(suite: &Suite) -> Result<PathBuf, String> {
    let dir = suite.places.scratch().join("moved");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let (first, second) = (dir.join("first"), dir.join("second place"));
    Task::new("cp").arg("-a").arg(suite.places.prefix()).arg(&first).run_visible()?;
    fs::rename(&first, &second).map_err(|e| format!("mv: {e}"))?;
    fs::write(dir.join("program.c"), PROGRAM).map_err(|e| e.to_string())?;
    Ok(second)
}

fn absent(path: &Path) -> Result<(), String> {
    if path.exists() { Err("must not be there".into()) } else { Ok(()) }
}

fn no_text_names(dir: &Path, prefix: &Path) -> Result<(), String> {
    let place = prefix.to_string_lossy();
    for sub in ["bin", "include", "lib/pkgconfig"] {
        for entry in fs::read_dir(dir.join(sub)).map_err(|e| e.to_string())?.flatten() {
            let Ok(text) = fs::read_to_string(entry.path()) else { continue };
            if text.contains(place.as_ref()) {
                return Err(format!("{} contains {place}", entry.path().display()));
            }
        }
    }
    Ok(())
}

fn compile_and_run(moved: &Path) -> Result<(), String> {
    let source = moved.with_file_name("program.c");
    let binary = moved.with_file_name("program");
    let compile = Task::new(moved.join("bin/mpicc")).arg("-o").arg(&binary).arg(source);
    expect(compile.limit(60).run()?, "")?;
    expect(
        Task::new(moved.join("bin/mpiexec")).args(["-n", "3"]).arg(&binary).limit(30).run()?,
        "sum 3\n",
    )?;
    // Without a launcher the program is rank 0 of 1; mpicc's rpath finds the library.
    expect(Task::new(&binary).limit(30).run()?, "sum 0\n")
}

fn compile_cxx(moved: &Path) -> Result<(), String> {
    let source = moved.with_file_name("program.cpp");
    fs::write(&source, PROGRAM).map_err(|e| e.to_string())?;
    let binary = moved.with_file_name("program-cxx");
    let compile = Task::new(moved.join("bin/mpicxx")).arg("-o").arg(&binary).arg(source);
    expect(compile.limit(60).run()?, "")?;
    expect(
        Task::new(moved.join("bin/mpirun")).args(["-np", "2"]).arg(&binary).limit(30).run()?,
        "sum 1\n",
    )
}

fn package_config(moved: &Path) -> Result<(), String> {
    let outcome = Task::new("pkg-config")
        .args(["--cflags", "--libs", "mpi_abi", "strait"])
        .env("PKG_CONFIG_PATH", moved.join("lib/pkgconfig"))
        .run()?;
    if !outcome.success() {
        return Err(outcome.describe());
    }
    // pkg-config escapes the blank of the directory's name.
    let place = outcome.out.replace('\\', "");
    let wanted = [moved.to_string_lossy().into_owned(), "-lmpi_abi".into(), "include".into()];
    match wanted.iter().find(|word| !place.contains(word.as_str())) {
        Some(word) => Err(format!("`{word}` is not in: {}", outcome.out.trim())),
        None => Ok(()),
    }
}

fn show(moved: &Path) -> Result<(), String> {
    let outcome = Task::new(moved.join("bin/mpicc")).args(["-show", "x.c"]).run()?;
    let good = outcome.success()
        && outcome.out.contains("-lmpi_abi")
        && outcome.out.contains(&*moved.to_string_lossy());
    if good { Ok(()) } else { Err(outcome.describe()) }
}

fn plain_program(moved: &Path) -> Result<(), String> {
    let task = Task::new(moved.join("bin/mpirun")).args(["-n", "2", "echo", "plain"]);
    expect(task.limit(30).run()?, "plain\nplain\n")
}

fn expect(outcome: Outcome, out: &str) -> Result<(), String> {
    if outcome.success() && outcome.out == out {
        return Ok(());
    }
    Err(format!("expected {out:?}: {}", outcome.describe()))
}

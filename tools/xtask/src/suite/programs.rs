// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The C programs of `bindings/tests/c`: each checks itself and says `ok` from rank 0.
//!
//! A program may limit where it runs, by comments in its first lines:
//!     // ranks: 2 3 4        instead of 1 2 3 4 7
//!     // seconds: 120        instead of 60, after which the watchdog ends it
//!     // Ours only: ...       checks a promise of Strait; not run `--with` another library

use super::cases::{self, Case};
use super::{Lanes, Suite, Tally};
use crate::process::Task;
use std::fs;
use std::path::{Path, PathBuf};

const RANKS: &[usize] = &[1, 2, 3, 4, 7];

pub struct Program {
    pub name: String,
    source: PathBuf,
    pub binary: PathBuf,
    pub ranks: Vec<usize>,
    pub seconds: u64,
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    let built = built(suite, &mut tally)?;
    let mut list = Vec::new();
    for lanes in suite.lanes() {
        for program in &built {
            for ranks in &program.ranks {
                list.push(case(suite, program, *ranks, *lanes));
            }
        }
    }
    if suite.foreign.is_none() {
        list.extend(turned(suite, &built));
    }
    cases::run(&list, 2, &mut tally);
    Ok(tally)
}

/// Each program once more on each lane, with ranks in the reverse order of the processes.
fn turned<'a>(suite: &'a Suite, built: &'a [Program]) -> Vec<Case<'a>> {
    let mut list = Vec::new();
    for lanes in suite.lanes() {
        for program in built {
            let some = program.ranks.iter().copied().filter(|ranks| (2..=4).contains(ranks)).max();
            let name = format!("{} np={} {} turned", program.name, some.unwrap_or(0), lanes.name());
            list.extend(some.map(|ranks| {
                Case::new(name, move || {
                    let task = suite.mpiexec(ranks, *lanes).env("STRAIT_TEST_ORDER", "reverse");
                    task.arg(&program.binary).limit(program.seconds).run()?.says("ok\n")
                })
            }));
        }
    }
    list
}

/// The programs that can be compiled; those that cannot are failures.
pub fn built(suite: &Suite, tally: &mut Tally) -> Result<Vec<Program>, String> {
    let mut built = Vec::new();
    for program in find(suite)? {
        match compile(suite, &program.source, &program.binary) {
            Ok(()) => built.push(program),
            Err(why) => tally.fail(format!("{}: {why}", program.name)),
        }
    }
    Ok(built)
}

fn case<'a>(suite: &'a Suite, program: &'a Program, ranks: usize, lanes: Lanes) -> Case<'a> {
    let name = format!("{} np={ranks} {}", program.name, lanes.name());
    let log = suite.places.scratch().join("log/c").join(name.replace(' ', "-"));
    Case::new(name, move || {
        let task = suite.mpiexec(ranks, lanes).arg(&program.binary);
        task.limit(program.seconds).log(log.clone()).run()?.says("ok\n")
    })
}

fn find(suite: &Suite) -> Result<Vec<Program>, String> {
    let dir = suite.places.root.join("bindings/tests/c");
    let mut programs = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let source = entry.map_err(|e| e.to_string())?.path();
        if source.extension().is_none_or(|ending| ending != "c") {
            continue;
        }
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&source).map_err(|e| e.to_string())?;
        let ours = text.lines().take(12).any(|line| line.starts_with("// Ours only"));
        if ours && suite.foreign.is_some() {
            continue;
        }
        let note = |word: &str| {
            let line = text.lines().take(12).find_map(|line| line.strip_prefix(word));
            line.map(|rest| {
                rest.split_whitespace().filter_map(|w| w.parse().ok()).collect::<Vec<_>>()
            })
        };
        let ranks = note("// ranks:").unwrap_or_else(|| RANKS.to_vec());
        let seconds = note("// seconds:").and_then(|n| n.first().copied()).unwrap_or(60);
        let binary = scratch(suite, &name);
        programs.push(Program { name, source, binary, ranks, seconds: seconds as u64 });
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// Where a compiled program of this name lies.
pub fn scratch(suite: &Suite, name: &str) -> PathBuf {
    let kind = if suite.foreign.is_some() { "c-foreign" } else { "c" };
    suite.places.scratch().join(kind).join(name)
}

/// Compiles one C program with the mpicc under test, unless it is newer than all it is made of.
pub fn compile(suite: &Suite, source: &Path, binary: &Path) -> Result<(), String> {
    let dir = binary.parent().expect("binaries lie in the scratch directory");
    fs::create_dir_all(dir).map_err(|e| e.to_string())?;
    let time = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let mut parts = vec![suite.bin("../include/mpi.h"), suite.bin("mpicc"), source.into()];
    // Every header beside the program and one above: few, and rarely touched.
    for dir in source.ancestors().skip(1).take(2) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        parts.extend(paths.filter(|path| path.extension().is_some_and(|ending| ending == "h")));
    }
    let made = time(binary);
    let newest = parts.iter().filter_map(|p| time(p)).max();
    if made.is_some() && made > newest {
        return Ok(());
    }
    let outcome = Task::new(suite.bin("mpicc"))
        .args(["-O1", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .arg(binary)
        .arg(source)
        .arg("-lm")
        .limit(120)
        .run()?;
    if outcome.success() {
        Ok(())
    } else {
        Err(format!("does not compile: {}", outcome.describe()))
    }
}

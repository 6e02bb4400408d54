// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The examples (Python, C, Rust) and the course's scripts, with their output checked.
//!
//! All of them run at 2, 3, 4, 10 and 128 ranks, over shared memory and TCP; the Python ones on
//! both faces (in the whole suite the 128 ranks of a face over one of the lanes). Large jobs run
//! one beside another only where memory allows it.

use super::cases::{self, Case};
use super::{Face, Lanes, Suite, Tally, expected, programs};
use crate::process::Task;
use std::fs;
use std::path::{Path, PathBuf};

const RANKS: &[usize] = &[2, 3, 4, 10, 128];
const LARGE: usize = 100;

/// Something that `mpiexec` can start, with the name its output is known by.
struct Script {
    name: String,
    words: Vec<PathBuf>,
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    let mut scripts = Vec::new();
    for face in suite.faces() {
        let python = suite.python(*face)?;
        for file in python_files(suite)? {
            let stem = stem(&file);
            scripts.push(Script {
                name: format!("{stem}.py {}", face.name()),
                words: vec![python.clone(), file],
            });
        }
    }
    compiled(suite, &mut scripts, &mut tally);
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for ranks in RANKS {
        for lanes in suite.lanes() {
            for script in &scripts {
                if *ranks >= LARGE && !is_due(suite, script, *lanes) {
                    continue;
                }
                let list = if *ranks < LARGE { &mut small } else { &mut large };
                list.push(case(suite, script, *ranks, *lanes));
            }
        }
    }
    cases::run(&small, 4, &mut tally);
    cases::run(&large, 2, &mut tally);
    if suite.places.course().is_none() {
        println!("   the course's scripts are not beside this tree: skipped");
        tally.skipped += 1;
    }
    Ok(tally)
}

/// In the whole suite each face's large Python jobs go over one of the lanes.
fn is_due(suite: &Suite, script: &Script, lanes: Lanes) -> bool {
    let other = match lanes {
        Lanes::Shm => Face::Standard,
        Lanes::Tcp | Lanes::Ofi | Lanes::Ucx => Face::Mpich,
    };
    !suite.is_whole || !script.name.ends_with(&format!(".py {}", other.name()))
}

fn case<'a>(suite: &'a Suite, script: &'a Script, ranks: usize, lanes: Lanes) -> Case<'a> {
    let name = format!("{} np={ranks} {}", script.name, lanes.name());
    let log = suite.places.scratch().join("log/examples").join(name.replace(' ', "-"));
    Case::new(name, move || {
        let task = suite.mpiexec(ranks, lanes).args(&script.words).log(log.clone());
        let outcome = task.limit(240).run()?;
        if !outcome.success() {
            return Err(outcome.describe());
        }
        let name = script.name.split([' ', '.']).next().unwrap_or_default();
        expected::check(name, ranks, &outcome.out)?;
        if outcome.err.is_empty() { Ok(()) } else { Err(format!("it warned: {}", outcome.err)) }
    })
}

pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn files_in(dir: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    files.sort();
    Ok(files)
}

pub fn python_files(suite: &Suite) -> Result<Vec<PathBuf>, String> {
    let mut files = files_in(&suite.places.root.join("examples/python"), "py")?;
    if let Some(course) = suite.places.course() {
        files.extend(files_in(&course, "py")?);
    }
    Ok(files)
}

/// The C and the Rust examples, compiled as their README says.
fn compiled(suite: &Suite, scripts: &mut Vec<Script>, tally: &mut Tally) {
    let examples = suite.places.root.join("examples");
    for file in files_in(&examples.join("c"), "c").unwrap_or_default() {
        let name = stem(&file);
        let binary = programs::scratch(suite, &format!("example-{name}"));
        match programs::compile(suite, &file, &binary) {
            Ok(()) => scripts.push(Script { name: format!("{name} c"), words: vec![binary] }),
            Err(why) => tally.fail(format!("examples/c/{name}.c: {why}")),
        }
    }
    // The Rust examples are written for the standard ABI, whose handles differ from others'.
    if suite.foreign.is_some() {
        return;
    }
    for file in files_in(&examples.join("rust"), "rs").unwrap_or_default() {
        let name = stem(&file);
        let binary = programs::scratch(suite, &format!("example-{name}-rust"));
        match rustc(suite, &file, &binary) {
            Ok(()) => scripts.push(Script { name: format!("{name} rust"), words: vec![binary] }),
            Err(why) => tally.fail(format!("examples/rust/{name}.rs: {why}")),
        }
    }
}

fn rustc(suite: &Suite, source: &Path, binary: &Path) -> Result<(), String> {
    let linker = format!("linker={}", suite.bin("mpicc").display());
    let outcome = Task::new("rustc")
        .args(["--edition=2024", "-O", "-D", "warnings", "-C", &linker, "-o"])
        .arg(binary)
        .arg(source)
        .limit(120)
        .run()?;
    if outcome.success() { Ok(()) } else { Err(outcome.describe()) }
}

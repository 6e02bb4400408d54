// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ranks die at chosen points, and the others go on (`mpiexec --keep-going`): they get the errors
//! that they should get, shrink their communicator, compute on it and finalize.
//!
//! Each case ends with the code of the rank that died, with the survivors' word that all is well,
//! and leaves nothing. points.c: one point of failure each. corners.c: what programs come to less
//! often. rounds.c: one death after the other amid whatever is done, until one rank is left.

use super::cases::{self, Case};
use super::{Face, Lanes, Suite, Tally, kill, programs};
use crate::process::{Outcome, Task, none_left};
use std::path::{Path, PathBuf};

const RANKS: &[usize] = &[2, 3, 4, 7];
/// A rank died by SIGKILL.
pub const KILLED: i32 = 137;

/// The points, ranks that each needs, and the code of mpiexec.
pub const POINTS: &[(&str, usize, i32)] = &[
    ("receive", 2, KILLED),
    ("send", 2, KILLED),
    ("long", 2, KILLED),
    ("any", 2, KILLED),
    ("barrier", 2, KILLED),
    ("collectives", 2, KILLED),
    ("requests", 2, KILLED),
    ("shrink", 3, KILLED),
    ("agree", 2, KILLED),
    ("two", 3, KILLED),
    ("iagree", 2, KILLED),
    ("last", 2, KILLED),
    ("fatal", 3, KILLED),
    ("revoke", 2, 0),
];

/// The same of corners.c.
pub const CORNERS: &[(&str, usize, i32)] = &[
    ("lists", 2, KILLED),
    ("persistent", 2, KILLED),
    ("groups", 4, KILLED),
    ("newborn", 2, 0),
    ("threads", 2, KILLED),
    ("window", 2, KILLED),
    ("spawned", 2, KILLED),
];

/// Runs of rounds.c with so many ranks over one lane.
const ROUNDS: u64 = 10;

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let points = compiled(suite, "points")?;
    let corners = compiled(suite, "corners")?;
    let rounds = compiled(suite, "rounds")?;
    let random = kill::seed();
    println!("   seed {random}");
    let before = kill::names_left();
    let mut list = Vec::new();
    for lanes in suite.lanes() {
        for ranks in RANKS {
            let named = |(name, _, code): &(&'static str, usize, i32), binary: &Path, seed| {
                case(suite, binary, (*ranks, *lanes), &[name, seed], *code)
            };
            let enough = |(_, least, _): &&(&str, usize, i32)| least <= ranks;
            for seed in ["1", "2", "3"] {
                list.extend(POINTS.iter().filter(enough).map(|p| named(p, &points, seed)));
            }
            list.extend(CORNERS.iter().filter(enough).map(|c| named(c, &corners, "1")));
            for round in 0..ROUNDS {
                let seed = (kill::random(random, round) % 1_000_000).to_string();
                list.push(case(suite, &rounds, (*ranks, *lanes), &[&seed], KILLED));
            }
        }
        list.extend(turned(suite, &points, *lanes));
        list.push(Case::new(format!("python {}", lanes.name()), || in_python(suite, *lanes)));
    }
    list.push(Case::new("without the option", || ends(suite, &points)));
    let mut tally = Tally::default();
    cases::run(&list, 2, &mut tally);
    let left = kill::names_that_stay(&before);
    let result = if left.is_empty() { Ok(()) } else { Err(left.join(" ")) };
    tally.record("no name is left", result);
    Ok(tally)
}

/// A program of the directory, compiled.
pub fn compiled(suite: &Suite, name: &str) -> Result<PathBuf, String> {
    let source = suite.places.root.join(format!("bindings/tests/c/fault/{name}.c"));
    let binary = programs::scratch(suite, name);
    programs::compile(suite, &source, &binary)?;
    Ok(binary)
}

/// A program with these words behind it, and the code that mpiexec must end with.
fn case<'a>(
    suite: &'a Suite,
    binary: &Path,
    (ranks, lanes): (usize, Lanes),
    words: &[&str],
    code: i32,
) -> Case<'a> {
    let words: Vec<String> = words.iter().copied().map(str::to_string).collect();
    let program = binary.file_name().unwrap_or_default().to_string_lossy();
    let title = format!("{program} {} np={ranks} {}", words.join(" "), lanes.name());
    let binary = binary.to_path_buf();
    Case::new(title, move || one(keep_going(suite, ranks, lanes).arg(&binary).args(&words), code))
}

fn keep_going(suite: &Suite, ranks: usize, lanes: Lanes) -> Task {
    suite.mpiexec(ranks, lanes).arg("--keep-going")
}

/// Ranks in the reverse order of the processes: whatever takes one for the other fails.
fn turned<'a>(suite: &'a Suite, points: &Path, lanes: Lanes) -> Vec<Case<'a>> {
    let case = |(name, _, code): &(&'static str, usize, i32)| {
        let (binary, name, code) = (points.to_path_buf(), *name, *code);
        Case::new(format!("{name} {} turned", lanes.name()), move || {
            let task = keep_going(suite, 4, lanes).env("STRAIT_TEST_ORDER", "reverse");
            one(task.arg(&binary).arg(name).arg("1"), code)
        })
    };
    POINTS.iter().map(case).collect()
}

fn one(task: Task, code: i32) -> Result<(), String> {
    let running = task.limit(60).start()?;
    let mark = running.mark();
    let outcome = running.finish()?;
    let left = none_left(&mark);
    judge(&outcome, code)?;
    left
}

/// What a job must have said and answered.
pub fn judge(outcome: &Outcome, code: i32) -> Result<(), String> {
    // (That the others go on is said while there are others.)
    let is_told = code == 0 || outcome.err.contains("failed first");
    match outcome.code == Some(code) && outcome.out == "ok\n" && is_told {
        true => Ok(()),
        false => Err(format!("expected \"ok\" and {code}: {}", outcome.describe())),
    }
}

/// The stock wheel has no methods for this; its library is called beside it.
fn in_python(suite: &Suite, lanes: Lanes) -> Result<(), String> {
    let script = suite.places.root.join("bindings/tests/python/faults.py");
    let python = suite.python(Face::Mpich)?;
    one(keep_going(suite, 4, lanes).arg(python).arg(script), KILLED)
}

/// The same death ends a job that did not ask to go on.
fn ends(suite: &Suite, points: &Path) -> Result<(), String> {
    let task = suite.mpiexec(4, Lanes::Shm).arg(points).args(["any", "1"]);
    let outcome = task.limit(60).run()?;
    let said = outcome.err.contains("failed first") && !outcome.err.contains("go on");
    match outcome.code == Some(KILLED) && outcome.out.is_empty() && said {
        true => Ok(()),
        false => Err(outcome.describe()),
    }
}

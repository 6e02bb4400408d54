// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Schedules of a user's files (examples/schedules): executed at four ranks, explained, and, where
//! they are wrong, refused by MPI_Init with file, line and reason.

use super::cases::{self, Case};
use super::{Lanes, Suite, Tally, programs};
use crate::process::Task;
use std::fs;
use std::path::{Path, PathBuf};

/// A change that makes a schedule wrong, and what must be said.
const WRONG: &[(&str, &str, &str, &str)] = &[
    (
        "another order on one rank",
        "reduce scratch0[0..1] scratch1[0..1] into output[0..1]",
        "reduce scratch1[0..1] scratch0[0..1] into output[0..1]",
        "otherwise than rank 0",
    ),
    ("a message that nobody receives", "1 : recv scratch0", "1 : publish scratch0", "column"),
    ("a step that waits too little", "into scratch0[0..1] after 1", "into scratch0[0..1]", "order"),
];

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    let source = suite.places.root.join("bindings/tests/c/schedules/schedules.c");
    let binary = programs::scratch(suite, "schedules");
    programs::compile(suite, &source, &binary)?;
    let files = suite.places.root.join("examples/schedules");
    let table = files.join("selection.toml");
    let (binary, table) = (&binary, &table);
    let mut list = Vec::new();
    for lanes in suite.lanes() {
        list.push(Case::new(format!("schedules of a file, {}", lanes.name()), move || {
            runs(suite, *lanes, binary, Some(table))
        }));
        list.push(Case::new(format!("schedules as shipped, {}", lanes.name()), move || {
            runs(suite, *lanes, binary, None)
        }));
    }
    list.push(Case::new("schedules explained", move || explained(suite, table)));
    for (name, from, to, says) in WRONG {
        let files = &files;
        list.push(Case::new(format!("schedules: {name}"), move || {
            let table = spoilt(suite, files, name, from, to)?;
            refused(suite, binary, &table, says)
        }));
    }
    cases::run(&list, 2, &mut tally);
    Ok(tally)
}

fn runs(suite: &Suite, lanes: Lanes, binary: &Path, table: Option<&PathBuf>) -> Result<(), String> {
    let task = suite.mpiexec(4, lanes);
    let (task, order) = match table {
        Some(table) => (task.env("STRAIT_TUNING", table), "paired"),
        None => (task, "plain"),
    };
    task.arg(binary).arg(order).limit(60).run()?.says("ok\n")
}

fn explained(suite: &Suite, table: &Path) -> Result<(), String> {
    let explain = |ranks: &str| {
        let task = Task::new(suite.bin("strait")).args(["explain", "allreduce", "-n", ranks]);
        task.arg("--tuning").arg(table).limit(60).run()
    };
    let outcome = explain("4")?;
    let is_chosen = outcome.out.contains("8 bytes: schedule ");
    let by = format!("by {}:", table.display());
    if !(outcome.success() && is_chosen && outcome.out.contains(&by)) {
        return Err(outcome.describe());
    }
    let outcome = explain("5")?;
    let is_passed = outcome.out.contains("is written for another number of ranks");
    if outcome.success() && is_passed { Ok(()) } else { Err(outcome.describe()) }
}

/// A table beside a spoilt copy of the schedule.
fn spoilt(
    suite: &Suite,
    files: &Path,
    name: &str,
    from: &str,
    to: &str,
) -> Result<PathBuf, String> {
    let say = |error: std::io::Error| error.to_string();
    let text = fs::read_to_string(files.join("allreduce4.schedule")).map_err(say)?;
    if !text.contains(from) {
        return Err(format!("the example has no `{from}` any more"));
    }
    let dir = suite.places.scratch().join("schedules").join(name.replace(' ', "-"));
    fs::create_dir_all(&dir).map_err(say)?;
    fs::write(dir.join("wrong.schedule"), text.replacen(from, to, 1)).map_err(say)?;
    let rule = "version = 1\n[[rule]]\ncollective = \"allreduce\"\nschedule = \"wrong.schedule\"\n";
    let table = dir.join("selection.toml");
    fs::write(&table, rule).map_err(say)?;
    Ok(table)
}

fn refused(suite: &Suite, binary: &Path, table: &Path, says: &str) -> Result<(), String> {
    let task = suite.mpiexec(4, Lanes::Shm).env("STRAIT_TUNING", table);
    let outcome = task.arg(binary).arg("paired").limit(60).run()?;
    let named = ["wrong.schedule:", says, "MPI_Init"];
    let is_said = named.iter().all(|word| outcome.err.contains(word));
    if !outcome.success() && is_said { Ok(()) } else { Err(outcome.describe()) }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a short message costs, in numbers that do not depend on the machine's mood: instructions
//! of each call (valgrind's callgrind), and system calls of an exchange (strace).
//!
//! The limits are what the calls took when they were last changed, and a little. Who makes a call
//! dearer sees it here, and raises the limit with the reason in the commit, or does not.

use super::{Lanes, Suite, Tally, programs};
use crate::process::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// A call, how many instructions of it there may be (MPI_Init_thread asked for
/// MPI_THREAD_MULTIPLE, one thread calls), and which rank makes it how often in a round.
const CALLS: &[(&str, u64, u64)] =
    &[("MPI_Send", 1, 260), ("MPI_Isend", 32, 240), ("MPI_Irecv", 32, 325)];
const ROUNDS: u64 = 2000;

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    crate::setup::measuring_tools()?;
    let source = suite.places.root.join("bindings/tests/c/cost/exchange.c");
    let binary = programs::scratch(suite, "exchange");
    programs::compile(suite, &source, &binary)?;
    let mut tally = Tally::default();
    for (call, in_a_round, limit) in CALLS {
        let counted = instructions(suite, &binary, call, *in_a_round);
        tally.record(
            &format!("instructions of {call}"),
            counted.and_then(|count| {
                println!("   {call}: {count} instructions");
                match count <= *limit {
                    true => Ok(()),
                    false => Err(format!("{count} instructions a call, the limit is {limit}")),
                }
            }),
        );
    }
    tally.record("system calls of an exchange", system_calls(suite, &binary));
    Ok(tally)
}

/// Instructions of one call, the calls before the pair has rings of its own included.
fn instructions(suite: &Suite, binary: &Path, call: &str, in_a_round: u64) -> Result<u64, String> {
    let dir = fresh(suite, &format!("callgrind-{call}"))?;
    let out = format!("--callgrind-out-file={}/%p", dir.display());
    let task = suite.mpiexec(2, Lanes::Shm).arg("valgrind").arg("--tool=callgrind");
    // Both names have one machine code, and valgrind knows it by either.
    let names = ["", "P"].map(|prefix| format!("--toggle-collect={prefix}{call}"));
    let task = task.args(names).arg(out).arg(binary);
    let outcome = task.arg(ROUNDS.to_string()).limit(300).log(dir.join("log")).run()?;
    says_ok(&outcome)?;
    let most = files(&dir)?.iter().filter_map(|file| summary(file)).max();
    let most = most.ok_or_else(|| format!("callgrind left no count; {}", outcome.describe()))?;
    if most == 0 {
        return Err(format!("callgrind counted nothing in {call}"));
    }
    Ok(most / (ROUNDS * in_a_round))
}

/// The sum at the end of a callgrind file.
fn summary(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")))?;
    line.trim().parse().ok()
}

/// Between two marks of the program a rank makes no system calls but those of waiting.
fn system_calls(suite: &Suite, binary: &Path) -> Result<(), String> {
    let dir = fresh(suite, "strace")?;
    let task = suite.mpiexec(2, Lanes::Shm).arg("strace").arg("-ff").arg("-o");
    let task = task.arg(dir.join("trace")).arg(binary).arg(ROUNDS.to_string());
    let outcome = task.limit(300).log(dir.join("log")).run()?;
    says_ok(&outcome)?;
    let mut ranks = 0;
    for file in files(&dir)? {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let mut parts = text.split("write(-1, \"mark\"");
        let (Some(_), Some(between), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        ranks += 1;
        if let Some(call) = between.lines().skip(1).find(|line| !is_waiting(line)) {
            return Err(format!("a system call in an exchange of short messages: {call}"));
        }
    }
    match ranks {
        2 => Ok(()),
        _ => Err(format!("{ranks} traces have both marks; {}", outcome.describe())),
    }
}

/// Yields, sleep and wake belong to waiting for a peer that is slow, here because it is traced;
/// clock_gettime does not show: it is no system call.
fn is_waiting(line: &str) -> bool {
    ["sched_yield", "futex", "membarrier", "+++", "---"].iter().any(|w| line.starts_with(w))
}

fn says_ok(outcome: &Outcome) -> Result<(), String> {
    match outcome.success() && outcome.out.contains("ok\n") {
        true => Ok(()),
        false => Err(outcome.describe()),
    }
}

fn fresh(suite: &Suite, name: &str) -> Result<PathBuf, String> {
    let dir = suite.places.scratch().join("log/cost").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

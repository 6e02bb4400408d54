// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals to jobs of Python programs, as a terminal sends them; and the death of mpiexec.
//!
//! mpiexec leads a process group of its own here, as it does under a shell. The program is
//! bindings/tests/python/signals.py: it says `ready` once per rank before anything is sent.

use super::cases::Case;
use super::{Lanes, Suite};
use crate::process::{Running, Task, none_left, signal, signal_group};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Not a promise about speed: after so long something hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any look of mpiexec, and than what a peer's silence may take to matter.
const STOPPED: Duration = Duration::from_secs(2);
const MANY: usize = 16;
const FEW: usize = 3;

/// What is done to the job.
#[derive(Clone, Copy)]
enum Act {
    /// ^C; the program catches it and counts.
    Interrupt,
    /// ^C; nobody catches it.
    InterruptUncaught,
    /// ^Z for a while, then `fg`.
    StopAndContinue,
    /// SIGKILL to mpiexec; the ranks are its children.
    KillMpiexec,
    /// The same; the ranks are started by shells that go on afterwards.
    KillMpiexecOfShells,
}

const ACTS: &[(&str, Act)] = &[
    ("^C, caught", Act::Interrupt),
    ("^C, not caught", Act::InterruptUncaught),
    ("stopped and continued", Act::StopAndContinue),
    ("kill -9 of mpiexec", Act::KillMpiexec),
    ("kill -9 of mpiexec, ranks below shells", Act::KillMpiexecOfShells),
];

/// The cases of the stage `reports`.
pub fn cases<'a>(suite: &'a Suite, python: &'a Path, lanes: Lanes) -> Vec<Case<'a>> {
    let one = |(name, act): &'static (&'static str, Act)| {
        Case::new(format!("Python: {name} {}", lanes.name()), move || {
            run(suite, python, lanes, *act)
        })
    };
    ACTS.iter().map(one).collect()
}

fn run(suite: &Suite, python: &Path, lanes: Lanes, act: Act) -> Result<(), String> {
    let script = suite.places.root.join("bindings/tests/python/signals.py");
    let ranks = match act {
        Act::KillMpiexec | Act::KillMpiexecOfShells => MANY,
        _ => FEW,
    };
    let task = suite.mpiexec(ranks, lanes).own_group().limit(60);
    let running = program(task, act, python, script).start()?;
    let mark = running.mark();
    let result = strike(running, act, ranks);
    let left = none_left(&mark);
    result?;
    left
}

fn program(task: Task, act: Act, python: &Path, script: PathBuf) -> Task {
    let word = match act {
        Act::Interrupt => "interrupt",
        Act::InterruptUncaught => "uncaught",
        Act::StopAndContinue => "work",
        Act::KillMpiexec | Act::KillMpiexecOfShells => "wait",
    };
    match act {
        Act::KillMpiexecOfShells => {
            let line = format!("{} {} {word}; true", python.display(), script.display());
            task.arg("sh").arg("-c").arg(line)
        }
        _ => task.arg(python).arg(script).arg(word),
    }
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"))
}

/// Waits until all ranks are ready, acts, and looks at the end.
fn strike(running: Running, act: Act, ranks: usize) -> Result<(), String> {
    let begun = Instant::now();
    while running.written().matches("ready").count() < ranks {
        if begun.elapsed() > PATIENCE {
            return Err(format!("not all ranks are ready; {}", running.written()));
        }
        sleep(Duration::from_millis(5));
    }
    // The last rank to be ready is on its way from its line to its wait.
    sleep(Duration::from_millis(100));
    let pid = running.pid();
    match act {
        Act::Interrupt | Act::InterruptUncaught => signal_group(pid, "INT"),
        Act::StopAndContinue => {
            signal_group(pid, "TSTP");
            sleep(STOPPED);
            let running_on: Vec<u32> =
                running.family().into_iter().filter(|pid| !is_stopped(*pid)).collect();
            if !running_on.is_empty() {
                return Err(format!("not stopped: {running_on:?}"));
            }
            signal_group(pid, "CONT");
        }
        Act::KillMpiexec | Act::KillMpiexecOfShells => signal(pid, "KILL"),
    }
    let outcome = running.finish()?;
    let well = match act {
        Act::Interrupt => {
            outcome.code == Some(0) && outcome.out.matches("interrupts 1\n").count() == ranks
        }
        Act::InterruptUncaught => {
            let times = outcome.err.matches("\nKeyboardInterrupt").count();
            outcome.code == Some(130) && times == ranks && !outcome.err.contains("error[")
        }
        Act::StopAndContinue => {
            // The sum of 0 to 99 on each rank.
            let total = format!("total {}\n", 4950 * ranks);
            outcome.code == Some(0) && outcome.out.matches(&total).count() == ranks
        }
        Act::KillMpiexec | Act::KillMpiexecOfShells => outcome.signal == Some(9),
    };
    if well { Ok(()) } else { Err(outcome.describe()) }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Jobs that meet and jobs that spawn others, beyond what the programs of stage c do by themselves:
//! two mpiexecs, no mpiexec, the ways in which such jobs end, pools of mpi4py.futures. Afterwards
//! no process and no name may be left.

use super::cases::{self, Case};
use super::{Face, Suite, Tally, kill, programs};
use crate::process::{Outcome, Task, none_left, signal};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Not a promise about speed: after so long a job hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a job that spawned others ends (bindings/tests/c/ends/spawned.c).
struct End {
    how: &'static str,
    code: i32,
    out: &'static [&'static str],
    says: &'static [&'static str],
}

const ENDS: &[End] = &[
    End { how: "outlive", code: 0, out: &["ok", "still here 0", "still here 1"], says: &[] },
    End { how: "finalize", code: 0, out: &["ok"], says: &[] },
    End { how: "fail", code: 5, out: &["ok"], says: &["rank 1 failed first"] },
    End { how: "lost", code: 137, out: &["ok"], says: &["died by SIGKILL"] },
    End {
        how: "abort",
        code: 7,
        out: &[],
        says: &[
            "ended the job by MPI_Abort with code 7",
            "a job that ranks of this one had spawned",
        ],
    },
    End {
        how: "kill",
        code: 137,
        out: &[],
        says: &["died by SIGKILL", "a job that ranks of this one had spawned"],
    },
    End { how: "orphan", code: 137, out: &[], says: &["rank 0 failed first", "died by SIGKILL"] },
];

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let folder = suite.places.root.join("bindings/tests/c");
    let compiled = |name: &str| -> Result<PathBuf, String> {
        let binary = programs::scratch(suite, name.rsplit('/').next().unwrap_or(name));
        programs::compile(suite, &folder.join(format!("{name}.c")), &binary)?;
        Ok(binary)
    };
    let (spawned, two_jobs) = (compiled("ends/spawned")?, compiled("ends/two_jobs")?);
    let spawn = compiled("spawn")?;
    let pythons: Vec<(Face, PathBuf)> = suite
        .faces()
        .iter()
        .map(|face| suite.python(*face).map(|python| (*face, python)))
        .collect::<Result<_, _>>()?;
    let before = kill::names_left();
    let mut list = Vec::new();
    for lanes in suite.lanes() {
        for (servers, callers) in [(1, 1), (1, 4), (2, 3), (4, 2)] {
            let name = format!("two jobs np={servers}+{callers} {}", lanes.name());
            let two_jobs = &two_jobs;
            list.push(Case::new(name, move || {
                let file = suite
                    .places
                    .scratch()
                    .join(format!("port-{servers}-{callers}-{}", lanes.name()));
                let _ = std::fs::remove_file(&file);
                let part = |ranks, word: &str| {
                    let task = suite.mpiexec(ranks, *lanes).arg(two_jobs).arg(word).arg(&file);
                    task.limit(60).start()
                };
                let (one, other) = (part(servers, "serve")?, part(callers, "call")?);
                let marks = [one.mark(), other.mark()];
                let (one, other) = (one.finish()?, other.finish()?);
                one.says("ok\n").and_then(|()| other.says("ok\n"))?;
                marks.iter().try_for_each(|mark| none_left(mark))
            }));
        }
        for end in ENDS {
            let spawned = &spawned;
            let name = format!("end {} {}", end.how, lanes.name());
            list.push(Case::new(name, move || {
                let task = suite.mpiexec(2, *lanes).arg(spawned).arg(end.how).limit(40);
                let running = task.start()?;
                let mark = running.mark();
                judge(end, &running.finish()?).and_then(|()| none_left(&mark))
            }));
        }
    }
    let (spawn, spawned) = (&spawn, &spawned);
    list.push(Case::new("no mpiexec", move || alone(Task::new(spawn))));
    list.push(Case::new("mpiexec is killed", move || launcher_killed(suite, spawned)));
    for (face, python) in &pythons {
        list.extend(pools(suite, *face, python));
    }
    let mut tally = Tally::default();
    cases::run(&list, 2, &mut tally);
    let left = kill::names_that_stay(&before);
    let result = if left.is_empty() { Ok(()) } else { Err(left.join(" ")) };
    tally.record("no name is left", result);
    Ok(tally)
}

/// A program that says ok, and whose children are gone soon after.
fn alone(task: Task) -> Result<(), String> {
    let running = task.limit(120).start()?;
    let mark = running.mark();
    running.finish()?.says("ok\n").and_then(|()| none_left(&mark))
}

fn judge(end: &End, outcome: &Outcome) -> Result<(), String> {
    let mut lines: Vec<&str> = outcome.out.lines().collect();
    lines.sort_unstable();
    let says = end.says.iter().all(|text| outcome.err.contains(text));
    let is_quiet = !end.says.is_empty() || outcome.err.is_empty();
    if outcome.code == Some(end.code) && lines == end.out && says && is_quiet {
        return Ok(());
    }
    Err(format!("expected code {}: {}", end.code, outcome.describe()))
}

/// With mpiexec go its ranks, the jobs that they spawned, and those jobs' mpiexecs.
fn launcher_killed(suite: &Suite, spawned: &Path) -> Result<(), String> {
    let task = suite.mpiexec(2, suite.lanes()[0]).arg(spawned).arg("stay").limit(60);
    let running = task.start()?;
    let mark = running.mark();
    let began = Instant::now();
    while !running.written().contains("waiting") {
        if began.elapsed() > PATIENCE {
            return Err("it did not begin".into());
        }
        sleep(Duration::from_millis(20));
    }
    signal(running.pid(), "KILL");
    let outcome = running.finish()?;
    if outcome.success() {
        return Err(outcome.describe());
    }
    none_left(&mark)
}

/// mpi4py.futures: spawned workers, under mpiexec and without; ranks as workers.
fn pools<'a>(suite: &'a Suite, face: Face, python: &'a Path) -> Vec<Case<'a>> {
    let program = suite.places.root.join("bindings/tests/python/pool.py");
    let name = |what: &str| format!("{what} {}", face.name());
    let lanes = suite.lanes()[0];
    let own = program.clone();
    let mut list = vec![Case::new(name("pool of spawned workers"), move || {
        alone(suite.mpiexec(1, lanes).arg(python).arg(&own).arg("3"))
    })];
    let own = program.clone();
    list.push(Case::new(name("pool without mpiexec"), move || {
        let library = suite.bin("../lib");
        let task = Task::new(python).env("LD_LIBRARY_PATH", library).env("MPI4PY_MPIABI", "mpich");
        alone(task.arg(&own).arg("2"))
    }));
    list.push(Case::new(name("pool of ranks"), move || {
        let task = suite.mpiexec(4, lanes).arg(python).args(["-m", "mpi4py.futures"]);
        alone(task.arg(&program).arg("3"))
    }));
    list
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Jobs over libfabric: its providers that work without hardware, two versions of the library, and
//! what a user hears where it is not there.

use super::cases::{self, Case};
use super::hosts::quiet;
use super::{Face, Lanes, Suite, Tally, expected, idle, mpi4py, programs, scripts};
use crate::process::{Outcome, Task};
use crate::setup;
use std::path::{Path, PathBuf};

/// Programs for providers and libraries besides the usual one.
const FEW: &[&str] = &["ring", "order", "large", "probe", "collectives", "rma_random"];
const MPI4PY: &[&str] = &["p2p_obj", "p2p_buf", "cco_obj"];
const BENCHMARKS: &[&str] = &["osu_latency", "osu_bibw", "osu_mbw_mr", "osu_allreduce"];
/// Ranks that wait; each has some megabytes of libfabric's.
const IDLE_RANKS: usize = 16;

/// A library and a provider of it.
struct Way {
    name: &'static str,
    provider: &'static str,
    library: Option<PathBuf>,
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    if suite.foreign.is_some() {
        tally.skipped += 1;
        return Ok(tally);
    }
    setup::fabrics()?;
    let newer = setup::newer_libfabric(&suite.places)?;
    let way = |name, provider, library: Option<&Path>| Way {
        name,
        provider,
        library: library.map(Path::to_owned),
    };
    let ways = [
        way("udp", "udp;ofi_rxd", None),
        way("shm", "shm", None),
        way("2.5 tcp", "tcp", Some(&newer)),
        way("2.5 rxm", "tcp;ofi_rxm", Some(&newer)),
        way("2.5 shm", "shm", Some(&newer)),
    ];
    let built = programs::built(suite, &mut tally)?;
    let crash = suite.python(Face::Mpich)?;
    let mut list = Vec::new();
    for program in &built {
        let fits = program.ranks.iter().copied().filter(|ranks| *ranks >= 3).min();
        let Some(ranks) = fits.or(program.ranks.iter().copied().max()) else { continue };
        if ranks > 1 {
            list.push(case(suite, program, ranks, None));
        }
        if FEW.contains(&program.name.as_str()) {
            list.extend(ways.iter().map(|way| case(suite, program, ranks, Some(way))));
        }
    }
    python(suite, &mut list)?;
    for name in BENCHMARKS {
        list.push(Case::new(format!("{name} np=2 ofi"), move || {
            let task = suite.mpiexec(2, Lanes::Ofi).arg(suite.bin(name));
            let task = task.args(["-c", "-i", "10", "-x", "2", "-m", "1:1048576"]);
            quiet(task.limit(120).run()?).map(drop)
        }));
    }
    list.push(Case::new("no library", || refused(suite, &["libfabric cannot be opened"], NO_FILE)));
    list.push(Case::new("another library", || {
        refused(
            suite,
            &["is no libfabric that Strait can use"],
            ("STRAIT_OFI_LIBRARY", "libc.so.6"),
        )
    }));
    list.push(Case::new("no such provider", || {
        let words = ["no provider named nonesuch", "STRAIT_OFI_PROVIDER", "fi_info"];
        refused(suite, &words, ("STRAIT_OFI_PROVIDER", "nonesuch"))
    }));
    list.push(Case::new("a crash is told as what it is", || crashed(suite, &crash)));
    list.push(Case::new("not asked for, not opened", || unopened(suite)));
    list.push(Case::new("strait doctor tries providers", || {
        let outcome = Task::new(suite.bin("strait")).arg("doctor").limit(120).run()?;
        let works = |name: &str| outcome.out.contains(&format!("{name}: works on"));
        let all = works("tcp;ofi_rxm") && works("udp;ofi_rxd") && works("shm");
        if all { Ok(()) } else { Err(outcome.describe()) }
    }));
    cases::run(&list, 2, &mut tally);
    let waiting = idle::waiting(suite, Lanes::Ofi, IDLE_RANKS);
    tally.record(&format!("{IDLE_RANKS} ranks that wait, ofi"), waiting);
    Ok(tally)
}

const NO_FILE: (&str, &str) = ("STRAIT_OFI_LIBRARY", "/nonexistent/libfabric.so.1");

fn case<'a>(
    suite: &'a Suite,
    program: &'a programs::Program,
    ranks: usize,
    way: Option<&'a Way>,
) -> Case<'a> {
    let name = way.map_or("ofi", |way| way.name);
    let name = format!("{} np={ranks} {name}", program.name);
    Case::new(name, move || {
        let mut task = suite.mpiexec(ranks, Lanes::Ofi);
        if let Some(way) = way {
            task = task.env("STRAIT_OFI_PROVIDER", way.provider);
            if let Some(library) = &way.library {
                task = task.env("STRAIT_OFI_LIBRARY", library);
            }
        }
        let outcome = task.arg(&program.binary).limit(program.seconds.max(90)).run()?;
        let good = outcome.success() && outcome.out == "ok\n";
        if good { Ok(()) } else { Err(outcome.describe()) }
    })
}

/// Examples, the course, and parts of mpi4py's suite.
fn python<'a>(suite: &'a Suite, list: &mut Vec<Case<'a>>) -> Result<(), String> {
    let python = suite.python(Face::Mpich)?;
    for file in scripts::python_files(suite)? {
        let (python, stem) = (python.clone(), scripts::stem(&file));
        list.push(Case::new(format!("{stem}.py np=4 ofi"), move || {
            let task = suite.mpiexec(4, Lanes::Ofi).arg(&python).arg(&file);
            let outcome = quiet(task.limit(120).run()?)?;
            expected::check(&stem, 4, &outcome.out)
        }));
    }
    let tests = setup::mpi4py_tests(&suite.places)?;
    for file in MPI4PY {
        let (python, tests) = (python.clone(), tests.clone());
        list.push(Case::new(format!("test_{file} np=3 ofi"), move || {
            let records = suite.places.scratch().join("log/fabrics").join(file);
            let task = suite.mpiexec(3, Lanes::Ofi);
            mpi4py::one_file(suite, task, 3, &python, &tests, file, &records)
        }));
    }
    Ok(())
}

/// A job that cannot have the lane ends with a sentence.
fn refused(suite: &Suite, words: &[&str], (name, value): (&str, &str)) -> Result<(), String> {
    let task = suite.mpiexec(2, Lanes::Ofi).env(name, value);
    let outcome = task.arg(programs::scratch(suite, "hello")).limit(60).run()?;
    let missing = words.iter().find(|words| !outcome.err.contains(**words));
    match (outcome.success(), missing) {
        (false, None) => Ok(()),
        (_, missing) => Err(format!("no {missing:?}: {}", outcome.describe())),
    }
}

/// libfabric brings libraries that would catch a crash and leave a file.
fn crashed(suite: &Suite, python: &Path) -> Result<(), String> {
    const SCRIPT: &str = "from mpi4py import MPI\nimport os, signal\nc = MPI.COMM_WORLD\n\
        c.barrier()\nif c.rank == 1: os.kill(os.getpid(), signal.SIGSEGV)\nc.barrier()";
    let place = suite.places.scratch().join("log/fabrics/crash");
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let task = suite.mpiexec(2, Lanes::Ofi).dir(&place).arg(python).args(["-c", SCRIPT]);
    let outcome = task.limit(60).run()?;
    let left = std::fs::read_dir(&place).map_err(|e| e.to_string())?.count();
    let told = outcome.err.contains("died by SIGSEGV") && outcome.code == Some(139);
    if told && left == 0 { Ok(()) } else { Err(format!("{left} files: {}", outcome.describe())) }
}

/// On one host, and on two without a fabric's hardware, libfabric is not even looked for.
fn unopened(suite: &Suite) -> Result<(), String> {
    let run = |words: &[&str]| -> Result<Outcome, String> {
        let task: Task = suite.mpiexec(2, Lanes::Shm).args(words).env(NO_FILE.0, NO_FILE.1);
        task.arg(programs::scratch(suite, "hello")).limit(60).run()
    };
    for words in [&[][..], &["-launcher", "fork", "-hosts", "one,two"]] {
        let outcome = run(words)?;
        if !outcome.success() || !outcome.err.is_empty() {
            return Err(outcome.describe());
        }
    }
    Ok(())
}

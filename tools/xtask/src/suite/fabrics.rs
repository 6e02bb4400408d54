// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Jobs over libfabric and UCX: the providers and transports that work without hardware, several
//! versions of the libraries, and what a user hears where they are not there.

use super::cases::{self, Case};
use super::hosts::quiet;
use super::{Face, Lanes, Suite, Tally, expected, idle, mpi4py, programs, scripts};
use crate::process::{Outcome, Task};
use crate::setup;
use std::path::{Path, PathBuf};

/// Programs for providers and libraries besides the usual one.
const FEW: &[&str] = &["ring", "order", "large", "probe", "collectives", "rma_random"];
/// Programs of windows, which are run once more with all accesses by the network itself.
const ONE_SIDED: &[&str] = &["progress", "rma", "rma_errors", "rma_long", "rma_random", "windows"];
/// In the whole suite; the stage alone runs all of mpi4py's files, with two ranks over sockets.
const MPI4PY: &[&str] = &["p2p_obj", "p2p_buf", "cco_obj"];
const BENCHMARKS: &[&str] = &["osu_latency", "osu_bibw", "osu_mbw_mr", "osu_allreduce"];
/// Ranks that wait; each has some megabytes of the libraries'.
const IDLE_RANKS: usize = 16;

/// The lanes of libraries.
const LIBRARIES: [Lanes; 2] = [Lanes::Ofi, Lanes::Ucx];

/// A version of a library, and a provider or transports of it.
struct Way {
    name: &'static str,
    lanes: Lanes,
    provider: &'static str,
    library: Option<PathBuf>,
}

impl Way {
    fn of(&self, task: Task) -> Task {
        let [provider, library] = match self.lanes {
            Lanes::Ucx => ["UCX_TLS", "STRAIT_UCX_LIBRARY"],
            _ => ["STRAIT_OFI_PROVIDER", "STRAIT_OFI_LIBRARY"],
        };
        let task = match self.provider {
            "" => task,
            name => task.env(provider, name),
        };
        match &self.library {
            Some(path) => task.env(library, path),
            None => task,
        }
    }
}

fn ways(suite: &Suite) -> Result<Vec<Way>, String> {
    let fabric = setup::newer_libfabric(&suite.places)?;
    let [ucx, with_modules] = setup::newer_ucx(&suite.places)?;
    let way = |name, lanes, provider, library: Option<&Path>| Way {
        name,
        lanes,
        provider,
        library: library.map(Path::to_owned),
    };
    Ok(vec![
        way("udp", Lanes::Ofi, "udp;ofi_rxd", None),
        way("shm", Lanes::Ofi, "shm", None),
        way("2.5 tcp", Lanes::Ofi, "tcp", Some(&fabric)),
        way("2.5 rxm", Lanes::Ofi, "tcp;ofi_rxm", Some(&fabric)),
        way("2.5 shm", Lanes::Ofi, "shm", Some(&fabric)),
        way("ucx posix", Lanes::Ucx, "posix,cma", None),
        way("ucx sysv", Lanes::Ucx, "sysv", None),
        way("ucx 1.22", Lanes::Ucx, "", Some(&ucx)),
        way("ucx 1.22 all", Lanes::Ucx, "all", Some(&ucx)),
        way("ucx 1.20", Lanes::Ucx, "", Some(&with_modules)),
    ])
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    if suite.foreign.is_some() {
        tally.skipped += 1;
        return Ok(tally);
    }
    setup::fabrics()?;
    let ways = ways(suite)?;
    let built = programs::built(suite, &mut tally)?;
    let crash = suite.python(Face::Mpich)?;
    let mut list = Vec::new();
    for program in &built {
        let fits = program.ranks.iter().copied().filter(|ranks| *ranks >= 3).min();
        let Some(ranks) = fits.or(program.ranks.iter().copied().max()) else { continue };
        if ranks > 1 {
            list.extend(LIBRARIES.map(|lanes| case(suite, program, ranks, lanes, None, &[])));
        }
        if ONE_SIDED.contains(&program.name.as_str()) {
            list.extend(
                LIBRARIES.map(|lanes| case(suite, program, ranks, lanes, None, BY_NETWORK)),
            );
            let fitting =
                ways.iter().filter(|_| ["rma_long", "progress"].contains(&program.name.as_str()));
            list.extend(
                fitting.map(|way| case(suite, program, 2, way.lanes, Some(way), BY_NETWORK)),
            );
        }
        if FEW.contains(&program.name.as_str()) {
            for way in &ways {
                list.push(case(suite, program, ranks, way.lanes, Some(way), &[]));
            }
        }
    }
    for lanes in LIBRARIES {
        python(suite, lanes, &mut list)?;
        for name in BENCHMARKS {
            list.push(Case::new(format!("{name} np=2 {}", lanes.name()), move || {
                let task = suite.mpiexec(2, lanes).arg(suite.bin(name));
                let task = task.args(["-c", "-i", "10", "-x", "2", "-m", "1:1048576"]);
                quiet(task.limit(120).run()?).map(drop)
            }));
        }
        let name = format!("a crash is told as what it is, {}", lanes.name());
        let crash = crash.clone();
        list.push(Case::new(name, move || crashed(suite, lanes, &crash)));
    }
    errors(suite, &mut list);
    list.push(Case::new("not asked for, not opened", || unopened(suite)));
    list.push(Case::new("strait doctor tries providers", || {
        let outcome = Task::new(suite.bin("strait")).arg("doctor").limit(120).run()?;
        let names = ["tcp;ofi_rxm", "udp;ofi_rxd", "shm", "UCX 1.13.1, tcp"];
        let works = |name: &&str| outcome.out.contains(&format!("{name}: works on"));
        if names.iter().all(works) { Ok(()) } else { Err(outcome.describe()) }
    }));
    cases::run(&list, 2, &mut tally);
    for lanes in LIBRARIES {
        let waiting = idle::waiting(suite, lanes, IDLE_RANKS);
        tally.record(&format!("{IDLE_RANKS} ranks that wait, {}", lanes.name()), waiting);
    }
    Ok(tally)
}

/// What is refused, and how.
fn errors<'a>(suite: &'a Suite, list: &mut Vec<Case<'a>>) {
    let mut case = |name, lanes, words: &'static [&'static str], set| {
        list.push(Case::new(name, move || refused(suite, lanes, words, set)));
    };
    case("no libfabric", Lanes::Ofi, &["libfabric cannot be opened"], NO_LIBFABRIC);
    case("no UCX", Lanes::Ucx, &["UCX cannot be opened", "STRAIT_UCX_LIBRARY"], NO_UCX);
    let libc = |variable| (variable, "libc.so.6");
    let words = &["is no libfabric that Strait can use"];
    case("not libfabric", Lanes::Ofi, words, libc("STRAIT_OFI_LIBRARY"));
    case("not UCX", Lanes::Ucx, &["is no UCX that Strait can use"], libc("STRAIT_UCX_LIBRARY"));
    let words = &["no provider named nonesuch", "STRAIT_OFI_PROVIDER", "fi_info"];
    case("no such provider", Lanes::Ofi, words, ("STRAIT_OFI_PROVIDER", "nonesuch"));
    let words = &["UCX 1.13.1", "UCX_TLS", "ucx_info"];
    case("no such transport", Lanes::Ucx, words, ("UCX_TLS", "nonesuch"));
}

const NO_LIBFABRIC: (&str, &str) = ("STRAIT_OFI_LIBRARY", "/nonexistent/libfabric.so.1");
const NO_UCX: (&str, &str) = ("STRAIT_UCX_LIBRARY", "/nonexistent/libucp.so.0");

/// Puts and gets of any size by the network's own writes and reads.
const BY_NETWORK: &[(&str, &str)] = &[("STRAIT_RMA_BYTES", "0")];

fn case<'a>(
    suite: &'a Suite,
    program: &'a programs::Program,
    ranks: usize,
    lanes: Lanes,
    way: Option<&'a Way>,
    set: &'static [(&'static str, &'static str)],
) -> Case<'a> {
    let name = way.map_or(lanes.name(), |way| way.name);
    let how = if set.is_empty() { "" } else { ", by the network itself" };
    Case::new(format!("{} np={ranks} {name}{how}", program.name), move || {
        let task = suite.mpiexec(ranks, lanes);
        let task = set.iter().fold(task, |task, (name, value)| task.env(name, value));
        let task = match way {
            Some(way) => way.of(task),
            None => task,
        };
        task.arg(&program.binary).limit(program.seconds.max(90)).run()?.says("ok\n")
    })
}

/// Examples, the course, and parts of mpi4py's suite.
fn python<'a>(suite: &'a Suite, lanes: Lanes, list: &mut Vec<Case<'a>>) -> Result<(), String> {
    let python = suite.python(Face::Mpich)?;
    for file in scripts::python_files(suite)? {
        let (python, stem) = (python.clone(), scripts::stem(&file));
        list.push(Case::new(format!("{stem}.py np=4 {}", lanes.name()), move || {
            let task = suite.mpiexec(4, lanes).arg(&python).arg(&file);
            let outcome = quiet(task.limit(120).run()?)?;
            expected::check(&stem, 4, &outcome.out)
        }));
    }
    let tests = setup::mpi4py_tests(&suite.places)?;
    for file in MPI4PY {
        let (python, tests) = (python.clone(), tests.clone());
        list.push(Case::new(format!("test_{file} np=3 {}", lanes.name()), move || {
            let records = suite.places.scratch().join("log/fabrics").join(lanes.name()).join(file);
            let task = suite.mpiexec(3, lanes);
            mpi4py::one_file(suite, task, 3, &python, &tests, file, &records)
        }));
    }
    for file in mpi4py::FILES.iter().filter(|_| !suite.is_whole) {
        let (python, tests) = (python.clone(), tests.clone());
        list.push(Case::new(format!("test_{file} np=2 {}", lanes.name()), move || {
            let records = suite.places.scratch().join("log/fabrics").join(lanes.name());
            let records = records.join(format!("{file}-2"));
            let task = suite.mpiexec(2, lanes);
            let task = match lanes {
                Lanes::Ucx => task.env("UCX_TLS", "tcp,self"),
                _ => task.env("STRAIT_OFI_PROVIDER", "tcp;ofi_rxm"),
            };
            mpi4py::one_file(suite, task, 2, &python, &tests, file, &records)
        }));
    }
    Ok(())
}

/// A job that cannot have the lane ends with a sentence.
fn refused(
    suite: &Suite,
    lanes: Lanes,
    words: &[&str],
    (name, value): (&str, &str),
) -> Result<(), String> {
    let task = suite.mpiexec(2, lanes).env(name, value);
    let outcome = task.arg(programs::scratch(suite, "hello")).limit(60).run()?;
    let missing = words.iter().find(|words| !outcome.err.contains(**words));
    match (outcome.success(), missing) {
        (false, None) => Ok(()),
        (_, missing) => Err(format!("no {missing:?}: {}", outcome.describe())),
    }
}

/// The libraries would catch a crash, and one of them leave a file.
fn crashed(suite: &Suite, lanes: Lanes, python: &Path) -> Result<(), String> {
    const SCRIPT: &str = "from mpi4py import MPI\nimport os, signal\nc = MPI.COMM_WORLD\n\
        c.barrier()\nif c.rank == 1: os.kill(os.getpid(), signal.SIGSEGV)\nc.barrier()";
    let place = suite.places.scratch().join("log/fabrics/crash").join(lanes.name());
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let task = suite.mpiexec(2, lanes).dir(&place).arg(python).args(["-c", SCRIPT]);
    let outcome = task.limit(60).run()?;
    let left = std::fs::read_dir(&place).map_err(|e| e.to_string())?.count();
    let told = outcome.err.contains("died by SIGSEGV") && outcome.code == Some(139);
    let told = told && !outcome.err.contains("backtrace") && outcome.out.is_empty();
    if told && left == 0 { Ok(()) } else { Err(format!("{left} files: {}", outcome.describe())) }
}

/// On one host, and on two without a fabric's hardware, the libraries are not even looked for.
fn unopened(suite: &Suite) -> Result<(), String> {
    let run = |words: &[&str]| -> Result<Outcome, String> {
        let task: Task = suite.mpiexec(2, Lanes::Shm).args(words).env(NO_UCX.0, NO_UCX.1);
        let task = task.env(NO_LIBFABRIC.0, NO_LIBFABRIC.1);
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

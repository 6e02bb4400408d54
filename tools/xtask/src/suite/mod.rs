// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask test`: every stage in turn, or those that are named; one summary at the end.
//!
//! Invariants:
//! 1. A stage counts what it ran. A stage that ran nothing has failed: it found no tests.
//! 2. A failure is printed where it happens, and named again in the summary.
//! 3. The last line is `N passed, N failed, N skipped`, alone, summed over the stages.
//! 4. No test asserts a maximum duration; a limit only ends what hangs.

mod amid;
mod bench;
mod cases;
mod container;
mod cost;
mod dynamic;
mod expected;
mod fabrics;
mod faults;
mod fortran;
pub mod hosts;
mod idle;
mod installed;
mod kill;
mod launchers;
mod mpi4py;
mod outcomes;
mod programs;
mod reports;
mod rsmpi;
mod rust;
mod schedules;
mod scripts;
mod signals;
pub mod soak;
mod tune;

use crate::install;
use crate::places::Places;
use crate::process::Task;
use crate::setup;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a stage ran.
#[derive(Default)]
pub struct Tally {
    pub passed: usize,
    pub skipped: usize,
    /// Each with its name and, after a colon, what was wrong.
    pub failed: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.failed.extend(other.failed);
    }

    pub fn pass(&mut self) {
        self.passed += 1;
    }

    /// Prints the failure at once: the reader need not wait for the summary.
    pub fn fail(&mut self, text: impl Into<String>) {
        let text = text.into();
        println!("   FAILED {text}");
        self.failed.push(text);
    }

    pub fn record(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.pass(),
            Err(why) => self.fail(format!("{name}: {why}")),
        }
    }
}

/// One part of the suite.
struct Stage {
    name: &'static str,
    about: &'static str,
    run: fn(&Suite) -> Result<Tally, String>,
}

const STAGES: &[Stage] = &[
    Stage { name: "fmt", about: "rustfmt agrees", run: rust::fmt },
    Stage { name: "tidy", about: "the house rules", run: tidy },
    Stage { name: "clippy", about: "no warning, in no target", run: rust::clippy },
    Stage { name: "unit", about: "unit, model and documentation tests", run: rust::unit },
    Stage { name: "sim", about: "simulation with fixed seeds", run: rust::sim },
    Stage { name: "fuzz", about: "smoke run of the fuzz targets", run: rust::fuzz },
    Stage { name: "loom", about: "small models of ring, bell and slab", run: rust::loom },
    Stage { name: "docs", about: "documentation builds without a warning", run: rust::docs },
    Stage {
        name: "install",
        about: "the tree is complete, and works after mv",
        run: installed::stage,
    },
    Stage { name: "c", about: "C programs at 1 to 7 ranks, both lanes", run: programs::stage },
    Stage {
        name: "fortran",
        about: "Fortran programs with mpif.h, mpi and mpi_f08, mpifort, CMake",
        run: fortran::stage,
    },
    Stage { name: "schedules", about: "schedules of a user's files", run: schedules::stage },
    Stage { name: "cost", about: "instructions and system calls of a message", run: cost::stage },
    Stage {
        name: "dynamic",
        about: "jobs that meet, jobs that spawn others, how these end, pools of mpi4py.futures",
        run: dynamic::stage,
    },
    Stage { name: "reports", about: "how jobs end, and what mpiexec says", run: reports::stage },
    Stage { name: "kill", about: "a rank is killed 100 times; nothing is left", run: kill::stage },
    Stage { name: "amid", about: "a rank is killed amid a large message", run: amid::stage },
    Stage { name: "faults", about: "a rank dies, the others go on", run: faults::stage },
    Stage { name: "soak", about: "random messages while ranks are stopped", run: soak::stage },
    Stage { name: "container", about: "what containers refuse", run: container::stage },
    Stage { name: "idle", about: "128 waiting ranks use no processor time", run: idle::stage },
    Stage { name: "bench", about: "the benchmarks run and validate", run: bench::stage },
    Stage { name: "examples", about: "examples and course, 2 to 128 ranks", run: scripts::stage },
    Stage { name: "hosts", about: "jobs on two and three hosts", run: hosts::stage },
    Stage { name: "fabrics", about: "jobs over libfabric", run: fabrics::stage },
    Stage {
        name: "launchers",
        about: "hydra, mpirun and srun start our ranks",
        run: launchers::stage,
    },
    Stage { name: "mpi4py", about: "mpi4py's own tests, both faces", run: mpi4py::stage },
];

/// Stages that are run when they are named: they need more, or take longer, than CI has.
const NAMED: &[Stage] =
    &[Stage { name: "rsmpi", about: "rsmpi's examples, built against us", run: rsmpi::stage }];

/// What the stages share.
pub struct Suite {
    pub places: Places,
    /// Another MPI's tree (`test --with PREFIX`): checks that the tests themselves are portable.
    pub foreign: Option<PathBuf>,
    /// All stages run: those that have more to run than time allows then run a part.
    pub is_whole: bool,
    installed: AtomicBool,
}

impl Suite {
    pub fn new(places: Places, foreign: Option<PathBuf>) -> Suite {
        Suite { places, foreign, is_whole: false, installed: AtomicBool::new(false) }
    }

    /// Sees that the installed tree is current; the first caller pays.
    pub fn need_prefix(&self) -> Result<(), String> {
        if self.foreign.is_none() && !self.installed.load(Ordering::Relaxed) {
            install::into_target(&self.places)?;
            self.installed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A program of the MPI under test.
    pub fn bin(&self, name: &str) -> PathBuf {
        match &self.foreign {
            Some(prefix) => prefix.join("bin").join(name),
            None => self.places.bin(name),
        }
    }

    /// `mpiexec -n COUNT`, over these lanes.
    pub fn mpiexec(&self, ranks: usize, lanes: Lanes) -> Task {
        self.mpiexec_below(&[], ranks, lanes)
    }

    /// The same, started by a command in front of it.
    pub fn mpiexec_below(&self, before: &[PathBuf], ranks: usize, lanes: Lanes) -> Task {
        // A shell that started us in the background made us ignore SIGINT, which is inherited; the
        // cases that send it need what a terminal's shell would give. `env` becomes mpiexec.
        let task = Task::new("env").arg("--default-signal=INT,QUIT").args(before);
        let task = task.arg(self.bin("mpiexec")).arg("-n").arg(ranks.to_string());
        match lanes {
            Lanes::Shm => task.without_env("STRAIT_LANES"),
            Lanes::Tcp | Lanes::Ofi | Lanes::Ucx => task.env("STRAIT_LANES", lanes.name()),
        }
    }

    pub fn lanes(&self) -> &'static [Lanes] {
        if self.foreign.is_some() { &[Lanes::Shm] } else { &[Lanes::Shm, Lanes::Tcp] }
    }

    pub fn faces(&self) -> &'static [Face] {
        if self.foreign.is_some() { &[Face::Mpich] } else { &[Face::Mpich, Face::Standard] }
    }

    /// The Python that has mpi4py for this face; made if it is not there.
    pub fn python(&self, face: Face) -> Result<PathBuf, String> {
        if let Some(prefix) = &self.foreign {
            return Ok(prefix.join("bin/python"));
        }
        let venv = match face {
            Face::Mpich => {
                setup::wheel_venv(&self.places)?;
                self.places.venv()
            }
            Face::Standard => {
                setup::source_venv(&self.places)?;
                self.places.venv_abi()
            }
        };
        Ok(venv.join("bin/python"))
    }
}

/// Which way the messages go between ranks of this host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lanes {
    Shm,
    Tcp,
    /// libfabric (fabrics.rs); not among [`Suite::lanes`].
    Ofi,
    /// UCX; the same.
    Ucx,
}

impl Lanes {
    pub fn name(self) -> &'static str {
        match self {
            Lanes::Shm => "shm",
            Lanes::Tcp => "tcp",
            Lanes::Ofi => "ofi",
            Lanes::Ucx => "ucx",
        }
    }
}

/// Which C library Python's mpi4py loads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    Mpich,
    Standard,
}

impl Face {
    pub fn name(self) -> &'static str {
        match self {
            Face::Mpich => "mpich",
            Face::Standard => "standard",
        }
    }
}

pub fn list() {
    for stage in STAGES {
        println!("{:<9} {}", stage.name, stage.about);
    }
    for stage in NAMED {
        println!("{:<9} {} (only when it is named)", stage.name, stage.about);
    }
}

/// Runs the named stages, or all; answers whether nothing failed.
pub fn command(places: Places, names: &[String], foreign: Option<PathBuf>) -> Result<bool, String> {
    for name in names {
        if !STAGES.iter().chain(NAMED).any(|stage| stage.name == name) {
            return Err(format!("no stage '{name}'; `cargo xtask test --list` names them"));
        }
    }
    setup::packages()?;
    let suite = Suite { is_whole: names.is_empty(), ..Suite::new(places, foreign) };
    let is_named = |stage: &&Stage| names.iter().any(|name| name == stage.name);
    let chosen = STAGES.iter().filter(|stage| names.is_empty() || is_named(stage));
    let chosen = chosen.chain(NAMED.iter().filter(is_named));
    let mut results = Vec::new();
    for stage in chosen {
        println!("== {}: {}", stage.name, stage.about);
        let began = Instant::now();
        let mut tally = (stage.run)(&suite).unwrap_or_else(|why| {
            let mut tally = Tally::default();
            tally.fail(why);
            tally
        });
        if tally.passed == 0 && tally.failed.is_empty() {
            tally.fail("nothing was run");
        }
        let seconds = began.elapsed().as_secs_f64();
        println!("{}", line(stage.name, &tally, seconds));
        results.push((stage.name, tally, seconds));
    }
    Ok(summary(&results))
}

fn line(name: &str, tally: &Tally, seconds: f64) -> String {
    let word = if tally.failed.is_empty() { "ok" } else { "failed" };
    format!("{name}: {word}, {} passed, {seconds:.1} s", tally.passed)
}

fn summary(results: &[(&str, Tally, f64)]) -> bool {
    println!("\n== summary");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, tally, seconds) in results {
        println!("{}", line(name, tally, *seconds));
        for text in &tally.failed {
            println!("   FAILED {}", text.lines().next().unwrap_or_default());
        }
        passed += tally.passed;
        failed += tally.failed.len();
        skipped += tally.skipped;
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

fn tidy(suite: &Suite) -> Result<Tally, String> {
    let (files, findings) = crate::tidy::check(&suite.places)?;
    let mut tally = Tally { passed: files, ..Tally::default() };
    for finding in findings {
        tally
            .fail(format!("{}:{}: {}: {}", finding.path, finding.line, finding.rule, finding.text));
    }
    Ok(tally)
}

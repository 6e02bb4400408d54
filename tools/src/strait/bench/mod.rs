// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait bench`: runs the osu-named programs over Strait, or over Strait and other installed MPI
//! libraries in turn, and tells the result: as tables, as CSV and JSON, as one page of HTML.
//!
//! - `contender` is a library with its settings and knows how to start a program over it;
//! - `program` and `output` are the programs: which there are, what they print;
//! - `distance` probes how far the two processors are, `launch` runs one command;
//! - `campaign` measures, into a `session`, which is a file from its first line on;
//! - `statistics` and `compare` derive; `text`, `files`, `page`, `chart` and `axis` show.
//!
//! Everything that is shown can be made again from the session's file (`--from`).

mod axis;
mod campaign;
pub(super) mod chart;
pub(super) mod compare;
mod contender;
pub(super) mod distance;
pub(super) mod figures;
mod files;
mod launch;
mod machine;
mod options;
pub(super) mod output;
pub(super) mod page;
mod page_method;
mod page_trouble;
mod program;
mod progress;
mod session;
pub(super) mod statistics;
mod text;

pub use options::Options;

use crate::prefix::Prefix;
use campaign::{Campaign, Plan};
use compare::Comparison;
use contender::{Contender, Invocation, Setting};
use launch::Launcher;
use program::Programs;
use session::{Head, Recorder, Session};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// Exit code where something that was asked for failed to run.
const CODE_FAILED: u8 = 1;
/// Exit code of a command line that makes no sense here.
const CODE_USAGE: u8 = 2;

/// How long `mpiexec --version` may take.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// Runs it.
pub fn run(options: &Options) -> ExitCode {
    match execute(options) {
        Ok(code) => ExitCode::from(code),
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::from(CODE_USAGE)
        }
    }
}

fn execute(options: &Options) -> Result<u8, String> {
    if let Some(file) = &options.from {
        let session = Session::read(file)?;
        if let Some(directory) = &options.out {
            make_directory(directory)?;
        }
        tell(options, &session, options.out.as_deref())?;
        return Ok(0);
    }
    let programs = Programs::at(options.programs.clone().unwrap_or_else(beside_us));
    if options.list {
        super::print(&programs.names().iter().map(|name| format!("{name}\n")).collect::<String>());
        return Ok(0);
    }
    let benchmarks = programs.choose(&options.names)?;
    let mut launcher = Launcher::new().map_err(|e| format!("cannot watch for signals: {e}"))?;
    let contenders = contenders(options, &mut launcher);
    if let Some(number) = launcher.stopped() {
        eprintln!("interrupted before anything was measured");
        return Ok(128 + number as u8);
    }
    let contenders = contenders?;
    let head = head(options, contenders, benchmarks);
    let directory = results_directory(options, &head)?;
    let mut recorder = Recorder::default();
    if let Some(directory) = &directory {
        recorder.add(&directory.join(files::SESSION))?;
    }
    if let Some(records) = &options.record {
        make_directory(records)?;
        let path = files::record_path(records, &head);
        recorder.add(&path)?;
        eprintln!("recording in {}", path.display());
    }
    let mut session = Session::new(head);
    let amount = options.amount();
    let lanes = session.head.lanes.clone();
    let plan = Plan {
        programs: &programs,
        amount: &amount,
        setting: Setting {
            ranks: options.ranks,
            cores: session.head.machine.cores,
            lanes: lanes.as_deref(),
        },
        repeats: options.repeats(),
        budget: options.budget,
        timeout: options.timeout,
        retries: options.retries,
        want: options.class.map(options::Wanted::class),
    };
    let signal = Campaign::new(plan, launcher, &mut session, &mut recorder).measure()?;
    tell(options, &session, directory.as_deref())?;
    let failed = session.failures().next().is_some();
    Ok(signal.map_or(if failed { CODE_FAILED } else { 0 }, |number| 128 + number as u8))
}

/// Shows a session in every form that was asked for.
fn tell(options: &Options, session: &Session, directory: Option<&Path>) -> Result<(), String> {
    let compared = Comparison::of(session);
    let shown = if options.json {
        format!("{:#}\n", files::summary(session, &compared))
    } else if options.csv {
        files::csv(&compared)?
    } else {
        text::text(&compared)
    };
    super::print(&shown);
    eprint!("{}", text::trouble(session));
    if let Some(directory) = directory {
        let report = files::write(directory, session, &compared)?;
        eprintln!("report: {}", report.display());
    }
    Ok(())
}

fn beside_us() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    executable.parent().map(Path::to_owned).unwrap_or_default()
}

/// Ours first, then who was named.
fn contenders(options: &Options, launcher: &mut Launcher) -> Result<Vec<Contender>, String> {
    let launcher = RefCell::new(launcher);
    let version_of = |path: &Path| version_of(path, &mut launcher.borrow_mut());
    let mut all = Vec::new();
    if !options.without_ours {
        let prefix = Prefix::of_this_executable().ok_or("this program has no place on disk")?;
        let root = prefix.root().display();
        if !prefix.root().join("bin/mpiexec").is_file() {
            return Err(format!(
                "there is no mpiexec beside this program, in {root}/bin: run strait from an \
                 installed prefix, or name all contenders and say --without-ours"
            ));
        }
        all.push(Contender::parse(&format!("strait={root},kind=strait"), version_of)?);
    }
    for text in &options.compare {
        let contender = Contender::parse(text, version_of)?;
        if all.iter().any(|known: &Contender| known.name == contender.name) {
            return Err(format!("two contenders are called '{}'", contender.name));
        }
        all.push(contender);
    }
    for contender in &mut all {
        if contender.left_out.is_none() {
            contender.left_out = contender.lacks_lanes(options.lanes.as_deref());
        }
    }
    match all.first() {
        None => Err("nobody to measure: give --compare NAME=PREFIX".into()),
        Some(first) => match &first.left_out {
            Some(reason) => Err(format!("{}: {reason}", first.name)),
            None => Ok(all),
        },
    }
}

/// What a launcher says of itself; nothing if it does not run, or not for long enough.
fn version_of(path: &Path, launcher: &mut Launcher) -> String {
    let mut env = BTreeMap::new();
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT"] {
        env.insert(name.to_owned(), "1".to_owned());
        env.insert(format!("{name}_CONFIRM"), "1".to_owned());
    }
    let argv = vec![path.display().to_string(), "--version".into()];
    match launcher.run(&Invocation { env, argv }, VERSION_LIMIT, None) {
        Ok(ran) if ran.out.trim().is_empty() => ran.err,
        Ok(ran) => ran.out,
        Err(_) => String::new(),
    }
}

fn head(options: &Options, contenders: Vec<Contender>, benchmarks: Vec<String>) -> Head {
    let words = std::env::args().map(|word| contender::quoted(&word)).collect::<Vec<_>>();
    let probed = if options.no_probe { None } else { distance::pair() };
    Head {
        format: session::FORMAT.into(),
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        strait: crate::VERSION.into(),
        build: strait_transport::node::BUILD_ID.into(),
        commit: options.commit.clone().or_else(|| option_env!("STRAIT_COMMIT").map(str::to_owned)),
        command: words.join(" "),
        machine: machine::Machine::here(probed),
        ranks: options.ranks,
        lanes: options.lanes.clone(),
        near_below_ns: options.near_ns,
        ours: contenders.first().map(|c| c.name.clone()).unwrap_or_default(),
        contenders,
        benchmarks,
    }
}

/// Where results go: where was said; for a comparison, a new directory here.
fn results_directory(options: &Options, head: &Head) -> Result<Option<PathBuf>, String> {
    let directory = match &options.out {
        Some(directory) => directory.clone(),
        None if options.compare.is_empty() => return Ok(None),
        None => PathBuf::from(format!("strait-bench-{}", head.started.replace([':', 'Z'], ""))),
    };
    make_directory(&directory)?;
    Ok(Some(directory))
}

fn make_directory(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path).map_err(|e| format!("cannot make {}: {e}", path.display()))
}

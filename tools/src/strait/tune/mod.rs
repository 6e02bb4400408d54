// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait tune`: which algorithm is the fastest here, as a table that `STRAIT_TUNING` names.
//!
//! The measuring is done by `strait-tune-ranks`, a program of MPI, which keeps what it finds in a
//! file. This command reads the command line, starts the job (`-n`), or becomes a rank of the one
//! that it is started in; and it makes table and report of the file (`--from`), which the
//! ranks ask of it in the end.

mod page;
mod start;

use super::simulate::sizes;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use strait_collectives::select::tuning::decide::{changes, verdicts};
use strait_collectives::select::tuning::{Record, Request, VERSION, write};

/// Exit code of a command line that makes no sense.
const CODE_USAGE: u8 = 2;

/// The options of `strait tune`.
#[derive(Args, Debug)]
#[command(after_help = "Under mpiexec (mpiexec -n 4 strait tune), or with -n, which starts it.\n\
    Exit codes: 0 done; 1 a guideline is broken (--check) or a rank failed; 2 usage; 130 by ^C.")]
pub struct Options {
    /// Start mpiexec with so many ranks.
    #[arg(short = 'n', value_name = "RANKS", value_parser = clap::value_parser!(u32).range(2..))]
    start: Option<u32>,
    /// How long it may take.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    budget: Duration,
    /// Sizes: a list, or a range of powers of two.
    #[arg(long, default_value = "8..1M")]
    bytes: String,
    /// Which collectives [default: all that have a choice].
    #[arg(long, value_delimiter = ',')]
    collectives: Vec<String>,
    /// Numbers of ranks: the first so many of the job [default: all of it].
    #[arg(long, value_delimiter = ',')]
    ranks: Vec<u32>,
    /// The table; the report and the record of the run lie beside it.
    #[arg(long, default_value = "strait-tuning.toml", value_name = "FILE")]
    out: PathBuf,
    /// Go on with the run that was interrupted, or add to one that is done.
    #[arg(long)]
    resume: bool,
    /// The order of measurements is drawn from this number [default: from the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Look for collectives that are slower than what could take their place.
    #[arg(long)]
    check: bool,
    /// Measure nothing: table and report of the record of a run.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["start", "check", "resume"])]
    from: Option<PathBuf>,
}

/// Runs it.
pub fn run(options: &Options) -> ExitCode {
    let done = match &options.from {
        Some(file) => tell(file, &options.out).map(|()| ExitCode::SUCCESS),
        None => request(options).and_then(|request| match options.start {
            Some(ranks) => start::job(ranks, &request),
            None => start::rank(&request),
        }),
    };
    done.unwrap_or_else(|text| {
        eprintln!("error: {text}");
        ExitCode::from(CODE_USAGE)
    })
}

/// Where a run is kept.
fn state_of(out: &Path) -> PathBuf {
    out.with_extension("run.json")
}

fn request(options: &Options) -> Result<Request, String> {
    let state = state_of(&options.out);
    let bytes = sizes::sizes(&options.bytes)?.into_iter().map(|size| size as usize).collect();
    let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let words = [own.as_path(), "tune".as_ref(), "--from".as_ref(), &state, "--out".as_ref()];
    let then = words.into_iter().chain([options.out.as_path()]);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Request {
        collectives: options.collectives.clone(),
        bytes,
        ranks: options.ranks.clone(),
        budget: options.budget.as_secs_f64(),
        then: then.map(|word| word.to_string_lossy().into_owned()).collect(),
        state,
        resume: options.resume,
        seed: options.seed.unwrap_or(clock.as_nanos() as u64),
        check: options.check,
    })
}

/// Table and report of a run.
fn tell(file: &Path, out: &Path) -> Result<(), String> {
    let refused = |path: &Path| {
        let name = path.display().to_string();
        move |error: std::io::Error| format!("{name}: {error}")
    };
    let text = std::fs::read_to_string(file).map_err(refused(file))?;
    let record: Record = serde_json::from_str(&text)
        .map_err(|error| format!("{} is not the record of a run: {error}", file.display()))?;
    if record.version != VERSION {
        let (name, version) = (file.display(), record.version);
        return Err(format!("{name} has version {version}; this build reads {VERSION}"));
    }
    std::fs::write(out, write::table(&record)).map_err(refused(out))?;
    let report = out.with_extension("html");
    std::fs::write(&report, page::page(&record)).map_err(refused(&report))?;
    let verdicts = verdicts(&record);
    let changed = verdicts.iter().filter(|one| one.chosen.0 != one.default.0).count();
    super::print(&format!(
        "{} of {} calls measured; {changed} take another algorithm than by default, in {} rules\n\
         table:  {}\nreport: {}\nuse it: STRAIT_TUNING={} mpiexec ...\n",
        verdicts.len(),
        record.cells.len(),
        changes(&verdicts).len(),
        out.display(),
        report.display(),
        out.display()
    ));
    Ok(())
}

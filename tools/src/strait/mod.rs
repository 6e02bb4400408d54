// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The strait command: looks at the installation and at the machine, and measures.

mod bench;
mod doctor;
mod fabrics;
mod info;
mod pairs;
mod params;
mod peer;
mod probe;
mod schedule;
mod simulate;
mod topology;
mod tune;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Look at Strait and at this machine.
#[derive(Parser)]
#[command(name = "strait", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Version, build, lanes, installed libraries, facts of this host; what it is made of.
    Info(info::Options),
    /// What this machine permits, and which MPI library each Python would load.
    Doctor {
        /// As one JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        pairs: pairs::Options,
    },
    /// Every variable that changes how Strait works, its value here, and who set it.
    Params {
        /// As one JSON object, with what each one does.
        #[arg(long)]
        json: bool,
    },
    /// Half of a look of the doctor's: holds a word that another process reads.
    #[command(hide = true)]
    PeerHold,
    /// The other half.
    #[command(hide = true)]
    PeerRead { pid: i32, address: usize },
    /// Tries a provider of libfabric, for the doctor.
    #[command(hide = true)]
    FabricProvider { name: String },
    /// Measure Strait, or Strait beside other MPI libraries, and report.
    Bench(Box<bench::Options>),
    /// What a collective, or the start of a job, would cost on a machine that is not here.
    Simulate(Box<simulate::Command>),
    /// Which algorithm a collective call gets, and why.
    Explain(Box<simulate::explain::Options>),
    /// Measure which algorithm is best here, and write the table; or check guidelines.
    Tune(Box<tune::Options>),
    /// Show, verify or draw the schedules of an algorithm, or of a file.
    Schedule(Box<schedule::Options>),
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Subcommands that are planned; each says so instead of being unknown.
const PLANNED: &[&str] = &["plan", "report", "top", "ps", "hello", "examples", "completions"];

/// Exit code of a subcommand that is planned only.
const CODE_NOT_BUILT: u8 = 3;

/// Runs the command.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Info(options) => info::run(&options),
        Command::Doctor { json, pairs } => doctor::run(json, &pairs),
        Command::Params { json } => params::run(json),
        Command::PeerHold => peer::hold(),
        Command::PeerRead { pid, address } => peer::read(pid, address),
        Command::FabricProvider { name } => fabrics::try_provider(&name),
        Command::Bench(options) => bench::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Explain(options) => simulate::explain::run(&options),
        Command::Tune(options) => tune::run(&options),
        Command::Schedule(options) => schedule::run(&options),
        Command::Other(words) => other(words.first().map_or("", String::as_str)),
    }
}

fn other(name: &str) -> ExitCode {
    if PLANNED.contains(&name) {
        eprintln!("error: strait {name} is not built yet");
        return ExitCode::from(CODE_NOT_BUILT);
    }
    eprintln!("error: unknown command '{name}'");
    let known =
        ["info", "params", "doctor", "bench", "simulate", "explain", "schedule", "tune", "help"];
    let near = known
        .iter()
        .chain(PLANNED)
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((_, near)) => eprintln!("  help: did you mean 'strait {near}'?"),
        None => eprintln!("  help: strait --help lists the commands"),
    }
    ExitCode::from(2)
}

/// Prints; a closed pipe is nobody's concern.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

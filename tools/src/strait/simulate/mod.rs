// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait simulate`: what a collective would cost on a machine that is not here, as a table and
//! as one page of HTML. `strait explain`: which algorithm a call gets, and why.
//!
//! - `sizes` reads sizes and ranges of them, `peers` holds what other libraries choose and the
//!   formulas of what is not built here, `published` the measured points of others;
//! - `startup` is about the start of a job, not a collective;
//! - `curves` runs the simulator, `tables` compares selections, `page` shows.
#![forbid(unsafe_code)]

mod curves;
pub mod explain;
mod page;
mod peers;
mod published;
pub(super) mod sizes;
mod startup;
mod tables;

use clap::{Args, Subcommand, ValueEnum};
use curves::{Curve, Request};
use std::path::PathBuf;
use std::process::ExitCode;
use strait_collectives::algorithm::{ALL, Algorithm};
use strait_collectives::kind::Kind;
use strait_collectives::simulate::{FORMS, Model, PRESETS, Topology};

/// Exit code of a command line that makes no sense.
pub const CODE_USAGE: u8 = 2;
/// The most ranks that a collective is simulated for: 2^22.
const RANKS_MAX: u32 = 1 << 22;

/// How closely to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mode {
    /// Structural where that is affordable, else analytic.
    Auto,
    /// A closed formula.
    Analytic,
    /// All ranks, with the load of every link.
    Structural,
    /// Every step under a virtual clock.
    Event,
}

/// What is simulated.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Command {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    collective: Option<Options>,
}

#[derive(Subcommand, Debug)]
enum Other {
    /// Instead of a collective: how long mpiexec takes to start a job, and with how much memory.
    Startup(startup::Options),
}

/// The options of `strait simulate`.
#[derive(Args, Debug)]
pub struct Options {
    /// The collective: barrier, bcast, reduce, allreduce, allgather, ... .
    collective: String,
    /// How many ranks.
    #[arg(
        long,
        short = 'n',
        value_parser = clap::value_parser!(u32).range(1..=i64::from(RANKS_MAX))
    )]
    ranks: u32,
    /// The network: a kind (sized to the ranks), or a kind with its sizes.
    #[arg(long, default_value = "fattree", long_help = FORMS)]
    topology: String,
    /// Ranks of a node.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    ppn: u32,
    /// Sizes: one, a list, or a range of powers of two (8..64M). The whole vector of a bcast,
    /// reduce, allreduce or scan, else one rank's block.
    #[arg(long, default_value = "8..64M")]
    bytes: String,
    /// Algorithms, separated by commas; all that fit if there is none.
    #[arg(long, value_delimiter = ',')]
    algorithm: Vec<String>,
    /// How closely to look.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// Which machine's numbers (see docs/simulation.md).
    #[arg(long, default_value = "cluster")]
    machine: String,
    /// Event mode: ranks begin within so many microseconds.
    #[arg(long, default_value_t = 0.0)]
    skew: f64,
    /// Event mode: mean disturbance of each action of a processor, in microseconds.
    #[arg(long, default_value_t = 0.0)]
    noise: f64,
    /// Event mode: seed of skew and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write a page with the chart there.
    #[arg(long, default_value = "strait-simulate.html")]
    out: PathBuf,
    /// Write no page.
    #[arg(long, conflicts_with = "out")]
    no_page: bool,
    /// Instead: compare what our table selects with the best known algorithm and with what the
    /// peers' default tables select, by the analytic model.
    #[arg(long)]
    compare_tables: bool,
}

/// Runs it.
pub fn run(command: &Command) -> ExitCode {
    let text = match (&command.other, &command.collective) {
        (Some(Other::Startup(options)), _) => Ok(startup::report(options)),
        (None, Some(options)) => execute(options),
        (None, None) => Err("what? see strait simulate --help".to_owned()),
    };
    match text {
        Ok(text) => {
            super::print(&text);
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::from(CODE_USAGE)
        }
    }
}

fn execute(options: &Options) -> Result<String, String> {
    let kind = kind(&options.collective)?;
    let model = machine(&options.machine)?;
    let topology = topology(&options.topology, options.ranks.div_ceil(options.ppn))?;
    let sizes = if kind == Kind::Barrier { vec![0] } else { sizes::sizes(&options.bytes)? };
    if options.compare_tables {
        let place = tables::Place {
            model,
            topology: &topology,
            ranks: options.ranks,
            ranks_per_node: options.ppn,
        };
        return tables::report(kind, &place, &sizes);
    }
    for (name, value) in [("--skew", options.skew), ("--noise", options.noise)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(format!("{name} {value}: not a time"));
        }
    }
    let request = Request { options, model, topology: &topology, sizes: &sizes };
    let algorithms = algorithms(kind, &options.algorithm)?;
    let curves = curves::curves(&request, &algorithms)?;
    let mut text = table(kind, &request, &curves);
    if !options.no_page {
        let page = page::page(&title(options), &introduction(&request), &curves, &sizes);
        std::fs::write(&options.out, page)
            .map_err(|error| format!("{}: {error}", options.out.display()))?;
        text.push_str(&format!("page: {}\n", options.out.display()));
    }
    Ok(text)
}

fn title(options: &Options) -> String {
    format!("{} over {} ranks, simulated", options.collective, options.ranks)
}

fn introduction(request: &Request) -> String {
    let (options, model) = (request.options, request.model);
    format!(
        "{}, {} ranks per node ({} of {} nodes used); machine {}: {}.",
        options.topology,
        options.ppn,
        options.ranks.div_ceil(options.ppn),
        request.topology.nodes(),
        model.name,
        model.origin
    )
}

/// The collective of that name.
pub fn kind(name: &str) -> Result<Kind, String> {
    // What a neighbourhood costs is a matter of its graph, which nobody gave.
    let is_here = |kind: &Kind| !kind.has_neighbors();
    Kind::by_name(name).filter(is_here).ok_or_else(|| {
        let known = Kind::ALL.into_iter().filter(is_here).map(Kind::name).collect::<Vec<_>>();
        format!("no collective '{name}' here; known are {}", known.join(", "))
    })
}

fn machine(name: &str) -> Result<&'static Model, String> {
    Model::by_name(name).ok_or_else(|| {
        let known: Vec<_> = PRESETS.iter().map(|model| model.name).collect();
        format!("no machine '{name}'; known are {}", known.join(", "))
    })
}

fn topology(text: &str, nodes: u32) -> Result<Topology, String> {
    match Topology::sized(text, nodes) {
        Some(topology) => Ok(topology),
        None => {
            text.parse().map_err(|bad: strait_collectives::simulate::BadTopology| bad.to_string())
        }
    }
}

/// The algorithms of those names, or all within one group.
fn algorithms(kind: Kind, names: &[String]) -> Result<Vec<&'static Algorithm>, String> {
    let all: Vec<_> = ALL.iter().filter(|a| a.kind == kind && !a.inter).collect();
    let named = names.iter().map(|name| {
        all.iter().find(|a| a.name == name).copied().ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|a| a.name).collect();
            format!("{} has no algorithm '{name}'; known are {}", kind.name(), known.join(", "))
        })
    });
    if names.is_empty() { Ok(all) } else { named.collect() }
}

fn table(kind: Kind, request: &Request, curves: &[Curve]) -> String {
    use super::bench::figures::figure;
    let selected = |bytes: u64| tables::selected(kind, request.options.ranks, bytes);
    let mut rows = vec![vec!["# Size".to_owned()]];
    rows[0].extend(curves.iter().map(|curve| format!("{} ({})", curve.name, curve.mode)));
    rows[0].extend(["selected".into(), "best".into()]);
    for (index, &bytes) in request.sizes.iter().enumerate() {
        let mut row = vec![bytes.to_string()];
        row.extend(curves.iter().map(|curve| figure(curve.times_us[index])));
        let best = curves.iter().min_by(|a, b| a.times_us[index].total_cmp(&b.times_us[index]));
        row.push(selected(bytes).to_owned());
        row.push(best.map_or("-".into(), |curve| curve.name.to_owned()));
        rows.push(row);
    }
    let mut text = format!("# {}: us\n# {}\n", title(request.options), introduction(request));
    text.push_str(&aligned(&rows));
    for curve in curves {
        curve.notes.iter().for_each(|note| text.push_str(&format!("# {}: {note}\n", curve.name)));
    }
    text
}

/// Columns under each other, the first to the left.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait schedule`: the schedules of an algorithm, or of a file in the text form, shown,
//! verified, or drawn as one SVG file.
#![forbid(unsafe_code)]

use super::simulate::{CODE_USAGE, kind, sizes};
use clap::{Args, Subcommand};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use strait_collectives::algorithm::{ALL, Algorithm, Parameters, by_name};
use strait_collectives::schedule::{Schedule, Step, parse_all};
use strait_collectives::select::{Circumstances, Hosts, SEGMENTS_MAX, choose};
use strait_collectives::shape::{Rank, Shape};
use strait_collectives::verify::verify;

/// The options of `strait schedule`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Print schedules in the text form (docs/schedule.md).
    Show {
        #[command(flatten)]
        what: What,
        /// Of this rank only.
        #[arg(long)]
        rank: Option<Rank>,
    },
    /// Prove that the schedules of all ranks are right together: every message is matched, nothing
    /// blocks for ever, no step disturbs another, every result is what the collective defines.
    Verify {
        #[command(flatten)]
        what: What,
    },
    /// Draw ranks side by side, time downwards, messages as arrows.
    Draw {
        #[command(flatten)]
        what: What,
        /// Write the picture there.
        #[arg(long, short, default_value = "strait-schedule.svg")]
        out: PathBuf,
    },
}

/// Which schedules.
#[derive(Args, Debug)]
struct What {
    /// The collective: barrier, bcast, reduce, allreduce, allgather, ... .
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    collective: Option<String>,
    /// How many ranks.
    #[arg(
        long,
        short = 'n',
        default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    ranks: u32,
    /// The algorithm; the selected one if there is none.
    #[arg(long)]
    algorithm: Option<String>,
    /// The size that selects: the whole vector of a bcast, reduce, allreduce or scan, else one
    /// rank's block.
    #[arg(long, default_value = "8")]
    bytes: String,
    /// The root.
    #[arg(long, default_value_t = 0)]
    root: Rank,
    /// Exchanges in flight at once.
    #[arg(long)]
    window: Option<u32>,
    /// Radix of a dissemination.
    #[arg(long)]
    radix: Option<u32>,
    /// Segments of a pipelined algorithm.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(SEGMENTS_MAX)))]
    segments: Option<u32>,
    /// Input and output share memory.
    #[arg(long)]
    in_place: bool,
    /// Blocks have different sizes (the v- and w-variants).
    #[arg(long)]
    irregular: bool,
    /// Schedules of all ranks in the text form, one after another.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Of a file: reductions must combine in rank order.
    #[arg(long, requires = "file")]
    ordered: bool,
}

/// Exit code where schedules are not right.
const CODE_WRONG: u8 = 1;

/// Runs it.
pub fn run(options: &Options) -> ExitCode {
    match &options.action {
        Action::Show { what, rank } => answer(show(what, *rank)),
        Action::Draw { what, out } => answer(draw_to(what, out)),
        Action::Verify { what } => match what.schedules() {
            Err(text) => answer(Err(text)),
            Ok(found) => match verify(&found.schedules, found.ordered) {
                Ok(cost) => answer(Ok(format!(
                    "{}: right for {} ranks; the longest chain has {} messages, all ranks send {} \
                     with {} blocks\n",
                    found.name,
                    found.schedules.len(),
                    cost.rounds,
                    cost.messages,
                    cost.blocks
                ))),
                Err(flaw) => {
                    eprintln!("error: {}: {flaw}", found.name);
                    ExitCode::from(CODE_WRONG)
                }
            },
        },
    }
}

fn answer(result: Result<String, String>) -> ExitCode {
    match result {
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

struct Found {
    name: String,
    schedules: Vec<Schedule>,
    ordered: bool,
}

impl What {
    fn schedules(&self) -> Result<Found, String> {
        if let Some(file) = &self.file {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
            let schedules = parse_all(&text).map_err(|what| format!("{name}: {what}"))?;
            let schedules = schedules.into_iter().map(|(_, schedule)| schedule).collect();
            return Ok(Found { name, schedules, ordered: self.ordered });
        }
        let kind = kind(self.collective.as_deref().unwrap_or_default())?;
        if self.root >= self.ranks {
            return Err(format!("root {} is not among {} ranks", self.root, self.ranks));
        }
        let mut shape = Shape::new(kind, self.ranks).root(self.root);
        if self.in_place {
            shape = shape.in_place();
        }
        if self.irregular {
            shape = shape.irregular();
        }
        let bytes = sizes::size(&self.bytes)? as usize;
        let call = Circumstances { bytes, commutes: true, hosts: Hosts::Several };
        let plan = choose(&shape, call);
        let (algorithm, mut parameters) = match &self.algorithm {
            None => (plan.algorithm, plan.parameters),
            Some(name) => {
                let found = by_name(kind, name).filter(|one| !one.inter);
                let found = found.ok_or_else(|| {
                    let fits = |one: &&Algorithm| one.kind == kind && !one.inter;
                    let known: Vec<&str> = ALL.iter().filter(fits).map(|one| one.name).collect();
                    let known = known.join(", ");
                    format!("{} has no algorithm '{name}', only {known}", kind.name())
                })?;
                (found, Parameters::default())
            }
        };
        parameters.window = self.window.unwrap_or(parameters.window);
        parameters.radix = self.radix.unwrap_or(parameters.radix);
        if parameters.window < 1 || parameters.radix < 2 {
            return Err("--window must be at least 1, --radix at least 2".into());
        }
        parameters.segments = self.segments.unwrap_or(parameters.segments);
        let shape = algorithm.cut(&shape, parameters);
        let made = (0..self.ranks).map(|rank| algorithm.schedule(&shape, parameters, rank));
        let schedules: Result<Vec<_>, _> = made.collect();
        Ok(Found {
            name: format!("{} {}", kind.name(), algorithm.name),
            schedules: schedules.map_err(|refused| refused.to_string())?,
            ordered: algorithm.ordered,
        })
    }
}

fn show(what: &What, rank: Option<Rank>) -> Result<String, String> {
    let found = what.schedules()?;
    if let Some(rank) = rank
        && !found.schedules.iter().any(|schedule| schedule.rank() == rank)
    {
        return Err(format!("rank {rank} is not among {} ranks", found.schedules.len()));
    }
    let mut text = String::new();
    for schedule in &found.schedules {
        if rank.is_none_or(|rank| rank == schedule.rank()) {
            if !text.is_empty() {
                text.push('\n');
            }
            let _ = write!(text, "{schedule}");
        }
    }
    Ok(text)
}

fn draw_to(what: &What, out: &std::path::Path) -> Result<String, String> {
    let found = what.schedules()?;
    let cost = verify(&found.schedules, found.ordered)
        .map_err(|flaw| format!("{}: {flaw}: only right schedules are drawn", found.name))?;
    let picture = draw(&found, cost.rounds);
    std::fs::write(out, picture).map_err(|error| format!("{}: {error}", out.display()))?;
    Ok(format!("{} of {} ranks: {}\n", found.name, found.schedules.len(), out.display()))
}

/// A message: from, to, blocks, and when it is sent and there, counted in messages before.
struct Arrow {
    from: usize,
    to: usize,
    blocks: u32,
    sent: u32,
    there: u32,
}

/// All messages. The schedules were verified, so every send has its receive and there are no
/// circles.
fn arrows(schedules: &[Schedule]) -> Vec<Arrow> {
    let mut when: Vec<Vec<u32>> =
        schedules.iter().map(|schedule| vec![0; schedule.steps().len()]).collect();
    loop {
        let mut changed = false;
        let mut sends: HashMap<(usize, usize), Vec<u32>> = HashMap::new();
        for (rank, schedule) in schedules.iter().enumerate() {
            for (index, step) in schedule.steps().iter().enumerate() {
                if let Step::Send { to, .. } = step {
                    sends.entry((rank, *to as usize)).or_default().push(when[rank][index]);
                }
            }
        }
        let mut seen: HashMap<(usize, usize), usize> = HashMap::new();
        for (rank, schedule) in schedules.iter().enumerate() {
            for (index, step) in schedule.steps().iter().enumerate() {
                let after = schedule.after(index).iter();
                let mut depth = after.map(|id| when[rank][id.0 as usize]).max().unwrap_or(0);
                if let Step::Recv { from, .. } = step {
                    let pair = (*from as usize, rank);
                    let number = seen.entry(pair).or_default();
                    depth = depth.max(sends[&pair][*number] + 1);
                    *number += 1;
                }
                changed |= depth != when[rank][index];
                when[rank][index] = depth;
            }
        }
        if !changed {
            break;
        }
    }
    let mut arrived: HashMap<(usize, usize), Vec<u32>> = HashMap::new();
    for (rank, schedule) in schedules.iter().enumerate() {
        for (index, step) in schedule.steps().iter().enumerate() {
            if let Step::Recv { from, .. } = step {
                arrived.entry((*from as usize, rank)).or_default().push(when[rank][index]);
            }
        }
    }
    let mut all = Vec::new();
    let mut seen: HashMap<(usize, usize), usize> = HashMap::new();
    for (rank, schedule) in schedules.iter().enumerate() {
        for (index, step) in schedule.steps().iter().enumerate() {
            if let Step::Send { to, what } = step {
                let pair = (rank, *to as usize);
                let number = seen.entry(pair).or_default();
                let there = arrived[&pair][*number];
                *number += 1;
                let sent = when[rank][index];
                all.push(Arrow { from: rank, to: pair.1, blocks: what.count, sent, there });
            }
        }
    }
    all
}

const COLUMN: usize = 56;
const ROW: usize = 64;
const EDGE: usize = 40;

fn draw(found: &Found, rounds: u64) -> String {
    let arrows = arrows(&found.schedules);
    let ranks = found.schedules.len();
    let deepest = arrows.iter().map(|arrow| arrow.there).max().unwrap_or(0) as usize;
    let (width, height) = (2 * EDGE + (ranks - 1) * COLUMN, 3 * EDGE + deepest * ROW);
    let x = |rank: usize| EDGE + rank * COLUMN;
    let y = |depth: u32| 2 * EDGE + depth as usize * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{name} of {ranks} ranks</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" fill=\"#1f5fa8\"/>\
         </marker></defs>\n\
         <text x=\"{EDGE}\" y=\"22\">{name}, {ranks} ranks: {rounds} messages in a row, {count} in \
         all</text>\n",
        name = found.name,
        count = arrows.len()
    );
    for rank in 0..ranks {
        let _ = writeln!(
            svg,
            "<text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{rank}</text>\
             <line x1=\"{0}\" y1=\"{2}\" x2=\"{0}\" y2=\"{3}\" stroke=\"#bbb\"/>",
            x(rank),
            2 * EDGE - 18,
            2 * EDGE - 10,
            height - EDGE / 2
        );
    }
    for arrow in &arrows {
        let _ = writeln!(
            svg,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#1f5fa8\" \
             stroke-width=\"{:.1}\" marker-end=\"url(#tip)\"><title>{} to {}: {} blocks</title>\
             </line>",
            x(arrow.from),
            y(arrow.sent),
            x(arrow.to),
            y(arrow.there),
            1.0 + f64::from(arrow.blocks.min(64)).log2() / 2.0,
            arrow.from,
            arrow.to,
            arrow.blocks
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> What {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            what: What,
        }
        <Line as clap::Parser>::parse_from([&["x"], words].concat()).what
    }

    #[test]
    fn what_is_shown_can_be_read_and_is_right() {
        for words in [
            &["allreduce", "-n", "5", "--algorithm", "circulant"][..],
            &["bcast", "-n", "7", "--algorithm", "scatter_allgather", "--root", "3"],
            &["alltoall", "-n", "6", "--algorithm", "bruck"],
            &["gather", "-n", "5", "--irregular"],
            &["reduce", "-n", "6", "--algorithm", "double_tree", "--segments", "5"],
            &["scan", "--in-place"],
        ] {
            let what = of(words);
            let text = show(&what, None).unwrap();
            let all = parse_all(&text).unwrap();
            let schedules: Vec<Schedule> = all.into_iter().map(|(_, one)| one).collect();
            let ordered = what.schedules().unwrap().ordered;
            assert!(verify(&schedules, ordered).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn arrows_go_down_and_are_as_deep_as_the_verifier_says() {
        for words in [&["allreduce", "-n", "8"][..], &["bcast", "-n", "9"], &["barrier", "-n", "5"]]
        {
            let found = of(words).schedules().unwrap();
            let cost = verify(&found.schedules, found.ordered).unwrap();
            let arrows = arrows(&found.schedules);
            assert_eq!(arrows.len() as u64, cost.messages);
            assert!(arrows.iter().all(|arrow| arrow.sent < arrow.there));
            let deepest = arrows.iter().map(|arrow| arrow.there).max().unwrap();
            assert_eq!(u64::from(deepest), cost.rounds, "{words:?}");
            let picture = draw(&found, cost.rounds);
            assert_eq!(picture.matches("marker-end").count(), arrows.len());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |words: &[&str]| of(words).schedules().err().unwrap();
        assert!(refused(&["bcast", "--root", "4"]).contains("root 4"));
        assert!(refused(&["bcast", "--algorithm", "ring"]).contains("no algorithm 'ring'"));
        assert!(refused(&["neighbor_alltoall"]).contains("no collective"));
        assert!(refused(&["alltoall", "--algorithm", "bruck", "--irregular"]).contains("one size"));
        assert!(parse_all("hello").unwrap_err().what.contains("no line"));
        let text = show(&of(&["bcast", "-n", "2"]), None).unwrap() + "5 : nonsense\n";
        let lines = text.lines().count();
        assert_eq!(parse_all(&text).unwrap_err().line, lines, "{text}");
    }
}

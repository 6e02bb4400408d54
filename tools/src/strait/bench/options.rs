// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line of `strait bench`.
#![forbid(unsafe_code)]

use super::distance::{Class, NEAR_BELOW_NS};
use super::program::Amount;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// A class that one can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    Near,
    Far,
}

impl Wanted {
    /// As the probe names it.
    pub fn class(self) -> Class {
        match self {
            Wanted::Near => Class::Near,
            Wanted::Far => Class::Far,
        }
    }
}

/// The options.
#[derive(Args, Debug)]
pub struct Options {
    /// Benchmarks, such as osu_latency or bw; without names latency, bandwidth and message rate.
    pub names: Vec<String>,
    /// Another MPI installation to compare with; again for each.
    ///
    /// NAME=PREFIX, and behind it any of ,env.VAR=VALUE ,arg=WORD ,kind=KIND ,programs=DIR.
    /// PREFIX/bin/mpiexec starts the programs. kind (strait, mpich, openmpi, intel, generic) is
    /// guessed from its version.
    /// programs=DIR has programs of the same names that were built for that library, for one that
    /// lacks the standard ABI.
    #[arg(long, value_name = "NAME=PREFIX")]
    pub compare: Vec<String>,
    /// Ranks of each run.
    #[arg(short = 'n', long, default_value_t = 2, value_name = "RANKS")]
    pub ranks: u32,
    /// Message sizes in bytes.
    #[arg(short = 'm', long, value_name = "MIN:MAX")]
    pub sizes: Option<String>,
    /// Runs of each program with each contender (5; with --quick 3; open with --budget).
    #[arg(long)]
    pub repeats: Option<u32>,
    /// Only this way between ranks, for every contender.
    #[arg(long, value_parser = ["tcp", "shm"])]
    pub lanes: Option<String>,
    /// Fewer sizes and iterations, for a first look.
    #[arg(long)]
    pub quick: bool,
    /// Stop when this time is used up, as in 5m or 90s.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub budget: Option<Duration>,
    /// Longest time of one run.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "2m")]
    pub timeout: Duration,
    /// How often a run is repeated whose class is mixed, or not the one of --class.
    #[arg(long, default_value_t = 1)]
    pub retries: u32,
    /// Repeat runs until they are of this class (see --retries).
    #[arg(long)]
    pub class: Option<Wanted>,
    /// Two processors are near if a cache line takes less than this from one to the other.
    #[arg(long, default_value_t = NEAR_BELOW_NS, value_name = "NS")]
    pub near_ns: f64,
    /// Do not probe the distance of the processors.
    #[arg(long)]
    pub no_probe: bool,
    /// Where to write session.jsonl, summary.json, summary.csv and report.html.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print the summary as CSV.
    #[arg(long)]
    pub csv: bool,
    /// Keep the session in this directory besides, under its day, host and commit.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// The commit that is measured, for the record.
    #[arg(long)]
    pub commit: Option<String>,
    /// Measure nothing: tell a session that was recorded before.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Where the programs are; without it, beside this program.
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Only those given by --compare; the first of them is the one that ratios are about.
    #[arg(long)]
    pub without_ours: bool,
    /// Name the programs that are there.
    #[arg(long)]
    pub list: bool,
    /// Further options of the programs, after --.
    #[arg(last = true)]
    pub words: Vec<String>,
}

impl Options {
    /// How much each program measures.
    pub fn amount(&self) -> Amount {
        Amount { sizes: self.sizes.clone(), quick: self.quick, words: self.words.clone() }
    }

    /// How often; open where only the time is limited.
    pub fn repeats(&self) -> Option<u32> {
        let default = if self.quick { 3 } else { 5 };
        match (self.repeats, self.budget) {
            (Some(repeats), _) => Some(repeats.max(1)),
            (None, Some(_)) => None,
            (None, None) => Some(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(line: &str) -> Options {
        Line::try_parse_from(line.split(' ')).unwrap().options
    }

    #[test]
    fn the_line_is_read() {
        let line = "bench bw --compare a=/x --compare b=/y,env.A=1 -n 4 --budget 5m -- -W 8";
        let options = parsed(line);
        assert_eq!(options.names, ["bw"]);
        assert_eq!(options.compare, ["a=/x", "b=/y,env.A=1"]);
        assert_eq!((options.ranks, options.repeats()), (4, None));
        assert_eq!(options.budget, Some(Duration::from_secs(300)));
        assert_eq!(options.amount().words("osu_bw"), ["-W", "8"]);
    }

    #[test]
    fn repeats() {
        assert_eq!(parsed("bench").repeats(), Some(5));
        assert_eq!(parsed("bench --quick").repeats(), Some(3));
        assert_eq!(parsed("bench --repeats 0").repeats(), Some(1));
        assert_eq!(parsed("bench --repeats 9 --budget 1s").repeats(), Some(9));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["bench --json --csv", "bench --lanes udp", "bench --budget soon", "bench -n x"]
        {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}

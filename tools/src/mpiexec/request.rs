// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the user asked for, as data.
#![forbid(unsafe_code)]

use super::binding::{Mapping, Unit};
use super::hosts::{Host, Launcher};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Which of our variables a program gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inherit {
    /// All of them.
    All,
    /// None.
    None,
    /// These.
    List(Vec<String>),
}

/// Rules for the environment of a program.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EnvRules {
    /// What is passed on; `None` leaves the decision to the rules for all programs.
    pub inherit: Option<Inherit>,
    /// What is set, in order; no value means: pass ours on.
    pub set: Vec<(OsString, Option<OsString>)>,
}

/// One program of the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// How many ranks run it.
    pub ranks: u32,
    /// Somebody said so.
    pub is_counted: bool,
    /// The program and its arguments; never empty.
    pub argv: Vec<OsString>,
    /// Where it runs.
    pub directory: Option<PathBuf>,
    /// Its environment.
    pub env: EnvRules,
}

/// Who reads our standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// One rank inherits the descriptor itself: nothing is read ahead, terminals work.
    Inherit(u32),
    /// These ranks get a copy each; `None` means all.
    Copy(Option<Vec<u32>>),
    /// Nobody.
    None,
}

/// Which processors the ranks may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindTo {
    /// Disjoint sets of cores, as large as possible, if there are enough for all.
    Default,
    /// All.
    None,
    /// Disjoint sets of cores or hardware threads, as large as possible; or the unit that a rank's
    /// cores are in.
    To(Unit),
    /// Rank i gets element i, modulo the length.
    User(Vec<Vec<u32>>),
}

/// Options that concern the whole job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// What begins each line.
    pub label: Option<String>,
    /// Where standard output goes.
    pub out_file: Option<String>,
    /// Where standard error goes.
    pub err_file: Option<String>,
    /// Whose standard output is shown.
    pub output_from: Option<Vec<u32>>,
    /// Who reads standard input.
    pub stdin: Stdin,
    /// Time limit.
    pub timeout: Option<Duration>,
    /// How long the others go on after a failure.
    pub grace: Duration,
    /// When to report ranks that do not move.
    pub hang_report: Option<Duration>,
    /// The others go on when a rank fails.
    pub keep_going: bool,
    /// Processors.
    pub bind_to: BindTo,
    /// How ranks are dealt to the units of a host.
    pub map: Mapping,
    /// Say which.
    pub report_bindings: bool,
    /// Start nothing.
    pub dry_run: bool,
    /// Say more.
    pub verbose: bool,
    /// Say the exit code of every rank.
    pub exit_codes: bool,
    /// Rules for the environment of all programs.
    pub env: EnvRules,
    /// The hosts, in the order of their ranks; empty for this one alone.
    pub hosts: Vec<Host>,
    /// Ranks of each host.
    pub per_host: Option<u32>,
    /// What starts our part on another host.
    pub launcher: Launcher,
    /// How many other hosts one host starts; 0 for any number.
    pub fan_out: usize,
    /// Where this installation lies on the other hosts, if elsewhere.
    pub prefix: Option<String>,
    /// What was accepted without effect; shown under -v.
    pub notes: Vec<String>,
}

/// How long other ranks go on after a failure: enough for ranks that fail for the same reason to
/// say so, and little enough that the job ends within a second.
pub const GRACE_DEFAULT: Duration = Duration::from_millis(300);

/// How many other hosts one host starts: ten thousand are three steps away then.
pub const FAN_OUT_DEFAULT: usize = 32;

impl Default for Options {
    fn default() -> Options {
        Options {
            label: None,
            out_file: None,
            err_file: None,
            output_from: None,
            stdin: Stdin::Inherit(0),
            timeout: None,
            grace: GRACE_DEFAULT,
            hang_report: None,
            keep_going: false,
            bind_to: BindTo::Default,
            map: Mapping::default(),
            report_bindings: false,
            dry_run: false,
            verbose: false,
            exit_codes: false,
            env: EnvRules::default(),
            hosts: Vec::new(),
            per_host: None,
            launcher: Launcher::Auto,
            fan_out: FAN_OUT_DEFAULT,
            prefix: None,
            notes: Vec::new(),
        }
    }
}

/// A job to run.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Request {
    /// Options of the whole job.
    pub options: Options,
    /// Its programs, in the order of their ranks.
    pub programs: Vec<Program>,
}

impl Request {
    /// Ranks of the job.
    pub fn size(&self) -> u32 {
        self.programs.iter().map(|program| program.ranks).sum()
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run a job.
    Run(Box<Request>),
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
}

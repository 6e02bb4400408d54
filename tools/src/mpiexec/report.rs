// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mpiexec says at the end of a job that did not end well: one block, ranks as sets.
#![forbid(unsafe_code)]

use super::ending::{Cause, Ending};
use super::signals::{self, Exit};
use super::values::ranks_named;
use super::waiting::{self, Doing};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a rank counts as failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// Its process ended like this.
    Exit(Exit),
    /// It ended with code 0 between MPI_Init and MPI_Finalize.
    NoFinalize,
    /// Its process goes on, but the MPI process inside is gone.
    ProcessInside(u32),
}

impl Failed {
    /// The exit code of mpiexec.
    pub fn code(self) -> u8 {
        match self {
            Failed::Exit(exit) => exit.code().max(1),
            Failed::NoFinalize | Failed::ProcessInside(_) => 1,
        }
    }

    fn in_words(self) -> String {
        match self {
            Failed::Exit(Exit::Code(code)) => format!("exit code {code}"),
            Failed::Exit(Exit::Signal(number)) => format!("died by {}", signals::name(number)),
            Failed::NoFinalize => "exited with code 0 after MPI_Init without MPI_Finalize".into(),
            Failed::ProcessInside(pid) => {
                format!("its MPI process {pid} ended without MPI_Finalize")
            }
        }
    }

    fn help(self) -> Option<&'static str> {
        match self {
            Failed::Exit(Exit::Signal(libc::SIGKILL)) => Some(
                "SIGKILL comes from kill -9 or from the kernel when memory runs out: see dmesg",
            ),
            Failed::Exit(Exit::Signal(libc::SIGSEGV | libc::SIGBUS)) => {
                Some("ulimit -c unlimited keeps a core file; python -X faulthandler shows the line")
            }
            Failed::NoFinalize => {
                Some("call MPI_Finalize before the end, or MPI_Abort to end the job")
            }
            _ => None,
        }
    }
}

/// The rank that failed first.
#[derive(Clone, Debug)]
pub struct FirstFailure {
    /// Which.
    pub rank: u32,
    /// Its process.
    pub pid: u32,
    /// Why.
    pub why: Failed,
    /// How long after the start.
    pub after: Duration,
    /// What it left for us.
    pub text: Option<String>,
    /// In which call it was, if in one.
    pub call: Option<String>,
}

/// What the report needs to know of the job.
pub struct Facts<'a> {
    /// Name of this host.
    pub host: &'a str,
    /// The failure, if a rank failed.
    pub first: Option<&'a FirstFailure>,
    /// What the rank that aborted left for us.
    pub abort_text: Option<&'a str>,
    /// How many ranks the job has.
    pub size: u32,
    /// How many ranks failed by themselves.
    pub failed: usize,
    /// The ending, if others had to be ended.
    pub ending: Option<&'a Ending>,
    /// What ranks waited in that went on with an error when they lost another one.
    pub lost: BTreeMap<u32, (Doing, Duration)>,
}

/// The whole report; empty when there is nothing to say.
pub fn text(facts: &Facts<'_>) -> String {
    let mut lines = Vec::new();
    match facts.ending.map(|ending| &ending.cause) {
        Some(Cause::Signal(_) | Cause::OutputGone) => return String::new(),
        Some(Cause::Foreign(text)) => return text.clone(),
        Some(Cause::Timeout(limit)) => {
            let limit = limit.as_secs_f64();
            lines.push(format!("error[S0124]: the job was ended after {limit} s, its time limit"));
        }
        Some(Cause::Abort(rank, code)) => abort_lines(facts, *rank, *code, &mut lines),
        Some(Cause::Failed(_)) | None => {
            let Some(first) = facts.first else { return String::new() };
            let quiet = matches!(first.why, Failed::Exit(Exit::Code(_))) && first.text.is_none();
            if facts.size == 1 && quiet {
                return String::new();
            }
            let ended = facts.ending.map_or(0, |ending| ending.ended_by_us.len());
            lines.push(format!(
                "error[S0107]: rank {} failed first (of {} failed, {ended} ended by mpiexec)",
                first.rank, facts.failed
            ));
            failure_lines(facts, first, &mut lines);
        }
    }
    let cause = facts.ending.map(|ending| &ending.cause);
    if facts.ending.is_some() || !facts.lost.is_empty() {
        let with_times = matches!(cause, Some(Cause::Timeout(_)));
        let mut doings = facts.ending.map(|ending| ending.doings.clone()).unwrap_or_default();
        doings.extend(facts.lost.clone());
        if let Some(first) = facts.first
            && !with_times
        {
            doings.remove(&first.rank);
        }
        if let Some(Cause::Abort(rank, _)) = cause {
            doings.remove(rank);
        }
        lines.extend(waiting::in_words(&doings, with_times).into_iter().map(|l| format!("   {l}")));
    }
    if let Some(help) = facts.first.and_then(|first| first.why.help())
        && !matches!(cause, Some(Cause::Abort(..) | Cause::Timeout(_)))
    {
        lines.push(format!("   help: {help}"));
    }
    lines.join("\n")
}

fn abort_lines(facts: &Facts<'_>, rank: u32, code: i32, lines: &mut Vec<String>) {
    let first = facts.first.filter(|first| first.rank == rank);
    // A fatal error comes with its own headline; without one the program called MPI_Abort.
    let text = facts.abort_text.unwrap_or("");
    if text.starts_with("error[") {
        lines.extend(text.lines().map(str::to_owned));
        if !text.contains(&format!("rank {rank} ")) {
            lines.push(format!("   it was rank {rank} on host {}", facts.host));
        }
    } else {
        let line = format!("error[S0108]: rank {rank} ended the job by MPI_Abort with code {code}");
        lines.push(line);
        if let Some(first) = first {
            let (host, pid) = (facts.host, first.pid);
            let after = first.after.as_secs_f64();
            lines.push(format!("   rank {rank}  host {host}  pid {pid}  after {after:.1} s"));
        }
        indented(Some(text), lines);
    }
    if abort_code(code) != code {
        lines.push(format!(
            "   note: the exit code is {}, since {code} cannot be one that tells of a failure",
            abort_code(code)
        ));
    }
}

fn failure_lines(facts: &Facts<'_>, first: &FirstFailure, lines: &mut Vec<String>) {
    let call = first.call.as_ref().map_or(String::new(), |call| format!(" in {call}"));
    lines.push(format!(
        "   rank {}  host {}  pid {}  {}{call} after {:.1} s",
        first.rank,
        facts.host,
        first.pid,
        first.why.in_words(),
        first.after.as_secs_f64()
    ));
    indented(first.text.as_deref(), lines);
}

fn indented(text: Option<&str>, lines: &mut Vec<String>) {
    lines.extend(text.unwrap_or("").lines().map(|line| format!("   | {line}")));
}

/// The exit code of mpiexec after MPI_Abort: what the system can say of `code`, but never 0.
pub fn abort_code(code: i32) -> i32 {
    if (1..=255).contains(&code) { code } else { (code & 0xff).max(1) }
}

/// The exit code of each rank, ranks with the same one together.
pub fn exit_table(exits: &[(u32, Exit)]) -> String {
    let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (rank, exit) in exits {
        let words = match exit {
            Exit::Code(code) => format!("exit code {code}"),
            Exit::Signal(number) => signals::name(*number),
        };
        groups.entry(words).or_default().push(*rank);
    }
    let lines = groups.iter().map(|(words, ranks)| format!("{}: {words}", ranks_named(ranks)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_rank_with_an_exit_code_speaks_for_itself() {
        let mut first = FirstFailure {
            rank: 0,
            pid: 7,
            why: Failed::Exit(Exit::Code(3)),
            after: Duration::from_millis(100),
            text: None,
            call: None,
        };
        let facts = Facts {
            host: "vm",
            first: Some(&first),
            abort_text: None,
            size: 1,
            failed: 1,
            ending: None,
            lost: BTreeMap::new(),
        };
        assert_eq!(text(&facts), "");
        first.text = Some("what\nwhere".into());
        let facts = Facts {
            host: "vm",
            first: Some(&first),
            abort_text: None,
            size: 1,
            failed: 1,
            ending: None,
            lost: BTreeMap::new(),
        };
        let text = text(&facts);
        assert!(text.contains("   rank 0  host vm  pid 7  exit code 3 after 0.1 s"), "{text}");
        assert!(text.contains("   | what\n   | where"), "{text}");
    }

    #[test]
    fn abort_codes() {
        assert_eq!([0, 5, 256, -1, 300].map(abort_code), [1, 5, 1, 255, 44]);
    }
}

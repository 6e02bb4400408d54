// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mpiexec says at the end of a job that did not end well: one block, ranks as sets.
#![forbid(unsafe_code)]

use super::ending::Cause;
use super::failure::CODE_TIMEOUT;
use super::signals::{self, Exit};
use super::values::ranks_named;
use super::waiting::{self, Doing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a rank counts as failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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

/// How a job ended, or the part of it that ran on one host. Ranks are numbered over the whole job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the host of the failure.
    pub host: String,
    /// The failure, if a rank failed.
    pub first: Option<FirstFailure>,
    /// How little that failure tells of the cause, among others that are heard of at once.
    pub weight: u8,
    /// What the rank that aborted left for us.
    pub abort_text: Option<String>,
    /// How many ranks failed by themselves.
    pub failed: usize,
    /// Why others had to be ended, if they had.
    pub cause: Option<Cause>,
    /// How many ranks were ended by us.
    pub ended: usize,
    /// What ranks were found to do before they were ended.
    pub doings: BTreeMap<u32, (Doing, Duration)>,
    /// What ranks waited in that went on with an error when they lost another one.
    pub lost: BTreeMap<u32, (Doing, Duration)>,
    /// How the ranks ended.
    pub exits: BTreeMap<u32, Exit>,
    /// A file of `-outfile-pattern` could not be written.
    pub lost_file: bool,
}

impl Summary {
    /// The exit code of mpiexec.
    pub fn exit_code(&self) -> u8 {
        let first = self.first.as_ref().map(|first| first.why.code());
        let all_well = self.exits.values().all(|exit| *exit == Exit::Code(0));
        match &self.cause {
            Some(Cause::Timeout(_)) => CODE_TIMEOUT,
            Some(Cause::Foreign(_) | Cause::HostLost(_)) => 1,
            Some(Cause::OutputGone) => Exit::Signal(libc::SIGPIPE).code(),
            Some(Cause::Abort(_, code)) => abort_code(*code) as u8,
            Some(Cause::Spawned(code)) => *code,
            Some(Cause::Signal(number)) if !all_well => {
                first.unwrap_or(Exit::Signal(*number).code())
            }
            _ => first.or(self.lost_file.then_some(1)).unwrap_or(0),
        }
    }
}

/// What is said of a rank that fails while the others go on.
pub fn goes_on(host: &str, failure: &FirstFailure) -> String {
    let mut lines = vec![format!(
        "note: rank {} on host {host} (pid {}) {}; the others go on",
        failure.rank,
        failure.pid,
        match failure.why {
            Failed::Exit(Exit::Code(code)) => format!("failed with exit code {code}"),
            why => why.in_words(),
        },
    )];
    indented(failure.text.as_deref(), &mut lines);
    lines.join("\n")
}

/// The whole report on a job of so many ranks; empty when there is nothing to say.
pub fn text(summary: &Summary, size: u32) -> String {
    let mut lines = Vec::new();
    match &summary.cause {
        Some(Cause::Signal(_) | Cause::OutputGone) => return String::new(),
        Some(Cause::Foreign(text)) => return text.clone(),
        Some(Cause::Spawned(code)) => lines.push(format!(
            "error[S0107]: a job that ranks of this one had spawned failed, and took it along \
             (exit code {code})"
        )),
        Some(Cause::HostLost(text)) => lines.extend(text.lines().map(str::to_owned)),
        Some(Cause::Timeout(limit)) => {
            let limit = limit.as_secs_f64();
            lines.push(format!("error[S0124]: the job was ended after {limit} s, its time limit"));
        }
        Some(Cause::Abort(rank, code)) => abort_lines(summary, *rank, *code, &mut lines),
        Some(Cause::Failed(_) | Cause::Elsewhere(_)) | None => {
            let Some(first) = &summary.first else { return String::new() };
            let quiet = matches!(first.why, Failed::Exit(Exit::Code(_))) && first.text.is_none();
            if size == 1 && quiet {
                return String::new();
            }
            lines.push(format!(
                "error[S0107]: rank {} failed first (of {} failed, {} ended by mpiexec)",
                first.rank, summary.failed, summary.ended
            ));
            failure_lines(summary, first, &mut lines);
        }
    }
    if summary.cause.is_some() || !summary.lost.is_empty() {
        let with_times = matches!(summary.cause, Some(Cause::Timeout(_)));
        let mut doings = summary.doings.clone();
        doings.extend(summary.lost.clone());
        if let Some(first) = &summary.first
            && !with_times
        {
            doings.remove(&first.rank);
        }
        if let Some(Cause::Abort(rank, _)) = &summary.cause {
            doings.remove(rank);
        }
        lines.extend(waiting::in_words(&doings, with_times).into_iter().map(|l| format!("   {l}")));
    }
    if let Some(help) = summary.first.as_ref().and_then(|first| first.why.help())
        && !matches!(summary.cause, Some(Cause::Abort(..) | Cause::Timeout(_)))
    {
        lines.push(format!("   help: {help}"));
    }
    lines.join("\n")
}

fn abort_lines(facts: &Summary, rank: u32, code: i32, lines: &mut Vec<String>) {
    let first = facts.first.as_ref().filter(|first| first.rank == rank);
    // A fatal error comes with its own headline; without one the program called MPI_Abort.
    let text = facts.abort_text.as_deref().unwrap_or("");
    if text.starts_with("error[") {
        lines.extend(text.lines().map(str::to_owned));
        if !text.contains(&format!("rank {rank} ")) {
            lines.push(format!("   it was rank {rank} on host {}", facts.host));
        }
    } else {
        let line = format!("error[S0108]: rank {rank} ended the job by MPI_Abort with code {code}");
        lines.push(line);
        if let Some(first) = first {
            let (host, pid) = (&facts.host, first.pid);
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

fn failure_lines(facts: &Summary, first: &FirstFailure, lines: &mut Vec<String>) {
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
pub fn exit_table(exits: &BTreeMap<u32, Exit>) -> String {
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
        let summary = |first: &FirstFailure| Summary {
            host: "vm".into(),
            first: Some(first.clone()),
            failed: 1,
            ..Summary::default()
        };
        assert_eq!(text(&summary(&first), 1), "");
        first.text = Some("what\nwhere".into());
        let text = text(&summary(&first), 1);
        assert!(text.contains("   rank 0  host vm  pid 7  exit code 3 after 0.1 s"), "{text}");
        assert!(text.contains("   | what\n   | where"), "{text}");
    }

    #[test]
    fn abort_codes() {
        assert_eq!([0, 5, 256, -1, 300].map(abort_code), [1, 5, 1, 255, 44]);
    }
}

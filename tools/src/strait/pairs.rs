// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait doctor --hosts a,b,c`: does each of these hosts start a job, does every pair reach each
//! other, and at which speed? Our own benchmarks run under our own mpiexec.
#![forbid(unsafe_code)]

use super::doctor::{Finding, Verdict, finding};
use crate::prefix::Prefix;
use clap::Args;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Which hosts, and how to start there.
#[derive(Args)]
pub struct Options {
    /// Try these hosts, and all pairs of them.
    #[arg(long, value_name = "LIST")]
    hosts: Option<String>,
    /// How to start on a host, as for mpiexec.
    #[arg(long, value_name = "NAME", requires = "hosts")]
    launcher: Option<String>,
    /// The program for that, as for mpiexec.
    #[arg(long, value_name = "PROGRAM", requires = "hosts")]
    launcher_exec: Option<String>,
}

/// Seconds that one job may take.
const LIMIT: &str = "60";
/// Bytes of the message whose bandwidth is told.
const LARGE: &str = "1048576";

/// What was found, host by host, then pair by pair.
pub fn look(options: &Options, prefix: Option<&Prefix>) -> Vec<Finding> {
    let Some(list) = &options.hosts else { return Vec::new() };
    let Some(prefix) = prefix else { return Vec::new() };
    let hosts = match crate::mpiexec::host_names(list) {
        Ok(hosts) => hosts,
        Err(why) => return vec![finding(Verdict::Problem, "hosts", why)],
    };
    if hosts.len() < 2 {
        let text = "name two hosts or more: --hosts a,b";
        return vec![finding(Verdict::Problem, "hosts", text)];
    }
    let trial = Trial { options, prefix };
    let count = (hosts.len() * (hosts.len() + 1) / 2) as u64;
    let bar = indicatif::ProgressBar::new(count).with_message("hosts, and pairs of them");
    let mut findings = Vec::new();
    // What keeps one host from working is said once, not for each of its pairs.
    let mut works = Vec::new();
    for host in &hosts {
        let found = trial.alone(host);
        works.extend((found.verdict != Verdict::Problem).then_some(host));
        findings.push(found);
        bar.inc(1);
    }
    for (index, one) in works.iter().enumerate() {
        for other in &works[index + 1..] {
            findings.push(trial.pair(one, other));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    findings
}

/// How jobs are started.
struct Trial<'a> {
    options: &'a Options,
    prefix: &'a Prefix,
}

impl Trial<'_> {
    /// Two ranks on one host.
    fn alone(&self, host: &str) -> Finding {
        let begun = Instant::now();
        let found = self.figure(host, "2", "osu_latency", "8", "1000");
        let seconds = begun.elapsed().as_secs_f64();
        let text = |latency| {
            format!(
                "a job of two ranks took {seconds:.1} s; 8 bytes within the host in {latency} us"
            )
        };
        verdict(format!("host {host}"), found.map(text))
    }

    /// A rank on each of two hosts.
    fn pair(&self, one: &str, other: &str) -> Finding {
        let hosts = format!("{one},{other}");
        let run = |program, bytes, rounds| self.figure(&hosts, "1", program, bytes, rounds);
        let found = run("osu_latency", "8", "1000").and_then(|latency| {
            let bandwidth = run("osu_bw", LARGE, "20")?;
            Ok(format!("8 bytes one way in {latency} us, 1 MiB at {bandwidth} MB/s"))
        });
        verdict(format!("{one} and {other}"), found)
    }

    /// What a benchmark of two ranks says.
    fn figure(
        &self,
        hosts: &str,
        each: &str,
        program: &str,
        bytes: &str,
        rounds: &str,
    ) -> Result<f64, String> {
        let bin = self.prefix.root().join("bin");
        let mut command = Command::new(bin.join("mpiexec"));
        command.args(["-hosts", hosts, "-ppn", each, "-n", "2"]);
        let Options { launcher, launcher_exec, .. } = self.options;
        for (name, value) in [("-launcher", launcher), ("-launcher-exec", launcher_exec)] {
            if let Some(value) = value {
                command.args([name, value]);
            }
        }
        command.args(["-timeout", LIMIT]).arg(bin.join(program));
        command.args(["-m", &format!("{bytes}:{bytes}"), "-i", rounds]).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("mpiexec: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match figure(&text).filter(|_| output.status.success()) {
            Some(figure) => Ok(figure),
            None => Err(reason(&String::from_utf8_lossy(&output.stderr))),
        }
    }
}

fn verdict(what: String, found: Result<String, String>) -> Finding {
    match found {
        Ok(text) => finding(Verdict::Good, what, text),
        Err(why) => finding(Verdict::Problem, what, why),
    }
}

/// The telling part of what a failed job said: the innermost error, what the launcher said before
/// it, and the help behind it.
fn reason(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(|line| line.trim_start_matches([' ', '|'])).collect();
    let is_error = |line: &&str| line.starts_with("error");
    let Some(first) = lines.iter().position(is_error) else { return lines.join("; ") };
    let last = lines.iter().rposition(is_error).unwrap_or(first);
    let helps = lines[last..].iter().filter(|line| line.starts_with("help: "));
    let telling = lines[..first].iter().chain([&lines[last]]).chain(helps);
    let parts: Vec<&str> = telling.copied().filter(|line| !line.is_empty()).collect();
    parts.join("; ")
}

/// The number of the only row of a table of our benchmarks.
fn figure(table: &str) -> Option<f64> {
    let rows: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).collect();
    let row = rows.iter().rev().find(|line| !line.trim().is_empty())?;
    row.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reason_of_a_failure() {
        let said = "\
ssh: connect to host c port 22: Connection refused
error[S0111]: cannot start on host c (rank 1): ssh ended with exit code 255
   help: `ssh c true` must work without a question";
        assert_eq!(
            super::reason(said),
            "ssh: connect to host c port 22: Connection refused; error[S0111]: cannot start on \
             host c (rank 1): ssh ended with exit code 255; help: `ssh c true` must work without \
             a question"
        );
        let said = "\
error[S0107]: rank 1 failed first (of 1 failed, 1 ended by mpiexec)
   rank 1  host c  pid 6820  exit code 1 after 3.0 s
   | error[S0110]: rank 1 failed in MPI_Gather: peer 0 is lost: connecting from 10.0.0.3 failed
   |   --> rank 1 of 2, host c, pid 6820, on MPI_COMM_WORLD
   rank 0 was waiting in MPI_Gather";
        assert_eq!(
            super::reason(said),
            "error[S0110]: rank 1 failed in MPI_Gather: peer 0 is lost: connecting from 10.0.0.3 \
             failed"
        );
        assert_eq!(super::reason("Killed\n"), "Killed");
    }

    #[test]
    fn the_figure_of_a_table() {
        let table =
            "# OSU MPI Latency Test v7.5\n# Size       Avg Latency(us)\n8              12.34\n";
        assert_eq!(super::figure(table), Some(12.34));
        assert_eq!(super::figure("# nothing\n"), None);
        assert_eq!(super::figure("error: no\n"), None);
    }
}

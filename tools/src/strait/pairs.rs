// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait doctor --hosts a,b,c`: does every pair of these hosts start a job, reach each other, and
//! at which speed? Each pair runs our own benchmarks under our own mpiexec.
#![forbid(unsafe_code)]

use super::doctor::{Finding, Verdict, finding};
use crate::prefix::Prefix;
use clap::Args;
use std::process::{Command, Stdio};

/// Which hosts, and how to start there.
#[derive(Args)]
pub struct Options {
    /// Try all pairs of these hosts.
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

/// What was found, pair by pair.
pub fn look(options: &Options, prefix: Option<&Prefix>) -> Vec<Finding> {
    let Some(list) = &options.hosts else { return Vec::new() };
    let Some(prefix) = prefix else { return Vec::new() };
    let hosts = match crate::mpiexec::host_names(list) {
        Ok(hosts) => hosts,
        Err(why) => return vec![finding(Verdict::Problem, "hosts", why)],
    };
    let pairs: Vec<(&String, &String)> = (hosts.iter().enumerate())
        .flat_map(|(index, one)| hosts[index + 1..].iter().map(move |other| (one, other)))
        .collect();
    if pairs.is_empty() {
        let text = "name two hosts or more: --hosts a,b";
        return vec![finding(Verdict::Problem, "hosts", text)];
    }
    let count = pairs.len() as u64;
    let bar = indicatif::ProgressBar::new(count).with_message("pairs of hosts");
    let look = |(one, other): &(&String, &String)| {
        let found = pair(options, prefix, one, other);
        bar.inc(1);
        found
    };
    let findings = pairs.iter().map(look).collect();
    bar.finish_and_clear();
    findings
}

fn pair(options: &Options, prefix: &Prefix, one: &str, other: &str) -> Finding {
    let what = format!("{one} and {other}");
    let run = |program: &str, bytes: &str, rounds: &str| {
        let mut command = Command::new(prefix.root().join("bin/mpiexec"));
        command.args(["-hosts", &format!("{one},{other}"), "-ppn", "1", "-n", "2"]);
        for (name, value) in
            [("-launcher", &options.launcher), ("-launcher-exec", &options.launcher_exec)]
        {
            if let Some(value) = value {
                command.args([name, value]);
            }
        }
        command.args(["-timeout", LIMIT]).arg(prefix.root().join("bin").join(program));
        command.args(["-m", &format!("{bytes}:{bytes}"), "-i", rounds]).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("mpiexec: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match figure(&text).filter(|_| output.status.success()) {
            Some(figure) => Ok(figure),
            None => Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
        }
    };
    let found = run("osu_latency", "8", "1000")
        .and_then(|latency| Ok((latency, run("osu_bw", LARGE, "20")?)));
    match found {
        Ok((latency, bandwidth)) => finding(
            Verdict::Good,
            what,
            format!("8 bytes one way in {latency} us, 1 MiB at {bandwidth} MB/s"),
        ),
        Err(why) => finding(Verdict::Problem, what, why),
    }
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
    fn the_figure_of_a_table() {
        let table =
            "# OSU MPI Latency Test v7.5\n# Size       Avg Latency(us)\n8              12.34\n";
        assert_eq!(super::figure(table), Some(12.34));
        assert_eq!(super::figure("# nothing\n"), None);
        assert_eq!(super::figure("error: no\n"), None);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where and over what it was measured: without it a number says nothing.
#![forbid(unsafe_code)]

use crate::mpi::{self, World};
use std::fs;

/// Room for a host's name, and for a list of processors, as each rank tells them.
const HOST: usize = 64;
const BINDING: usize = 64;

/// Settings of the library are environment variables that begin so.
const PREFIX: &str = "STRAIT_";
/// These tell of the job and its processes, and nobody sets them.
const NOT_SETTINGS: &[&str] = &[
    "STRAIT_APPNUM",
    "STRAIT_JOB",
    "STRAIT_LOADED_IN",
    "STRAIT_NODE_FD",
    "STRAIT_RANK",
    "STRAIT_SIZE",
    "STRAIT_SOCKET",
];

#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The first line of what the library calls itself.
    pub library: String,
    /// The hosts, each once.
    pub host: String,
    /// Processors of rank 0's host.
    pub cores: usize,
    pub ranks: usize,
    /// The processors that each rank may use, as the kernel lists them.
    pub binding: Vec<String>,
    pub environment: Vec<(String, String)>,
}

impl Facts {
    /// Asks every rank; only rank 0 learns of the others.
    pub fn gather(world: &World) -> Facts {
        let host = read("/proc/sys/kernel/hostname").unwrap_or_else(mpi::processor_name);
        let mut hosts = world.collect(&host, HOST);
        hosts.dedup();
        let binding = world.collect(&allowed().unwrap_or_default(), BINDING);
        Facts {
            library: mpi::library_version().lines().next().unwrap_or_default().trim().to_string(),
            host: hosts.join(","),
            cores: read("/sys/devices/system/cpu/online").map_or(0, |list| count(&list)),
            ranks: world.size,
            binding,
            environment: settings(std::env::vars()),
        }
    }

    /// The lines that the table begins with, each a comment.
    pub fn lines(&self) -> String {
        let Facts { library, host, cores, ranks, .. } = self;
        let mut text = format!("# Library: {library}\n");
        text.push_str(&format!("# Host: {host}, {cores} cores, {ranks} ranks\n"));
        text.push_str(&format!("# Binding: {}\n", self.binding.join(" ")));
        if !self.environment.is_empty() {
            let words = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
            text.push_str(&format!("# Environment: {}\n", words.collect::<Vec<_>>().join(" ")));
        }
        text
    }
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}

fn allowed() -> Option<String> {
    let status = read("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(line.trim().to_string())
}

/// How many processors a list such as `0-3,8` names.
fn count(list: &str) -> usize {
    let one = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        Some((last + 1).saturating_sub(first))
    };
    list.split(',').filter_map(one).sum()
}

fn settings(variables: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let is_setting = |(name, _): &(String, String)| {
        name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str())
    };
    let mut settings: Vec<_> = variables.filter(is_setting).collect();
    settings.sort();
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(count("0-3,8"), 5);
        assert_eq!(count("0"), 1);
        assert_eq!(count(""), 0);
    }

    #[test]
    fn settings_are_told_and_the_job_is_not() {
        let mut variables = vec![("PATH", "/"), ("STRAIT_LANES", "tcp")];
        variables.extend(["STRAIT_RANK", "STRAIT_APPNUM"].map(|name| (name, "7")));
        let variables = variables.into_iter();
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
        let told = settings(variables);
        assert_eq!(told, [("STRAIT_LANES".to_string(), "tcp".to_string())]);
    }

    #[test]
    fn every_line_is_a_comment() {
        let facts = Facts { environment: vec![("A".into(), "b".into())], ..Facts::default() };
        assert_eq!(facts.lines().lines().count(), 4);
        assert!(facts.lines().lines().all(|line| line.starts_with("# ")));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine that figures belong to, and how busy it was with other things.
#![forbid(unsafe_code)]

use super::super::probe;
use crate::mpiexec::{Cores, allowed_processors};
use serde::{Deserialize, Serialize};
use std::fs;

/// What a reader has to know of the machine.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub host: String,
    pub processor: String,
    /// Processors that we may use.
    pub processors: usize,
    /// Cores among them, as the kernel sees it; a virtual machine may see it wrong.
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
    pub architecture: String,
    /// Under which hypervisor, where /proc/cpuinfo tells that there is one.
    pub virtual_machine: bool,
    /// The processors whose distance is probed.
    pub probed: Option<(u32, u32)>,
}

impl Machine {
    /// This one.
    pub fn here(probed: Option<(u32, u32)>) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = entry(&memory, "MemTotal").and_then(|text| first_number(&text));
        let flags = entry(&cpuinfo, "flags").unwrap_or_default();
        Machine {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            processor: entry(&cpuinfo, "model name").unwrap_or_else(|| "unknown".into()),
            processors: allowed_processors().len(),
            cores: Cores::of_this_process().0.len(),
            memory_mib: kib.unwrap_or(0) / 1024,
            kernel: probe::kernel(),
            architecture: std::env::consts::ARCH.into(),
            virtual_machine: flags.split(' ').any(|flag| flag == "hypervisor"),
            probed,
        }
    }
}

/// The value of the first line `NAME : VALUE`.
fn entry(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Seconds that all processors have worked since the machine started, if /proc/stat tells.
pub fn busy_seconds() -> Option<f64> {
    busy_ticks(&fs::read_to_string("/proc/stat").ok()?)
        .map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User, nice, system, irq and softirq of the first line.
fn busy_ticks(stat: &str) -> Option<u64> {
    let mut words = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let mut sum = 0;
    for place in 0..7 {
        let ticks: u64 = words.next()?.parse().ok()?;
        // The fourth and fifth are idle and waiting for disks.
        if place != 3 && place != 4 {
            sum += ticks;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_not_idle() {
        assert_eq!(busy_ticks("cpu  1 2 3 1000 2000 4 5 600 0 0\ncpu0 9\n"), Some(15));
        assert_eq!(busy_ticks("cpu0 1 2 3\n"), None);
        assert!(busy_seconds().unwrap() > 0.0);
    }

    #[test]
    fn entries_of_proc_files() {
        let text = "processor\t: 0\nmodel name\t: A: B @ 2\nmodel name\t: C\n";
        assert_eq!(entry(text, "model name").as_deref(), Some("A: B @ 2"));
        assert_eq!(entry(text, "model"), None);
        assert_eq!(first_number("24 kB"), Some(24));
    }

    #[test]
    fn this_machine_has_facts() {
        let machine = Machine::here(None);
        assert!(machine.processors >= machine.cores && machine.cores > 0);
        assert!(machine.memory_mib > 0 && !machine.kernel.is_empty());
    }
}

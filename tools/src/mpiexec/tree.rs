// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our descendants, from /proc: whom to signal when a job is ended early.
//!
//! Used only then, and for ranks that have not joined after a while, since it reads one file per
//! process of the host.
#![forbid(unsafe_code)]

use super::signals;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Whether a process, or one that descends from it, runs or waits for a processor or a disk.
pub fn is_busy(root: u32) -> bool {
    let is_asleep = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().next());
        !matches!(state, Some("R" | "D"))
    };
    !is_asleep(root) || !with_descendants(&[root]).into_iter().all(is_asleep)
}

/// Children by parent.
fn children() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return children };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold anything; state and parent follow the last one.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next();
        let parent = fields.next().and_then(|field| field.parse::<u32>().ok());
        if let (Some(state), Some(parent)) = (state, parent)
            && state != "Z"
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// These processes and all that descend from them.
pub fn with_descendants(roots: &[u32]) -> Vec<u32> {
    let children = children();
    roots.iter().flat_map(|root| below(*root, &children)).collect()
}

fn below(root: u32, children: &HashMap<u32, Vec<u32>>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        next += 1;
        for child in children.get(&parent).into_iter().flatten() {
            if !found.contains(child) {
                found.push(*child);
            }
        }
    }
    found
}

/// Whether a process descends from us. Reads one file per generation.
pub fn is_below_us(pid: i32) -> bool {
    let us = std::process::id() as i32;
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_ascii_whitespace().nth(1)?.parse::<i32>().ok()
    };
    std::iter::successors(Some(pid), |pid| parent(*pid).filter(|parent| *parent > 1))
        .skip(1)
        .any(|parent| parent == us)
}

/// Signals all our descendants.
pub fn signal_all(number: i32) {
    for pid in &below(std::process::id(), &children())[1..] {
        signals::send(*pid, number);
    }
}

/// How long what is left of a job may handle SIGTERM.
const REST_TIME: Duration = Duration::from_millis(100);

/// Ends and reaps what is left below us: SIGTERM, a moment later SIGKILL; gives up after a second.
pub fn end_rest() {
    if is_gone_within(Duration::ZERO) {
        return;
    }
    signal_all(libc::SIGTERM);
    // More than once: a process may start another one while it is killed.
    for _ in 0..10 {
        if is_gone_within(REST_TIME) {
            return;
        }
        signal_all(libc::SIGKILL);
    }
}

/// Reaps until nothing is left below us, or the time is over.
fn is_gone_within(time: Duration) -> bool {
    let begun = Instant::now();
    loop {
        while signals::reap().is_some() {}
        if below(std::process::id(), &children()).len() == 1 {
            return true;
        }
        if begun.elapsed() >= time {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

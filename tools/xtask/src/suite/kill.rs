// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kills a rank with SIGKILL at random points, again and again, and looks for what is left.
//!
//! The program moves small and large messages and collectives without end, over each lane. One
//! in five times mpiexec itself is killed, one in ten times all of them at once. Afterwards no
//! process of the job, no name in /dev/shm and no abstract socket may remain, and mpiexec must
//! have ended by itself. Further rounds kill ranks that write a file together: whatever was
//! reached, each byte is the old one or its writer's, and the file has its size.
//! The random numbers come from a printed seed: `XTASK_SEED=N` repeats a run's choices.

use super::cases::{self, Case};
use super::{Lanes, Suite, Tally, programs};
use crate::process::{Running, Task, describe, signal};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const ROUNDS: u64 = 100;
const FILE_ROUNDS: u64 = 10;
const RANKS: usize = 4;
/// As in writing.c: bytes of a piece, and pieces of a rank.
const PIECE: usize = 64;
const PIECES: usize = 4000;
/// Not a promise about speed: after so long the job hangs. The promise is measured elsewhere.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Rank,
    Launcher,
    Everybody,
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    crate::setup::fabrics()?;
    let compiled = |name: &str| -> Result<PathBuf, String> {
        let source = suite.places.root.join(format!("bindings/tests/c/ends/{name}.c"));
        let binary = programs::scratch(suite, name);
        programs::compile(suite, &source, &binary)?;
        Ok(binary)
    };
    let (binary, writing) = (compiled("busy")?, compiled("writing")?);
    let seed = seed();
    println!("   seed {seed}");
    let before = names_left();
    let mut list: Vec<Case> = (0..ROUNDS).map(|round| case(suite, &binary, round, seed)).collect();
    list.extend((0..FILE_ROUNDS).map(|round| file_case(suite, &writing, round, seed)));
    let mut tally = Tally::default();
    cases::run(&list, 2, &mut tally);
    let left = names_that_stay(&before);
    let result = if left.is_empty() { Ok(()) } else { Err(left.join(" ")) };
    tally.record("no name is left", result);
    Ok(tally)
}

/// New names that do not go away: those of other jobs on this machine come and go.
pub(super) fn names_that_stay(before: &BTreeSet<String>) -> Vec<String> {
    let mut left: BTreeSet<String> = names_left().difference(before).cloned().collect();
    let began = Instant::now();
    while !left.is_empty() && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200));
        let now = names_left();
        left.retain(|name| now.contains(name));
    }
    left.into_iter().filter_map(|name| held(&name)).collect()
}

/// A name and who holds it; `None`: a socket that no process has, which the kernel will forget.
fn held(name: &str) -> Option<String> {
    if !name.starts_with('@') {
        return Some(name.to_owned());
    }
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let words = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let links: BTreeSet<PathBuf> = words
        .filter(|words| words.get(7) == Some(&name))
        .map(|words| format!("socket:[{}]", words[6]).into())
        .collect();
    let has_it = |folder: &Path| {
        let files = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| links.contains(&link))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let holders: Vec<u32> = processes
        .filter(|process| has_it(&process.path()))
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect();
    let text = format!("{name} of {}", describe(&holders));
    (!holders.is_empty()).then_some(text)
}

fn case<'a>(suite: &'a Suite, binary: &'a Path, round: u64, seed: u64) -> Case<'a> {
    let lanes = match round % 10 {
        5 if suite.foreign.is_none() => Lanes::Ofi,
        6 if suite.foreign.is_none() => Lanes::Ucx,
        _ => suite.lanes()[round as usize % suite.lanes().len()],
    };
    let who = match round % 10 {
        4 | 9 => Victim::Launcher,
        7 | 8 if round % 20 < 10 => Victim::Everybody,
        _ => Victim::Rank,
    };
    let name = format!("round {round}: kill {who:?}, {}", lanes.name());
    Case::new(name, move || {
        let task = suite.mpiexec(RANKS, lanes).arg(binary);
        one_round(task, "busy", who, random(seed, round))
    })
}

fn file_case<'a>(suite: &'a Suite, binary: &'a Path, round: u64, seed: u64) -> Case<'a> {
    let lanes = suite.lanes()[round as usize % suite.lanes().len()];
    let name = format!("round {round}: kill a rank that writes a file, {}", lanes.name());
    Case::new(name, move || {
        let file = programs::scratch(suite, &format!("written-{round}"));
        let stretch = PIECE * (RANKS + 1);
        fs::write(&file, vec![b'.'; stretch * PIECES]).map_err(|e| e.to_string())?;
        let task = suite.mpiexec(RANKS, lanes).arg(binary).arg(&file);
        one_round(task, "writing", Victim::Rank, random(seed, ROUNDS + round))?;
        let found = fs::read(&file).map_err(|e| e.to_string())?;
        let _ = fs::remove_file(&file);
        if found.len() != stretch * PIECES {
            return Err(format!("the file has {} bytes now", found.len()));
        }
        for (at, &byte) in found.iter().enumerate() {
            let piece = at % stretch / PIECE;
            let writer = (piece < RANKS).then_some(b'a' + piece as u8);
            if byte != b'.' && Some(byte) != writer {
                return Err(format!("byte {at} is {byte}, which nobody wrote there"));
            }
        }
        Ok(())
    })
}

fn one_round(task: Task, program: &str, who: Victim, random: u64) -> Result<(), String> {
    let running = task.limit(60).start()?;
    let mark = running.mark();
    // Some rounds strike while the job starts, some while it works.
    sleep(Duration::from_millis(random % 300));
    match who {
        Victim::Launcher => signal(running.pid(), "KILL"),
        Victim::Everybody => crate::process::end_marked(&mark),
        Victim::Rank => {
            let rank = pick(&running, program, random >> 16).ok_or("no rank appeared")?;
            signal(rank, "KILL");
        }
    }
    let outcome = running.finish()?;
    if outcome.timed_out {
        return Err("the job hung: the watchdog ended it".into());
    }
    if outcome.success() {
        return Err("mpiexec answered 0 though something was killed".into());
    }
    crate::process::none_left(&mark)
}

/// A rank of the job: a process with the mark that runs the program; waits until there is one.
fn pick(running: &Running, program: &str, random: u64) -> Option<u32> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let ranks: Vec<u32> =
            running.family().into_iter().filter(|pid| runs(*pid, program)).collect();
        if !ranks.is_empty() {
            return ranks.get(random as usize % ranks.len()).copied();
        }
        sleep(Duration::from_millis(5));
    }
    None
}

fn runs(pid: u32, program: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program)
}

/// Names in /dev/shm and abstract sockets that look like ours.
pub(super) fn names_left() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Ok(entries) = fs::read_dir("/dev/shm") {
        names.extend(entries.flatten().map(|e| e.path().to_string_lossy().into_owned()));
    }
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let ours = sockets.lines().filter_map(|line| line.split_whitespace().nth(7));
    names.extend(ours.filter(|name| name.starts_with("@strait")).map(str::to_string));
    names
}

/// `XTASK_SEED`, or one that differs from run to run.
pub fn seed() -> u64 {
    let seed = std::env::var("XTASK_SEED").ok().and_then(|text| text.parse().ok());
    seed.unwrap_or_else(|| u64::from(std::process::id()) | 1)
}

/// SplitMix64 of the seed and the round.
pub fn random(seed: u64, round: u64) -> u64 {
    let mut z = seed.wrapping_add((round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

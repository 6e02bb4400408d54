// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A rank is killed amid a message of 64 MiB: the sender or the receiver, where the receiver reads
//! the sender's memory, where it may not, and over TCP and libfabric. The job ends by itself, names
//! the rank that was killed, and leaves nothing.

use super::cases::{self, Case};
use super::{Lanes, Suite, Tally, kill, programs};
use crate::process::{Running, none_left, signal};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

const RANKS: usize = 4;
/// How often each way is tried, at other moments.
const TIMES: u64 = 4;
/// Not a promise about speed: after so long something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A way for the bytes: its name, its lanes, and what the kernel refuses.
type Way = (&'static str, Lanes, &'static [&'static str]);

const WAYS: &[Way] = &[
    ("single copy", Lanes::Shm, &[]),
    ("fragments", Lanes::Shm, &["process_vm_readv", "process_vm_writev"]),
    ("tcp", Lanes::Tcp, &[]),
    ("ofi", Lanes::Ofi, &[]),
    ("ucx", Lanes::Ucx, &[]),
];

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    crate::setup::fabrics()?;
    for name in ["amid", "refuse"] {
        let source = suite.places.root.join(format!("bindings/tests/c/ends/{name}.c"));
        programs::compile(suite, &source, &programs::scratch(suite, name))?;
    }
    let seed = kill::seed();
    println!("   seed {seed}");
    let mut list = Vec::new();
    for time in 0..TIMES {
        for way in WAYS {
            for (victim, who) in ["sender", "receiver"].into_iter().enumerate() {
                let random = kill::random(seed, list.len() as u64);
                let name = format!("{}, the {who} is killed, {time}", way.0);
                list.push(Case::new(name, move || one(suite, way, victim, random)));
            }
        }
    }
    let mut tally = Tally::default();
    cases::run(&list, 2, &mut tally);
    Ok(tally)
}

fn one(suite: &Suite, way: &Way, victim: usize, random: u64) -> Result<(), String> {
    let mut before = Vec::new();
    if !way.2.is_empty() {
        before.push(programs::scratch(suite, "refuse"));
        before.extend(way.2.iter().map(PathBuf::from));
        before.push("--".into());
    }
    let task = suite.mpiexec_below(&before, RANKS, way.1).arg(programs::scratch(suite, "amid"));
    let running = task.limit(60).start()?;
    let mark = running.mark();
    let struck = strike(&running, victim, random);
    let outcome = running.finish()?;
    let left = none_left(&mark);
    struck.map_err(|why| format!("{why}; {}", outcome.describe()))?;
    let named = outcome.err.contains(&format!("rank {victim} failed first"));
    if outcome.code != Some(137) || !named || !outcome.err.contains("SIGKILL") {
        return Err(format!("expected 137 and rank {victim} named: {}", outcome.describe()));
    }
    left
}

/// Waits until bytes move and kills one of the two.
fn strike(running: &Running, victim: usize, random: u64) -> Result<(), String> {
    let begun = Instant::now();
    let head = format!("rank {victim} is ");
    loop {
        let written = running.written();
        let line = written.lines().find_map(|line| line.strip_prefix(head.as_str()));
        let pid = line.and_then(|number| number.parse().ok());
        if let (Some(pid), true) = (pid, written.contains("moving\n")) {
            sleep(Duration::from_micros(random % 100_000));
            signal(pid, "KILL");
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err("no message arrived".into());
        }
        sleep(Duration::from_millis(5));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ranks that wait in a receive use next to no processor time: 128 of them together less than 1 %
//! of one core over ten seconds, over either lane.
//!
//! The time is what the kernel says that the threads ran, in nanoseconds; it does not depend on
//! what else the machine does.

use super::{Lanes, Suite, Tally, programs};
use crate::process::{Running, end_marked, marked, signal};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const RANKS: usize = 128;
const WATCHED: Duration = Duration::from_secs(10);
/// 1 % of one core over the time watched.
const ALLOWED: Duration = Duration::from_millis(100);
/// Between the word that all wait and the measurement: ranks look for a while before they sleep.
const SETTLE: Duration = Duration::from_secs(3);

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    for lanes in suite.lanes() {
        let name = format!("{RANKS} ranks that wait, {}", lanes.name());
        tally.record(&name, waiting(suite, *lanes, RANKS));
    }
    Ok(tally)
}

/// So many ranks that wait over this lane.
pub fn waiting(suite: &Suite, lanes: Lanes, ranks: usize) -> Result<(), String> {
    let source = suite.places.root.join("bindings/tests/c/ends/waiting.c");
    let binary = programs::scratch(suite, "waiting");
    programs::compile(suite, &source, &binary)?;
    let log = suite.places.scratch().join("log/idle").join(lanes.name());
    let task = suite.mpiexec(ranks, lanes).arg(&binary).limit(180).log(log.clone());
    let running = task.start()?;
    let mark = running.mark();
    let result = measure(&running, &log.with_extension("out"), ranks);
    signal(running.pid(), "TERM");
    let outcome = running.finish()?;
    let left = marked(&mark);
    end_marked(&mark);
    result.map_err(|why| format!("{why}; {}", outcome.describe()))?;
    if outcome.timed_out || !left.is_empty() {
        return Err(format!("SIGTERM did not end the job; left: {left:?}"));
    }
    Ok(())
}

fn measure(running: &Running, out: &Path, count: usize) -> Result<(), String> {
    let begin = Instant::now();
    while !fs::read_to_string(out).is_ok_and(|text| text.contains("waiting")) {
        if begin.elapsed() > Duration::from_secs(120) {
            return Err("the ranks do not come to wait".into());
        }
        sleep(Duration::from_millis(50));
    }
    sleep(SETTLE);
    let ranks: Vec<u32> = running.family().into_iter().filter(|pid| is_rank(*pid)).collect();
    if ranks.len() != count {
        return Err(format!("{} ranks wait", ranks.len()));
    }
    let before = time_used(&ranks)?;
    if before.is_zero() {
        return Err("this kernel does not say how long threads ran".into());
    }
    sleep(WATCHED);
    let used = time_used(&ranks)?.saturating_sub(before);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "   {count} ranks used {:.3} ms in {WATCHED:?}, after {:.0} ms to come there",
        milliseconds(used),
        milliseconds(before)
    );
    if used > ALLOWED {
        return Err(format!("they used {used:?}, allowed are {ALLOWED:?}"));
    }
    Ok(())
}

fn is_rank(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "waiting")
}

/// What all threads of these processes ran so far. A process that has ended is an error.
fn time_used(pids: &[u32]) -> Result<Duration, String> {
    let mut sum = 0;
    for pid in pids {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .map_err(|error| format!("process {pid}: {error}"))?;
        for task in tasks.flatten() {
            let path = task.path().join("schedstat");
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let ran = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            sum += ran.ok_or_else(|| format!("{}: no number: {text}", path.display()))?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

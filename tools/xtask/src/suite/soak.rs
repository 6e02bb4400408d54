// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random messages for a long time, every byte checked, while ranks are stopped and continued.
//!
//! The program is bindings/tests/c/soak: a seed and a round's number make the same messages on any
//! machine. What is stopped, and when, follows from the seed too, but not what it stops amid.
//! A failure ends with one line, the command that runs the failing round again.

use super::{Lanes, Suite, Tally, programs};
use crate::places::Places;
use crate::process::{Outcome, Running, Task, describe, end_marked, marked, signal};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const RANKS: usize = 16;
const THREADS: usize = 8;
/// Ranks of a job whose ranks have threads: as many threads in all as two jobs without.
const THREADED_RANKS: usize = 4;
/// After so many seconds more than it should take a job hangs: mpiexec ends it, and says in what
/// each rank was waiting. If mpiexec hangs, too, the watchdog ends both a while later.
const PATIENCE: u64 = 180;
const WATCHDOG: u64 = PATIENCE + 30;

/// Runs what follows as nobody.
pub const ANOTHER_USER: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// What to run, as the command line says it.
pub struct Options {
    pub seconds: u64,
    pub ranks: usize,
    pub seed: Option<u64>,
    /// One lane only.
    pub lanes: Option<Lanes>,
    pub threads: Option<usize>,
    /// Runs this round and a few behind it, and leaves no record.
    pub round: Option<u64>,
    /// As in `Run`.
    pub refused: Vec<String>,
    pub dev_shm: Option<u32>,
    pub strangers: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seconds: 600,
            ranks: RANKS,
            seed: None,
            lanes: None,
            threads: None,
            round: None,
            refused: Vec::new(),
            dev_shm: None,
            strangers: 0,
        }
    }
}

/// One job.
#[derive(Clone)]
pub struct Run {
    pub lanes: Lanes,
    pub ranks: usize,
    pub threads: usize,
    pub seed: u64,
    pub seconds: u64,
    pub round: u64,
    /// Calls that the kernel refuses to the job and to its launcher.
    pub refused: Vec<String>,
    /// The size of /dev/shm in MiB, in a mount namespace of the job's own.
    pub dev_shm: Option<u32>,
    /// So many of the ranks, the last ones, run as another user: only for root.
    pub strangers: usize,
}

impl Run {
    pub fn new(lanes: Lanes, seed: u64, seconds: u64) -> Run {
        let (ranks, threads, round, strangers) = (RANKS, 1, 0, 0);
        let (refused, dev_shm) = (Vec::new(), None);
        Run { lanes, ranks, threads, seed, seconds, round, refused, dev_shm, strangers }
    }

    pub fn name(&self) -> String {
        let mut name = format!("{} ranks, {}", self.ranks, self.lanes.name());
        if self.threads > 1 {
            let _ = write!(name, ", {} threads each", self.threads);
        }
        if !self.refused.is_empty() {
            let _ = write!(name, ", without {}", self.refused.join(" and "));
        }
        if let Some(mib) = self.dev_shm {
            let _ = write!(name, ", /dev/shm of {mib} MiB");
        }
        if self.strangers > 0 {
            let _ = write!(name, ", {} of another user", self.strangers);
        }
        name
    }

    /// The command that makes the same messages again, from a round on.
    fn replay(&self, round: u64) -> String {
        let Run { seed, ranks, lanes, threads, .. } = self;
        let lanes = lanes.name();
        let mut line = format!("replay: cargo xtask soak --seed {seed} --ranks {ranks}");
        let _ = write!(line, " --lanes {lanes} --threads {threads} --round {round}");
        for call in &self.refused {
            let _ = write!(line, " --refuse {call}");
        }
        if let Some(mib) = self.dev_shm {
            let _ = write!(line, " --dev-shm {mib}");
        }
        if self.strangers > 0 {
            let _ = write!(line, " --strangers {}", self.strangers);
        }
        line
    }

    fn task(&self, suite: &Suite, binary: &Path) -> Task {
        let mut before: Vec<PathBuf> = Vec::new();
        if let Some(mib) = self.dev_shm {
            before.extend(own_dev_shm(mib));
        }
        if !self.refused.is_empty() {
            before.push(programs::scratch(suite, "refuse"));
            before.extend(self.refused.iter().map(PathBuf::from));
            before.push("--".into());
        }
        let numbers = [self.seed, self.seconds, self.round, self.threads as u64];
        let numbers = numbers.map(|number| number.to_string());
        let ranks = self.ranks.saturating_sub(self.strangers).max(1);
        let mut task = suite.mpiexec_below(&before, ranks, self.lanes).arg(binary).args(&numbers);
        if self.strangers > 0 {
            task = task.args([":", "-n", &self.strangers.to_string()]);
            task = task.args(ANOTHER_USER).arg(binary).args(&numbers);
        }
        let patience = (self.seconds + PATIENCE).to_string();
        task.env("MPIEXEC_TIMEOUT", patience).limit(self.seconds + WATCHDOG)
    }

    /// Runs it to its end; what it said in its last lines, or what went wrong and how to see it
    /// again.
    pub fn run(&self, suite: &Suite) -> Result<String, String> {
        let name: String = self.name().replace([' ', ',', '/'], "-");
        let log = suite.places.scratch().join("log/soak").join(name);
        let binary = programs::scratch(suite, "soak");
        let mut running = self.task(suite, &binary).log(log).start()?;
        let mark = running.mark();
        let stops = disturb(&mut running, self.seed);
        let outcome = running.finish()?;
        let left = describe(&marked(&mark));
        end_marked(&mark);
        self.judge(&outcome, &left).map(|words| format!("{words}, {stops} stops"))
    }

    fn judge(&self, outcome: &Outcome, left: &str) -> Result<String, String> {
        let lines: Vec<&str> = outcome.out.lines().collect();
        if outcome.success() && left.is_empty() && lines.last() == Some(&"ok") {
            let words = lines.len().checked_sub(2).map_or("", |at| lines[at]);
            return Ok(words.to_string());
        }
        let round = failed_round(&outcome.err, "in round ").or_else(|| {
            let line = lines.iter().rev().find(|line| line.starts_with("round "))?;
            failed_round(line, "round ")
        });
        let mut text = outcome.describe();
        if !left.is_empty() {
            let _ = write!(text, "\n      | processes are left: {left}");
        }
        let _ = write!(text, "\n{}", self.replay(round.unwrap_or(self.round)));
        Err(text)
    }
}

/// Words that give the command behind them a /dev/shm of its own.
fn own_dev_shm(mib: u32) -> Vec<PathBuf> {
    let line = format!("mount -t tmpfs -o size={mib}m tmpfs /dev/shm && exec \"$@\"");
    ["unshare", "-rm", "sh", "-c", &line, "sh"].map(PathBuf::from).to_vec()
}

/// The number after the first of these words.
fn failed_round(text: &str, words: &str) -> Option<u64> {
    let rest = &text[text.find(words)? + words.len()..];
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Stops a rank for a while, again and again, until the job ends; answers how often.
fn disturb(running: &mut Running, seed: u64) -> usize {
    let end = Instant::now() + running.limit();
    let mut count = 0;
    while Instant::now() < end {
        let random = super::kill::random(seed, count as u64);
        for _ in 0..=random % 8 {
            if running.has_ended() {
                return count;
            }
            sleep(Duration::from_millis(50));
        }
        let ranks: Vec<u32> = running.family().into_iter().filter(|pid| is_soak(*pid)).collect();
        let Some(victim) = ranks.get((random >> 8) as usize % ranks.len().max(1)) else { continue };
        signal(*victim, "STOP");
        sleep(Duration::from_millis((random >> 16) % 300));
        signal(*victim, "CONT");
        count += 1;
    }
    count
}

fn is_soak(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "soak")
}

/// Compiles the program, and the one that refuses calls.
pub fn prepare(suite: &Suite) -> Result<(), String> {
    suite.need_prefix()?;
    let dir = suite.places.root.join("bindings/tests/c");
    for (name, source) in [("soak", "soak/soak.c"), ("refuse", "ends/refuse.c")] {
        programs::compile(suite, &dir.join(source), &programs::scratch(suite, name))?;
    }
    Ok(())
}

pub fn seed() -> u64 {
    super::kill::seed()
}

/// The stage: 30 seconds in all, and eight with threads.
pub fn stage(suite: &Suite) -> Result<Tally, String> {
    prepare(suite)?;
    let seed = seed();
    println!("   seed {seed}");
    let mut tally = Tally::default();
    for lanes in suite.lanes() {
        let plain = Run::new(*lanes, seed, 15);
        let threaded = Run { ranks: THREADED_RANKS, threads: THREADS, seconds: 4, ..plain.clone() };
        for run in [plain, threaded] {
            tally.record(&run.name(), run.run(suite).map(|_| ()));
        }
    }
    Ok(tally)
}

/// `cargo xtask soak`: the whole time, and a record of it; or one round again.
pub fn command(places: Places, options: &Options) -> Result<bool, String> {
    let suite = Suite::new(places, None);
    prepare(&suite)?;
    let seed = options.seed.unwrap_or_else(seed);
    let mut record = head(&suite, options, seed);
    print!("{record}");
    let mut good = true;
    let mut note = |name: String, result: Result<String, String>| {
        good &= result.is_ok();
        let line = match result {
            Ok(words) => format!("ok      {name}: {words}\n"),
            Err(why) => format!("FAILED  {name}: {why}\n"),
        };
        print!("{line}");
        record.push_str(&line);
    };
    for run in plan(options, seed) {
        note(format!("{} s: {}", run.seconds, run.name()), run.run(&suite));
    }
    if is_whole(options) {
        for (lanes, messages) in FLOODS {
            note(format!("flood, {}", lanes.name()), flood(&suite, *lanes, *messages));
        }
    }
    if options.round.is_none() {
        let path = save(&suite.places, &record)?;
        println!("recorded in {}", path.display());
    }
    Ok(good)
}

/// Nothing was left out or put behind walls.
fn is_whole(options: &Options) -> bool {
    let walls = !options.refused.is_empty() || options.dev_shm.is_some() || options.strangers > 0;
    !walls && options.lanes.is_none() && options.threads.is_none() && options.round.is_none()
}

/// Small messages that nobody has asked for. Over TCP each costs a round trip at last, so fewer.
const FLOODS: &[(Lanes, u64)] = &[(Lanes::Shm, 10_000_000), (Lanes::Tcp, 1_000_000)];

/// The program of the stage `c`, with many more messages; it holds memory against its bound.
fn flood(suite: &Suite, lanes: Lanes, messages: u64) -> Result<String, String> {
    let source = suite.places.root.join("bindings/tests/c/flood.c");
    let binary = programs::scratch(suite, "flood");
    programs::compile(suite, &source, &binary)?;
    let log = suite.places.scratch().join("log/soak").join(format!("flood-{}", lanes.name()));
    let task = suite.mpiexec(2, lanes).arg(binary).arg(messages.to_string());
    let outcome = task.limit(600).log(log).run()?;
    let good = outcome.success() && outcome.out == "ok\n";
    let words = format!("{messages} messages of 8 B, 1 GiB of 64 KiB, {:.0?}", outcome.elapsed);
    if good { Ok(words) } else { Err(outcome.describe()) }
}

/// Both lanes in turn, then with threads, then where the kernel refuses to read a peer's memory;
/// or just what was asked for.
fn plan(options: &Options, seed: u64) -> Vec<Run> {
    let seconds = if options.round.is_some() { 1 } else { options.seconds };
    let lanes = options.lanes.map_or(vec![Lanes::Shm, Lanes::Tcp], |lanes| vec![lanes]);
    let one = |lanes: Lanes, share: u64, threads: usize, ranks: usize| Run {
        threads,
        ranks,
        round: options.round.unwrap_or(0),
        refused: options.refused.clone(),
        dev_shm: options.dev_shm,
        strangers: options.strangers,
        ..Run::new(lanes, seed, (seconds * share / 100 / lanes_of(options)).max(1))
    };
    let walls = !options.refused.is_empty() || options.dev_shm.is_some() || options.strangers > 0;
    if options.threads.is_some() || walls {
        let threads = options.threads.unwrap_or(1);
        return lanes.iter().map(|l| one(*l, 100, threads, options.ranks)).collect();
    }
    let mut runs: Vec<Run> = lanes.iter().map(|l| one(*l, 70, 1, options.ranks)).collect();
    runs.extend(lanes.iter().map(|l| one(*l, 20, THREADS, THREADED_RANKS)));
    if lanes.contains(&Lanes::Shm) {
        let share = 10 * lanes_of(options);
        runs.push(Run { refused: no_peer_reads(), ..one(Lanes::Shm, share, 1, options.ranks) });
    }
    runs
}

/// The calls for a single copy, which containers refuse.
pub fn no_peer_reads() -> Vec<String> {
    vec!["process_vm_readv".into(), "process_vm_writev".into()]
}

fn lanes_of(options: &Options) -> u64 {
    if options.lanes.is_some() { 1 } else { 2 }
}

fn head(suite: &Suite, options: &Options, seed: u64) -> String {
    let said = |program: &str, args: &[&str]| {
        let task = Task::new(program).args(args).dir(&suite.places.root).run();
        task.map_or(String::new(), |outcome| outcome.out.trim().to_string())
    };
    let commit = said("git", &["rev-parse", "HEAD"]);
    let changed = if said("git", &["status", "--porcelain", "-uno"]).is_empty() { "" } else { "+" };
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    format!(
        "soak of {} s, {} ranks on {cores} cores\ndate    {}\ncommit  {commit}{changed}\n\
         kernel  {}\nseed    {seed}\n",
        options.seconds,
        options.ranks,
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said("uname", &["-r"]),
    )
}

fn save(places: &Places, record: &str) -> Result<PathBuf, String> {
    let dir = places.root.join("benches/record");
    let word = |name: &str| {
        let line = record.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().chars().filter(char::is_ascii_alphanumeric).take(12).collect::<String>()
    };
    let path = dir.join(format!("soak-{}-{}.txt", word("date"), word("commit")));
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    fs::write(&path, record).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_that_failed_is_found_in_what_was_said() {
        let said = "transfer.h:9: rank 3 in round 17, thread 0, message 4: x does not hold";
        assert_eq!(failed_round(said, "in round "), Some(17));
        assert_eq!(failed_round("round 5\n", "round "), Some(5));
        assert_eq!(failed_round("nothing", "in round "), None);
    }

    #[test]
    fn the_time_is_shared_out_and_a_replay_is_one_round() {
        let all = plan(&Options::default(), 1);
        assert_eq!(all.iter().map(|run| run.seconds).sum::<u64>(), 600);
        assert!(all.iter().any(|run| !run.refused.is_empty()));
        let threads = Some(1);
        let lanes = Some(Lanes::Tcp);
        let one =
            Options { lanes, round: Some(9), threads, dev_shm: Some(8), ..Options::default() };
        let runs = plan(&one, 1);
        assert_eq!((runs.len(), runs[0].round, runs[0].seconds), (1, 9, 1));
        assert!(runs[0].replay(9).ends_with("--lanes tcp --threads 1 --round 9 --dev-shm 8"));
    }
}

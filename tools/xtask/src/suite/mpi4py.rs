// SPDX-License-Identifier: Apache-2.0 OR MIT
//! mpi4py's own tests, from its source distribution: one mpiexec per file, bounded in time, at 1
//! to 4 ranks, on both faces; results are compared test by test with two lists.
//!
//! `bindings/tests/python/expectations.txt` names what cannot pass yet. An entry is
//!     FACE RANKS TEST KIND REASON
//! where FACE is mpich, standard or *, RANKS is 2 or 2,3 or *, KIND is `fail` or `hang` (a test
//! that would block the others of its file, so it is left out of the run). An entry whose test
//! passes is an error: the list may only shrink.
//!
//! `bindings/tests/python/skips.txt` names what MPICH skips (RANKS TEST); what we skip beyond it
//! is a failure. It is made by running this stage `--with` an MPICH tree.

use super::cases::{self, Case};
use super::{Face, Lanes, Suite, Tally};
use crate::process::Task;
use crate::setup;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The heavy ones first, so that the last to run are short.
pub const FILES: &[&str] = &[
    "datatype",
    "pack",
    "p2p_buf",
    "msgspec",
    "cco_buf",
    "cco_vec",
    "cco_buf_inter",
    "cco_vec_inter",
    "cco_ngh_buf",
    "cco_ngh_obj",
    "util_pkl5",
    "p2p_obj",
    "pickle",
    "p2p_obj_matched",
    "p2p_buf_matched",
    "cco_obj",
    "cco_obj_inter",
    "comm",
    "comm_inter",
    "group",
    "request",
    "status",
    "op",
    "errhandler",
    "errorcode",
    "exceptions",
    "environ",
    "attributes",
    "info",
    "address",
    "msgzero",
    "buffer",
    "grequest",
    "objmodel",
    "subclass",
    "handle",
    "win",
    "rma",
    "rma_nb",
    "file",
    "io",
    "dynproc",
    "spawn",
];
/// Where the number of ranks matters most; the others are run at fewer numbers in the whole suite.
const OF_MANY: &[&str] = &[
    "cco_buf",
    "cco_vec",
    "cco_obj",
    "cco_buf_inter",
    "cco_vec_inter",
    "cco_obj_inter",
    "cco_ngh_buf",
    "cco_ngh_obj",
    "p2p_obj",
    "comm_inter",
];
const RANKS: &[usize] = &[1, 2, 3, 4];
const SECONDS: u64 = 300;

/// What became of a test in one run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Pass,
    Skip,
    Fail,
}

/// One line of the expectation list.
struct Expectation {
    line: usize,
    face: String,
    ranks: String,
    test: String,
    hangs: bool,
}

impl Expectation {
    fn covers(&self, face: Face, ranks: usize, test: &str) -> bool {
        let count = ranks.to_string();
        (self.face == "*" || self.face == face.name())
            && (self.ranks == "*" || self.ranks.split(',').any(|word| word == count))
            && self.test == test
    }
}

/// One file run once.
struct Run {
    face: Face,
    ranks: usize,
    file: &'static str,
    verdicts: BTreeMap<String, Verdict>,
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let tests = setup::mpi4py_tests(&suite.places)?;
    let lists = suite.places.root.join("bindings/tests/python");
    let expectations = match suite.foreign {
        Some(_) => Vec::new(),
        None => read_expectations(&lists.join("expectations.txt"))?,
    };
    let allowed = read_skips(&lists.join("skips.txt"))?;
    let pythons: Vec<(Face, PathBuf)> = suite
        .faces()
        .iter()
        .map(|face| suite.python(*face).map(|python| (*face, python)))
        .collect::<Result<_, _>>()?;
    let runs: Mutex<Vec<Run>> = Mutex::new(Vec::new());
    let mut list = Vec::new();
    for ranks in RANKS {
        for (face, python) in &pythons {
            for file in FILES.iter().filter(|file| is_due(suite, *face, *ranks, file)) {
                let one = One { suite, tests: &tests, python, face: *face, ranks: *ranks, file };
                let (expectations, runs) = (&expectations, &runs);
                list.push(Case::new(one.name(), move || {
                    let (run, result) = one.run(expectations)?;
                    runs.lock().expect("no case panics with the lock").push(run);
                    result
                }));
            }
        }
    }
    let mut files = Tally::default();
    cases::run(&list, 2, &mut files);
    drop(list);
    // A file that ended early is one failure; apart from that, tests count, not files.
    let mut tally = Tally { failed: files.failed, ..Tally::default() };
    let runs = runs.into_inner().expect("no case panics with the lock");
    judge(&runs, &expectations, &allowed, suite.foreign.is_some(), &mut tally);
    if suite.foreign.is_some() {
        write_skips(suite, &runs)?;
    }
    Ok(tally)
}

/// Alone, this stage runs everything; in the whole suite what finds most in the time there is.
fn is_due(suite: &Suite, face: Face, ranks: usize, file: &str) -> bool {
    let is_part = suite.is_whole && suite.foreign.is_none();
    match (face, ranks) {
        _ if !is_part => true,
        (Face::Mpich, 1 | 2 | 4) | (Face::Standard, 2) => true,
        (Face::Mpich, 3) | (Face::Standard, 4) => OF_MANY.contains(&file),
        _ => false,
    }
}

/// What one case needs.
struct One<'a> {
    suite: &'a Suite,
    tests: &'a Path,
    python: &'a Path,
    face: Face,
    ranks: usize,
    file: &'static str,
}

impl One<'_> {
    fn name(&self) -> String {
        format!("test_{} np={} {}", self.file, self.ranks, self.face.name())
    }

    /// Runs the file; answers the verdicts, and whether the run itself came to its end.
    fn run(&self, expectations: &[Expectation]) -> Result<(Run, Result<(), String>), String> {
        let log =
            self.suite.places.scratch().join("log/mpi4py").join(self.name().replace(' ', "-"));
        let records = log.with_extension("records");
        let _ = fs::remove_dir_all(&records);
        fs::create_dir_all(&records).map_err(|e| e.to_string())?;
        let runner = self.suite.places.root.join("bindings/tests/python/run_mpi4py.py");
        let mut task = self
            .suite
            .mpiexec(self.ranks, Lanes::Shm)
            .arg(self.python)
            .arg(runner)
            .arg(self.tests)
            .arg(&records)
            .args(["-v", "--no-builddir", "-i", &format!(r"^test_{}\.py$", self.file)])
            .limit(SECONDS)
            .log(log);
        for known in expectations.iter().filter(|e| e.hangs) {
            if known.covers(self.face, self.ranks, &known.test) {
                task = task.args(["-x", &known.test]);
            }
        }
        let outcome = task.run()?;
        let (verdicts, complete) = read_records(&records, self.ranks);
        let anything_failed = verdicts.values().any(|v| *v == Verdict::Fail);
        let result = match (complete, outcome.success()) {
            (true, true) => Ok(()),
            // The failed tests themselves are judged one by one.
            (true, false) if anything_failed => Ok(()),
            _ => Err(format!("the run did not come to its end: {}", outcome.describe())),
        };
        let run = Run { face: self.face, ranks: self.ranks, file: self.file, verdicts };
        Ok((run, result))
    }
}

/// One file of mpi4py's suite, in a job that `task` starts; `records` is where it writes.
pub fn one_file(
    suite: &Suite,
    task: Task,
    ranks: usize,
    python: &Path,
    tests: &Path,
    file: &str,
    records: &Path,
) -> Result<(), String> {
    let _ = fs::remove_dir_all(records);
    fs::create_dir_all(records).map_err(|e| e.to_string())?;
    let runner = suite.places.root.join("bindings/tests/python/run_mpi4py.py");
    let task = task.arg(python).arg(runner).arg(tests).arg(records);
    let task = task.args(["-v", "--no-builddir", "-i", &format!(r"^test_{file}\.py$")]);
    let outcome = task.limit(300).run()?;
    match (failed_tests(records, ranks), outcome.success()) {
        (failed, true) if failed.is_empty() => Ok(()),
        (failed, _) => Err(format!("failed: {failed:?}; {}", outcome.describe())),
    }
}

/// The tests that failed, or never ended, according to what each rank wrote; one entry says if a
/// rank did not come to its end.
pub fn failed_tests(dir: &Path, ranks: usize) -> Vec<String> {
    let (verdicts, complete) = read_records(dir, ranks);
    let failed = verdicts.into_iter().filter(|(_, verdict)| *verdict == Verdict::Fail);
    let mut failed: Vec<String> = failed.map(|(test, _)| test).collect();
    if !complete {
        failed.push("the end of the run".into());
    }
    failed
}

/// Reads what every rank wrote: a test that failed on any rank, or was begun and never ended, has
/// failed. `complete` says that every rank came to the end.
fn read_records(dir: &Path, ranks: usize) -> (BTreeMap<String, Verdict>, bool) {
    let mut verdicts: BTreeMap<String, Verdict> = BTreeMap::new();
    let mut complete = true;
    for rank in 0..ranks {
        let text = fs::read_to_string(dir.join(format!("rank-{rank}"))).unwrap_or_default();
        let mut open: BTreeSet<&str> = BTreeSet::new();
        let mut ended = false;
        for line in text.lines() {
            let (word, test) = line.split_once('\t').unwrap_or((line, ""));
            let verdict = match word {
                "begin" => {
                    open.insert(test);
                    continue;
                }
                "end" => {
                    ended = true;
                    continue;
                }
                "pass" => Verdict::Pass,
                "skip" => Verdict::Skip,
                _ => Verdict::Fail,
            };
            open.remove(test);
            note(&mut verdicts, test, verdict);
        }
        open.into_iter().for_each(|test| note(&mut verdicts, test, Verdict::Fail));
        complete &= ended;
    }
    (verdicts, complete)
}

/// A failure on one rank is the test's; a test that one rank ran is not skipped.
fn note(verdicts: &mut BTreeMap<String, Verdict>, test: &str, verdict: Verdict) {
    let entry = verdicts.entry(test.to_string()).or_insert(verdict);
    if verdict == Verdict::Fail || (verdict == Verdict::Pass && *entry == Verdict::Skip) {
        *entry = verdict;
    }
}

fn judge(
    runs: &[Run],
    expectations: &[Expectation],
    allowed: &BTreeSet<(usize, String)>,
    foreign: bool,
    tally: &mut Tally,
) {
    let mut used = vec![false; expectations.len()];
    let mut expected_failures = 0;
    for run in runs {
        for (test, verdict) in &run.verdicts {
            let known = expectations.iter().position(|e| e.covers(run.face, run.ranks, test));
            let place = format!("{test} np={} {}", run.ranks, run.face.name());
            match (verdict, known) {
                (Verdict::Fail, Some(index)) => {
                    used[index] = true;
                    expected_failures += 1;
                }
                (Verdict::Fail, None) => tally.fail(place),
                (Verdict::Pass, Some(index)) => {
                    used[index] = true;
                    let line = expectations[index].line;
                    tally.fail(format!("{place}: passes: remove it from expectations.txt:{line}"));
                }
                (Verdict::Pass, None) => tally.pass(),
                (Verdict::Skip, _) => {
                    tally.skipped += 1;
                    if !foreign && !allowed.contains(&(run.ranks, test.clone())) {
                        tally.fail(format!("{place}: skipped, which MPICH does not"));
                    }
                }
            }
        }
    }
    let all = runs.len() == FILES.len() * RANKS.len() * 2;
    for (expectation, used) in expectations.iter().zip(used) {
        if expectation.hangs {
            expected_failures += 1;
        } else if !used && all {
            let (line, test) = (expectation.line, &expectation.test);
            tally.fail(format!("expectations.txt:{line}: {test} was not run: remove it"));
        }
    }
    tally.skipped += expected_failures;
    let files: BTreeSet<_> = runs.iter().map(|run| run.file).collect();
    let (files, passed, skipped) = (files.len(), tally.passed, tally.skipped - expected_failures);
    println!(
        "   {files} files: {passed} passed, {skipped} skipped, {expected_failures} known to fail"
    );
}

fn read_expectations(path: &Path) -> Result<Vec<Expectation>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut list = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        match words[..] {
            [face, ranks, test, kind @ ("fail" | "hang"), reason] if reason.len() > 3 => {
                list.push(Expectation {
                    line: index + 1,
                    face: face.into(),
                    ranks: ranks.into(),
                    test: test.into(),
                    hangs: kind == "hang",
                });
            }
            _ => {
                let place = format!("{}:{}", path.display(), index + 1);
                return Err(format!("{place}: expected `FACE RANKS TEST fail|hang REASON`"));
            }
        }
    }
    Ok(list)
}

fn read_skips(path: &Path) -> Result<BTreeSet<(usize, String)>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut set = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((ranks, test)) = line.split_once(' ') else { continue };
        set.extend(ranks.split(',').filter_map(|n| n.parse().ok()).map(|n| (n, test.to_string())));
    }
    Ok(set)
}

/// Writes what another MPI skipped, in the form of skips.txt, below the build directory.
fn write_skips(suite: &Suite, runs: &[Run]) -> Result<(), String> {
    let mut skipped: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for run in runs {
        for (test, _) in run.verdicts.iter().filter(|(_, v)| **v == Verdict::Skip) {
            skipped.entry(test).or_default().insert(run.ranks);
        }
    }
    let mut text = String::new();
    for (test, ranks) in &skipped {
        let ranks: Vec<String> = ranks.iter().map(usize::to_string).collect();
        text.push_str(&format!("{} {test}\n", ranks.join(",")));
    }
    let path = suite.places.scratch().join("skips.txt");
    println!("   {} skipped tests are named in {}", skipped.len(), path.display());
    fs::write(&path, text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_on_any_rank_counts_and_a_skip_on_one_does_not() {
        let mut verdicts = BTreeMap::new();
        note(&mut verdicts, "a", Verdict::Pass);
        note(&mut verdicts, "a", Verdict::Fail);
        note(&mut verdicts, "a", Verdict::Pass);
        note(&mut verdicts, "b", Verdict::Skip);
        note(&mut verdicts, "b", Verdict::Pass);
        assert_eq!(verdicts["a"], Verdict::Fail);
        assert_eq!(verdicts["b"], Verdict::Pass);
    }

    #[test]
    fn a_passing_expectation_is_a_failure() {
        let expectation = Expectation {
            line: 3,
            face: "*".into(),
            ranks: "2,3".into(),
            test: "t.T.x".into(),
            hangs: false,
        };
        assert!(expectation.covers(Face::Mpich, 3, "t.T.x"));
        assert!(!expectation.covers(Face::Mpich, 4, "t.T.x"));
        let verdicts = BTreeMap::from([("t.T.x".to_string(), Verdict::Pass)]);
        let run = Run { face: Face::Standard, ranks: 2, file: "op", verdicts };
        let mut tally = Tally::default();
        judge(&[run], &[expectation], &BTreeSet::new(), false, &mut tally);
        assert_eq!(tally.failed.len(), 1);
        assert!(tally.failed[0].contains("remove it"));
    }
}

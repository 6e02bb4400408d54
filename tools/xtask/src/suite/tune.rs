// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait tune`: small runs, one of them interrupted. Nothing here depends on what is faster.

use super::bench::scratch;
use super::{Lanes, Suite};
use crate::process::{Outcome, Task, none_left, signal_group};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Not a promise about speed: after so long something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// An empty directory.
fn fresh(suite: &Suite, name: &str) -> Result<PathBuf, String> {
    let dir = scratch(suite)?.join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    Ok(dir)
}

fn tune(suite: &Suite, words: &str, out: &Path) -> Task {
    let task = suite.mpiexec(2, Lanes::Shm).arg(suite.places.bin("strait")).arg("tune");
    task.args(words.split_whitespace()).arg("--out").arg(out).limit(120)
}

fn says(outcome: &Outcome, code: i32, texts: &[&str]) -> Result<(), String> {
    let said = |text: &&&str| outcome.out.contains(**text) || outcome.err.contains(**text);
    match texts.iter().find(|text| !said(text)) {
        Some(text) => Err(format!("no '{text}': {}", outcome.describe())),
        None if outcome.code == Some(code) => Ok(()),
        None => Err(format!("expected exit code {code}: {}", outcome.describe())),
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A table, a report, and a run that takes the table; `strait explain` knows what was measured.
pub fn writes(suite: &Suite) -> Result<(), String> {
    let out = fresh(suite, "tune")?.join("tuned.toml");
    let words = "--budget 2s --collectives allreduce --bytes 1K";
    says(&tune(suite, words, &out).run()?, 0, &["1 of 1 calls measured"])?;
    let table = read(&out)?;
    let chosen = table.split("chosen = { algorithm = \"").nth(1).and_then(|t| t.split('"').next());
    let chosen = chosen.ok_or_else(|| format!("no evidence in {table}"))?;
    let us = table.split("us = ").nth(1).and_then(|t| t.split([',', '.']).next());
    let us = us.ok_or_else(|| format!("no times in {table}"))?;
    let page = read(&out.with_extension("html"))?;
    if !page.contains("<svg") || page.contains("http://") || page.contains("<script") {
        return Err("the report has no drawing, or loads something".into());
    }
    let explain = Task::new(suite.places.bin("strait"))
        .args(["explain", "allreduce", "-n", "2", "--ppn", "2", "--bytes", "1024", "--tuning"])
        .arg(&out);
    let outcome = explain.limit(30).run()?;
    let name = chosen.split(' ').next().unwrap_or_default();
    let texts = [&format!("1024 bytes: {name}"), "Measured at 1024 bytes", &format!(" {us}.")[..]];
    says(&outcome, 0, &texts)?;
    let run = suite.mpiexec(2, Lanes::Shm).env("STRAIT_TUNING", &out).env("STRAIT_BOARDS", "off");
    let run = run.arg(suite.places.bin("osu_allreduce")).args(["-c", "-m", "1024:1024", "-i", "5"]);
    says(&run.limit(60).run()?, 0, &["Pass"])?;
    // What is there is never overwritten unasked.
    says(&tune(suite, words, &out).run()?, 2, &["has an earlier run: --resume goes on"])?;
    let bad = out.with_file_name("bad.toml");
    says(&tune(suite, "--collectives alreduce", &bad).run()?, 2, &["alreduce: there is barrier"])?;
    says(&tune(suite, "--ranks 3", &bad).run()?, 2, &["--ranks 3: this job has 2"])
}

/// ^C in the midst of it; what was measured before is still there after the run that goes on.
pub fn goes_on(suite: &Suite) -> Result<(), String> {
    let out = fresh(suite, "tune-interrupted")?.join("tuned.toml");
    let state = out.with_extension("run.json");
    let words = "--budget 1h --bytes 8..64K --seed 3";
    let running = tune(suite, words, &out).own_group().start()?;
    let mark = running.mark();
    let begun = Instant::now();
    let sampled = |text: &str| {
        let lists = text.split("\"samples\":[").skip(1).filter_map(|rest| rest.split(']').next());
        lists.filter(|list| !list.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    while fs::read_to_string(&state).map_or(true, |text| sampled(&text).is_empty()) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("nothing is kept; {}", running.written()));
        }
        sleep(Duration::from_millis(5));
    }
    signal_group(running.pid(), "INT");
    let outcome = running.finish()?;
    none_left(&mark)?;
    if outcome.code != Some(130) || out.exists() {
        return Err(format!("^C did not end it: {}", outcome.describe()));
    }
    let kept = sampled(&read(&state)?);
    let words = words.replace("1h", "1ms") + " --resume";
    says(&tune(suite, &words, &out).run()?, 0, &["the time is up", "calls measured"])?;
    let after = sampled(&read(&state)?);
    let is_kept = |list: &String| after.iter().any(|later| later.starts_with(list.as_str()));
    match kept.iter().find(|list| !is_kept(list)) {
        None if after.len() > kept.len() || after != kept => Ok(()),
        None => Err("the run that went on measured nothing".into()),
        Some(list) => Err(format!("these samples are lost: {list}")),
    }
}

/// The exit code says whether the table has rows; which it has depends on the machine.
pub fn checks(suite: &Suite) -> Result<(), String> {
    let out = fresh(suite, "tune-check")?.join("none.toml");
    let words = "--check --budget 20s --bytes 64 --collectives allreduce,barrier";
    let outcome = tune(suite, words, &out).run()?;
    let is_clean = outcome.out.contains(" measured, 0 broken, 0 left out");
    let code = if is_clean { 0 } else { 1 };
    let head = if is_clean { "guidelines" } else { "ratio allowed" };
    says(&outcome, code, &["8 guidelines measured", head])?;
    if out.exists() || out.with_extension("run.json").exists() {
        return Err("a check writes no table".into());
    }
    Ok(())
}

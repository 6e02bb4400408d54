// SPDX-License-Identifier: Apache-2.0 OR MIT
//! mpiexec with real processes: shells and Python as ranks, and this very program where a rank has
//! to join the job (rank.rs). No MPI library is needed.

mod binding;
mod ends;
mod hosts;
mod options;
mod output;
mod placement;
mod rank;
mod signals;
mod stdin;
mod tree;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest life of any mpiexec in these tests: a hang becomes a failure.
const WATCHDOG: Duration = Duration::from_secs(60);

/// mpiexec with these arguments.
fn mpiexec<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpiexec"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["MPIEXEC_TIMEOUT", "STRAIT_JOB"] {
        command.env_remove(name);
    }
    command
}

/// What a run gave.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
    took: Duration,
}

/// Runs to the end, under the watchdog.
fn run<S: AsRef<OsStr>>(args: &[S]) -> Ran {
    finish(mpiexec(args), b"")
}

/// Runs a prepared command with this input.
fn finish(mut command: Command, input: &[u8]) -> Ran {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let begun = Instant::now();
    let mut child = command.spawn().expect("mpiexec starts");
    let writer = child.stdin.take().map(|mut pipe| {
        let input = input.to_vec();
        std::thread::spawn(move || drop(pipe.write_all(&input)))
    });
    let output = watched(child);
    if let Some(writer) = writer {
        writer.join().expect("the writer does not panic");
    }
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

/// Collects a child; kills it when the watchdog's time is over.
fn watched(mut child: Child) -> Output {
    let collect = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                drop(pipe.read_to_end(&mut bytes));
            }
            bytes
        })
    };
    let out = collect(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let err = collect(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        if begun.elapsed() > WATCHDOG {
            drop(child.kill());
            drop(child.wait());
            panic!("mpiexec did not end within {WATCHDOG:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let stdout = out.join().expect("the reader does not panic");
    let stderr = err.join().expect("the reader does not panic");
    Output { status, stdout, stderr }
}

/// A fresh directory of this test.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(std::fs::remove_dir_all(&path));
    std::fs::create_dir_all(&path).expect("the target directory is writable");
    path
}

/// Waits until `test` holds; fails after ten seconds.
fn eventually(what: &str, mut test: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !test() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process exists and is no zombie.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// The process ids that a rank program wrote as `pid N` lines.
fn pids(text: &str) -> Vec<u32> {
    let words = text.lines().filter_map(|line| line.strip_prefix("pid "));
    words.filter_map(|word| word.trim().parse().ok()).collect()
}

/// Reads lines of a running mpiexec's standard output until `count` lines begin with `pid `.
fn read_pids(child: &mut Child, count: usize) -> Vec<u32> {
    let pipe = child.stdout.as_mut().expect("piped");
    let mut text = String::new();
    let mut byte = [0];
    while pids(&text).len() < count || !text.ends_with('\n') {
        assert_eq!(pipe.read(&mut byte).expect("readable"), 1, "ended early: {text}");
        text.push(char::from(byte[0]));
    }
    pids(&text)
}

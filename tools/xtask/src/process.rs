// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Child processes under a watchdog.
//!
//! Invariants:
//! 1. Every child carries a mark of its own in its environment, which its descendants inherit.
//!    When the time is over, exactly the processes with that mark are killed, and no others.
//! 2. Output goes to files, never to pipes: a descendant that outlives its parent cannot hang us,
//!    and what a failed case printed can be read afterwards.
//! 3. Standard input is empty, so that no child waits for a keyboard.
//! 4. An mpiexec that would be ended by us ends by itself shortly before, by its own limit, and
//!    says in what each rank was waiting. Other commands take no notice of that variable.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const MARK: &str = "XTASK_MARK";
/// mpiexec's own limit, in seconds.
const JOB_LIMIT: &str = "MPIEXEC_TIMEOUT";
/// What mpiexec has left, out of so many parts, to report and to end the job.
const REPORT_PART: u32 = 10;

/// One command to run, and how long it may take.
pub struct Task {
    command: Command,
    shown: String,
    limit: Duration,
    mark: String,
    log: Option<PathBuf>,
}

/// How a command ended, and what it wrote.
pub struct Outcome {
    /// The exit code; None when a signal ended it or the watchdog did.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The watchdog ended it.
    pub timed_out: bool,
    /// What it consisted of then, in words.
    family: String,
    pub out: String,
    pub err: String,
    pub elapsed: Duration,
}

impl Task {
    pub fn new(program: impl AsRef<OsStr>) -> Task {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let serial = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{serial}", std::process::id());
        let mut command = Command::new(program.as_ref());
        command.env(MARK, &mark).stdin(Stdio::null());
        let shown = program.as_ref().to_string_lossy().into_owned();
        Task { command, shown, limit: Duration::from_secs(600), mark, log: None }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Task {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(self, args: I) -> Task {
        args.into_iter().fold(self, |task, arg| task.arg(arg))
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Task {
        self.command.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Task {
        self.command.env_remove(name);
        self
    }

    pub fn dir(mut self, dir: &Path) -> Task {
        self.command.current_dir(dir);
        self
    }

    pub fn limit(mut self, seconds: u64) -> Task {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Leads a process group, as a command of an interactive shell does.
    pub fn own_group(mut self) -> Task {
        self.command.process_group(0);
        self
    }

    /// Where the output goes, as `PATH.out` and `PATH.err`.
    pub fn log(mut self, path: PathBuf) -> Task {
        self.log = Some(path);
        self
    }

    /// The command line, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs it with our own standard output and error: for builds, whose progress people watch.
    pub fn run_visible(mut self) -> Result<(), String> {
        let mut child = self.command.spawn().map_err(|e| format!("{}: {e}", self.shown))?;
        let began = Instant::now();
        let status = wait(&mut child, self.limit).map_err(|e| format!("{}: {e}", self.shown))?;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("`{}` failed: {status}", self.shown)),
            None => {
                end_marked(&self.mark);
                let _ = child.wait();
                Err(format!("`{}` was ended after {:.0?}", self.shown, began.elapsed()))
            }
        }
    }

    /// Runs it to its end or its limit; whatever it left alive is killed only at the limit.
    pub fn run(self) -> Result<Outcome, String> {
        self.start()?.finish()
    }

    /// Starts it; the caller may look at it or kill parts of it before it calls `finish`.
    pub fn start(mut self) -> Result<Running, String> {
        let base = self
            .log
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join(format!("strait-xtask-{}", self.mark)));
        if let Some(dir) = base.parent() {
            fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let out = extended(&base, ".out");
        let err = extended(&base, ".err");
        let open = |path: &Path| File::create(path).map_err(|e| format!("{}: {e}", path.display()));
        self.command.stdout(open(&out)?).stderr(open(&err)?);
        if !self.command.get_envs().any(|(name, _)| name == JOB_LIMIT) {
            let own = self.limit - self.limit / REPORT_PART;
            self.command.env(JOB_LIMIT, own.as_secs().max(1).to_string());
        }
        let began = Instant::now();
        let child = self.command.spawn().map_err(|e| format!("{}: {e}", self.shown))?;
        Ok(Running { child, began, out, err, task: self })
    }
}

/// A started child.
pub struct Running {
    child: std::process::Child,
    began: Instant,
    out: PathBuf,
    err: PathBuf,
    task: Task,
}

impl Running {
    /// The processes that carry this child's mark now, the child itself included.
    pub fn family(&self) -> Vec<u32> {
        marked(&self.task.mark)
    }

    /// The mark, for looking again after the end.
    pub fn mark(&self) -> String {
        self.task.mark.clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the child itself has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// How long it may take in all.
    pub fn limit(&self) -> Duration {
        self.task.limit
    }

    /// What it has written to standard output so far.
    pub fn written(&self) -> String {
        read_text(&self.out)
    }

    pub fn finish(mut self) -> Result<Outcome, String> {
        let left = self.task.limit.saturating_sub(self.began.elapsed());
        let status = wait(&mut self.child, left).map_err(|e| e.to_string())?;
        let timed_out = status.is_none();
        let mut family = String::new();
        let status = match status {
            Some(status) => status,
            None => {
                family = describe(&marked(&self.task.mark));
                end_marked(&self.task.mark);
                self.child.wait().map_err(|e| e.to_string())?
            }
        };
        let outcome = Outcome {
            code: if timed_out { None } else { status.code() },
            signal: status.signal(),
            timed_out,
            family,
            out: read_text(&self.out),
            err: read_text(&self.err),
            elapsed: self.began.elapsed(),
        };
        if self.task.log.is_none() {
            let _ = fs::remove_file(&self.out);
            let _ = fs::remove_file(&self.err);
        }
        Ok(outcome)
    }
}

impl Outcome {
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Whether it succeeded and wrote just this.
    pub fn says(&self, out: &str) -> Result<(), String> {
        if self.success() && self.out == out {
            return Ok(());
        }
        Err(format!("expected {out:?}: {}", self.describe()))
    }

    /// The end in words, with the last lines it wrote.
    pub fn describe(&self) -> String {
        let how = match (self.timed_out, self.code, self.signal) {
            (true, ..) => {
                format!("ended by the watchdog after {:.1?}: {}", self.elapsed, self.family)
            }
            (_, Some(code), _) => format!("exit code {code}"),
            (_, _, Some(signal)) => format!("signal {signal}"),
            _ => "unknown end".into(),
        };
        let tail = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(6)..].join("\n      | ")
        };
        let mut text = how;
        for written in [&self.err, &self.out] {
            if !written.trim().is_empty() {
                text.push_str("\n      | ");
                text.push_str(&tail(written));
            }
        }
        text
    }
}

/// The processes whose environment carries `mark`. Those of other users cannot be read: not ours.
pub fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}").into_bytes();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(environ) = fs::read(entry.path().join("environ")) else { continue };
        if environ.split(|byte| *byte == 0).any(|item| item == wanted) {
            found.push(pid);
        }
    }
    found
}

/// Those processes in words: number, name, state and parent; ticks of the clock as themselves and
/// in the kernel; where they sleep there.
pub fn describe(pids: &[u32]) -> String {
    let one = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let words: Vec<&str> = stat.split_whitespace().collect();
        if words.len() < 15 {
            return format!("{pid} (gone since)");
        }
        let sleeps_in = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        format!("{} {}+{} {sleeps_in}", words[..4].join(" "), words[13], words[14])
    };
    pids.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Processes die in their own time after the kernel was told: those with this mark get a while, and
/// what is left then is ended and named.
pub fn none_left(mark: &str) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let began = Instant::now();
    while !marked(mark).is_empty() && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(5));
    }
    let left = marked(mark);
    if left.is_empty() {
        return Ok(());
    }
    let text = format!("processes are left: {}", describe(&left));
    end_marked(mark);
    Err(text)
}

/// Kills every process with this mark, again until none is left: one may fork meanwhile.
pub fn end_marked(mark: &str) {
    for _ in 0..20 {
        let pids = marked(mark);
        if pids.is_empty() {
            return;
        }
        pids.into_iter().for_each(|pid| signal(pid, "KILL"));
        sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to one process that we started.
pub fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: the standard library has none for processes that are not children.
    let line = format!("kill -{name} {pid} 2>/dev/null");
    let _ = Command::new("sh").arg("-c").arg(line).status();
}

/// Sends a signal to a process group that we made.
pub fn signal_group(leader: u32, name: &str) {
    let line = format!("kill -s {name} -- -{leader} 2>/dev/null");
    let _ = Command::new("sh").arg("-c").arg(line).status();
}

/// Is there such a command in PATH?
pub fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

fn wait(
    child: &mut std::process::Child,
    limit: Duration,
) -> Result<Option<ExitStatus>, std::io::Error> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn extended(base: &Path, extension: &str) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(extension);
    name.into()
}

fn read_text(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

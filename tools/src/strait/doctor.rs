// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait doctor`: what this machine permits, and which MPI library each Python would load under
//! our mpiexec. A finding that costs only speed is a note; one that keeps programs from running is
//! a problem, and makes the exit code 1.
#![forbid(unsafe_code)]

use super::{fabrics, pairs, peer, probe};
use crate::mpiexec::allowed_processors;
use crate::prefix::{MPICH_FACE, Prefix};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It costs speed.
    Note,
    /// It keeps programs from running.
    Problem,
}

/// One line of the doctor's.
#[derive(Serialize)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub text: String,
}

/// A line.
pub fn finding(verdict: Verdict, what: impl Into<String>, text: impl Into<String>) -> Finding {
    Finding { verdict, what: what.into(), text: text.into() }
}

/// Runs it.
pub fn run(json: bool, hosts: &pairs::Options) -> ExitCode {
    let mut findings = vec![memfd(), peer_read(), dev_shm(), processors()];
    let prefix = Prefix::of_this_executable();
    let library = prefix.as_ref().and_then(|prefix| prefix.library(MPICH_FACE));
    findings.push(match &library {
        Some(path) => finding(Verdict::Good, "library", format!("{}", path.display())),
        None => finding(
            Verdict::Problem,
            "library",
            format!("no {MPICH_FACE} beside this program: run it from the installed prefix"),
        ),
    });
    findings.extend(pythons().iter().map(|python| mpi4py(python, prefix.as_ref())));
    findings.extend(fabrics::look());
    findings.extend(pairs::look(hosts, prefix.as_ref()));
    if json {
        let text = serde_json::to_string_pretty(&findings).expect("strings become JSON");
        super::print(&format!("{text}\n"));
    } else {
        for Finding { verdict, what, text } in &findings {
            let mark = match verdict {
                Verdict::Good => "ok     ",
                Verdict::Note => "note   ",
                Verdict::Problem => "PROBLEM",
            };
            super::print(&format!("{mark}  {what}: {text}\n"));
        }
    }
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Problem);
    ExitCode::from(u8::from(bad))
}

fn memfd() -> Finding {
    match probe::memfd() {
        Ok(()) => finding(Verdict::Good, "memfd", "shared memory of a node needs no file"),
        Err(error) => finding(
            Verdict::Note,
            "memfd",
            format!("refused ({error}): an unlinked file in /dev/shm or TMPDIR is used instead"),
        ),
    }
}

fn peer_read() -> Finding {
    const WHAT: &str = "single copy";
    match peer::read_between_siblings() {
        Ok(()) => finding(
            Verdict::Good,
            WHAT,
            "process_vm_readv between two processes works: large messages are copied once",
        ),
        Err(error) => finding(
            Verdict::Note,
            WHAT,
            format!(
                "process_vm_readv between two processes is refused ({error}): {}. Large messages \
                 are copied twice instead, through shared memory: same results, but the sender's \
                 processor works along and memory carries them twice",
                peer::why_refused()
            ),
        ),
    }
}

fn dev_shm() -> Finding {
    const MIB: u64 = 1 << 20;
    match probe::dev_shm() {
        Ok((all, free)) => finding(
            Verdict::Good,
            "/dev/shm",
            format!("{} MiB, {} free; not used while memfd works", all / MIB, free / MIB),
        ),
        Err(error) => {
            finding(Verdict::Good, "/dev/shm", format!("{error}; not used while memfd works"))
        }
    }
}

fn processors() -> Finding {
    let allowed = allowed_processors().len();
    match probe::quota() {
        Some(quota) if quota < allowed as f64 => finding(
            Verdict::Note,
            "processors",
            format!("{allowed} allowed, but the cgroup's quota is {quota:.2}: waiting ranks sleep"),
        ),
        _ => finding(Verdict::Good, "processors", format!("{allowed} allowed, no quota")),
    }
}

/// Every python3 that a user may mean: the venv's, and those in PATH; each file once.
fn pythons() -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let venv = std::env::var_os("VIRTUAL_ENV").map(|venv| PathBuf::from(venv).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    for directory in venv.into_iter().chain(std::env::split_paths(&path)) {
        let candidate = directory.join("python3");
        if candidate.is_file() && seen.insert(candidate.clone()) {
            found.push(candidate);
        }
    }
    found
}

/// What the script below prints.
#[derive(Deserialize)]
struct Answer {
    version: String,
    mpi4py: Option<String>,
    kinds: Vec<String>,
    library: Option<String>,
    error: Option<String>,
}

/// Imports mpi4py without MPI_Init, and says which MPI library came with it.
const SCRIPT: &str = r#"
import json, sys
version = "%d.%d.%d" % sys.version_info[:3]
answer = dict(version=version, mpi4py=None, kinds=[], library=None, error=None)
try:
    import glob, os
    import mpi4py
    answer["mpi4py"] = mpi4py.__version__
    names = glob.glob(os.path.join(os.path.dirname(mpi4py.__file__), "MPI.*.so"))
    answer["kinds"] = sorted(os.path.basename(name) for name in names)
    mpi4py.rc.initialize = False
    from mpi4py import MPI
    for line in open("/proc/self/maps"):
        name = line.rstrip().rsplit("/", 1)[-1]
        if name.startswith("libmpi") and ".so" in name:
            answer["library"] = line[line.index("/"):].strip()
            break
except ModuleNotFoundError:
    pass
except Exception as problem:
    answer["error"] = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
print(json.dumps(answer))
"#;

fn mpi4py(python: &Path, prefix: Option<&Prefix>) -> Finding {
    let name = python.display().to_string();
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]);
    for (key, value) in crate::mpiexec::python_variables(prefix) {
        command.env(key, value);
    }
    let answer = command
        .output()
        .ok()
        .and_then(|output| serde_json::from_slice::<Answer>(&output.stdout).ok());
    let Some(answer) = answer else {
        return finding(Verdict::Note, name, "does not run");
    };
    judge(name, &answer, prefix)
}

fn judge(name: String, answer: &Answer, prefix: Option<&Prefix>) -> Finding {
    let version = &answer.version;
    let Some(mpi4py) = &answer.mpi4py else {
        let text = format!("Python {version} without mpi4py: {name} -m pip install mpi4py");
        return finding(Verdict::Note, name.clone(), text);
    };
    let head = format!("Python {version}, mpi4py {mpi4py}");
    if let Some(error) = &answer.error {
        let kinds = answer.kinds.join(" ");
        return finding(Verdict::Problem, name, format!("{head} fails: {error} (has {kinds})"));
    }
    let Some(library) = &answer.library else {
        return finding(Verdict::Problem, name, format!("{head} loads no MPI library"));
    };
    let ours = prefix.is_some_and(|prefix| {
        Path::new(library).parent().map(Path::to_owned) == prefix.lib().canonicalize().ok()
    });
    if ours {
        return finding(Verdict::Good, name, format!("{head} loads {library}"));
    }
    let text =
        format!("{head} loads {library}, which is not ours: mpiexec would start N ranks of 1");
    finding(Verdict::Problem, name, text)
}

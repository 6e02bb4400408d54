// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait bench` with real processes: shell scripts as launchers and as programs, in prefixes made
//! for the test. No MPI library is needed, and no figure is judged.

mod results;
mod stopping;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longest life of a command in these tests: a hang becomes a failure.
const WATCHDOG: Duration = Duration::from_secs(120);

/// A child that is forked while another thread writes a script holds that script open for a moment,
/// and an open file cannot be executed: so these two exclude each other.
static FORKS: Mutex<()> = Mutex::new(());

fn spawn(command: &mut Command) -> Child {
    let _alone = FORKS.lock();
    command.spawn().expect("strait starts")
}

/// A directory of its own, with the prefix of Strait and others below it.
struct World {
    root: PathBuf,
}

/// A launcher: writes its name into the log, then becomes the program, which finds in its
/// environment what the launcher was told. `extra` runs in between.
fn launcher(name: &str, library: &str, extra: &str) -> String {
    format!(
        "#!/bin/sh\n\
         if [ \"$1\" = --version ]; then echo '{library} launcher'; exit 0; fi\n\
         here=$(dirname \"$0\")\n\
         while [ \"$1\" != -n ]; do shift; done\n\
         ranks=$2; shift 2\n\
         echo \"{name} $(basename \"$1\")\" >> \"$here/../../log\"\n\
         {extra}\n\
         RANKS=$ranks LIBRARY='{library} 1.0' NAME={name} \"$@\"\n"
    )
}

/// A program that answers with two sizes; NUMBER is the figure.
const PROGRAM: &str = r#"#!/bin/sh
number=${NUMBER:-1.5}
cat <<END
{"format":"strait-bench 1","benchmark":"$(basename "$0")","title":"Fake Test",
"library":"$LIBRARY","ranks":$RANKS,"host":"h","options":{"words":"$*"},
"columns":[{"name":"avg","title":"Avg Latency(us)","unit":"us","better":"less"}],
"rows":[{"size":1,"avg":$number,"samples":[$number]},{"size":1024,"avg":9}]}
END
"#;

impl World {
    fn new(name: &str) -> World {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench_{name}"));
        drop(std::fs::remove_dir_all(&root));
        let world = World { root };
        world.prefix("strait", &launcher("strait", "Strait", "NUMBER=2; export NUMBER"));
        let strait = world.root.join("strait/bin/strait");
        std::fs::hard_link(env!("CARGO_BIN_EXE_strait"), strait).unwrap();
        world.script("strait/bin/osu_latency", PROGRAM);
        world
    }

    /// An installation with the standard ABI.
    fn prefix(&self, name: &str, launcher: &str) {
        self.script(&format!("{name}/bin/mpiexec"), launcher);
        std::fs::create_dir_all(self.root.join(name).join("lib")).unwrap();
        std::fs::write(self.root.join(name).join("lib/libmpi_abi.so.1"), "").unwrap();
    }

    fn script(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _alone = FORKS.lock();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// `NAME=PREFIX`.
    fn spec(&self, name: &str) -> String {
        format!("{name}={}", self.path(name).display())
    }

    /// `strait bench` with these words, which writes into the directory `out`.
    fn bench(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.path("strait/bin/strait"));
        command.args(["bench", "--no-probe", "--out"]).arg(self.path("out")).args(words);
        command.current_dir(&self.root).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        finish(spawn(&mut self.bench(words)))
    }

    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    fn out(&self, name: &str) -> String {
        read(&self.path("out").join(name))
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Waits for the end, under the watchdog.
fn finish(mut child: Child) -> Ran {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > WATCHDOG {
            child.kill().unwrap();
            let Output { stdout, stderr, .. } = child.wait_with_output().unwrap();
            let text = [stdout, stderr].concat();
            panic!("still running after {WATCHDOG:?}: {}", String::from_utf8_lossy(&text));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

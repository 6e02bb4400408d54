// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recognises ranks that use another MPI library which this mpiexec cannot serve: each of them
//! would be rank 0 of 1. That is Open MPI's, which wants PMIx; what speaks PMI is served (pmi/).
//!
//! The sign, best effort: a rank that never joined has that library in its maps.
//!
//! Not here: what happens then (job.rs); a program of one rank, for which one of one is right.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use strait_transport::bootstrap::contract::ENV_NODE_FD;

/// When to look at the maps of ranks that have not joined, counted from their start.
/// The first ones are for programs that live shortly.
pub const LOOKS: [Duration; 6] = [
    Duration::from_millis(40),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// How many ranks the early looks take in: one is enough to see it, and many ranks are starting.
pub const EARLY_RANKS: usize = 8;
/// How many looks are early.
pub const EARLY_LOOKS: usize = 3;

/// The code under which help pages explain this.
pub const ERROR_CODE: &str = "S0009";

/// A library of another MPI in the maps of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreign {
    /// The program that loaded it.
    pub program: String,
    /// The file.
    pub library: String,
    /// What it is.
    pub family: &'static str,
}

impl Foreign {
    /// Whether it asks for its place by PMI, which we serve.
    pub fn speaks_pmi(&self) -> bool {
        self.family != OPEN_MPI
    }
}

const OPEN_MPI: &str = "Open MPI";

/// Looks into the maps of a process. `ours` is the directory of our own libraries.
pub fn look(pid: u32, ours: Option<&Path>) -> Option<Foreign> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let (library, family) = find_library(&maps, ours)?;
    if is_strait(&library) {
        // Ours from another place: if it is of another build, joining the job says so.
        return None;
    }
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let program = program
        .as_deref()
        .and_then(Path::file_name)
        .map_or_else(|| format!("process {pid}"), |name| name.to_string_lossy().into_owned());
    Some(Foreign { program, library, family })
}

/// Whether a library is Strait's: it holds the names of our environment. Asked once for a file.
fn is_strait(library: &str) -> bool {
    static KNOWN: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().expect("nothing panics with the lock held");
    if let Some(&answer) = known.get(library) {
        return answer;
    }
    let mark = ENV_NODE_FD.as_bytes();
    let answer = std::fs::read(library)
        .is_ok_and(|bytes| bytes.windows(mark.len()).any(|window| window == mark));
    known.insert(library.to_owned(), answer);
    answer
}

fn find_library(maps: &str, ours: Option<&Path>) -> Option<(String, &'static str)> {
    for line in maps.lines() {
        let Some(start) = line.find('/') else { continue };
        let path = &line[start..];
        let Some(name) = path.rsplit('/').next() else { continue };
        let is_ours = ours.is_some_and(|lib| Path::new(path).parent() == Some(lib));
        if is_ours {
            continue;
        }
        if name.starts_with("libmpi.so.40") || name.starts_with("libmpi.so.20") {
            return Some((path.to_owned(), OPEN_MPI));
        }
        if name.starts_with("libmpi.so.12") || name.starts_with("libmpich.so") {
            return Some((path.to_owned(), "MPICH or a library derived from it"));
        }
        if name.starts_with("libmpi_abi.so") {
            return Some((path.to_owned(), "another MPI with the standard ABI"));
        }
    }
    None
}

/// The error, as one block.
pub fn describe(size: u32, foreign: &Foreign) -> String {
    let ours = crate::VERSION;
    let Foreign { program, library, family } = foreign;
    let mut text = format!(
        "error[{ERROR_CODE}]: {size} processes were started, but they do not use this \
         mpiexec\n"
    );
    text.push_str(&format!(
        "   {program} loads {library} ({family}); this mpiexec is Strait {ours}\n"
    ));
    text.push_str("   each process would be \"rank 0 of 1\".\n");
    let prefix = Path::new(library).parent().and_then(Path::parent);
    let other = prefix.map(|prefix| prefix.join("bin/mpiexec")).filter(|path| path.exists());
    let run = other.map_or_else(
        || "start it with the mpiexec of that library".to_owned(),
        |path| format!("start it with {}", path.display()),
    );
    text.push_str(&format!(
        "   help: {run}, or compile it with Strait's mpicc;\n         for mpi4py: \
         unset MPI4PY_LIBMPI \
         and MPI4PY_MPIABI, or  pip install --force-reinstall mpi4py"
    ));
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_library_is_known_by_its_content() {
        let place = std::env::temp_dir().join(format!("strait-mark-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let (ours, other) = (place.join("ours"), place.join("other"));
        std::fs::write(&ours, b"... STRAIT_NODE_FD ...").unwrap();
        std::fs::write(&other, b"... PMI_FD ...").unwrap();
        assert!(super::is_strait(ours.to_str().unwrap()));
        assert!(!super::is_strait(other.to_str().unwrap()));
        assert!(!super::is_strait("/nowhere/libmpi_abi.so.1"));
        std::fs::remove_dir_all(&place).unwrap();
    }

    use super::*;

    #[test]
    fn libraries_in_maps() {
        let line = |path: &str| format!("7f00-7f01 r-xp 00000000 fe:00 1  {path}\n");
        let maps = line("/lib/libc.so.6") + &line("/opt/strait/lib/libmpi.so.12");
        assert_eq!(find_library(&maps, Some(Path::new("/opt/strait/lib"))), None);
        assert!(find_library(&maps, Some(Path::new("/opt/other/lib"))).is_some());
        let maps = line("/opt/openmpi/lib/libmpi.so.40.30.1");
        assert_eq!(find_library(&maps, None).unwrap().1, "Open MPI");
    }
}

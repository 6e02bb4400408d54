// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the name of a program to the file that will be executed, before anything is started.
//!
//! A name with a slash is a path from the rank's directory. A bare name is searched in PATH, then
//! in the rank's directory. A `.py` file that is not executable runs under the python3 in PATH.
#![forbid(unsafe_code)]

use super::failure::{CODE_NOT_EXECUTABLE, CODE_NOT_FOUND, Failure};
use super::request::Program;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A program that can be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The file for execve.
    pub path: PathBuf,
    /// Its arguments, `argv[0]` included.
    pub argv: Vec<OsString>,
    /// One line for the user, when we chose something for him.
    pub note: Option<String>,
}

/// Finds the program. `whom` says for which ranks and on which host, for the error.
///
/// # Errors
/// One error with help: no such file, a directory, not executable, an interpreter that is missing.
pub fn resolve(program: &Program, search: Option<&OsStr>, whom: &str) -> Result<Resolved, Failure> {
    let here = program.directory.clone().unwrap_or_default();
    if let Some(directory) = &program.directory
        && !directory.is_dir()
    {
        let text = format!("cannot run in '{}' ({whom}): no such directory", directory.display());
        return Err(Failure::with_code(CODE_NOT_FOUND, text));
    }
    let name = &program.argv[0];
    let found = find(name, search, &here);
    let python = |path: &Path| -> Option<Resolved> {
        let interpreter = find(OsStr::new("python3"), search, Path::new(""))?;
        let mut argv = vec![OsString::from("python3"), path.as_os_str().to_owned()];
        argv.extend(program.argv[1..].iter().cloned());
        let note = Some(format!(
            "note: running {} with {}",
            name.to_string_lossy(),
            interpreter.display()
        ));
        Some(Resolved { path: interpreter, argv, note })
    };
    let Some(path) = found else {
        return explain_missing(program, &here, whom, python);
    };
    check_interpreter(&path, name, whom)?;
    Ok(Resolved { path, argv: program.argv.clone(), note: None })
}

/// A program that no rank of this host runs.
pub fn unresolved(program: &Program) -> Resolved {
    Resolved { path: PathBuf::from(&program.argv[0]), argv: program.argv.clone(), note: None }
}

/// The executable file of a name.
pub fn find(name: &OsStr, search: Option<&OsStr>, here: &Path) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        // Relative to the rank's directory: execve happens after chdir.
        return is_executable(&here.join(name)).then(|| PathBuf::from(name));
    }
    for directory in std::env::split_paths(search.unwrap_or(OsStr::new("/usr/bin:/bin"))) {
        let candidate = directory.join(name);
        if is_executable(&candidate) {
            return Some(std::path::absolute(&candidate).unwrap_or(candidate));
        }
    }
    is_executable(&here.join(name)).then(|| Path::new(".").join(name))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn explain_missing(
    program: &Program,
    here: &Path,
    whom: &str,
    python: impl Fn(&Path) -> Option<Resolved>,
) -> Result<Resolved, Failure> {
    let name = program.argv[0].to_string_lossy();
    let candidate = here.join(&program.argv[0]);
    let is_script = name.ends_with(".py");
    if candidate.is_file() {
        if is_script && let Some(resolved) = python(Path::new(&program.argv[0])) {
            return Ok(resolved);
        }
        let failure = Failure::with_code(
            CODE_NOT_EXECUTABLE,
            format!("cannot run '{name}' ({whom}): the file is not executable"),
        );
        return Err(failure.help(format!("chmod +x {name}")));
    }
    if candidate.is_dir() {
        let text = format!("cannot run '{name}' ({whom}): it is a directory");
        return Err(Failure::with_code(CODE_NOT_EXECUTABLE, text));
    }
    let failure =
        Failure::with_code(CODE_NOT_FOUND, format!("cannot run '{name}' ({whom}): no such file"));
    let base = name.trim_start_matches("./");
    if here.join(format!("{base}.py")).is_file() {
        return Err(failure.help(format!("is it '{base}.py'?  try: mpiexec python3 {base}.py")));
    }
    if name.contains('/') {
        return Err(failure);
    }
    Err(failure.help("it is neither in PATH nor in the working directory"))
}

/// A script whose first line names an interpreter that is missing fails in execve with "no such
/// file", which would be a lie about the script.
fn check_interpreter(path: &Path, name: &OsStr, whom: &str) -> Result<(), Failure> {
    let mut first = [0_u8; 256];
    let Ok(length) = std::fs::File::open(path).and_then(|mut file| file.read(&mut first)) else {
        return Ok(());
    };
    let Some(line) = first[..length].strip_prefix(b"#!") else { return Ok(()) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or(line);
    let line = String::from_utf8_lossy(line);
    let Some(interpreter) = line.split_ascii_whitespace().next() else { return Ok(()) };
    if !interpreter.starts_with('/') || Path::new(interpreter).exists() {
        return Ok(());
    }
    Err(Failure::with_code(
        CODE_NOT_FOUND,
        format!(
            "cannot run '{}' ({whom}): its first line asks for '{interpreter}', which is missing",
            name.to_string_lossy()
        ),
    ))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Becomes a rank, or starts the job and shows how far it is.

use crate::mpiexec::signals;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use strait_collectives::select::tuning::Request;

/// The program of MPI that measures.
const RANKS: &str = "strait-tune-ranks";
/// How its lines about progress begin.
const PROGRESS: &str = "strait tune: progress ";

fn beside_us(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let path = own.parent().unwrap_or(Path::new("")).join(name);
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{} is not there: it is installed beside strait", path.display())),
    }
}

fn as_text(request: &Request) -> Result<String, String> {
    serde_json::to_string(request).map_err(|error| error.to_string())
}

/// This process becomes a rank of the job that it belongs to: it keeps what mpiexec gave it.
pub fn rank(request: &Request) -> Result<ExitCode, String> {
    let error = Command::new(beside_us(RANKS)?).arg(as_text(request)?).exec();
    Err(format!("{RANKS} cannot be run: {error}"))
}

/// Starts mpiexec, with a bar on a terminal; ^C ends the job, and we say what is kept.
pub fn job(ranks: u32, request: &Request) -> Result<ExitCode, String> {
    let (mpiexec, program) = (beside_us("mpiexec")?, beside_us(RANKS)?);
    let watch = signals::Signals::watch().map_err(|error| format!("signals: {error}"))?;
    let mut command = Command::new(mpiexec);
    command.args(["-n", &ranks.to_string()]).arg(program).arg(as_text(request)?);
    command.stderr(Stdio::piped());
    let mask = watch.mask_before;
    // SAFETY: the closure makes one system call and touches only its copy of the mask.
    unsafe {
        command.pre_exec(move || {
            match libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut()) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let mut child = command.spawn().map_err(|error| format!("mpiexec: {error}"))?;
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("[{bar:24}] {pos}/{len} {wide_msg}")
        .expect("the template is ours, and good");
    bar.set_style(style.progress_chars("=> "));
    let errors = child.stderr.take().expect("it was asked for");
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        match progress(&line) {
            Some((done, all, text)) if !bar.is_hidden() => {
                bar.set_length(all);
                bar.set_position(done);
                bar.set_message(text.to_owned());
            }
            _ => bar.suspend(|| eprintln!("{line}")),
        }
    }
    let status = child.wait().map_err(|error| format!("mpiexec: {error}"))?;
    bar.finish_and_clear();
    let code = status.code().or(status.signal().map(|number| 128 + number)).unwrap_or(1);
    if code != 0 && !request.check && request.state.exists() {
        let state = request.state.display();
        eprintln!("what was measured is in {state}; the same command with --resume goes on");
    }
    Ok(ExitCode::from(code as u8))
}

/// `DONE/ALL settled, TEXT`
fn progress(line: &str) -> Option<(u64, u64, &str)> {
    let rest = &line[line.find(PROGRESS)? + PROGRESS.len()..];
    let (counts, text) = rest.split_once(" settled, ")?;
    let (done, all) = counts.split_once('/')?;
    Some((done.parse().ok()?, all.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_progress_are_understood() {
        let line = "strait tune: progress 3/12 settled, at most 9m left, 4 ranks";
        assert_eq!(progress(line), Some((3, 12, "at most 9m left, 4 ranks")));
        for other in ["strait tune: the time is up", "strait tune: progress x/2 settled, y", ""] {
            assert_eq!(progress(other), None);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A session: where, when and how was measured, and every run, as lines of JSON.
//!
//! Each line is written and flushed when it is known, so that whatever ends a session, the lines
//! before are whole. benches/record/README.md describes the format for readers.
//!
//! Invariants:
//! 1. The first line is the head; there is exactly one.
//! 2. A run that failed is a line like any other, with the reason.
//! 3. The last line says how the session ended; without it, it ended hard.
#![forbid(unsafe_code)]

use super::contender::Contender;
use super::distance::Class;
use super::machine::Machine;
use super::output::Report;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Name and version of the format.
pub const FORMAT: &str = "strait-bench-session 1";

/// What holds for all runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Head {
    pub format: String,
    /// UTC, RFC 3339.
    pub started: String,
    /// Version and build of the measuring program.
    pub strait: String,
    pub build: String,
    /// Of Strait's source; absent when nobody told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The command line of `strait bench`.
    pub command: String,
    pub machine: Machine,
    pub ranks: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<String>,
    pub near_below_ns: f64,
    /// The contender that ratios are about.
    pub ours: String,
    pub contenders: Vec<Contender>,
    pub benchmarks: Vec<String>,
}

/// One run of one program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Run {
    pub benchmark: String,
    pub contender: String,
    pub repeat: u32,
    /// Above 0 where an earlier attempt fell into the wrong class or was disturbed.
    pub attempt: u32,
    /// Seconds since the start of the session, and how long it took.
    pub began_s: f64,
    pub seconds: f64,
    pub command: String,
    /// A cache line one way between the two processors, before and after.
    pub distance_ns: [Option<f64>; 2],
    pub class: Class,
    /// Processors that other work kept busy meanwhile; absent of a run too short to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_cpus: Option<f64>,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What the launcher or the program said besides, of a run with figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remarks: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// How a session ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct End {
    /// `complete`, `budget` or the name of a signal.
    pub reason: String,
    /// Runs that were meant to be, without second attempts; absent where only time was the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<usize>,
    /// Cases that were given up, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<String>,
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Session(Box<Head>),
    Run(Box<Run>),
    End(End),
}

/// All of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Session {
    pub head: Head,
    pub runs: Vec<Run>,
    pub end: Option<End>,
}

impl Session {
    /// A session that begins.
    pub fn new(head: Head) -> Session {
        Session { head, runs: Vec::new(), end: None }
    }

    /// Reads a file. A last line that is cut off is left out: its session ended hard.
    ///
    /// # Errors
    /// The file and the line that cannot be read, and why.
    pub fn read(path: &Path) -> Result<Session, String> {
        let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut session: Option<Session> = None;
        let mut lines = BufReader::new(file).lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let at = |what: String| format!("{}:{}: {what}", path.display(), index + 1);
            let line = line.map_err(|e| at(e.to_string()))?;
            let parsed = match serde_json::from_str(&line) {
                Ok(parsed) => parsed,
                Err(_) if lines.peek().is_none() && session.is_some() => break,
                Err(error) => return Err(at(error.to_string())),
            };
            match (parsed, &mut session) {
                (Line::Session(head), None) if head.format == FORMAT => {
                    session = Some(Session::new(*head));
                }
                (Line::Session(head), None) => {
                    return Err(at(format!("format '{}', understood is '{FORMAT}'", head.format)));
                }
                (Line::Run(run), Some(session)) => session.runs.push(*run),
                (Line::End(end), Some(session)) => session.end = Some(end),
                _ => return Err(at("the head is not the first line, or not alone".into())),
            }
        }
        session.ok_or_else(|| format!("{}: no session in it", path.display()))
    }

    /// The runs that have figures.
    pub fn reports(&self) -> impl Iterator<Item = (&Run, &Report)> {
        self.runs.iter().filter_map(|run| run.report.as_ref().map(|report| (run, report)))
    }

    /// The runs that have none.
    pub fn failures(&self) -> impl Iterator<Item = (&Run, &str)> {
        self.runs.iter().filter_map(|run| run.failure.as_deref().map(|reason| (run, reason)))
    }
}

/// Writes the lines of a session, to several files at once.
#[derive(Default)]
pub struct Recorder {
    files: Vec<(PathBuf, File)>,
}

impl Recorder {
    /// Adds a new file; one that exists is not overwritten.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn add(&mut self, path: &Path) -> Result<(), String> {
        let file = File::options().write(true).create_new(true).open(path);
        let file = file.map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        self.files.push((path.to_owned(), file));
        Ok(())
    }

    /// The first line.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn head(&mut self, head: &Head) -> Result<(), String> {
        self.line(&Line::Session(Box::new(head.clone())))
    }

    /// A run.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn run(&mut self, run: &Run) -> Result<(), String> {
        self.line(&Line::Run(Box::new(run.clone())))
    }

    /// The last line.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn end(&mut self, end: &End) -> Result<(), String> {
        self.line(&Line::End(end.clone()))
    }

    fn line(&mut self, line: &Line) -> Result<(), String> {
        let mut text = serde_json::to_string(line).map_err(|e| e.to_string())?;
        text.push('\n');
        for (path, file) in &mut self.files {
            file.write_all(text.as_bytes())
                .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::strait::bench::contender::Kind;
    use crate::strait::bench::output;

    /// A contender that is not there.
    pub fn contender(name: &str, kind: Kind) -> Contender {
        Contender {
            name: name.into(),
            prefix: format!("/opt/{name}").into(),
            kind,
            version: format!("{name} 1.0"),
            env: Default::default(),
            args: Vec::new(),
            programs: None,
            left_out: None,
        }
    }

    /// A head with Strait and two others.
    pub fn head() -> Head {
        Head {
            format: FORMAT.into(),
            started: "2026-11-25T22:00:00Z".into(),
            strait: "0.1.0".into(),
            build: "0.1.0+1".into(),
            commit: Some("abc".into()),
            command: "strait bench --compare <b>&".into(),
            machine: Machine::here(Some((0, 1))),
            ranks: 2,
            lanes: None,
            near_below_ns: 80.0,
            ours: "strait".into(),
            contenders: vec![
                contender("strait", Kind::Strait),
                contender("alpha", Kind::Mpich),
                contender("beta", Kind::Intel),
            ],
            benchmarks: vec!["osu_latency".into()],
        }
    }

    /// A run of osu_latency with one value per size.
    pub fn run(contender: &str, class: Class, values: &[(u64, f64)]) -> Run {
        let rows: Vec<String> =
            values.iter().map(|(size, value)| format!("{size}   {value}")).collect();
        let text =
            format!("# OSU MPI Latency Test v7.4\n# Size    Avg Latency(us)\n{}", rows.join("\n"));
        Run {
            benchmark: "osu_latency".into(),
            contender: contender.into(),
            repeat: 0,
            attempt: 0,
            began_s: 0.5,
            seconds: 1.0,
            command: format!("/opt/{contender}/bin/mpiexec -n 2 osu_latency"),
            distance_ns: [Some(30.0), Some(31.0)],
            class,
            foreign_cpus: Some(0.0),
            failure: None,
            remarks: None,
            report: Some(output::read(&text).unwrap()),
        }
    }

    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("strait-{}-{name}", std::process::id()));
        drop(std::fs::remove_file(&path));
        path
    }

    #[test]
    fn a_session_is_read_back_as_it_was_written() {
        let path = file("whole.jsonl");
        let mut session = Session::new(head());
        session.runs = vec![run("strait", Class::Near, &[(1, 0.25)])];
        let failed =
            Run { failure: Some("it fell".into()), report: None, ..session.runs[0].clone() };
        session.runs.push(failed);
        session.end = Some(End { reason: "complete".into(), planned: Some(2), given_up: vec![] });
        let mut recorder = Recorder::default();
        recorder.add(&path).unwrap();
        recorder.head(&session.head).unwrap();
        session.runs.iter().for_each(|run| recorder.run(run).unwrap());
        recorder.end(session.end.as_ref().unwrap()).unwrap();
        assert_eq!(Session::read(&path).unwrap(), session);
        assert!(recorder.add(&path).unwrap_err().contains("cannot make"), "never overwritten");
        // Cut off in the middle of the last run.
        let text = std::fs::read_to_string(&path).unwrap();
        let cut = text.find("it fell").unwrap();
        std::fs::write(&path, &text[..cut]).unwrap();
        let cut = Session::read(&path).unwrap();
        assert_eq!((cut.runs.len(), cut.end), (1, None));
    }

    #[test]
    fn what_is_not_a_session_is_refused() {
        let path = file("bad.jsonl");
        for (text, reason) in [
            ("", "no session"),
            ("{}\n{}\n", ":1:"),
            ("{\"run\":{}}\n", ":1:"),
            ("{\"end\":{\"reason\":\"complete\"}}\n", "first line"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Session::read(&path).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let mut other = head();
        other.format = "strait-bench-session 9".into();
        let line = serde_json::to_string(&Line::Session(Box::new(other))).unwrap();
        std::fs::write(&path, line).unwrap();
        assert!(Session::read(&path).unwrap_err().contains("session 9"));
    }
}

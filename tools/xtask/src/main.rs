// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask`: sets up, builds, installs and checks the house, from a fresh machine on.
//!
//! This crate stays tiny (the standard library and an argument lexer), so that it starts before
//! anything heavy is compiled. Whatever needs the MPI libraries runs as a child process.
//!
//! Not here: the launcher and the user's tools (`tools/`), and anything a user needs at run time.

#![forbid(unsafe_code)]

mod demo;
mod install;
mod places;
mod process;
mod setup;
mod suite;
mod tidy;

use places::Places;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo                    build, install below target/, run a Python example and a latency table
  test [STAGE...]         the whole suite, or only the named stages; `test --list` names them
    --with PREFIX         ... with the MPI library of another tree, to check the tests themselves
  install --prefix DIR    a relocatable tree: bin, lib, include, share
  tidy                    the house rules that a program can check
  soak                    long runs (not built yet)
";

/// What can be asked for. Parsed first, so that a typing error costs nothing.
enum Command {
    Demo,
    Test { stages: Vec<String>, list: bool, with: Option<PathBuf> },
    Install { prefix: PathBuf },
    Tidy,
    Soak,
    Help,
}

fn main() -> ExitCode {
    let result = parse().and_then(|command| match command {
        Command::Help => {
            print!("{HELP}");
            Ok(true)
        }
        Command::Soak => Err(SOAK.to_string()),
        Command::Tidy => tidy::command(&Places::find()?),
        Command::Demo => demo::command(&Places::find()?).map(|()| true),
        Command::Install { prefix } => install::command(&Places::find()?, &prefix).map(|()| true),
        Command::Test { list: true, .. } => {
            suite::list();
            Ok(true)
        }
        Command::Test { stages, with, .. } => suite::command(Places::find()?, &stages, with),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Said by `cargo xtask soak`, which must not look as if it had run something.
const SOAK: &str = "soak is not built yet: Miri, sanitizers, larger loom models and long floods \
are \"longer stages of their own; what was not run is said\". Nothing was run.";

fn parse() -> Result<Command, String> {
    use lexopt::prelude::*;
    let mut words = lexopt::Parser::from_env();
    let mut name = None;
    let mut rest = Vec::new();
    let mut prefix = None;
    let mut list = false;
    let mut with = None;
    while let Some(word) = words.next().map_err(|e| e.to_string())? {
        match word {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("prefix") => prefix = Some(words.value().map_err(|e| e.to_string())?),
            Long("with") => with = Some(words.value().map_err(|e| e.to_string())?.into()),
            Long("list") => list = true,
            Value(value) => {
                let value = value.string().map_err(|e| e.to_string())?;
                if name.is_none() { name = Some(value) } else { rest.push(value) }
            }
            other => return Err(format!("{}; see `cargo xtask --help`", other.unexpected())),
        }
    }
    let takes_none = |command: Command| match rest.first() {
        None => Ok(command),
        Some(extra) => Err(format!("'{extra}' is not expected here; see `cargo xtask --help`")),
    };
    match name.as_deref() {
        None | Some("help") => Ok(Command::Help),
        Some("demo") => takes_none(Command::Demo),
        Some("test") => Ok(Command::Test { stages: rest, list, with }),
        Some("tidy") => takes_none(Command::Tidy),
        Some("soak") => takes_none(Command::Soak),
        Some("install") => match prefix {
            Some(dir) => takes_none(Command::Install { prefix: dir.into() }),
            None => Err("install needs --prefix DIR".into()),
        },
        Some(other) => Err(format!("no command '{other}'; see `cargo xtask --help`")),
    }
}

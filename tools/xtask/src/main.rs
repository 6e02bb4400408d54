// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask`: sets up, builds, installs and checks the house, from a fresh machine on.
//!
//! This crate stays tiny (the standard library and an argument lexer), so that it starts before
//! anything heavy is compiled. Whatever needs the MPI libraries runs as a child process.
//!
//! Not here: the launcher and the user's tools (`tools/`), and anything a user needs at run time.

#![forbid(unsafe_code)]

mod demo;
mod fortran;
mod install;
mod network;
mod places;
mod process;
mod setup;
mod slurm;
mod sshd;
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
  hosts [--count N]       jobs on 2, 3 and N hosts (default 10), which are network namespaces here
  tidy                    the house rules that a program can check
  soak                    ten minutes of random messages, all checked; leaves benches/record/soak-*
    --seconds N --ranks N --seed N --lanes shm|tcp --threads N
    --refuse CALL --dev-shm MIB --strangers N --round N       ... as a failure's `replay:` line says
";

/// What can be asked for. Parsed first, so that a typing error costs nothing.
enum Command {
    Demo,
    Test { stages: Vec<String>, list: bool, with: Option<PathBuf> },
    Install { prefix: PathBuf },
    Tidy,
    Hosts { count: usize },
    Soak(suite::soak::Options),
    Help,
}

fn main() -> ExitCode {
    let result = parse().and_then(|command| match command {
        Command::Help => {
            print!("{HELP}");
            Ok(true)
        }
        Command::Soak(options) => suite::soak::command(Places::find()?, &options),
        Command::Hosts { count } => suite::hosts::command(Places::find()?, count),
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

fn parse() -> Result<Command, String> {
    use lexopt::prelude::*;
    let mut words = lexopt::Parser::from_env();
    let mut name = None;
    let mut rest = Vec::new();
    let mut prefix = None;
    let mut list = false;
    let mut count = 10;
    let mut with = None;
    let mut soak = None;
    while let Some(word) = words.next().map_err(|e| e.to_string())? {
        match word {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("prefix") => prefix = Some(words.value().map_err(|e| e.to_string())?),
            Long("with") => with = Some(words.value().map_err(|e| e.to_string())?.into()),
            Long("list") => list = true,
            Long("count") => {
                let value = words.value().map_err(|e| e.to_string())?;
                let number = value.to_str().and_then(|text| text.parse().ok());
                let number = number.filter(|count| (2..=100).contains(count));
                count = number.ok_or("--count needs a number from 2 to 100")?;
            }
            Long(option) if name.as_deref() == Some("soak") => {
                let option = option.to_string();
                let value = words.value().and_then(|value| value.string());
                let value = value.map_err(|e| e.to_string())?;
                soak_option(soak.get_or_insert_with(Default::default), &option, &value)?;
            }
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
        Some("hosts") => takes_none(Command::Hosts { count }),
        Some("soak") => takes_none(Command::Soak(soak.unwrap_or_default())),
        Some("install") => match prefix {
            Some(dir) => takes_none(Command::Install { prefix: dir.into() }),
            None => Err("install needs --prefix DIR".into()),
        },
        Some(other) => Err(format!("no command '{other}'; see `cargo xtask --help`")),
    }
}

fn soak_option(options: &mut suite::soak::Options, name: &str, value: &str) -> Result<(), String> {
    let wrong = |_| format!("--{name} needs a number, not '{value}'");
    let number = || value.parse::<u64>().map_err(wrong);
    match name {
        "seconds" => options.seconds = number()?.max(1),
        "ranks" => options.ranks = number()?.max(1) as usize,
        "seed" => options.seed = Some(number()?),
        "threads" => options.threads = Some(number()?.max(1) as usize),
        "round" => options.round = Some(number()?),
        "strangers" => options.strangers = number()? as usize,
        "dev-shm" => options.dev_shm = Some(number()? as u32),
        "refuse" => options.refused.push(value.to_string()),
        "lanes" => {
            let lanes =
                [suite::Lanes::Shm, suite::Lanes::Tcp, suite::Lanes::Ofi, suite::Lanes::Ucx];
            let lanes = lanes.into_iter().find(|lanes| lanes.name() == value);
            options.lanes = Some(lanes.ok_or("--lanes is shm, tcp, ofi or ucx")?);
        }
        _ => return Err(format!("soak has no option '--{name}'; see `cargo xtask --help`")),
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lexer of the grammar that hydra and prterun share: options with one or two dashes, their
//! values after a space or `=`, then a program and its arguments up to `:` or the end.
//!
//! It reads the option table and host files, and starts nothing.
#![forbid(unsafe_code)]

use super::binding::{self, Unit};
use super::config_file;
use super::failure::Failure;
use super::hosts::{self, Launcher};
use super::option_table::{self, Id, Row};
use super::request::{BindTo, Command, EnvRules, Inherit, Options, Program, Request, Stdin};
use super::values;
use std::ffi::OsString;
use std::path::PathBuf;
use strait_transport::bootstrap::contract::ENV_KEEP_GOING;
use strait_transport::lane::tcp::interface::ENV_INTERFACE;
use strait_transport::lane::tcp::ports::Ports;

/// Reads the arguments after the program name.
///
/// # Errors
/// One sentence, with a suggestion where there is one.
pub fn parse(args: Vec<OsString>) -> Result<Command, Failure> {
    let mut reader = Reader { args: args.into_iter().peekable(), in_file: false };
    let mut options = Options::default();
    let mut programs = Vec::new();
    loop {
        match reader.program(&mut options)? {
            Next::Command(command) => return Ok(command),
            Next::Program(program, more) => {
                programs.push(program);
                if !more {
                    break;
                }
            }
        }
    }
    let request = Request { options, programs };
    check(&request)?;
    Ok(Command::Run(Box::new(request)))
}

/// What concerns several options at once.
fn check(request: &Request) -> Result<(), Failure> {
    let size = request.size();
    if size > values::RANKS_MAX {
        return Err(Failure::usage(format!(
            "{size} ranks in all, but a job has at most {}",
            values::RANKS_MAX
        )));
    }
    let named = match &request.options.stdin {
        Stdin::Inherit(rank) => vec![*rank],
        Stdin::Copy(Some(list)) => list.clone(),
        _ => Vec::new(),
    };
    if let Some(rank) = named.iter().find(|rank| **rank >= size) {
        return Err(Failure::usage(format!(
            "-stdin names rank {rank}, but there are {size} ranks"
        )));
    }
    Ok(())
}

enum Next {
    Command(Command),
    /// A program, and whether another one follows.
    Program(Program, bool),
}

struct Reader {
    args: std::iter::Peekable<std::vec::IntoIter<OsString>>,
    /// They came from a file.
    in_file: bool,
}

/// The options of one program, while they are read.
#[derive(Default)]
struct Draft {
    ranks: Option<u32>,
    directory: Option<PathBuf>,
    env: EnvRules,
}

impl Reader {
    fn program(&mut self, options: &mut Options) -> Result<Next, Failure> {
        let mut draft = Draft::default();
        let first = loop {
            let Some(token) = self.args.next() else { return Err(missing_program()) };
            let text = token.to_string_lossy().into_owned();
            if text == ":" {
                return Err(missing_program());
            }
            if text == "--" {
                break self.args.next().ok_or_else(missing_program)?;
            }
            if !text.starts_with('-') || text == "-" {
                break token;
            }
            let (row, spelled, inline) = look_up(&text)?;
            match row.id {
                Id::Help => return Ok(Next::Command(Command::Help)),
                Id::Version => return Ok(Next::Command(Command::Version)),
                _ => {}
            }
            let values = self.values(row, &spelled, inline)?;
            if row.id == Id::ConfigFile {
                self.read_on(&spelled, &values[0])?;
                continue;
            }
            if !apply_to_program(row.id, &spelled, &values, &mut draft)? {
                self.apply_to_job(row.id, &spelled, &values, options)?;
            }
        };
        let mut argv = vec![first];
        let mut more = false;
        for token in self.args.by_ref() {
            if token == ":" {
                more = true;
                break;
            }
            argv.push(token);
        }
        let Draft { ranks, directory, env } = draft;
        let is_counted = ranks.is_some();
        let ranks = ranks.unwrap_or(1);
        Ok(Next::Program(Program { ranks, is_counted, argv, directory, env }, more))
    }

    /// The programs stand in a file.
    fn read_on(&mut self, spelled: &str, path: &str) -> Result<(), Failure> {
        if let Some(more) = self.args.next() {
            let more = more.to_string_lossy();
            return Err(Failure::usage(format!("{spelled} {path}: '{more}' stands behind it"))
                .help("the file names all programs; options for all of them come before it"));
        }
        if std::mem::replace(&mut self.in_file, true) {
            return Err(Failure::usage(format!("{spelled} {path}: a file names another one")));
        }
        self.args = config_file::words(spelled, path)?.into_iter().peekable();
        Ok(())
    }

    fn values(
        &mut self,
        row: &Row,
        spelled: &str,
        inline: Option<String>,
    ) -> Result<Vec<String>, Failure> {
        let wanted = row.values.len();
        let mut values: Vec<String> = Vec::new();
        match inline {
            Some(value) if wanted == 0 => {
                return Err(Failure::usage(format!("{spelled} takes no value, got '{value}'")));
            }
            Some(value) => values.push(value),
            None => {}
        }
        while values.len() < wanted {
            // NAME=VALUE in one argument serves for both.
            if matches!(row.id, Id::Env | Id::GlobalEnv)
                && let Some((name, value)) = values.first().and_then(|one| one.split_once('='))
            {
                return Ok(vec![name.to_owned(), value.to_owned()]);
            }
            let Some(value) = self.args.next() else {
                return Err(Failure::usage(format!(
                    "{spelled} expects {}, got nothing",
                    row.values.join(" ")
                )));
            };
            values.push(value.into_string().map_err(|value| {
                Failure::usage(format!("{spelled} got a value that is not UTF-8: {value:?}"))
            })?);
        }
        Ok(values)
    }

    fn apply_to_job(
        &self,
        id: Id,
        spelled: &str,
        values: &[String],
        options: &mut Options,
    ) -> Result<(), Failure> {
        let value = values.first().map_or("", String::as_str);
        match id {
            Id::GlobalEnv | Id::GlobalEnvList | Id::GlobalEnvAll | Id::GlobalEnvNone => {
                apply_env(id, values, &mut options.env);
            }
            Id::Export => options.env.set.push(export(value)),
            Id::Label => options.label = Some("[%r] ".into()),
            Id::LabelPattern => options.label = Some(pattern(spelled, value, "rhptg%")?),
            Id::OutFile => options.out_file = Some(pattern(spelled, value, "rhg%")?),
            Id::ErrFile => options.err_file = Some(pattern(spelled, value, "rhg%")?),
            Id::OutputFrom => options.output_from = Some(values::rank_list(spelled, value)?),
            Id::Stdin => options.stdin = stdin(spelled, value)?,
            Id::Timeout => options.timeout = Some(values::duration(spelled, value)?),
            Id::Grace => options.grace = values::duration(spelled, value)?,
            Id::HangReport => options.hang_report = Some(values::duration(spelled, value)?),
            Id::KeepGoing => keep_going(options),
            Id::BindTo => bind_to(spelled, value, options)?,
            Id::ReportBindings => options.report_bindings = true,
            Id::DryRun => options.dry_run = true,
            Id::Verbose => options.verbose = true,
            Id::Hosts => hosts::add_list(spelled, value, &mut options.hosts)?,
            Id::HostFile => host_file(spelled, value, options)?,
            Id::PerHost => options.per_host = Some(values::ranks(spelled, value)?),
            Id::Prefix => options.prefix = Some(value.to_owned()),
            Id::Interface => options.env.set.push((ENV_INTERFACE.into(), Some(value.into()))),
            Id::Ports => options.env.set.push(ports(spelled, value)?),
            Id::Launcher => launcher(spelled, value, options)?,
            Id::LauncherExec => {
                options.launcher = match options.launcher {
                    Launcher::Ssh(_) => Launcher::Ssh(value.to_owned()),
                    _ => Launcher::Program(value.to_owned()),
                };
            }
            Id::FanOut => options.fan_out = values::fan_out(spelled, value)?,
            Id::MapBy => binding::map_by(spelled, value, options)?,
            Id::RankBy => binding::rank_by(spelled, value, options)?,
            Id::Mca => {
                options.notes.push(format!("{spelled} {} has no meaning here", values.join(" ")))
            }
            Id::NoEffect | Id::NoEffectValue => {
                options.notes.push(format!("{spelled} has no effect on one host"));
            }
            Id::NotYet | Id::NotYetValue => {
                let text = format!("{spelled}: not yet; this version of mpiexec does not have it");
                return Err(Failure::usage(text));
            }
            Id::ExitCodes => options.exit_codes = true,
            Id::Ranks
            | Id::ConfigFile
            | Id::Directory
            | Id::Env
            | Id::EnvList
            | Id::EnvAll
            | Id::EnvNone
            | Id::Help
            | Id::Version => unreachable!("handled before"),
        }
        Ok(())
    }
}

/// Ranks go on when others fail; they are told, too.
pub fn keep_going(options: &mut Options) {
    options.keep_going = true;
    options.env.set.push((ENV_KEEP_GOING.into(), Some("on".into())));
}

fn host_file(spelled: &str, value: &str, options: &mut Options) -> Result<(), Failure> {
    let text = std::fs::read_to_string(value).map_err(|error| {
        Failure::usage(format!("{spelled}: cannot read '{value}': {}", reason(&error)))
    })?;
    hosts::add_file(&format!("{spelled} {value}"), &text, &mut options.hosts)
}

/// The variable that limits the ports of ranks.
fn ports(spelled: &str, value: &str) -> Result<(OsString, Option<OsString>), Failure> {
    Ok((Ports::VARIABLE.into(), Some(values::ports(spelled, value)?.into())))
}

/// The words of an I/O error without its number.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

fn missing_program() -> Failure {
    Failure::usage("no program to run")
        .help("usage: mpiexec [options] program [arguments]; mpiexec --help lists the options")
}

fn launcher(spelled: &str, value: &str, options: &mut Options) -> Result<(), Failure> {
    options.launcher = match (value, &options.launcher) {
        ("auto", _) => return Ok(()),
        ("ssh", Launcher::Program(program)) => Launcher::Ssh(program.clone()),
        ("ssh", _) => Launcher::Ssh("ssh".to_owned()),
        ("fork", _) => Launcher::Fork,
        ("slurm" | "srun", _) => Launcher::Srun,
        (_, Launcher::Program(_)) => return Ok(()),
        _ => {
            return Err(Failure::usage(format!("{spelled} does not know '{value}'")).help(
                "it knows ssh, srun, fork; -launcher-exec PROGRAM runs any program with the host \
                 and a command",
            ));
        }
    };
    Ok(())
}

/// The row of a token, how the user spelled it, and its value after `=`.
fn look_up(text: &str) -> Result<(&'static Row, String, Option<String>), Failure> {
    let dashes = if text.starts_with("--") { 2 } else { 1 };
    let body = &text[dashes..];
    let (name, inline) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (body, None),
    };
    let spelled = format!("{}{name}", &text[..dashes]);
    if let Some(row) = option_table::find(name) {
        return Ok((row, spelled, inline));
    }
    let failure = Failure::usage(format!("unknown option '{spelled}'"));
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let stem = &name[..name.len() - digits.len()];
    if matches!(stem, "n" | "np" | "c") && digits.parse::<u32>().is_ok() {
        return Err(failure.help(format!("did you mean '-{stem} {digits}'?")));
    }
    Err(match option_table::suggest(name) {
        Some(near) => failure.help(format!("did you mean '{}{near}'?", &text[..dashes])),
        None => failure.help("mpiexec --help lists the options"),
    })
}

/// `NAME=VALUE`, or a name of ours whose value is passed on.
fn export(text: &str) -> (OsString, Option<OsString>) {
    match text.split_once('=') {
        Some((name, value)) => (name.into(), Some(value.into())),
        None => (text.into(), None),
    }
}

fn apply_env(id: Id, values: &[String], rules: &mut EnvRules) {
    match id {
        Id::Env | Id::GlobalEnv => {
            rules.set.push((values[0].clone().into(), Some(values[1].clone().into())));
        }
        Id::EnvList | Id::GlobalEnvList => {
            let list = values[0].split(',').map(|name| name.trim().to_owned());
            rules.inherit = Some(Inherit::List(list.filter(|name| !name.is_empty()).collect()));
        }
        Id::EnvAll | Id::GlobalEnvAll => rules.inherit = Some(Inherit::All),
        Id::EnvNone | Id::GlobalEnvNone => rules.inherit = Some(Inherit::None),
        _ => {}
    }
}

/// Options of one program; `false` when the option concerns the whole job.
fn apply_to_program(
    id: Id,
    spelled: &str,
    values: &[String],
    draft: &mut Draft,
) -> Result<bool, Failure> {
    match id {
        Id::Ranks => {
            if draft.ranks.is_some() {
                return Err(Failure::usage(format!(
                    "{spelled} {}: the number of ranks was given twice",
                    values[0]
                )));
            }
            draft.ranks = Some(values::ranks(spelled, &values[0])?);
        }
        Id::Directory => draft.directory = Some(values[0].clone().into()),
        Id::Env | Id::EnvList | Id::EnvAll | Id::EnvNone => apply_env(id, values, &mut draft.env),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Checks the letters after each percent sign.
fn pattern(spelled: &str, value: &str, letters: &str) -> Result<String, Failure> {
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        match rest[at + 1..].chars().next() {
            Some(letter) if letters.contains(letter) => rest = &rest[at + 2..],
            other => {
                let found = other.map_or("%".to_owned(), |letter| format!("%{letter}"));
                return Err(Failure::usage(format!("{spelled} does not know '{found}'")).help(
                    format!(
                        "it knows {}",
                        letters.chars().map(|c| format!("%{c} ")).collect::<String>()
                    ),
                ));
            }
        }
    }
    Ok(value.to_owned())
}

fn stdin(spelled: &str, value: &str) -> Result<Stdin, Failure> {
    Ok(match value {
        "all" => Stdin::Copy(None),
        "none" => Stdin::None,
        _ => {
            let list = values::rank_list(spelled, value).map_err(|_| {
                Failure::usage(format!("{spelled} expects a rank, 'all' or 'none', got '{value}'"))
            })?;
            if list.len() == 1 { Stdin::Inherit(list[0]) } else { Stdin::Copy(Some(list)) }
        }
    })
}

/// Reads `-bind-to`.
pub fn bind_to(spelled: &str, value: &str, options: &mut Options) -> Result<(), Failure> {
    let wrong = || {
        Failure::usage(format!("{spelled} does not know '{value}'")).help(
            "it knows none, core, hwthread, l1cache to l3cache, numa, package, and user:LIST such \
             as user:0,1,4+5",
        )
    };
    if let Some(list) = value.strip_prefix("user:") {
        let mut sets = Vec::new();
        for element in list.split(',') {
            let mut set = Vec::new();
            for part in element.split('+') {
                set.extend(values::rank_list(spelled, part).map_err(|_| wrong())?);
            }
            sets.push(set);
        }
        options.bind_to = BindTo::User(sets);
        return Ok(());
    }
    let mut words = value.split([':', ',']);
    options.bind_to = match words.next().unwrap_or("") {
        "none" => BindTo::None,
        word => BindTo::To(binding::unit_of(word).ok_or_else(wrong)?),
    };
    for word in words {
        match word.parse::<u32>() {
            // hydra's `core:2`: two cores for each rank.
            Ok(count) if count > 0 => match options.bind_to {
                BindTo::To(Unit::Core | Unit::HardwareThread) => {
                    options.map.cores_each = Some(count);
                }
                _ if count == 1 => {}
                _ => return Err(wrong()),
            },
            Ok(_) => return Err(wrong()),
            Err(_) if matches!(word, "overload-allowed" | "no-overload" | "if-supported") => {
                options.notes.push(format!("{spelled} {value}: '{word}' has no effect here"));
            }
            Err(_) => return Err(wrong()),
        }
    }
    Ok(())
}

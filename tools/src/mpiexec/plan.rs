// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the request to what will be executed: files found, environments made, processors chosen.
//! Nothing has been started when this fails.
#![forbid(unsafe_code)]

use super::binding::{Placement, Wish};
use super::environment::{self, Variables};
use super::failure::Failure;
use super::hosts::Launcher;
use super::program::{self, Resolved};
use super::request::{Request, Stdin};
use super::values::ranks_named;
use crate::prefix::Prefix;
use std::ffi::{CString, OsStr};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use strait_transport::node::RankOrder;

/// One program, ready for execve.
pub struct Prepared {
    /// The file and its arguments, for people.
    pub resolved: Resolved,
    /// The file.
    pub path: CString,
    /// Its arguments.
    pub argv: Vec<CString>,
    /// Its environment, without what differs between ranks.
    pub env: Vec<CString>,
    /// Where it runs.
    pub directory: Option<CString>,
}

/// What runs on this host, ready to be started: a whole job, or the ranks of one of its hosts.
/// Vectors have an element for each of these ranks.
pub struct Plan<'a> {
    /// What was asked for.
    pub request: &'a Request,
    /// Name of this host.
    pub host: String,
    /// The first process of this host; ours are numbered from here on.
    pub first: u32,
    /// Their ranks.
    pub ranks: Vec<u32>,
    /// Which rank each process of the job is.
    pub order: RankOrder,
    /// Ranks of the whole job.
    pub job_size: u32,
    /// Our own libraries, if they are installed beside us.
    pub prefix: Option<Prefix>,
    /// The programs.
    pub programs: Vec<Prepared>,
    /// For each rank its program.
    pub program_of: Vec<usize>,
    /// Where they go.
    pub placement: Placement,
}

impl<'a> Plan<'a> {
    /// Prepares everything.
    ///
    /// # Errors
    /// The first thing that keeps the job from starting.
    pub fn prepare(
        request: &'a Request,
        host: String,
        ours: &Variables,
        processes: Range<u32>,
        order: RankOrder,
    ) -> Result<Plan<'a>, Failure> {
        let prefix = Prefix::of_this_executable();
        let first = processes.start;
        let ranks: Vec<u32> = processes.map(|process| order.rank_of(process)).collect();
        let mut programs = Vec::new();
        let mut program_of = vec![0; ranks.len()];
        let mut next = 0;
        for (index, program) in request.programs.iter().enumerate() {
            let own = next..next + program.ranks;
            next = own.end;
            let here: Vec<u32> = ranks.iter().copied().filter(|rank| own.contains(rank)).collect();
            for (place, rank) in program_of.iter_mut().zip(&ranks) {
                *place = if own.contains(rank) { index } else { *place };
            }
            let whom = format!("{}, host {host}", ranks_named(&here));
            let env =
                environment::of_program(ours, &request.options.env, &program.env, prefix.as_ref());
            let search = env.get(OsStr::new("PATH")).or_else(|| ours.get(OsStr::new("PATH")));
            let search = search.map(|path| path.as_os_str());
            let resolved = match here.is_empty() {
                true => program::unresolved(program),
                false => program::resolve(program, search, &whom)?,
            };
            programs.push(Prepared {
                path: c_string(resolved.path.as_os_str())?,
                argv: resolved.argv.iter().map(|text| c_string(text)).collect::<Result<_, _>>()?,
                env: environment::block(&env),
                directory: match &program.directory {
                    Some(directory) => Some(c_string(directory.as_os_str())?),
                    None => None,
                },
                resolved,
            });
        }
        let size = program_of.len() as u32;
        let options = &request.options;
        let placement = Placement::of(&Wish {
            bind_to: &options.bind_to,
            map: &options.map,
            size,
            is_shown: options.report_bindings || options.dry_run,
            is_shared: options.launcher == Launcher::Fork && size < request.size(),
            variable: &|name| Some(ours.get(OsStr::new(name))?.to_string_lossy().into_owned()),
        })?;
        let job_size = request.size();
        Ok(Plan {
            request,
            host,
            first,
            ranks,
            order,
            job_size,
            prefix,
            programs,
            program_of,
            placement,
        })
    }

    /// Ranks of this host.
    pub fn size(&self) -> u32 {
        self.program_of.len() as u32
    }

    /// The number of a rank of this host among its processes; `None` for a rank of another one.
    pub fn local_of(&self, rank: u32) -> Option<u32> {
        let process = Some(rank).filter(|rank| *rank < self.job_size)?;
        let local = self.order.process_of(process).checked_sub(self.first)?;
        (local < self.size()).then_some(local)
    }

    /// The processors of a rank of this host, if it is to be bound.
    pub fn processors(&self, local_rank: u32) -> Option<&[u32]> {
        let Placement { sets, is_real, .. } = &self.placement;
        sets[local_rank as usize].as_deref().filter(|_| *is_real)
    }

    fn processors_shown(&self, rank: u32) -> Option<&[u32]> {
        self.placement.sets[self.local_of(rank)? as usize].as_deref()
    }

    /// Who may use what.
    pub fn bindings(&self) -> String {
        self.placement.lines(&self.host, &self.ranks)
    }

    /// The plan as a table.
    pub fn table(&self) -> String {
        let options = &self.request.options;
        let mut rows =
            vec![["ranks", "host", "directory", "processors", "command"].map(String::from)];
        let mut first = 0;
        for (program, prepared) in self.request.programs.iter().zip(&self.programs) {
            let ranks: Vec<u32> = (first..first + program.ranks).collect();
            first += program.ranks;
            let directory = program.directory.as_ref();
            let set = |rank: &u32| self.processors_shown(*rank);
            let bound = ranks.iter().any(|rank| set(rank).is_some());
            let command: Vec<String> = std::iter::once(prepared.resolved.path.as_os_str())
                .chain(prepared.resolved.argv[1..].iter().map(|text| text.as_os_str()))
                .map(|text| text.to_string_lossy().into_owned())
                .collect();
            rows.push([
                ranks_named(&ranks).replace("ranks ", "").replace("rank ", ""),
                self.host.clone(),
                directory.map_or(".".to_owned(), |path| path.display().to_string()),
                if bound { "bound" } else { "all" }.to_owned(),
                command.join(" "),
            ]);
        }
        let mut text = columns(&rows);
        text.push_str(&format!("standard input: {}\n", stdin_in_words(&options.stdin)));
        for (name, file) in [("output", &options.out_file), ("error", &options.err_file)] {
            if let Some(file) = file {
                text.push_str(&format!("standard {name}: {file}\n"));
            }
        }
        for (program, own) in self.request.programs.iter().enumerate() {
            for (name, value) in options.env.set.iter().chain(&own.env.set) {
                let value = value.as_ref().map_or("(ours)".into(), |value| value.to_string_lossy());
                let name = name.to_string_lossy();
                text.push_str(&format!("environment of program {program}: {name}={value}\n"));
            }
        }
        if self.placement.sets.iter().any(Option::is_some) {
            text.push_str(&self.bindings());
            text.push('\n');
        }
        for note in self.placement.warning().iter().chain(&self.placement.notes) {
            text.push_str(&format!("{note}\n"));
        }
        if let Some(limit) = options.timeout {
            text.push_str(&format!("time limit: {} s\n", limit.as_secs_f64()));
        }
        text.push_str(&format!("{} ranks; nothing was started\n", self.size()));
        text
    }
}

fn c_string(text: &OsStr) -> Result<CString, Failure> {
    CString::new(text.as_bytes())
        .map_err(|_| Failure::usage(format!("a NUL byte in {}", text.to_string_lossy())))
}

fn stdin_in_words(stdin: &Stdin) -> String {
    match stdin {
        Stdin::Inherit(rank) => format!("rank {rank}"),
        Stdin::Copy(None) => "all ranks".to_owned(),
        Stdin::Copy(Some(list)) => ranks_named(list),
        Stdin::None => "none".to_owned(),
    }
}

/// Rows with aligned columns; the last column is as wide as it is.
fn columns(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(&row[4]);
        text.push('\n');
    }
    text
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait info --topology`: what a host is made of, and where ranks go on it.
//!
//! This host is drawn from hwloc where its library is there, else from sysfs; mpiexec binds by
//! sysfs alone (docs/decisions/0008-topology.md), so where the two differ it is said. Cards are
//! from sysfs, which knows whether they are up. `STRAIT_TOPOLOGY` describes another machine.
#![forbid(unsafe_code)]

use super::info::Topology as Options;
use super::probe;
use crate::machine::foreign::{self, Foreign};
use crate::machine::hwloc::{Library, Missing};
use crate::machine::{Detail, Machine};
use crate::mpiexec::{
    MpiexecOptions, Placement, Wish, allowed_processors, is_narrowed, placement_words, rank_set,
};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use strait_transport::config;
use strait_transport::topology::cgroup;

/// Everything, for `--json`.
#[derive(Serialize)]
struct Page {
    /// The machine is this host.
    #[serde(skip)]
    is_ours: bool,
    source: String,
    #[serde(flatten)]
    machine: Machine,
    cpuset: Option<String>,
    quota: Option<f64>,
    bound: Vec<Option<Vec<u32>>>,
    notes: Vec<String>,
}

/// Where a machine is read.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// hwloc where its library is there, else sysfs.
    Auto,
    /// hwloc, or an error.
    Hwloc,
    /// sysfs.
    Sysfs,
}

/// Runs it.
pub fn run(options: &Options, json: bool) -> ExitCode {
    match page(options) {
        Ok(page) if json => {
            let text = serde_json::to_string_pretty(&page).expect("numbers become JSON");
            super::print(&format!("{text}\n"));
            ExitCode::SUCCESS
        }
        Ok(page) => {
            super::print(&drawn(&page));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn page(options: &Options) -> Result<Page, String> {
    let setting = |name: &str| config::text(name).map_err(|error| error.to_string());
    let library = setting("HWLOC_LIBRARY")?;
    let mut notes = Vec::new();
    let mut wanted = MpiexecOptions::default();
    placement_words(options.bind_to.as_deref(), options.map_by.as_deref(), &mut wanted)
        .map_err(|failure| without_head(&failure))?;
    let (machine, source, is_ours) = match setting("TOPOLOGY")? {
        Some(text) => {
            let Foreign { machine, from } = foreign::read(&text, library.as_deref())?;
            (machine, from, false)
        }
        None => {
            let (machine, source) = this_host(options.from, library.as_deref(), &mut notes)?;
            (machine, source, true)
        }
    };
    let placement = Placement::of(&Wish {
        bind_to: &wanted.bind_to,
        map: &wanted.map,
        size: options.ranks,
        is_shown: true,
        is_shared: false,
        variable: &|name| std::env::var(name).ok(),
    })
    .map_err(|failure| without_head(&failure))?;
    if options.ranks > 0 {
        notes.extend(placement.notes);
    }
    let narrowed = is_ours && is_narrowed(&machine, &allowed_processors());
    if narrowed {
        notes.push("something bound this process: its affinity mask is narrower".to_owned());
    }
    Ok(Page {
        is_ours,
        source,
        machine,
        cpuset: is_ours.then(cgroup::cpuset).flatten().map(|(set, _)| set),
        quota: probe::quota().filter(|_| is_ours),
        bound: placement.sets,
        notes,
    })
}

/// This host, where it was read, and what is strange about that.
fn this_host(
    from: Source,
    library: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<(Machine, String), String> {
    let allowed = allowed_processors();
    let sysfs = Machine::read(Path::new("/sys"), &allowed, Detail::All);
    let of_sysfs = "sysfs".to_owned();
    if from == Source::Sysfs {
        return Ok((sysfs, of_sysfs));
    }
    let read = Library::open(library).and_then(|library| {
        let machine = library.this_host().map_err(Missing::Refused)?;
        Ok((machine, format!("hwloc (interface {})", library.version())))
    });
    let (mut machine, name) = match (read, from) {
        (Ok(read), _) => read,
        (Err(Missing::Absent), Source::Hwloc) => {
            return Err("hwloc is not installed here (Debian: libhwloc15)".to_owned());
        }
        (Err(Missing::Refused(why)), Source::Hwloc) => return Err(why),
        (Err(Missing::Absent), _) => return Ok((sysfs, of_sysfs)),
        (Err(Missing::Refused(why)), _) => {
            notes.push(format!("hwloc is not used: {why}"));
            return Ok((sysfs, of_sysfs));
        }
    };
    for processor in &mut machine.processors {
        processor.allowed = allowed.contains(&processor.number);
    }
    for node in &mut machine.nodes {
        if let Some(same) = sysfs.nodes.iter().find(|other| other.number == node.number) {
            node.distances.clone_from(&same.distances);
        }
    }
    let agrees = machine.usable_cores() == sysfs.usable_cores();
    if !agrees {
        let (ours, theirs) = (sysfs.in_numbers(), machine.in_numbers());
        notes.push(format!("sysfs, by which mpiexec binds, says: {ours}; hwloc: {theirs}"));
    }
    machine.devices = sysfs.devices;
    Ok((machine, if agrees { format!("{name}, and sysfs says the same") } else { name }))
}

/// An error of mpiexec's in its words, which begin as ours do.
fn without_head(failure: &impl ToString) -> String {
    let text = failure.to_string();
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

fn drawn(page: &Page) -> String {
    let title = if page.is_ours { super::info::host() } else { "another machine".to_owned() };
    let mut facts = vec![format!("from {}", page.source)];
    let allowed: Vec<u32> =
        page.machine.processors.iter().filter(|one| one.allowed).map(|one| one.number).collect();
    if allowed.len() < page.machine.processors.len() {
        facts.push(format!("processors that we may use: {}", rank_set(&allowed)));
    }
    if let Some(quota) = page.quota {
        facts.push(format!("quota of the control group: {quota} cores"));
    }
    if let Some(set) =
        page.cpuset.as_ref().filter(|_| allowed.len() < page.machine.processors.len())
    {
        facts.push(format!("processors of the control group: {set}"));
    }
    facts.extend(page.notes.iter().map(|note| format!("note: {note}")));
    page.machine.draw(&title, &facts, &page.bound)
}

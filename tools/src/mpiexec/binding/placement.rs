// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the ranks of a host go: on the machine that is there, or, to look at, on the one that
//! `STRAIT_TOPOLOGY` describes.
#![forbid(unsafe_code)]

use super::policy::{self, Situation};
use super::{Mapping, Sets, Unit, allowed_processors, check_room, sets};
use crate::machine::foreign::{self, Foreign};
use crate::machine::{Detail, Machine};
use crate::mpiexec::failure::Failure;
use crate::mpiexec::request::BindTo;
use crate::mpiexec::values::{processor_list, rank_set, ranks_named};
use std::path::Path;
use strait_transport::topology::{cgroup, quota_millicores};

/// Where the ranks of this host go. Vectors have an element for each of them.
pub struct Placement {
    /// The processors of each.
    pub sets: Sets,
    /// They are bound to those; otherwise it is only said where they would be.
    pub is_real: bool,
    /// What should be said.
    pub notes: Vec<String>,
    /// The machine, if it is not the one that is there.
    foreign: Option<Foreign>,
}

/// What is asked for.
pub struct Wish<'a> {
    /// To what.
    pub bind_to: &'a BindTo,
    /// By which rule.
    pub map: &'a Mapping,
    /// Ranks of this host.
    pub size: u32,
    /// Bindings will be shown.
    pub is_shown: bool,
    /// The hosts of the job are all this one.
    pub is_shared: bool,
    /// The environment of the job.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Placement {
    /// Decides.
    ///
    /// # Errors
    /// A wish that cannot be fulfilled here.
    pub fn of(wish: &Wish<'_>) -> Result<Placement, Failure> {
        let nothing = |sets| Placement { sets, is_real: true, notes: Vec::new(), foreign: None };
        let nobody = vec![None; wish.size as usize];
        let is_asked = !matches!(wish.bind_to, BindTo::Default | BindTo::None);
        let foreign_text = (wish.variable)(foreign::VARIABLE).filter(|text| !text.is_empty());
        if let Some(text) = foreign_text {
            if !(is_asked || wish.is_shown) {
                return Ok(nothing(nobody));
            }
            return Placement::elsewhere(wish, &text);
        }
        let is_mapped = *wish.map != Mapping::default();
        if *wish.bind_to == BindTo::None || (wish.size < 2 && !is_asked && !is_mapped) {
            return Ok(nothing(nobody));
        }
        let allowed = allowed_processors();
        let machine = Machine::read(Path::new("/sys"), &allowed, detail(wish));
        let cores = machine.usable_cores();
        if *wish.bind_to == BindTo::Default {
            let why = policy::why_not(&Situation {
                size: wish.size,
                cores_each: wish.map.cores_each,
                cores: cores.len(),
                quota: quota_millicores(),
                is_narrowed: is_narrowed(&machine, &allowed),
                is_shared: wish.is_shared,
                variable: wish.variable,
            });
            if let Some(why) = why {
                let mut placement = nothing(nobody);
                placement.notes.push(format!("ranks are not bound: {why}"));
                // A mapping that cannot be is an error all the same.
                check_room(wish.map, wish.size, &cores)?;
                return Ok(placement);
            }
        }
        Ok(nothing(sets(wish.bind_to, wish.map, wish.size, &cores)?))
    }

    /// On another machine than this.
    fn elsewhere(wish: &Wish<'_>, text: &str) -> Result<Placement, Failure> {
        let library = (wish.variable)("STRAIT_HWLOC_LIBRARY").filter(|name| !name.is_empty());
        let foreign = foreign::read(text, library.as_deref()).map_err(Failure::usage)?;
        let cores = foreign.machine.usable_cores();
        let mut placement = Placement {
            sets: vec![None; wish.size as usize],
            is_real: false,
            notes: Vec::new(),
            foreign: None,
        };
        let why = policy::why_not(&Situation {
            size: wish.size,
            cores_each: wish.map.cores_each,
            cores: cores.len(),
            quota: None,
            is_narrowed: false,
            is_shared: false,
            variable: wish.variable,
        });
        match (wish.bind_to, why) {
            (BindTo::Default, Some(why)) => {
                check_room(wish.map, wish.size, &cores)?;
                placement.notes.push(format!("ranks would not be bound: {why}"));
            }
            _ => placement.sets = sets(wish.bind_to, wish.map, wish.size, &cores)?,
        }
        placement.foreign = Some(foreign);
        Ok(placement)
    }

    /// What must be said even if nobody asked: what is shown, or wished for, does not happen.
    pub fn warning(&self) -> Option<String> {
        let foreign = self.foreign.as_ref().filter(|_| !self.is_real)?;
        Some(format!(
            "note: {} describes another machine ({}): bindings are shown for it, and no rank is \
             bound here",
            foreign::VARIABLE,
            foreign.from
        ))
    }

    /// Who may use what: a line for each rank, or for neighbours with the same. `ranks` has one for
    /// each set.
    pub fn lines(&self, host: &str, ranks: &[u32]) -> String {
        let read;
        let machine = match &self.foreign {
            Some(foreign) => &foreign.machine,
            None => {
                read = Machine::read(Path::new("/sys"), &allowed_processors(), Detail::Cores);
                &read
            }
        };
        let mut rows: Vec<[String; 3]> = Vec::new();
        let mut rest = ranks;
        for run in self.sets.chunk_by(|a, b| a == b) {
            let (here, others) = rest.split_at(run.len());
            rest = others;
            let words = run[0].as_ref().map_or("all".to_owned(), |set| rank_set(set));
            rows.push([ranks_named(here), words, machine.picture(run[0].as_deref())]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (names, numbers) = (width(0), width(1));
        let line = |[name, words, picture]: &[String; 3]| {
            format!("{name:names$}  host {host}  processors {words:numbers$}  {picture}")
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// What must be read of the machine: caches are a dozen files for each processor.
fn detail(wish: &Wish<'_>) -> Detail {
    let is_cache = |unit: Option<Unit>| matches!(unit, Some(Unit::Cache(_)));
    let to = match wish.bind_to {
        BindTo::To(unit) => Some(*unit),
        _ => None,
    };
    if is_cache(to) || is_cache(wish.map.by) { Detail::Caches } else { Detail::Cores }
}

/// Whether somebody bound this process to fewer processors than its control groups allow.
pub fn is_narrowed(machine: &Machine, allowed: &[u32]) -> bool {
    let ours = cgroup::cpuset().and_then(|(text, _)| processor_list(&text));
    let may_be = |number: u32| ours.as_ref().is_none_or(|set| set.contains(&number));
    machine.processors.iter().any(|one| may_be(one.number) && !allowed.contains(&one.number))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which processors each rank of a host may use.
//!
//! Ranks are dealt to units of the machine (mapping.rs says by which rule), the ranks of a unit
//! divide its cores among them, and each is bound to its part, or to the unit that its part is in.
//! Parts are disjoint and as large as possible. Without `-bind-to` and `-map-by` the host is one
//! unit, and policy.rs says whether anybody is bound at all.
#![forbid(unsafe_code)]

mod mapping;
mod placement;
mod policy;

pub use mapping::{Mapping, Unit, map_by, rank_by, unit_of};
pub use placement::{Placement, Wish, is_narrowed};

use super::failure::Failure;
use super::request::{BindTo, Request};
use super::spread;
use super::values::rank_set;
use crate::machine::{Core, Detail, Machine};
use std::path::Path;

/// What each rank may use; `None` where a rank is not bound.
pub type Sets = Vec<Option<Vec<u32>>>;

/// The processors that this process may use, as sets of hardware threads that form a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<Vec<u32>>);

impl Cores {
    /// From the affinity mask and sysfs.
    pub fn of_this_process() -> Cores {
        let machine = Machine::read(Path::new("/sys"), &allowed_processors(), Detail::Cores);
        Cores(machine.usable_cores().into_iter().map(|core| core.threads).collect())
    }
}

/// The processors of our affinity mask, which a cgroup's cpuset has already narrowed.
pub fn allowed_processors() -> Vec<u32> {
    let Ok(mask) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU as u32).filter(|cpu| mask.is_set(*cpu as usize)).collect()
}

/// Says how many ranks there are where only `ppr:N:UNIT` or the list of hosts does.
///
/// # Errors
/// It cannot be known: there are several programs, or other hosts.
pub fn count_ranks(request: &mut Request) -> Result<(), Failure> {
    let options = &request.options;
    let [program] = &mut request.programs[..] else { return Ok(()) };
    if program.is_counted {
        return Ok(());
    }
    if options.map.is_sequence && !options.hosts.is_empty() {
        program.ranks = options.hosts.iter().map(|host| host.slots.unwrap_or(1)).sum();
    }
    let (Some(each), Some(by)) = (options.map.per_unit, options.map.by) else { return Ok(()) };
    let hosts = spread::merged(&options.hosts).len().max(1);
    let units = match by {
        Unit::Host => hosts,
        _ if hosts > 1 => {
            return Err(Failure::usage(format!(
                "-map-by ppr:{each}:{by} on several hosts needs the number of ranks"
            ))
            .help("add -n N"));
        }
        _ => {
            let machine = Machine::read(Path::new("/sys"), &allowed_processors(), Detail::Caches);
            let cores = machine.usable_cores();
            let parts = parts(&cores, by == Unit::HardwareThread);
            units(&parts, &options.map)?.len()
        }
    };
    program.ranks = u32::try_from(units).unwrap_or(u32::MAX).saturating_mul(each);
    Ok(())
}

/// A core, or one of its threads where ranks may be bound to less than a core.
struct Part<'a> {
    processors: Vec<u32>,
    core: &'a Core,
    core_index: usize,
}

/// The set of each rank.
///
/// # Errors
/// A processor that we may not use; a mapping that this host has no room for.
pub fn sets(how: &BindTo, mapping: &Mapping, size: u32, cores: &[Core]) -> Result<Sets, Failure> {
    let to = match how {
        BindTo::None => return Ok(vec![None; size as usize]),
        BindTo::User(list) => return by_hand(list, size, cores),
        BindTo::Default => Unit::Core,
        BindTo::To(unit) => *unit,
    };
    let parts =
        parts(cores, to == Unit::HardwareThread || mapping.by == Some(Unit::HardwareThread));
    let units = units(&parts, mapping)?;
    let places = mapping.deal(size, units.len() as u32).map_err(Failure::usage)?;
    let mut ranks_of = vec![0_usize; units.len()];
    for unit in &places {
        ranks_of[*unit as usize] += 1;
    }
    let mut taken = vec![0_usize; units.len()];
    let mut shares = Vec::new();
    for unit in places.iter().map(|unit| *unit as usize) {
        let (here, place, all) = (&units[unit], taken[unit], ranks_of[unit]);
        taken[unit] += 1;
        let share = match mapping.cores_each {
            Some(count) => {
                let first = place * count as usize;
                here.get(first..first + count as usize).ok_or_else(|| too_many(count, all, here))?
            }
            None if all <= here.len() => {
                let cut = |place: usize| place * here.len() / all;
                &here[cut(place)..cut(place + 1)]
            }
            // A rank that is bound to a core which it shares would only lose.
            None if to <= Unit::Core => return Ok(vec![None; size as usize]),
            None => &here[place % here.len()..=place % here.len()],
        };
        shares.push(share);
    }
    if let Some(by) = mapping.rank_by {
        shares = numbered(shares, by)?;
    }
    Ok(shares.into_iter().map(|share| Some(grown(share, to, &parts))).collect())
}

/// The shares in the order of their ranks: the first share of each unit, then the second ones.
fn numbered<'a, 'b>(
    shares: Vec<&'b [&'b Part<'a>]>,
    by: Unit,
) -> Result<Vec<&'b [&'b Part<'a>]>, Failure> {
    let unknown = || {
        Failure::usage(format!("-rank-by {by}: no {by} is known here"))
            .help("strait info --topology shows what is known")
    };
    // Cores are in the order of the units that they are in.
    let mut units: Vec<(usize, u64)> = Vec::new();
    for share in &shares {
        let first = (share[0].core_index, key_of(share[0], by).ok_or_else(unknown)?);
        units.push(first);
    }
    units.sort_unstable();
    let mut order: Vec<u64> = Vec::new();
    for (_, key) in units {
        if !order.contains(&key) {
            order.push(key);
        }
    }
    let mut taken = vec![0_usize; order.len()];
    let mut places = Vec::new();
    for share in shares {
        let key = key_of(share[0], by).ok_or_else(unknown)?;
        let unit = order.iter().position(|one| *one == key).expect("units of these shares");
        places.push((taken[unit], unit, share));
        taken[unit] += 1;
    }
    places.sort_by_key(|(round, unit, _)| (*round, *unit));
    Ok(places.into_iter().map(|(_, _, share)| share).collect())
}

/// Whether there is a unit for each rank.
///
/// # Errors
/// There is none.
fn check_room(mapping: &Mapping, size: u32, cores: &[Core]) -> Result<(), Failure> {
    let parts = parts(cores, mapping.by == Some(Unit::HardwareThread));
    let units = units(&parts, mapping)?;
    mapping.deal(size, units.len() as u32).map(drop).map_err(Failure::usage)
}

fn too_many(count: u32, ranks: usize, here: &[&Part<'_>]) -> Failure {
    let wanted = ranks * count as usize;
    Failure::usage(format!(
        "-map-by: {ranks} ranks with PE={count} need {wanted} cores in one place, which has {}",
        here.len()
    ))
}

fn parts(cores: &[Core], is_threads: bool) -> Vec<Part<'_>> {
    let whole = |(core_index, core)| {
        let core: &Core = core;
        match is_threads {
            false => vec![Part { processors: core.threads.clone(), core, core_index }],
            true => core
                .threads
                .iter()
                .map(|number| Part { processors: vec![*number], core, core_index })
                .collect(),
        }
    };
    cores.iter().enumerate().flat_map(whole).collect()
}

/// The parts of each unit that ranks are dealt to.
fn units<'a, 'b>(
    parts: &'b [Part<'a>],
    mapping: &Mapping,
) -> Result<Vec<Vec<&'b Part<'a>>>, Failure> {
    let all: Vec<&Part<'a>> = parts.iter().collect();
    let by = match mapping.by {
        None | Some(Unit::Host) => return Ok(vec![all]),
        // So many cores each, one rank after the other.
        Some(Unit::Core | Unit::HardwareThread) if mapping.cores_each.is_some() => {
            return Ok(vec![all]);
        }
        Some(by) => by,
    };
    let key = |part: &Part<'_>| key_of(part, by);
    if parts.iter().any(|part| key(part).is_none()) {
        return Err(Failure::usage(format!("-map-by {by}: no {by} is known here"))
            .help("strait info --topology shows what is known"));
    }
    Ok(all.chunk_by(|a, b| key(a) == key(b)).map(<[&Part<'_>]>::to_vec).collect())
}

/// What tells the unit of a part from other units of its kind.
fn key_of(part: &Part<'_>, unit: Unit) -> Option<u64> {
    Some(match unit {
        Unit::HardwareThread => u64::from(part.processors[0]),
        Unit::Core => part.core_index as u64,
        Unit::Cache(level) => u64::from(part.core.caches.iter().find(|(of, _)| *of == level)?.1),
        // A machine without NUMA nodes is one.
        Unit::NumaNode => part.core.node.map_or(0, |node| u64::from(node) + 1),
        Unit::Package => u64::from(part.core.package),
        Unit::Host => 0,
    })
}

/// The processors of a share, grown to the units that it begins in.
fn grown(share: &[&Part<'_>], to: Unit, parts: &[Part<'_>]) -> Vec<u32> {
    let mut set: Vec<u32> = match to {
        Unit::HardwareThread | Unit::Core => {
            share.iter().flat_map(|part| &part.processors).copied().collect()
        }
        _ => {
            let key = key_of(share[0], to);
            let inside = |part: &&Part<'_>| key_of(part, to) == key;
            parts.iter().filter(inside).flat_map(|part| &part.processors).copied().collect()
        }
    };
    set.sort_unstable();
    set
}

/// Rank i gets element i of the user's list.
fn by_hand(list: &[Vec<u32>], size: u32, cores: &[Core]) -> Result<Sets, Failure> {
    let mut allowed: Vec<u32> = cores.iter().flat_map(|core| &core.threads).copied().collect();
    allowed.sort_unstable();
    if let Some(cpu) = list.iter().flatten().find(|cpu| !allowed.contains(cpu)) {
        return Err(Failure::usage(format!("-bind-to: processor {cpu} is not ours to use"))
            .help(format!("we may use {}", rank_set(&allowed))));
    }
    Ok((0..size as usize).map(|rank| Some(list[rank % list.len()].clone())).collect())
}

#[cfg(test)]
mod tests;

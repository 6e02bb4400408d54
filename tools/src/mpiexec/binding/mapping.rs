// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `-map-by` and `-rank-by`: which rank goes to which host (spread.rs) and unit of it.
#![forbid(unsafe_code)]

use crate::mpiexec::failure::Failure;
use crate::mpiexec::request::Options;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A part of a host that ranks are dealt to, or bound to; small ones first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Unit {
    /// One thread of a core.
    HardwareThread,
    /// A core.
    Core,
    /// The cores that share a cache of this level.
    Cache(u32),
    /// A NUMA node.
    NumaNode,
    /// A package.
    Package,
    /// The whole host.
    Host,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::HardwareThread => f.write_str("hwthread"),
            Unit::Core => f.write_str("core"),
            Unit::Cache(level) => write!(f, "l{level}cache"),
            Unit::NumaNode => f.write_str("numa"),
            Unit::Package => f.write_str("package"),
            Unit::Host => f.write_str("node"),
        }
    }
}

/// How ranks are dealt out.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mapping {
    /// To these units in turn; `None`: over the host in blocks.
    pub by: Option<Unit>,
    /// So many to each unit before the next one gets any (`ppr:N:unit`).
    pub per_unit: Option<u32>,
    /// Cores of each rank (`PE=N`).
    pub cores_each: Option<u32>,
    /// The ranks of a unit are numbered one after the other (`-rank-by fill`).
    pub fill: bool,
    /// Ranks are numbered by taking one from each unit of this kind in turn.
    pub rank_by: Option<Unit>,
    /// The list of hosts names the host of each rank (`seq`).
    pub is_sequence: bool,
    /// Blocks of hosts: the first, how many, ranks of each; over and over (`-rankmap`).
    pub vector: Option<Vec<[u32; 3]>>,
}

impl Mapping {
    /// The unit of each of `size` ranks, of `count` units.
    ///
    /// # Errors
    /// There is no room for so many.
    pub fn deal(&self, size: u32, count: u32) -> Result<Vec<u32>, String> {
        if let (Some(each), Some(by)) = (self.per_unit, self.by) {
            let room = u64::from(each) * u64::from(count);
            if u64::from(size) > room {
                return Err(format!(
                    "-map-by ppr:{each}:{by} has room for {room} ranks here, not for {size}"
                ));
            }
            return Ok((0..size).map(|rank| rank / each).collect());
        }
        let mut places: Vec<u32> = (0..size).map(|rank| rank % count.max(1)).collect();
        if self.fill {
            places.sort_unstable();
        }
        Ok(places)
    }
}

/// The unit of a word; `None` for another word.
pub fn unit_of(word: &str) -> Option<Unit> {
    Some(match word {
        "hwthread" => Unit::HardwareThread,
        "core" => Unit::Core,
        "l1cache" | "l1" => Unit::Cache(1),
        "l2cache" | "l2" => Unit::Cache(2),
        "l3cache" | "l3" => Unit::Cache(3),
        "numa" => Unit::NumaNode,
        "package" | "socket" => Unit::Package,
        "node" | "machine" | "board" => Unit::Host,
        _ => return None,
    })
}

/// Words that other launchers know, and this one does not have.
const NOT_BUILT: &[&str] = &["rankfile", "dist", "pe-list", "hwtcpus", "nooversubscribe"];

fn unknown(spelled: &str, value: &str, word: &str) -> Failure {
    if NOT_BUILT.iter().any(|known| word.trim_start_matches('(').starts_with(known)) {
        return Failure::usage(format!(
            "{spelled} {value}: not yet; this mpiexec does not have it"
        ));
    }
    Failure::usage(format!("{spelled} does not know '{value}'")).help(
        "it knows slot, hwthread, core, l1cache to l3cache, numa, package, node, seq, ppr:N:UNIT; \
         each also with PE=N, such as package:PE=2",
    )
}

/// Reads `-map-by`.
///
/// # Errors
/// A word that is unknown, or known and not built.
pub fn map_by(spelled: &str, value: &str, options: &mut Options) -> Result<(), Failure> {
    let lower = value.to_ascii_lowercase();
    let (mut by, mut per_unit, mut is_sequence) = (None, None, false);
    let mut words = lower.split([':', ',']);
    let first = words.next().unwrap_or("");
    match first {
        // `:OVERSUBSCRIBE` is a modifier alone.
        "" | "slot" | "none" | "fill" => {}
        "seq" => is_sequence = true,
        "ppr" => {
            let number = words.next().and_then(|number| number.parse::<u32>().ok());
            let unit = words.next().and_then(unit_of);
            let (Some(number), Some(unit)) = (number.filter(|number| *number > 0), unit) else {
                return Err(Failure::usage(format!("{spelled} does not know '{value}'"))
                    .help("it is ppr:N:UNIT, such as ppr:2:node, ppr:4:package, ppr:1:numa"));
            };
            (by, per_unit) = (Some(unit), Some(number));
        }
        word => match unit_of(word) {
            Some(unit) => by = Some(unit),
            None => return Err(unknown(spelled, value, word)),
        },
    }
    let mut cores_each = None;
    for word in words {
        match word.split_once('=') {
            Some(("pe", number)) => {
                let number = number.parse::<u32>().ok().filter(|number| *number > 0);
                cores_each = Some(number.ok_or_else(|| {
                    Failure::usage(format!("{spelled} {value}: PE= expects a number of cores"))
                })?);
            }
            None if matches!(word, "oversubscribe" | "span" | "inherit" | "noinherit") => {
                options.notes.push(format!("{spelled} {value}: '{word}' has no effect here"));
            }
            _ => return Err(unknown(spelled, value, word)),
        }
    }
    let map = &mut options.map;
    (map.by, map.per_unit, map.cores_each) = (by, per_unit, cores_each.or(map.cores_each));
    map.is_sequence = is_sequence;
    Ok(())
}

/// Reads `-rank-by` and hydra's `-rankmap`.
///
/// # Errors
/// As [`map_by`].
pub fn rank_by(spelled: &str, value: &str, options: &mut Options) -> Result<(), Failure> {
    let lower = value.to_ascii_lowercase();
    if lower.trim_start_matches('(').starts_with("vector") {
        options.map.vector = Some(vector(spelled, &lower)?);
        return Ok(());
    }
    let word = lower.trim_start_matches(':').split([':', ',']).next().unwrap_or("");
    let (fill, unit) = match word {
        "slot" | "fill" | "block" => (true, None),
        // As it is without the option.
        "span" | "none" => (false, None),
        "cyclic" => (false, Some(Unit::Host)),
        _ => match unit_of(word) {
            Some(unit) => (false, Some(unit)),
            None if NOT_BUILT.iter().any(|known| word.starts_with(known)) => {
                return Err(unknown(spelled, value, word));
            }
            None => {
                return Err(Failure::usage(format!("{spelled} does not know '{value}'")).help(
                    "it knows slot, fill, span, the units of -map-by such as core, package and \
                     node, block, cyclic, and (vector,(FIRST HOST,HOSTS,RANKS EACH),...)",
                ));
            }
        },
    };
    (options.map.fill, options.map.rank_by) = (fill, unit);
    Ok(())
}

/// Reads `(vector,(0,2,1),(2,1,4))`.
fn vector(spelled: &str, value: &str) -> Result<Vec<[u32; 3]>, Failure> {
    let wrong = || {
        Failure::usage(format!("{spelled} expects a vector, got '{value}'")).help(
            "(vector,(0,2,1)) deals ranks to two hosts in turn, from host 0: first host, number of \
             hosts, ranks of each; over and over again",
        )
    };
    let inside = value.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(value);
    let list = inside.strip_prefix("vector").ok_or_else(wrong)?.replace(' ', "");
    let mut blocks = Vec::new();
    for block in list.strip_prefix(",(").ok_or_else(wrong)?.split(",(") {
        let numbers = block.strip_suffix(')').ok_or_else(wrong)?.split(',');
        let numbers: Vec<u32> =
            numbers.map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        blocks.push(<[u32; 3]>::try_from(numbers).map_err(|_| wrong())?);
    }
    // Otherwise no rank would ever get a host.
    match blocks.iter().all(|[_, count, each]| *count > 0 && *each > 0) {
        true => Ok(blocks),
        false => Err(wrong()),
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine from a synthetic string, in hwloc's language: levels from the outermost to the
//! threads, each a type and how many of it are in one of the level above.
//!
//! ```text
//! pack:2 numa:2 core:8 pu:2            2 packages of 2 NUMA nodes of 8 cores of 2 threads
//! pack:2 [numa(memory=64GB)] l3:4(size=32MB) core:8 pu:2(indexes=2*64:1*2)
//! 2 2 8 2                              the same as the first
//! ```
//!
//! Threads may be left out: one for each core. `[numa]` is a NUMA node beside the level before it.
//! Different from hwloc: `node:` is a host here, so that one variable can describe several hosts
//! later; that is refused by name until it is built.
//!
//! Not here: hwloc's interleaving by type names (`indexes=numa:core`).
#![forbid(unsafe_code)]

mod build;

use std::ops::Range;

/// Most threads of a machine; more is a slip of the pen.
const PROCESSORS_MAX: u64 = 65_536;
/// Lengths up to which numbers alone have types, as hwloc gives them, from the threads upwards.
const NUMBERED: [&[Kind]; 7] = [
    &[Kind::Thread],
    &[Kind::NumaNode, Kind::Thread],
    &[Kind::Package, Kind::NumaNode, Kind::Thread],
    &[Kind::Package, Kind::NumaNode, Kind::Core, Kind::Thread],
    &[Kind::Package, Kind::NumaNode, Kind::Cache(2), Kind::Core, Kind::Thread],
    &[Kind::Package, Kind::NumaNode, Kind::Cache(2), Kind::Cache(1), Kind::Core, Kind::Thread],
    &[
        Kind::Package,
        Kind::NumaNode,
        Kind::Cache(3),
        Kind::Cache(2),
        Kind::Cache(1),
        Kind::Core,
        Kind::Thread,
    ],
];

/// What a level is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Package,
    NumaNode,
    /// Of data, or of everything.
    Cache(u32),
    Core,
    Thread,
    /// Dies, groups, caches of instructions: structure without a meaning here.
    Other,
}

/// A level.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Level {
    kind: Kind,
    /// In each of the level above.
    count: u64,
    /// Of a cache or of memory.
    bytes: Option<u64>,
    /// Numbers as the kernel would give them, in the order of the machine.
    indexes: Option<String>,
}

/// Reads a string.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(text: &str) -> Result<super::Machine, String> {
    let mut levels = Vec::new();
    let (mut numbers, mut words) = (0, 0);
    for token in tokens(text)? {
        // No level is memory of the whole machine, which a NUMA level has anyway.
        if let (Some(level), is_number) = read_level(&token)? {
            *(if is_number { &mut numbers } else { &mut words }) += 1;
            levels.push(level);
        }
    }
    if numbers > 0 && words > 0 {
        return Err("either every level has a type or none has".to_owned());
    }
    if numbers > 0 {
        let kinds = NUMBERED.get(numbers - 1).ok_or("more than seven numbers: give types")?;
        for (level, kind) in levels.iter_mut().zip(*kinds) {
            level.kind = *kind;
        }
    }
    check(&mut levels)?;
    build::machine(&levels)
}

/// What stands between spaces that are in no brackets.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = vec![String::new()];
    let mut open = Vec::new();
    for letter in text.chars() {
        match letter {
            '(' => open.push(')'),
            '[' => open.push(']'),
            ')' | ']' if open.pop() != Some(letter) => {
                return Err(format!("'{letter}' closes nothing"));
            }
            _ if letter.is_whitespace() && open.is_empty() => {
                tokens.push(String::new());
                continue;
            }
            _ => {}
        }
        tokens.last_mut().expect("one at least").push(letter);
    }
    if let Some(missing) = open.pop() {
        return Err(format!("'{missing}' is missing"));
    }
    tokens.retain(|token| !token.is_empty());
    if tokens.is_empty() { Err("it is empty".to_owned()) } else { Ok(tokens) }
}

/// A token as a level, and whether it is a bare number.
fn read_level(token: &str) -> Result<(Option<Level>, bool), String> {
    if let Some(inside) = token.strip_prefix('[') {
        let inside = inside.strip_suffix(']').ok_or_else(|| format!("'{token}'"))?;
        let (word, attributes) = split_attributes(inside)?;
        if kind_of(word)? != Kind::NumaNode {
            return Err(format!("'{token}': only NUMA nodes can stand in square brackets"));
        }
        return Ok((Some(level(Kind::NumaNode, 1, attributes)?), false));
    }
    let (body, attributes) = split_attributes(token)?;
    if body.is_empty() {
        level(Kind::NumaNode, 1, attributes)?;
        return Ok((None, false));
    }
    let (kind, number, is_number) = match body.split_once(':') {
        Some((word, number)) => (kind_of(word)?, number, false),
        None if body.starts_with(|letter: char| letter.is_ascii_digit()) => {
            (Kind::Other, body, true)
        }
        None => return Err(format!("'{body}' has no number, such as {body}:2")),
    };
    let count = number.parse::<u64>().ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| format!("'{token}': '{number}' is no number of levels"))?;
    Ok((Some(level(kind, count, attributes)?), is_number))
}

/// `l3:2(size=16MB)` is `l3:2` and `size=16MB`.
fn split_attributes(token: &str) -> Result<(&str, &str), String> {
    match token.split_once('(') {
        None => Ok((token, "")),
        Some((body, rest)) => match rest.strip_suffix(')') {
            Some(inside) => Ok((body, inside)),
            None => Err(format!("'{token}': nothing may follow ')'")),
        },
    }
}

fn level(kind: Kind, count: u64, attributes: &str) -> Result<Level, String> {
    let mut level = Level { kind, count, bytes: None, indexes: None };
    for attribute in attributes.split_whitespace() {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match key {
            "size" | "memory" => level.bytes = Some(bytes(attribute, value)?),
            "indexes" => level.indexes = Some(value.to_owned()),
            // What a memory-side cache or a page size is, is nothing to us.
            _ => {
                return Err(format!("'{attribute}': known are size=, memory= and indexes="));
            }
        }
    }
    Ok(level)
}

/// A number of bytes; units as hwloc has them, 1000 for `MB` and 1024 for `MiB`.
fn bytes(attribute: &str, value: &str) -> Result<u64, String> {
    let end = value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(format!("'{attribute}': '{unit}' is no unit, such as MB or MiB")),
    };
    let number = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
    number.ok_or_else(|| format!("'{attribute}' is no number of bytes"))
}

fn kind_of(word: &str) -> Result<Kind, String> {
    let lower = word.to_ascii_lowercase();
    let is = |name: &str, letters: usize| lower.len() >= letters && name.starts_with(&lower);
    let cache = || {
        let rest = lower.strip_prefix('l')?;
        let level = rest.chars().next()?.to_digit(10).filter(|level| (1..=5).contains(level))?;
        match rest[1..].trim_end_matches("cache") {
            "" | "d" | "u" => Some(Kind::Cache(level)),
            "i" => Some(Kind::Other),
            _ => None,
        }
    };
    match lower.as_str() {
        "node" | "host" => Err(format!(
            "'{word}:' is a host, and several hosts on one are not built yet; NUMA nodes are \
             'numa:'"
        )),
        _ if is("package", 2) || is("socket", 2) => Ok(Kind::Package),
        _ if is("numanode", 2) => Ok(Kind::NumaNode),
        _ if is("core", 2) => Ok(Kind::Core),
        _ if is("pu", 2) || is("processor", 2) => Ok(Kind::Thread),
        _ if is("die", 2) || is("group", 2) || lower.starts_with("group") => Ok(Kind::Other),
        _ => cache().ok_or_else(|| {
            format!("'{word}' is no level; they are pack, die, group, numa, l1 to l5, core, pu")
        }),
    }
}

/// Adds the threads where they were left out, and refuses what is no machine.
fn check(levels: &mut Vec<Level>) -> Result<(), String> {
    if levels.last().is_none_or(|last| last.kind != Kind::Thread) {
        let one = |kind| Level { kind, count: 1, bytes: None, indexes: None };
        if !levels.iter().any(|level| level.kind == Kind::Core) {
            levels.push(one(Kind::Core));
        }
        levels.push(one(Kind::Thread));
    }
    for (at, level) in levels.iter().enumerate() {
        let before = &levels[..at];
        if level.kind != Kind::Other && before.iter().any(|other| other.kind == level.kind) {
            return Err(format!("two levels of {}", in_words(level.kind)));
        }
        let rank = |kind: Kind| match kind {
            Kind::Package | Kind::NumaNode | Kind::Other => 0,
            Kind::Cache(level) => 10 - level,
            Kind::Core => 10,
            Kind::Thread => 11,
        };
        let outside = before.iter().find(|other| {
            // A core may hold its own caches; a cache of a core holds no other core.
            let within = matches!((other.kind, level.kind), (Kind::Core, Kind::Cache(_)));
            !within && level.kind != Kind::Other && rank(other.kind) > rank(level.kind)
        });
        if let Some(outside) = outside {
            let (inner, outer) = (in_words(level.kind), in_words(outside.kind));
            return Err(format!("{inner} cannot be inside {outer}"));
        }
    }
    let total = width(levels, 0..levels.len());
    if total.is_none_or(|total| total > PROCESSORS_MAX) {
        return Err(format!("more than {PROCESSORS_MAX} processors"));
    }
    Ok(())
}

fn in_words(kind: Kind) -> String {
    match kind {
        Kind::Package => "packages".to_owned(),
        Kind::NumaNode => "NUMA nodes".to_owned(),
        Kind::Cache(level) => format!("L{level} caches"),
        Kind::Core => "cores".to_owned(),
        Kind::Thread => "processors".to_owned(),
        Kind::Other => "groups".to_owned(),
    }
}

/// How many objects of the last of these levels there are in one object above the first.
fn width(levels: &[Level], range: Range<usize>) -> Option<u64> {
    levels[range].iter().try_fold(1_u64, |product, level| product.checked_mul(level.count))
}

#[cfg(test)]
mod tests;

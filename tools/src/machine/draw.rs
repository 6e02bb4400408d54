// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine as text: a tree with its ranks. Cores that look alike share a line, so that a host of
//! 128 cores fits a screen, and no line is longer than its lists of numbers.
#![forbid(unsafe_code)]

use super::{Cache, Device, DeviceKind, Machine, Processor};
use crate::mpiexec::{rank_set, ranks_named};
use std::collections::HashMap;
use std::fmt::Write as _;

/// A core of the drawing.
struct Shown<'a> {
    /// Counted over the machine, as it is drawn.
    index: u32,
    first: &'a Processor,
    threads: &'a [u32],
    /// Which of its threads we may use.
    allowed: Vec<bool>,
    /// Ranks on each of its threads.
    ranks: Vec<Vec<u32>>,
}

impl Machine {
    /// The tree, below a title and some facts. `sets` are the processors of each rank; `None`: it
    /// is not bound.
    pub fn draw(&self, title: &str, facts: &[String], sets: &[Option<Vec<u32>>]) -> String {
        let memory: u64 = self.nodes.iter().map(|node| node.bytes).sum();
        let mut text = format!("{title}  {}", self.in_numbers());
        if memory > 0 {
            let _ = write!(text, ", {}", size(memory));
        }
        text.push('\n');
        for fact in facts {
            let _ = writeln!(text, "  {fact}");
        }
        let by_number: HashMap<u32, &Processor> =
            self.processors.iter().map(|processor| (processor.number, processor)).collect();
        let mut on: HashMap<u32, Vec<u32>> = HashMap::new();
        for (rank, set) in (0..).zip(sets) {
            for number in set.iter().flatten() {
                on.entry(*number).or_default().push(rank);
            }
        }
        let mut index = 0;
        let mut packages = Vec::new();
        for (package, cores) in self.cores() {
            let mut shown = Vec::new();
            for threads in cores {
                let Some(first) = threads.first().and_then(|number| by_number.get(number)) else {
                    continue;
                };
                let is_ours = |number: &u32| by_number.get(number).is_some_and(|p| p.allowed);
                let ranks_on = |number: &u32| on.get(number).cloned().unwrap_or_default();
                shown.push(Shown {
                    index,
                    first,
                    threads,
                    allowed: threads.iter().map(is_ours).collect(),
                    ranks: threads.iter().map(ranks_on).collect(),
                });
                index += 1;
            }
            packages.push((package, shown));
        }
        let all = || packages.iter().flat_map(|(_, cores)| cores);
        // What is the same everywhere is said once.
        let own = all().next().map(own_caches).unwrap_or_default();
        let is_same = all().all(|core| own_caches(core) == own);
        if is_same && !own.is_empty() {
            let _ = writeln!(text, "  each core: {own}");
        }
        for (package, cores) in &packages {
            let _ = writeln!(text, "  package {package}");
            self.draw_package(&mut text, cores, is_same);
        }
        self.draw_devices(&mut text);
        let free: Vec<u32> =
            (0..).zip(sets).filter(|(_, set)| set.is_none()).map(|(rank, _)| rank).collect();
        if !free.is_empty() {
            let _ = writeln!(text, "not bound: {}", ranks_named(&free));
        }
        text
    }

    /// NUMA nodes as they begin, and lines of cores.
    fn draw_package(&self, text: &mut String, cores: &[Shown<'_>], is_same: bool) {
        for here in cores.chunk_by(|a, b| a.first.node == b.first.node) {
            let number = here[0].first.node;
            if let Some(node) = self.nodes.iter().find(|one| Some(one.number) == number) {
                let bytes = if node.bytes > 0 { size(node.bytes) } else { String::new() };
                let line = format!("    NUMA node {}  {bytes}", node.number);
                let _ = writeln!(text, "{}", line.trim_end());
            }
            let mut rows = Vec::new();
            for group in here.chunk_by(|a, b| shared_cache(a) == shared_cache(b)) {
                let cache = shared_cache(&group[0]);
                let mut name = cache.map_or(String::new(), |cache| {
                    format!("L{} {}", cache.level, size(cache.bytes))
                });
                for run in runs(group) {
                    let own = if is_same { String::new() } else { own_caches(&run[0]) };
                    let [cores, processors, ranks] = row(run);
                    rows.push([std::mem::take(&mut name), cores, own, processors, ranks]);
                }
            }
            text.push_str(&aligned("      ", &rows));
        }
    }

    fn draw_devices(&self, text: &mut String) {
        let with_card = |device: &&Device| !device.near.is_empty() || device.node.is_some();
        let rows: Vec<[String; 5]> =
            self.devices.iter().filter(with_card).map(|device| self.row_of(device)).collect();
        text.push_str(&aligned("  ", &rows));
        let others: Vec<&str> = self
            .devices
            .iter()
            .filter(|device| !with_card(device))
            .map(|device| device.name.as_str())
            .collect();
        if !others.is_empty() {
            let _ = writeln!(text, "  no card behind: {}", shortened(&others));
        }
    }

    fn row_of(&self, device: &Device) -> [String; 5] {
        let kind = match device.kind {
            DeviceKind::Network => "network",
            DeviceKind::Fabric => "fabric",
        };
        let speed = device.megabits.map(|megabits| format!("{} Gbit/s", f64::from(megabits) / 1e3));
        let mut name = device.name.clone();
        if !device.interfaces.is_empty() {
            let _ = write!(name, " ({})", device.interfaces.join(", "));
        }
        let near = match (device.node, device.package) {
            (Some(node), Some(package)) => format!("NUMA node {node}, package {package}"),
            (Some(node), None) => format!("NUMA node {node}"),
            (None, Some(package)) => format!("package {package}"),
            (None, None) => "every package".to_owned(),
        };
        let state = device.state.clone().unwrap_or_default();
        [kind.to_owned(), name, state, speed.unwrap_or_default(), format!("near {near}")]
    }
}

/// The largest cache that other cores share.
fn shared_cache<'a>(core: &Shown<'a>) -> Option<&'a Cache> {
    core.first.caches.iter().rfind(|cache| cache.processors.len() > core.threads.len())
}

/// Neighbours that share a line: the same caches, the same threads allowed, and the same ranks or,
/// core by core, one rank each with the same distance to the one before.
fn runs<'a, 'b>(cores: &'b [Shown<'a>]) -> Vec<&'b [Shown<'a>]> {
    let mut runs = Vec::new();
    let mut first = 0;
    while first < cores.len() {
        let step = |at: usize| step(&cores[at], &cores[at + 1]);
        let mut last = first;
        while last + 1 < cores.len()
            && look_alike(&cores[last], &cores[last + 1])
            && step(last).is_some_and(|one| step(first) == Some(one))
        {
            last += 1;
        }
        runs.push(&cores[first..=last]);
        first = last + 1;
    }
    runs
}

fn look_alike(a: &Shown<'_>, b: &Shown<'_>) -> bool {
    a.allowed == b.allowed && own_caches(a) == own_caches(b)
}

/// From the rank of a core to that of the next; 0 where the same ranks have both.
fn step(a: &Shown<'_>, b: &Shown<'_>) -> Option<u32> {
    if a.ranks == b.ranks {
        return Some(0);
    }
    let both = is_one(a) && is_one(b);
    both.then(|| b.ranks[0][0].checked_sub(a.ranks[0][0])).flatten().filter(|step| *step > 0)
}

/// One rank has the whole core.
fn is_one(core: &Shown<'_>) -> bool {
    core.ranks[0].len() == 1 && core.ranks.iter().all(|ranks| *ranks == core.ranks[0])
}

fn own_caches(core: &Shown<'_>) -> String {
    let own = core.first.caches.iter().filter(|cache| cache.processors.len() <= core.threads.len());
    let own: Vec<String> =
        own.map(|cache| format!("L{} {}", cache.level, size(cache.bytes))).collect();
    own.join(", ")
}

/// Cores, their processors, their ranks.
fn row(cores: &[Shown<'_>]) -> [String; 3] {
    let (first, last) = (&cores[0], &cores[cores.len() - 1]);
    let name = match cores.len() {
        1 => format!("core {}", first.index),
        _ => format!("cores {}-{}", first.index, last.index),
    };
    let mut numbers: Vec<u32> = cores.iter().flat_map(|core| core.threads).copied().collect();
    numbers.sort_unstable();
    let mut processors = match numbers.len() {
        1 => format!("processor {}", numbers[0]),
        _ => format!("processors {}", rank_set(&numbers)),
    };
    let refused: Vec<u32> = cores
        .iter()
        .flat_map(|core| core.threads.iter().zip(&core.allowed))
        .filter(|(_, allowed)| !**allowed)
        .map(|(number, _)| *number)
        .collect();
    if refused.len() == numbers.len() {
        processors.push_str(" (not ours)");
    } else if !refused.is_empty() {
        let _ = write!(processors, " (not ours: {})", rank_set(&refused));
    }
    [name, processors, ranks_on(cores)]
}

fn ranks_on(cores: &[Shown<'_>]) -> String {
    let first = &cores[0];
    if let Some(step) = cores.get(1).and_then(|next| step(first, next)).filter(|step| *step > 0) {
        let last = cores[cores.len() - 1].ranks[0][0];
        let steps = if step > 1 { format!(" by {step}") } else { String::new() };
        return format!("ranks {}-{last}{steps}, one each", first.ranks[0][0]);
    }
    if first.ranks.iter().all(|ranks| *ranks == first.ranks[0]) {
        return if first.ranks[0].is_empty() {
            String::new()
        } else {
            ranks_named(&first.ranks[0])
        };
    }
    // Threads of one core with ranks of their own.
    let threads = first.threads.iter().zip(&first.ranks).filter(|(_, ranks)| !ranks.is_empty());
    let threads: Vec<String> =
        threads.map(|(number, ranks)| format!("{number}: {}", ranks_named(ranks))).collect();
    threads.join("; ")
}

/// Rows with aligned columns; columns that are empty everywhere are left out.
fn aligned<const N: usize>(indent: &str, rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let mut line = indent.to_owned();
        for (cell, width) in row.iter().zip(widths).filter(|(_, width)| *width > 0) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A list of names, of which the first suffice.
fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    match names.len() > SHOWN {
        true => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
        false => names.join(", "),
    }
}

/// Bytes in the largest unit that leaves a whole number, or one decimal.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (name, shift) in units {
        if bytes >= 1 << shift {
            let whole = bytes >> shift;
            return match bytes == whole << shift {
                true => format!("{whole} {name}"),
                false => format!("{:.1} {name}", bytes as f64 / (1_u64 << shift) as f64),
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests;

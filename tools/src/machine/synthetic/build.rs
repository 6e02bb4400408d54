// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From levels to a machine: each thread is asked in which object of each level it is.
#![forbid(unsafe_code)]

use super::{Kind, Level, width};
use crate::machine::{Cache, Machine, NumaNode, Processor};

/// What hwloc gives a cache without a size.
const CACHE_BYTES: [u64; 5] = [32 << 10, 4 << 20, 16 << 20, 64 << 20, 256 << 20];
/// ... and a NUMA node.
const NODE_BYTES: u64 = 1 << 30;

/// The machine of these levels, which were checked.
pub(super) fn machine(levels: &[Level]) -> Result<Machine, String> {
    let total = width(levels, 0..levels.len()).unwrap_or(0) as usize;
    let numbers = levels
        .iter()
        .enumerate()
        .map(|(at, level)| {
            let objects = width(levels, 0..at + 1).unwrap_or(0) as usize;
            match (&level.indexes, level.kind) {
                (Some(spec), Kind::Thread | Kind::NumaNode | Kind::Package) => {
                    indexes(spec, objects)
                }
                _ => Ok((0..objects as u32).collect()),
            }
        })
        .collect::<Result<Vec<Vec<u32>>, String>>()?;
    let threads = numbers.last().expect("a level of threads");
    // The threads that share an object of a level with thread `at`, as the kernel counts.
    let sharing = |level: usize, at: usize| {
        let each = total / numbers[level].len();
        let first = at / each * each;
        let mut set = threads[first..first + each].to_vec();
        set.sort_unstable();
        set
    };
    let object = |level: usize, at: usize| numbers[level][at * numbers[level].len() / total];
    let level_of = |kind: Kind| levels.iter().position(|level| level.kind == kind);
    let (package, node) = (level_of(Kind::Package), level_of(Kind::NumaNode));
    let core = level_of(Kind::Core).unwrap_or(levels.len() - 1);
    let mut cache_levels: Vec<(u32, usize)> =
        (1..=5).filter_map(|number| Some((number, level_of(Kind::Cache(number))?))).collect();
    cache_levels.sort_unstable();
    let mut processors: Vec<Processor> = (0..total)
        .map(|at| Processor {
            number: threads[at],
            package: package.map_or(0, |level| object(level, at)),
            core: sharing(core, at),
            node: Some(node.map_or(0, |level| object(level, at))),
            caches: cache_levels
                .iter()
                .map(|(number, level)| Cache {
                    level: *number,
                    bytes: levels[*level].bytes.unwrap_or(CACHE_BYTES[*number as usize - 1]),
                    processors: sharing(*level, at),
                })
                .collect(),
            allowed: true,
        })
        .collect();
    processors.sort_by_key(|processor| processor.number);
    let mut nodes: Vec<NumaNode> = match node {
        None => vec![node_of(0, NODE_BYTES, sharing_all(threads))],
        Some(level) => {
            let each = total / numbers[level].len();
            let bytes = levels[level].bytes.unwrap_or(NODE_BYTES);
            numbers[level]
                .iter()
                .enumerate()
                .map(|(index, number)| node_of(*number, bytes, sharing(level, index * each)))
                .collect()
        }
    };
    nodes.sort_by_key(|node| node.number);
    Ok(Machine { processors, nodes, devices: Vec::new() })
}

fn sharing_all(threads: &[u32]) -> Vec<u32> {
    let mut all = threads.to_vec();
    all.sort_unstable();
    all
}

fn node_of(number: u32, bytes: u64, processors: Vec<u32>) -> NumaNode {
    NumaNode { number, bytes, processors, distances: Vec::new() }
}

/// The numbers of a level's objects: a list, or loops of stride and count. `2*4:1*2` numbers every
/// second object first, four of them, then those beside them: 0 4 1 5 2 6 3 7.
fn indexes(spec: &str, objects: usize) -> Result<Vec<u32>, String> {
    let wrong = |why: &str| format!("indexes={spec}: {why}");
    let number = |text: &str| {
        text.parse::<u32>().map_err(|_| wrong("numbers, or loops such as 2*4:1*2, are expected"))
    };
    let numbers: Vec<u32> = if spec.contains('*') {
        let mut numbers = vec![0_u32; objects];
        let mut width = 1_u32;
        for part in spec.split(':') {
            let (stride, count) = part.split_once('*').ok_or_else(|| wrong("a loop has a '*'"))?;
            let (stride, count) = (number(stride)?.max(1), number(count)?.max(1));
            for (at, sum) in (0..).zip(&mut numbers) {
                *sum = sum.saturating_add((at / stride % count).saturating_mul(width));
            }
            width = width.saturating_mul(count);
        }
        if width as usize != objects {
            return Err(wrong(&format!("the loops make {width} numbers, and there are {objects}")));
        }
        numbers
    } else {
        spec.split(',').map(number).collect::<Result<_, _>>()?
    };
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    match (numbers.len() == objects, sorted.len() == numbers.len()) {
        (false, _) => Err(wrong(&format!("{} numbers for {objects}", numbers.len()))),
        (_, false) => Err(wrong("a number comes twice")),
        _ => Ok(numbers),
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From medians to rules: the shipped choice stays unless another one is clearly faster, and
//! neighbours with one choice become one rule.
#![forbid(unsafe_code)]

use super::super::evidence::{Evidence, Named};
use super::super::table::Hosts;
use super::race::SAMPLES_MIN;
use super::{Cell, Record};
use crate::kind::Kind;
use std::collections::BTreeMap;

/// By so much another algorithm must be faster than the shipped choice to take its place.
pub const CLEARLY: f64 = 0.03;

/// A rule that differs from the shipped table.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// What to take.
    pub named: Named,
    /// From and up to so many ranks.
    pub ranks: (u32, u32),
    /// Where they are.
    pub hosts: Hosts,
    /// From and up to so many bytes.
    pub bytes: (usize, usize),
}

/// What to take for a cell and why; `None` if too little of it was measured.
pub fn verdict(cell: &Cell) -> Option<Evidence> {
    let default = cell.default_times()?;
    let (best, least) = cell.best()?;
    let is_apart = least.high < default.low && least.us < default.us * (1.0 - CLEARLY);
    let is_clear = is_apart && least.samples.min(default.samples) >= SAMPLES_MIN;
    let chosen = if is_clear { (best, least) } else { (cell.default, default) };
    let others = cell.measured().filter(|(named, _)| *named != chosen.0);
    let runner_up = others.min_by(|a, b| a.1.us.total_cmp(&b.1.us));
    Some(Evidence {
        kind: cell.kind(),
        ranks: cell.ranks,
        hosts: cell.hosts,
        bytes: cell.bytes,
        chosen,
        default: (cell.default, default),
        runner_up,
    })
}

/// The verdicts of a record, ordered as rules are.
pub fn verdicts(record: &Record) -> Vec<Evidence> {
    let mut all: Vec<Evidence> = record.cells.iter().filter_map(verdict).collect();
    all.sort_by_key(|one| (place(one.kind), one.hosts.name(), one.ranks, one.bytes));
    all
}

fn place(kind: Kind) -> usize {
    Kind::ALL.iter().position(|one| *one == kind).unwrap_or(usize::MAX)
}

/// The rules. They reach to the middle between two measured sizes, and never beyond the measured
/// ones.
pub fn changes(verdicts: &[Evidence]) -> Vec<Change> {
    let mut rows: BTreeMap<(usize, &str), BTreeMap<u32, Vec<&Evidence>>> = BTreeMap::new();
    for one in verdicts {
        let ranks = rows.entry((place(one.kind), one.hosts.name())).or_default();
        ranks.entry(one.ranks).or_default().push(one);
    }
    rows.values().flat_map(merged).collect()
}

/// Rules of one kind; neighbouring numbers of ranks that want the same become one.
fn merged(rows: &BTreeMap<u32, Vec<&Evidence>>) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    let mut before = None;
    for (ranks, row) in rows {
        for run in runs(row) {
            let continued = all.iter_mut().find(|one| {
                Some(one.ranks.1) == before && one.named == run.named && one.bytes == run.bytes
            });
            match continued {
                Some(one) => one.ranks.1 = *ranks,
                None => all.push(run),
            }
        }
        before = Some(*ranks);
    }
    all
}

/// Runs of sizes with one choice that is not the shipped one.
fn runs(row: &[&Evidence]) -> Vec<Change> {
    let mut row = row.to_vec();
    row.sort_by_key(|one| one.bytes);
    let mut runs: Vec<Change> = Vec::new();
    let mut is_joined = false;
    for (index, one) in row.iter().enumerate() {
        if one.chosen.0 == one.default.0 {
            is_joined = false;
            continue;
        }
        let before = index.checked_sub(1).map(|index| row[index].bytes);
        let from = before.map_or(one.bytes, |before| middle(before, one.bytes) + 1);
        let to = row.get(index + 1).map_or(one.bytes, |next| middle(one.bytes, next.bytes));
        match runs.last_mut().filter(|run| is_joined && run.named == one.chosen.0) {
            Some(run) => run.bytes.1 = to,
            None => runs.push(Change {
                named: one.chosen.0,
                ranks: (one.ranks, one.ranks),
                hosts: one.hosts,
                bytes: (from, to),
            }),
        }
        is_joined = true;
    }
    runs
}

/// The geometric middle; at least the lower, and below the upper.
fn middle(lower: usize, upper: usize) -> usize {
    let middle = (lower as f64 * upper as f64).sqrt() as usize;
    middle.clamp(lower, upper.saturating_sub(1).max(lower))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Times, VERSION};
    use super::*;
    use crate::select::Measured;

    /// A cell of allreduce in which `fast` takes 5 us and all others, the shipped choice included,
    /// 10 us.
    pub fn cell(ranks: u32, bytes: usize, fast: &str) -> Cell {
        let mut cell = Cell::new(Kind::Allreduce, ranks, Hosts::One, bytes);
        for candidate in &mut cell.candidates {
            let us = if candidate.named.short() == fast { 5.0 } else { 10.0 };
            candidate.times = Some(Times { us, low: us - 0.1, high: us + 0.1, samples: 40 });
        }
        cell
    }

    pub fn record(cells: Vec<Cell>) -> Record {
        Record { version: VERSION, measured: Measured::default(), cells }
    }

    /// An algorithm, and from which to which ranks and bytes.
    type Found = (String, (u32, u32), (usize, usize));

    fn changes_of(cells: Vec<Cell>) -> Vec<Found> {
        let changes = changes(&verdicts(&record(cells)));
        changes.into_iter().map(|one| (one.named.short(), one.ranks, one.bytes)).collect()
    }

    #[test]
    fn noise_changes_nothing() {
        let mut noisy = cell(4, 8, "ring");
        let set = |cell: &mut Cell, low, us, high| {
            let ring = cell.candidates.iter_mut().find(|one| one.named.short() == "ring").unwrap();
            ring.times = Some(Times { us, low, high, samples: 40 });
        };
        assert_eq!(verdict(&noisy).unwrap().chosen.0.short(), "ring");
        set(&mut noisy, 5.0, 8.0, 10.5);
        assert_eq!(verdict(&noisy).unwrap().chosen.0, noisy.default, "the intervals meet");
        set(&mut noisy, 9.79, 9.8, 9.81);
        assert_eq!(verdict(&noisy).unwrap().chosen.0, noisy.default, "2 % are too little");
        assert_eq!(verdict(&noisy).unwrap().runner_up.unwrap().0.short(), "ring");
        let mut hasty = cell(4, 8, "ring");
        hasty.candidates.iter_mut().for_each(|one| one.times.as_mut().unwrap().samples = 20);
        assert_eq!(verdict(&hasty).unwrap().chosen.0, hasty.default, "one round is not enough");
        let mut bare = Cell::new(Kind::Allreduce, 4, Hosts::One, 8);
        assert!(verdict(&bare).is_none(), "nothing was measured");
        set(&mut bare, 1.0, 1.0, 1.0);
        assert!(verdict(&bare).is_none(), "nothing is known of the shipped choice");
    }

    #[test]
    fn neighbours_with_one_choice_become_one_rule() {
        let cells = |ranks| [8, 32, 128].map(|bytes| cell(ranks, bytes, "ring")).to_vec();
        let found = changes_of([cells(2), cells(4)].concat());
        assert_eq!(found, [("ring".to_owned(), (2, 4), (8, 128))]);
    }

    #[test]
    fn another_choice_between_ends_a_rule() {
        let names = ["ring", "circulant", "none", "ring"];
        let cells = [8, 32, 128, 512].iter().zip(names).map(|(bytes, name)| cell(4, *bytes, name));
        let found = changes_of(cells.collect());
        let rule = |name: &str, bytes| (name.to_owned(), (4, 4), bytes);
        assert_eq!(
            found,
            [rule("ring", (8, 16)), rule("circulant", (17, 64)), rule("ring", (257, 512))]
        );
        let apart = [cell(2, 8, "ring"), cell(3, 8, "none"), cell(4, 8, "ring")];
        let found = changes_of(apart.to_vec());
        assert_eq!(found.len(), 2, "three ranks want something else: {found:?}");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From measurements to a table: what `strait tune` keeps, how it drops losers, what it writes.
//!
//! Nothing here measures, waits or does input and output: [`Record`] is what a run keeps in a file,
//! [`race`] says who goes on, [`decide`] makes rules of the medians, [`write`](mod@write) the text
//! of the table.
#![forbid(unsafe_code)]

pub mod decide;
pub mod race;
pub mod write;

use super::evidence::{Measured, Named, Times};
use super::table::{Circumstances, Hosts, choose_shipped};
use crate::algorithm::{ALL, Algorithm, Parameters};
use crate::kind::Kind;
use crate::shape::Shape;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The form of the file that a run is kept in.
pub const VERSION: u32 = 1;

/// What is asked of the ranks, as `strait tune` hands it to them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// Which collectives; none: all that have a choice.
    pub collectives: Vec<String>,
    /// Sizes, in bytes.
    pub bytes: Vec<usize>,
    /// Numbers of ranks; none: all ranks of the job.
    pub ranks: Vec<u32>,
    /// Seconds that it may take.
    pub budget: f64,
    /// Where the run is kept.
    pub state: PathBuf,
    /// Go on with what is kept there.
    pub resume: bool,
    /// The order of measurements is drawn from it.
    pub seed: u64,
    /// Look at guidelines instead.
    pub check: bool,
    /// The program that makes table and report of the record, with its arguments.
    pub then: Vec<String>,
}

/// All that a run has measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Where and when.
    pub measured: Measured,
    /// What was asked for.
    pub cells: Vec<Cell>,
}

/// One call: who can serve it, and how fast.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Ranks.
    pub ranks: u32,
    /// Where they are.
    pub hosts: Hosts,
    /// As rules count them.
    pub bytes: usize,
    /// What the shipped table takes.
    pub default: Named,
    /// All that can serve it.
    pub candidates: Vec<Candidate>,
}

/// An algorithm with parameters, as far as it was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub named: Named,
    /// Microseconds of single calls, each the maximum over ranks.
    pub samples: Vec<f64>,
    /// Their median, once there are enough.
    pub times: Option<Times>,
    /// It lost clearly, and is not measured any more.
    pub dropped: bool,
}

/// Parameters that are tried beside the usual ones.
const WINDOWS: &[u32] = &[1, 4, 16, 64];
const RADICES: &[u32] = &[2, 3, 4, 8];
const SEGMENTS: &[u32] = &[2, 8, 32];

/// The kinds among whose algorithms or parameters there is a choice, without those of neighbours.
pub fn tunable() -> impl Iterator<Item = Kind> {
    let has_choice = |kind: &Kind| {
        let call = Circumstances { bytes: 8, commutes: true, hosts: Hosts::Several };
        !kind.has_neighbors() && candidates(*kind, 9, call).len() > 1
    };
    Kind::ALL.into_iter().filter(has_choice)
}

/// Everything that can serve such a call, with parameters that make a difference.
pub fn candidates(kind: Kind, ranks: u32, call: Circumstances) -> Vec<Named> {
    let shape = Shape::new(kind, ranks);
    let mut all = Vec::new();
    for algorithm in ALL.iter().filter(|one| one.kind == kind && !one.inter) {
        for parameters in variants(algorithm, ranks) {
            if super::force(algorithm, parameters, &shape, call.commutes).is_some() {
                all.push(Named { algorithm, parameters });
            }
        }
    }
    all
}

/// Different parameters that give this algorithm different schedules over so many ranks.
fn variants(algorithm: &'static Algorithm, ranks: u32) -> Vec<Parameters> {
    let usual = Parameters::default();
    let windows = WINDOWS.iter().map(|window| Parameters { window: *window, ..usual });
    let radices = RADICES.iter().map(|radix| Parameters { radix: *radix, ..usual });
    let segments = SEGMENTS.iter().map(|segments| Parameters { segments: *segments, ..usual });
    let middle = ranks / 2;
    let steps = |parameters| {
        let wanted = super::force(algorithm, parameters, &Shape::new(algorithm.kind, ranks), true)?;
        let of = |rank| Some(algorithm.schedule(&wanted.shape, parameters, rank).ok()?.to_string());
        Some([of(0)?, of(middle)?])
    };
    let mut seen = vec![(usual, steps(usual))];
    for parameters in windows.chain(radices).chain(segments) {
        let steps = steps(parameters);
        if seen.iter().all(|(_, known)| *known != steps) {
            seen.push((parameters, steps));
        }
    }
    seen.into_iter().filter(|(_, steps)| steps.is_some()).map(|(one, _)| one).collect()
}

impl Cell {
    /// An unmeasured one.
    pub fn new(kind: Kind, ranks: u32, hosts: Hosts, bytes: usize) -> Cell {
        let call = Circumstances { bytes, commutes: true, hosts };
        let plan = choose_shipped(&Shape::new(kind, ranks), call);
        let default = Named { algorithm: plan.algorithm, parameters: plan.parameters };
        let mut all = candidates(kind, ranks, call);
        if !all.contains(&default) {
            // Its parameters are none of those that are tried, or change nothing here.
            all.retain(|one| {
                one.algorithm.name != default.algorithm.name
                    || one.parameters != Parameters::default()
            });
            all.push(default);
        }
        let candidate =
            |named| Candidate { named, samples: Vec::new(), times: None, dropped: false };
        Cell { ranks, hosts, bytes, default, candidates: all.into_iter().map(candidate).collect() }
    }

    /// Its collective.
    pub fn kind(&self) -> Kind {
        self.default.algorithm.kind
    }

    /// Whether it is the same call, whatever was measured of it.
    pub fn is_same_call(&self, other: &Cell) -> bool {
        let key = |cell: &Cell| (cell.kind(), cell.ranks, cell.hosts, cell.bytes);
        key(self) == key(other)
    }

    /// The fastest as far as is known.
    pub fn best(&self) -> Option<(Named, Times)> {
        self.measured().min_by(|a, b| a.1.us.total_cmp(&b.1.us))
    }

    /// Whoever has times.
    pub fn measured(&self) -> impl Iterator<Item = (Named, Times)> {
        self.candidates.iter().filter_map(|one| Some((one.named, one.times?)))
    }

    /// The times of what the shipped table takes.
    pub fn default_times(&self) -> Option<Times> {
        self.measured().find(|(named, _)| *named == self.default).map(|(_, times)| times)
    }
}

impl Record {
    /// The cells of this record, with what an earlier one has measured of the same calls.
    pub fn take_over(&mut self, earlier: Record) {
        for old in earlier.cells {
            if let Some(cell) = self.cells.iter_mut().find(|cell| cell.is_same_call(&old)) {
                for candidate in &mut cell.candidates {
                    let known = old.candidates.iter().find(|one| one.named == candidate.named);
                    if let Some(known) = known {
                        *candidate = known.clone();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_can_serve_and_no_two_are_the_same() {
        for kind in tunable() {
            for ranks in [2, 4, 9] {
                let cell = Cell::new(kind, ranks, Hosts::One, 1024);
                assert!(cell.candidates.iter().any(|one| one.named == cell.default), "{cell:?}");
                for (index, one) in cell.candidates.iter().enumerate() {
                    let twice = cell.candidates[..index].iter().any(|two| two.named == one.named);
                    assert!(!twice, "{:?}", one.named);
                }
            }
        }
        let kinds: Vec<Kind> = tunable().collect();
        assert!(kinds.contains(&Kind::Allreduce) && kinds.contains(&Kind::Bcast), "{kinds:?}");
        assert!(!kinds.contains(&Kind::Scan), "{kinds:?}");
    }

    #[test]
    fn a_record_goes_on_where_an_earlier_one_ended() {
        let fresh = |bytes| Cell::new(Kind::Bcast, 4, Hosts::One, bytes);
        let record = |cells| Record { version: VERSION, measured: Measured::default(), cells };
        let mut earlier = record(vec![fresh(8), fresh(16)]);
        earlier.cells[1].candidates[0].samples = vec![1.0, 2.0];
        earlier.cells[1].candidates[0].dropped = true;
        let text = toml::to_string(&earlier).unwrap();
        let earlier: Record = toml::from_str(&text).unwrap();
        let mut now = record(vec![fresh(16), fresh(32)]);
        now.take_over(earlier.clone());
        assert_eq!(now.cells[0], earlier.cells[1]);
        assert_eq!(now.cells[1], fresh(32));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is measured, on which ranks, and how one call is timed.
//!
//! The time of a call is the longest of its ranks' times, as each reads its own clock around it; a
//! barrier on another communicator, outside the time, keeps the ranks together between calls.

use crate::benchmark::{Case, Pass};
use crate::collective::call::Call;
use crate::collective::{Operation, operations};
use crate::datatype::Type;
use crate::mpi::World;
use crate::mpi::raw::MAX;
use crate::options::Options;
use strait_collectives::kind::Kind;
use strait_collectives::select::Hosts;
use strait_collectives::select::tuning::{Cell, Request, tunable};

/// Untimed calls before the timed ones.
const WARMUP: usize = 3;

/// Some ranks of the job, twice: for the calls that are timed, which go by messages, and for
/// all else.
pub struct Team {
    pub ranks: usize,
    pub hosts: Hosts,
    pub timed: World,
    pub kept: World,
}

/// What all ranks agree on.
pub struct Field {
    pub world: World,
    pub teams: Vec<Team>,
    pub cells: Vec<Cell>,
}

/// What rank 0 tells the others.
enum Order {
    End { is_well: bool },
    Measure(Task),
}

/// Calls of one candidate in one cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Task {
    pub cell: usize,
    pub candidate: usize,
    pub count: usize,
    /// None was made before: its bytes are looked at.
    pub is_first: bool,
}

impl Order {
    fn words(&self) -> [f64; 5] {
        match self {
            Order::End { is_well } => [0.0, f64::from(u8::from(*is_well)), 0.0, 0.0, 0.0],
            Order::Measure(task) => {
                let is_first = f64::from(u8::from(task.is_first));
                [1.0, task.cell as f64, task.candidate as f64, task.count as f64, is_first]
            }
        }
    }

    fn of(words: [f64; 5]) -> Order {
        match words {
            [0.0, is_well, ..] => Order::End { is_well: is_well != 0.0 },
            [_, cell, candidate, count, is_first] => Order::Measure(Task {
                cell: cell as usize,
                candidate: candidate as usize,
                count: count as usize,
                is_first: is_first != 0.0,
            }),
        }
    }
}

impl Field {
    /// Teams and cells, the same at every rank.
    pub fn new(world: &World, request: &Request) -> Result<Field, String> {
        if world.size < 2 {
            return Err("one rank has nothing to tune: mpiexec -n 4 strait tune, or \
                        strait tune -n 4"
                .into());
        }
        let mut counts: Vec<usize> = request.ranks.iter().map(|ranks| *ranks as usize).collect();
        if counts.is_empty() {
            counts.push(world.size);
        }
        counts.sort_unstable();
        counts.dedup();
        if let Some(bad) = counts.iter().find(|count| !(2..=world.size).contains(*count)) {
            return Err(format!("--ranks {bad}: this job has {}, and 2 is the least", world.size));
        }
        let kinds = kinds(request)?;
        let teams: Vec<Team> = counts.iter().map(|count| team(world, *count)).collect();
        let mut cells = Vec::new();
        for team in &teams {
            // Who is not in the team sees other hosts; what rank 0 sees counts.
            let is_one = world.share(f64::from(u8::from(team.hosts == Hosts::One)));
            let hosts = if is_one == 1.0 { Hosts::One } else { Hosts::Several };
            for kind in &kinds {
                let fits = |bytes: &&usize| !kind.reduces() || **bytes >= Type::Int.size();
                let sizes: Vec<usize> = match kind {
                    Kind::Barrier => vec![0],
                    _ => request.bytes.iter().filter(fits).copied().collect(),
                };
                let cell = |bytes| Cell::new(*kind, team.ranks as u32, hosts, bytes);
                cells.extend(sizes.into_iter().map(cell).filter(|cell| cell.candidates.len() > 1));
            }
        }
        if cells.is_empty() && !request.check {
            return Err("none of these calls has a choice of algorithms".into());
        }
        Ok(Field { world: *world, teams, cells })
    }

    /// At rank 0: all measure; the times in microseconds.
    pub fn measure(&self, task: Task) -> Result<Vec<f64>, String> {
        self.world.tell(&mut Order::Measure(task).words());
        self.obey(task)
    }

    /// At rank 0: the others need not wait any more.
    pub fn end(&self, is_well: bool) {
        self.world.tell(&mut Order::End { is_well }.words());
    }

    /// At the others: what rank 0 says, until it ends.
    pub fn follow(&self) -> Result<(), String> {
        loop {
            let mut words = [0.0; 5];
            self.world.tell(&mut words);
            match Order::of(words) {
                Order::End { is_well: true } => return Ok(()),
                Order::End { is_well: false } => return Err("rank 0 gave up".into()),
                Order::Measure(task) => {
                    self.obey(task)?;
                }
            }
        }
    }

    fn obey(&self, task: Task) -> Result<Vec<f64>, String> {
        let cell = &self.cells[task.cell];
        let named = cell.candidates[task.candidate].named;
        let is_its = |team: &&Team| team.ranks == cell.ranks as usize;
        let team = self.teams.iter().find(is_its).expect("cells are made of teams");
        let mut is_right = true;
        let mut times = Vec::new();
        if self.world.rank < team.ranks {
            team.timed.hint(HINT, &named.to_string());
            let operation = operation(cell.kind());
            let mut call = call(&team.timed, operation, cell.bytes);
            if task.is_first {
                is_right = validate(team, operation, &mut call);
            }
            times = timed(&team.kept, WARMUP, task.count, || {
                // SAFETY: the call was made for this operation, and all ranks of it are here.
                unsafe { (operation.blocking)(&call) }
            });
        }
        match self.world.all(is_right) {
            true => Ok(times),
            false => Err(format!("{named} over {} ranks gave wrong bytes", team.ranks)),
        }
    }
}

/// The info keys of Strait's libraries (docs/selection.md).
const HINT: &std::ffi::CStr = c"strait_algorithm";
const HOSTS: &std::ffi::CStr = c"strait_hosts";

fn kinds(request: &Request) -> Result<Vec<Kind>, String> {
    let all: Vec<Kind> = tunable().collect();
    if request.collectives.is_empty() {
        return Ok(all);
    }
    let known = || all.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    let of = |name: &String| {
        let found = all.iter().find(|kind| kind.name() == name);
        found.copied().ok_or_else(|| format!("--collectives {name}: there is {}", known()))
    };
    request.collectives.iter().map(of).collect()
}

fn team(world: &World, count: usize) -> Team {
    let (timed, kept) = (world.first(count), world.first(count));
    // Before its first collective call, so that it goes by messages.
    timed.hint(HINT, "allreduce recursive_doubling");
    let hosts = match timed.told(HOSTS).as_deref() {
        Some("one") => Hosts::One,
        _ => Hosts::Several,
    };
    Team { ranks: count, hosts, timed, kept }
}

/// The operation of a kind.
pub fn operation(kind: Kind) -> Operation {
    let found = operations().into_iter().find(|one| one.name == kind.name());
    found.expect("every tunable kind has one; a test shows it")
}

/// Its arguments; `bytes` as the tuning table counts them.
pub fn call(world: &World, operation: Operation, bytes: usize) -> Call {
    let is_shared = operation.name == "reduce_scatter";
    let datatype = if operation.movement.sums() { Type::Int } else { Type::Char };
    let size = if is_shared { bytes * world.size } else { bytes };
    let (pass, window) = (Pass::Plain, 1);
    let case = Case { size, datatype, window, iterations: 1, warmup: 0, pass };
    Call::new(operation.movement, world, &Options::default(), &case)
}

/// Whether all bytes of one call are right at this rank.
fn validate(team: &Team, operation: Operation, call: &mut Call) -> bool {
    call.fill(1);
    team.kept.barrier();
    // SAFETY: the call was made for this operation, and all ranks of it are here.
    unsafe { (operation.blocking)(call) };
    call.holds(1)
}

/// Microseconds of single calls, each the maximum over the ranks of `kept`; at its rank 0 only.
pub fn timed(kept: &World, warmup: usize, count: usize, mut act: impl FnMut()) -> Vec<f64> {
    let mut times = vec![0.0; count];
    for round in 0..warmup + count {
        kept.barrier();
        let began = kept.now();
        act();
        let took = kept.now() - began;
        if let Some(round) = round.checked_sub(warmup) {
            times[round] = took * 1e6;
        }
    }
    kept.reduce(MAX, &mut times);
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tunable_kind_has_an_operation() {
        tunable().for_each(|kind| assert_eq!(operation(kind).name, kind.name()));
    }

    #[test]
    fn orders_are_understood() {
        let task = Task { cell: 7, candidate: 3, count: 20, is_first: true };
        let heard = Order::of(Order::Measure(task).words());
        assert!(matches!(heard, Order::Measure(heard) if heard == task));
        let heard = Order::of(Order::End { is_well: true }.words());
        assert!(matches!(heard, Order::End { is_well: true }));
    }
}

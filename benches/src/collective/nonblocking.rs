// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Non-blocking collectives: how much of their time can be hidden behind computing.
//!
//! First the operation alone, its wait at once (Pure Comm.). Then the same with as much computing
//! between call and wait as the operation alone took (Overall), in the middle of which MPI_Test
//! is called as often as `-t` says, by default never: a library that progresses only in calls
//! then cannot overlap anything.
//!
//! Overlap = max(0, 100 - 100 * (Overall - Compute) / Pure), as the OSU micro-benchmarks define
//! it. It says nothing of computing that got slower because somebody else used the core; that is
//! the column slowdown: Compute divided by the time of the same work alone.

use super::Collective;
use super::call::Call;
use super::compute::{Work, work};
use crate::benchmark::{Case, Column, Measured, Pass, Shown};
use crate::mpi::raw::{MAX, MIN, REQUEST_NULL, SUM};
use crate::mpi::{self, World};
use crate::options::Options;

pub const NOTE: &str = "# Overall = Coll. Init + Compute + MPI_Test + MPI_Wait\n\n";

pub const COLUMNS: &[Column] = &[
    Column::less("overall", "Overall(us)", "us"),
    Column::less("compute", "Compute(us)", "us"),
    Column::less("init", "Coll. Init(us)", "us").only(Shown::Full),
    Column::less("test", "MPI_Test(us)", "us").only(Shown::Full),
    Column::less("wait", "MPI_Wait(us)", "us").only(Shown::Full),
    Column::less("pure", "Pure Comm.(us)", "us"),
    Column::less("pure_min", "Min Comm.(us)", "us").only(Shown::Full),
    Column::less("pure_max", "Max Comm.(us)", "us").only(Shown::Full),
    Column::more("overlap", "Overlap(%)", "%"),
    Column::less("slowdown", "Slowdown", "x").only(Shown::Ours),
];

/// Seconds of one operation with computing, or sums of many.
#[derive(Clone, Copy, Default)]
struct Times {
    overall: f64,
    init: f64,
    compute: f64,
    test: f64,
    wait: f64,
}

pub fn measure<C: Collective>(world: &World, options: &Options, case: &Case) -> Measured {
    let mut call = Call::new(C::MOVEMENT, world, options, case);
    let (pure, first) = pure::<C>(&mut call, case);
    let amount = Work::lasting(pure, || world.now());
    world.barrier();
    let (times, second) = overlapped::<C>(&mut call, options, case, amount);
    let count = case.iterations as f64;
    let mut sum = times.iter().fold(Times::default(), |sum, one| Times {
        overall: sum.overall + one.overall,
        init: sum.init + one.init,
        compute: sum.compute + one.compute,
        test: sum.test + one.test,
        wait: sum.wait + one.wait,
    });
    sum.compute -= sum.test;
    let Times { overall, init, compute, test, wait } = sum;
    let mut total = [overall, compute, init, test, wait, pure * count].map(|t| t * 1e6 / count);
    let (mut least, mut most) = ([total[5]], [total[5]]);
    let mut slowdown = [compute / count / amount.alone];
    let ranks = world.size as f64;
    world.reduce(SUM, &mut total);
    world.reduce(MIN, &mut least);
    world.reduce(MAX, &mut most);
    world.reduce(SUM, &mut slowdown);
    let [overall, compute, init, test, wait, pure] = total.map(|sum| sum / ranks);
    let overlap = overlap(overall, compute, pure);
    let slowdown = slowdown[0] / ranks;
    let values =
        vec![overall, compute, init, test, wait, pure, least[0], most[0], overlap, slowdown];
    let mut singles: Vec<f64> = times.iter().map(|one| one.overall * 1e6 / ranks).collect();
    world.reduce(SUM, &mut singles);
    let valid = case.pass != Pass::Validated || world.all(first && second);
    if case.pass != Pass::Singles {
        singles.clear();
    }
    Measured { values, least: overall, most: overall, singles, valid }
}

/// Percent of the communication that was hidden.
fn overlap(overall: f64, compute: f64, pure: f64) -> f64 {
    if pure > 0.0 { (100.0 - 100.0 * (overall - compute) / pure).max(0.0) } else { 0.0 }
}

/// Seconds of the operation alone, at this rank.
fn pure<C: Collective>(call: &mut Call, case: &Case) -> (f64, bool) {
    let world = call.world;
    let (mut sum, mut valid) = (0.0, true);
    for round in 0..case.warmup + case.iterations {
        call.next_root(round);
        prepare(call, case, round);
        let mut request = REQUEST_NULL;
        let began = world.now();
        // SAFETY: the call was made for this collective, all ranks are here, and the request
        // ends in the next line.
        unsafe { C::immediate(call, &mut request) };
        mpi::wait(&mut request);
        let took = world.now() - began;
        valid &= case.pass != Pass::Validated || call.holds(round as u64);
        if round >= case.warmup {
            sum += took;
        }
        world.barrier();
    }
    (sum / case.iterations as f64, valid)
}

fn overlapped<C: Collective>(
    call: &mut Call,
    options: &Options,
    case: &Case,
    amount: Work,
) -> (Vec<Times>, bool) {
    let world = call.world;
    let mut all = vec![Times::default(); case.iterations];
    let mut valid = true;
    for round in 0..case.warmup + case.iterations {
        call.next_root(round);
        prepare(call, case, round);
        let mut request = REQUEST_NULL;
        let mut times = Times::default();
        let began = world.now();
        // SAFETY: the call was made for this collective, all ranks are here, and the request
        // ends in the wait below.
        unsafe { C::immediate(call, &mut request) };
        let started = world.now();
        if options.tests == 0 {
            work(amount.units);
        } else {
            times.test = tested_work(&world, amount.units, options.tests, &mut request);
        }
        let computed = world.now();
        mpi::wait(&mut request);
        let ended = world.now();
        times = Times {
            overall: ended - began,
            init: started - began,
            compute: computed - started,
            wait: ended - computed,
            ..times
        };
        valid &= case.pass != Pass::Validated || call.holds(round as u64);
        if let Some(round) = round.checked_sub(case.warmup) {
            all[round] = times;
        }
        world.barrier();
    }
    (all, valid)
}

/// The work in pieces with MPI_Test between them, until it says that the operation has ended.
/// Answers the seconds spent in MPI_Test.
fn tested_work(world: &World, units: usize, tests: usize, request: &mut mpi::raw::Request) -> f64 {
    let (mut seconds, mut ended) = (0.0, false);
    let piece = units / (tests + 1);
    for _ in 0..tests {
        work(piece);
        if !ended {
            let began = world.now();
            ended = mpi::test(request);
            seconds += world.now() - began;
        }
    }
    work(units - piece * tests);
    seconds
}

fn prepare(call: &mut Call, case: &Case, round: usize) {
    if case.pass == Pass::Validated {
        call.fill(round as u64);
        call.world.barrier();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_what_does_not_add_to_the_computing() {
        assert_eq!(overlap(10.0, 10.0, 4.0), 100.0);
        assert_eq!(overlap(14.0, 10.0, 4.0), 0.0);
        assert_eq!(overlap(12.0, 10.0, 4.0), 50.0);
        assert_eq!(overlap(20.0, 10.0, 4.0), 0.0);
    }
}

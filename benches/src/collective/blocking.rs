// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blocking collectives: the clock is read around each call, and a barrier, outside the time,
//! keeps the ranks together between calls. A rank's time is the mean of its calls; the result is
//! the mean of the ranks' times.

use super::Collective;
use super::call::Call;
use crate::benchmark::{Case, Measured, Pass};
use crate::mpi::World;
use crate::mpi::raw::{MAX, MIN, SUM};
use crate::options::Options;
use crate::statistics::mean;

pub fn measure<C: Collective>(world: &World, options: &Options, case: &Case) -> Measured {
    let mut call = Call::new(C::MOVEMENT, world, options, case);
    let (times, valid) = timed(&mut call, options, case, |call| {
        // SAFETY: the call was made for this collective, and all ranks are here.
        unsafe { C::blocking(call) }
    });
    summary(world, case, times, valid)
}

/// The times of all counted calls at this rank, and whether all bytes were right.
pub fn timed(
    call: &mut Call,
    options: &Options,
    case: &Case,
    mut operation: impl FnMut(&Call),
) -> (Vec<f64>, bool) {
    let world = call.world;
    let validated = case.pass == Pass::Validated;
    // An operation in place changes its own input: it cannot be repeated unseen.
    let unseen = if options.in_place { 0 } else { options.validate_warmup };
    let mut times = vec![0.0; case.iterations];
    let mut valid = true;
    for round in 0..case.warmup + case.iterations {
        call.next_root(round);
        if validated {
            call.fill(round as u64);
            world.barrier();
            (0..unseen).for_each(|_| operation(call));
        }
        let began = world.now();
        operation(call);
        let took = world.now() - began;
        if validated {
            valid &= call.holds(round as u64);
        }
        if let Some(round) = round.checked_sub(case.warmup) {
            times[round] = took;
        }
        world.barrier();
    }
    (times, valid)
}

/// All ranks' times in one.
pub fn summary(world: &World, case: &Case, mut times: Vec<f64>, valid: bool) -> Measured {
    let own = mean(&times) * 1e6;
    let (mut total, mut least, mut most) = ([own], [own], [own]);
    world.reduce(SUM, &mut total);
    world.reduce(MIN, &mut least);
    world.reduce(MAX, &mut most);
    let valid = case.pass != Pass::Validated || world.all(valid);
    let ranks = world.size as f64;
    let singles = if case.pass == Pass::Singles {
        world.reduce(SUM, &mut times);
        times.iter().map(|time| time * 1e6 / ranks).collect()
    } else {
        Vec::new()
    };
    Measured { values: vec![total[0] / ranks], least: least[0], most: most[0], singles, valid }
}

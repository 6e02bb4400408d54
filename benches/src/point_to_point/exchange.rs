// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How turns between pairs of ranks are timed.
//!
//! - Plain: the clock is read before the first turn and after the last one; the loop between has
//!   nothing but the turns.
//! - Singles: it is read around each turn. Its own cost is then part of each time.
//! - Validated: each turn has its own bytes, written before and compared afterwards, outside the
//!   time. Turns that warm up come between the writing and the timed one, since writing has just
//!   moved the caches.
//!
//! Not here: any correction for the cost of the clock.

use crate::benchmark::{Case, Measured, Pass};
use crate::datatype::Type;
use crate::mpi::World;
use crate::mpi::raw::SUM;
use crate::options::{Created, Options, Sync};
use crate::point_to_point::pairs;

/// Where this rank stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    First,
    Second,
    /// Outside the pairs.
    Idle,
}

/// What an exchange needs to know.
#[derive(Clone, Copy)]
pub struct Setting {
    pub world: World,
    pub role: Role,
    /// The other rank of the pair.
    pub peer: usize,
    pub pairs: usize,
    pub size: usize,
    pub datatype: Type,
    pub window: usize,
    /// Has each message of a window its own buffer?
    pub many_buffers: bool,
    /// Of one-sided benchmarks.
    pub sync: Option<Sync>,
    pub memory_of: Created,
}

impl Setting {
    pub fn new(world: &World, options: &Options, case: &Case) -> Setting {
        let pairs = pairs(options, world.size);
        let (role, peer) = match world.rank {
            rank if rank < pairs => (Role::First, rank + pairs),
            rank if rank < 2 * pairs => (Role::Second, rank - pairs),
            rank => (Role::Idle, rank),
        };
        Setting {
            world: *world,
            role,
            peer,
            pairs,
            size: case.size,
            datatype: case.datatype,
            window: case.window,
            // What is checked must not be overwritten by the next message of the window.
            many_buffers: options.many_buffers || case.pass == Pass::Validated,
            sync: options.sync,
            memory_of: options.memory_of,
        }
    }

    /// Microseconds of one way, from the seconds of a turn there and back.
    pub fn latency(&self, seconds: f64) -> f64 {
        seconds * 1e6 / 2.0
    }

    /// Megabytes (10^6) a second of all pairs.
    pub fn bandwidth(&self, seconds: f64, directions: usize) -> f64 {
        (self.size * self.window * self.pairs * directions) as f64 / 1e6 / seconds
    }
}

/// What the two ranks of a pair do.
pub trait Exchange: Sized {
    fn new(setting: &Setting) -> Self;

    /// One turn: MPI calls only.
    fn turn(&mut self);

    /// Writes the bytes that will be sent in this round, and wipes those that will be received.
    fn fill(&mut self, round: u64);

    /// Are the bytes received those of this round?
    fn holds(&self, round: u64) -> bool;

    /// The values of the benchmark's columns, from the seconds of one turn.
    fn values(setting: &Setting, seconds: f64) -> Vec<f64>;
}

pub fn measure<E: Exchange>(world: &World, options: &Options, case: &Case) -> Measured {
    let setting = Setting::new(world, options, case);
    let mut exchange = E::new(&setting);
    let (mut seconds, mut times, valid) = match case.pass {
        Pass::Plain => (plain(&mut exchange, &setting, case), Vec::new(), true),
        Pass::Singles => {
            let times = singles(&mut exchange, &setting, case);
            (crate::statistics::mean(&times), times, true)
        }
        Pass::Validated => validated(&mut exchange, &setting, case, options.validate_warmup),
    };
    drop(exchange);
    // The first ranks of the pairs have the clock; the others add nothing.
    if setting.role != Role::First {
        seconds = 0.0;
        times.iter_mut().for_each(|time| *time = 0.0);
    }
    let mut total = [seconds];
    world.reduce(SUM, &mut total);
    world.reduce(SUM, &mut times);
    let valid = case.pass != Pass::Validated || world.all(valid);
    let of = |seconds: f64| E::values(&setting, seconds / setting.pairs as f64);
    let singles: Vec<f64> = times.iter().map(|time| of(*time)[0]).collect();
    let least = singles.iter().copied().fold(f64::INFINITY, f64::min);
    let most = singles.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Measured { values: of(total[0]), least, most, singles, valid }
}

fn plain<E: Exchange>(exchange: &mut E, setting: &Setting, case: &Case) -> f64 {
    (0..case.warmup).for_each(|_| exchange.turn());
    if setting.world.size > 2 {
        setting.world.barrier();
    }
    let began = setting.world.now();
    for _ in 0..case.iterations {
        exchange.turn();
    }
    (setting.world.now() - began) / case.iterations as f64
}

fn singles<E: Exchange>(exchange: &mut E, setting: &Setting, case: &Case) -> Vec<f64> {
    let mut times = vec![0.0; case.iterations];
    (0..case.warmup).for_each(|_| exchange.turn());
    for time in &mut times {
        let began = setting.world.now();
        exchange.turn();
        *time = setting.world.now() - began;
    }
    times
}

fn validated<E: Exchange>(
    exchange: &mut E,
    setting: &Setting,
    case: &Case,
    warmup: usize,
) -> (f64, Vec<f64>, bool) {
    let mut times = vec![0.0; case.iterations];
    let mut valid = true;
    for round in 0..case.warmup + case.iterations {
        exchange.fill(round as u64);
        setting.world.barrier();
        (0..warmup).for_each(|_| exchange.turn());
        let began = setting.world.now();
        exchange.turn();
        let took = setting.world.now() - began;
        valid &= exchange.holds(round as u64);
        if let Some(round) = round.checked_sub(case.warmup) {
            times[round] = took;
        }
    }
    (crate::statistics::mean(&times), times, valid)
}

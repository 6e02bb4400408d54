// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ping-pong: half of the time a message takes to go there and another one to come back.
#![forbid(unsafe_code)]

use crate::buffer::{Buffer, fill, holds};
use crate::mpi::World;
use crate::options::{Options, Repeats};
use crate::table::{Benchmark, Measured};

pub const LATENCY: Benchmark = Benchmark {
    program: "osu_latency",
    title: "OSU MPI Latency Test",
    column: "Avg Latency(us)",
    repeats: Repeats::LATENCY,
    measure,
};

const TAG: i32 = 1;
/// The answer of the second rank about the bytes that it saw.
const VERDICT: i32 = 2;

fn measure(world: &mut World, options: &Options, size: usize) -> Measured {
    let (mut out, mut back) = (Buffer::new(size), Buffer::new(size));
    let (out, back) = (out.bytes(), back.bytes());
    let (iterations, skip) = options.repeats.of(size);
    if options.validate || options.full {
        return one_by_one(world, options, out, back);
    }
    let mut began = world.now();
    for round in 0..iterations + skip {
        if round == skip {
            began = world.now();
        }
        turn(world, out, back);
    }
    let mean = (world.now() - began) * 1e6 / (2.0 * iterations as f64);
    Measured { mean, least: mean, most: mean, iterations, valid: true }
}

/// There and back once.
#[inline]
fn turn(world: &World, out: &[u8], back: &mut [u8]) {
    if world.rank == 0 {
        world.send(out, 1, TAG);
        world.receive(back, 1, TAG);
    } else {
        world.receive(back, 0, TAG);
        world.send(out, 0, TAG);
    }
}

/// Each turn has its own time and, if asked for, its own bytes, which cost nothing of that time.
fn one_by_one(world: &mut World, options: &Options, out: &mut [u8], back: &mut [u8]) -> Measured {
    let (iterations, skip) = options.repeats.of(out.len());
    let (mut sum, mut least, mut most) = (0.0, f64::MAX, 0.0_f64);
    let mut valid = true;
    for round in 0..iterations + skip {
        if options.validate {
            fill(out, (2 * round + world.rank) as u64);
            back.fill(0);
            world.barrier();
        }
        let began = world.now();
        turn(world, out, back);
        let took = (world.now() - began) * 1e6 / 2.0;
        if options.validate {
            valid &= holds(back, (2 * round + 1 - world.rank) as u64);
        }
        if round >= skip {
            sum += took;
            least = least.min(took);
            most = most.max(took);
        }
    }
    let valid = agree(world, valid);
    Measured { mean: sum / iterations as f64, least, most, iterations, valid }
}

/// Are both ranks content? Both learn it.
pub fn agree(world: &World, valid: bool) -> bool {
    let other = 1 - world.rank;
    let mut answer = [0_u8];
    if world.rank == 0 {
        world.send(&[u8::from(valid)], other, VERDICT);
        world.receive(&mut answer, other, VERDICT);
    } else {
        world.receive(&mut answer, other, VERDICT);
        world.send(&[u8::from(valid)], other, VERDICT);
    }
    valid && answer[0] == 1
}

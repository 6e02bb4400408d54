// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One way: a window of messages in flight, an answer for each window.
#![forbid(unsafe_code)]

use crate::buffer::{Buffer, fill, holds};
use crate::latency::agree;
use crate::mpi::{Window, World};
use crate::options::{Options, Repeats};
use crate::table::{Benchmark, Measured};

pub const BANDWIDTH: Benchmark = Benchmark {
    program: "osu_bw",
    title: "OSU MPI Bandwidth Test",
    column: "Bandwidth (MB/s)",
    repeats: Repeats::BANDWIDTH,
    measure,
};

const TAG: i32 = 100;
const ANSWER: i32 = 101;

fn measure(world: &mut World, options: &Options, size: usize) -> Measured {
    // What is checked must not be overwritten by the next message of the window.
    let shared = !(options.many_buffers || options.validate);
    let parts = if shared { 1 } else { options.window };
    let mut memory = Buffer::new(size * parts);
    let mut window = Window::new(memory.bytes(), size, options.window, shared);
    let (iterations, skip) = options.repeats.of(size);
    let megabytes = (size * options.window) as f64 / 1e6;
    let (mut sum, mut least, mut most) = (0.0, f64::MAX, 0.0_f64);
    let mut valid = true;
    let mut began = world.now();
    for round in 0..iterations + skip {
        if options.validate {
            prepare(world, &mut window, round);
        }
        let apart = options.validate || options.full;
        if round == skip || apart {
            began = world.now();
        }
        turn(world, &mut window);
        if apart {
            let took = world.now() - began;
            if round >= skip {
                sum += took;
                least = least.min(megabytes / took);
                most = most.max(megabytes / took);
            }
        }
        if options.validate && world.rank == 1 {
            valid &= (0..options.window).all(|i| holds(window.part(i), seed(round, i)));
        }
    }
    if !(options.validate || options.full) {
        sum = world.now() - began;
    }
    let valid = !options.validate || agree(world, valid);
    let mean = megabytes * iterations as f64 / sum;
    Measured { mean, least: least.min(mean), most: most.max(mean), iterations, valid }
}

/// One window and its answer.
#[inline]
fn turn(world: &mut World, window: &mut Window) {
    let mut answer = [0_u8; 4];
    if world.rank == 0 {
        world.send_window(window, 1, TAG);
        world.receive(&mut answer, 1, ANSWER);
    } else {
        world.receive_window(window, 0, TAG);
        world.send(&answer, 0, ANSWER);
    }
}

/// The sender writes what the receiver will look for; the receiver wipes.
fn prepare(world: &World, window: &mut Window, round: usize) {
    for index in 0..window.count() {
        if world.rank == 0 {
            fill(window.part_mut(index), seed(round, index));
        } else {
            window.part_mut(index).fill(0);
        }
    }
    world.barrier();
}

fn seed(round: usize, index: usize) -> u64 {
    (round * 1_000_003 + index) as u64
}

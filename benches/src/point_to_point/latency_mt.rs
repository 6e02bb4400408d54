// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_latency_mt`: as `osu_latency`, with several threads at each side, all in MPI calls at
//! the same time (MPI_THREAD_MULTIPLE). The messages are shared out among the threads of a side;
//! one sender thread meets whichever receiver thread takes its message.
//!
//! Not measured: threads that compute beside one that communicates. More threads than cores
//! measure the scheduler.

use super::exchange::{Role, Setting};
use crate::benchmark::{Benchmark, Case, Family, Measured, Pass};
use crate::buffer::Buffer;
use crate::mpi::World;
use crate::mpi::raw::SUM;
use crate::options::Options;
use crate::pattern::{Seed, fill, holds};
use crate::statistics::mean;
use std::sync::Barrier;
use std::thread;

/// Every library has tags up to here.
const TAGS: usize = 32_767;
/// The tags of one sender thread, whose messages any receiver thread may take.
const THERE: i32 = 1;
const BACK: i32 = 2;

pub fn benchmark() -> Benchmark {
    let title = "OSU MPI Multi-threaded Latency Test";
    Benchmark {
        notes: |options, _| {
            let (senders, receivers) = options.threads;
            let mut text = format!("# Number of Sender threads: {senders} \n");
            text.push_str(&format!("# Number of Receiver threads: {receivers}\n"));
            [text, String::new()]
        },
        ..Benchmark::new("osu_latency_mt", title, Family::Threads, measure)
    }
}

fn measure(world: &World, options: &Options, case: &Case) -> Measured {
    let setting = Setting::new(world, options, case);
    let (senders, receivers) = options.threads;
    let count = if setting.role == Role::First { senders } else { receivers };
    let start = Barrier::new(count);
    world.barrier();
    let one = |number: usize| {
        let mut player = Player::new(setting, senders, number);
        start.wait();
        player.play(case, count, options.validate_warmup)
    };
    let results: Vec<(Vec<f64>, bool)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread fails")).collect()
    });
    let valid = case.pass != Pass::Validated || world.all(results.iter().all(|(_, valid)| *valid));
    // Threads that had nothing to do say nothing; rank 0 has the clock.
    let means: Vec<f64> =
        results.iter().filter(|(times, _)| !times.is_empty()).map(|(t, _)| mean(t)).collect();
    let mut total = [if setting.role == Role::First { mean(&means) } else { 0.0 }];
    world.reduce(SUM, &mut total);
    let all_times = results.iter().flat_map(|(times, _)| times);
    let singles: Vec<f64> = match case.pass {
        Pass::Plain => Vec::new(),
        _ => all_times.map(|time| setting.latency(*time)).collect(),
    };
    let least = singles.iter().copied().fold(f64::INFINITY, f64::min);
    let most = singles.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Measured { values: vec![setting.latency(total[0])], least, most, singles, valid }
}

/// One thread.
struct Player {
    setting: Setting,
    one_sender: bool,
    number: usize,
    out: Buffer,
    back: Buffer,
}

impl Player {
    fn new(setting: Setting, senders: usize, number: usize) -> Player {
        let (out, back) = (Buffer::new(setting.size), Buffer::new(setting.size));
        Player { setting, one_sender: senders == 1, number, out, back }
    }

    /// Every `count`-th message from its own number on; the times of those that count. In a
    /// plain pass they are all the same, since the clock is read around them.
    fn play(&mut self, case: &Case, count: usize, warmup: usize) -> (Vec<f64>, bool) {
        let all = case.warmup + case.iterations;
        let number = self.number;
        let own = |from: usize, to: usize| (from..to).filter(move |i| i % count == number);
        let early: Vec<usize> = own(0, case.warmup).collect();
        let timed: Vec<usize> = own(case.warmup, all).collect();
        let world = self.setting.world;
        let mut valid = true;
        if case.pass != Pass::Validated {
            early.iter().for_each(|round| self.turn(*round));
        }
        let mut times = vec![0.0; timed.len()];
        match case.pass {
            Pass::Plain => {
                let began = world.now();
                timed.iter().for_each(|round| self.turn(*round));
                times.fill((world.now() - began) / timed.len().max(1) as f64);
            }
            Pass::Singles => {
                for (round, time) in timed.iter().zip(&mut times) {
                    let began = world.now();
                    self.turn(*round);
                    *time = world.now() - began;
                }
            }
            Pass::Validated => {
                early.iter().for_each(|round| valid &= self.validated(*round, warmup).1);
                for (round, time) in timed.iter().zip(&mut times) {
                    let (took, right) = self.validated(*round, warmup);
                    *time = took;
                    valid &= right;
                }
            }
        }
        (times, valid)
    }

    fn validated(&mut self, round: usize, warmup: usize) -> (f64, bool) {
        let Setting { world, peer, .. } = self.setting;
        fill(self.out.bytes_mut(), Seed::new(round as u64, world.rank, 0));
        self.back.bytes_mut().fill(0);
        (0..warmup).for_each(|_| self.turn(round));
        let began = world.now();
        self.turn(round);
        let took = world.now() - began;
        (took, holds(self.back.bytes(), Seed::new(round as u64, peer, 0)))
    }

    #[inline]
    fn turn(&mut self, round: usize) {
        let Setting { world, peer, size, datatype, .. } = self.setting;
        let tag = (round % TAGS) as i32;
        let (there, back) = if self.one_sender { (THERE, BACK) } else { (tag, tag) };
        let (out_part, back_part) =
            (self.out.part(0, size, datatype), self.back.part(0, size, datatype));
        // SAFETY: both buffers are this thread's, and the calls end before they are used again.
        unsafe {
            match self.setting.role {
                Role::First => {
                    world.send(out_part, peer, there);
                    world.receive(back_part, peer, back);
                }
                _ => {
                    world.receive(back_part, peer, there);
                    world.send(out_part, peer, back);
                }
            }
        }
    }
}

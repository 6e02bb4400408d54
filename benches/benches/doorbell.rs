// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The doorbell: what a sender pays to find its receiver awake, what going to sleep costs, and a
//! way there and back between two threads that sleep each time.
//!
//! Not here: the choice between spinning and sleeping (wait.rs), and sleepers in epoll.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};
use strait_transport::bootstrap::{self, Job};
use strait_transport::lane::shm::bell::{self, Way};
use strait_transport::node::{Node, NodePlan};
use strait_transport::sync::{full_fence, register_membarrier};
use strait_transport::wait::Sleepers;

fn jobs() -> (Job, Job) {
    let plan = NodePlan { job: [4; 16], key: [0; 32], size: 2, first_local_rank: 0, local_size: 2 };
    let node = Node::create(&plan).expect("a node");
    let job = |rank| {
        let descriptor = node.descriptor().try_clone_to_owned().expect("a descriptor");
        bootstrap::join(Node::open(descriptor).expect("a mapping"), rank).expect("a record")
    };
    (job(0), job(1))
}

/// The word alone.
fn word(criterion: &mut Criterion) {
    let awake = AtomicU32::new(bell::AWAKE);
    criterion.bench_function("look at an awake bell, light fence", |bench| {
        bench.iter(|| bell::is_armed(black_box(&awake), false));
    });
    criterion.bench_function("look at an awake bell, full fence", |bench| {
        bench.iter(|| bell::is_armed(black_box(&awake), true));
    });
    let asleep = AtomicU32::new(bell::AWAKE);
    let mut generation = 0_u32;
    let mut announce = |everywhere: bool| {
        generation = generation.wrapping_add(1);
        bell::announce(&asleep, Way::Futex, generation, everywhere, || ());
        assert!(bell::take(&asleep).is_some());
    };
    criterion.bench_function("announce sleep and take it, full fence", |bench| {
        bench.iter(|| announce(false));
    });
    if register_membarrier() {
        criterion.bench_function("announce sleep and take it, membarrier", |bench| {
            bench.iter(|| announce(true));
        });
    }
}

/// One side of the ping-pong: sleeps until its counter has reached a number.
struct Side {
    job: Job,
    sleepers: Sleepers,
    /// What this side waits for, and what it raises for the other one.
    mine: Arc<AtomicU32>,
    theirs: Arc<AtomicU32>,
}

impl Side {
    fn new(job: Job, mine: Arc<AtomicU32>, theirs: Arc<AtomicU32>) -> Side {
        Side { sleepers: Sleepers::new(&job), job, mine, theirs }
    }

    fn raise(&self, number: u32) {
        let peer = 1 - self.job.local_rank;
        // SYNC(bench.counter): the number is published before the bell is taken.
        self.theirs.store(number, Release);
        full_fence();
        bell::ring(&self.job.node, peer);
    }

    fn sleep_until(&mut self, number: u32) {
        loop {
            self.sleepers.arm(|| ());
            let sleeper = self.sleepers.sleeper();
            // SYNC(bench.counter): the last look after the announcement of sleep.
            if self.mine.load(Acquire) == number {
                self.sleepers.disarm();
                return;
            }
            sleeper.sleep(None);
            self.sleepers.disarm();
        }
    }
}

fn wake(criterion: &mut Criterion) {
    let (a, b) = jobs();
    let (there, back) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut near = Side::new(a, Arc::clone(&back), Arc::clone(&there));
    let mut far = Side::new(b, there, back);
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    let echo = std::thread::spawn(move || {
        let mut number = 0_u32;
        loop {
            number = number.wrapping_add(1);
            far.sleep_until(number);
            if ended.load(Relaxed) {
                return;
            }
            far.raise(number);
        }
    });
    let mut number = 0_u32;
    let mut turn = || {
        number = number.wrapping_add(1);
        near.raise(number);
        near.sleep_until(number);
    };
    criterion.bench_function("wake there and back, both asleep", |bench| bench.iter(&mut turn));
    // The counter's publication in `raise` carries the mark along.
    end.store(true, Relaxed);
    near.raise(number.wrapping_add(1));
    echo.join().expect("the echo ends");
}

criterion_group!(benches, word, wake);
criterion_main!(benches);

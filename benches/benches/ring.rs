// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shared-memory lane by itself: what a message costs its sender and its receiver in
//! instructions and cache hits, and what crossing to another thread adds.
//!
//! One process plays all ranks, each over a mapping of its own. Not here: the worker above the
//! lane, and system calls (nobody sleeps).

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use strait_transport::bootstrap;
use strait_transport::envelope::Peer;
use strait_transport::error::{Error, Submit};
use strait_transport::lane::shm::ShmLane;
use strait_transport::lane::{Inbox, Lane};
use strait_transport::node::{Node, NodePlan};
use strait_transport::wire::header::{Header, MessageKind};

/// Counts and forgets.
#[derive(Default)]
struct Counter(u64);

impl Inbox for Counter {
    fn message(&mut self, _: Peer, header: &Header, body: &[u8]) {
        self.0 += u64::from(black_box(header).body);
        black_box(body);
    }
    fn lost(&mut self, peer: Peer, error: Error) {
        panic!("{peer:?}: {error}");
    }
}

fn lanes(size: u32) -> Vec<ShmLane> {
    let plan = NodePlan { job: [3; 16], key: [0; 32], size, first_local_rank: 0, local_size: size };
    let node = Node::create(&plan).expect("a node");
    let lane = |rank| {
        let descriptor = node.descriptor().try_clone_to_owned().expect("a descriptor");
        let mapped = Node::open(descriptor).expect("a mapping");
        ShmLane::new(&bootstrap::join(mapped, rank).expect("a record")).expect("a lane")
    };
    (0..size).map(lane).collect()
}

fn header(bytes: usize) -> Header {
    Header { kind: MessageKind::Eager as u8, body: bytes as u32, ..Header::default() }
}

fn send(lane: &mut ShmLane, to: u32, body: &[u8]) -> Submit {
    if body.len() <= 96 {
        return lane.short(Peer(to), &header(body.len()), body);
    }
    lane.fragment(Peer(to), &header(body.len()), body.len(), &mut |into| into.copy_from_slice(body))
}

/// Send and receive on one core: instructions and copies, no cache line moves.
fn one_core(criterion: &mut Criterion) {
    let mut lanes = lanes(2);
    let mut counter = Counter::default();
    let (a, b) = lanes.split_at_mut(1);
    for bytes in [0, 8, 32, 96, 97, 1024, 16 * 1024] {
        let body = vec![7; bytes];
        criterion.bench_function(&format!("one core, {bytes} bytes"), |bench| {
            bench.iter(|| {
                assert_eq!(send(&mut a[0], 1, &body), Submit::Sent);
                while b[0].poll(&mut counter, 16) == 0 {}
            });
        });
    }
    criterion.bench_function("one core, poll of an empty ring", |bench| {
        bench.iter(|| b[0].poll(&mut counter, 16));
    });
}

/// There and back between two threads that spin.
fn two_cores(criterion: &mut Criterion) {
    for bytes in [8, 96, 4096] {
        let mut lanes = lanes(2);
        let mut far = lanes.pop().expect("two lanes");
        let mut near = lanes.pop().expect("two lanes");
        let body = vec![7; bytes];
        let answer = body.clone();
        let echo = std::thread::spawn(move || {
            let mut counter = Counter::default();
            loop {
                let before = counter.0;
                while far.poll(&mut counter, 1) == 0 {
                    std::hint::spin_loop();
                }
                // An empty message ends it.
                if counter.0 == before {
                    return;
                }
                assert_eq!(send(&mut far, 0, &answer), Submit::Sent);
            }
        });
        let mut counter = Counter::default();
        criterion.bench_function(&format!("two cores, there and back, {bytes} bytes"), |bench| {
            bench.iter(|| {
                assert_eq!(send(&mut near, 1, &body), Submit::Sent);
                while near.poll(&mut counter, 1) == 0 {
                    std::hint::spin_loop();
                }
            });
        });
        assert_eq!(send(&mut near, 1, &[]), Submit::Sent);
        echo.join().expect("the echo ends");
    }
}

criterion_group!(benches, one_core, two_cores);
criterion_main!(benches);

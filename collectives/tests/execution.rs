// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every algorithm over simulated networks, byte for byte, with an operation that does not commute
//! where the algorithm keeps the order; and what happens when messages are too long or peers die.

mod around;

use std::sync::Arc;
use strait_collectives::algorithm::{ALL, Algorithm, Cut, Parameters, by_name};
use strait_collectives::execute::{Binding, ByteBinding, Execution, Failure, Group, Progress};
use strait_collectives::kind::{self, Atom, Kind};
use strait_collectives::schedule::{Blocks, Buffer, Extent, Schedule};
use strait_collectives::shape::Shape;
use strait_transport::envelope::Peer;
use strait_transport::lane::sim::{Random, SimNet, SimPlan};
use strait_transport::payload::Payload;
use strait_transport::peers::Peers;
use strait_transport::worker::Worker;

fn plan(size: u32, seed: u64) -> SimPlan {
    SimPlan {
        size,
        seed,
        capacity: 4,
        delay_max: 5,
        stall_one_in: 20,
        stall_max: 10,
        full_one_in: 5,
        short_bytes_max: 64,
        fragment_bytes_max: 256,
        piece_bytes_max: 256,
        bulk_bytes_max: 0,
        get: seed.is_multiple_of(2),
        refuse_get: false,
    }
}

/// What each worker grants to each other for messages that nobody asked for yet.
const GRANT_BYTES: usize = 64 << 10;

fn workers(net: &SimNet, ranks: u32) -> Vec<Worker> {
    let worker = |me| Worker::for_test(net.lane(Peer(me)), false, GRANT_BYTES);
    (0..ranks).map(worker).collect()
}

/// Composition of affine maps `x -> a x + b` modulo 256, pair by pair: associative, and it does
/// not commute.
fn compose(left: &[u8], right: &[u8]) -> Vec<u8> {
    let pairs = left.chunks(2).zip(right.chunks(2));
    let pair = |(l, r): (&[u8], &[u8])| {
        [l[0].wrapping_mul(r[0]), l[0].wrapping_mul(r[1]).wrapping_add(l[1])]
    };
    pairs.flat_map(pair).collect()
}

fn add(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(l, r)| l.wrapping_add(*r)).collect()
}

/// Sizes of extents: even, some zero, some beyond a fragment.
fn bytes_of(scale: usize) -> impl Fn(Extent) -> usize + Copy {
    move |extent| scale * (2 * (((extent.0 % 5) as usize * 7 + 3) % 5))
}

fn content(atom: Atom, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(u64::from(atom.rank) << 20 | u64::from(atom.block));
    (0..bytes).map(|_| random.draw() as u8).collect()
}

/// Shares a binding with the execution, to look at its output afterwards.
struct Shared(std::rc::Rc<std::cell::RefCell<ByteBinding>>, bool);

impl Binding for Shared {
    fn payload(&self, blocks: Blocks) -> Payload {
        self.0.borrow().payload(blocks)
    }
    unsafe fn copy(&mut self, what: Blocks, into: Blocks) {
        // SAFETY: the caller's promise.
        unsafe { self.0.borrow_mut().copy(what, into) }
    }
    unsafe fn reduce(&mut self, left: Blocks, right: Blocks, into: Blocks) {
        // SAFETY: the caller's promise.
        unsafe { self.0.borrow_mut().reduce(left, right, into) }
    }
    fn calls_user_code(&self) -> bool {
        self.1
    }
}

/// Runs all to the end; the answers in rank order. A rank looks again only after progress, as one
/// that sleeps in between would: `Pending` must leave nothing behind that could be collected.
fn run(net: &SimNet, workers: &mut [Worker], executions: &mut [Execution]) -> Vec<Progress> {
    let mut answers: Vec<Option<Progress>> = vec![None; executions.len()];
    let mut sleeps = vec![false; executions.len()];
    for _ in 0..200_000 {
        net.advance(1);
        for (rank, execution) in executions.iter_mut().enumerate() {
            if workers[rank].progress() == 0 && sleeps[rank] {
                continue;
            }
            sleeps[rank] = true;
            // SAFETY: the bindings own their memory and live in the executions.
            match unsafe { execution.advance(&mut workers[rank]) } {
                Progress::Pending => {}
                Progress::Compute => {
                    // SAFETY: as above.
                    unsafe { execution.compute() };
                    sleeps[rank] = false;
                }
                ended => answers[rank] = Some(ended),
            }
        }
        if answers.iter().all(Option::is_some) {
            break;
        }
    }
    answers.into_iter().map(|answer| answer.expect("every execution ends")).collect()
}

struct Call {
    schedules: Vec<Arc<Schedule>>,
    bindings: Vec<std::rc::Rc<std::cell::RefCell<ByteBinding>>>,
    executions: Vec<Execution>,
}

fn call(schedules: Vec<Schedule>, scale: usize, ordered: bool, tag: u32) -> Call {
    let peers = Peers::range(0, schedules.len() as u32);
    let mut call = Call { schedules: Vec::new(), bindings: Vec::new(), executions: Vec::new() };
    for schedule in schedules {
        let rank = schedule.rank();
        let blocks = 0..kind::blocks(schedule.shape(), rank, Buffer::Input);
        let bytes = bytes_of(scale);
        let input = blocks.map(|block| {
            let extent = schedule.extent(Buffer::Input, block);
            content(Atom { rank, block }, bytes(extent))
        });
        let operation = if ordered { compose } else { add };
        let binding = ByteBinding::new(&schedule, input.collect(), bytes, operation);
        let binding = std::rc::Rc::new(std::cell::RefCell::new(binding));
        let schedule = Arc::new(schedule);
        let group = Group { peers: peers.clone(), me: rank };
        let shared = Box::new(Shared(binding.clone(), tag % 2 == 1));
        let execution = Execution::new(schedule.clone(), group, 7, tag, shared);
        call.schedules.push(schedule);
        call.bindings.push(binding);
        call.executions.push(execution);
    }
    call
}

fn check(call: &Call, scale: usize, ordered: bool, name: &str) {
    for (schedule, binding) in call.schedules.iter().zip(&call.bindings) {
        let (shape, rank) = (schedule.shape(), schedule.rank());
        for (block, found) in binding.borrow().output().into_iter().enumerate() {
            let bytes = bytes_of(scale)(schedule.extent(Buffer::Output, block as u32));
            let parts = kind::expected(shape, rank, block as u32);
            let parts = parts.into_iter().map(|atom| content(atom, bytes));
            let fold = |l: Vec<u8>, r: Vec<u8>| if ordered { compose(&l, &r) } else { add(&l, &r) };
            // Nobody writes what no part is meant for.
            let expected = parts.reduce(fold).unwrap_or(vec![0; bytes]);
            assert_eq!(found, expected, "{name}, rank {rank}, block {block}");
        }
    }
}

fn shape_for(algorithm: &Algorithm, ranks: u32) -> Shape {
    let mut shape = if algorithm.inter {
        Shape::between(algorithm.kind, ranks / 2, ranks - ranks / 2)
    } else {
        Shape::new(algorithm.kind, ranks)
    };
    if algorithm.kind.is_rooted() {
        shape = shape.root(ranks - 1);
    }
    if algorithm.kind.has_neighbors() {
        return shape.around(around::graph(ranks, 3));
    }
    match algorithm.cut {
        Cut::PerRank => shape = shape.cut(ranks),
        Cut::Segments => shape = shape.cut(5),
        Cut::Whole if algorithm.kind.is_partitioned() => shape = shape.cut(2),
        Cut::Whole | Cut::Exactly(_) => {}
    }
    if algorithm.irregular { shape.irregular() } else { shape }
}

#[test]
fn every_algorithm_moves_the_right_bytes() {
    for algorithm in ALL {
        let fits = |ranks: &u32| algorithm.numbers.contain(*ranks);
        for ranks in [2, 3, 5, 8].into_iter().filter(fits) {
            let shape = shape_for(algorithm, ranks);
            let net = SimNet::new(plan(ranks, u64::from(ranks)));
            let mut workers = workers(&net, ranks);
            // Calls one after another and at once, on one context, told apart by their tags.
            let parameters = Parameters { window: 2, ..Parameters::default() };
            let scales = [0, 1, 9, 300];
            let mut calls: Vec<_> = (0u32..)
                .zip(scales)
                .map(|(tag, scale)| {
                    let schedule = |rank| algorithm.schedule(&shape, parameters, rank).unwrap();
                    call((0..ranks).map(schedule).collect(), scale, algorithm.ordered, tag)
                })
                .collect();
            for (call, scale) in calls.iter_mut().zip(scales) {
                let name = format!("{} {shape:?} scale {scale}", algorithm.name);
                let answers = run(&net, &mut workers, &mut call.executions);
                assert!(answers.iter().all(|a| matches!(a, Progress::Done)), "{name}: {answers:?}");
                assert!(call.executions.iter().all(Execution::is_idle), "{name}");
                check(call, scale, algorithm.ordered, &name);
            }
        }
    }
}

#[test]
fn calls_in_flight_together_do_not_mix() {
    let ranks = 4;
    let net = SimNet::new(plan(ranks, 11));
    let mut workers = workers(&net, ranks);
    let algorithm = by_name(Kind::Allreduce, "recursive_doubling").unwrap();
    let shape = Shape::new(Kind::Allreduce, ranks).cut(3);
    let schedule = |rank| algorithm.schedule(&shape, Parameters::default(), rank).unwrap();
    let mut calls: Vec<_> =
        (0..5).map(|tag| call((0..ranks).map(schedule).collect(), 40, true, tag)).collect();
    let mut done = 0;
    for _ in 0..100_000 {
        net.advance(1);
        for call in &mut calls {
            for (rank, execution) in call.executions.iter_mut().enumerate() {
                workers[rank].progress();
                // SAFETY: the bindings own their memory and live in the executions.
                if let Progress::Compute = unsafe { execution.advance(&mut workers[rank]) } {
                    // SAFETY: as above.
                    unsafe { execution.compute() };
                }
            }
        }
        let is_done = |execution: &mut Execution, rank: usize, workers: &mut Vec<Worker>| {
            // SAFETY: as above.
            matches!(unsafe { execution.advance(&mut workers[rank]) }, Progress::Done)
        };
        done = 0;
        for call in &mut calls {
            for (rank, execution) in call.executions.iter_mut().enumerate() {
                done += usize::from(is_done(execution, rank, &mut workers));
            }
        }
        if done == 20 {
            break;
        }
    }
    assert_eq!(done, 20);
    calls.iter().for_each(|call| check(call, 40, true, "together"));
}

#[test]
fn a_lost_peer_is_named() {
    let ranks = 3;
    let net = SimNet::new(plan(ranks, 5));
    let mut workers = workers(&net, ranks);
    let algorithm = by_name(Kind::Bcast, "binomial").unwrap();
    let shape = Shape::new(Kind::Bcast, ranks).root(2);
    let schedule = |rank| algorithm.schedule(&shape, Parameters::default(), rank).unwrap();
    let mut call = call((0..ranks).map(schedule).collect(), 10, true, 0);
    net.kill(Peer(2));
    call.executions.truncate(2);
    let answers = run(&net, &mut workers, &mut call.executions[..1]);
    let Progress::Failed(Failure::Transfer { rank: 2, peer: Peer(2), .. }) = &answers[0] else {
        panic!("{answers:?}");
    };
}

#[test]
fn a_message_that_is_too_long_fails_the_call_but_not_the_others() {
    let ranks = 4;
    let net = SimNet::new(plan(ranks, 6));
    let mut workers = workers(&net, ranks);
    let algorithm = by_name(Kind::Bcast, "binomial").unwrap();
    let shape = Shape::new(Kind::Bcast, ranks).cut(2);
    let schedule = |rank| algorithm.schedule(&shape, Parameters::default(), rank).unwrap();
    // Rank 2 expects less; it passes on to rank 3 what it has.
    let mut long = call((0..ranks).map(schedule).collect(), 20, true, 0);
    let mut short = call((0..ranks).map(schedule).collect(), 10, true, 0);
    std::mem::swap(&mut long.executions[2], &mut short.executions[2]);
    let answers = run(&net, &mut workers, &mut long.executions);
    assert!(matches!(answers[2], Progress::Failed(Failure::Truncated { rank: 0, .. })));
    assert!([0, 1, 3].iter().all(|rank| matches!(answers[*rank], Progress::Done)), "{answers:?}");
}

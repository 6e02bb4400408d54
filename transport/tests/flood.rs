// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Floods: a gigabyte, or a million messages, that nobody has asked for yet. What is held at the
//! receiver stays within its bound, nothing is lost, and a receive finds its message behind a
//! million others.

use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::lane::sim::{SimNet, SimPlan};
use strait_transport::payload::Payload;
use strait_transport::request::{Outcome, RequestId};
use strait_transport::worker::{SendMode, Sent, Worker};

const PLAN: SimPlan = SimPlan {
    size: 2,
    seed: 1,
    capacity: 64,
    delay_max: 0,
    stall_one_in: 0,
    stall_max: 0,
    full_one_in: 0,
    short_bytes_max: 96,
    fragment_bytes_max: 16 << 10,
    piece_bytes_max: 16 << 10,
    bulk_bytes_max: 0,
    get: true,
    refuse_get: false,
};
const GRANT: usize = 256 << 10;

struct Pair {
    net: SimNet,
    workers: [Worker; 2],
}

impl Pair {
    fn new(plan: SimPlan) -> Pair {
        let net = SimNet::new(plan);
        let worker = |me| Worker::for_test(net.lane(Peer(me)), false, GRANT);
        Pair { workers: [worker(0), worker(1)], net }
    }

    fn turn(&mut self) -> usize {
        self.net.advance(1);
        self.workers.iter_mut().map(Worker::progress).sum()
    }

    fn settle(&mut self) {
        while self.turn() > 0 {}
    }

    /// Starts a send from a worker to worker 1.
    fn isend(&mut self, from: usize, tag: u32, data: &mut [u8]) -> Option<RequestId> {
        let envelope = Envelope { context: 0, source: from as u32, tag };
        let payload = Payload::Contiguous { base: data.as_mut_ptr(), bytes: data.len() };
        // SAFETY: every test keeps its data until all sends have ended.
        match unsafe { self.workers[from].send(Peer(1), envelope, payload, SendMode::Standard) } {
            Sent::Done => None,
            Sent::Pending(request) => Some(request),
        }
    }

    /// Receives at worker 1; the message must be there already.
    fn receive(&mut self, source: u32, tag: u32, into: &mut [u8]) {
        let pattern = Pattern { context: 0, source, tag };
        let payload = Payload::Contiguous { base: into.as_mut_ptr(), bytes: into.len() };
        // SAFETY: the request ends below, in this function.
        let request = unsafe { self.workers[1].receive(None, pattern, payload) };
        for _ in 0..100 {
            if let Some(completion) = self.workers[1].take(request) {
                assert!(matches!(completion.outcome, Outcome::Done), "{completion:?}");
                assert_eq!(completion.bytes, into.len());
                return;
            }
            self.turn();
        }
        panic!("tag {tag}: {}", self.workers[1].pending_summary());
    }

    fn end(&mut self, from: usize, sends: Vec<RequestId>) {
        self.settle();
        for request in sends {
            let completion = self.workers[from].take(request).expect("its receive is over");
            assert!(matches!(completion.outcome, Outcome::Done));
        }
        for worker in &self.workers {
            let counters = worker.counters();
            assert_eq!((counters.requests, counters.unexpected_now, counters.parked), (0, 0, 0));
            assert_eq!((counters.parked_bytes, counters.senseless), (0, 0));
        }
        let available = self.workers[from].credit(Peer(1)).0;
        let owed = self.workers[1].credit(Peer(from as u32)).1;
        assert_eq!(available + owed, GRANT);
    }
}

/// 1 GiB in messages of 64 KiB, all immediate, from one buffer of numbered pages.
fn a_gigabyte(plan: SimPlan) {
    const BYTES: usize = 64 << 10;
    const COUNT: usize = 16 << 10;
    let mut pair = Pair::new(plan);
    // Overlapping windows of one buffer: each message differs from the others.
    let mut data: Vec<u8> = vec![0; BYTES + 8 * COUNT];
    for (number, word) in data.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(number as u64).to_le_bytes());
    }
    let mut sends = Vec::new();
    for number in 0..COUNT {
        sends.extend(pair.isend(0, 3, &mut data[8 * number..8 * number + BYTES]));
    }
    pair.settle();
    let counters = pair.workers[1].counters();
    assert!(counters.parked_bytes_most <= GRANT, "{counters:?}");
    assert_eq!(counters.unexpected_now, COUNT);
    let mut into = vec![0; BYTES];
    for number in 0..COUNT {
        pair.receive(0, ANY, &mut into);
        assert!(into == data[8 * number..8 * number + BYTES], "message {number}");
    }
    pair.end(0, sends);
}

#[test]
fn a_gigabyte_that_is_fetched() {
    a_gigabyte(PLAN);
}

#[test]
fn a_gigabyte_that_is_pipelined() {
    a_gigabyte(SimPlan { get: false, ..PLAN });
}

/// A million messages of eight bytes with one tag, then many with tags of their own, which are
/// received first, last sent first.
fn a_million(from: usize) {
    const MANY: usize = 1_000_000;
    const OTHERS: usize = 50_000;
    let mut pair = Pair::new(PLAN);
    let mut data: Vec<[u8; 8]> = (0..(MANY + OTHERS) as u64).map(u64::to_le_bytes).collect();
    let mut sends = Vec::new();
    for (number, word) in data.iter_mut().enumerate() {
        let tag = if number < MANY { 0 } else { number as u32 };
        sends.extend(pair.isend(from, tag, word));
        if number % 64 == 0 {
            pair.turn();
        }
    }
    pair.settle();
    let counters = pair.workers[1].counters();
    let held = counters.parked_bytes_most;
    assert!((GRANT / 2..=GRANT).contains(&held), "{counters:?}");
    assert_eq!(counters.unexpected_now, MANY + OTHERS);
    let mut into = [0; 8];
    // A walk over the million for each of these would take the better part of an hour.
    for number in (MANY..MANY + OTHERS).rev() {
        pair.receive(from as u32, number as u32, &mut into);
        assert_eq!(u64::from_le_bytes(into), number as u64);
    }
    for number in 0..MANY {
        pair.receive(ANY, ANY, &mut into);
        assert_eq!(u64::from_le_bytes(into), number as u64, "in order");
    }
    pair.end(from, sends);
}

#[test]
fn a_million_from_another() {
    a_million(0);
}

#[test]
fn a_million_from_itself() {
    a_million(1);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Workers over the real lanes, one thread each, that wait as programs do: spin, yield, sleep.
//!
//! A sleep that nobody ends within [`PATIENCE`] is a lost wake-up and fails the test.

use std::thread;
use std::time::{Duration, Instant};
use strait_transport::bootstrap::{self, Job};
use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::lane::any::Allowed;
use strait_transport::node::{Node, NodePlan};
use strait_transport::payload::Payload;
use strait_transport::request::{Completion, Outcome, RequestId};
use strait_transport::worker::{Next, SendMode, Sent, Waiter, Worker};

const PATIENCE: Duration = Duration::from_secs(20);
const SHM: Allowed = Allowed { shm: true, tcp: false, ofi: false, ucx: false };
const UCX: Allowed = Allowed { shm: false, tcp: false, ofi: false, ucx: true };
const OFI: Allowed = Allowed { shm: false, tcp: false, ofi: true, ucx: false };
const TCP: Allowed = Allowed { shm: false, tcp: true, ofi: false, ucx: false };

fn jobs(size: u32) -> Vec<Job> {
    world(size).1
}

/// The node as its launcher has it, and what each rank knows.
fn world(size: u32) -> (Node, Vec<Job>) {
    let mut job = [0; 16];
    getrandom::fill(&mut job).expect("random numbers");
    let plan = NodePlan { job, key: [2; 32], size, first_local_rank: 0, local_size: size };
    let node = Node::create(&plan).expect("a node");
    let join = |rank| {
        let descriptor = node.descriptor().try_clone_to_owned().expect("a descriptor");
        bootstrap::join(Node::open(descriptor).expect("a mapping"), rank).expect("a record")
    };
    let jobs = (0..size).map(join).collect();
    (node, jobs)
}

/// Runs `program` as every rank; each ends in a barrier and closes its worker as Finalize does.
fn run(size: u32, allowed: Allowed, program: impl Fn(&mut Rank) + Sync) {
    thread::scope(|scope| {
        for job in jobs(size) {
            let program = &program;
            scope.spawn(move || {
                let worker = Worker::with_allowed(&job, allowed).expect("a worker");
                let mut rank = Rank { worker, me: job.rank, size };
                program(&mut rank);
                rank.barrier();
                rank.worker.close();
                let since = Instant::now();
                while !rank.worker.is_flushed() {
                    rank.worker.progress();
                    assert!(since.elapsed() < PATIENCE, "{}", rank.worker.pending_summary());
                }
                assert_eq!(rank.worker.counters().requests, 0);
                assert_eq!(rank.worker.counters().senseless, 0);
                assert!(rank.worker.lost().is_empty());
            });
        }
    });
}

struct Rank {
    worker: Worker,
    me: u32,
    size: u32,
}

impl Rank {
    fn wait(&mut self, request: RequestId) -> Completion {
        let mut waiter = Waiter::new();
        loop {
            if let Some(completion) = self.worker.take(request) {
                return completion;
            }
            if self.worker.progress() > 0 {
                waiter = Waiter::new();
            } else if waiter.pause() == Next::Sleep {
                if self.worker.arm() {
                    let since = Instant::now();
                    self.worker.sleeper().sleep(Some(PATIENCE));
                    let what = self.worker.pending_summary();
                    assert!(since.elapsed() < PATIENCE, "rank {} is not woken: {what}", self.me);
                }
                self.worker.disarm();
                waiter = Waiter::new();
            }
        }
    }

    fn isend(&mut self, to: u32, tag: u32, data: &mut [u8], mode: SendMode) -> Option<RequestId> {
        let envelope = Envelope { context: 0, source: self.me, tag };
        // SAFETY: every test waits for its sends before their data goes.
        match unsafe { self.worker.send(Peer(to), envelope, payload(data), mode) } {
            Sent::Done => None,
            Sent::Pending(request) => Some(request),
        }
    }

    fn send(&mut self, to: u32, tag: u32, data: &mut [u8]) {
        if let Some(request) = self.isend(to, tag, data, SendMode::Standard) {
            let completion = self.wait(request);
            assert!(matches!(completion.outcome, Outcome::Done), "{completion:?}");
        }
    }

    fn ireceive(&mut self, from: u32, tag: u32, into: &mut [u8]) -> RequestId {
        let pattern = Pattern { context: 0, source: from, tag };
        let peer = (from != ANY).then_some(Peer(from));
        // SAFETY: every test waits for its receives before their memory goes.
        unsafe { self.worker.receive(peer, pattern, payload(into)) }
    }

    fn receive(&mut self, from: u32, tag: u32, into: &mut [u8]) -> Completion {
        let request = self.ireceive(from, tag, into);
        let completion = self.wait(request);
        assert!(matches!(completion.outcome, Outcome::Done), "{completion:?}");
        completion
    }

    fn barrier(&mut self) {
        const TAG: u32 = 1 << 20;
        let mut step = 1;
        while step < self.size {
            self.send((self.me + step) % self.size, TAG + step, &mut []);
            self.receive((self.me + self.size - step) % self.size, TAG + step, &mut []);
            step *= 2;
        }
    }
}

fn payload(data: &mut [u8]) -> Payload {
    Payload::Contiguous { base: data.as_mut_ptr(), bytes: data.len() }
}

fn fill(seed: u32, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i as u32 * 13 + seed * 101 + (i >> 8) as u32) as u8).collect()
}

const SIZES: [usize; 14] =
    [0, 1, 32, 33, 96, 97, 1000, 1024, 8192, 16_384, 16_385, 100_000, 1 << 20, 5_000_001];

/// Around the ring, with each size, in both orders of send and receive.
fn ring(rank: &mut Rank) {
    let (right, left) = ((rank.me + 1) % rank.size, (rank.me + rank.size - 1) % rank.size);
    for (number, bytes) in SIZES.into_iter().enumerate() {
        for mode in [SendMode::Standard, SendMode::Synchronous] {
            let mut data = fill(rank.me, bytes);
            let mut into = vec![0; bytes];
            let tag = number as u32;
            let (sent, received);
            if rank.me.is_multiple_of(2) {
                sent = rank.isend(right, tag, &mut data, mode);
                received = rank.ireceive(left, tag, &mut into);
            } else {
                received = rank.ireceive(left, tag, &mut into);
                sent = rank.isend(right, tag, &mut data, mode);
            }
            let completion = rank.wait(received);
            assert_eq!((completion.bytes, completion.source), (bytes, left));
            assert!(into == fill(left, bytes), "{bytes} bytes from {left}");
            if let Some(sent) = sent {
                rank.wait(sent);
            }
        }
    }
    // Within one process reads of memory are never forbidden, and the tables say: fetch.
    let counters = rank.worker.counters();
    let plan = rank.worker.describe_plan(Peer(left));
    assert_eq!(counters.fetched > 0, plan.contains("fetch from"), "{plan}{counters:?}");
    assert_eq!(counters.fetch_refused, 0);
}

/// As [`ring`], and large messages are really read from the sender's memory.
fn fetched_ring(rank: &mut Rank) {
    ring(rank);
    assert!(rank.worker.counters().fetched >= 2, "{:?}", rank.worker.counters());
}

/// Everybody floods rank 0 with small and large messages, immediately; it takes them in any order.
fn flood(rank: &mut Rank) {
    const COUNT: u32 = 300;
    let size = |number: u32| if number.is_multiple_of(10) { 30_000 } else { 64 };
    if rank.me == 0 {
        thread::sleep(Duration::from_millis(50));
        let mut next = vec![0; rank.size as usize];
        for _ in 0..COUNT * (rank.size - 1) {
            let mut into = vec![0; 40_000];
            let completion = rank.receive(ANY, 7, &mut into);
            let number = &mut next[completion.source as usize];
            assert_eq!(completion.bytes, size(*number), "message {number} in order");
            assert!(into[..completion.bytes] == fill(*number, completion.bytes));
            *number += 1;
        }
    } else {
        let mut data: Vec<Vec<u8>> = (0..COUNT).map(|number| fill(number, size(number))).collect();
        let sends: Vec<RequestId> =
            data.iter_mut().filter_map(|d| rank.isend(0, 7, d, SendMode::Standard)).collect();
        for request in sends {
            rank.wait(request);
        }
    }
    let held = rank.worker.counters().parked_bytes_most;
    assert!(held <= rank.size as usize * rank.worker.grant());
}

/// Everybody sends to everybody at once, more than connections hold, so that long bodies stop in
/// the middle while short messages, answers and other long ones come behind them.
fn crossfire(rank: &mut Rank) {
    const COUNT: usize = 36;
    const BYTES: [usize; 9] = [40, 20_000, 0, 300_000, 64, 1_500_000, 3_000, 70_000, 5];
    for round in 0..3 {
        let size = |number: usize| BYTES[(number * 7 + round) % BYTES.len()];
        let seed = |from: u32, to: u32, number: usize| from * 1000 + to * 100 + number as u32;
        let (me, others) = (rank.me, (0..rank.size).filter(|&r| r != rank.me));
        let others: Vec<u32> = others.collect();
        let slots = || others.iter().flat_map(|&other| (0..COUNT).map(move |n| (other, n)));
        let mut received: Vec<Vec<u8>> = slots().map(|(_, n)| vec![0xee; size(n)]).collect();
        let mut sent: Vec<Vec<u8>> =
            slots().map(|(to, n)| fill(seed(me, to, n), size(n))).collect();
        let mut requests = Vec::new();
        // Half of the receives are posted before anything is sent, the others long after.
        for late in [false, true] {
            for ((from, n), into) in slots().zip(&mut received) {
                if (n % 2 == 1) == late {
                    requests.push(rank.ireceive(from, n as u32, into));
                }
            }
            if !late {
                for (mode, parity) in [(SendMode::Standard, 0), (SendMode::Synchronous, 1)] {
                    for ((to, n), data) in slots().zip(&mut sent) {
                        if n / 2 % 2 == parity {
                            requests.extend(rank.isend(to, n as u32, data, mode));
                        }
                    }
                }
            }
        }
        for request in requests {
            let completion = rank.wait(request);
            assert!(matches!(completion.outcome, Outcome::Done), "{completion:?}");
        }
        for ((from, n), data) in slots().zip(&received) {
            assert!(*data == fill(seed(from, me, n), size(n)), "message {n} from {from}");
        }
    }
}

/// Blocking round trips, with a partner that is late now and then, so that both sides sleep.
fn ping_pong(rank: &mut Rank) {
    let partner = rank.me ^ 1;
    if partner >= rank.size {
        return;
    }
    let mut data = fill(1, 64);
    for round in 0..2000 {
        if rank.me.is_multiple_of(2) {
            rank.send(partner, round, &mut data);
            rank.receive(partner, round, &mut data);
        } else {
            rank.receive(partner, round, &mut data);
            if round % 200 == 0 {
                thread::sleep(Duration::from_millis(3));
            }
            rank.send(partner, round, &mut data);
        }
    }
}

macro_rules! programs {
    ($($name:ident: $size:expr, $lanes:expr, $program:expr;)*) => {
        $(#[test]
        fn $name() {
            run($size, $lanes, $program);
        })*
    };
}

programs! {
    shm_ring_of_2: 2, SHM, fetched_ring;
    shm_ring_of_5: 5, SHM, fetched_ring;
    shm_flood_of_4: 4, SHM, flood;
    shm_ping_pong: 4, SHM, ping_pong;
    tcp_ring_of_2: 2, TCP, ring;
    tcp_ring_of_5: 5, TCP, ring;
    tcp_flood_of_4: 4, TCP, flood;
    tcp_ping_pong: 4, TCP, ping_pong;
    tcp_crossfire_of_2: 2, TCP, crossfire;
    tcp_crossfire_of_3: 3, TCP, crossfire;
    shm_crossfire_of_3: 3, SHM, crossfire;
    ofi_ring_of_2: 2, OFI, fetched_ring;
    ofi_ring_of_5: 5, OFI, fetched_ring;
    ofi_flood_of_4: 4, OFI, flood;
    ofi_ping_pong: 4, OFI, ping_pong;
    ofi_crossfire_of_3: 3, OFI, crossfire;
    ucx_ring_of_2: 2, UCX, fetched_ring;
    ucx_ring_of_5: 5, UCX, fetched_ring;
    ucx_flood_of_4: 4, UCX, flood;
    ucx_ping_pong: 4, UCX, ping_pong;
    ucx_crossfire_of_3: 3, UCX, crossfire;
    alone: 1, Allowed::ALL, ring;
}

#[test]
fn one_host_needs_shm_or_tcp() {
    let jobs = jobs(2);
    let none = Allowed { shm: false, tcp: false, ofi: false, ucx: false };
    let error = Worker::with_allowed(&jobs[0], none).err().expect("no lane").to_string();
    assert!(error.contains("rank 1") && error.contains("STRAIT_LANES"), "{error}");
}

#[test]
fn plans_name_their_lanes() {
    let jobs = jobs(2);
    let mut worker = Worker::with_allowed(&jobs[0], SHM).expect("a worker");
    let text = worker.describe_plan(Peer(1));
    assert!(text.contains("Shm") && text.contains("eager"), "{text}");
    assert!(worker.describe_plan(Peer(9)).contains("not in this job"));
}

/// A rank goes without a word while another sleeps in a receive from it, with an announced send to
/// it: both end with the loss, and so do later ones.
fn a_loss_wakes(allowed: Allowed) {
    let (node, mut jobs) = world(2);
    let (second, first) = (jobs.pop().expect("two"), jobs.pop().expect("two"));
    let (gone, dying) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let worker = Worker::with_allowed(&second, allowed).expect("a worker");
            let mut rank = Rank { worker, me: 1, size: 2 };
            rank.receive(0, 1, &mut [0]);
            thread::sleep(Duration::from_millis(50));
            drop(rank);
            gone.send(()).expect("the launcher listens");
        });
        scope.spawn(move || {
            let worker = Worker::with_allowed(&first, allowed).expect("a worker");
            let mut rank = Rank { worker, me: 0, size: 2 };
            let (mut large, mut into) = (vec![0; 1 << 20], [0]);
            let sent = rank.isend(1, 2, &mut large, SendMode::Standard).expect("not received");
            rank.send(1, 1, &mut [7]);
            let received = rank.ireceive(1, 3, &mut into);
            for request in [received, sent] {
                let outcome = rank.wait(request).outcome;
                assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
            }
            assert_eq!(rank.worker.lost().first().map(|loss| loss.0), Some(Peer(1)));
            let late = rank.ireceive(1, 3, &mut into);
            assert!(rank.worker.is_complete(late));
            let late = rank.isend(1, 3, &mut [0], SendMode::Standard).expect("it fails");
            assert!(matches!(rank.wait(late).outcome, Outcome::Failed(_)));
        });
        dying.recv().expect("it goes");
        // What mpiexec does when a rank has died.
        node.announce_loss(1);
    });
}

#[test]
fn a_loss_wakes_over_shm() {
    a_loss_wakes(SHM);
}

#[test]
fn a_loss_wakes_over_ofi() {
    a_loss_wakes(OFI);
}

#[test]
fn a_loss_wakes_over_ucx() {
    a_loss_wakes(UCX);
}

#[test]
fn a_loss_wakes_over_tcp() {
    a_loss_wakes(TCP);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shared-memory lane between real processes: rings, slabs, bells, reads through the kernel;
//! processes that are killed, stopped, or not permitted to read each other.

mod ranks;

use ranks::{Passing, Ranks, is_rank, wait_until};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use strait_transport::bootstrap::{Job, attach, finalize};
use strait_transport::envelope::Peer;
use strait_transport::error::{Error, Submit};
use strait_transport::lane::shm::{FRAGMENT_BYTES_MAX, ShmLane, Supervision};
use strait_transport::lane::{Get, Inbox, Lane, RemoteRange};
use strait_transport::wait::{Next, Sleepers, Waiter};
use strait_transport::wire::header::{Header, MessageKind};

/// What arrived.
#[derive(Default)]
struct Got {
    messages: VecDeque<(Peer, Header, Vec<u8>)>,
    lost: Vec<(Peer, Error)>,
}

impl Inbox for Got {
    fn message(&mut self, from: Peer, header: &Header, body: &[u8]) {
        self.messages.push_back((from, *header, body.to_vec()));
    }
    fn lost(&mut self, peer: Peer, error: Error) {
        self.lost.push((peer, error));
    }
}

/// A rank of a test: lane, place to sleep, inbox.
struct Rank {
    job: Job,
    lane: ShmLane,
    sleepers: Sleepers,
    got: Got,
    sleeps: u32,
}

impl Rank {
    fn new(supervision: Supervision) -> Rank {
        let job = attach().expect("the job");
        let lane = ShmLane::with_supervision(&job, supervision).expect("a lane");
        let sleepers = Sleepers::new(&job);
        Rank { job, lane, sleepers, got: Got::default(), sleeps: 0 }
    }

    /// Progresses, and sleeps when the ladder says so, until the condition holds. No timeout: a
    /// lost wake-up hangs, and the watchdog reports it.
    fn until(&mut self, mut condition: impl FnMut(&mut ShmLane, &mut Got) -> bool) {
        let mut waiter = Waiter::new();
        loop {
            if condition(&mut self.lane, &mut self.got) {
                return;
            }
            if self.lane.poll(&mut self.got, 16) != 0 {
                waiter = Waiter::new();
            } else if waiter.pause() == Next::Sleep {
                self.lane.announce(&self.sleepers);
                self.sleepers.arm(|| self.lane.wish());
                if self.lane.is_quiet() {
                    self.sleepers.sleeper().sleep(None);
                    self.sleeps += 1;
                }
                self.sleepers.disarm();
                waiter = Waiter::new();
            }
        }
    }

    fn send(&mut self, to: u32, tag: u32, body: &[u8]) -> Submit {
        let mut answer = Submit::Full;
        self.until(|lane, _| {
            answer = try_send(lane, to, tag, body);
            answer != Submit::Full
        });
        answer
    }

    /// Waits until all ranks have called this equally often.
    fn barrier(&mut self) {
        let (me, size) = (self.job.rank, self.job.size);
        if me != 0 {
            assert_eq!(self.send(0, BARRIER, &[]), Submit::Sent);
            return self.until(|_, got| take(got, BARRIER));
        }
        for _ in 1..size {
            self.until(|_, got| take(got, BARRIER));
        }
        for to in 1..size {
            assert_eq!(self.send(to, BARRIER, &[]), Submit::Sent);
        }
    }

    fn end(mut self) {
        self.until(|lane, _| lane.is_flushed());
        finalize(&self.job);
    }
}

const BARRIER: u32 = 1_000_000;

fn take(got: &mut Got, tag: u32) -> bool {
    let found = got.messages.iter().position(|(_, header, _)| header.tag == tag);
    found.and_then(|index| got.messages.remove(index)).is_some()
}

fn try_send(lane: &mut ShmLane, to: u32, tag: u32, body: &[u8]) -> Submit {
    let header = Header {
        kind: MessageKind::Eager as u8,
        tag,
        body: body.len() as u32,
        token: u64::from(tag) << 20,
        ..Header::default()
    };
    if body.len() <= 96 {
        return lane.short(Peer(to), &header, body);
    }
    lane.fragment(Peer(to), &header, body.len(), &mut |into| into.copy_from_slice(body))
}

/// Body of message `number` from one rank to another: length and bytes follow from the three.
fn body(from: u32, to: u32, number: u32) -> Vec<u8> {
    let seed = u64::from(from) << 40 | u64::from(to) << 32 | u64::from(number);
    let mix = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let lengths = [0, 1, 8, 32, 33, 95, 96, 97, 1024, 1025, 5000, FRAGMENT_BYTES_MAX];
    let length = lengths[(mix >> 32) as usize % lengths.len()];
    (0..length).map(|i| (mix >> (i % 57)) as u8 ^ i as u8).collect()
}

fn everyone_to_everyone(test: &str, size: u32, passing: Passing, count: u32) {
    if !is_rank() {
        return Ranks::start(test, size, passing).finish();
    }
    let mut rank = Rank::new(Supervision::Launcher);
    let me = rank.job.rank;
    let mut next = vec![0; size as usize];
    for number in 0..count {
        for to in (0..size).filter(|to| *to != me) {
            assert_eq!(rank.send(to, number, &body(me, to, number)), Submit::Sent);
        }
        check_arrived(&mut rank.got, &mut next, me);
    }
    rank.until(|_, got| {
        check_arrived(got, &mut next, me);
        (0..size).all(|from| from == me || next[from as usize] == count)
    });
    rank.barrier();
    rank.end();
}

fn check_arrived(got: &mut Got, next: &mut [u32], me: u32) {
    let barriers: Vec<_> = got.messages.iter().map(|(_, h, _)| h.tag == BARRIER).collect();
    for is_barrier in barriers {
        let (from, header, bytes) = got.messages.pop_front().expect("counted");
        if is_barrier {
            got.messages.push_back((from, header, bytes));
            continue;
        }
        let expected = &mut next[from.0 as usize];
        assert_eq!(header.tag, *expected, "order of {} to {me}", from.0);
        assert_eq!(header.token, u64::from(*expected) << 20);
        assert_eq!(bytes, body(from.0, me, *expected), "bytes of {} to {me}", from.0);
        *expected += 1;
    }
    assert!(got.lost.is_empty(), "{:?}", got.lost);
}

#[test]
fn two_processes_exchange_messages_of_all_sizes() {
    let test = "two_processes_exchange_messages_of_all_sizes";
    everyone_to_everyone(test, 2, Passing::Inherited, 5000);
}

#[test]
fn three_processes_exchange_messages_of_all_sizes() {
    let test = "three_processes_exchange_messages_of_all_sizes";
    everyone_to_everyone(test, 3, Passing::BySocket, 1500);
}

#[test]
fn seven_processes_exchange_messages_of_all_sizes() {
    let test = "seven_processes_exchange_messages_of_all_sizes";
    everyone_to_everyone(test, 7, Passing::Inherited, 200);
}

/// Tells everybody where `memory` lies, and reads theirs; `expect` says how that ends.
fn read_each_other(rank: &mut Rank, memory: &[u8], expect: impl Fn(u32, &Get, &[u8])) {
    let (me, size) = (rank.job.rank, rank.job.size);
    let address = (memory.as_ptr() as u64).to_le_bytes();
    for to in (0..size).filter(|to| *to != me) {
        assert_eq!(rank.send(to, 1, &address), Submit::Sent);
    }
    for _ in 1..size {
        rank.until(|_, got| got.messages.iter().any(|(_, header, _)| header.tag == 1));
        let index = rank.got.messages.iter().position(|(_, header, _)| header.tag == 1);
        let (from, _, bytes) = rank.got.messages.remove(index.expect("seen")).expect("seen");
        let address = u64::from_le_bytes(bytes[..].try_into().expect("8 bytes"));
        let range = RemoteRange { address, bytes: memory.len(), key: 0 };
        let mut into = vec![0; memory.len()];
        // SAFETY: `into` is as long as the range.
        let got = unsafe { rank.lane.get(from, range, into.as_mut_ptr(), 0) };
        expect(from.0, &got, &into);
    }
    rank.barrier();
}

#[test]
fn processes_read_each_others_memory() {
    if !is_rank() {
        return Ranks::start("processes_read_each_others_memory", 3, Passing::Inherited).finish();
    }
    let mut rank = Rank::new(Supervision::Launcher);
    rank.barrier();
    for peer in 0..3 {
        assert!(rank.lane.capabilities(Peer(peer)).get, "root or one user: reads work");
    }
    let memory = vec![rank.job.rank as u8 + 1; 3_000_001];
    read_each_other(&mut rank, &memory, |from, got, into| {
        assert!(matches!(got, Get::Done), "{got:?}");
        assert!(into.iter().all(|byte| *byte == from as u8 + 1));
    });
    rank.end();
}

/// From now on process_vm_readv answers EPERM in this thread, as in a closed container.
fn forbid_reads() {
    let step =
        |code: u32, k: i64, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k: k as u32 };
    let (load, jump, answer) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let mut program = [
        step(load, 0, 0, 0),
        step(jump, libc::SYS_process_vm_readv, 0, 1),
        step(answer, i64::from(libc::SECCOMP_RET_ERRNO) | i64::from(libc::EPERM), 0, 0),
        step(answer, i64::from(libc::SECCOMP_RET_ALLOW), 0, 0),
    ];
    let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: the filter is a valid program of four steps that outlives the call.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
    };
    assert_eq!(set, 0, "the filter is in place");
}

#[test]
fn refused_reads_are_an_answer() {
    if !is_rank() {
        return Ranks::start("refused_reads_are_an_answer", 3, Passing::Inherited).finish();
    }
    let mut rank = Rank::new(Supervision::Launcher);
    rank.barrier();
    // Rank 0 is forbidden from the start; rank 1 only after reads have worked.
    let late = rank.job.rank == 1;
    if rank.job.rank == 0 {
        forbid_reads();
    }
    if late {
        assert!(rank.lane.capabilities(Peer(0)).get && rank.lane.capabilities(Peer(2)).get);
        forbid_reads();
    }
    let forbidden = rank.job.rank <= 1;
    read_each_other(&mut rank, &[9; 5000], |_, got, into| {
        if forbidden {
            assert!(matches!(got, Get::Refused), "{got:?}");
            assert!(into.iter().all(|byte| *byte == 0));
        } else {
            assert!(matches!(got, Get::Done), "{got:?}");
        }
    });
    for peer in (0..3).filter(|peer| *peer != rank.job.rank) {
        assert_eq!(rank.lane.capabilities(Peer(peer)).get, !forbidden);
    }
    rank.end();
}

#[test]
fn reads_can_be_switched_off() {
    let test = "reads_can_be_switched_off";
    if !is_rank() {
        if ranks::role().as_deref() == Some("launcher") {
            return Ranks::start(test, 2, Passing::Inherited).finish();
        }
        // A launcher of its own, so that only its ranks inherit the variable.
        let status = ranks::myself(test, "launcher").env("STRAIT_PEER_READ", "off").status();
        return assert!(status.expect("a launcher").success());
    }
    let mut rank = Rank::new(Supervision::Launcher);
    rank.barrier();
    assert!(!rank.lane.capabilities(Peer(1 - rank.job.rank)).get);
    rank.end();
}

/// Rank 1 sends ten messages to each and waits to be killed; the others report its loss after them.
fn a_rank_is_killed(test: &str, supervision: Supervision) {
    if !is_rank() {
        let mut ranks = Ranks::start(test, 3, Passing::Inherited);
        // Word of each survivor: it took all messages and is about to sleep.
        ranks.until("the survivors wait", |node| {
            [0, 2].iter().all(|rank| node.record(*rank).call().call == 10)
        });
        std::thread::sleep(Duration::from_millis(50));
        ranks.signal(1, Signal::KILL);
        assert!(!ranks.end_of(1).success());
        if supervision == Supervision::Launcher {
            ranks.node.announce_loss(1);
        }
        for rank in [0, 2] {
            assert!(ranks.end_of(rank).success(), "rank {rank}");
        }
        return;
    }
    let mut rank = Rank::new(supervision);
    if rank.job.rank == 1 {
        for number in 0..10 {
            assert_eq!(rank.send(0, number, &[1; 2000]), Submit::Sent);
            assert_eq!(rank.send(2, number, &[1; 20]), Submit::Sent);
        }
        return rank.until(|_, _| false);
    }
    rank.until(|_, got| got.messages.len() == 10);
    rank.job.node.record(rank.job.local_rank).publish_call(10);
    rank.until(|_, got| !got.lost.is_empty());
    assert!(rank.sleeps > 0, "it slept when the peer died");
    let (peer, error) = &rank.got.lost[0];
    assert_eq!(*peer, Peer(1));
    assert!(error.to_string().contains("peer 1 is lost"), "{error}");
    assert_eq!(rank.send(1, 0, &[1]), Submit::Lost);
    assert_eq!(rank.send(1, 0, &[1; 1000]), Submit::Lost);
    let other = 2 - rank.job.rank;
    assert_eq!(rank.send(other, 77, &[3; 500]), Submit::Sent);
    rank.until(|_, got| take(got, 77));
    assert_eq!(rank.got.lost.len(), 1, "reported once");
    rank.end();
}

#[test]
fn a_killed_rank_is_lost_when_the_launcher_says_so() {
    let test = "a_killed_rank_is_lost_when_the_launcher_says_so";
    a_rank_is_killed(test, Supervision::Launcher);
}

#[test]
fn a_killed_rank_is_lost_without_a_launcher() {
    a_rank_is_killed("a_killed_rank_is_lost_without_a_launcher", Supervision::Ourselves);
}

#[test]
fn a_full_ring_and_slab_let_the_senders_sleep_until_there_is_room() {
    let test = "a_full_ring_and_slab_let_the_senders_sleep_until_there_is_room";
    const COUNT: u32 = 3000;
    if !is_rank() {
        let ranks = Ranks::start(test, 3, Passing::Inherited);
        ranks.until("rank 0 runs", |node| node.record(0).call().call == 1);
        ranks.signal(0, Signal::STOP);
        ranks.until("the senders sleep", |node| {
            (1..3).all(|rank| node.record(rank).call().call == 1 && is_sleeping(node, rank))
        });
        ranks.signal(0, Signal::CONT);
        return ranks.finish();
    }
    let mut rank = Rank::new(Supervision::Launcher);
    let me = rank.job.rank;
    rank.job.node.record(me).publish_call(1);
    if me == 0 {
        // Stopped for a while about here.
        let mut next = [0; 3];
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        rank.until(|_, got| {
            check_arrived(got, &mut next, 0);
            next[1] == COUNT && next[2] == COUNT
        });
    } else {
        for number in 0..COUNT {
            assert_eq!(rank.send(0, number, &body(me, 0, number)), Submit::Sent);
        }
        assert!(rank.sleeps > 0, "it slept for room");
    }
    rank.barrier();
    rank.end();
}

/// State and voluntary context switches of a rank's thread that runs the test.
fn is_sleeping(node: &strait_transport::node::Node, rank: u32) -> bool {
    threads(node.record(rank).pid()).iter().all(|(state, _)| *state == 'S')
}

fn threads(pid: u32) -> Vec<(char, u64)> {
    let mut threads = Vec::new();
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return threads };
    for task in tasks.flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().to_owned())
        };
        let state = field("State:").and_then(|text| text.chars().next()).unwrap_or('?');
        let switches = field("voluntary_ctxt_switches:").and_then(|text| text.parse().ok());
        threads.push((state, switches.unwrap_or(0)));
    }
    threads
}

#[test]
fn sleepers_never_wake_for_nothing() {
    let test = "sleepers_never_wake_for_nothing";
    const SIZE: u32 = 13;
    if !is_rank() {
        let ranks = Ranks::start(test, SIZE, Passing::Inherited);
        let all = |node: &strait_transport::node::Node| {
            (1..SIZE).all(|rank| node.record(rank).call().call == 1 && is_sleeping(node, rank))
        };
        ranks.until("all sleep", all);
        std::thread::sleep(Duration::from_millis(500));
        let look =
            || -> Vec<_> { (1..SIZE).map(|rank| threads(ranks.node.record(rank).pid())).collect() };
        let before = look();
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(before, look(), "states and context switches stand still");
        ranks.node.record(0).leave_report("go");
        return ranks.finish();
    }
    let mut rank = Rank::new(Supervision::Launcher);
    let me = rank.job.rank;
    if me == 0 {
        wait_until("the launcher says go", || rank.job.node.record(0).report().is_some());
        for to in 1..SIZE {
            assert_eq!(rank.send(to, 5, &[]), Submit::Sent);
        }
    } else {
        rank.barrier_free_settle();
        rank.job.node.record(me).publish_call(1);
        rank.until(|_, got| take(got, 5));
    }
    rank.end();
}

impl Rank {
    /// Waits until all ranks have joined, so that nothing changes any more in the policy.
    fn barrier_free_settle(&mut self) {
        let node = &self.job.node;
        wait_until("all have joined", || (0..self.job.size).all(|i| node.record(i).pid() != 0));
    }
}

#[test]
fn a_sleeper_wakes_for_memory_and_for_descriptors() {
    let test = "a_sleeper_wakes_for_memory_and_for_descriptors";
    if !is_rank() {
        return Ranks::start(test, 2, Passing::Inherited).finish();
    }
    let mut rank = Rank::new(Supervision::Launcher);
    let other = 1 - rank.job.rank;
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    rank.sleepers.watch(reader.as_fd()).expect("watched");
    for number in 0..300 {
        // Every third message is late, so that the other rank sleeps.
        if number % 3 == rank.job.rank {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(rank.send(other, number, &[]), Submit::Sent);
        rank.until(|_, got| take(got, number));
    }
    assert!(rank.sleeps > 0, "it slept in epoll");
    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        rustix::io::write(&writer, &[1]).expect("written");
        writer
    });
    let before = rank.sleeps;
    rank.until(|_, _| {
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)],
            Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }),
        ) == Ok(1)
    });
    assert!(rank.sleeps > before, "the pipe woke it");
    let mut byte = [0];
    rustix::io::read(&reader, &mut byte).expect("a byte");
    drop(waker.join().expect("the waker ends"));
    rank.sleeps = 0;
    rank.end();
}

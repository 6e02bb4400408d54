// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pairs with several connections over several addresses (`lane/tcp/rails`): both are used, a cut
//! one costs nothing but time, it comes back, and the loss of the last one is that of the peer.
//! Links that go silent are tested by `cargo xtask test hosts`, which has real ones.

mod tcp;

use rustix::net::{Shutdown, shutdown};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use strait_transport::envelope::Peer;
use strait_transport::error::{Error, Submit};
use strait_transport::lane::directory::MemoryDirectory;
use strait_transport::lane::tcp::BULK_BYTES_MAX;
use strait_transport::lane::tcp::auth::Initiator;
use strait_transport::lane::{Bulk, Inbox, Lane};
use strait_transport::wire::header::{Header, MessageKind};
use tcp::*;

/// The tests look for each other's sockets among all of the process: one at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two lanes with two addresses each, of a network that no other test uses.
fn pair(network: u8, lines: &Lines) -> [End; 2] {
    let mut directories = MemoryDirectory::all(2).into_iter();
    [0, 1].map(|rank| {
        let mut settings = settings(rank, 2, lines);
        settings.ip = Ipv4Addr::new(127, network, rank as u8, 1);
        settings.other_ips = vec![Ipv4Addr::new(127, network, rank as u8, 2)];
        End::new(settings, directories.next().expect("two"))
    })
}

/// The connections of this process whose own address has these last two numbers.
fn sockets(network: u8, rank: u8, rail: u8) -> Vec<OwnedFd> {
    let ip = Ipv4Addr::new(127, network, rank, rail + 1);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("proc") {
        let Ok(number) = entry.expect("an entry").file_name().to_string_lossy().parse() else {
            continue;
        };
        // SAFETY: dup takes any number; what it returns, if anything, is ours.
        let copy = unsafe { libc::dup(number) };
        if copy < 0 {
            continue;
        }
        // SAFETY: it was just made, and nobody else has it.
        let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(copy) });
        let is_there = stream.local_addr().is_ok_and(|address| address.ip() == ip);
        if is_there && stream.peer_addr().is_ok() {
            found.push(stream.into());
        }
    }
    found
}

/// Cuts all connections of a rail of one end.
fn cut(network: u8, rank: u8, rail: u8) -> usize {
    let found = sockets(network, rank, rail);
    // One that is at its end already cannot be cut.
    found.iter().filter(|socket| shutdown(socket.as_fd(), Shutdown::Both).is_ok()).count()
}

fn connections(network: u8) -> [usize; 2] {
    [0, 1].map(|rail| sockets(network, 0, rail).len())
}

fn pattern(token: u64, at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b1 + 2 * token) >> 13) as u8
}

/// Checks data as they come, in place for every other message.
#[derive(Default)]
struct Landing {
    short: u32,
    token: u64,
    moved: u64,
    memory: Vec<u8>,
    bytes: u64,
    lost: Vec<Error>,
}

impl Landing {
    fn count(&mut self, header: &Header, body: Option<&[u8]>) {
        if header.token != self.token {
            assert_eq!(header.token, self.token + 1, "messages in order");
            (self.token, self.moved) = (header.token, 0);
        }
        assert_eq!(header.data_offset(), self.moved, "pieces in order");
        let body = body.unwrap_or_else(|| &self.memory[..header.body as usize]);
        for (at, got) in (self.moved..).zip(body) {
            assert_eq!(*got, pattern(header.token, at), "byte {at} of {}", header.token);
        }
        self.moved += u64::from(header.body);
        self.bytes += u64::from(header.body);
    }
}

impl Inbox for Landing {
    fn message(&mut self, _: Peer, header: &Header, body: &[u8]) {
        if header.kind == MessageKind::Data as u8 {
            return self.count(header, Some(body));
        }
        assert_eq!((header.tag, body), (self.short, &b"hello"[..]), "short messages in order");
        self.short += 1;
    }

    fn lost(&mut self, _: Peer, error: Error) {
        self.lost.push(error);
    }

    fn place(&mut self, _: Peer, header: &Header) -> Option<&mut [u8]> {
        if header.token.is_multiple_of(2) {
            return None;
        }
        self.memory.resize(self.memory.len().max(header.body as usize), 0);
        Some(&mut self.memory[..header.body as usize])
    }

    fn placed(&mut self, _: Peer, header: &Header) {
        self.count(header, None);
    }
}

/// One direction of a stream of long and short messages.
struct Stream {
    bodies: Vec<Vec<u8>>,
    /// Message and byte that come next.
    next: (usize, usize),
    short: u32,
    inbox: Landing,
}

const SHORT_PER_BODY: u32 = 5;

impl Stream {
    fn new(count: u64, bytes: u64) -> Stream {
        let body = |token| (0..bytes).map(|at| pattern(token, at)).collect();
        let bodies = (1..=count).map(body).collect();
        Stream { bodies, next: (0, 0), short: 0, inbox: Landing::default() }
    }

    /// Submits what there is room for to the peer of `end`.
    fn submit(&mut self, end: &mut End, peer: u32) {
        let (at, sent) = self.next;
        if self.short < at as u32 * SHORT_PER_BODY
            && end.short(peer, self.short, b"hello") == Submit::Sent
        {
            self.short += 1;
        }
        let Some(body) = self.bodies.get(at) else { return };
        let rest = &body[sent..body.len().min(sent + BULK_BYTES_MAX)];
        let header = Header::data(at as u64 + 1, sent as u64, rest.len());
        match end.lane.bulk(Peer(peer), None, &header, rest) {
            Bulk::Took(taken) if sent + taken == body.len() => self.next = (at + 1, 0),
            Bulk::Took(taken) => self.next = (at, sent + taken),
            Bulk::Full => {}
            Bulk::Lost => panic!("lost"),
        }
    }

    fn bytes(&self) -> u64 {
        self.bodies.iter().map(|body| body.len() as u64).sum()
    }

    fn is_over(&self) -> bool {
        self.inbox.bytes == self.bytes()
            && self.inbox.short == self.bodies.len() as u32 * SHORT_PER_BODY
    }
}

/// Streams both ways; `at` is called with how many bytes are there, of all, until it says that it
/// has done what it wants.
fn stream(ends: &mut [End; 2], count: u64, bytes: u64, mut at: impl FnMut(u64) -> bool) {
    let mut streams = [Stream::new(count, bytes), Stream::new(count, bytes)];
    let start = Instant::now();
    let mut is_done = false;
    while !is_done || !streams.iter().all(Stream::is_over) {
        assert!(start.elapsed() < Duration::from_secs(60), "no end");
        for (rank, end) in ends.iter_mut().enumerate() {
            let other = 1 - rank;
            streams[rank].submit(end, other as u32);
            end.lane.poll(&mut streams[other].inbox, 16);
        }
        is_done = is_done || at(streams.iter().map(|stream| stream.inbox.bytes).sum());
        let lost = streams.iter().flat_map(|stream| &stream.inbox.lost).next();
        assert!(lost.is_none(), "{lost:?}");
    }
}

fn connect(ends: &mut [End; 2], network: u8) {
    assert_eq!(ends[0].short(1, 7, b"first"), Submit::Sent);
    until(ends, "both rails are there", |ends| {
        !ends[1].got.messages.is_empty() && connections(network) == [1, 1]
    });
}

#[test]
fn two_addresses_of_each_make_two_connections_of_a_pair() {
    let _turn = turn();
    let lines = Lines::default();
    let mut ends = pair(11, &lines);
    connect(&mut ends, 11);
    // Both call at the same time: still one connection for each rail.
    let mut others = pair(12, &lines);
    assert_eq!(others[0].short(1, 1, b"a"), Submit::Sent);
    assert_eq!(others[1].short(0, 1, b"b"), Submit::Sent);
    until(&mut others, "both got it", |ends| {
        ends.iter().all(|end| end.got.messages.len() == 1) && connections(12) == [1, 1]
    });
    poll_for(&mut others, Duration::from_millis(50));
    assert_eq!(connections(12), [1, 1]);
    assert!(lines.lock().expect("no panics").is_empty());
}

#[test]
fn long_messages_use_both_rails() {
    let _turn = turn();
    let lines = Lines::default();
    let mut ends = pair(13, &lines);
    connect(&mut ends, 13);
    stream(&mut ends, 8, 4 << 20, |_| true);
    for rail in [0, 1] {
        let socket = &sockets(13, 0, rail)[0];
        let sent = bytes_sent(socket);
        assert!(sent > 8 << 20, "{sent} bytes of 32 MiB went over rail {rail}");
    }
}

/// What the kernel sent on a socket so far.
fn bytes_sent(socket: &OwnedFd) -> u64 {
    use std::os::fd::AsRawFd;
    let mut info = [0_u64; 40];
    let mut bytes = size_of_val(&info) as libc::socklen_t;
    let into = info.as_mut_ptr().cast();
    // SAFETY: it writes at most `bytes` bytes, which is the size of `info`.
    let answer = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, into, &mut bytes)
    };
    assert_eq!(answer, 0);
    // tcpi_bytes_acked lies at 120 (linux/tcp.h).
    info[15]
}

#[test]
fn a_rail_that_is_cut_amid_a_transfer_costs_nothing() {
    let _turn = turn();
    for (network, rank, rail) in [(14, 0, 0), (15, 1, 0), (16, 0, 1), (17, 1, 1)] {
        let lines = Lines::default();
        let mut ends = pair(network, &lines);
        connect(&mut ends, network);
        let mut cuts = 0;
        stream(&mut ends, 6, 4 << 20, |bytes| {
            // Six times, as often as it is there.
            if bytes > (cuts + 1) * (6 << 20) && cut(network, rank, rail) > 0 {
                cuts += 1;
            }
            cuts > 0 && bytes > 40 << 20
        });
        assert!(cuts > 0);
    }
}

#[test]
fn a_cut_rail_comes_back_and_is_reported_once() {
    let _turn = turn();
    let lines = Lines::default();
    let mut ends = pair(18, &lines);
    connect(&mut ends, 18);
    for _ in 0..2 {
        assert_eq!(cut(18, 0, 0), 1);
        until(&mut ends, "it is noticed", |_| connections(18)[0] == 0);
        // Meanwhile the other one carries everything.
        stream(&mut ends, 1, 1 << 20, |_| true);
        until(&mut ends, "it is back", |_| connections(18) == [1, 1]);
        poll_for(&mut ends, Duration::from_millis(300));
    }
    stream(&mut ends, 2, 1 << 20, |_| true);
    let lines = lines.lock().expect("no panics");
    let words = "on testhost lost its connection to rank";
    assert_eq!(lines.iter().filter(|line| line.contains(words)).count(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("goes on over another interface")), "{lines:?}");
}

#[test]
fn the_loss_of_all_rails_is_that_of_the_peer() {
    let _turn = turn();
    let lines = Lines::default();
    let mut ends = pair(19, &lines);
    connect(&mut ends, 19);
    assert_eq!(cut(19, 1, 0) + cut(19, 1, 1), 2);
    until(&mut ends, "both know it", |ends| ends.iter().all(|end| end.got.lost.len() == 1));
    poll_for(&mut ends, Duration::from_millis(50));
    assert!(ends.iter().all(|end| end.got.lost.len() == 1), "once");
}

#[test]
fn a_goodbye_comes_after_all_messages_and_is_no_loss() {
    let _turn = turn();
    let lines = Lines::default();
    let mut ends = pair(20, &lines);
    connect(&mut ends, 20);
    for tag in 0..1000 {
        assert_eq!(ends[0].short(1, tag, &[1; 500]), Submit::Sent);
    }
    ends[0].lane.close();
    until(&mut ends, "it has left", |ends| ends[0].lane.is_flushed());
    assert_eq!(ends[1].tags_from(0).len(), 1001);
    assert!(ends.iter().all(|end| end.got.lost.is_empty()));
    ends[1].lane.close();
    until(&mut ends, "the other one, too", |ends| {
        ends[1].lane.is_flushed() && connections(20) == [0, 0]
    });
    assert_eq!(ends[1].short(0, 1, b"late"), Submit::Lost);
}

/// The data of the last message may be on another rail than the goodbye.
#[test]
fn a_goodbye_right_after_data_loses_none() {
    let _turn = turn();
    let lines = Lines::default();
    for _ in 0..20 {
        let mut ends = pair(22, &lines);
        connect(&mut ends, 22);
        let body: Vec<u8> = (0..3 << 20).map(|at| pattern(1, at)).collect();
        let mut sent = 0;
        while sent < body.len() {
            let rest = &body[sent..body.len().min(sent + BULK_BYTES_MAX)];
            match ends[0].lane.bulk(Peer(1), None, &Header::data(1, sent as u64, rest.len()), rest)
            {
                Bulk::Took(taken) => sent += taken,
                answer => panic!("{answer:?}: it is less than may be kept"),
            }
        }
        ends[0].lane.close();
        let mut inbox = Landing::default();
        let start = Instant::now();
        while !ends[0].lane.is_flushed() {
            assert!(start.elapsed() < Duration::from_secs(30), "no end");
            ends[0].poll();
            ends[1].lane.poll(&mut inbox, 4);
        }
        assert_eq!((inbox.bytes, inbox.lost.len()), (3 << 20, 0));
    }
}

/// A call that ends before it proved itself leaves the other side on its own feet.
#[test]
fn who_was_called_in_vain_calls_itself() {
    let _turn = turn();
    for is_gone_before in [true, false] {
        let lines = Lines::default();
        let mut ends = pair(23, &lines);
        let address = ends[1].lane.address();
        let me = settings(0, 2, &lines).identity;
        // A hello over the first rail, by hand.
        let hello = Initiator::new(&me, 1, 1 << 24 | 1, &address.listener, [7; 16]);
        let mut caller = TcpStream::connect(address.socket).expect("it listens");
        caller.write_all(hello.hello()).expect("sent");
        poll_for(&mut ends[1..], Duration::from_millis(50));
        let mut caller = Some(caller);
        if is_gone_before {
            caller = None;
            poll_for(&mut ends[1..], Duration::from_millis(50));
        }
        assert_eq!(ends[1].short(0, 3, b"waits"), Submit::Sent);
        poll_for(&mut ends[1..], Duration::from_millis(50));
        drop(caller);
        until(&mut ends, "it called itself", |ends| ends[0].tags_from(1) == [3]);
    }
}

/// Processes that share an address are on one host, and have no rails.
#[test]
fn processes_of_one_host_have_one_connection() {
    let _turn = turn();
    let lines = Lines::default();
    let mut directories = MemoryDirectory::all(2).into_iter();
    let mut ends = [0, 1].map(|rank| {
        let mut settings = settings(rank, 2, &lines);
        settings.ip = Ipv4Addr::new(127, 21, 0, 1);
        settings.other_ips = vec![Ipv4Addr::new(127, 21, 0, 2)];
        End::new(settings, directories.next().expect("two"))
    });
    assert_eq!(ends[0].short(1, 7, b"first"), Submit::Sent);
    until(&mut ends, "it came", |ends| !ends[1].got.messages.is_empty());
    poll_for(&mut ends, Duration::from_millis(20));
    assert!(ends.iter().all(|end| end.lane.connection_count() == 1));
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the tests of the TCP lane share: lanes of one process, an inbox, and a hand-made peer that
//! can misbehave.
#![allow(dead_code)] // Each test file uses its part.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use strait_transport::envelope::Peer;
use strait_transport::error::{Error, Submit};
use strait_transport::lane::directory::{Directory, MemoryDirectory};
use strait_transport::lane::tcp::address::Address;
use strait_transport::lane::tcp::auth::{self, Identity, Initiator};
use strait_transport::lane::tcp::{Settings, TcpLane};
use strait_transport::lane::{Inbox, Lane};
use strait_transport::wire::header::{Header, MessageKind};

pub const JOB: [u8; 16] = [1; 16];
pub const KEY: [u8; 32] = [2; 32];

/// Lines about strangers.
pub type Lines = Arc<Mutex<Vec<String>>>;

pub fn settings(rank: u32, size: u32, lines: &Lines) -> Settings {
    let lines = lines.clone();
    let mut settings = Settings::new(rank, size, JOB, KEY);
    settings.host = "testhost".into();
    settings.report = Box::new(move |line| lines.lock().expect("no panics").push(line.into()));
    settings
}

/// A lane and what it delivered.
pub struct End {
    pub lane: TcpLane,
    pub got: Got,
}

#[derive(Default)]
pub struct Got {
    pub messages: Vec<(u32, u32, Vec<u8>)>,
    pub lost: Vec<(u32, Error)>,
}

impl Inbox for Got {
    fn message(&mut self, from: Peer, header: &Header, body: &[u8]) {
        self.messages.push((from.0, header.tag, body.to_vec()));
    }
    fn lost(&mut self, peer: Peer, error: Error) {
        self.lost.push((peer.0, error));
    }
}

pub fn header(tag: u32, bytes: usize) -> Header {
    let kind = MessageKind::Eager as u8;
    Header { kind, tag, body: bytes as u32, ..Header::default() }
}

impl End {
    pub fn new(settings: Settings, directory: MemoryDirectory) -> End {
        let lane = TcpLane::with_directory(settings, Box::new(directory)).expect("a lane");
        End { lane, got: Got::default() }
    }

    pub fn poll(&mut self) -> usize {
        self.lane.poll(&mut self.got, 1000)
    }

    pub fn short(&mut self, to: u32, tag: u32, body: &[u8]) -> Submit {
        self.lane.short(Peer(to), &header(tag, body.len()), body)
    }

    pub fn tags_from(&self, from: u32) -> Vec<u32> {
        self.got.messages.iter().filter(|got| got.0 == from).map(|got| got.1).collect()
    }
}

/// `size` lanes over one directory.
pub fn ends(size: u32, lines: &Lines) -> (Vec<End>, MemoryDirectory) {
    let directories = MemoryDirectory::all(size);
    let first = directories[0].clone();
    let ends = directories.into_iter().enumerate();
    (ends.map(|(rank, all)| End::new(settings(rank as u32, size, lines), all)).collect(), first)
}

/// Polls all until it holds.
pub fn until(ends: &mut [End], what: &str, holds: impl Fn(&[End]) -> bool) {
    let start = Instant::now();
    while !holds(ends) {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        for end in ends.iter_mut() {
            end.poll();
        }
    }
}

/// Polls all for a while.
pub fn poll_for(ends: &mut [End], time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        for end in ends.iter_mut() {
            end.poll();
        }
    }
}

/// Where a lane listens.
pub fn socket_of(end: &End) -> SocketAddr {
    SocketAddr::V4(end.lane.address().socket)
}

/// Sleeps on a lane's descriptor: whether it became readable in time.
pub fn sleep_on(end: &End, time: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let fd = end.lane.epoll_fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    poll(&mut fds, Some(&time)).expect("poll") > 0
}

pub fn identity(rank: u32, size: u32) -> Identity {
    Settings::new(rank, size, JOB, KEY).identity
}

/// A peer made by hand, which holds the key: the lane `end` must be polled by somebody else
/// meanwhile, here by `turn`.
pub fn call_by_hand(me: &Identity, to: &Address, rank: u32, mut turn: impl FnMut()) -> TcpStream {
    let mut stream = TcpStream::connect(to.socket).expect("it listens");
    let initiator = Initiator::new(me, rank, 1, &to.listener, [3; 16]);
    stream.write_all(initiator.hello()).expect("hello");
    let mut challenge = [0; auth::CHALLENGE_BYTES];
    read_exact(&mut stream, &mut challenge, &mut turn);
    let (proof, _) = initiator.answer(me, &challenge).expect("its proof is good");
    stream.write_all(&proof).expect("proof");
    let mut welcome = [0; 32];
    read_exact(&mut stream, &mut welcome, &mut turn);
    assert_eq!(welcome[0], 0xf0, "welcome");
    stream
}

pub fn read_exact(stream: &mut TcpStream, mut into: &mut [u8], mut turn: impl FnMut()) {
    stream.set_nonblocking(true).expect("a socket");
    let start = Instant::now();
    while !into.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing came");
        turn();
        match stream.read(into) {
            Ok(0) => panic!("cut off"),
            Ok(bytes) => into = &mut into[bytes..],
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    stream.set_nonblocking(false).expect("a socket");
}

/// Whether the other end has closed; discards what it sent.
pub fn is_cut(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    loop {
        match stream.read(&mut [0; 256]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).expect("linger");
    drop(stream);
}

/// The address somebody published.
pub fn published(directory: &MemoryDirectory, peer: u32) -> Address {
    Address::decode(&directory.lookup(Peer(peer)).expect("published")).expect("an address")
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long bodies that leave from where they are and land where they belong; bursts of short messages
//! that are held back; what a poll counts besides messages.

mod tcp;

use std::time::{Duration, Instant};
use strait_transport::envelope::Peer;
use strait_transport::error::{Error, Submit};
use strait_transport::lane::directory::MemoryDirectory;
use strait_transport::lane::tcp::{BULK_BYTES_MAX, TcpLane};
use strait_transport::lane::{Bulk, Inbox, Lane};
use strait_transport::wire::header::Header;
use tcp::*;

/// One message that comes in pieces (by its token), and the tags of the short ones around it.
#[derive(Default)]
struct Landing {
    /// Whether a place is given.
    places: bool,
    bodies: Vec<(u64, Vec<u8>)>,
    /// Bytes of the last body that are there.
    arrived: usize,
    /// What came in which order: bodies by token, short messages by tag.
    order: Vec<u64>,
    placed_bytes: usize,
}

impl Landing {
    fn body(&mut self, header: &Header) -> &mut Vec<u8> {
        if self.bodies.last().is_none_or(|(token, _)| *token != header.token) {
            self.bodies.push((header.token, Vec::new()));
            self.order.push(header.token);
            self.arrived = 0;
        }
        &mut self.bodies.last_mut().expect("just made").1
    }
}

impl Inbox for Landing {
    fn message(&mut self, _: Peer, header: &Header, body: &[u8]) {
        if !header.comes_in_pieces() {
            self.order.push(header.tag.into());
            return;
        }
        assert_eq!(header.body as usize, body.len());
        self.body(header);
        assert_eq!(header.data_offset(), self.arrived as u64, "pieces follow each other");
        self.arrived += body.len();
        let arrived = self.arrived;
        let whole = self.body(header);
        whole.truncate(arrived - body.len());
        whole.extend_from_slice(body);
    }

    fn lost(&mut self, peer: Peer, error: Error) {
        panic!("peer {peer:?}: {error}");
    }

    fn place(&mut self, _: Peer, header: &Header) -> Option<&mut [u8]> {
        if !self.places {
            return None;
        }
        self.body(header);
        let begin = self.arrived;
        let whole = self.body(header);
        whole.resize(begin + header.body as usize, 0xee);
        Some(&mut whole[begin..])
    }

    fn placed(&mut self, _: Peer, header: &Header) {
        assert_eq!(header.data_offset(), self.arrived as u64);
        self.arrived += header.body as usize;
        self.placed_bytes += header.body as usize;
    }
}

fn pair(socket_bytes: Option<usize>) -> (TcpLane, TcpLane) {
    let lines = Lines::default();
    let mut ends = MemoryDirectory::all(2).into_iter().enumerate().map(|(rank, directory)| {
        let mut settings = settings(rank as u32, 2, &lines);
        settings.socket_bytes = socket_bytes;
        End::new(settings, directory).lane
    });
    let (first, second) = (ends.next().expect("two"), ends.next().expect("two"));
    (first, second)
}

fn pattern(token: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at as u64).wrapping_mul(0x9e37_79b1 + 2 * token) >> 13) as u8).collect()
}

/// Bodies of all kinds of sizes, each with a lead, with short messages submitted while a body is
/// under way: everything arrives, whole and in order, whether or not there is a place for it.
fn bodies_arrive(socket_bytes: Option<usize>, places: bool, sizes: &[usize]) {
    let (mut sender, mut receiver) = pair(socket_bytes);
    let mut inbox = Landing { places, ..Landing::default() };
    let mut expected = Vec::new();
    let mut partial = 0;
    let start = Instant::now();
    for (at, &bytes) in sizes.iter().enumerate() {
        let token = 1_000_000 + at as u64;
        let (body, lead) = (pattern(token, bytes), header(at as u32, 3));
        let mut begun = false;
        let mut sent = 0;
        while !begun || sent < bytes {
            assert!(start.elapsed() < Duration::from_secs(120), "{sent} bytes of {bytes} left");
            let lead = (!begun).then_some((&lead, &b"go!"[..]));
            let head = Header::data(token, sent as u64, bytes - sent);
            match sender.bulk(Peer(1), lead, &head, &body[sent..]) {
                Bulk::Full => {}
                Bulk::Lost => panic!("lost"),
                Bulk::Took(taken) => {
                    if !begun {
                        expected.extend([at as u64, token]);
                        begun = true;
                    }
                    sent += taken;
                    if sent < bytes && partial < 1000 {
                        partial += 1;
                        let tag = 500_000 + partial;
                        assert_eq!(sender.short(Peer(1), &header(tag, 1), b"x"), Submit::Sent);
                        expected.push(tag.into());
                        // Nobody else may go on where this body stopped.
                        let other = Header::data(7, 0, 1);
                        assert_eq!(sender.bulk(Peer(1), None, &other, b"y"), Bulk::Full);
                    }
                }
            }
            sender.poll(&mut inbox, 64);
            receiver.poll(&mut inbox, 64);
        }
    }
    assert!(socket_bytes.is_none() || partial > 0, "the socket never refused anything");
    let last = *sizes.last().expect("there are sizes");
    while inbox.order.len() < expected.len() || inbox.arrived < last || !sender.is_flushed() {
        assert!(start.elapsed() < Duration::from_secs(120), "{} came", inbox.order.len());
        sender.poll(&mut inbox, 64);
        receiver.poll(&mut inbox, 64);
    }
    assert_eq!(inbox.order, expected);
    for (token, body) in &inbox.bodies {
        let bytes = sizes[(token - 1_000_000) as usize];
        assert!(*body == pattern(*token, bytes), "body {token} of {bytes} bytes is wrong");
    }
    let total: usize = sizes.iter().sum();
    assert!(!places || inbox.placed_bytes > total / 2, "most bytes land in place");
}

#[test]
fn bodies_pass_through_tiny_socket_buffers() {
    let sizes = [1, 40_000, 64, BULK_BYTES_MAX, 70_001];
    for places in [false, true] {
        bodies_arrive(Some(16 * 1024), places, &sizes);
    }
}

#[test]
fn bodies_of_every_size_land() {
    let mut sizes: Vec<usize> = (1..600).collect();
    sizes.extend([65_000, 65_536, 131_072, 300_001, BULK_BYTES_MAX]);
    bodies_arrive(None, false, &sizes);
    sizes.iter_mut().for_each(|bytes| *bytes += 512);
    sizes.pop();
    bodies_arrive(None, true, &sizes);
}

/// A bulk message to a peer that was never called makes the connection, and says that it has not
/// begun until there is one.
#[test]
fn a_first_contact_may_be_in_bulk() {
    let (mut sender, mut receiver) = pair(None);
    let mut inbox = Landing::default();
    let head = Header::data(1, 0, 5);
    assert_eq!(sender.bulk(Peer(1), None, &head, b"hello"), Bulk::Full);
    let start = Instant::now();
    let mut settled = 0;
    loop {
        assert!(start.elapsed() < Duration::from_secs(60), "it never connected");
        match sender.bulk(Peer(1), None, &head, b"hello") {
            Bulk::Took(taken) => break assert_eq!(taken, 5),
            answer => assert_eq!(answer, Bulk::Full),
        }
        sender.poll(&mut inbox, 64);
        receiver.poll(&mut inbox, 64);
        settled += sender.take_settled();
    }
    assert!(settled > 0, "who waits for the connection is told of it");
    while inbox.bodies.is_empty() {
        receiver.poll(&mut inbox, 64);
    }
    assert_eq!(inbox.bodies, [(1, b"hello".to_vec())]);
}

/// A poll that ends somebody's wait without a message counts: messages found their connection, or
/// the last bytes left. Nothing else would wake a thread that sleeps until then.
#[test]
fn what_ends_a_wait_is_counted() {
    let lines = Lines::default();
    let (mut all, _) = ends(2, &lines);
    assert_eq!(all[0].short(1, 0, b"x"), Submit::Sent);
    assert!(all[0].lane.is_connecting());
    assert_eq!(all[0].lane.take_settled(), 0);
    let start = Instant::now();
    while all[0].lane.is_connecting() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never connected");
        assert_eq!(all[0].lane.take_settled(), 0, "it still waits");
        all[1].poll();
        all[0].poll();
    }
    assert!(all[0].lane.take_settled() > 0, "the connection was not counted");
    // Until the socket refuses bytes; then the peer reads them.
    let big = [7; 8000];
    let mut sent = 1;
    while all[0].short(1, sent, &big) == Submit::Sent {
        sent += 1;
    }
    all[0].lane.take_settled();
    while all[1].got.messages.len() < sent as usize {
        assert!(start.elapsed() < Duration::from_secs(60), "{sent} did not come");
        all[1].poll();
        all[0].poll();
    }
    until(&mut all[..1], "all left", |all| all[0].lane.is_flushed());
    assert!(all[0].lane.take_settled() > 0, "the last bytes were not counted");
    until(&mut all, "quiet", |all| all[0].lane.is_flushed() && all[1].lane.is_flushed());
    poll_for(&mut all, Duration::from_millis(10));
    all[0].lane.take_settled();
    poll_for(&mut all, Duration::from_millis(10));
    assert_eq!(all[0].lane.take_settled(), 0, "nothing happens any more");
}

/// Of a burst the first messages leave at once, and what follows when the sender looks, or says so,
/// or when it is much: all in order.
#[test]
fn a_burst_is_held_until_the_next_poll() {
    let lines = Lines::default();
    let (mut all, _) = ends(2, &lines);
    assert_eq!(all[0].short(1, 0, b"x"), Submit::Sent);
    until(&mut all, "connected", |all| all[1].got.messages.len() == 1);
    let mut tag = 1;
    for round in 0..50 {
        for _ in 0..3 {
            assert_eq!(all[0].short(1, tag, b"few"), Submit::Sent);
            tag += 1;
        }
        assert!(!all[0].lane.is_holding(), "few messages are never held");
        until(&mut all[1..], "few arrived", |all| all[0].got.messages.len() == tag as usize);
        for _ in 0..round {
            assert_eq!(all[0].short(1, tag, &[9; 50]), Submit::Sent);
            tag += 1;
        }
        let many = round > 10 && round < 20;
        assert!(all[0].lane.is_holding() || !many, "{round} messages were not held");
        assert!(!all[0].lane.is_flushed() || !many, "what is held has not left");
        if round % 2 == 0 {
            all[0].lane.release();
            assert!(!all[0].lane.is_holding());
        } else {
            all[0].poll();
        }
        until(&mut all[1..], "all arrived", |all| all[0].got.messages.len() == tag as usize);
        all[0].poll();
    }
    assert!(all[1].tags_from(0).iter().copied().eq(0..tag), "in order");
    // A longer message is not held, and does not overtake what is.
    for tag in tag..tag + 10 {
        assert_eq!(all[0].short(1, tag, b"held"), Submit::Sent);
    }
    assert_eq!(all[0].short(1, tag + 10, &[1; 9000]), Submit::Sent);
    until(&mut all[1..], "all arrived", |all| all[0].got.messages.len() == tag as usize + 11);
    assert!(all[1].tags_from(0).iter().copied().eq(0..tag + 11), "in order");
}

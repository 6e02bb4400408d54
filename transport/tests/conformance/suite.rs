// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The suite. Bodies are made from sender, receiver and number of a message, so that a wrong,
//! doubled, lost or misplaced one is seen by the receiver alone.

use std::time::{Duration, Instant};
use strait_transport::envelope::Peer;
use strait_transport::error::{Error, Submit};
use strait_transport::lane::{Inbox, Lane};
use strait_transport::wire::header::{Header, MessageKind};

/// Some peers with a lane each.
pub trait World {
    type Lane: Lane;
    /// Peers `0..peers`.
    fn new(peers: u32) -> Self;
    /// Its lane; `None` after it was killed.
    fn lane(&mut self, peer: u32) -> Option<&mut Self::Lane>;
    /// Ends a peer without a goodbye.
    fn kill(&mut self, peer: u32);
    /// Whether there are others: a worker that talks to itself has none.
    const SEVERAL_PEERS: bool = true;
    /// Whether all that a peer had flushed before it died arrives.
    const KEEPS_LAST_WORDS: bool = true;
    /// Time goes on, where it does not do so by itself.
    fn pass_time(&mut self) {}
}

/// One delivered message.
#[derive(Debug)]
pub struct Got {
    pub from: u32,
    pub header: Header,
    pub body: Vec<u8>,
}

/// What one peer received.
#[derive(Default)]
pub struct Recorder {
    pub got: Vec<Got>,
    pub lost: Vec<(Peer, Error)>,
}

impl Inbox for Recorder {
    fn message(&mut self, from: Peer, header: &Header, body: &[u8]) {
        assert_eq!(header.body as usize, body.len(), "the header tells the body's length");
        assert!(!self.lost.iter().any(|(peer, _)| *peer == from), "a message after the loss");
        self.got.push(Got { from: from.0, header: *header, body: body.to_vec() });
    }

    fn lost(&mut self, peer: Peer, error: Error) {
        self.lost.push((peer, error));
    }
}

/// A world, its recorders, and how many messages each pair has exchanged.
pub struct Bench<W: World> {
    pub world: W,
    pub peers: u32,
    pub inboxes: Vec<Recorder>,
    sent: Vec<u32>,
    checked: Vec<u32>,
}

fn body_of(from: u32, to: u32, number: u32, bytes: usize) -> Vec<u8> {
    let mut state = (u64::from(from) << 40 | u64::from(to) << 32 | u64::from(number)) + 1;
    let mut body = Vec::with_capacity(bytes + 8);
    while body.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        body.extend((state >> 16).to_le_bytes());
    }
    body.truncate(bytes);
    body
}

/// By which operation a message goes.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Short,
    Fragment,
}

impl<W: World> Bench<W> {
    pub fn new(peers: u32) -> Bench<W> {
        let pairs = (peers * peers) as usize;
        let inboxes = (0..peers).map(|_| Recorder::default()).collect();
        let (sent, checked) = (vec![0; pairs], vec![0; pairs]);
        Bench { world: W::new(peers), peers, inboxes, sent, checked }
    }

    /// Tries to send the next message of a pair.
    pub fn try_send(&mut self, from: u32, to: u32, bytes: usize, way: Way) -> Submit {
        let pair = (from * self.peers + to) as usize;
        let number = self.sent[pair];
        let body = body_of(from, to, number, bytes);
        let header = Header {
            kind: MessageKind::Eager as u8,
            flags: 1,
            reserved: 0,
            body: bytes as u32,
            context: from,
            source: to,
            tag: number,
            extra: !number,
            token: u64::from(number) << 32 | 0xabcd,
        };
        let lane = self.world.lane(from).expect("alive");
        let answer = match way {
            Way::Short => lane.short(Peer(to), &header, &body),
            Way::Fragment => {
                let mut calls = 0;
                let answer = lane.fragment(Peer(to), &header, bytes, &mut |into| {
                    assert_eq!(into.len(), bytes);
                    into.copy_from_slice(&body);
                    calls += 1;
                });
                assert_eq!(calls, u32::from(answer == Submit::Sent), "fill once, and only if sent");
                answer
            }
        };
        if answer == Submit::Sent {
            self.sent[pair] += 1;
        }
        answer
    }

    /// Sends, making progress as long as the answer is Full.
    pub fn send(&mut self, from: u32, to: u32, bytes: usize, way: Way) {
        self.until("a message is taken", |bench| match bench.try_send(from, to, bytes, way) {
            Submit::Sent => true,
            Submit::Full => false,
            Submit::Lost => panic!("{to} is lost to {from}"),
        });
    }

    /// Polls everybody once and checks what came.
    pub fn progress(&mut self) {
        self.world.pass_time();
        for peer in 0..self.peers {
            let inbox = &mut self.inboxes[peer as usize];
            if let Some(lane) = self.world.lane(peer) {
                lane.poll(inbox, 64);
            }
            self.check(peer);
        }
    }

    /// Every message is the next of its pair, and whole.
    fn check(&mut self, to: u32) {
        for got in self.inboxes[to as usize].got.drain(..) {
            let pair = (got.from * self.peers + to) as usize;
            let number = self.checked[pair];
            self.checked[pair] += 1;
            let header = got.header;
            assert_eq!((header.context, header.source), (got.from, to), "sender and receiver");
            assert_eq!((header.tag, header.extra), (number, !number), "order within a pair");
            assert_eq!((header.kind, header.flags), (1, 1));
            assert_eq!(header.token, u64::from(number) << 32 | 0xabcd);
            assert!(got.body == body_of(got.from, to, number, got.body.len()), "bytes");
        }
    }

    /// Makes progress until it holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
            self.progress();
        }
    }

    /// Everything sent has arrived and has left.
    pub fn settle(&mut self) {
        self.until("all has arrived", |bench| bench.sent == bench.checked);
        for peer in 0..self.peers {
            self.until("all has left", |bench| {
                bench.world.lane(peer).is_none_or(|lane| lane.is_flushed())
            });
        }
        assert!(self.inboxes.iter().all(|inbox| inbox.lost.is_empty()), "nobody was lost");
    }
}

/// The second peer of a pair: oneself, where there is no other.
pub fn other<W: World>() -> (u32, u32) {
    if W::SEVERAL_PEERS { (2, 1) } else { (1, 0) }
}

pub fn boundary_sizes_arrive_whole<W: World>() {
    let (peers, to) = other::<W>();
    let mut bench = Bench::<W>::new(peers);
    let limits = bench.world.lane(0).expect("alive").capabilities(Peer(to));
    for _ in 0..3 {
        for (way, most) in
            [(Way::Short, limits.short_bytes_max), (Way::Fragment, limits.fragment_bytes_max)]
        {
            for bytes in [0, 1, 7, most / 2, most - 1, most] {
                bench.send(0, to, bytes, way);
                bench.send(0, to, 0, Way::Short);
            }
        }
    }
    bench.settle();
}

pub fn short_and_fragment_keep_one_order<W: World>() {
    let (peers, to) = other::<W>();
    let mut bench = Bench::<W>::new(peers);
    let limits = bench.world.lane(0).expect("alive").capabilities(Peer(to));
    for number in 0..3000_usize {
        match number % 3 {
            0 => bench.send(0, to, number % (limits.short_bytes_max + 1), Way::Short),
            1 => bench.send(0, to, number * 7 % (limits.fragment_bytes_max + 1), Way::Fragment),
            _ => bench.send(0, to, 8.min(limits.short_bytes_max), Way::Short),
        }
    }
    bench.settle();
}

pub fn full_is_answered_and_recovers<W: World>() {
    let (peers, to) = other::<W>();
    let mut bench = Bench::<W>::new(peers);
    let limits = bench.world.lane(0).expect("alive").capabilities(Peer(to));
    for way in [Way::Fragment, Way::Short] {
        let bytes = match way {
            Way::Short => limits.short_bytes_max,
            Way::Fragment => limits.fragment_bytes_max,
        };
        // The receiver does not look; the bound is far below a gigabyte.
        let mut taken = 0_usize;
        while bench.try_send(0, to, bytes, way) == Submit::Sent {
            taken += bytes.max(1);
            assert!(taken < 1 << 30, "a lane must be bounded");
        }
        assert_eq!(bench.try_send(0, to, bytes, way), Submit::Full, "Full stays until progress");
        bench.send(0, to, bytes, way);
        bench.settle();
    }
}

pub fn many_to_one<W: World>() {
    let mut bench = Bench::<W>::new(9);
    let most = bench.world.lane(1).expect("alive").capabilities(Peer(0)).fragment_bytes_max;
    for round in 0..200_usize {
        for from in 1..9 {
            bench.send(from, 0, round % 40, Way::Short);
            if round % 16 == 0 {
                bench.send(from, 0, most, Way::Fragment);
            }
        }
    }
    bench.settle();
}

pub fn all_to_all_flood<W: World>() {
    let (peers, _) = if W::SEVERAL_PEERS { (4, 0) } else { (1, 0) };
    let mut bench = Bench::<W>::new(peers);
    let most = bench.world.lane(0).expect("alive").capabilities(Peer(peers - 1)).fragment_bytes_max;
    let mut left = vec![400_u32; (peers * peers) as usize];
    // Nobody waits for room: who meets Full goes on with another peer.
    while left.iter().any(|count| *count > 0) {
        for from in 0..peers {
            for to in 0..peers {
                let count = &mut left[(from * peers + to) as usize];
                if from == to && W::SEVERAL_PEERS {
                    *count = 0;
                }
                while *count > 0 {
                    let (bytes, way) = match *count % 8 {
                        0 => (most, Way::Fragment),
                        _ => (*count as usize % 33, Way::Short),
                    };
                    match bench.try_send(from, to, bytes, way) {
                        Submit::Sent => *count -= 1,
                        Submit::Full => break,
                        Submit::Lost => panic!("lost"),
                    }
                }
            }
        }
        bench.progress();
    }
    bench.settle();
}

pub fn a_poll_stays_within_its_budget<W: World>() {
    let (peers, to) = other::<W>();
    let mut bench = Bench::<W>::new(peers);
    for _ in 0..100 {
        bench.send(0, to, 5, Way::Short);
    }
    let mut left = 100 - bench.checked[to as usize] as usize;
    let start = Instant::now();
    while left > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "{left} messages never came");
        bench.world.pass_time();
        for budget in [0, 1, 3, 7] {
            let lane = bench.world.lane(to).expect("alive");
            let count = lane.poll(&mut bench.inboxes[to as usize], budget);
            let got = bench.inboxes[to as usize].got.len();
            assert_eq!(count, got, "poll returns what it delivered");
            assert!(got <= budget, "{got} messages on a budget of {budget}");
            left -= got;
            bench.check(to);
            if to != 0 {
                // The sender pushes out what it queued; nothing is sent to it.
                let lane = bench.world.lane(0).expect("alive");
                assert_eq!(lane.poll(&mut bench.inboxes[0], 8), 0);
            }
        }
    }
    bench.settle();
}

pub fn a_dead_peer_is_reported_once_after_its_messages<W: World>() {
    let mut bench = Bench::<W>::new(3);
    for peer in [0, 2] {
        bench.send(1, peer, 9, Way::Short);
        bench.send(peer, 1, 9, Way::Short);
        bench.send(2 - peer, peer, 9, Way::Short);
    }
    bench.settle();
    for _ in 0..50 {
        bench.send(1, 0, 90, Way::Short);
    }
    bench.until("the last messages have left", |bench| {
        bench.world.lane(1).expect("alive").is_flushed()
    });
    bench.world.kill(1);
    bench.until("both see the death", |bench| {
        [0, 2].iter().all(|peer: &usize| !bench.inboxes[*peer].lost.is_empty())
    });
    if W::KEEPS_LAST_WORDS {
        assert_eq!(bench.checked[3], bench.sent[3], "what the dead peer had sent arrived");
        assert_eq!(bench.checked[3], 51);
    }
    for survivor in [0, 2] {
        assert_eq!(bench.try_send(survivor, 1, 4, Way::Short), Submit::Lost);
        assert_eq!(bench.try_send(survivor, 1, 4, Way::Fragment), Submit::Lost);
    }
    for _ in 0..100 {
        bench.send(0, 2, 9, Way::Short);
        bench.send(2, 0, 9, Way::Short);
        bench.progress();
    }
    for survivor in [0, 2] {
        let lost = &bench.inboxes[survivor].lost;
        assert_eq!(lost.len(), 1, "reported once: {lost:?}");
        assert_eq!(lost[0].0, Peer(1));
        assert!(lost[0].1.to_string().contains("peer 1 is lost"), "{}", lost[0].1);
    }
}

pub fn flushed_means_that_nothing_is_left_behind<W: World>() {
    let (peers, to) = other::<W>();
    let mut bench = Bench::<W>::new(peers);
    assert!(bench.world.lane(0).expect("alive").is_flushed(), "nothing was sent");
    let most = bench.world.lane(0).expect("alive").capabilities(Peer(to)).fragment_bytes_max;
    for _ in 0..20 {
        bench.send(0, to, most, Way::Fragment);
    }
    bench.settle();
    assert!(bench.world.lane(0).expect("alive").is_flushed());
}

/// Makes the tests of a lane from one peer to another, or to itself.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $world:ty) => {
        $crate::conformance!(
            $name,
            $world,
            [
                boundary_sizes_arrive_whole,
                short_and_fragment_keep_one_order,
                full_is_answered_and_recovers,
                all_to_all_flood,
                a_poll_stays_within_its_budget,
                flushed_means_that_nothing_is_left_behind,
            ]
        );
    };
    ($name:ident, $world:ty, [$($test:ident),* $(,)?]) => {
        mod $name {
            $(
                #[test]
                fn $test() {
                    $crate::suite::$test::<$world>();
                }
            )*
        }
    };
}

/// Makes those that need several peers.
#[macro_export]
macro_rules! conformance_of_many {
    ($name:ident, $world:ty) => {
        $crate::conformance!(
            $name,
            $world,
            [many_to_one, a_dead_peer_is_reported_once_after_its_messages]
        );
    };
}

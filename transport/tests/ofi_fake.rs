// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lane over libfabric on a strict provider (fake/): every combination of the FI_MR_* bits,
//! with buffers for many messages and for one, refusals, and failures.

mod fake;

use fake::Character;
use std::time::{Duration, Instant};
use strait_transport::envelope::Peer;
use strait_transport::error::{Error, Submit};
use strait_transport::lane::directory::MemoryDirectory;
use strait_transport::lane::fabric::Settings;
use strait_transport::lane::ofi::objects::Objects;
use strait_transport::lane::ofi::provider::Wanted;
use strait_transport::lane::ofi::sys::{
    FI_MR_ALLOCATED, FI_MR_ENDPOINT, FI_MR_LOCAL, FI_MR_PROV_KEY, FI_MR_VIRT_ADDR,
};
use strait_transport::lane::ofi::{OfiLane, OfiPort};
use strait_transport::lane::{Get, Inbox, Lane};
use strait_transport::wire::header::{Header, MessageKind};

const BITS: [i32; 5] =
    [FI_MR_LOCAL, FI_MR_VIRT_ADDR, FI_MR_ALLOCATED, FI_MR_PROV_KEY, FI_MR_ENDPOINT];

#[derive(Default)]
struct Heard {
    messages: Vec<(u32, Vec<u8>)>,
    fetched: Vec<(u64, Get)>,
    lost: Vec<(Peer, Error)>,
}

impl Inbox for Heard {
    fn message(&mut self, _from: Peer, header: &Header, body: &[u8]) {
        self.messages.push((header.tag, body.to_vec()));
    }

    fn lost(&mut self, peer: Peer, error: Error) {
        self.lost.push((peer, error));
    }

    fn fetched(&mut self, token: u64, end: Get) {
        self.fetched.push((token, end));
    }
}

fn lanes(count: u32) -> Vec<OfiLane> {
    let one = |(rank, directory): (usize, MemoryDirectory)| {
        let wanted = Wanted { provider: Some("fake".into()), ..Wanted::default() };
        let objects = Objects::open(fake::library(), &wanted).expect("the fake");
        let port = OfiPort::new(objects).expect("the fake");
        let mut settings = Settings::new(rank as u32, count, [1; 16], [2; 32]);
        settings.report = Box::new(|line| panic!("no strangers here: {line}"));
        OfiLane::with_directory(port, settings, Box::new(directory))
    };
    MemoryDirectory::all(count).into_iter().enumerate().map(one).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
    }
}

fn body(number: u32) -> Vec<u8> {
    (0..number as usize * 37 % 9000).map(|at| (at as u32 * 7 + number) as u8).collect()
}

/// Messages of many lengths both ways, in order.
fn exchange(lanes: &mut [OfiLane], heard: &mut [Heard; 2]) {
    for number in 0..200_u32 {
        for from in 0..2 {
            let body = body(number);
            let envelope_tag = number;
            let mut header = Header::with_token(MessageKind::Eager, 1);
            (header.tag, header.body) = (envelope_tag, body.len() as u32);
            until("a message is taken", || {
                let to = Peer(1 - from as u32);
                let fill = &mut |into: &mut [u8]| into.copy_from_slice(&body);
                let sent = lanes[from].fragment(to, &header, body.len(), fill);
                lanes[0].poll(&mut heard[0], 64);
                lanes[1].poll(&mut heard[1], 64);
                assert_ne!(sent, Submit::Lost);
                sent == Submit::Sent
            });
        }
    }
    until("all have arrived", || {
        lanes.iter_mut().zip(heard.iter_mut()).for_each(|(lane, heard)| {
            lane.poll(heard, 64);
        });
        heard.iter().all(|heard| heard.messages.len() == 200)
    });
    for heard in heard.iter() {
        for (number, (tag, bytes)) in (0..).zip(&heard.messages) {
            assert_eq!(*tag, number, "in order");
            assert!(*bytes == body(number), "message {number} is whole");
        }
    }
}

/// One reads what the other has lent; then the loan ends.
fn fetch(lanes: &mut [OfiLane], heard: &mut [Heard; 2], bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let source: Vec<u8> = (0..bytes).map(|at| (at * 13 + bytes) as u8).collect();
    let mut into = vec![0; bytes];
    let loan = lanes[0].lend(77, source.as_ptr(), bytes).expect("a loan");
    assert!(loan.must_end);
    assert_eq!(lanes[0].lend(77, source.as_ptr(), bytes), Some(loan), "asked again, the same");
    // SAFETY: `into` is untouched until the end was heard.
    let begun = unsafe { lanes[1].get(Peer(0), loan.range, into.as_mut_ptr(), 99) };
    assert!(matches!(begun, Get::Begun));
    until("the bytes are here", || {
        lanes[1].poll(&mut heard[1], 64);
        lanes[0].poll(&mut heard[0], 64);
        !heard[1].fetched.is_empty()
    });
    lanes[0].take_back(77);
    (source, into)
}

#[test]
fn every_memory_mode_is_served_as_it_wants() {
    for mode in 0..1 << BITS.len() {
        let bits = BITS.iter().enumerate().filter(|(at, _)| mode >> at & 1 == 1);
        let memory_mode = bits.map(|(_, bit)| bit).sum();
        for multi_receive in [true, false] {
            let again_one_in = 7 * u32::from(mode % 2 == 0);
            let character = Character {
                memory_mode,
                multi_receive,
                again_one_in,
                inject_bytes: 64 * (mode % 3),
                ..Character::default()
            };
            let turn = fake::begin(character);
            let mut lanes = lanes(2);
            let mut heard = [Heard::default(), Heard::default()];
            exchange(&mut lanes, &mut heard);
            // Longer than one read of this provider.
            let (source, into) = fetch(&mut lanes, &mut heard, 250_001);
            assert!(source == into, "mode {memory_mode:#x}");
            assert!(matches!(heard[1].fetched[..], [(99, Get::Done)]));
            assert_eq!(turn.loans(), 0, "the loan has ended");
            assert!(heard.iter().all(|heard| heard.lost.is_empty()));
            drop(lanes);
            assert_eq!(turn.faults(), [] as [&str; 0], "mode {memory_mode:#x}");
        }
    }
}

#[test]
fn a_read_that_fails_or_comes_too_late_is_refused_and_nothing_is_left() {
    for (reads_refused, reads_fail) in [(true, false), (false, true)] {
        let character = Character {
            memory_mode: BITS.iter().sum(),
            multi_receive: true,
            reads_refused,
            reads_fail,
            ..Character::default()
        };
        let turn = fake::begin(character);
        let mut lanes = lanes(2);
        let mut heard = [Heard::default(), Heard::default()];
        fetch(&mut lanes, &mut heard, 5000);
        assert!(matches!(heard[1].fetched[..], [(99, Get::Refused)]));
        assert!(heard[1].lost.is_empty(), "the peer is not lost by it");
        drop(lanes);
        assert_eq!(turn.faults(), [] as [&str; 0]);
    }
    let turn = fake::begin(Character { multi_receive: true, ..Character::default() });
    let mut lanes = lanes(2);
    let mut heard = Heard::default();
    let (source, mut into) = (vec![1_u8; 100], vec![0_u8; 100]);
    let loan = lanes[0].lend(5, source.as_ptr(), 100).expect("a loan");
    lanes[0].take_back(5);
    // SAFETY: `into` is untouched until the end was heard.
    let begun = unsafe { lanes[1].get(Peer(0), loan.range, into.as_mut_ptr(), 6) };
    assert!(matches!(begun, Get::Begun));
    until("it is refused", || {
        lanes[1].poll(&mut heard, 64);
        !heard.fetched.is_empty()
    });
    assert!(matches!(heard.fetched[..], [(6, Get::Refused)]) && into == [0; 100]);
    drop(lanes);
    assert_eq!(turn.faults(), [] as [&str; 0]);
}

#[test]
fn a_peer_that_takes_nothing_more_is_lost_once_with_its_reads() {
    let turn = fake::begin(Character { multi_receive: true, ..Character::default() });
    let mut lanes = lanes(2);
    let mut heard = Heard::default();
    let gone = lanes.remove(0);
    drop(gone);
    let header = Header::with_token(MessageKind::Fin, 1);
    for _ in 0..3 {
        let _ = lanes[0].short(Peer(0), &header, &[]);
    }
    until("the loss is reported", || {
        lanes[0].poll(&mut heard, 64);
        !heard.lost.is_empty()
    });
    for _ in 0..10 {
        lanes[0].poll(&mut heard, 64);
    }
    assert_eq!(heard.lost.len(), 1);
    let text = heard.lost[0].1.to_string();
    assert!(text.contains("peer 0 is lost") && text.contains("fake cannot send to it"), "{text}");
    assert_eq!(lanes[0].short(Peer(0), &header, &[]), Submit::Lost);
    drop(lanes);
    assert_eq!(turn.faults(), [] as [&str; 0]);
}

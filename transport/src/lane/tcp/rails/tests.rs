// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Both sides of a pair without sockets: rails are pipes that take and bring as many bytes as
//! chance wants, and break and come back when it wants. Everything must arrive once and in order.

use super::super::frame::FrameDecoder;
use super::incoming::{Heard, Incoming};
use super::outgoing::Outgoing;
use super::word::RailWord;
use super::{Bundle, ORDERED_BYTES_MAX, RAILS_MAX};
use crate::envelope::Peer;
use crate::error::Error;
use crate::lane::Inbox;
use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header, MessageKind};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// Chance.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 33) as usize % limit
    }
}

fn byte(token: u64, at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b1).wrapping_add(token * 77) >> 11) as u8
}

/// Checks all that is delivered.
#[derive(Default)]
struct Checker {
    ordered: u32,
    /// By kind and token: what is counted, and the memory it goes to.
    bodies: BTreeMap<(u8, u64), (u64, Vec<u8>)>,
    bytes: u64,
}

impl Checker {
    fn count(&mut self, header: &Header, body: Option<&[u8]>) {
        assert_eq!((header.context, header.source), (0, 0), "the lane's words are gone");
        let (moved, memory) = self.bodies.entry((header.kind, header.token)).or_default();
        if header.kind == MessageKind::Data as u8 {
            assert_eq!(header.data_offset(), *moved, "data of {} in order", header.token);
        }
        let from = *moved as usize;
        let body = body.unwrap_or_else(|| &memory[from..from + header.body as usize]);
        assert_eq!(body.len(), header.body as usize);
        for (at, got) in (*moved..).zip(body) {
            assert_eq!(*got, byte(header.token, at), "byte {at} of {}", header.token);
        }
        *moved += body.len() as u64;
        self.bytes += body.len() as u64;
    }
}

impl Inbox for Checker {
    fn message(&mut self, _: Peer, header: &Header, body: &[u8]) {
        if header.comes_in_pieces() {
            return self.count(header, Some(body));
        }
        assert_eq!((header.tag, header.body as usize), (self.ordered, body.len()), "in order");
        assert!(body.iter().all(|got| *got == header.tag as u8));
        self.ordered += 1;
    }

    fn lost(&mut self, _: Peer, _: Error) {
        unreachable!("a lane says that");
    }

    fn place(&mut self, _: Peer, header: &Header) -> Option<&mut [u8]> {
        // Every third message is one that has no place.
        if header.token.is_multiple_of(3) {
            return None;
        }
        let (moved, memory) = self.bodies.entry((header.kind, header.token)).or_default();
        let from = *moved as usize;
        if header.kind == MessageKind::Data as u8 && header.data_offset() != *moved {
            return None;
        }
        // What was not counted is not kept: the place may be another one each time.
        memory.truncate(from);
        memory.resize(from + header.body as usize, 0xee);
        Some(&mut memory[from..from + header.body as usize])
    }

    fn placed(&mut self, _: Peer, header: &Header) {
        self.count(header, None);
    }
}

/// What a side still has to send.
enum Item {
    Ordered(usize),
    Pieces(MessageKind, u64, u64, u64),
}

struct Side {
    bundle: Bundle,
    inbox: Checker,
    decoders: [FrameDecoder; RAILS_MAX],
    open: [bool; RAILS_MAX],
    items: VecDeque<Item>,
    tags: u32,
    pieces: u64,
}

impl Side {
    fn new(rails: usize, first: usize, dice: &mut Dice, count: usize) -> Side {
        let preference: Vec<u8> = (0..rails).map(|at| ((at + first) % rails) as u8).collect();
        let mut pieces = 0;
        let mut items = VecDeque::new();
        for token in 0..count as u64 {
            let most = [200, 5000, 300_000][dice.below(3)];
            let bytes = 1 + dice.below(most) as u64;
            let item = match dice.below(4) {
                0 => Item::Pieces(MessageKind::Data, token, 0, bytes),
                1 => Item::Pieces(MessageKind::EagerMore, token, 0, bytes),
                _ => Item::Ordered(dice.below(2000)),
            };
            if let Item::Pieces(..) = item {
                pieces += bytes;
            }
            items.push_back(item);
        }
        Side {
            bundle: Bundle::new(&preference),
            inbox: Checker::default(),
            decoders: Default::default(),
            open: [false; RAILS_MAX],
            items,
            tags: 0,
            pieces,
        }
    }

    /// Submits some of what it has to send.
    fn submit(&mut self, dice: &mut Dice) {
        let Some(item) = self.items.front_mut() else { return };
        match item {
            Item::Ordered(bytes) => {
                let header = Header {
                    kind: MessageKind::Eager as u8,
                    tag: self.tags,
                    body: *bytes as u32,
                    ..Header::default()
                };
                let (bytes, tag) = (*bytes, self.tags as u8);
                if self.bundle.accept(header.kind, HEADER_BYTES + bytes, &mut |into| {
                    into[..HEADER_BYTES].copy_from_slice(&codec::encode(&header));
                    into[HEADER_BYTES..].fill(tag);
                }) {
                    self.tags += 1;
                    self.items.pop_front();
                }
            }
            Item::Pieces(kind, token, at, all) => {
                let bytes = (*all - *at).min(1 + dice.below(40_000) as u64);
                let header = match kind {
                    MessageKind::Data => Header::data(*token, *at, bytes as usize),
                    kind => Header { body: bytes as u32, ..Header::with_token(*kind, *token) },
                };
                let (begin, token) = (*at, *token);
                if self.bundle.accept(header.kind, HEADER_BYTES + bytes as usize, &mut |into| {
                    into[..HEADER_BYTES].copy_from_slice(&codec::encode(&header));
                    for (at, into) in (begin..).zip(&mut into[HEADER_BYTES..]) {
                        *into = byte(token, at);
                    }
                }) {
                    *at += bytes;
                    if at == all {
                        self.items.pop_front();
                    }
                }
            }
        }
    }

    fn acknowledge(&mut self, rail: Option<usize>) {
        if let Some(rail) = rail {
            let acknowledgement = self.bundle.incoming.acknowledgement();
            self.bundle.out.say(rail, acknowledgement);
        }
    }

    fn close(&mut self, rail: usize) {
        if std::mem::take(&mut self.open[rail]) {
            self.bundle.out.closed(rail);
            self.bundle.incoming.restart(rail);
            self.acknowledge(self.bundle.out.primary());
        }
    }

    fn open(&mut self, rail: usize) {
        self.close(rail);
        self.open[rail] = true;
        self.decoders[rail] = FrameDecoder::default();
        self.bundle.out.opened(rail);
        self.bundle.incoming.restart(rail);
        self.acknowledge(Some(rail));
    }

    /// Takes bytes that a rail brought, in one of the two ways.
    fn receive(&mut self, rail: usize, mut bytes: &[u8]) {
        let from = (Peer(1), rail);
        let decoder = &mut self.decoders[rail];
        if let Some(awaited) = decoder.awaited() {
            let place = self.bundle.incoming.place(from, &awaited, &mut self.inbox).expect("sound");
            if let Some(place) = place {
                let (placed, rest) = bytes.split_at(bytes.len().min(place.len()));
                place[..placed.len()].copy_from_slice(placed);
                bytes = rest;
                decoder.landed(placed.len());
                let count = placed.len();
                self.bundle.incoming.landed(from, count, &mut self.inbox).expect("sound");
            }
        }
        loop {
            let incoming = &mut self.bundle.incoming;
            let taken = incoming.take(from, decoder, &mut bytes, &mut self.inbox, 3);
            match taken.expect("sound").1 {
                Heard::Nothing => break,
                Heard::Word(RailWord::Acknowledge { offset, counts }) => {
                    self.bundle.out.acknowledged(offset, counts).expect("true");
                }
                Heard::Budget | Heard::Word(_) => {}
            }
        }
        if self.bundle.incoming.owes(false) {
            self.acknowledge(Some(rail));
        }
    }
}

struct World {
    sides: [Side; 2],
    /// By rail and by the side that writes.
    pipes: Vec<[VecDeque<u8>; 2]>,
    room: usize,
}

impl World {
    fn write(&mut self, rail: usize, side: usize, dice: &mut Dice) {
        let this = &mut self.sides[side];
        let pipe = &mut self.pipes[rail][side];
        let room = self.room.saturating_sub(pipe.len());
        if !this.open[rail] || room == 0 {
            return;
        }
        this.bundle.out.set_stalled(rail, false);
        let bytes = this.bundle.out.next(rail);
        let wanted = bytes.len();
        let sent = wanted.min(room).min(dice.below(2 * room));
        pipe.extend(&bytes[..sent]);
        this.bundle.out.wrote(rail, sent);
        this.bundle.out.set_stalled(rail, sent < wanted);
    }

    fn read(&mut self, rail: usize, side: usize, dice: &mut Dice) {
        let pipe = &mut self.pipes[rail][1 - side];
        let count = pipe.len().min(1 + dice.below(30_000));
        let bytes: Vec<u8> = pipe.drain(..count).collect();
        if self.sides[side].open[rail] {
            self.sides[side].receive(rail, &bytes);
        }
    }

    fn reopen(&mut self, rail: usize) {
        self.pipes[rail].iter_mut().for_each(VecDeque::clear);
        self.sides.iter_mut().for_each(|side| side.open(rail));
    }

    fn is_over(&self) -> bool {
        self.sides.iter().all(|side| {
            side.items.is_empty()
                && side.bundle.out.is_written()
                && side.bundle.out.is_acknowledged()
        })
    }
}

fn run(seed: u64, rails: usize, break_one_in: usize) {
    let mut dice = Dice(seed);
    let sides = [0, 1].map(|first| Side::new(rails, first, &mut dice, 60));
    let room = 2000 + dice.below(100_000);
    let mut world = World { sides, pipes: (0..rails).map(|_| Default::default()).collect(), room };
    let mut breaks = 0;
    for step in 0.. {
        assert!(step < 3_000_000, "no end");
        let (rail, side) = (dice.below(rails), dice.below(2));
        match dice.below(8) {
            0 | 1 => world.sides[side].submit(&mut dice),
            2..=4 => world.write(rail, side, &mut dice),
            _ => world.read(rail, side, &mut dice),
        }
        // One side loses the rail; what it wrote may still arrive, and the other one learns later.
        if breaks < 200 && dice.below(break_one_in) == 0 {
            breaks += 1;
            world.sides[side].close(rail);
        }
        let broken = world.sides.iter().any(|side| !side.open[rail]);
        if broken && dice.below(30) == 0 {
            world.reopen(rail);
        }
        if step % 1000 == 0 {
            if world.is_over() {
                break;
            }
            for side in &mut world.sides {
                if side.items.is_empty() {
                    let primary = side.bundle.out.primary();
                    side.acknowledge(primary);
                }
            }
        }
    }
    for side in 0..2 {
        let (sent, got) = (&world.sides[side], &world.sides[1 - side].inbox);
        assert_eq!(sent.bundle.incoming.held_count(), 0, "nothing is kept for ever");
        assert_eq!((sent.tags, sent.pieces), (got.ordered, got.bytes), "all arrived, once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn everything_arrives_once_and_in_order_whatever_breaks(
        seed: u64, rails in 1..=RAILS_MAX, break_one_in in 20_usize..3000,
    ) {
        run(seed, rails, break_one_in);
    }

    #[test]
    fn words_of_a_mad_peer_end_in_an_error(bytes: Vec<u8>, seed: u64) {
        let mut dice = Dice(seed);
        let (mut incoming, mut decoder) = (Incoming::default(), FrameDecoder::default());
        let (mut inbox, mut rest) = (Nobody, &bytes[..]);
        for _ in 0..50 {
            let kind = [1, 3, 6, 0xf2, 0xf3, 0xf4, 0xf5, 0xf7][dice.below(8)];
            let mut word = || dice.below(300) as u32;
            let (body, context, source, token) = (word(), word(), word(), word().into());
            let body = if kind >= 0xf0 { 0 } else { body };
            let header = Header { kind, body, context, source, token, ..Header::default() };
            let frame = [&codec::encode(&header)[..], &vec![0; body as usize]].concat();
            for mut piece in frame.chunks(1 + dice.below(200)) {
                if incoming.take((Peer(1), 0), &mut decoder, &mut piece, &mut inbox, 9).is_err() {
                    return Ok(());
                }
            }
        }
        let _ = incoming.take((Peer(1), 1), &mut decoder, &mut rest, &mut inbox, 9);
    }
}

struct Nobody;

impl Inbox for Nobody {
    fn message(&mut self, _: Peer, header: &Header, body: &[u8]) {
        assert_eq!(header.body as usize, body.len());
    }
    fn lost(&mut self, _: Peer, _: Error) {}
}

/// The goodbye may come by another rail than the data before it, and earlier.
#[test]
fn a_goodbye_counts_when_the_data_before_it_are_there() {
    let mut dice = Dice(1);
    let [mut sender, mut receiver] = [0, 0].map(|first| Side::new(2, first, &mut dice, 0));
    for side in [&mut sender, &mut receiver] {
        (0..2).for_each(|rail| side.open(rail));
    }
    sender.items.extend((1..=2).map(|token| Item::Pieces(MessageKind::Data, token, 0, 1)));
    sender.submit(&mut dice);
    sender.submit(&mut dice);
    sender.bundle.say_goodbye();
    for (rail, is_over) in [(0, false), (1, true)] {
        loop {
            let bytes = sender.bundle.out.next(rail).to_vec();
            sender.bundle.out.wrote(rail, bytes.len());
            if bytes.is_empty() {
                break;
            }
            receiver.receive(rail, &bytes);
        }
        assert_eq!(receiver.bundle.incoming.is_over(), is_over, "after rail {rail}");
    }
    assert_eq!(receiver.inbox.bytes, 2);
}

/// What was never sent cannot be acknowledged, and there is an end to what is kept.
#[test]
fn acknowledgements_and_bounds_are_checked() {
    let mut out = Outgoing::new(vec![0, 1]);
    out.opened(0);
    assert!(out.acknowledged(1, [0; RAILS_MAX]).is_err());
    assert!(out.acknowledged(0, [1, 0, 0, 0]).is_err());
    let mut accepted = 0;
    while out.accept(1000, &mut |_| {}) {
        accepted += 1;
    }
    assert_eq!(accepted, ORDERED_BYTES_MAX / 1000);
    assert!(out.acknowledged(999, [0; RAILS_MAX]).is_err(), "within a frame");
    assert!(out.acknowledged(1000, [0; RAILS_MAX]).is_ok());
    assert!(out.accept(1000, &mut |_| {}), "there is room again");
    let mut chunks = 0;
    while out.accept_chunk(100_000, &mut |number, _| assert_eq!(number, chunks)) {
        chunks += 1;
    }
    assert_eq!(chunks, super::DATA_BYTES_MAX as u64 / 100_000);
}

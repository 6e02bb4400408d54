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
use strait_transport::lane::ofi::provider::{Here, Wanted};
use strait_transport::lane::ofi::sys::{
    FI_MR_ALLOCATED, FI_MR_ENDPOINT, FI_MR_LOCAL, FI_MR_PROV_KEY, FI_MR_VIRT_ADDR,
};
use strait_transport::lane::ofi::{OfiLane, OfiPort};
use strait_transport::lane::remote::{Access, RemoteMemory, Way};
use strait_transport::lane::{Get, Inbox, Lane};
use strait_transport::topology::CoreSet;
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
    lanes_in(&mut MemoryDirectory::all(count))
}

fn lanes_in(directories: &mut Vec<MemoryDirectory>) -> Vec<OfiLane> {
    let count = directories.len() as u32;
    let one = |(rank, directory): (usize, MemoryDirectory)| {
        let wanted = Wanted { provider: Some("fake".into()), ..Wanted::default() };
        let objects = Objects::open(fake::library(), &wanted).expect("the fake");
        let port = OfiPort::new(objects).expect("the fake");
        let mut settings = Settings::new(rank as u32, count, [1; 16], [2; 32]);
        settings.report = Box::new(|line| panic!("no strangers here: {line}"));
        OfiLane::with_directory(port, settings, Box::new(directory))
    };
    directories.drain(..).enumerate().map(one).collect()
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

/// Waits for the end of what was begun under a token by the second lane.
fn end_of(lanes: &mut [OfiLane], heard: &mut [Heard; 2], begun: Get, token: u64) -> Get {
    if !matches!(begun, Get::Begun) {
        return begun;
    }
    until("an access has ended", || {
        lanes.iter_mut().zip(heard.iter_mut()).for_each(|(lane, heard)| {
            lane.poll(heard, 64);
        });
        heard[1].fetched.iter().any(|(of, _)| *of == token)
    });
    let at = heard[1].fetched.iter().position(|(of, _)| *of == token).expect("it is there");
    heard[1].fetched.swap_remove(at).1
}

/// The second writes and reads what the first exposes: short, through a frame where the mode wants
/// that, long, and more at once than there are contexts.
fn windows(lanes: &mut [OfiLane], heard: &mut [Heard; 2]) {
    const BYTES: usize = 300_000;
    heard[1].fetched.clear();
    let mut there = vec![0_u8; BYTES];
    // SAFETY: `there` stays, and is looked at only while no access is under way.
    let exposed = unsafe { lanes[0].expose(there.as_mut_ptr(), BYTES) }.expect("exposed");
    let memory = lanes[1].enter_memory(Peer(0), &exposed.name).expect("entered");
    let mut here: Vec<u8> = (0..BYTES).map(|at| (at * 31 + at / 251) as u8).collect();
    let mut wanted = vec![0_u8; BYTES];
    let mut token = 1000;
    for (offset, bytes) in [(0, 8), (100, 5000), (8192, 250_001), (BYTES - 1, 1)] {
        let local = here[offset..].as_mut_ptr();
        let access = Access { memory, offset: offset as u64, local, bytes, way: Way::Write };
        token += 1;
        // SAFETY: memory here and there stays as it is until the end was heard.
        let begun = unsafe { lanes[1].access(Peer(0), access, token) };
        let end = end_of(lanes, heard, begun, token);
        assert!(matches!(end, Get::Done), "{offset}, {bytes}: {end:?}");
        wanted[offset..offset + bytes].copy_from_slice(&here[offset..offset + bytes]);
        assert!(there == wanted, "a write is complete when it is there");
    }
    // Many at once, and one confirmation of all of them.
    let mut ends = Vec::new();
    for number in 0..200 {
        let (offset, local) = (1000 + 40 * number, here[number..].as_mut_ptr());
        let access = Access { memory, offset: offset as u64, local, bytes: 40, way: Way::Write };
        // SAFETY: as above.
        let begun = unsafe { lanes[1].access(Peer(0), access, number as u64) };
        assert!(matches!(begun, Get::Begun));
        wanted[offset..offset + 40].copy_from_slice(&here[number..number + 40]);
        ends.push(number as u64);
    }
    let begun = lanes[1].confirm(Peer(0), 7777);
    assert!(matches!(end_of(lanes, heard, begun, 7777), Get::Done));
    assert!(there == wanted, "what was confirmed is there");
    for token in ends {
        assert!(matches!(end_of(lanes, heard, Get::Begun, token), Get::Done));
    }
    assert!(matches!(lanes[1].confirm(Peer(0), 7778), Get::Done), "nothing is under way");
    // Back.
    let mut back = vec![0_u8; BYTES];
    for (token, (offset, bytes)) in (1..).zip([(3, 5), (0, 9000), (20_000, 250_000)]) {
        let local = back[offset..].as_mut_ptr();
        let access = Access { memory, offset: offset as u64, local, bytes, way: Way::Read };
        // SAFETY: as above.
        let begun = unsafe { lanes[1].access(Peer(0), access, token) };
        assert!(matches!(end_of(lanes, heard, begun, token), Get::Done));
        assert!(back[offset..offset + bytes] == there[offset..offset + bytes]);
    }
    // What is not in the window is refused here.
    let outside =
        Access { memory, offset: BYTES as u64, local: back.as_mut_ptr(), bytes: 1, way: Way::Read };
    // SAFETY: as above.
    assert!(matches!(unsafe { lanes[1].access(Peer(0), outside, 5) }, Get::Refused));
    lanes[1].leave_memory(memory);
    lanes[0].conceal(exposed.number);
}

#[test]
fn a_write_that_fails_is_refused_and_nothing_is_exposed_where_nobody_tells() {
    for mode in [0, FI_MR_LOCAL] {
        let character = Character {
            memory_mode: mode,
            multi_receive: true,
            writes_fail: true,
            ..Character::default()
        };
        let turn = fake::begin(character);
        let mut lanes = lanes(2);
        let mut heard = [Heard::default(), Heard::default()];
        let mut there = [1_u8; 64];
        // SAFETY: `there` stays, and is looked at only while no access is under way.
        let exposed = unsafe { lanes[0].expose(there.as_mut_ptr(), 64) }.expect("exposed");
        let memory = lanes[1].enter_memory(Peer(0), &exposed.name).expect("entered");
        let mut here = [2_u8; 64];
        let local = here.as_mut_ptr();
        let access = Access { memory, offset: 0, local, bytes: 64, way: Way::Write };
        // SAFETY: memory here and there stays as it is until the end was heard.
        let begun = unsafe { lanes[1].access(Peer(0), access, 3) };
        assert!(matches!(end_of(&mut lanes, &mut heard, begun, 3), Get::Refused));
        assert!(there == [1; 64] && heard[1].lost.is_empty());
        assert!(matches!(lanes[1].confirm(Peer(0), 4), Get::Done));
        drop(lanes);
        assert_eq!(turn.faults(), [] as [&str; 0]);
    }
    let turn = fake::begin(Character { tells_nothing: true, ..Character::default() });
    let mut lanes = lanes(1);
    let mut there = [0_u8; 8];
    // SAFETY: as above.
    assert!(unsafe { lanes[0].expose(there.as_mut_ptr(), 8) }.is_none());
    drop(lanes);
    assert_eq!(turn.faults(), [] as [&str; 0]);
}

#[test]
fn accesses_of_a_lost_peer_are_abandoned_once() {
    let turn = fake::begin(Character { memory_mode: FI_MR_LOCAL, ..Character::default() });
    let mut directories = MemoryDirectory::all(2);
    let directory = directories[0].clone();
    let mut lanes: Vec<OfiLane> = lanes_in(&mut directories);
    let mut heard = Heard::default();
    let mut there = [0_u8; 4096];
    // SAFETY: `there` stays.
    let exposed = unsafe { lanes[0].expose(there.as_mut_ptr(), 4096) }.expect("exposed");
    let memory = lanes[1].enter_memory(Peer(0), &exposed.name).expect("entered");
    let mut here = vec![5_u8; 100];
    // The target does not look any more, so none of these is done.
    for token in 0..100 {
        let local = here.as_mut_ptr();
        let access = Access { memory, offset: token, local, bytes: 100, way: Way::Write };
        // SAFETY: memory here and there stays until the end of this test.
        assert!(matches!(unsafe { lanes[1].access(Peer(0), access, token) }, Get::Begun));
    }
    assert!(matches!(lanes[1].confirm(Peer(0), 100), Get::Begun));
    directory.announce_loss(Peer(0));
    until("the loss is reported", || {
        lanes[1].poll(&mut heard, 64);
        !heard.lost.is_empty()
    });
    let mut tokens: Vec<u64> = heard.fetched.iter().map(|(token, _)| *token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..101).collect::<Vec<_>>(), "each once");
    assert!(heard.fetched.iter().all(|(_, end)| matches!(end, Get::Lost(_))));
    let access = Access { memory, offset: 0, local: here.as_mut_ptr(), bytes: 1, way: Way::Write };
    // SAFETY: as above.
    assert!(matches!(unsafe { lanes[1].access(Peer(0), access, 200) }, Get::Refused));
    drop(lanes);
    assert_eq!(turn.faults(), [] as [&str; 0]);
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
            windows(&mut lanes, &mut heard);
            assert_eq!(turn.loans(), 0, "nothing is exposed any more");
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

#[test]
fn of_several_cards_the_nearest_is_used() {
    let sysfs = tempfile::tempdir().expect("a directory");
    for (bus, cores) in [(1, "0-3"), (2, "4-7"), (3, "4-7"), (4, "0-7")] {
        let dir = sysfs.path().join(format!("bus/pci/devices/0000:{bus:02x}:00.0"));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join("local_cpulist"), cores).expect("a file");
    }
    // The last one is nearest to all, and of another network.
    let cards = &[(c"one", c"a", 1), (c"two", c"a", 2), (c"three", c"a", 3), (c"four", c"b", 4)];
    let turn = fake::begin(Character { cards, ..Character::default() });
    for (core, place, wanted) in
        [(0, 0, "one"), (0, 1, "one"), (6, 0, "two"), (6, 1, "three"), (9, 2, "three")]
    {
        let here = Here { cores: CoreSet::of(&[core]), place, sysfs: sysfs.path().to_owned() };
        let wanted_of = Wanted { provider: Some("fake".into()), here, ..Wanted::default() };
        let objects = Objects::open(fake::library(), &wanted_of).expect("the fake");
        assert_eq!(objects.facts.domain, wanted, "core {core}, place {place}");
    }
    assert_eq!(turn.faults(), [] as [&str; 0]);
}

#[test]
fn messages_longer_than_a_buffer_cost_no_buffer() {
    for multi_receive in [false, true] {
        let turn = fake::begin(Character { multi_receive, ..Character::default() });
        let mut lanes = lanes(2);
        let mut heard = [Heard::default(), Heard::default()];
        // More of them than there are buffers.
        for _ in 0..100 {
            turn.stranger(0, vec![0xee; 600_000]);
            lanes[0].poll(&mut heard[0], 64);
        }
        exchange(&mut lanes, &mut heard);
        assert!(heard.iter().all(|heard| heard.lost.is_empty()));
        drop(lanes);
        assert_eq!(turn.faults(), [] as [&str; 0]);
    }
}

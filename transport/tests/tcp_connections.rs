// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Making, choosing, using and ending connections.

mod tcp;

use std::io::Write;
use std::time::{Duration, Instant};
use strait_transport::envelope::Peer;
use strait_transport::error::Submit;
use strait_transport::lane::Lane;
use strait_transport::lane::directory::{Directory, MemoryDirectory};
use strait_transport::lane::tcp::address::Address;
use strait_transport::lane::tcp::frame::Control;
use strait_transport::lane::tcp::ports::Ports;
use strait_transport::lane::tcp::{QUEUE_BYTES_MAX, Settings, TcpLane};
use strait_transport::wire::codec;
use strait_transport::wire::header::{Header, MessageKind};
use tcp::*;

/// Both call before either looks, in every interleaving of polls that a seed gives: one connection
/// remains, and all messages come once and in order.
#[test]
fn a_thousand_simultaneous_opens_lose_and_double_nothing() {
    let lines = Lines::default();
    let mut collisions = 0;
    for seed in 0..1000_u64 {
        let (mut all, _) = ends(2, &lines);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = [0_u32; 2];
        let mut collided = false;
        for _ in 0..40 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let me = (state >> 20) as usize % 2;
            if state >> 30 & 1 == 0 && next[me] < 8 {
                assert_eq!(all[me].short(1 - me as u32, next[me], &[me as u8; 3]), Submit::Sent);
                next[me] += 1;
            } else {
                all[me].poll();
            }
            collided |= all[me].lane.connection_count() == 2;
        }
        collisions += u32::from(collided);
        until(&mut all, "all messages arrived", |all| {
            (0..2).all(|me| all[me].got.messages.len() == next[1 - me] as usize)
        });
        for me in 0..2 {
            let tags = all[me].tags_from(1 - me as u32);
            assert!(tags.iter().copied().eq(0..next[1 - me]), "seed {seed}: {tags:?}");
        }
        if next != [0, 0] {
            // Calls that lost are declined and closed.
            until(&mut all, "one connection remains", |all| {
                all.iter().all(|end| end.lane.connection_count() == 1)
            });
        }
        assert!(all.iter().all(|end| end.got.lost.is_empty()), "seed {seed}");
    }
    assert!(collisions > 200, "only {collisions} times did both call");
    assert!(lines.lock().expect("no panics").is_empty());
}

#[test]
fn nothing_is_connected_before_it_is_used() {
    let lines = Lines::default();
    let (mut all, _) = ends(5, &lines);
    for end in &mut all {
        end.lane.capabilities(Peer(0));
    }
    poll_for(&mut all, Duration::from_millis(20));
    assert!(all.iter().all(|end| end.lane.connection_count() == 0));
    assert_eq!(all[3].short(1, 0, b"x"), Submit::Sent);
    until(&mut all, "it arrived", |all| all[1].got.messages.len() == 1);
    let counts: Vec<usize> = all.iter().map(|end| end.lane.connection_count()).collect();
    assert_eq!(counts, [0, 1, 0, 1, 0]);
}

/// A rank that sleeps until the descriptor is readable misses nothing: the address that appears
/// later, the connection, the message.
#[test]
fn a_sleeper_is_woken_for_everything() {
    let lines = Lines::default();
    let directories = MemoryDirectory::all(2);
    let mut early = End::new(settings(0, 2, &lines), directories[0].clone());
    assert_eq!(early.short(1, 7, b"first"), Submit::Sent);
    assert!(!early.lane.is_flushed());
    let (late_lines, directory) = (lines.clone(), directories[1].clone());
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        let mut late = End::new(settings(1, 2, &late_lines), directory);
        while late.got.messages.is_empty() {
            assert!(sleep_on(&late, Duration::from_secs(30)), "nobody calls");
            late.poll();
        }
        assert_eq!(late.got.messages, [(0, 7, b"first".to_vec())]);
        assert_eq!(late.short(0, 8, b"second"), Submit::Sent);
        while !late.lane.is_flushed() {
            late.poll();
        }
        late
    });
    let mut wakes = 0;
    while early.got.messages.is_empty() {
        assert!(early.lane.has_work() || sleep_on(&early, Duration::from_secs(30)), "asleep");
        early.poll();
        wakes += 1;
    }
    let _late = thread.join().expect("the other end");
    assert_eq!(early.got.messages, [(1, 8, b"second".to_vec())]);
    assert!(wakes < 100, "{wakes} wake-ups: that is not sleeping");
    // Connected and idle: nothing wakes any more.
    early.poll();
    assert!(!early.lane.has_work() && !sleep_on(&early, Duration::from_millis(300)));
}

/// Below 16 KiB a buffer is so much smaller than a segment of the loopback device that the kernel
/// sends at the pace of its timers; every write is a partial one then, for which less will do.
#[test]
fn large_transfers_pass_through_tiny_socket_buffers() {
    transfer(64 << 20, 16 * 1024);
    transfer(48 << 10, 1024);
}

fn transfer(total: usize, socket_bytes: usize) {
    let lines = Lines::default();
    let mut directories = MemoryDirectory::all(2).into_iter();
    let mut all: Vec<End> = (0..2)
        .map(|rank| {
            let mut settings = settings(rank, 2, &lines);
            settings.socket_bytes = Some(socket_bytes);
            End::new(settings, directories.next().expect("two"))
        })
        .collect();
    let most = all[0].lane.capabilities(Peer(1)).fragment_bytes_max;
    let byte_at = |offset: usize| (offset.wrapping_mul(0x9e37_79b1) >> 13) as u8;
    let (mut sent, mut received, mut fulls) = (0, 0, 0);
    let start = Instant::now();
    while received < total {
        assert!(start.elapsed() < Duration::from_secs(120), "{received} bytes came");
        while sent < total {
            let bytes = most.min(total - sent);
            let mut fill = |into: &mut [u8]| {
                for (index, byte) in into.iter_mut().enumerate() {
                    *byte = byte_at(sent + index);
                }
            };
            match all[0].lane.fragment(Peer(1), &header(0, bytes), bytes, &mut fill) {
                Submit::Sent => sent += bytes,
                Submit::Full => {
                    fulls += 1;
                    break;
                }
                Submit::Lost => panic!("lost"),
            }
        }
        for end in &mut all {
            end.poll();
        }
        for (_, _, body) in std::mem::take(&mut all[1].got.messages) {
            let right = body.iter().enumerate().all(|(i, byte)| *byte == byte_at(received + i));
            assert!(right, "wrong bytes after {received}");
            received += body.len();
        }
    }
    assert!(fulls > 0 || total < QUEUE_BYTES_MAX, "the bound was never met");
    until(&mut all, "flushed", |all| all[0].lane.is_flushed());
}

#[test]
fn a_reset_in_the_middle_of_a_frame_is_a_loss_that_says_so() {
    for reset_it in [true, false] {
        let lines = Lines::default();
        let (mut all, directory) = ends(3, &lines);
        let address = published(&directory, 0);
        let mut stream =
            call_by_hand(&identity(2, 3), &address, 0, || poll_for(&mut all[..1], TICK));
        let head = codec::encode(&header(1, 5));
        stream.write_all(&[&head[..], b"whole", &head[..], b"ha"].concat()).expect("frames");
        until(&mut all[..1], "the whole one arrived", |all| all[0].got.messages.len() == 1);
        poll_for(&mut all[..1], Duration::from_millis(20));
        if reset_it {
            reset(stream)
        } else {
            drop(stream)
        }
        until(&mut all[..1], "the loss is reported", |all| !all[0].got.lost.is_empty());
        poll_for(&mut all[..1], Duration::from_millis(20));
        assert_eq!(all[0].got.messages, [(2, 1, b"whole".to_vec())]);
        assert_eq!(all[0].got.lost.len(), 1);
        let text = all[0].got.lost[0].1.to_string();
        assert!(text.contains("peer 2 is lost"), "{text}");
        assert!(text.contains("in the middle of a message"), "{text}");
        assert_eq!(text.contains("reset"), reset_it, "{text}");
        assert_eq!(all[0].lane.connection_count(), 0);
        assert_eq!(all[0].short(2, 1, b""), Submit::Lost);
    }
}

const TICK: Duration = Duration::from_millis(1);

/// A member of the job that sends nonsense is lost, and only it.
#[test]
fn nonsense_from_a_proved_peer_ends_that_peer_only() {
    let oversized = Header { body: u32::MAX, ..header(1, 0) };
    let unknown = Header { kind: 77, ..Header::default() };
    let reserved = Header { reserved: 1, ..header(1, 0) };
    let welcome = Control::Welcome.encode();
    for bytes in
        [codec::encode(&oversized), codec::encode(&unknown), codec::encode(&reserved), welcome]
    {
        let lines = Lines::default();
        let (mut all, directory) = ends(3, &lines);
        let address = published(&directory, 0);
        let mut stream =
            call_by_hand(&identity(2, 3), &address, 0, || poll_for(&mut all[..1], TICK));
        stream.write_all(&bytes).expect("nonsense");
        until(&mut all[..1], "the loss is reported", |all| !all[0].got.lost.is_empty());
        assert!(is_cut(&mut stream));
        assert_eq!(all[0].short(1, 3, b"still here"), Submit::Sent);
        until(&mut all, "the others talk", |all| all[1].got.messages.len() == 1);
        assert_eq!(all[0].got.lost.len(), 1);
        assert!(lines.lock().expect("no panics").is_empty());
    }
}

#[test]
fn a_goodbye_is_not_a_loss() {
    let lines = Lines::default();
    let (mut all, _) = ends(3, &lines);
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        assert_eq!(all[from as usize].short(to, 1, b"x"), Submit::Sent);
    }
    until(&mut all, "all talked", |all| all.iter().all(|end| end.got.messages.len() == 1));
    // The last words of the one that leaves are delivered.
    for tag in 0..100 {
        assert_eq!(all[0].short(1, tag, &[0; 500]), Submit::Sent);
    }
    all[0].lane.close();
    until(&mut all, "it has left", |all| all[0].lane.is_flushed());
    drop(all.remove(0));
    until(&mut all, "all arrived", |all| all[0].tags_from(0).len() == 101);
    poll_for(&mut all, Duration::from_millis(50));
    assert!(all.iter().all(|end| end.got.lost.is_empty()));
    // What only says that something is over is of no use to it, and no error.
    let credit = Header::with_token(MessageKind::Credit, 9);
    assert_eq!(all[0].lane.short(Peer(0), &credit, &[]), Submit::Sent);
    poll_for(&mut all, Duration::from_millis(5));
    assert!(all[0].got.lost.is_empty());
    // A message to it is an error that says why.
    assert_eq!(all[0].short(0, 9, b"too late"), Submit::Lost);
    all[0].poll();
    assert!(all[0].got.lost[0].1.to_string().contains("finalized"));
    // Both that are left leave at the same time.
    for end in &mut all {
        end.lane.close();
    }
    until(&mut all, "both have left", |all| all.iter().all(|end| end.lane.is_flushed()));
    poll_for(&mut all, Duration::from_millis(20));
    assert_eq!((all[0].got.lost.len(), all[1].got.lost.len()), (1, 0));
}

/// Unread bytes at the one that leaves would make the kernel drop what it has not delivered:
/// `is_flushed` waits for that.
#[test]
fn leaving_with_unread_bytes_loses_nothing() {
    for _ in 0..20 {
        let lines = Lines::default();
        let (mut all, _) = ends(2, &lines);
        assert_eq!(all[0].short(1, 0, b"x"), Submit::Sent);
        until(&mut all, "connected", |all| all[1].got.messages.len() == 1);
        for tag in 1..400 {
            assert_eq!(all[0].short(1, tag, &[7; 1000]), Submit::Sent);
            assert_eq!(all[1].short(0, tag, &[7; 1000]), Submit::Sent);
        }
        all[0].lane.close();
        // The one that leaves looks at what it must send only.
        let start = Instant::now();
        while !all[0].lane.is_flushed() {
            assert!(start.elapsed() < Duration::from_secs(30), "never flushed");
            let mut one = End { lane: all.remove(0).lane, got: Got::default() };
            one.lane.poll(&mut one.got, 0);
            all.insert(0, one);
            all[1].poll();
        }
        drop(all.remove(0));
        until(&mut all, "all arrived", |all| all[0].got.messages.len() == 400);
        poll_for(&mut all, Duration::from_millis(5));
        assert!(all[0].got.lost.is_empty(), "{:?}", all[0].got.lost);
    }
}

#[test]
fn another_build_is_named_on_both_sides() {
    let lines = Lines::default();
    let directories = MemoryDirectory::all(2);
    let mut other = settings(1, 2, &lines);
    other.identity.build = 0xbad;
    let mut all = vec![
        End::new(settings(0, 2, &lines), directories[0].clone()),
        End::new(other, directories[1].clone()),
    ];
    assert_eq!(all[1].short(0, 1, b"x"), Submit::Sent);
    until(&mut all, "both know", |all| all.iter().all(|end| !end.got.lost.is_empty()));
    for (end, peer) in all.iter().zip([1, 0]) {
        let text = end.got.lost[0].1.to_string();
        assert_eq!(end.got.lost[0].0, peer);
        assert!(text.contains("another build of Strait"), "{text}");
        assert!(text.contains("build 0000000000000bad"), "{text}");
    }
    assert!(all.iter().all(|end| end.got.messages.is_empty()));
    assert!(lines.lock().expect("no panics").is_empty(), "it is of this job");
}

/// A peer that ended before it was ever called.
#[test]
fn a_call_to_nobody_is_a_loss() {
    let lines = Lines::default();
    let (mut all, _) = ends(2, &lines);
    all.pop();
    assert_eq!(all[0].short(1, 1, b"x"), Submit::Sent);
    until(&mut all, "the loss is reported", |all| !all[0].got.lost.is_empty());
    let text = all[0].got.lost[0].1.to_string();
    assert!(text.contains("peer 1 is lost: nobody listens at its address"), "{text}");
    assert!(all[0].lane.is_flushed(), "nothing is left of the message");
}

/// Who waits for the last acknowledgement may sleep, also when it comes just before it does.
#[test]
fn a_sleeper_is_woken_when_all_is_acknowledged() {
    let lines = Lines::default();
    let (mut all, _) = ends(2, &lines);
    let mut unflushed = 0;
    for tag in 0..200 {
        assert_eq!(all[0].short(1, tag, b"x"), Submit::Sent);
        until(&mut all, "it arrived", |all| all[1].got.messages.len() == tag as usize + 1);
        if all[0].lane.is_flushed() {
            continue;
        }
        unflushed += 1;
        if unflushed % 2 == 0 {
            std::thread::sleep(Duration::from_millis(60));
        }
        // One wake-up at least follows the answer "no", whatever was polled since.
        all[0].poll();
        assert!(sleep_on(&all[0], Duration::from_secs(30)), "asleep for good");
        while !all[0].lane.is_flushed() {
            assert!(sleep_on(&all[0], Duration::from_secs(30)), "asleep for good");
            all[0].poll();
        }
        if unflushed == 20 {
            break;
        }
    }
    assert!(unflushed > 0, "the kernel was never seen to owe an acknowledgement");
    std::thread::sleep(Duration::from_millis(10));
    all[0].poll();
    assert!(!sleep_on(&all[0], Duration::from_millis(100)), "nothing is left to look for");
}

/// Somebody cuts the calls off before it answers: they are repeated, and not forever.
#[test]
fn calls_that_are_cut_off_are_repeated_five_times() {
    let lines = Lines::default();
    let directories = MemoryDirectory::all(2);
    let gate = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let std::net::SocketAddr::V4(socket) = gate.local_addr().expect("bound") else { panic!() };
    directories[1].publish(&Address::new(socket, [0; 16]).encode());
    gate.set_nonblocking(true).expect("a socket");
    let mut all = [End::new(settings(0, 2, &lines), directories[0].clone())];
    assert_eq!(all[0].short(1, 1, b"x"), Submit::Sent);
    let mut calls = 0;
    let start = Instant::now();
    while all[0].got.lost.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "{calls} calls");
        if let Ok((stream, _)) = gate.accept() {
            calls += 1;
            reset(stream);
        }
        all[0].poll();
    }
    assert_eq!(calls, 5);
    assert_eq!(all[0].lane.connection_count(), 0);
    assert_eq!(all[0].got.lost.len(), 1);
}

/// One connection per used pair, and nothing else: descriptors and memory follow the neighbours of
/// a rank, not the size of the job.
#[test]
fn a_ring_of_many_uses_two_connections_each() {
    const RANKS: u32 = 48;
    let lines = Lines::default();
    let (mut all, _) = ends(RANKS, &lines);
    for round in 0..5 {
        for rank in 0..RANKS {
            let next = (rank + 1) % RANKS;
            assert_eq!(all[rank as usize].short(next, round, b"around"), Submit::Sent);
        }
    }
    until(&mut all, "all arrived", |all| all.iter().all(|end| end.got.messages.len() == 5));
    assert!(all.iter().all(|end| end.lane.connection_count() == 2));
    assert!(all.iter().all(|end| !sleep_on(end, Duration::ZERO)), "nothing wakes who waits");
}

/// A member that said hello and then computes is not a stranger, however long it takes.
#[test]
fn a_slow_member_is_waited_for() {
    let lines = Lines::default();
    let (mut all, _) = ends(2, &lines);
    assert_eq!(all[1].short(0, 1, b"x"), Submit::Sent);
    // Rank 1 does not look for longer than a stranger would be given.
    poll_for(&mut all[..1], Duration::from_millis(2500));
    assert!(lines.lock().expect("no panics").is_empty());
    until(&mut all, "it arrived", |all| all[0].got.messages.len() == 1);
    assert!(all.iter().all(|end| end.got.lost.is_empty()));
}

#[test]
fn ranks_take_ports_of_a_range_and_say_when_there_is_none() {
    // Three ports that were free a moment ago, so that two ranks fit whatever else runs here.
    let probe = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let first = probe().local_addr().expect("its address").port().min(65_000);
    let range = format!("{first}-{}", first + 2);
    let mut lanes = Vec::new();
    let refused = loop {
        let mut settings = Settings::new(lanes.len() as u32, 9, JOB, KEY);
        settings.ports = Ports::parse(&range).expect("a range");
        let directory = Box::new(MemoryDirectory::all(9).swap_remove(lanes.len()));
        match TcpLane::with_directory(settings, directory) {
            Ok(lane) => lanes.push(lane),
            Err(error) => break error.to_string(),
        }
    };
    assert!((1..=3).contains(&lanes.len()), "{} of three ports", lanes.len());
    let mut taken: Vec<u16> = lanes.iter().map(|lane| lane.address().socket.port()).collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), lanes.len(), "each has its own");
    assert!(taken.iter().all(|port| (first..=first + 2).contains(port)), "{taken:?} of {range}");
    assert!(refused.contains(&range) && refused.contains("STRAIT_TCP_PORTS"), "{refused}");
}

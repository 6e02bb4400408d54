// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is not of the job is dropped: soon, without harm, and with one line.

mod tcp;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use strait_transport::envelope::Peer;
use strait_transport::error::Submit;
use strait_transport::lane::directory::{Directory, MemoryDirectory};
use strait_transport::lane::tcp::address::Address;
use strait_transport::lane::tcp::auth::{self, Identity, Initiator};
use tcp::*;

/// Traffic in both directions goes on while `disturb` does its worst; everything arrives.
fn undisturbed(disturb: impl FnOnce(&mut Vec<End>)) -> Vec<String> {
    let lines = Lines::default();
    // The third rank only lends its name to who disturbs.
    let (mut all, _) = ends(3, &lines);
    all.truncate(2);
    for tag in 0..100 {
        assert_eq!(all[0].short(1, tag, b"before"), Submit::Sent);
        assert_eq!(all[1].short(0, tag, b"before"), Submit::Sent);
    }
    disturb(&mut all);
    for tag in 100..200 {
        assert_eq!(all[0].short(1, tag, b"after"), Submit::Sent);
        assert_eq!(all[1].short(0, tag, b"after"), Submit::Sent);
    }
    until(&mut all, "all messages arrived", |all| {
        all.iter().all(|end| end.got.messages.len() == 200)
    });
    let tags: Vec<u32> = (0..200).collect();
    assert_eq!((all[0].tags_from(1), all[1].tags_from(0)), (tags.clone(), tags));
    assert!(all.iter().all(|end| end.got.lost.is_empty()));
    lines.lock().expect("no panics").clone()
}

fn expect_one_line(lines: &[String], rank: u32) {
    assert_eq!(lines.len(), 1, "one line in all, whoever knocks how often: {lines:?}");
    let start = format!("strait: rank {rank} on testhost dropped a connection from 127.0.0.1:");
    assert!(lines[0].starts_with(&start), "{}", lines[0]);
    assert!(lines[0].ends_with(": it is not of this job") && !lines[0].contains('\n'));
}

#[test]
fn garbage_and_port_scans_do_no_harm() {
    let lines = undisturbed(|all| {
        let mut state = 7_u64;
        for round in 0..60 {
            let mut stream = TcpStream::connect(socket_of(&all[1])).expect("it listens");
            let mut garbage = [0; 4096];
            for byte in &mut garbage {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11);
                *byte = (state >> 33) as u8;
            }
            let sent: &[u8] = match round % 4 {
                0 => &[],
                1 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                2 => &garbage,
                _ => b"STRAITc\n\x01\x00\x00\x00",
            };
            // The lane may cut it off before all is written.
            let _ = stream.write_all(sent);
            if round % 2 == 0 {
                drop(stream);
            }
            poll_for(all, Duration::from_millis(5));
        }
    });
    expect_one_line(&lines, 1);
}

#[test]
fn what_begins_wrong_is_cut_at_once() {
    let lines = Lines::default();
    let (mut all, _) = ends(2, &lines);
    let mut stream = TcpStream::connect(socket_of(&all[1])).expect("it listens");
    stream.write_all(b"X").expect("one byte");
    let start = Instant::now();
    while !is_cut(&mut stream) {
        assert!(start.elapsed() < Duration::from_secs(30), "never cut");
        all[1].poll();
    }
    assert_eq!(all[1].lane.connection_count(), 0);
    expect_one_line(&lines.lock().expect("no panics"), 1);
}

#[test]
fn another_key_is_refused_before_a_challenge_is_wasted_on_it() {
    let lines = undisturbed(|all| {
        let thief = Identity { key: [9; 32], ..identity(2, 3) };
        let address = all[1].lane.address();
        let mut stream = TcpStream::connect(address.socket).expect("it listens");
        let hello = *Initiator::new(&thief, 1, 99, &address.listener, [3; 16]).hello();
        stream.write_all(&hello).expect("hello");
        let start = Instant::now();
        while !is_cut(&mut stream) {
            assert!(start.elapsed() < Duration::from_secs(30), "never cut");
            poll_for(all, Duration::from_millis(1));
        }
    });
    expect_one_line(&lines, 1);
}

#[test]
fn a_wrong_proof_after_a_good_hello_is_refused() {
    let lines = undisturbed(|all| {
        let address = all[1].lane.address();
        let mut stream = TcpStream::connect(address.socket).expect("it listens");
        let initiator = Initiator::new(&identity(2, 3), 1, 99, &address.listener, [3; 16]);
        stream.write_all(initiator.hello()).expect("hello");
        let mut challenge = [0; auth::CHALLENGE_BYTES];
        read_exact(&mut stream, &mut challenge, || poll_for(all, Duration::from_millis(1)));
        stream.write_all(&challenge[48..]).expect("the acceptor's own proof, reflected");
        let start = Instant::now();
        while !is_cut(&mut stream) {
            assert!(start.elapsed() < Duration::from_secs(30), "never cut");
            poll_for(all, Duration::from_millis(1));
        }
    });
    expect_one_line(&lines, 1);
}

/// A relay between the lanes records all that rank 1 says to rank 0; played again, it is refused
/// after the first message.
#[test]
fn a_replayed_handshake_is_refused() {
    let lines = Lines::default();
    let directories = MemoryDirectory::all(2);
    let relay = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = End::new(settings(0, 2, &lines), directories[0].clone());
    let real = published(&directories[0], 0);
    let std::net::SocketAddr::V4(socket) = relay.local_addr().expect("bound") else { panic!() };
    directories[0].publish(&Address { socket, ..real }.encode());
    let caller = End::new(settings(1, 2, &lines), directories[1].clone());
    let mut all = vec![target, caller];
    assert_eq!(all[1].short(0, 5, b"hello"), Submit::Sent);

    let (mut inner, _) = relay.accept().expect("the caller");
    let mut outer = TcpStream::connect(real.socket).expect("the target");
    inner.set_nonblocking(true).expect("a socket");
    outer.set_nonblocking(true).expect("a socket");
    let mut recorded = Vec::new();
    let start = Instant::now();
    while all[0].got.messages.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "the relay does not work");
        pass_on(&mut inner, &mut outer, &mut recorded);
        pass_on(&mut outer, &mut inner, &mut Vec::new());
        poll_for(&mut all, Duration::from_millis(1));
    }
    assert!(recorded.len() > auth::UNPROVED_BYTES_MAX);

    let mut again = TcpStream::connect(real.socket).expect("the target");
    let _ = again.write_all(&recorded);
    let start = Instant::now();
    while !is_cut(&mut again) {
        assert!(start.elapsed() < Duration::from_secs(30), "never cut");
        poll_for(&mut all, Duration::from_millis(1));
    }
    assert_eq!(all[0].got.messages.len(), 1, "nothing of the recording was delivered");
    assert!(all.iter().all(|end| end.got.lost.is_empty()));
    expect_one_line(&lines.lock().expect("no panics"), 0);
}

fn pass_on(from: &mut TcpStream, to: &mut TcpStream, record: &mut Vec<u8>) {
    let mut bytes = [0; 4096];
    if let Ok(count) = std::io::Read::read(from, &mut bytes) {
        record.extend(&bytes[..count]);
        to.write_all(&bytes[..count]).expect("room for a handshake");
    }
}

/// A byte per 100 ms, each of them right: the hello would take 6.4 s.
#[test]
fn a_slow_loris_is_cut_after_two_seconds() {
    let lines = undisturbed(|all| {
        let address = all[1].lane.address();
        let hello = *Initiator::new(&identity(2, 3), 1, 99, &address.listener, [3; 16]).hello();
        let mut stream = TcpStream::connect(address.socket).expect("it listens");
        let start = Instant::now();
        let mut said = 0;
        while !is_cut(&mut stream) {
            assert!(said < hello.len(), "it could say all of its hello");
            if stream.write_all(&hello[said..=said]).is_ok() {
                said += 1;
            }
            poll_for(all, Duration::from_millis(100));
        }
        assert!(start.elapsed() >= Duration::from_millis(1900), "cut too early");
    });
    expect_one_line(&lines, 1);
}

/// The deadline wakes a sleeper: nobody polls until the descriptor says so.
#[test]
fn a_silent_stranger_is_cut_while_the_rank_sleeps() {
    let lines = Lines::default();
    let (mut all, _) = ends(2, &lines);
    let mut stream = TcpStream::connect(socket_of(&all[1])).expect("it listens");
    let mut wakes = 0;
    while !is_cut(&mut stream) {
        assert!(sleep_on(&all[1], Duration::from_secs(30)), "nothing wakes the sleeper");
        all[1].poll();
        wakes += 1;
    }
    assert!(wakes <= 4, "{wakes} wake-ups for one stranger");
    expect_one_line(&lines.lock().expect("no panics"), 1);
}

#[test]
fn a_flood_of_silent_strangers_stays_bounded() {
    let lines = undisturbed(|all| {
        let mut streams = Vec::new();
        for _ in 0..400 {
            streams.push(TcpStream::connect(socket_of(&all[1])).expect("it listens"));
            all[1].poll();
        }
        poll_for(all, Duration::from_millis(100));
        assert!(all[1].lane.connection_count() <= 256 + 2);
    });
    expect_one_line(&lines, 1);
}

/// Somebody else listens where the peer did: the peer is lost, nothing is believed.
#[test]
fn a_foreign_listener_at_a_peers_address_is_not_believed() {
    let lines = Lines::default();
    let directories = MemoryDirectory::all(2);
    let foreign = TcpListener::bind("127.0.0.1:0").expect("a port");
    let std::net::SocketAddr::V4(socket) = foreign.local_addr().expect("bound") else { panic!() };
    directories[0].publish(&Address::new(socket, [0; 16]).encode());
    let mut all = vec![End::new(settings(1, 2, &lines), directories[1].clone())];
    assert_eq!(all[0].short(0, 1, b"secret"), Submit::Sent);
    let (mut stream, _) = foreign.accept().expect("the call");
    stream.write_all(&[b'S'; 200]).expect("an answer");
    until(&mut all, "the loss is reported", |all| !all[0].got.lost.is_empty());
    let text = all[0].got.lost[0].1.to_string();
    assert!(text.contains("peer 0 is lost") && text.contains("does not speak"), "{text}");
    let mut heard = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut heard);
    assert!(heard.len() <= auth::HELLO_BYTES, "nothing but the hello was told");
    assert_eq!(all[0].lane.connection_count(), 0);
    assert!(all[0].lane.short_is_lost());
}

trait IsLost {
    fn short_is_lost(&mut self) -> bool;
}

impl IsLost for strait_transport::lane::tcp::TcpLane {
    fn short_is_lost(&mut self) -> bool {
        use strait_transport::lane::Lane;
        self.short(Peer(0), &header(1, 0), &[]) == Submit::Lost
    }
}

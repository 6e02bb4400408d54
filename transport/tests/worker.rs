// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One worker talking to itself over loopback, and pairs over a quiet simulated network: every
//! protocol, by size and mode, one at a time.

use std::sync::Arc;
use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::lane::sim::{SimNet, SimPlan};
use strait_transport::payload::{Layout, Payload};
use strait_transport::request::{Outcome, RequestId};
use strait_transport::worker::{SendMode, Sent, Worker};

const QUIET: SimPlan = SimPlan {
    size: 2,
    seed: 1,
    capacity: 8,
    delay_max: 0,
    stall_one_in: 0,
    stall_max: 0,
    full_one_in: 0,
    short_bytes_max: 128,
    fragment_bytes_max: 1024,
    piece_bytes_max: 1024,
    bulk_bytes_max: 0,
    get: true,
    refuse_get: false,
};

/// Every other byte of memory belongs to the payload.
struct Gaps;

// SAFETY: element i is the byte at 2 i, and only those are touched.
unsafe impl Layout for Gaps {
    fn packed_bytes(&self) -> usize {
        1
    }
    unsafe fn pack(&self, base: *const u8, _count: usize, offset: usize, into: &mut [u8]) {
        for (i, byte) in into.iter_mut().enumerate() {
            // SAFETY: the caller says that the element exists.
            *byte = unsafe { *base.add(2 * (offset + i)) };
        }
    }
    unsafe fn unpack(&self, base: *mut u8, _count: usize, offset: usize, from: &[u8]) {
        for (i, byte) in from.iter().enumerate() {
            // SAFETY: the caller says that the element exists.
            unsafe { *base.add(2 * (offset + i)) = *byte };
        }
    }
}

fn contiguous(buffer: &mut [u8]) -> Payload {
    Payload::Contiguous { base: buffer.as_mut_ptr(), bytes: buffer.len() }
}

fn typed(buffer: &mut [u8]) -> Payload {
    let count = buffer.len() / 2;
    Payload::Typed { base: buffer.as_mut_ptr(), count, layout: Arc::new(Gaps) }
}

fn world(plan: SimPlan) -> (SimNet, Vec<Worker>) {
    let net = SimNet::new(plan.clone());
    let workers =
        (0..plan.size).map(|me| Worker::for_test(net.lane(Peer(me)), false, 256 << 10)).collect();
    (net, workers)
}

fn settle(net: &SimNet, workers: &mut [Worker]) {
    let mut quiet = 0;
    while quiet < 4 {
        net.advance(1);
        let done: usize = workers.iter_mut().map(Worker::progress).sum();
        quiet = if done == 0 { quiet + 1 } else { 0 };
    }
}

fn pattern(source: u32, tag: u32) -> Pattern {
    Pattern { context: 1, source, tag }
}

fn envelope(source: u32, tag: u32) -> Envelope {
    Envelope { context: 1, source, tag }
}

fn pending(sent: Sent) -> Option<RequestId> {
    match sent {
        Sent::Done => None,
        Sent::Pending(id) => Some(id),
    }
}

fn fill(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 7 + i / 251) as u8).collect()
}

const SIZES: [usize; 16] = [
    0, 1, 127, 128, 129, 1016, 1023, 1024, 1025, 4096, 5000, 12_345, 65_536, 100_000, 262_144,
    1_000_000,
];

/// One message, posted before or after, all shapes of memory.
fn exchange(plan: &SimPlan, from: usize, bytes: usize, mode: SendMode, early: bool, shape: u8) {
    let what = format!("{bytes} bytes, {mode:?}, early {early}, shape {shape}, from {from}");
    let (net, mut workers) = world(plan.clone());
    let data = fill(bytes);
    let (typed_send, typed_receive) = (shape & 1 == 1, shape & 2 == 2);
    let mut outgoing: Vec<u8> = match typed_send {
        true => data.iter().flat_map(|byte| [*byte, 0xee]).collect(),
        false => data.clone(),
    };
    let mut incoming = vec![0xdd; if typed_receive { 2 * bytes } else { bytes }];
    let make = |typed_: bool, buffer: &mut Vec<u8>| match typed_ {
        true => typed(buffer),
        false => contiguous(buffer),
    };
    let (send, receive) = (make(typed_send, &mut outgoing), make(typed_receive, &mut incoming));
    let source = from as u32;
    // SAFETY: both buffers outlive the exchange.
    let post = |workers: &mut Vec<Worker>| unsafe {
        workers[1].receive(Some(Peer(source)), pattern(source, 5), receive.clone())
    };
    let mut request = early.then(|| post(&mut workers));
    // SAFETY: as above.
    let sent = unsafe { workers[from].send(Peer(1), envelope(source, 5), send, mode) };
    let sent = pending(sent);
    settle(&net, &mut workers);
    if !early {
        if mode == SendMode::Synchronous {
            let id = sent.expect("nobody has received it");
            assert!(!workers[from].is_complete(id), "{what}");
        }
        let arrival = workers[1].probe(pattern(ANY, ANY)).expect("it is announced");
        assert_eq!((arrival.bytes, arrival.envelope), (bytes, envelope(source, 5)), "{what}");
        request = Some(post(&mut workers));
        settle(&net, &mut workers);
    }
    let completion = workers[1].take(request.expect("posted")).expect(&what);
    assert!(matches!(completion.outcome, Outcome::Done), "{what}: {completion:?}");
    assert_eq!((completion.bytes, completion.source, completion.tag), (bytes, source, 5), "{what}");
    if let Some(id) = sent {
        let completion = workers[from].take(id).expect(&what);
        assert!(matches!(completion.outcome, Outcome::Done), "{what}");
        assert_eq!(completion.bytes, bytes, "{what}");
    }
    let packed: Vec<u8> = match typed_receive {
        true => incoming.iter().step_by(2).copied().collect(),
        false => incoming.clone(),
    };
    assert!(packed == data, "{what}");
    if typed_receive {
        assert!(incoming.iter().skip(1).step_by(2).all(|byte| *byte == 0xdd), "{what}");
    }
    for worker in &workers {
        let counters = worker.counters();
        assert_eq!(counters.requests, 0, "{what}");
        assert_eq!((counters.parked, counters.parked_bytes, counters.senseless), (0, 0, 0));
        assert!(worker.is_flushed(), "{what}");
    }
}

fn all_exchanges(plan: &SimPlan, from: usize) {
    for bytes in SIZES {
        for mode in [SendMode::Standard, SendMode::Synchronous] {
            for early in [false, true] {
                for shape in 0..4 {
                    exchange(plan, from, bytes, mode, early, shape);
                }
            }
        }
    }
}

#[test]
fn to_itself() {
    all_exchanges(&QUIET, 1);
}

#[test]
fn to_another_with_get() {
    all_exchanges(&QUIET, 0);
}

#[test]
fn to_another_by_fragments() {
    all_exchanges(&SimPlan { get: false, capacity: 1, ..QUIET }, 0);
}

#[test]
fn to_another_whose_memory_is_refused() {
    all_exchanges(&SimPlan { get: false, refuse_get: true, capacity: 3, ..QUIET }, 0);
}

#[test]
fn a_truncated_receive_keeps_what_fits() {
    for plan in [QUIET, SimPlan { get: false, ..QUIET }] {
        for (bytes, room) in
            [(100, 10), (100, 0), (5000, 4999), (5000, 3), (300_000, 7), (300_000, 0), (9, 8)]
        {
            for early in [false, true] {
                let (net, mut workers) = world(plan.clone());
                let mut data = fill(bytes);
                let mut incoming = vec![0xdd; room + 64];
                let into = contiguous(&mut incoming[..room]);
                let post = |workers: &mut Vec<Worker>| {
                    // SAFETY: the buffer outlives the exchange.
                    unsafe { workers[1].receive(Some(Peer(0)), pattern(0, ANY), into.clone()) }
                };
                let mut request = early.then(|| post(&mut workers));
                let payload = contiguous(&mut data);
                // SAFETY: as above.
                let sent = unsafe {
                    workers[0].send(Peer(1), envelope(0, 9), payload, SendMode::Synchronous)
                };
                settle(&net, &mut workers);
                let request = *request.get_or_insert_with(|| post(&mut workers));
                settle(&net, &mut workers);
                let completion = workers[1].take(request).expect("it ends");
                assert_eq!((completion.bytes, completion.tag), (room, 9));
                let truncated = matches!(completion.outcome, Outcome::Truncated { sent }
                    if sent == bytes);
                assert!(truncated, "{completion:?}");
                assert_eq!(incoming[..room], data[..room]);
                assert!(incoming[room..].iter().all(|byte| *byte == 0xdd));
                let sent = pending(sent).expect("synchronous");
                let completion = workers[0].take(sent).expect("the sender completes");
                assert!(matches!(completion.outcome, Outcome::Done));
                assert_eq!(completion.bytes, bytes);
            }
        }
    }
}

#[test]
fn claimed_messages_leave_matching() {
    for bytes in [3, 3000, 300_000] {
        let (net, mut workers) = world(QUIET);
        let (mut first, mut second) = (fill(bytes), vec![1; bytes]);
        for data in [&mut first, &mut second] {
            let payload = contiguous(data);
            // SAFETY: the buffers outlive the exchange.
            let sent =
                unsafe { workers[0].send(Peer(1), envelope(0, 4), payload, SendMode::Standard) };
            if let Some(id) = pending(sent) {
                workers[0].detach(id);
            }
        }
        settle(&net, &mut workers);
        let (message, arrival) = workers[1].claim(pattern(ANY, 4)).expect("it is there");
        assert_eq!(arrival.bytes, bytes);
        let (mut one, mut two) = (vec![0; bytes], vec![0; bytes]);
        // SAFETY: as above.
        let later =
            unsafe { workers[1].receive(Some(Peer(0)), pattern(0, 4), contiguous(&mut two)) };
        settle(&net, &mut workers);
        assert!(workers[1].is_complete(later));
        // SAFETY: as above.
        let claimed = unsafe { workers[1].receive_claimed(message, contiguous(&mut one)) };
        settle(&net, &mut workers);
        assert!(workers[1].take(claimed).is_some() && workers[1].take(later).is_some());
        assert!(one == first && two == second);
        assert_eq!(workers[0].counters().requests, 0);
        assert!(workers[0].is_flushed());
    }
}

#[test]
fn receives_and_sends_can_be_cancelled() {
    let (net, mut workers) = world(QUIET);
    let mut buffer = vec![0; 400_000];
    let payload = contiguous(&mut buffer);
    // SAFETY: the buffer outlives the requests.
    let receive = unsafe { workers[1].receive(None, pattern(ANY, 1), payload.clone()) };
    workers[1].cancel(receive);
    let completion = workers[1].take(receive).expect("cancelled at once");
    assert!(matches!(completion.outcome, Outcome::Cancelled));
    for (mode, bytes) in
        [(SendMode::Standard, 400_000), (SendMode::Synchronous, 5), (SendMode::Synchronous, 5000)]
    {
        let payload = contiguous(&mut buffer[..bytes]);
        // SAFETY: as above.
        let send = |worker: &mut Worker| unsafe {
            pending(worker.send(Peer(1), envelope(0, 2), payload.clone(), mode)).expect("pending")
        };
        let id = send(&mut workers[0]);
        settle(&net, &mut workers);
        workers[0].cancel(id);
        settle(&net, &mut workers);
        let completion = workers[0].take(id).expect("cancelled");
        assert!(matches!(completion.outcome, Outcome::Cancelled), "{mode:?} {bytes}");
        assert!(workers[1].probe(pattern(ANY, ANY)).is_none());
        // One that is claimed in the meantime ends as if nothing had happened.
        let id = send(&mut workers[0]);
        settle(&net, &mut workers);
        let (message, _) = workers[1].claim(pattern(0, 2)).expect("it is there");
        workers[0].cancel(id);
        settle(&net, &mut workers);
        assert!(!workers[0].is_complete(id));
        let mut into = vec![0; bytes];
        // SAFETY: as above.
        let claimed = unsafe { workers[1].receive_claimed(message, contiguous(&mut into)) };
        settle(&net, &mut workers);
        assert!(workers[1].take(claimed).is_some());
        let completion = workers[0].take(id).expect("done");
        assert!(matches!(completion.outcome, Outcome::Done), "{mode:?} {bytes}");
    }
    let grant = workers[0].grant();
    let (available, _) = workers[0].credit(Peer(1));
    let (_, owed) = workers[1].credit(Peer(0));
    assert_eq!(available + owed, grant);
}

#[test]
fn stale_requests_are_over() {
    let (_, mut workers) = world(QUIET);
    // SAFETY: nothing is written.
    let id = unsafe { workers[0].receive(None, pattern(ANY, 1), Payload::EMPTY) };
    assert!(!workers[0].is_complete(id) && workers[0].take(id).is_none());
    workers[0].cancel(id);
    assert!(workers[0].take(id).is_some());
    assert!(workers[0].is_complete(id) && workers[0].take(id).is_none());
    workers[0].detach(id);
    workers[0].cancel(id);
}

#[test]
fn the_plan_is_printed() {
    let (_, mut workers) = world(QUIET);
    let text = workers[0].describe_plan(Peer(1));
    assert!(text.contains("Sim") && text.contains("eager to"), "{text}");
    assert!(workers[0].pending_summary().starts_with("0 requests"));
}

/// An offered receive is filled by a sender that waits, without a call of the receiver.
#[test]
fn an_offered_receive_is_filled_meanwhile() {
    let (net, mut workers) = world(QUIET.clone());
    let outgoing = fill(100_000);
    let mut incoming = vec![0_u8; 120_000];
    let into = contiguous(&mut incoming);
    // SAFETY: both buffers outlive the exchange.
    let receive = unsafe { workers[1].receive(Some(Peer(0)), pattern(0, 5), into) };
    workers[1].offer(receive);
    let from = Payload::Contiguous { base: outgoing.as_ptr().cast_mut(), bytes: outgoing.len() };
    // SAFETY: as above.
    let sent = unsafe { workers[0].send(Peer(1), envelope(0, 5), from, SendMode::Standard) };
    let send = pending(sent).expect("a long message is announced");
    for _ in 0..200 {
        net.advance(1);
        workers[0].progress();
    }
    assert!(workers[0].is_complete(send), "the receiver need not come");
    assert_eq!(workers[0].counters().offers_accepted, 1);
    assert!(!workers[1].is_complete(receive));
    settle(&net, &mut workers);
    let ended = workers[1].take(receive).expect("it is told when it comes");
    assert!(matches!(ended.outcome, Outcome::Done) && ended.bytes == outgoing.len());
    assert!(workers[0].take(send).is_some());
    assert_eq!(&incoming[..outgoing.len()], &outgoing[..]);
    assert!(incoming[outgoing.len()..].iter().all(|byte| *byte == 0));
}

/// What may not be filled: not the first receive for that message, or the sender is further.
#[test]
fn a_wrong_message_accepts_no_offer() {
    for case in 0..4 {
        let (net, mut workers) = world(QUIET.clone());
        let outgoing = fill(100_000);
        let (mut first, mut second) = (vec![0_u8; 100_000], vec![0_u8; 100_000]);
        let post = |workers: &mut Vec<Worker>, buffer: &mut Vec<u8>, tag| {
            let into = contiguous(buffer);
            // SAFETY: all buffers outlive the exchange.
            let id = unsafe { workers[1].receive(Some(Peer(0)), pattern(0, tag), into) };
            workers[1].offer(id);
            id
        };
        // 0: an earlier wildcard; 1: an earlier twin; 2: a message before it; 3: cancelled.
        let earlier = match case {
            0 => Some(post(&mut workers, &mut first, ANY)),
            1 => Some(post(&mut workers, &mut first, 5)),
            _ => None,
        };
        let offered = post(&mut workers, &mut second, 5);
        let mut small = [7_u8; 8];
        if case == 2 {
            let small = contiguous(&mut small);
            // SAFETY: as above.
            let sent =
                unsafe { workers[0].send(Peer(1), envelope(0, 5), small, SendMode::Standard) };
            assert!(pending(sent).is_none());
        }
        if case == 3 {
            workers[1].cancel(offered);
            let ended = workers[1].take(offered).expect("nobody had accepted");
            assert!(matches!(ended.outcome, Outcome::Cancelled));
        }
        let from =
            Payload::Contiguous { base: outgoing.as_ptr().cast_mut(), bytes: outgoing.len() };
        // SAFETY: as above.
        let sent = unsafe { workers[0].send(Peer(1), envelope(0, 5), from, SendMode::Standard) };
        let send = pending(sent).expect("a long message is announced");
        for _ in 0..200 {
            net.advance(1);
            workers[0].progress();
        }
        let filled = workers[0].is_complete(send);
        // A twin is the first one's turn: that one is filled, not the second.
        assert_eq!(filled, case == 1, "case {case}");
        settle(&net, &mut workers);
        let got = |workers: &mut Vec<Worker>, id| workers[1].take(id).map(|ended| ended.bytes);
        match case {
            0 | 1 => {
                assert_eq!(got(&mut workers, earlier.unwrap()), Some(outgoing.len()));
                assert_eq!(first, outgoing);
                assert_eq!(got(&mut workers, offered), None);
            }
            2 => {
                assert_eq!(got(&mut workers, offered), Some(8));
                assert!(second[..8] == small && second[8..].iter().all(|byte| *byte == 0));
                assert_eq!(workers[1].counters().unexpected_now, 1);
            }
            _ => {
                assert!(second.iter().all(|byte| *byte == 0));
                assert_eq!(workers[1].counters().unexpected_now, 1);
            }
        }
    }
}

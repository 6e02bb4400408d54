// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The world of one seed: workers, what they sent, what they posted, and how it ended.
//!
//! A message of at least eight bytes begins with its number, so a receive tells which one it got.

use std::sync::Arc;
use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::error::{Error, Kind};
use strait_transport::lane::sim::{Random, SimNet, SimPlan};
use strait_transport::payload::{Layout, Payload};
use strait_transport::request::{Outcome, RequestId};
use strait_transport::worker::{MessageId, SendMode, Sent, Worker};

const CONTEXTS: u64 = 2;
const TAGS: u64 = 3;
const GUARD: u8 = 0xd7;
const GUARD_BYTES: usize = 32;

/// Pairs of bytes, each followed by one that is not part of the message.
struct Pairs;

// SAFETY: packed byte `i` is the byte at `i + i / 2`, and only such bytes are touched.
unsafe impl Layout for Pairs {
    fn packed_bytes(&self) -> usize {
        2
    }
    unsafe fn pack(&self, base: *const u8, count: usize, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= 2 * count);
        for (i, byte) in (offset..).zip(into) {
            // SAFETY: the range lies within the elements, as just checked.
            *byte = unsafe { *base.add(i + i / 2) };
        }
    }
    unsafe fn unpack(&self, base: *mut u8, count: usize, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= 2 * count);
        for (i, byte) in (offset..).zip(from) {
            // SAFETY: as above.
            unsafe { *base.add(i + i / 2) = *byte };
        }
    }
}

/// How something ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Pending,
    Done,
    Cancelled,
    Failed,
}

pub struct Message {
    pub from: u32,
    pub to: u32,
    pub envelope: Envelope,
    pub data: Vec<u8>,
    /// The send reads it until it ends.
    _memory: Vec<u8>,
    request: Option<RequestId>,
    synchronous: bool,
    pub end: End,
    /// The receive that got it.
    pub got_by: Option<usize>,
}

pub struct Receive {
    pub at: u32,
    pub from: Option<u32>,
    pub pattern: Pattern,
    capacity: usize,
    typed: bool,
    memory: Vec<u8>,
    request: RequestId,
    pub end: End,
    /// The message, if it was long enough to say.
    pub got: Option<usize>,
}

pub struct World {
    pub net: SimNet,
    pub workers: Vec<Option<Worker>>,
    pub messages: Vec<Message>,
    /// In the order in which they were posted; a claim counts when it is made.
    pub receives: Vec<Receive>,
    claims: Vec<(u32, MessageId, usize, Envelope)>,
    /// Receives of claimed messages may be placed in the order of their claims.
    pub random: Random,
    pub dead: Vec<u32>,
    deaths: u64,
    actions: u64,
    progress_one_in: u64,
    /// Mostly long messages to receives that are offered, and little that is late.
    calm: bool,
    seed: u64,
}

fn pick<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len() as u64) as usize]
}

impl World {
    pub fn new(seed: u64, deaths: bool) -> World {
        let mut random = Random::new(seed ^ u64::from(deaths) << 40);
        let size = 2 + random.below(7) as u32;
        let get = random.one_in(2);
        let plan = SimPlan {
            size,
            seed: random.draw(),
            capacity: pick(&mut random, &[1, 1, 2, 3, 8, 64]),
            delay_max: pick(&mut random, &[0, 1, 5, 20]),
            stall_one_in: pick(&mut random, &[0, 0, 20, 100]),
            stall_max: 50,
            full_one_in: pick(&mut random, &[0, 3, 10]),
            short_bytes_max: pick(&mut random, &[16, 64, 256]),
            fragment_bytes_max: pick(&mut random, &[64, 500, 4096]),
            piece_bytes_max: pick(&mut random, &[48, 500, 4096]),
            bulk_bytes_max: pick(&mut random, &[0, 300, 10_000]),
            get,
            refuse_get: !get && random.one_in(2),
        };
        let self_over_sim = random.one_in(2);
        let grant = pick(&mut random, &[4 << 10, 16 << 10, 256 << 10]);
        let net = SimNet::new(plan);
        let worker = |me| Some(Worker::for_test(net.lane(Peer(me)), self_over_sim, grant));
        World {
            workers: (0..size).map(worker).collect(),
            messages: Vec::new(),
            receives: Vec::new(),
            claims: Vec::new(),
            dead: Vec::new(),
            deaths: if deaths { 1 + random.below(u64::from(size) - 1) } else { 0 },
            actions: 50 + random.below(400),
            progress_one_in: pick(&mut random, &[2, 4, 30]),
            calm: random.one_in(3),
            net,
            random,
            seed,
        }
    }

    fn size(&self) -> u64 {
        self.workers.len() as u64
    }

    fn worker(&mut self, index: u32) -> &mut Worker {
        self.workers[index as usize].as_mut().expect("it lives")
    }

    fn living(&self) -> Vec<u32> {
        (0..self.workers.len() as u32).filter(|i| self.workers[*i as usize].is_some()).collect()
    }

    fn some_living(&mut self) -> u32 {
        let living = self.living();
        pick(&mut self.random, &living)
    }

    /// The random part.
    pub fn act(&mut self) {
        for number in 0..self.actions {
            let at = self.some_living();
            if self.calm && !self.random.one_in(4) {
                self.meet(at);
                if self.random.one_in(2) {
                    self.turn();
                }
                continue;
            }
            match self.random.below(16) {
                0..=5 => self.send(at),
                6..=9 => self.post(at),
                10 => self.claim(at),
                11 => self.receive_a_claim(),
                12 => self.cancel_something(at),
                13 if number > 20 && self.deaths > 0 && self.random.one_in(3) => self.kill(at),
                _ => {}
            }
            if self.random.one_in(self.progress_one_in) {
                self.turn();
            }
        }
    }

    /// Time goes on, everybody makes progress, ends are looked at.
    fn turn(&mut self) -> usize {
        let steps = self.random.below(4);
        self.net.advance(steps);
        let done = self.workers.iter_mut().flatten().map(Worker::progress).sum();
        self.collect();
        done
    }

    fn bytes(&mut self) -> usize {
        let most = pick(&mut self.random, &[40, 40, 40, 700, 700, 5000, 30_000]);
        match self.random.below(8) {
            0 => 0,
            _ => 8 + self.random.below(most) as usize,
        }
    }

    /// A receive and its message, in some order; then perhaps one side alone makes progress.
    fn meet(&mut self, at: u32) {
        let from = self.some_living();
        let envelope = Envelope {
            context: self.random.below(CONTEXTS) as u32,
            source: from,
            tag: self.random.below(TAGS) as u32,
        };
        let Envelope { context, source, tag } = envelope;
        let pattern = Pattern { context, source, tag };
        let bytes = 300 + self.random.below(5000) as usize;
        let late = self.random.one_in(4);
        if late {
            self.send_burst(envelope, at, Some(bytes));
        }
        self.post_pattern(at, pattern, Some(40_000));
        if !late {
            self.send_burst(envelope, at, Some(bytes));
        }
        let alone = pick(&mut self.random, &[at, from]);
        for _ in 0..pick(&mut self.random, &[0, 3, 50]) {
            self.worker(alone).progress();
        }
    }

    fn send(&mut self, from: u32) {
        let size = self.size();
        let to = self.random.below(size) as u32;
        let context = self.random.below(CONTEXTS) as u32;
        let tag = self.random.below(TAGS) as u32;
        self.send_burst(Envelope { context, source: from, tag }, to, None);
    }

    fn send_burst(&mut self, envelope: Envelope, to: u32, bytes: Option<usize>) {
        let from = envelope.source;
        let burst = if bytes.is_none() && self.random.one_in(12) { 20 } else { 1 };
        for _ in 0..burst {
            let bytes = bytes.unwrap_or_else(|| self.bytes());
            let number = self.messages.len() as u64;
            let mut data: Vec<u8> =
                (0..bytes as u64).map(|i| (i * 31 + number * 7 + i / 256) as u8).collect();
            if bytes >= 8 {
                data[..8].copy_from_slice(&number.to_le_bytes());
            }
            let typed = !self.calm && self.random.one_in(4) && bytes.is_multiple_of(2);
            let mut memory = match typed {
                true => data.chunks(2).flat_map(|pair| [pair[0], pair[1], 0x11]).collect(),
                false => data.clone(),
            };
            let payload = payload(&mut memory, bytes, typed);
            let synchronous = self.random.one_in(4);
            let mode = if synchronous { SendMode::Synchronous } else { SendMode::Standard };
            // SAFETY: the memory is kept as long as the world.
            let sent = unsafe { self.worker(from).send(Peer(to), envelope, payload, mode) };
            if let Sent::Pending(id) = sent
                && self.random.one_in(3)
            {
                self.worker(from).attend(id);
            }
            let (request, end) = match sent {
                Sent::Done => (None, End::Done),
                Sent::Pending(id) => (Some(id), End::Pending),
            };
            assert!(!(synchronous && sent == Sent::Done), "nobody has answered yet");
            let got_by = None;
            self.messages.push(Message {
                from,
                to,
                envelope,
                data,
                _memory: memory,
                request,
                synchronous,
                end,
                got_by,
            });
        }
    }

    fn pattern(&mut self) -> Pattern {
        let size = self.size();
        Pattern {
            context: self.random.below(CONTEXTS) as u32,
            source: if self.random.one_in(3) { ANY } else { self.random.below(size) as u32 },
            tag: if self.random.one_in(3) { ANY } else { self.random.below(TAGS) as u32 },
        }
    }

    fn memory(&mut self, capacity: usize, typed: bool) -> Vec<u8> {
        let bytes = if typed { capacity / 2 * 3 } else { capacity };
        vec![GUARD; bytes + GUARD_BYTES]
    }

    fn post(&mut self, at: u32) {
        let pattern = self.pattern();
        self.post_pattern(at, pattern, None);
    }

    fn post_pattern(&mut self, at: u32, pattern: Pattern, capacity: Option<usize>) {
        let most = pick(&mut self.random, &[100, 40_000, 40_000, 40_000]);
        let capacity = capacity.unwrap_or(8 + self.random.below(most) as usize / 2 * 2);
        let typed = !self.calm && self.random.one_in(4);
        let mut memory = self.memory(capacity, typed);
        let payload = payload(&mut memory, capacity, typed);
        let from = (pattern.source != ANY).then_some(pattern.source);
        // SAFETY: the memory is kept as long as the world.
        let request = unsafe { self.worker(at).receive(from.map(Peer), pattern, payload) };
        if self.calm || self.random.one_in(2) {
            self.worker(at).offer(request);
        }
        let (end, got) = (End::Pending, None);
        self.receives.push(Receive {
            at,
            from,
            pattern,
            capacity,
            typed,
            memory,
            request,
            end,
            got,
        });
    }

    /// A claim takes its place in the order now; its buffer comes later.
    fn claim(&mut self, at: u32) {
        let pattern = self.pattern();
        let probed = self.worker(at).probe(pattern);
        let claimed = self.worker(at).claim(pattern);
        assert_eq!(probed, claimed.map(|(_, arrival)| arrival));
        let Some((message, arrival)) = claimed else { return };
        assert!(pattern.accepts(&arrival.envelope));
        let capacity = (arrival.bytes + 8) / 2 * 2;
        let typed = self.random.one_in(4);
        let memory = self.memory(capacity, typed);
        self.claims.push((at, message, self.receives.len(), arrival.envelope));
        self.receives.push(Receive {
            at,
            from: None,
            pattern,
            capacity,
            typed,
            memory,
            request: RequestId { index: u32::MAX, generation: 0 },
            end: End::Pending,
            got: None,
        });
    }

    fn receive_a_claim(&mut self) {
        if self.claims.is_empty() {
            return;
        }
        let at = self.random.below(self.claims.len() as u64) as usize;
        let (at, message, index, _) = self.claims.swap_remove(at);
        if self.workers[at as usize].is_none() {
            return;
        }
        let receive = &mut self.receives[index];
        let payload = payload(&mut receive.memory, receive.capacity, receive.typed);
        // SAFETY: the memory is kept as long as the world.
        let request = unsafe { self.worker(at).receive_claimed(message, payload) };
        self.receives[index].request = request;
    }

    fn cancel_something(&mut self, at: u32) {
        let mine: Vec<RequestId> = match self.random.one_in(2) {
            true => {
                let pending = |r: &&Receive| r.at == at && r.end == End::Pending;
                let known = |r: &&Receive| r.request.index != u32::MAX;
                self.receives.iter().filter(pending).filter(known).map(|r| r.request).collect()
            }
            false => {
                let mine = self.messages.iter().filter(|m| m.from == at && m.end == End::Pending);
                mine.filter_map(|m| m.request).collect()
            }
        };
        if !mine.is_empty() {
            let request = pick(&mut self.random, &mine);
            self.worker(at).cancel(request);
        }
    }

    fn kill(&mut self, peer: u32) {
        self.deaths -= 1;
        self.workers[peer as usize] = None;
        self.net.kill(Peer(peer));
        self.dead.push(peer);
    }

    /// Looks at every request that is over.
    fn collect(&mut self) {
        for index in 0..self.messages.len() {
            let message = &self.messages[index];
            let Some(request) = message.request.filter(|_| message.end == End::Pending) else {
                continue;
            };
            let Some(worker) = &mut self.workers[message.from as usize] else { continue };
            let Some(completion) = worker.take(request) else { continue };
            let (bytes, to) = (message.data.len(), message.to);
            let end = match completion.outcome {
                Outcome::Done => {
                    assert_eq!(completion.bytes, bytes);
                    End::Done
                }
                Outcome::Cancelled => End::Cancelled,
                Outcome::Failed(error) => {
                    assert_eq!(self.lost_peer(&error), to);
                    End::Failed
                }
                Outcome::Truncated { .. } => panic!("a send is not truncated"),
            };
            self.messages[index].end = end;
        }
        for index in 0..self.receives.len() {
            let receive = &self.receives[index];
            if receive.end != End::Pending || receive.request.index == u32::MAX {
                continue;
            }
            let Some(worker) = &mut self.workers[receive.at as usize] else { continue };
            let Some(completion) = worker.take(receive.request) else { continue };
            let end = match &completion.outcome {
                Outcome::Cancelled => End::Cancelled,
                Outcome::Failed(error) => {
                    let peer = self.lost_peer(error);
                    assert!(receive.from.is_none_or(|from| from == peer));
                    End::Failed
                }
                Outcome::Done => self.received(index, completion.bytes, completion.bytes),
                Outcome::Truncated { sent } => {
                    assert_eq!(completion.bytes, receive.capacity);
                    assert!(*sent > receive.capacity);
                    self.received(index, completion.bytes, *sent)
                }
            };
            if end == End::Done {
                let receive = &self.receives[index];
                let (source, tag) = (completion.source, completion.tag);
                let envelope = Envelope { context: receive.pattern.context, source, tag };
                assert!(receive.pattern.accepts(&envelope));
                if let Some(got) = receive.got {
                    assert_eq!(self.messages[got].envelope, envelope);
                }
            }
            self.receives[index].end = end;
        }
    }

    fn lost_peer(&self, error: &Error) -> u32 {
        let Kind::PeerLost { peer, .. } = &*error.0 else { panic!("{error}") };
        assert!(self.dead.contains(&peer.0), "{error}");
        peer.0
    }

    /// Every byte right, none outside the buffer.
    fn received(&mut self, index: usize, bytes: usize, sent: usize) -> End {
        let receive = &mut self.receives[index];
        let (inside, guard) = receive.memory.split_at(receive.memory.len() - GUARD_BYTES);
        assert!(guard.iter().all(|byte| *byte == GUARD), "bytes beyond the buffer");
        let packed: Vec<u8> = match receive.typed {
            true => {
                assert!(inside.chunks(3).all(|chunk| chunk[2] == GUARD), "bytes between");
                inside.chunks(3).flat_map(|chunk| [chunk[0], chunk[1]]).collect()
            }
            false => inside.to_vec(),
        };
        assert!(packed[bytes..].iter().all(|byte| *byte == GUARD), "bytes after the message");
        if bytes == 0 {
            return End::Done;
        }
        let number = packed.first_chunk().map(|head| u64::from_le_bytes(*head));
        let number = number.expect("buffers have eight bytes") as usize;
        let message = &mut self.messages[number];
        assert_eq!((message.data.len(), message.to), (sent, receive.at));
        assert!(packed[..bytes] == message.data[..bytes], "message {number} is damaged");
        assert_eq!(message.got_by.replace(index), None, "message {number} came twice");
        receive.got = Some(number);
        End::Done
    }

    /// Receives whatever is there until everything has ended, then takes back what nobody answers.
    pub fn drain(&mut self) {
        let mut quiet = 0;
        for round in 0.. {
            assert!(round < 200_000, "seed {} hangs: {}", self.seed, self.summary());
            while !self.claims.is_empty() {
                self.receive_a_claim();
            }
            let mut done = self.turn();
            for at in self.living() {
                done += self.take_all(at);
            }
            quiet = if done > 0 || self.net.in_flight() > 0 { 0 } else { quiet + 1 };
            if quiet > 200 && self.sends_are_over() {
                break;
            }
        }
        let open = |receive: &Receive| receive.end == End::Pending;
        for index in 0..self.receives.len() {
            let (at, request) = (self.receives[index].at, self.receives[index].request);
            if open(&self.receives[index]) && self.workers[at as usize].is_some() {
                let lost = self.receives[index].from.is_some_and(|from| self.dead.contains(&from));
                assert!(!lost, "a receive still waits for the dead");
                self.worker(at).cancel(request);
            }
        }
        self.collect();
        let pending = self.receives.iter().filter(|r| self.workers[r.at as usize].is_some());
        assert_eq!(pending.filter(|r| open(r)).count(), 0, "receives that do not end");
    }

    fn sends_are_over(&self) -> bool {
        let lives = |message: &&Message| self.workers[message.from as usize].is_some();
        self.messages.iter().filter(lives).all(|message| message.end != End::Pending)
    }

    fn take_all(&mut self, at: u32) -> usize {
        let mut count = 0;
        for context in 0..CONTEXTS as u32 {
            let pattern = Pattern { context, source: ANY, tag: ANY };
            while let Some(arrival) = self.worker(at).probe(pattern) {
                count += 1;
                let capacity = arrival.bytes.max(8);
                let mut memory = self.memory(capacity, false);
                let payload = payload(&mut memory, capacity, false);
                // SAFETY: the memory is kept as long as the world.
                let request = unsafe { self.worker(at).receive(None, pattern, payload) };
                self.receives.push(Receive {
                    at,
                    from: None,
                    pattern,
                    capacity,
                    typed: false,
                    memory,
                    request,
                    end: End::Pending,
                    got: None,
                });
            }
        }
        count
    }

    fn summary(&self) -> String {
        let mut text = format!("{} in flight", self.net.in_flight());
        for worker in self.workers.iter().flatten() {
            text += &format!("\n  {}: {}", worker.me().0, worker.pending_summary());
        }
        text
    }

    /// Whether a completed synchronous send was received, as it must be.
    pub fn synchronous_without_receive(&self) -> usize {
        let unreceived = |message: &&Message| {
            message.synchronous
                && message.end == End::Done
                && message.data.len() >= 8
                && message.got_by.is_none()
                && self.dead.is_empty()
        };
        self.messages.iter().filter(unreceived).count()
    }
}

fn payload(memory: &mut [u8], bytes: usize, typed: bool) -> Payload {
    let base = memory.as_mut_ptr();
    match typed {
        true => Payload::Typed { base, count: bytes / 2, layout: Arc::new(Pairs) },
        false => Payload::Contiguous { base, bytes },
    }
}

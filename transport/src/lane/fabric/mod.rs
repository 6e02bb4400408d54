// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lane over a library of fabrics: one endpoint for all peers, our own matching and protocols
//! above it. What is different between libraries is behind [`port::Port`].
//!
//! Invariants:
//! 1. Nothing of a message is believed before its tag was compared (frame.rs).
//! 2. No call waits. What the library does not take now waits in one frame per peer, and later
//!    messages to that peer are `Full` until it has left. Frames are numbered when they are filled,
//!    and handed on in this order, whatever the library does (arrivals.rs).
//! 3. The library works only in calls of ours. So this process sleeps only on the library's
//!    descriptor, when the library agrees, and never while something of ours is half done.
//! 4. Memory grows with the peers that talk, by some words each; buffers are the process's.
//! 5. A peer is lost when the library fails to send to it, or when the launcher says so.
//!
//! Not here: one-sided communication of windows, which goes by messages (docs/ofi.md).

mod arrivals;
mod batch;
pub mod frame;
mod peers;
pub mod port;
pub mod probe;

use crate::bootstrap::Job;
use crate::envelope::Peer;
use crate::error::{Error, Result, Submit};
use crate::lane::directory::{Directory, LOOK_UP_PAUSE_MIN, NodeDirectory};
use crate::lane::{Capabilities, Get, Inbox, Lane, Loan, RemoteRange, is_answer};
use crate::protocol::share::Unit;
use crate::wire::codec;
use crate::wire::header::{FLAG_FETCHABLE, HEADER_BYTES, Header, MessageKind};
use arrivals::{Arrivals, UnreadQueue};
use frame::{FrameKind, HEAD_BYTES, PREFIX_BYTES, Prefix};
use peers::{State, States};
use port::{Facts, Open, Port, Posted};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Longest message that goes by one copy of ours and one post.
const SHORT_BYTES_MAX: usize = 8 * 1024;
/// The body of a fragment up to here is put together on the stack for the library to copy.
const STACK_BYTES: usize = 512;

/// How long the end of this process waits for peers to say that they have read everything: one that
/// computes answers when it calls MPI again.
const GOODBYE_TIME: Duration = Duration::from_secs(60);
/// How long it is tried to tell a peer that its goodbye was read: it may be gone by now, and the
/// library calls it in vain for ever.
const FAREWELL_TIME: Duration = Duration::from_secs(5);

/// A frame without a message.
#[derive(Clone, Copy)]
struct Courtesy {
    peer: u32,
    kind: FrameKind,
    since: Instant,
}

/// What a lane needs to know.
pub struct Settings {
    /// This process.
    pub rank: u32,
    /// Processes of the job.
    pub size: u32,
    /// Name of the job.
    pub job: [u8; 16],
    /// Its key.
    pub key: [u8; 32],
    /// Takes the line about a dropped stranger.
    pub report: Box<dyn FnMut(&str) + Send>,
}

impl Settings {
    /// Strangers are reported on standard error.
    pub fn new(rank: u32, size: u32, job: [u8; 16], key: [u8; 32]) -> Settings {
        Settings { rank, size, job, key, report: Box::new(|line| eprintln!("{line}")) }
    }
}

/// A get whose peer has not been entered yet.
struct Awaiting {
    peer: Peer,
    from: RemoteRange,
    into: *mut u8,
    token: u64,
}

/// The lane.
pub struct FabricLane<P: Port> {
    port: P,
    core: Core,
}

/// Where the body of a message comes from.
enum Body<'a> {
    Slice(&'a [u8]),
    Filled(&'a mut dyn FnMut(&mut [u8])),
}

/// All but the port.
struct Core {
    /// Library and provider, for messages to people.
    library: String,
    directory: Box<dyn Directory>,
    settings: Settings,
    states: States,
    /// Peers with a frame that waits, oldest first.
    waiting: VecDeque<u32>,
    /// Peers that are marked as full.
    full: Vec<u32>,
    /// Something had no room, or no address, since the last poll.
    stuck: bool,
    look_up_at: Option<Instant>,
    look_up_pause: Duration,
    /// Counts polls.
    turn: u32,
    /// Peers for which short messages are held.
    holding: Vec<u32>,
    unread: UnreadQueue,
    /// Gets that have not begun.
    gets: Vec<Awaiting>,
    /// Goodbyes and farewells that are to be sent, and since when.
    courtesies: VecDeque<Courtesy>,
    /// Peers that cannot be sent to, of the current look.
    failures: Vec<(Peer, String)>,
    broken: Option<String>,
    losses: VecDeque<(Peer, Error)>,
    losses_seen: u32,
    /// Dead by the launcher's word, and until when they are heard.
    dying: Vec<(Instant, Peer)>,
    closing: Option<Instant>,
    /// What changed without a message, and may be what somebody waits for.
    settled: usize,
    strangers: u32,
}

// SAFETY: the raw pointers are memory that its owners left to gets, and what a port holds: objects
// that may be used by any thread, one at a time, which `&mut self` and the worker's lock see to.
unsafe impl<P: Port> Send for FabricLane<P> {}

impl<P: Open> FabricLane<P> {
    /// The lane of this process of a job; its address is published in the node's memory. With
    /// `hardware` only what needs no processor to move data will do, and the answer is `None` if
    /// there is no such device.
    ///
    /// # Errors
    /// The library cannot be used; the message says why, and what to do.
    pub fn new(job: &Job, hardware: bool) -> Result<Option<FabricLane<P>>> {
        let Some(port) = P::open(job, hardware)? else { return Ok(None) };
        let settings = Settings::new(job.rank, job.size, job.node.plan().job, job.key);
        Ok(Some(FabricLane::with_directory(port, settings, Box::new(NodeDirectory::new(job)))))
    }
}

impl<P: Port> FabricLane<P> {
    /// Publishes the address of a port.
    pub fn with_directory(
        port: P,
        settings: Settings,
        directory: Box<dyn Directory>,
    ) -> FabricLane<P> {
        directory.publish(port.address());
        let core = Core {
            library: port.facts().name.clone(),
            losses_seen: directory.losses(),
            directory,
            settings,
            states: States::default(),
            waiting: VecDeque::new(),
            full: Vec::new(),
            stuck: false,
            look_up_at: None,
            look_up_pause: LOOK_UP_PAUSE_MIN,
            turn: 0,
            holding: Vec::new(),
            unread: VecDeque::new(),
            gets: Vec::new(),
            courtesies: VecDeque::new(),
            failures: Vec::new(),
            broken: None,
            losses: VecDeque::new(),
            dying: Vec::new(),
            closing: None,
            settled: 0,
            strangers: 0,
        };
        FabricLane { port, core }
    }

    /// What the library can do.
    pub fn facts(&self) -> &Facts {
        self.port.facts()
    }

    /// What to sleep on, if the library has such a thing.
    pub fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.port.wait_fd()
    }

    /// Whether there is nothing to do before the descriptor is readable.
    pub fn is_quiet(&mut self) -> bool {
        let must_poll = self.port.facts().needs_polls && self.port.frames_out() > 0;
        !must_poll && !self.core.has_work() && self.port.may_sleep()
    }

    /// As `TcpLane::take_settled`.
    #[inline]
    pub fn take_settled(&mut self) -> usize {
        std::mem::take(&mut self.core.settled)
    }

    /// Says goodbye to every peer there was any contact with. Poll until [`Lane::is_flushed`], then
    /// drop the lane.
    pub fn close(&mut self) {
        self.core.closing = Some(Instant::now());
        let mut others: Vec<u32> = self
            .core
            .states
            .iter()
            .filter_map(|(peer, state)| {
                (state.met && !state.lost && !state.departed).then_some(*peer)
            })
            .collect();
        others.sort_unstable();
        for peer in others {
            self.core.state(peer).parted = true;
            self.core.be_courteous(peer, FrameKind::Goodbye);
        }
    }

    /// Sends a frame of one message, or of none.
    fn transmit(
        &mut self,
        peer: Peer,
        to: u64,
        kind: FrameKind,
        head: Option<&[u8; HEADER_BYTES]>,
        bytes: usize,
        body: Body<'_>,
    ) -> Submit {
        let prefix = self.core.prefix(peer, kind);
        let mut start = [0; HEAD_BYTES];
        prefix.write(&mut start);
        let start_bytes = if head.is_some() { HEAD_BYTES } else { PREFIX_BYTES };
        if let Some(head) = head {
            start[PREFIX_BYTES..].copy_from_slice(head);
        }
        let facts = self.port.facts();
        // A copy that the library took has no completion: nobody knows when it has left. The last
        // frame of a pair tells it for all before.
        let may_inject = head.is_some() && !facts.needs_polls;
        let mut stack = [0; STACK_BYTES];
        let mut on_stack = false;
        let mut body = body;
        if may_inject && HEAD_BYTES + bytes <= facts.inject_bytes {
            let whole: Option<&[u8]> = match &mut body {
                Body::Slice(whole) => Some(whole),
                Body::Filled(fill) if bytes <= STACK_BYTES => {
                    fill(&mut stack[..bytes]);
                    on_stack = true;
                    Some(&stack[..bytes])
                }
                Body::Filled(_) => None,
            };
            match whole.map_or(Posted::Longer, |whole| self.port.inject(to, &start, whole)) {
                Posted::Yes => return self.core.count_sent(peer, kind),
                Posted::Again => return self.no_room(peer),
                Posted::Longer => {}
                Posted::No(reason) => {
                    self.lose_unsent(peer, &reason);
                    return Submit::Lost;
                }
            }
        }
        let Some(number) = self.port.take_frame() else { return self.no_room(peer) };
        let frame = self.port.frame(number);
        frame[..start_bytes].copy_from_slice(&start[..start_bytes]);
        let end = start_bytes + bytes;
        match on_stack {
            true => frame[start_bytes..end].copy_from_slice(&stack[..bytes]),
            false => body.write(&mut frame[start_bytes..end]),
        }
        let posted = self.port.send(peer, to, number, end);
        self.settle_send(peer, kind, (number, end), posted)
    }

    /// What became of a frame of ours that was filled with so many bytes.
    fn settle_send(
        &mut self,
        peer: Peer,
        kind: FrameKind,
        frame: (usize, usize),
        posted: Posted,
    ) -> Submit {
        match posted {
            Posted::Yes => {}
            Posted::Again => {
                // What was filled in counts as sent: it waits here.
                self.core.state(peer.0).waiting = Some(frame);
                self.core.waiting.push_back(peer.0);
                self.core.stuck = true;
            }
            Posted::Longer => unreachable!("a port takes the frames that it gave"),
            Posted::No(reason) => {
                self.port.put_frame(frame.0);
                self.lose_unsent(peer, &reason);
                return Submit::Lost;
            }
        }
        self.core.count_sent(peer, kind)
    }

    /// The library cannot send to this peer.
    #[cold]
    fn lose_unsent(&mut self, peer: Peer, reason: &str) {
        let state = self.core.state(peer.0);
        // Whoever said goodbye, or heard ours, may be gone: nothing is missing then.
        if state.departed || state.answered {
            return;
        }
        let reason = format!("{} cannot send to it: {reason}", self.core.library);
        self.lose(peer, reason);
    }

    #[cold]
    fn no_room(&mut self, peer: Peer) -> Submit {
        self.core.state(peer.0).full = true;
        self.core.full.push(peer.0);
        self.core.stuck = true;
        Submit::Full
    }

    /// A message to a peer that may have one: held with others, or sent.
    fn submit(&mut self, peer: Peer, header: &Header, bytes: usize, body: Body<'_>) -> Submit {
        let to = match self.reach(peer, is_answer(header)) {
            Ok(to) => to,
            Err(answer) => return answer,
        };
        let mut body = body;
        let head = codec::encode(&Header { body: bytes as u32, ..*header });
        let kind = MessageKind::from_byte(header.kind);
        if matches!(kind, Some(MessageKind::Fin | MessageKind::Cts | MessageKind::CancelReply)) {
            self.port.decline(peer, header.token);
        }
        let is_lent = kind == Some(MessageKind::Rts)
            && header.flags & FLAG_FETCHABLE != 0
            && self.port.travels(header.token);
        if !is_lent && self.hold(peer, &head, bytes, &mut body) {
            return Submit::Sent;
        }
        if self.is_holding() {
            if self.post_batch(peer) == Submit::Lost {
                return Submit::Lost;
            }
            if self.core.state(peer.0).waiting.is_some() {
                // What was held waits, and this one behind it.
                return Submit::Full;
            }
        }
        if is_lent {
            return self.transmit_lent(peer, to, &head, (bytes, body), header.token);
        }
        self.transmit(peer, to, FrameKind::Message, Some(&head), bytes, body)
    }

    /// The announcement of a loan that travels with it.
    fn transmit_lent(
        &mut self,
        peer: Peer,
        to: u64,
        head: &[u8; HEADER_BYTES],
        (bytes, body): (usize, Body<'_>),
        token: u64,
    ) -> Submit {
        let mut frame = [0; STACK_BYTES];
        self.core.prefix(peer, FrameKind::Message).write(&mut frame);
        frame[PREFIX_BYTES..HEAD_BYTES].copy_from_slice(head);
        body.write(&mut frame[HEAD_BYTES..HEAD_BYTES + bytes]);
        match self.port.send_lent(peer, to, &frame[..HEAD_BYTES + bytes], token) {
            Posted::Yes => self.core.count_sent(peer, FrameKind::Message),
            Posted::Again | Posted::Longer => self.no_room(peer),
            Posted::No(reason) => {
                self.lose_unsent(peer, &reason);
                Submit::Lost
            }
        }
    }

    /// What had no room, or no address, before the last look.
    fn retry(&mut self) {
        for peer in std::mem::take(&mut self.core.full) {
            self.core.state(peer).full = false;
        }
        for _ in 0..self.core.waiting.len() {
            let Some(peer) = self.core.waiting.pop_front() else { break };
            self.retry_waiting(Peer(peer));
        }
        for _ in 0..self.core.courtesies.len() {
            let Some(courtesy) = self.core.courtesies.pop_front() else { break };
            let Courtesy { peer, kind, since } = courtesy;
            let state = self.core.state(peer);
            let is_over = state.lost
                || match kind {
                    FrameKind::Farewell => since.elapsed() > FAREWELL_TIME,
                    // Its sender would wait for it in vain: never given up.
                    FrameKind::Count => state.departed,
                    _ => false,
                };
            if !is_over && !self.send_courtesy(Peer(peer), kind) {
                self.core.courtesies.push_back(courtesy);
            }
        }
    }

    fn retry_waiting(&mut self, peer: Peer) {
        let state = self.core.state(peer.0);
        let (Some((number, bytes)), Some(to)) = (state.waiting, state.number) else { return };
        match self.port.send(peer, to, number, bytes) {
            Posted::Yes => {
                self.core.state(peer.0).waiting = None;
                self.core.settled += 1;
            }
            Posted::Again | Posted::Longer => {
                self.core.waiting.push_back(peer.0);
                self.core.stuck = true;
            }
            Posted::No(reason) => self.lose_unsent(peer, &reason),
        }
    }

    /// Gets that waited for the address of their peer.
    #[cold]
    fn retry_gets<I: Inbox>(&mut self, inbox: &mut I) -> usize {
        let mut count = 0;
        for Awaiting { peer, from, into, token } in std::mem::take(&mut self.core.gets) {
            if self.core.state(peer.0).lost {
                // The loss is answered by `abandon`.
                self.core.gets.push(Awaiting { peer, from, into, token });
                continue;
            }
            // SAFETY: who asked for it promised the memory until the inbox hears of the end.
            let end = unsafe { self.get(peer, from, into, token) };
            if !matches!(end, Get::Begun) {
                inbox.fetched(token, end);
                count += 1;
            }
        }
        count
    }

    /// The tokens of gets from a peer that is lost.
    fn abandon(&mut self, peer: Peer) -> Vec<u64> {
        let mut tokens = self.port.abandon(peer);
        let waiting = self.core.gets.extract_if(.., |waiting| waiting.peer == peer);
        tokens.extend(waiting.map(|waiting| waiting.token));
        tokens
    }

    /// A frame without a header; `false`: later.
    fn send_courtesy(&mut self, peer: Peer, kind: FrameKind) -> bool {
        let state = self.core.state(peer.0);
        if state.full || state.waiting.is_some() {
            return false;
        }
        let Some(to) = self.look_up(peer) else { return false };
        self.transmit(peer, to, kind, None, 0, Body::Slice(&[])) != Submit::Full
    }
}

impl Core {
    /// The prefix of the next frame to a peer.
    #[inline]
    fn prefix(&mut self, peer: Peer, kind: FrameKind) -> Prefix {
        let from = self.settings.rank;
        let state = self.state(peer.0);
        Prefix { from, kind, seen: state.seen, place: state.place_out, tag: state.tag_out }
    }

    /// A frame has left, or will before any other to this peer: it told what we have seen.
    #[inline]
    fn count_sent(&mut self, peer: Peer, kind: FrameKind) -> Submit {
        let state = self.state(peer.0);
        state.sent = state.sent.wrapping_add(u16::from(kind == FrameKind::Message));
        state.place_out = state.place_out.wrapping_add(1);
        (state.told, state.met) = (state.seen, true);
        Submit::Sent
    }

    fn be_courteous(&mut self, peer: u32, kind: FrameKind) {
        self.courtesies.push_back(Courtesy { peer, kind, since: Instant::now() });
    }

    /// Something of ours is half done.
    fn has_work(&self) -> bool {
        self.stuck
            || !(self.losses.is_empty()
                && self.dying.is_empty()
                && self.courtesies.is_empty()
                && self.holding.is_empty()
                && self.unread.is_empty()
                && self.gets.is_empty())
    }
}

impl Body<'_> {
    fn write(self, into: &mut [u8]) {
        match self {
            Body::Slice(whole) => into.copy_from_slice(whole),
            Body::Filled(fill) => fill(into),
        }
    }
}

impl<P: Port> Lane for FabricLane<P> {
    fn capabilities(&mut self, _peer: Peer) -> Capabilities {
        let facts = self.port.facts();
        Capabilities {
            short_bytes_max: SHORT_BYTES_MAX,
            fragment_bytes_max: facts.frame_bytes - HEAD_BYTES,
            piece_bytes_max: facts.frame_bytes - HEAD_BYTES,
            bulk_bytes_max: 0,
            get: facts.reads,
            get_later: true,
            latency_ns: facts.speed.latency_ns,
            fragment_bytes_per_us: facts.speed.fragment_bytes_per_us,
            get_ns: facts.speed.get_ns,
            get_bytes_per_us: facts.speed.get_bytes_per_us,
            share: Unit::NONE,
        }
    }

    #[inline]
    fn short(&mut self, peer: Peer, header: &Header, body: &[u8]) -> Submit {
        assert!(body.len() <= SHORT_BYTES_MAX, "a short message of {} bytes", body.len());
        self.submit(peer, header, body.len(), Body::Slice(body))
    }

    fn fragment(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        let most = self.port.facts().frame_bytes;
        assert!(bytes + HEAD_BYTES <= most, "a fragment of {bytes} bytes");
        self.submit(peer, header, bytes, Body::Filled(fill))
    }

    unsafe fn get(&mut self, peer: Peer, from: RemoteRange, into: *mut u8, token: u64) -> Get {
        match self.look_up(peer) {
            // SAFETY: the caller's promise, until the inbox hears of the end.
            Some(to) => unsafe { self.port.get(peer, to, from, into, token) },
            None => {
                self.core.gets.push(Awaiting { peer, from, into, token });
                Get::Begun
            }
        }
    }

    fn lend(&mut self, token: u64, base: *const u8, bytes: usize) -> Option<Loan> {
        self.port.lend(token, base, bytes)
    }

    fn take_back(&mut self, token: u64) {
        self.port.take_back(token);
    }

    fn poll<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        self.core.turn = self.core.turn.wrapping_add(1);
        if self.is_holding() {
            self.release();
        }
        let mut arrivals = Arrivals { core: &mut self.core, inbox, budget, count: 0 };
        if !arrivals.core.unread.is_empty() {
            arrivals.deliver_unread();
        }
        self.port.look(&mut arrivals);
        let mut count = arrivals.count;
        if let Some(reason) = self.core.broken.take() {
            self.break_down(&reason);
        }
        for (peer, reason) in std::mem::take(&mut self.core.failures) {
            self.lose_unsent(peer, &reason);
        }
        if std::mem::take(&mut self.core.stuck) || !self.core.courtesies.is_empty() {
            self.retry();
        }
        if !self.core.gets.is_empty() {
            count += self.retry_gets(inbox);
        }
        count + self.report_losses(inbox)
    }

    fn is_flushed(&self) -> bool {
        let quiet = self.port.frames_out() == 0
            && self.core.courtesies.is_empty()
            && self.port.is_flushed();
        let Some(since) = self.core.closing else { return quiet };
        if since.elapsed() > GOODBYE_TIME {
            return true;
        }
        let waits =
            |state: &State| state.parted && !(state.answered || state.departed || state.lost);
        quiet && !self.core.states.values().any(waits)
    }
}

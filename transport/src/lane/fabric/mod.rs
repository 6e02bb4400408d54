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

mod arrivals;
mod batch;
pub mod exposures;
pub mod frame;
mod peers;
pub mod port;
pub mod probe;
mod remote;
mod send;

use crate::bootstrap::Job;
use crate::envelope::Peer;
use crate::error::{Error, Result, Submit};
use crate::lane::directory::{Directory, LOOK_UP_PAUSE_MIN, NodeDirectory};
use crate::lane::{Capabilities, Get, Inbox, Lane, Loan, RemoteRange};
use crate::protocol::share::Unit;
use crate::wire::header::Header;
use arrivals::{Arrivals, UnreadQueue};
use frame::{FrameKind, HEAD_BYTES};
use peers::{State, States};
use port::{Facts, Open, Port};
use send::Body;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Longest message that goes by one copy of ours and one post.
const SHORT_BYTES_MAX: usize = 8 * 1024;

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

// SAFETY: the pointer is memory that its owner left to the get, whichever thread begins it.
unsafe impl Send for Awaiting {}

/// The lane.
pub struct FabricLane<P: Port> {
    port: P,
    core: Core,
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
        let must_poll = self.port.facts().needs_polls && self.port.is_awaiting();
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
            .filter(|state| state.met && !state.lost && !state.departed)
            .map(|state| state.peer)
            .collect();
        others.sort_unstable();
        for peer in others {
            self.core.state(peer).parted = true;
            self.core.be_courteous(peer, FrameKind::Goodbye);
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
}

impl Core {
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
            get_written_bytes_per_us: 0,
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
        quiet && !self.core.states.iter().any(waits)
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lane over libfabric: one reliable endpoint for all peers (FI_EP_RDM, messages in order), our
//! own matching and protocols above it.
//!
//! Invariants:
//! 1. Nothing of a message is believed before its tag was compared (frame.rs).
//! 2. No call waits. What the provider does not take now waits in one frame per peer, and later
//!    messages to that peer are `Full` until it has left: a pair's order is the order of posts.
//! 3. The provider works only in calls of ours. So this process sleeps only on the provider's
//!    descriptor, when the provider agrees, and never while something of ours is half done.
//! 4. Memory grows with the peers that talk, by some words each; buffers are the process's.
//! 5. A peer is lost when the provider fails to send to it, or when the launcher says so.
//!
//! Not here: one-sided communication of windows, which goes by messages (docs/ofi.md).

mod arrivals;
mod batch;
mod buffers;
pub mod fabric;
pub mod frame;
pub mod library;
mod peers;
pub mod probe;
pub mod provider;
pub mod sys;
mod transfer;

use crate::bootstrap::Job;
use crate::envelope::Peer;
use crate::error::{Error, Kind, Result, Submit};
use crate::lane::directory::{Directory, LOOK_UP_PAUSE_MIN, NodeDirectory};
use crate::lane::tcp::interface;
use crate::lane::{Capabilities, Get, Inbox, Lane, Loan, RemoteRange, is_answer};
use crate::protocol::share::Unit;
use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header};
use buffers::{Buffers, Role};
use fabric::{Completion, Fabric, Facts, Posted, Seen};
use frame::{FrameKind, HEAD_BYTES, PREFIX_BYTES, write_prefix};
use library::Library;
use peers::{State, States};
use provider::Wanted;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use transfer::Transfers;

/// Longest message that goes by one copy of ours and one post.
const SHORT_BYTES_MAX: usize = 8 * 1024;
/// A message up to here is put together on the stack for the provider to copy.
const INJECT_BYTES_MAX: usize = 512;
/// Completions that one look takes.
const LOOK_ENTRIES: usize = 16;
/// How long the end of this process waits for peers to say that they have read everything: one that
/// computes answers when it calls MPI again.
const GOODBYE_TIME: Duration = Duration::from_secs(60);
/// How long it is tried to tell a peer that its goodbye was read: it may be gone by now, and the
/// provider calls it in vain for ever.
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

/// The lane. Its drop (transfer.rs) says in which order its parts go.
pub struct OfiLane {
    fabric: Fabric,
    buffers: Buffers,
    transfers: Transfers,
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
    /// Completions that the budget left; of the first, so many bytes of its frame were delivered.
    unread: VecDeque<Completion>,
    read_bytes: usize,
    /// Goodbyes and farewells that are to be sent, and since when.
    courtesies: VecDeque<Courtesy>,
    losses: VecDeque<(Peer, Error)>,
    losses_seen: u32,
    /// Dead by the launcher's word, and until when they are heard.
    dying: Vec<(Instant, Peer)>,
    closing: Option<Instant>,
    /// What changed without a message, and may be what somebody waits for.
    settled: usize,
    strangers: u32,
}

// SAFETY: the raw pointers are libfabric's objects and memory of this lane; objects may be used by
// any thread, one at a time (FI_THREAD_DOMAIN), which `&mut self` and the worker's lock see to.
unsafe impl Send for OfiLane {}

impl OfiLane {
    /// The lane of this process of a job; its address is published in the node's memory. With
    /// `hardware` only a provider that needs no processor to move data will do, and the answer is
    /// `None` if there is none.
    ///
    /// # Errors
    /// libfabric cannot be used; the message says why, and what to do.
    pub fn new(job: &Job, hardware: bool) -> Result<Option<OfiLane>> {
        let ip = interface::of_job(job)?;
        let provider = crate::config::text("OFI_PROVIDER")?;
        let hardware = hardware && provider.is_none();
        let wanted = Wanted { provider, hardware, ip: Some(ip) };
        let open = || Fabric::open(Library::open()?, &wanted);
        let fabric = match open() {
            Err(_) if hardware => return Ok(None),
            opened => opened?,
        };
        let settings = Settings::new(job.rank, job.size, job.node.plan().job, job.key);
        OfiLane::with_directory(fabric, settings, Box::new(NodeDirectory::new(job))).map(Some)
    }

    /// Posts the buffers, and publishes the address.
    ///
    /// # Errors
    /// The provider refuses memory or does not tell its address.
    pub fn with_directory(
        mut fabric: Fabric,
        settings: Settings,
        directory: Box<dyn Directory>,
    ) -> Result<OfiLane> {
        let buffers = Buffers::new(&mut fabric)?;
        let name = fabric.name()?;
        let losses_seen = directory.losses();
        let mut lane = OfiLane {
            fabric,
            buffers,
            transfers: Transfers::default(),
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
            read_bytes: 0,
            courtesies: VecDeque::new(),
            losses: VecDeque::new(),
            losses_seen,
            dying: Vec::new(),
            closing: None,
            settled: 0,
            strangers: 0,
        };
        for number in lane.buffers.receives() {
            lane.post_receive(number)?;
        }
        lane.directory.publish(&frame::encode_blob(&lane.fabric.facts.provider, &name));
        Ok(lane)
    }

    /// What the provider can do.
    pub fn facts(&self) -> &Facts {
        &self.fabric.facts
    }

    /// What to sleep on, if the provider has such a thing.
    pub fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fabric.wait_fd()
    }

    /// Whether there is nothing to do before the descriptor is readable.
    pub fn is_quiet(&self) -> bool {
        !self.stuck
            && self.losses.is_empty()
            && self.dying.is_empty()
            && self.courtesies.is_empty()
            && self.holding.is_empty()
            && self.unread.is_empty()
            && self.transfers.is_idle()
            && !(self.fabric.facts.needs_polls && self.buffers.sends_out() > 0)
            && self.fabric.may_sleep()
    }

    /// As `TcpLane::take_settled`.
    #[inline]
    pub fn take_settled(&mut self) -> usize {
        std::mem::take(&mut self.settled)
    }

    /// Says goodbye to every peer there was any contact with. Poll until [`Lane::is_flushed`], then
    /// drop the lane.
    pub fn close(&mut self) {
        self.closing = Some(Instant::now());
        let mut others: Vec<u32> = self
            .states
            .iter()
            .filter_map(|(peer, state)| {
                (state.met && !state.lost && !state.departed).then_some(*peer)
            })
            .collect();
        others.sort_unstable();
        for peer in others {
            self.state(peer).parted = true;
            self.be_courteous(peer, FrameKind::Goodbye);
        }
    }

    /// A frame of `bytes` that `fill` writes behind the prefix.
    fn transmit(
        &mut self,
        peer: Peer,
        to: u64,
        kind: FrameKind,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        let from = self.settings.rank;
        let state = self.state(peer.0);
        let (seen, tag) = (state.seen, state.tag_out);
        // A copy that the provider took has no completion: nobody knows when it has left. The last
        // frame of a pair tells it for all before.
        let inject = !self.fabric.facts.needs_polls
            && matches!(kind, FrameKind::Message | FrameKind::Count)
            && bytes <= self.fabric.facts.inject_bytes.min(INJECT_BYTES_MAX);
        if inject {
            let mut frame = [0; INJECT_BYTES_MAX];
            write_prefix(&mut frame, kind, from, seen, tag);
            fill(&mut frame[PREFIX_BYTES..bytes]);
            return match self.fabric.inject(to, &frame[..bytes]) {
                Posted::Yes => self.count_sent(peer, kind),
                Posted::Again => self.no_room(peer),
                Posted::No(reason) => {
                    self.lose_unsent(peer, &reason);
                    Submit::Lost
                }
            };
        }
        let Some(number) = self.buffers.take_send() else { return self.no_room(peer) };
        let frame = self.buffers.frame(number);
        write_prefix(frame, kind, from, seen, tag);
        fill(&mut frame[PREFIX_BYTES..bytes]);
        self.transfers.sends[number] = (peer.0, bytes as u32);
        let posted = self.post_send(number, to);
        self.settle_send(peer, kind, number, posted)
    }

    /// What became of a frame of ours that was filled.
    fn settle_send(
        &mut self,
        peer: Peer,
        kind: FrameKind,
        number: usize,
        posted: Posted,
    ) -> Submit {
        match posted {
            Posted::Yes => {}
            Posted::Again => {
                // What was filled in counts as sent: it waits here.
                self.state(peer.0).waiting = Some(number);
                self.waiting.push_back(peer.0);
                self.stuck = true;
            }
            Posted::No(reason) => {
                self.buffers.put_send(number);
                self.lose_unsent(peer, &reason);
                return Submit::Lost;
            }
        }
        self.count_sent(peer, kind)
    }

    /// A frame has left, or will before any other to this peer: it told what we have seen.
    fn count_sent(&mut self, peer: Peer, kind: FrameKind) -> Submit {
        let state = self.state(peer.0);
        state.sent = state.sent.wrapping_add(u16::from(kind == FrameKind::Message));
        (state.told, state.met) = (state.seen, true);
        Submit::Sent
    }

    /// The provider cannot send to this peer.
    #[cold]
    fn lose_unsent(&mut self, peer: Peer, reason: &str) {
        let provider = &self.fabric.facts.provider;
        let reason = format!("libfabric's {provider} cannot send to it: {reason}");
        self.lose(peer, reason);
    }

    #[cold]
    fn no_room(&mut self, peer: Peer) -> Submit {
        self.state(peer.0).full = true;
        self.full.push(peer.0);
        self.stuck = true;
        Submit::Full
    }

    fn post_send(&mut self, number: usize, to: u64) -> Posted {
        let bytes = self.transfers.sends[number].1 as usize;
        let (base, descriptor) = (self.buffers.frame_base(number), self.buffers.descriptor());
        let context = self.buffers.context(Role::Send(number));
        // SAFETY: frame, descriptor and context are the lane's, and are left alone until the
        // completion gives the frame back.
        unsafe { self.fabric.send(to, base, bytes, descriptor, context) }
    }

    fn post_receive(&mut self, number: usize) -> Result<()> {
        let (base, bytes) = self.buffers.receive(number);
        let (descriptor, context) =
            (self.buffers.descriptor(), self.buffers.context(Role::Receive(number)));
        // SAFETY: buffer, descriptor and context are the lane's; the buffer is posted only when the
        // provider has given it back.
        match unsafe { self.fabric.receive(base, bytes, descriptor, context) } {
            Posted::Yes => Ok(()),
            Posted::Again => {
                self.transfers.unposted.push(number);
                self.stuck = true;
                Ok(())
            }
            Posted::No(reason) => Err(Error::new(Kind::Config(format!(
                "libfabric's {} takes no buffer to receive into: {reason}",
                self.fabric.facts.provider
            )))),
        }
    }

    /// What had no room before the last look.
    fn retry(&mut self) {
        for peer in std::mem::take(&mut self.full) {
            self.state(peer).full = false;
        }
        for number in std::mem::take(&mut self.transfers.unposted) {
            if let Err(error) = self.post_receive(number) {
                self.break_down(&error.to_string());
            }
        }
        for _ in 0..self.waiting.len() {
            let Some(peer) = self.waiting.pop_front() else { break };
            self.retry_waiting(peer);
        }
        for _ in 0..self.courtesies.len() {
            let Some(courtesy) = self.courtesies.pop_front() else { break };
            let Courtesy { peer, kind, since } = courtesy;
            let state = self.state(peer);
            let is_over = state.lost
                || match kind {
                    FrameKind::Farewell => since.elapsed() > FAREWELL_TIME,
                    // Its sender would wait for it in vain: never given up.
                    FrameKind::Count => state.departed,
                    _ => false,
                };
            if !is_over && !self.send_courtesy(Peer(peer), kind) {
                self.courtesies.push_back(courtesy);
            }
        }
        self.retry_gets();
    }

    fn retry_waiting(&mut self, peer: u32) {
        let state = self.state(peer);
        let (Some(number), Some(to)) = (state.waiting, state.number) else { return };
        match self.post_send(number, to) {
            Posted::Yes => {
                self.state(peer).waiting = None;
                self.settled += 1;
            }
            Posted::Again => {
                self.waiting.push_back(peer);
                self.stuck = true;
            }
            Posted::No(reason) => self.lose_unsent(Peer(peer), &reason),
        }
    }

    fn be_courteous(&mut self, peer: u32, kind: FrameKind) {
        self.courtesies.push_back(Courtesy { peer, kind, since: Instant::now() });
    }

    /// A frame without a header; `false`: later.
    fn send_courtesy(&mut self, peer: Peer, kind: FrameKind) -> bool {
        let state = self.state(peer.0);
        if state.full || state.waiting.is_some() {
            return false;
        }
        let Some(to) = self.look_up(peer) else { return false };
        self.transmit(peer, to, kind, PREFIX_BYTES, &mut |_| {}) != Submit::Full
    }
}

impl Lane for OfiLane {
    fn capabilities(&mut self, _peer: Peer) -> Capabilities {
        let facts = &self.fabric.facts;
        // Hardware: published figures of 100 Gbit/s cards (FABRICS.md has none of this machine).
        // Software: tcp of 2.5.1 over the loopback of the development machine (docs/ofi.md).
        let (latency_ns, fragment_bytes_per_us, get_ns, get_bytes_per_us) = match facts.hardware {
            true => (1_500, 6_000, 1_500, 11_000),
            false => (4_500, 3_700, 14_000, 7_000),
        };
        Capabilities {
            short_bytes_max: SHORT_BYTES_MAX,
            fragment_bytes_max: facts.frame_bytes - HEAD_BYTES,
            piece_bytes_max: facts.frame_bytes - HEAD_BYTES,
            bulk_bytes_max: 0,
            get: facts.reads,
            get_later: true,
            latency_ns,
            fragment_bytes_per_us,
            get_ns,
            get_bytes_per_us,
            share: Unit::NONE,
        }
    }

    #[inline]
    fn short(&mut self, peer: Peer, header: &Header, body: &[u8]) -> Submit {
        assert!(body.len() <= SHORT_BYTES_MAX, "a short message of {} bytes", body.len());
        self.fragment(peer, header, body.len(), &mut |into| into.copy_from_slice(body))
    }

    fn fragment(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        assert!(bytes + HEAD_BYTES <= self.fabric.facts.frame_bytes, "a fragment of {bytes} bytes");
        let to = match self.reach(peer, is_answer(header)) {
            Ok(to) => to,
            Err(answer) => return answer,
        };
        let head = codec::encode(&Header { body: bytes as u32, ..*header });
        if self.hold(peer, &head, bytes, fill) {
            return Submit::Sent;
        }
        if self.is_holding() {
            if self.post_batch(peer) == Submit::Lost {
                return Submit::Lost;
            }
            if self.state(peer.0).waiting.is_some() {
                // What was held waits, and this one behind it.
                return Submit::Full;
            }
        }
        self.transmit(peer, to, FrameKind::Message, HEAD_BYTES + bytes, &mut |into| {
            into[..HEADER_BYTES].copy_from_slice(&head);
            fill(&mut into[HEADER_BYTES..]);
        })
    }

    unsafe fn get(&mut self, peer: Peer, from: RemoteRange, into: *mut u8, token: u64) -> Get {
        // SAFETY: the caller's promise, until the inbox hears of the end.
        unsafe { self.begin_get(peer, from, into, token) }
    }

    fn lend(&mut self, token: u64, base: *const u8, bytes: usize) -> Option<Loan> {
        self.register_loan(token, base, bytes)
    }

    fn take_back(&mut self, token: u64) {
        self.end_loan(token);
    }

    fn poll<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        let mut count = 0;
        // SAFETY: all-zero bytes are valid completions: null pointers and numbers.
        let mut entries: [Completion; LOOK_ENTRIES] = unsafe { std::mem::zeroed() };
        self.turn = self.turn.wrapping_add(1);
        if self.is_holding() {
            self.release();
        }
        let mut is_over = false;
        while count < budget {
            if let Some(entry) = self.unread.front().copied() {
                let (delivered, is_read) = self.complete(inbox, &entry, budget - count);
                count += delivered;
                if is_read {
                    self.unread.pop_front();
                }
                continue;
            }
            if is_over {
                break;
            }
            match self.fabric.look(&mut entries) {
                Seen::Some(0) => break,
                Seen::Some(seen) => {
                    self.unread.extend(&entries[..seen]);
                    // Fewer than asked for: nothing more was there, and to look costs system calls.
                    is_over = seen < LOOK_ENTRIES;
                }
                Seen::Failed(failure) => count += self.fail(inbox, &failure),
                Seen::Broken(reason) => {
                    self.break_down(&reason);
                    break;
                }
            }
        }
        if std::mem::take(&mut self.stuck) || !self.courtesies.is_empty() {
            self.retry();
        }
        if !self.transfers.is_idle() {
            count += self.report_failed_gets(inbox);
        }
        count + self.report_losses(inbox)
    }

    fn is_flushed(&self) -> bool {
        let quiet = self.buffers.sends_out() == 0 && self.courtesies.is_empty();
        let Some(since) = self.closing else { return quiet };
        if since.elapsed() > GOODBYE_TIME {
            return true;
        }
        let waits =
            |state: &State| state.parted && !(state.answered || state.departed || state.lost);
        quiet && !self.states.values().any(waits)
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lane between processes of one host: a ring per receiver, a slab of chunks per sender, rings
//! of their own for pairs that talk often, and reads of the peer's memory through the kernel where
//! they work.
//!
//! A body of up to 96 bytes travels in the ring's slot, of up to 32 in the slot's first cache line.
//! A larger one (up to 16 KiB) is written into a chunk of the sender's slab; the slot names the
//! chunk, and the receiver gives it back. Nothing here waits: no room is the answer `Full`, and a
//! sender that wants to sleep until there is room says so first ([`ShmLane::announce`]).
//!
//! Invariants:
//! 1. A message is either in a ring or in its endpoint's `pending` place; while something is
//!    pending for a peer, nothing later goes to that peer. So order is kept.
//! 2. Header words are copied out before they are used. A chunk's number and length are checked;
//!    the bytes of a body are lent to the inbox as they are, which copies them and decides nothing
//!    by a byte that it reads twice.
//! 3. What a peer sent before it died is delivered before its loss.
//!
//! Not here: matching and protocols (protocol/), sleeping (wait.rs), the node's layout (node/).

pub mod bell;
pub mod board;
pub mod cells;
mod death;
pub mod desk;
mod endpoint;
mod huge;
pub mod pair;
mod pair_slot;
mod pairs;
mod peer_copy;
pub mod ring;
mod shared;
pub mod slab;
pub mod window_lock;

use super::{Capabilities, Get, Inbox, Lane, RemoteRange};
use crate::bootstrap::{Job, Origin};
use crate::envelope::Peer;
use crate::error::{Error, Kind, Result, Submit};
use crate::memory::copy::copy_few;
use crate::node::{LARGE_CHUNK_BYTES, Node, RankState};
use crate::protocol::share::{Cell, Unit};
use crate::sync::full_fence;
use crate::wire::header::{Header, MessageKind};
use cells::{INLINE_BYTES, MappedRing, Rest};
use death::Deaths;
use endpoint::{Endpoint, OutChunks};
use huge::HugeRanges;
use pairs::InPairs;
use ring::Consumer;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

pub use death::Supervision;

/// Largest body of a fragment: a large chunk.
pub const FRAGMENT_BYTES_MAX: usize = LARGE_CHUNK_BYTES;

/// How many empty polls pass between looks for announced deaths.
const POLLS_PER_DEATH_LOOK: u32 = 64;

/// In a slot's first word: the body is in a chunk.
const IN_CHUNK: u64 = 1 << 62;

/// The lane of one process.
pub struct ShmLane {
    node: Arc<Node>,
    first_rank: u32,
    local_rank: u32,
    inbound: Consumer<MappedRing>,
    /// Rings of senders that have one of their own.
    pairs: InPairs,
    /// What of `inbound`'s head was shown to senders that sleep for room.
    room_shown: u64,
    endpoints: Vec<Endpoint>,
    chunks: OutChunks,
    /// Messages in `pending` places.
    pending_count: usize,
    /// Local ranks whose ring was full since the last announcement.
    starved: Vec<u32>,
    /// No chunk was free since the last announcement.
    starved_of_chunks: bool,
    deaths: Deaths,
    idle_polls: u32,
    huge: HugeRanges,
}

/// Longest pieces of an eager message: where two cores are at work the receiver copies one while
/// the sender writes the next (docs/performance.md has the sizes that were tried); where ranks take
/// turns there is nothing to gain.
fn piece_bytes() -> usize {
    match crate::wait::may_spin() {
        true => 8192,
        false => FRAGMENT_BYTES_MAX,
    }
}

/// A slot's first word: kind 8, flags 8, bytes of the body 16, sender 30, in chunk 1, parity 1.
#[inline]
fn first_word(header: &Header, body_bytes: usize, from: u32) -> u64 {
    debug_assert!(body_bytes <= FRAGMENT_BYTES_MAX);
    u64::from(header.kind)
        | u64::from(header.flags) << 8
        | (body_bytes as u64) << 16
        | u64::from(from) << 32
}

impl ShmLane {
    /// The lane to all processes of this node.
    pub fn new(job: &Job) -> Result<ShmLane> {
        let supervision = match job.origin {
            Origin::Launched => Supervision::Launcher,
            Origin::Foreign | Origin::Singleton { .. } => Supervision::Ourselves,
        };
        ShmLane::with_supervision(job, supervision)
    }

    /// As [`ShmLane::new`], and says who notices deaths.
    pub fn with_supervision(job: &Job, supervision: Supervision) -> Result<ShmLane> {
        let may_read = crate::config::switch("PEER_READ")?.unwrap_or(true);
        if may_read {
            peer_copy::permit();
        }
        let node = Arc::clone(&job.node);
        let inbound = Consumer::new(MappedRing::of(&node, job.local_rank));
        let endpoints = (0..job.local_size)
            .map(|local_rank| Endpoint::new(&node, local_rank, may_read))
            .collect();
        Ok(ShmLane {
            first_rank: job.first_local_rank,
            local_rank: job.local_rank,
            inbound,
            pairs: InPairs::new(),
            room_shown: 0,
            endpoints,
            chunks: OutChunks::new(&node, job.local_rank),
            pending_count: 0,
            starved: Vec::new(),
            starved_of_chunks: false,
            deaths: Deaths::new(supervision, job.local_rank, job.local_size),
            idle_polls: 0,
            huge: HugeRanges::new(crate::config::switch("HUGE_PAGES")?.unwrap_or(true)),
            node,
        })
    }

    /// Whether a peer is on this lane.
    pub fn reaches(&self, peer: Peer) -> bool {
        peer.0.checked_sub(self.first_rank).is_some_and(|i| (i as usize) < self.endpoints.len())
    }

    /// Watches for deaths. Call it before the bell is armed.
    pub fn announce(&mut self, sleepers: &crate::wait::Sleepers) {
        self.deaths.watch(&self.node, sleepers);
    }

    /// Says which room this process is about to sleep for. Call it when the bell is armed (bell.rs,
    /// invariant 3), before the heavy fence, and [`ShmLane::is_quiet`] after that.
    pub fn wish(&self) {
        // SYNC(room.wish): who takes a wish back sees the armed bell, and rings.
        for local_rank in &self.starved {
            let room = self.endpoints[*local_rank as usize].ring.cells().room();
            let me = self.local_rank as usize;
            room.map[me / 64].fetch_or(1 << (me % 64), Release);
            room.wanted.store(1, Release);
        }
        if self.starved_of_chunks {
            // SYNC(slab.wish): the same.
            self.chunks.memory.wanted().store(1, Release);
        }
        // SYNC(room.sleep): the heavy fence of the bell comes next: it orders these wishes, too,
        // before the looks of `is_quiet`; the receiver's side is `show_room`.
        // SYNC(slab.sleep): the same, with `Endpoint::give_back` on the other side.
    }

    /// The last look before sleep: no message, no room that was missed, no death.
    pub fn is_quiet(&mut self) -> bool {
        let room = self.starved.iter().any(|i| self.endpoints[*i as usize].has_room())
            || (self.starved_of_chunks && self.chunks.has_room());
        if room {
            self.starved.clear();
            self.starved_of_chunks = false;
        }
        !room
            && !self.has_pair_news()
            && self.inbound.is_empty()
            && !self.deaths.any(&self.node, true)
    }

    /// A poll that looks only where the next message of each ring would be.
    #[inline(always)]
    pub(crate) fn poll_news<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        if self.has_pair_news() {
            let (count, released) = self.poll_pairs(inbox, budget);
            if released {
                self.show_room();
            }
            count
        } else if self.inbound.has_next() {
            Lane::poll(self, inbox, budget)
        } else {
            0
        }
    }

    #[inline]
    fn local(&self, peer: Peer) -> usize {
        let local_rank = peer.0.wrapping_sub(self.first_rank) as usize;
        assert!(local_rank < self.endpoints.len(), "a peer of this node");
        local_rank
    }

    /// Notes that a ring was full, for the case that we go to sleep for it.
    #[cold]
    fn starve(&mut self, local_rank: usize) -> Submit {
        let local_rank = local_rank as u32;
        if !self.starved.contains(&local_rank) {
            self.starved.push(local_rank);
        }
        Submit::Full
    }

    /// After a publication: wakes the peer if it sleeps.
    #[inline]
    fn ring_bell(&self, local_rank: usize) {
        if self.endpoints[local_rank].is_asleep() {
            bell::ring(&self.node, local_rank as u32);
        }
    }

    /// What is unusual about a peer, before something is sent to it; `None` when that may go on.
    fn attend(&mut self, local_rank: usize) -> Option<Submit> {
        let endpoint = &mut self.endpoints[local_rank];
        if !endpoint.needs_attention() {
            return None;
        }
        if endpoint.is_lost {
            return Some(Submit::Lost);
        }
        endpoint.meet(&self.node);
        if endpoint.pending.is_some() && !self.push_pending(local_rank) {
            return Some(self.starve(local_rank));
        }
        None
    }

    /// A full ring: back-pressure, unless its owner is past MPI_Finalize and will never read it.
    /// What such a peer has no use for (credit, acknowledgements) is dropped; a message for it is
    /// an error of the program, which is told by the loss.
    #[cold]
    fn no_room(&mut self, local_rank: usize, kind: u8) -> Submit {
        if self.node.record(local_rank as u32).state() != RankState::Finalized {
            return self.starve(local_rank);
        }
        use MessageKind::{Ack, CancelReply, Credit, Fin};
        match [Ack, CancelReply, Credit, Fin].iter().any(|&k| k as u8 == kind) {
            true => Submit::Sent,
            false => Submit::Lost,
        }
    }

    /// Sends what is pending for a peer; `false` while that does not fit.
    #[cold]
    fn push_pending(&mut self, local_rank: usize) -> bool {
        let endpoint = &mut self.endpoints[local_rank];
        let Some((word, rest)) = endpoint.pending.as_deref().copied() else { return true };
        // SAFETY: `push` lends a slot's rest, which is valid for writes.
        let pushed = endpoint.ring.push(word, |slot| unsafe { slot.write(rest) });
        if pushed {
            endpoint.pending = None;
            self.pending_count -= 1;
            self.ring_bell(local_rank);
        }
        pushed
    }

    #[cold]
    fn push_all_pending(&mut self) {
        for local_rank in 0..self.endpoints.len() {
            if self.endpoints[local_rank].pending.is_some() && !self.push_pending(local_rank) {
                let _ = self.starve(local_rank);
            }
        }
    }

    /// After `head` was released: wakes the senders that sleep for room.
    #[cold]
    fn show_room(&mut self) {
        self.room_shown = self.inbound.released();
        // The wishes for room in rings of pairs stand in the same place.
        // SYNC(room.sleep): head before the look at the wish; the sender's side is its wish before
        // its look at head, with the heavy fence of `bell::announce` between. Once per batch.
        full_fence();
        let room = self.inbound.cells().room();
        // SYNC(room.wish): pairs with `ShmLane::wish`: the bell of each wish that we take is armed.
        if room.wanted.load(Relaxed) == 0 || room.wanted.swap(0, Acquire) == 0 {
            return;
        }
        for (index, word) in room.map.iter().enumerate() {
            let mut waiting = word.swap(0, Acquire);
            while waiting != 0 {
                let local_rank = index as u32 * 64 + waiting.trailing_zeros();
                waiting &= waiting - 1;
                if local_rank < self.endpoints.len() as u32 {
                    bell::ring(&self.node, local_rank);
                }
            }
        }
    }

    /// Nothing came: looks for deaths now and then. Returns how many losses it reported: they are
    /// work, or a caller could fall asleep over the news.
    #[inline]
    fn idle<I: Inbox>(&mut self, inbox: &mut I) -> usize {
        self.idle_polls = self.idle_polls.wrapping_add(1);
        if !self.idle_polls.is_multiple_of(POLLS_PER_DEATH_LOOK) {
            return 0;
        }
        self.report_deaths(inbox)
    }

    /// The ring was just found empty, so invariant 3 holds.
    #[cold]
    fn report_deaths<I: Inbox>(&mut self, inbox: &mut I) -> usize {
        let thorough = self.idle_polls.is_multiple_of(POLLS_PER_DEATH_LOOK * POLLS_PER_DEATH_LOOK);
        if !self.deaths.any(&self.node, thorough) {
            return 0;
        }
        let mut count = 0;
        for local_rank in self.deaths.collect(&self.node) {
            let peer = Peer(self.first_rank + local_rank);
            if self.forget(local_rank as usize) {
                let pid = self.node.record(local_rank).pid();
                let reason = format!("its process {pid} is gone");
                inbox.lost(peer, Error::new(Kind::PeerLost { peer, reason }));
                count += 1;
            }
        }
        count
    }

    /// Nothing goes to this peer any more; `false` if that was so already.
    fn forget(&mut self, local_rank: usize) -> bool {
        let endpoint = &mut self.endpoints[local_rank];
        if endpoint.is_lost {
            return false;
        }
        endpoint.is_lost = true;
        endpoint.pair.forget();
        if endpoint.pending.take().is_some() {
            self.pending_count -= 1;
        }
        self.starved.retain(|other| *other as usize != local_rank);
        true
    }

    /// A body of at most [`INLINE_BYTES`] in the slot itself.
    #[inline]
    fn push_inline(&mut self, local_rank: usize, header: &Header, body: &[u8]) -> bool {
        let word = first_word(header, body.len(), self.local_rank);
        self.endpoints[local_rank].ring.push(word, |slot| {
            write_header(slot, header);
            // SAFETY: the body fits the slot's body (the caller checked), and is not in it.
            unsafe {
                let into = (&raw mut (*slot).body).cast::<u8>();
                copy_few(body.as_ptr(), into, body.len());
            }
        })
    }
}

#[inline]
fn write_header(slot: *mut Rest, header: &Header) {
    // SAFETY: `push` lends a slot's rest: aligned, valid for writes, ours.
    unsafe {
        (*slot).context = header.context;
        (*slot).source = header.source;
        (*slot).tag = header.tag;
        (*slot).extra = header.extra;
        (*slot).token = header.token;
    }
}

impl Lane for ShmLane {
    fn capabilities(&mut self, peer: Peer) -> Capabilities {
        let local_rank = self.local(peer);
        Capabilities {
            short_bytes_max: INLINE_BYTES,
            fragment_bytes_max: FRAGMENT_BYTES_MAX,
            piece_bytes_max: piece_bytes(),
            bulk_bytes_max: 0,
            get: self.endpoints[local_rank].may_get(&self.node),
            // Medians of the development machine (docs/shm.md); the plan needs ratios, not truth.
            get_later: false,
            latency_ns: 250 + crate::wait::turn_ns(),
            fragment_bytes_per_us: 12_000,
            // What a read costs a window of many: the system call, its pages. That of a single
            // message costs twice as much, and more where it was just written: a sender that waits
            // sends up to 64 KiB and more by two copies (docs/performance.md).
            get_ns: 400,
            get_bytes_per_us: 16_000,
            get_written_bytes_per_us: 8_000,
            share: Unit::PAGE,
        }
    }

    #[inline]
    fn short(&mut self, peer: Peer, header: &Header, body: &[u8]) -> Submit {
        let local_rank = self.local(peer);
        if let Some(ring) = &mut self.endpoints[local_rank].pair.out {
            let pushed = pairs::push_inline(ring, header, body);
            return self.pushed_to_pair(local_rank, pushed, header.kind);
        }
        self.short_shared(local_rank, header, body)
    }

    fn fragment(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        assert!(bytes <= FRAGMENT_BYTES_MAX, "a fragment fits a chunk");
        let local_rank = self.local(peer);
        if let Some(ring) = &mut self.endpoints[local_rank].pair.out {
            let pushed = pairs::push_filled(ring, header, bytes, fill);
            return self.pushed_to_pair(local_rank, pushed, header.kind);
        }
        if let Some(answer) = self.attend(local_rank) {
            return answer;
        }
        // Room is looked for before the chunk is filled: a full ring must not cost the filling.
        if !self.endpoints[local_rank].ring.has_room() {
            return self.starve(local_rank);
        }
        let Some(chunk) = self.chunks.allocate(bytes) else {
            self.starved_of_chunks = true;
            return Submit::Full;
        };
        // SAFETY: the chunk was just allocated to us and has at least `bytes` bytes.
        fill(unsafe { self.chunks.memory.bytes_mut(chunk, bytes) });
        let word = first_word(header, bytes, self.local_rank) | IN_CHUNK;
        let mut rest = Rest {
            context: header.context,
            source: header.source,
            tag: header.tag,
            extra: header.extra,
            token: header.token,
            body: [0; INLINE_BYTES],
        };
        rest.body[..4].copy_from_slice(&u32::from(chunk).to_le_bytes());
        // SAFETY: `push` lends a slot's rest, which is valid for writes.
        if self.endpoints[local_rank].ring.push(word, |slot| unsafe { slot.write(rest) }) {
            self.ring_bell(local_rank);
        } else {
            // Others were faster. The body is filled, so the message is ours to deliver.
            self.endpoints[local_rank].pending = Some(Box::new((word, rest)));
            self.pending_count += 1;
            let _ = self.starve(local_rank);
        }
        self.count_shared(local_rank);
        Submit::Sent
    }

    unsafe fn get(&mut self, peer: Peer, from: RemoteRange, into: *mut u8, _token: u64) -> Get {
        let local_rank = self.local(peer);
        let pid = self.node.record(local_rank as u32).pid();
        if self.endpoints[local_rank].is_lost {
            return peer_copy::gone(pid, peer);
        }
        if !self.endpoints[local_rank].can_get(&self.node) {
            return Get::Refused;
        }
        // SAFETY: the caller's promise is the callee's condition.
        let got = unsafe { peer_copy::read(pid, from, into, peer) };
        if matches!(got, Get::Refused) {
            self.endpoints[local_rank].refuse_get();
        }
        got
    }

    unsafe fn put(&mut self, peer: Peer, from: *const u8, to: RemoteRange) -> Get {
        let local_rank = self.local(peer);
        let pid = self.node.record(local_rank as u32).pid();
        if self.endpoints[local_rank].is_lost {
            return peer_copy::gone(pid, peer);
        }
        if !self.endpoints[local_rank].can_put(&self.node) {
            return Get::Refused;
        }
        // SAFETY: the caller's promise is the callee's condition.
        let put = unsafe { peer_copy::write(pid, from, to, peer) };
        if matches!(put, Get::Refused) {
            self.endpoints[local_rank].refuse_put();
        }
        put
    }

    fn used(&mut self, base: *const u8, bytes: usize) {
        self.huge.note(base, bytes);
    }

    fn cells(&self, owner: Peer) -> Option<&[Cell]> {
        self.reaches(owner).then(|| self.node.cells(owner.0 - self.first_rank))
    }

    #[inline]
    fn poll<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        let (mut count, released) = self.poll_pairs(inbox, budget);
        if count < budget {
            count += self.poll_shared(inbox, budget - count);
        }
        if released || self.inbound.released() != self.room_shown {
            self.show_room();
        }
        if self.pending_count != 0 {
            self.push_all_pending();
        }
        if count == 0 { self.idle(inbox) } else { count }
    }

    fn is_flushed(&self) -> bool {
        self.pending_count == 0
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One thread's progress engine: owns lanes, queues, requests.
//!
//! Invariants:
//! 1. Lanes deliver into [`Core`], which has no lanes: a handler cannot send. What it wants sent it
//!    leaves in `actions`, and the worker does that when the lane is no longer borrowed.
//! 2. Nothing here calls user code, except the layouts of typed payloads.
//! 3. A short standard send and a matched receive allocate nothing and make no system call.
//!
//! The parts: `submit` (sends, and what waits for room), `deliver` (what arrives), `receive` (what
//! a matched receive does), `share` (long transfers that both sides copy), `offer` (receives that
//! their senders may fill), `loan` (memory that a lane lends), `cancel` (cancellation and the loss
//! of a peer), `direct` (receives without a request), `near` (what is done without messages),
//! `outside` (peers of other jobs), `network` (what callers ask of networks), `revoke` (contexts
//! that were revoked), `note` (what tools hear of), `summary` (what waits, in words).

mod cancel;
mod deliver;
mod direct;
mod loan;
mod near;
mod network;
mod note;
mod offer;
mod outside;
mod receive;
mod remote;
mod revoke;
mod share;
mod submit;
mod summary;

pub use self::note::{Happening, Note};
pub use self::offer::OFFER_BYTES_MIN;
pub use crate::wait::{Next, Sleeper, Waiter};

use crate::bootstrap::Job;
use crate::counters::Counters;
use crate::endpoint::Control;
use crate::endpoints::Endpoints;
use crate::envelope::{Envelope, Pattern, Peer};
use crate::error::{Error, Result};
use crate::lane::any::{Allowed, Kinds, Lanes};
use crate::lane::sim::SimLane;
use crate::payload::Payload;
use crate::protocol::credit;
use crate::protocol::matching::{Matching, UnexpectedId};
use crate::protocol::message::{Message, Records};
use crate::protocol::plan::Plan;
use crate::protocol::share::{CellId, CellTable};
use crate::request::{Completion, NO_PEER, Outcome, RequestId, Requests, Stage};
use crate::wait::Sleepers;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;

/// When a send is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendMode {
    /// When the buffer may be used again.
    Standard,
    /// The same, and the caller does nothing else until then: what saves time counts more than
    /// what saves copies.
    Waited,
    /// When moreover the receiver has begun to receive.
    Synchronous,
}

/// The answer to a send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Sent {
    /// Already complete; the buffer is free.
    Done,
    /// In flight.
    Pending(RequestId),
}

/// A message that has arrived (or was announced) and is not yet received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its envelope.
    pub envelope: Envelope,
    /// Who sent it, whatever its envelope says.
    pub peer: Peer,
    /// Its packed bytes.
    pub bytes: usize,
}

fn arrival(envelope: Envelope, message: &Message) -> Arrival {
    Arrival { envelope, peer: Peer(message.peer()), bytes: message.bytes() as usize }
}

/// What a transfer that ended as asked has to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Source of the message.
    pub source: u32,
    /// Its tag.
    pub tag: u32,
    /// Packed bytes that were delivered.
    pub bytes: usize,
}

/// A message claimed by a matched probe: only [`Worker::receive_claimed`] can receive it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageId(pub RequestId);

/// Looks of [`Worker::watch`]: less than a microsecond.
const WATCH_LOOKS: u32 = 16;

/// The engine. `&mut self` everywhere: the caller holds the one lock.
pub struct Worker {
    core: Core,
    lanes: Lanes,
    /// Where a typed receive stages what it fetches; empty until the first one.
    staging: Vec<u8>,
    /// Where threads sleep; simulated workers do not.
    sleepers: Option<Sleepers>,
    /// A thread may be asleep on an announcement.
    is_armed: bool,
    /// Somebody waits until all has left: no sleep before that.
    is_flushing: Cell<bool>,
    /// Counts down the receives of [`Worker::receive_now`].
    direct_left: u32,
    /// `STRAIT_RMA_BYTES`.
    access_bytes: Option<usize>,
}

/// Everything but the lanes: where they deliver.
pub(crate) struct Core {
    me: Peer,
    endpoints: Endpoints,
    requests: Requests,
    matching: Matching<Message>,
    records: Records,
    /// What handlers want done.
    actions: VecDeque<Action>,
    /// Peers with something that waits for room.
    active: Vec<u32>,
    lost: Vec<(Peer, Error)>,
    /// Peers that were lost so far.
    loss_count: u32,
    /// Why the newest of them was.
    last_loss: Option<Error>,
    /// Contexts that were revoked and are not forgotten.
    revoked: Vec<Range<u32>>,
    /// Receives whose bytes are being copied by claims, in the order of their matches.
    sharing: VecDeque<RequestId>,
    /// Sends of ours that their receivers have opened for us, or may.
    opened: Vec<share::Opened>,
    /// Receives that their senders may fill.
    offered: Vec<offer::Offered>,
    /// Sends of ours whose memory a lane has lent to their receivers.
    lent: Vec<RequestId>,
    /// Our cells for the former.
    cells: CellTable,
    /// Progress is made by a thread beside the program's.
    is_aside: bool,
    counters: Counters,
    /// What tools hear of, while one listens.
    notes: Option<Box<note::Notes>>,
    grant: usize,
}

/// What a handler wants done once the lane is free.
enum Action {
    /// Send this.
    Control { peer: u32, control: Control },
    /// Decide how the data of this matched, announced message comes.
    Grant(RequestId),
    /// The sender is done with the cell of this receive.
    LookAtCell(RequestId),
    /// The sender of a shared transfer is gone.
    CloseCell { peer: u32, cell: CellId },
}

// The MPI layer keeps the worker behind a lock that any thread may take.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Worker>();
};

impl Worker {
    /// A worker for this process of the job, with the lanes that `STRAIT_LANES` allows.
    pub fn new(job: &Job) -> Result<Worker> {
        Worker::with_allowed(job, Allowed::from_environment()?)
    }

    /// As [`Worker::new`], and says which lanes may be used. All processes must say the same.
    pub fn with_allowed(job: &Job, allowed: Allowed) -> Result<Worker> {
        let (lanes, kinds) = Lanes::new(job, allowed)?;
        let grant = credit::grant(kinds.size() as usize);
        let sleepers = Sleepers::new(job);
        lanes.watch(&sleepers)?;
        let mut worker = Worker::with_lanes(Peer(job.rank), lanes, kinds, grant);
        worker.sleepers = Some(sleepers);
        let bytes = crate::config::number("RMA_BYTES")?;
        worker.access_bytes = bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(worker)
    }

    /// A worker of a simulated network. Its messages to itself use the network too if
    /// `self_over_sim`, else loopback. All workers of the network must have the same grant, at
    /// least [`credit::GRANT_MIN`]. It cannot sleep.
    pub fn for_test(lane: SimLane, self_over_sim: bool, grant: usize) -> Worker {
        let me = lane.me();
        let (lanes, kinds) = Lanes::simulated(lane, self_over_sim);
        Worker::with_lanes(me, lanes, kinds, grant)
    }

    fn with_lanes(me: Peer, lanes: Lanes, kinds: Kinds, grant: usize) -> Worker {
        let core = Core {
            me,
            endpoints: Endpoints::new(kinds, grant),
            requests: Requests::new(),
            matching: Matching::new(),
            records: Records::new(),
            actions: VecDeque::new(),
            active: Vec::new(),
            lost: Vec::new(),
            loss_count: 0,
            last_loss: None,
            revoked: Vec::new(),
            sharing: VecDeque::new(),
            opened: Vec::new(),
            offered: Vec::new(),
            lent: Vec::new(),
            cells: CellTable::new(),
            is_aside: false,
            counters: Counters::default(),
            notes: None,
            grant,
        };
        Worker {
            core,
            lanes,
            staging: Vec::new(),
            sleepers: None,
            is_armed: false,
            is_flushing: Cell::new(false),
            direct_left: 0,
            access_bytes: None,
        }
    }

    /// This process.
    pub fn me(&self) -> Peer {
        self.core.me
    }

    /// Starts to send. `Done` for what could be copied at once.
    ///
    /// # Safety
    /// The payload's memory is readable and unchanged until completion.
    #[inline]
    pub unsafe fn send(
        &mut self,
        to: Peer,
        envelope: Envelope,
        payload: Payload,
        mode: SendMode,
    ) -> Sent {
        if mode != SendMode::Synchronous
            && let Payload::Contiguous { base, bytes } = payload
            // SAFETY: the caller's promise is the condition.
            && unsafe { self.send_now(to, envelope, base, bytes) }
        {
            return Sent::Done;
        }
        // SAFETY: as above.
        unsafe { self.send_any(to, envelope, payload, mode) }
    }

    /// Starts to receive. `from` is the peer that the pattern's source stands for, if it is exact
    /// (so that the loss of that peer fails the request).
    ///
    /// # Safety
    /// The payload's memory is writable and otherwise untouched until completion.
    #[inline]
    pub unsafe fn receive(
        &mut self,
        from: Option<Peer>,
        pattern: Pattern,
        payload: Payload,
    ) -> RequestId {
        let peer = from.map_or(NO_PEER, |peer| peer.0);
        let Pattern { context, source, tag } = pattern;
        let wanted = Envelope { context, source, tag };
        // SAFETY: the caller's promise, which the slot passes on to whoever delivers into it.
        if self.core.matching.unexpected_count() != 0
            && let Some(found) = self.core.matching.find(pattern)
        {
            return self.receive_unexpected(peer, found, payload);
        }
        if peer != NO_PEER && self.core.endpoints[peer as usize].lost.is_some() {
            return self.receive_from_lost(peer, wanted, payload);
        }
        let id = self.core.requests.insert(peer, wanted, payload, Stage::Assembling);
        let posted = self.core.matching.post(pattern, id.index);
        self.core.requests.advance(id.index, Stage::Posted(posted));
        id
    }

    #[inline(never)]
    fn receive_unexpected(
        &mut self,
        peer: u32,
        found: UnexpectedId,
        payload: Payload,
    ) -> RequestId {
        let (envelope, message) = self.core.matching.remove(found);
        let id = self.core.requests.insert(peer, envelope, payload, Stage::Assembling);
        self.core.begin(id, envelope, message);
        if !self.core.actions.is_empty() {
            self.run_actions();
        }
        id
    }

    #[cold]
    #[inline(never)]
    fn receive_from_lost(&mut self, peer: u32, wanted: Envelope, payload: Payload) -> RequestId {
        let error = self.core.loss_or_unknown(peer);
        self.core.requests.insert(peer, wanted, payload, Stage::Done(Outcome::Failed(error)))
    }

    /// The first unreceived message that the pattern accepts. Makes no progress by itself.
    pub fn probe(&mut self, pattern: Pattern) -> Option<Arrival> {
        let found = self.core.matching.find(pattern)?;
        let (envelope, message) = self.core.matching.message(found);
        Some(arrival(envelope, message))
    }

    /// As [`Worker::probe`], and takes the message out of matching.
    pub fn claim(&mut self, pattern: Pattern) -> Option<(MessageId, Arrival)> {
        let found = self.core.matching.find(pattern)?;
        let (envelope, message) = self.core.matching.remove(found);
        let arrival = arrival(envelope, &message);
        let stage = Stage::Claimed(message);
        let id = self.core.requests.insert(message.peer(), envelope, Payload::EMPTY, stage);
        Some((MessageId(id), arrival))
    }

    /// Receives a claimed message.
    ///
    /// # Safety
    /// As [`Worker::receive`].
    ///
    /// # Panics
    /// If the message was received already.
    pub unsafe fn receive_claimed(&mut self, message: MessageId, payload: Payload) -> RequestId {
        let slot = self.core.requests.get_mut(message.0);
        let slot = slot.expect("a claimed message is received once");
        let Stage::Claimed(claimed) = slot.stage else {
            panic!("a message id names a claimed message");
        };
        // SAFETY: the caller's promise, which the slot passes on to whoever delivers into it.
        slot.payload = payload;
        slot.stage = Stage::Assembling;
        let envelope = slot.envelope;
        self.core.begin(message.0, envelope, claimed);
        self.run_actions();
        message.0
    }

    /// Whether the request has ended. A stale id counts as ended.
    #[inline]
    pub fn is_complete(&self, request: RequestId) -> bool {
        let slot = self.core.requests.get(request);
        slot.is_none_or(|slot| matches!(slot.stage, Stage::Done(_)))
    }

    /// The terminal record, and frees the request; `None` while in flight (or if it is stale).
    #[inline]
    pub fn take(&mut self, request: RequestId) -> Option<Completion> {
        let slot = self.core.requests.get(request)?;
        if !matches!(slot.stage, Stage::Done(_)) {
            return None;
        }
        let (source, tag) = (slot.envelope.source, slot.envelope.tag);
        let bytes = slot.moved as usize;
        let context = slot.envelope.context;
        let Stage::Done(mut outcome) = self.core.requests.free(request.index) else {
            unreachable!("it was done a moment ago");
        };
        if matches!(outcome, Outcome::Cancelled) {
            outcome = self.end_of_cancelled(context);
        }
        Some(Completion { source, tag, bytes, outcome })
    }

    /// As [`Worker::take`], for a request that ended as asked: envelope and bytes. `None` in all
    /// other cases, and then nothing was done.
    #[inline]
    pub fn take_done(&mut self, request: RequestId) -> Option<Received> {
        let slot = self.core.requests.get(request)?;
        if !matches!(slot.stage, Stage::Done(Outcome::Done)) {
            return None;
        }
        let Envelope { source, tag, .. } = slot.envelope;
        let bytes = slot.moved as usize;
        self.core.requests.free(request.index);
        Some(Received { source, tag, bytes })
    }

    /// Nobody will ask for this request again: it is freed when it ends.
    pub fn detach(&mut self, request: RequestId) {
        let Some(slot) = self.core.requests.get_mut(request) else { return };
        if matches!(slot.stage, Stage::Done(_)) {
            self.core.requests.free(request.index);
        } else {
            slot.detached = true;
        }
    }

    /// Asks for cancellation. The request still ends through [`Worker::take`], with
    /// `Outcome::Cancelled` or as if nothing had happened.
    pub fn cancel(&mut self, request: RequestId) {
        if self.withdraw_offer(request) {
            self.core.cancel(request);
            self.run_actions();
        }
    }

    /// Bounded non-blocking work; returns how much it did.
    #[inline]
    pub fn progress(&mut self) -> usize {
        let mut done = self.lanes.poll(&mut self.core);
        if !self.core.actions.is_empty() {
            done += self.run_actions();
        }
        if !(self.core.sharing.is_empty() && self.core.opened.is_empty()) {
            done += self.copy_piece() + self.run_actions();
        }
        if !self.core.active.is_empty() {
            done += self.flush();
        }
        if done > 0 && !self.core.lent.is_empty() {
            self.take_back_loans();
        }
        if self.lanes.is_holding() {
            // The caller may leave now, and what was sent here must not wait for its next call.
            self.lanes.release();
        }
        done
    }

    /// Looks closely at the places where messages of this host arrive, and takes what is there;
    /// returns how much that was, or zero after [`WATCH_LOOKS`] looks. It is no progress: what
    /// waits for room, and other lanes, are left alone. The pause between two looks is no
    /// politeness: looks without it take the line away from the sender before it has written.
    #[inline]
    pub fn watch(&mut self) -> usize {
        if !(self.core.sharing.is_empty() && self.core.opened.is_empty()) {
            // There is copying to do, which is progress.
            return 0;
        }
        if !self.lanes.has_shm() {
            std::hint::spin_loop();
            return 0;
        }
        self.lanes.hasten_network();
        for _ in 0..WATCH_LOOKS {
            let done = self.lanes.poll_news(&mut self.core);
            if done > 0 {
                return if self.core.actions.is_empty() { done } else { done + self.run_actions() };
            }
            std::hint::spin_loop();
        }
        0
    }

    /// Peers that were lost since the last call.
    pub fn lost(&mut self) -> Vec<(Peer, Error)> {
        std::mem::take(&mut self.core.lost)
    }

    /// Whether all that was accepted has left this process (Finalize waits for it). A detached send
    /// that its receiver has not taken yet counts as not left. While the last answer was `false`,
    /// [`Worker::arm`] refuses: such a wait has no bell.
    pub fn is_flushed(&self) -> bool {
        let flushed = self.core.actions.is_empty()
            && self.core.active.is_empty()
            && self.lanes.is_flushed()
            && !self.core.has_detached_sends();
        self.is_flushing.set(!flushed);
        flushed
    }

    /// The orderly end (Finalize): no peer will take the end of this process for a loss. Make
    /// progress until [`Worker::is_flushed`] after this, then drop the worker.
    pub fn close(&mut self) {
        self.lanes.close();
    }

    /// Announces sleep on every lane, then looks once more. `false`: there was work, do not sleep.
    pub fn arm(&mut self) -> bool {
        // What has no room is tried before the announcement, so that the announcement knows it.
        if self.progress() > 0 || !self.core.actions.is_empty() {
            return false;
        }
        // Nobody rings when the kernel of a peer acknowledges our last bytes, which may happen
        // between the caller's look and this one: whoever waits for that does not sleep.
        if self.is_flushing.get() {
            return false;
        }
        let Some(sleepers) = &mut self.sleepers else { return false };
        self.lanes.announce(sleepers);
        sleepers.arm(|| self.lanes.wish());
        let quiet = self.lanes.is_quiet();
        if quiet {
            self.is_armed = true;
        } else if !self.is_armed {
            // No other thread sleeps on an announcement, so it is ours alone to take back.
            sleepers.disarm();
        }
        quiet
    }

    /// Takes the announcement back. Call it when the last sleeping thread is awake.
    pub fn disarm(&mut self) {
        self.is_armed = false;
        if let Some(sleepers) = &mut self.sleepers {
            sleepers.disarm();
        }
    }

    /// What a thread sleeps on without holding the worker; take it after [`Worker::arm`], before
    /// the worker is let go.
    ///
    /// # Panics
    /// If this is a simulated worker.
    pub fn sleeper(&self) -> Sleeper {
        self.sleepers.as_ref().expect("a simulated worker does not sleep").sleeper()
    }

    /// How messages to this peer are carried, as a table.
    pub fn describe_plan(&mut self, peer: Peer) -> String {
        let Some(endpoint) = self.core.endpoints.get(peer.0 as usize) else {
            return format!("peer {peer} is not in this job\n");
        };
        let lane = endpoint.lane;
        let grant = endpoint.credit.grant();
        let plan = Plan::new(self.lanes.capabilities(lane, peer), grant);
        format!("peer {peer} over {lane:?}: {plan}")
    }

    /// What this worker has done, and what it holds now.
    pub fn counters(&self) -> Counters {
        let core = &self.core;
        Counters {
            requests: core.requests.live(),
            posted: core.matching.posted_count(),
            unexpected_now: core.matching.unexpected_count(),
            parked: core.records.count(),
            parked_bytes: core.records.held_bytes(),
            ..core.counters
        }
    }

    /// What waits, in a few lines for a person: what a rank that hangs is waiting for.
    pub fn pending_summary(&self) -> String {
        self.core.pending_summary()
    }

    /// Credit with a peer: eager bytes that we may send, and bytes received from it and not yet
    /// granted again. For tests: both sides of a quiet pair sum to the grant.
    pub fn credit(&self, peer: Peer) -> (usize, usize) {
        let credit = &self.core.endpoints[peer.0 as usize].credit;
        (credit.available(), credit.owed())
    }

    /// The eager grant of each pair.
    pub fn grant(&self) -> usize {
        self.core.grant
    }
}

impl Core {
    /// Why this peer is lost, if it is.
    #[inline]
    fn loss_of(&self, peer: u32) -> Option<Error> {
        self.endpoints.get(peer as usize)?.lost.clone()
    }

    fn has_detached_sends(&self) -> bool {
        let sending = |index: u32| {
            let id = self.requests.id(index);
            self.requests.get(id).is_some_and(|slot| {
                let waits = matches!(
                    slot.stage,
                    Stage::Queued | Stage::Announced | Stage::Streaming { .. } | Stage::AwaitAck
                );
                slot.detached && waits
            })
        };
        self.requests.live() > 0 && (0..self.requests.len()).any(sending)
    }
}

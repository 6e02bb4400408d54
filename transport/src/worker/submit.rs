// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What leaves: sends, control messages, data, and the queues of what waits for room.
//!
//! Invariants:
//! 1. A matched kind of message (eager, RTS) leaves only when everything before it in the queue of
//!    its endpoint has left.
//! 2. Whether a message is eager or announced is decided when it leaves, by the credit of that
//!    moment; once its first fragment is out it stays eager.
//! 3. A visit to an endpoint stops at the first `Full`: a long queue costs nothing while it waits.

use super::note::Happening;
use super::share::{Opened, Stand};
use super::{Action, Core, SendMode, Sent, Worker};
use crate::endpoint::Control;
use crate::envelope::{Envelope, Peer};
use crate::error::{Error, Kind, Submit};
use crate::lane::Bulk;
use crate::payload::Payload;
use crate::protocol::credit;
use crate::protocol::plan::Plan;
use crate::request::{Outcome, RequestId, Stage};
use crate::wire::header::{FLAG_FETCHABLE, FLAG_SYNCHRONOUS, Header, MessageKind};

/// Launches of queued sends in one visit to an endpoint.
const LAUNCHES_MAX: usize = 64;
/// Data fragments in one visit to an endpoint: enough to fill a ring, few enough that arrivals are
/// looked at in between.
const FRAGMENTS_MAX: usize = 16;
/// Bytes of an eager message that travel with its first fragment where the rest goes in bulk: they
/// make `moved` say that the message has begun.
const BULK_LEAD: usize = 64;
/// Body of an RTS and of a CTS.
const CONTROL_BODY: usize = 16;

/// What became of an attempt to let a send leave.
enum Launch {
    /// No room; the send stays where it is.
    Full,
    /// It left, or failed: its next stage.
    Left(Stage),
}

impl Worker {
    /// The sacred path: a short contiguous standard send to a connected peer with an empty queue
    /// and credit. `false`: it is not that, or there was no room; nothing was done.
    ///
    /// # Safety
    /// `base` is readable for `bytes` bytes.
    #[inline(always)]
    pub unsafe fn send_now(
        &mut self,
        to: Peer,
        envelope: Envelope,
        base: *const u8,
        bytes: usize,
    ) -> bool {
        let endpoint = &mut self.core.endpoints[to.0 as usize];
        let cost = credit::cost(bytes);
        if bytes >= endpoint.ready_below as usize || !endpoint.credit.covers(cost) {
            return false;
        }
        // SAFETY: the caller's promise.
        let sent = unsafe { self.lanes.plain(endpoint.lane, to, envelope, base, bytes) };
        if sent {
            endpoint.credit.spend(cost);
            self.core.counters.eager_sent += 1;
        }
        sent
    }

    /// Every other send.
    ///
    /// # Safety
    /// As [`Worker::send`].
    #[inline(never)]
    pub(super) unsafe fn send_any(
        &mut self,
        to: Peer,
        envelope: Envelope,
        payload: Payload,
        mode: SendMode,
    ) -> Sent {
        let bytes = payload.bytes();
        self.connect(to.0);
        let endpoint = &self.core.endpoints[to.0 as usize];
        let eager = bytes <= endpoint.thresholds.eager_max(mode == SendMode::Waited);
        if eager && endpoint.sends.is_empty() && !endpoint.credit.covers(credit::cost(bytes)) {
            // The credit may be on its way.
            self.progress();
        }
        if let Some(error) = self.core.loss_of(to.0) {
            let stage = Stage::Done(Outcome::Failed(error));
            return Sent::Pending(self.core.requests.insert(to.0, envelope, payload, stage));
        }
        let id = self.core.requests.insert(to.0, envelope, payload, Stage::Queued);
        let slot = self.core.requests.at(id.index);
        slot.total = bytes as u64;
        slot.synchronous = mode == SendMode::Synchronous;
        slot.attended = mode == SendMode::Waited;
        let launch = match self.core.endpoints[to.0 as usize].sends.is_empty() {
            true => self.launch(id),
            false => Launch::Full,
        };
        match launch {
            Launch::Full => {
                let endpoint = &mut self.core.endpoints[to.0 as usize];
                endpoint.sends.push(&mut self.core.requests, id.index);
                endpoint.ready_below = 0;
                self.core.activate(to.0);
                Sent::Pending(id)
            }
            Launch::Left(Stage::Done(Outcome::Done)) => {
                self.core.requests.free(id.index);
                Sent::Done
            }
            Launch::Left(stage) => {
                self.core.requests.at(id.index).stage = stage;
                Sent::Pending(id)
            }
        }
    }

    /// Asks the lane once what it can do with this peer.
    #[inline]
    pub(super) fn connect(&mut self, peer: u32) {
        if !self.core.endpoints[peer as usize].connected {
            self.connect_now(peer);
        }
    }

    #[cold]
    #[inline(never)]
    fn connect_now(&mut self, peer: u32) {
        let endpoint = &mut self.core.endpoints[peer as usize];
        let capabilities = self.lanes.capabilities(endpoint.lane, Peer(peer));
        assert!(
            capabilities.short_bytes_max >= CONTROL_BODY && capabilities.piece_bytes_max > 0,
            "a lane carries control messages in one slot: {capabilities:?}"
        );
        endpoint.thresholds = Plan::new(capabilities, endpoint.credit.grant()).thresholds;
        endpoint.connected = true;
        endpoint.update_ready();
    }

    /// Asks a second time whether the peer's memory can be fetched, now that it has announced a
    /// message: when it was asked first the peer may not have been running yet, and the answer was
    /// a hope.
    #[inline]
    pub(super) fn settle_fetch(&mut self, peer: u32) {
        let endpoint = &mut self.core.endpoints[peer as usize];
        if !std::mem::replace(&mut endpoint.fetch_settled, true) {
            self.connect_now(peer);
        }
    }

    /// Lets a send leave that is the first of its endpoint's queue (or would be).
    fn launch(&mut self, id: RequestId) -> Launch {
        let slot = self.core.requests.at(id.index);
        let bytes = slot.total as usize;
        if slot.moved > 0 {
            return self.launch_more(id);
        }
        let endpoint = &mut self.core.endpoints[slot.peer as usize];
        let eager = bytes <= endpoint.thresholds.eager_max(slot.attended);
        if !eager || !endpoint.credit.covers(credit::cost(bytes)) {
            let launch = self.announce(id);
            let announced = matches!(launch, Launch::Left(Stage::Announced));
            self.core.counters.announced_for_credit += u64::from(eager && announced);
            return launch;
        }
        if bytes > endpoint.thresholds.short_bytes_max.max(BULK_LEAD as u32) as usize
            && endpoint.thresholds.bulk_bytes_max > 0
            && matches!(slot.payload, Payload::Contiguous { .. })
        {
            return self.launch_bulk(id);
        }
        if bytes > endpoint.thresholds.piece_bytes(bytes) {
            return self.launch_first(id);
        }
        let mut header = Header::with_envelope(MessageKind::Eager, slot.envelope, bytes);
        if slot.synchronous {
            header.flags = FLAG_SYNCHRONOUS;
            header.token = id.token();
        }
        let (lane, peer) = (endpoint.lane, Peer(slot.peer));
        let short = bytes <= endpoint.thresholds.short_bytes_max as usize;
        let submit = match &slot.payload {
            Payload::Contiguous { bytes: 0, .. } => self.lanes.short(lane, peer, &header, &[]),
            Payload::Contiguous { base, .. } if short => {
                // SAFETY: who posted the send promised that its bytes are readable.
                let body = unsafe { std::slice::from_raw_parts(*base, bytes) };
                self.lanes.short(lane, peer, &header, body)
            }
            payload if bytes == 0 => {
                debug_assert_eq!(payload.bytes(), 0);
                self.lanes.short(lane, peer, &header, &[])
            }
            // SAFETY: as above; the range is the whole payload.
            payload => self
                .lanes
                .fragment(lane, peer, &header, bytes, &mut |into| unsafe { payload.pack(0, into) }),
        };
        match submit {
            Submit::Full => self.core.full(),
            Submit::Lost => self.core.launch_lost(peer.0),
            Submit::Sent => {
                endpoint.credit.spend(credit::cost(bytes));
                self.core.eager_left(id)
            }
        }
    }

    /// The first piece of an eager message of several.
    fn launch_first(&mut self, id: RequestId) -> Launch {
        let slot = self.core.requests.at(id.index);
        let endpoint = &mut self.core.endpoints[slot.peer as usize];
        let body = endpoint.thresholds.piece_bytes(slot.total as usize);
        let mut header = Header::with_envelope(MessageKind::EagerFirst, slot.envelope, body);
        header.extra = slot.total as u32;
        if slot.synchronous {
            header.flags = FLAG_SYNCHRONOUS;
        }
        header.token = id.token();
        let (lane, peer, payload) = (endpoint.lane, Peer(slot.peer), &slot.payload);
        let submit = self.lanes.fragment(lane, peer, &header, body, &mut |into| {
            // SAFETY: who posted the send promised that it is readable; this is its beginning, and
            // the message is longer than a piece.
            unsafe { payload.pack(0, into) }
        });
        match submit {
            Submit::Full => self.core.full(),
            Submit::Lost => self.core.launch_lost(peer.0),
            Submit::Sent => {
                endpoint.credit.spend(credit::cost(slot.total as usize));
                slot.moved = body as u64;
                self.launch_more(id)
            }
        }
    }

    /// An eager message that leaves straight from the user's memory: a short beginning, which is
    /// matched, and the rest in bulk.
    fn launch_bulk(&mut self, id: RequestId) -> Launch {
        let slot = self.core.requests.at(id.index);
        let Payload::Contiguous { base, bytes } = slot.payload else {
            unreachable!("only contiguous payloads leave in bulk");
        };
        // SAFETY: who posted the send promised that its bytes are readable; they are more than the
        // lead, so `base` is no null pointer.
        let all = unsafe { std::slice::from_raw_parts(base, bytes) };
        let endpoint = &mut self.core.endpoints[slot.peer as usize];
        let (lead, rest) = all.split_at(BULK_LEAD);
        let mut first = Header::with_envelope(MessageKind::EagerFirst, slot.envelope, lead.len());
        if slot.synchronous {
            first.flags = FLAG_SYNCHRONOUS;
        }
        first.extra = slot.total as u32;
        first.token = id.token();
        let body = &rest[..rest.len().min(endpoint.thresholds.bulk_bytes_max as usize)];
        let more = Header::with_token(MessageKind::EagerMore, id.token()).piece(body.len());
        let peer = slot.peer;
        match self.lanes.bulk(endpoint.lane, Peer(peer), Some((&first, lead)), &more, body) {
            Bulk::Full => self.core.full(),
            Bulk::Lost => self.core.launch_lost(peer),
            Bulk::Took(taken) => {
                endpoint.credit.spend(credit::cost(bytes));
                slot.moved = (BULK_LEAD + taken) as u64;
                match taken == body.len() {
                    true => self.launch_more(id),
                    false => self.core.full(),
                }
            }
        }
    }

    /// The next bytes of an eager message in bulk: how many left.
    fn launch_more_bulk(&mut self, id: RequestId) -> Bulk {
        let slot = self.core.requests.at(id.index);
        let endpoint = &self.core.endpoints[slot.peer as usize];
        // SAFETY: who posted the send promised that its bytes are readable.
        let rest = unsafe { slot.payload.rest(slot.moved as usize) };
        let body = &rest[..rest.len().min(endpoint.thresholds.bulk_bytes_max as usize)];
        let header = Header::with_token(MessageKind::EagerMore, id.token()).piece(body.len());
        match self.lanes.bulk(endpoint.lane, Peer(slot.peer), None, &header, body) {
            Bulk::Took(0) => Bulk::Full,
            answer => answer,
        }
    }

    /// The later fragments of an eager message.
    fn launch_more(&mut self, id: RequestId) -> Launch {
        loop {
            let slot = self.core.requests.at(id.index);
            if slot.moved == slot.total {
                return self.core.eager_left(id);
            }
            let in_bulk = self.core.endpoints[slot.peer as usize].thresholds.bulk_bytes_max > 0;
            if in_bulk && matches!(slot.payload, Payload::Contiguous { .. }) {
                let peer = slot.peer;
                match self.launch_more_bulk(id) {
                    Bulk::Full => return self.core.full(),
                    Bulk::Lost => return self.core.launch_lost(peer),
                    Bulk::Took(taken) => self.core.requests.at(id.index).moved += taken as u64,
                }
                continue;
            }
            let endpoint = &mut self.core.endpoints[slot.peer as usize];
            let most = endpoint.thresholds.piece_bytes(slot.total as usize) as u64;
            let body = (slot.total - slot.moved).min(most) as usize;
            let mut header = Header::with_token(MessageKind::EagerMore, id.token());
            header.body = body as u32;
            let (lane, peer) = (endpoint.lane, Peer(slot.peer));
            let (payload, offset) = (&slot.payload, slot.moved as usize);
            let submit = self.lanes.fragment(lane, peer, &header, body, &mut |into| {
                // SAFETY: who posted the send promised that it is readable; the range ends at most
                // at its end.
                unsafe { payload.pack(offset, into) }
            });
            match submit {
                Submit::Full => return self.core.full(),
                Submit::Lost => return self.core.launch_lost(peer.0),
                Submit::Sent => slot.moved += body as u64,
            }
        }
    }

    /// RTS: the payload stays here.
    fn announce(&mut self, id: RequestId) -> Launch {
        let slot = self.core.requests.at(id.index);
        let endpoint = &self.core.endpoints[slot.peer as usize];
        let mut header = Header::with_envelope(MessageKind::Rts, slot.envelope, CONTROL_BODY);
        header.token = id.token();
        let mut address = 0;
        let mut is_shared = false;
        if let Payload::Contiguous { base, .. } = &slot.payload {
            let bytes = slot.total as usize;
            if let Some(loan) = self.lanes.lend(endpoint.lane, id.token(), *base, bytes) {
                header.flags = FLAG_FETCHABLE;
                header.extra = loan.range.key;
                address = loan.range.address;
                if loan.must_end && !self.core.lent.contains(&id) {
                    self.core.lent.push(id);
                }
            }
            is_shared = endpoint.thresholds.unit.shares(slot.total);
            if is_shared {
                self.lanes.used(endpoint.lane, *base, slot.total as usize);
            }
        }
        let mut body = [0; CONTROL_BODY];
        body[..8].copy_from_slice(&slot.total.to_le_bytes());
        body[8..].copy_from_slice(&address.to_le_bytes());
        let (peer, envelope, total) = (slot.peer, slot.envelope, slot.total);
        match self.lanes.short(endpoint.lane, Peer(peer), &header, &body) {
            Submit::Full => self.core.full(),
            Submit::Lost => self.core.launch_lost(peer),
            Submit::Sent => {
                self.core.counters.announced_sent += 1;
                self.core.note(Happening::Announced, peer, envelope, total);
                let credit = &mut self.core.endpoints[peer as usize].credit;
                let position = credit.position_sent();
                credit.announced();
                if is_shared && self.core.endpoints[peer as usize].thresholds.fetch {
                    self.core.opened.push(Opened { id, stand: Stand::Seeking { position } });
                }
                Launch::Left(Stage::Announced)
            }
        }
    }

    /// Does what handlers asked for; returns how much that was.
    #[inline(never)]
    pub(super) fn run_actions(&mut self) -> usize {
        let mut count = 0;
        while let Some(action) = self.core.actions.pop_front() {
            count += 1;
            match action {
                Action::Grant(id) => self.grant_data(id),
                Action::LookAtCell(id) => self.look_at_cell(id),
                Action::CloseCell { peer, cell } => self.close_cell(peer, cell),
                Action::Control { peer, control } => self.send_control(peer, control),
            }
        }
        count
    }

    fn send_control(&mut self, peer: u32, control: Control) {
        self.connect(peer);
        let endpoint = &mut self.core.endpoints[peer as usize];
        if endpoint.lost.is_some() {
            return;
        }
        if endpoint.control.is_empty() {
            let body = &control.body[..control.header.body as usize];
            match self.lanes.short(endpoint.lane, Peer(peer), &control.header, body) {
                Submit::Sent | Submit::Lost => return,
                Submit::Full => self.core.counters.full += 1,
            }
        }
        endpoint.control.push_back(control);
        endpoint.ready_below = 0;
        self.core.activate(peer);
    }

    /// Pushes what waited for room, peer by peer.
    #[inline(never)]
    pub(super) fn flush(&mut self) -> usize {
        let mut count = 0;
        let mut at = 0;
        while at < self.core.active.len() {
            let peer = self.core.active[at];
            count += self.flush_endpoint(peer);
            let endpoint = &mut self.core.endpoints[peer as usize];
            endpoint.update_ready();
            if endpoint.is_idle() {
                endpoint.active = false;
                self.core.active.swap_remove(at);
            } else {
                at += 1;
            }
        }
        count
    }

    fn flush_endpoint(&mut self, peer: u32) -> usize {
        let mut count = 0;
        let endpoint = &mut self.core.endpoints[peer as usize];
        while let Some(control) = endpoint.control.front() {
            let body = &control.body[..control.header.body as usize];
            match self.lanes.short(endpoint.lane, Peer(peer), &control.header, body) {
                Submit::Full => return count + self.push_begun(peer),
                Submit::Sent | Submit::Lost => endpoint.control.pop_front(),
            };
            count += 1;
        }
        for _ in 0..LAUNCHES_MAX {
            let first = self.core.endpoints[peer as usize].sends.first;
            if self.core.endpoints[peer as usize].sends.is_empty() {
                break;
            }
            let id = self.core.requests.id(first);
            let Launch::Left(stage) = self.launch(id) else {
                return count + self.push_begun(peer);
            };
            let endpoint = &mut self.core.endpoints[peer as usize];
            endpoint.sends.remove(&mut self.core.requests, first);
            match stage {
                Stage::Done(outcome) => self.core.requests.finish(first, outcome),
                stage => self.core.requests.at(first).stage = stage,
            }
            count += 1;
        }
        count + self.push_data(peer)
    }

    /// Data fragments of the sends that were granted, in turn.
    fn push_data(&mut self, peer: u32) -> usize {
        for count in 0..FRAGMENTS_MAX {
            let endpoint = &mut self.core.endpoints[peer as usize];
            let index = endpoint.streams.first;
            if endpoint.streams.is_empty() {
                return count;
            }
            if endpoint.thresholds.bulk_bytes_max > 0
                && matches!(self.core.requests.at(index).payload, Payload::Contiguous { .. })
            {
                return count + self.push_bulk(peer, index);
            }
            let slot = self.core.requests.at(index);
            let Stage::Streaming { token, wanted } = slot.stage else {
                unreachable!("the list holds granted sends");
            };
            let most = u64::from(endpoint.thresholds.fragment_bytes_max);
            let body = (wanted - slot.moved).min(most) as usize;
            let header = Header::data(token, slot.moved, body);
            let (payload, offset) = (&slot.payload, slot.moved as usize);
            let submit =
                self.lanes.fragment(endpoint.lane, Peer(peer), &header, body, &mut |into| {
                    // SAFETY: who posted the send promised that it is readable; `wanted` was
                    // checked against its length.
                    unsafe { payload.pack(offset, into) }
                });
            if submit == Submit::Full {
                self.core.counters.full += 1;
                return count;
            }
            endpoint.streams.remove(&mut self.core.requests, index);
            if submit == Submit::Lost {
                let error = self.core.loss_or_unknown(peer);
                self.core.requests.finish(index, Outcome::Failed(error));
                continue;
            }
            self.core.counters.fragments_sent += 1;
            let slot = self.core.requests.at(index);
            slot.moved += body as u64;
            if slot.moved == wanted {
                slot.moved = slot.total;
                self.core.requests.finish(index, Outcome::Done);
            } else {
                endpoint.streams.push(&mut self.core.requests, index);
            }
        }
        FRAGMENTS_MAX
    }
}

impl Worker {
    /// What a lane may wait for while it has no room for anything else: the rest of a bulk message.
    fn push_begun(&mut self, peer: u32) -> usize {
        match self.core.endpoints[peer as usize].thresholds.bulk_bytes_max {
            0 => 0,
            _ => self.push_data(peer),
        }
    }

    /// As much of a granted send as there is room for in one message, straight from the user's
    /// memory. A send whose message did not all leave stays the first of its list, since the lane
    /// waits for the rest. Returns how much was done.
    fn push_bulk(&mut self, peer: u32, index: u32) -> usize {
        let endpoint = &mut self.core.endpoints[peer as usize];
        let slot = self.core.requests.at(index);
        let Stage::Streaming { token, wanted } = slot.stage else {
            unreachable!("the list holds granted sends");
        };
        // SAFETY: who posted the send promised that it is readable.
        let rest = unsafe { slot.payload.rest(slot.moved as usize) };
        let most = u64::from(endpoint.thresholds.bulk_bytes_max);
        let body = &rest[..(wanted - slot.moved).min(most) as usize];
        let header = Header::data(token, slot.moved, body.len());
        let taken = match self.lanes.bulk(endpoint.lane, Peer(peer), None, &header, body) {
            Bulk::Full => {
                self.core.counters.full += 1;
                return 0;
            }
            Bulk::Lost => {
                endpoint.streams.remove(&mut self.core.requests, index);
                let error = self.core.loss_or_unknown(peer);
                self.core.requests.finish(index, Outcome::Failed(error));
                return 1;
            }
            Bulk::Took(taken) => taken,
        };
        let all = taken == body.len();
        self.core.counters.fragments_sent += u64::from(all);
        slot.moved += taken as u64;
        if slot.moved == wanted {
            slot.moved = slot.total;
            endpoint.streams.remove(&mut self.core.requests, index);
            self.core.requests.finish(index, Outcome::Done);
        } else if all {
            endpoint.streams.remove(&mut self.core.requests, index);
            endpoint.streams.push(&mut self.core.requests, index);
        }
        usize::from(taken > 0)
    }
}

impl Core {
    /// There is something to push to this peer.
    pub(super) fn activate(&mut self, peer: u32) {
        let endpoint = &mut self.endpoints[peer as usize];
        if !endpoint.active {
            endpoint.active = true;
            self.active.push(peer);
        }
    }

    fn full(&mut self) -> Launch {
        self.counters.full += 1;
        Launch::Full
    }

    /// The lane says that the peer is gone, perhaps before the inbox did.
    #[cold]
    fn launch_lost(&mut self, peer: u32) -> Launch {
        Launch::Left(Stage::Done(Outcome::Failed(self.loss_or_unknown(peer))))
    }

    #[cold]
    pub(super) fn loss_or_unknown(&self, peer: u32) -> Error {
        self.loss_of(peer).unwrap_or_else(|| {
            let reason = "its lane is closed".to_owned();
            Error::new(Kind::PeerLost { peer: Peer(peer), reason })
        })
    }

    /// All of an eager message is with the lane.
    fn eager_left(&mut self, id: RequestId) -> Launch {
        self.counters.eager_sent += 1;
        let slot = self.requests.at(id.index);
        slot.moved = slot.total;
        Launch::Left(match slot.synchronous {
            true => Stage::AwaitAck,
            false => Stage::Done(Outcome::Done),
        })
    }
}

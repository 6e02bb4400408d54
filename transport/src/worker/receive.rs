// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a matched receive does: copy a parked body, or bring the data of an announced message.
//!
//! Invariants:
//! 1. Never more than the receive's buffer holds is asked for, fetched or written.
//! 2. The sender hears of every matched announced message: FIN after a fetch (or if nothing is
//!    wanted), else CTS.

use super::{Action, Core, Worker};
use crate::endpoint::{Assembly, Control};
use crate::envelope::{Envelope, Peer};
use crate::lane::{Get, RemoteRange};
use crate::payload::Payload;
use crate::protocol::credit;
use crate::protocol::message::Message;
use crate::request::{Outcome, RequestId, Stage};
use crate::wire::header::{Header, MessageKind};

/// A typed receive fetches through a buffer of this size: in cache, and large against the fixed
/// cost of a get.
const STAGING_BYTES: usize = 128 << 10;

impl Core {
    /// A receive (in a slot that is in no queue) gets this unexpected message.
    pub(super) fn begin(&mut self, id: RequestId, envelope: Envelope, message: Message) {
        let slot = self.requests.at(id.index);
        slot.envelope = envelope;
        slot.peer = message.peer();
        slot.total = message.bytes();
        slot.moved = 0;
        slot.stage = Stage::Assembling;
        match message {
            Message::Parked { peer, synchronous, record, bytes } => {
                self.begin_parked(id, peer, synchronous, record, bytes);
            }
            Message::Announced { peer, fetchable, bytes, address, key, token } => {
                let wanted = bytes.get().min(slot.payload.bytes() as u64);
                if let Some(error) = self.loss_of(peer) {
                    self.requests.finish(id.index, Outcome::Failed(error));
                } else if wanted == 0 {
                    self.finish_receive(id.index);
                    self.post(peer, Header::with_token(MessageKind::Fin, token));
                } else {
                    let stage = Stage::Granting { address: address.get(), token, key, fetchable };
                    self.requests.at(id.index).stage = stage;
                    self.actions.push_back(Action::Grant(id));
                }
            }
        }
    }

    fn begin_parked(
        &mut self,
        id: RequestId,
        peer: u32,
        synchronous: bool,
        record: u32,
        bytes: u64,
    ) {
        let parked = self.records.at(record);
        let (arrived, token, broken) = (parked.arrived, parked.token, parked.broken);
        let slot = self.requests.at(id.index);
        let kept = (arrived as usize).min(slot.payload.bytes());
        // SAFETY: who posted the receive promised that its buffer is writable; `kept` is within it.
        unsafe { slot.payload.unpack(0, &parked.body[..kept]) };
        self.records.free(record);
        if synchronous && !broken {
            self.post(peer, Header::with_token(MessageKind::Ack, token));
        }
        if arrived == bytes {
            self.finish_receive(id.index);
            self.consumed(peer, bytes);
        } else if broken {
            let error = self.loss_or_unknown(peer);
            self.requests.finish(id.index, Outcome::Failed(error));
        } else {
            self.requests.at(id.index).moved = arrived;
            self.endpoints[peer as usize].assembly = Assembly::Into(id);
        }
    }

    /// All that the buffer takes is there.
    #[inline]
    pub(super) fn finish_receive(&mut self, index: u32) {
        let slot = self.requests.at(index);
        let capacity = slot.payload.bytes() as u64;
        slot.moved = slot.total.min(capacity);
        let outcome = match slot.total > capacity {
            true => Outcome::Truncated { sent: slot.total as usize },
            false => Outcome::Done,
        };
        self.requests.finish(index, outcome);
    }

    /// An eager message was received: its credit goes back, now or later.
    #[inline]
    pub(super) fn consumed(&mut self, peer: u32, bytes: u64) {
        let endpoint = &mut self.endpoints[peer as usize];
        if let Some(bytes) = endpoint.credit.consumed(credit::cost(bytes as usize)) {
            self.post(peer, Header::with_token(MessageKind::Credit, bytes));
        }
    }

    /// CTS: the sender sends the bytes in fragments. Not if the request has ended meanwhile.
    pub(super) fn ask_for_data(&mut self, id: RequestId, wanted: u64) {
        let Some(slot) = self.requests.get_mut(id) else { return };
        let (Stage::Granting { token, .. } | Stage::Sharing { token, .. }) = slot.stage else {
            return;
        };
        let peer = slot.peer;
        slot.stage = Stage::Receiving { wanted };
        let mut header = Header::with_token(MessageKind::Cts, token);
        let mut body = [0; 16];
        header.body = body.len() as u32;
        body[..8].copy_from_slice(&id.token().to_le_bytes());
        body[8..].copy_from_slice(&wanted.to_le_bytes());
        self.actions.push_back(Action::Control { peer, control: Control { header, body } });
    }

    /// The lane has fetched the bytes of a receive, or could not.
    pub(super) fn fetch_ended(&mut self, id: RequestId, end: Get) {
        let Some(slot) = self.requests.get_mut(id) else { return };
        let Stage::Fetching { token } = slot.stage else {
            if matches!(slot.stage, Stage::Accessing) {
                self.access_ended(id, end);
            }
            return;
        };
        let (peer, wanted) = (slot.peer, slot.total.min(slot.payload.bytes() as u64));
        match end {
            Get::Done => {
                self.counters.fetched += 1;
                self.finish_receive(id.index);
                self.post(peer, Header::with_token(MessageKind::Fin, token));
            }
            Get::Begun | Get::Refused => {
                slot.stage = Stage::Granting { address: 0, token, key: 0, fetchable: false };
                self.endpoints[peer as usize].thresholds.fetch = false;
                self.counters.fetch_refused += 1;
                self.ask_for_data(id, wanted);
            }
            Get::Lost(error) => self.requests.finish(id.index, Outcome::Failed(error)),
        }
    }

    /// Wants a control message without a body sent.
    #[inline]
    pub(super) fn post(&mut self, peer: u32, header: Header) {
        let control = Control { header, body: [0; 16] };
        self.actions.push_back(Action::Control { peer, control });
    }
}

impl Worker {
    /// Decides how the data of a matched announced message comes, and begins it.
    pub(super) fn grant_data(&mut self, id: RequestId) {
        // The request may have failed since the action was noted.
        let Some(slot) = self.core.requests.get(id) else { return };
        let Stage::Granting { address, token, key, fetchable } = slot.stage else { return };
        let peer = slot.peer;
        let wanted = slot.total.min(slot.payload.bytes() as u64);
        self.connect(peer);
        if fetchable {
            self.settle_fetch(peer);
        }
        if self.is_accepted(id, address, token) {
            return;
        }
        let thresholds = &self.core.endpoints[peer as usize].thresholds;
        let worth = wanted >= u64::from(thresholds.fetch_bytes_min);
        let fetch = fetchable && thresholds.fetch && worth;
        let later = thresholds.fetch_later;
        if fetch && self.open_shared(id) {
            return;
        }
        if fetch && later {
            self.begin_fetch(id, RemoteRange { address, bytes: wanted as usize, key });
            return;
        }
        if fetch && self.fetch(id, address, wanted as usize) {
            self.core.post(peer, Header::with_token(MessageKind::Fin, token));
            return;
        }
        self.core.ask_for_data(id, wanted);
    }

    /// Lets the lane fetch the bytes in the background, if they have one place; else they come in
    /// fragments.
    fn begin_fetch(&mut self, id: RequestId, from: RemoteRange) {
        let slot = self.core.requests.at(id.index);
        let wanted = from.bytes as u64;
        let (Stage::Granting { token, .. }, Payload::Contiguous { base, .. }) =
            (&slot.stage, &slot.payload)
        else {
            return self.core.ask_for_data(id, wanted);
        };
        let (token, base, peer) = (*token, *base, slot.peer);
        slot.stage = Stage::Fetching { token };
        let lane = self.core.endpoints[peer as usize].lane;
        // SAFETY: it is the receive's buffer, which its poster promised to be writable and
        // untouched until completion, and which holds so many bytes.
        match unsafe { self.lanes.get(lane, Peer(peer), from, base, id.token()) } {
            Get::Begun => {}
            end => self.core.fetch_ended(id, end),
        }
    }

    /// Fetches `wanted` bytes. `true`: received. `false`: refused, or the request has failed.
    fn fetch(&mut self, id: RequestId, address: u64, wanted: usize) -> bool {
        let slot = self.core.requests.at(id.index);
        let (peer, payload) = (slot.peer, slot.payload.clone());
        let lane = self.core.endpoints[peer as usize].lane;
        let mut offset = 0;
        while offset < wanted {
            let piece = match &payload {
                Payload::Contiguous { .. } => wanted,
                Payload::Typed { .. } => (wanted - offset).min(STAGING_BYTES),
            };
            let from = RemoteRange { address: address + offset as u64, bytes: piece, key: 0 };
            let into = match &payload {
                Payload::Contiguous { base, .. } => *base,
                Payload::Typed { .. } => {
                    self.staging.resize(STAGING_BYTES, 0);
                    self.staging.as_mut_ptr()
                }
            };
            // SAFETY: `into` is the receive's buffer, which its poster promised to be writable and
            // which holds `wanted` bytes, or the staging buffer, which holds a piece.
            match unsafe { self.lanes.get(lane, Peer(peer), from, into, 0) } {
                Get::Done => {}
                // Not of a lane that fetches in the background: `begin_fetch` does that.
                Get::Refused | Get::Begun => {
                    self.core.endpoints[peer as usize].thresholds.fetch = false;
                    self.core.counters.fetch_refused += 1;
                    return false;
                }
                Get::Lost(error) => {
                    self.core.requests.finish(id.index, Outcome::Failed(error));
                    return false;
                }
            }
            if let Payload::Typed { .. } = &payload {
                // SAFETY: as above; the piece lies within the receive's buffer.
                unsafe { payload.unpack(offset, &self.staging[..piece]) };
            }
            offset += piece;
        }
        self.core.counters.fetched += 1;
        self.core.finish_receive(id.index);
        true
    }
}

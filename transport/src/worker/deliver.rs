// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What arrives: one handler per kind of message.
//!
//! Invariants:
//! 1. A peer may be mad: every token is looked up, every length checked, before memory is touched.
//! 2. A handler never sends; it leaves an action.

use super::note::Happening;
use super::share::{Opened, Stand};
use super::{Action, Core};
use crate::endpoint::Assembly;
use crate::envelope::{Envelope, Peer};
use crate::error::Error;
use crate::lane::{Get, Inbox};
use crate::payload::Payload;
use crate::protocol::credit;
use crate::protocol::message::{Message, Word48};
use crate::protocol::share::{CELL_COUNT, CellId};
use crate::request::{Outcome, RequestId, Slot, Stage};
use crate::wire::header::{FLAG_FETCHABLE, FLAG_SYNCHRONOUS, Header, MessageKind};

/// A message made no sense; it is counted and dropped.
struct Senseless;

/// The body of a message that comes in pieces.
#[derive(Clone, Copy)]
enum Arrived<'a> {
    /// It lies here.
    Bytes(&'a [u8]),
    /// So many bytes were written to the place that was given.
    Placed(usize),
}

impl Arrived<'_> {
    fn len(self) -> usize {
        match self {
            Arrived::Bytes(bytes) => bytes.len(),
            Arrived::Placed(count) => count,
        }
    }
}

impl Inbox for Core {
    #[inline(always)]
    fn message(&mut self, from: Peer, header: &Header, body: &[u8]) {
        if header.kind == MessageKind::Eager as u8 && from.0 < self.endpoints.len() as u32 {
            self.eager(from.0, header, body);
        } else {
            self.message_other(from, header, body);
        }
    }

    #[cold]
    fn lost(&mut self, peer: Peer, error: Error) {
        self.lose(peer.0, error);
    }

    fn place(&mut self, from: Peer, header: &Header) -> Option<&mut [u8]> {
        if from.0 >= self.endpoints.len() as u32 {
            return None;
        }
        if header.kind == MessageKind::Data as u8 {
            return self.place_of_data(from.0, header);
        }
        self.place_of_eager(from.0, header.body as usize)
    }

    fn placed(&mut self, from: Peer, header: &Header) {
        let arrived = Arrived::Placed(header.body as usize);
        let result = match MessageKind::from_byte(header.kind) {
            Some(MessageKind::Data) => self.data(from.0, header, arrived),
            _ => self.eager_more(from.0, arrived),
        };
        self.counters.senseless += u64::from(result.is_err());
    }

    fn fetched(&mut self, token: u64, end: Get) {
        self.fetch_ended(RequestId::from_token(token), end);
    }
}

impl Core {
    #[inline(never)]
    fn message_other(&mut self, from: Peer, header: &Header, body: &[u8]) {
        let sound = from.0 < self.endpoints.len() as u32
            && MessageKind::from_byte(header.kind)
                .is_some_and(|kind| self.other(kind, from.0, header, body).is_ok());
        if !sound {
            self.counters.senseless += 1;
        }
    }

    #[inline(always)]
    fn eager(&mut self, from: u32, header: &Header, body: &[u8]) {
        let envelope = header.envelope();
        let synchronous = header.flags & FLAG_SYNCHRONOUS != 0;
        let Some(index) = self.matching.arrive(envelope) else {
            self.park(from, envelope, synchronous, header.token, body.len() as u64, body);
            return;
        };
        let slot = self.requests.at(index);
        let kept = body.len().min(slot.payload.bytes());
        // SAFETY: who posted the receive promised that its buffer is writable; `kept` is within it.
        unsafe { slot.payload.unpack(0, &body[..kept]) };
        slot.envelope = envelope;
        slot.total = body.len() as u64;
        self.finish_receive(index);
        if synchronous {
            self.post(from, Header::with_token(MessageKind::Ack, header.token));
        }
        self.consumed(from, body.len() as u64);
    }

    fn other(
        &mut self,
        kind: MessageKind,
        from: u32,
        header: &Header,
        body: &[u8],
    ) -> Result<(), Senseless> {
        match kind {
            MessageKind::Eager => self.eager(from, header, body),
            MessageKind::EagerFirst => self.eager_first(from, header, body)?,
            MessageKind::EagerMore => self.eager_more(from, Arrived::Bytes(body))?,
            MessageKind::Rts => self.rts(from, header, body)?,
            MessageKind::Cts => self.cts(from, header, body)?,
            MessageKind::Data => self.data(from, header, Arrived::Bytes(body))?,
            MessageKind::Fin => self.sender_done(from, header.token, Stage::is_announced)?,
            MessageKind::Ack => self.sender_done(from, header.token, Stage::is_await_ack)?,
            MessageKind::Credit => {
                if !self.endpoints[from as usize].credit.granted(header.token) {
                    return Err(Senseless);
                }
            }
            MessageKind::Cancel => self.cancel_asked(from, header),
            MessageKind::CancelReply => self.cancel_answered(from, header),
            MessageKind::Join => self.join(from, header, body)?,
            MessageKind::Joined => self.joined(from, header.token),
        }
        Ok(())
    }

    /// Keeps a message that nobody waits for; `body` is its beginning.
    #[inline(never)]
    fn park(
        &mut self,
        peer: u32,
        envelope: Envelope,
        synchronous: bool,
        token: u64,
        bytes: u64,
        body: &[u8],
    ) -> u32 {
        let record = self.records.park(bytes as usize, token, body);
        self.matching.add(envelope, Message::Parked { peer, synchronous, record, bytes });
        self.counters.unexpected += 1;
        self.note(Happening::Unexpected, peer, envelope, bytes);
        let held = self.records.held_bytes() + self.records.count() * credit::ENTRY_BYTES;
        self.counters.parked_bytes_most = self.counters.parked_bytes_most.max(held);
        record
    }

    fn eager_first(&mut self, from: u32, header: &Header, data: &[u8]) -> Result<(), Senseless> {
        let total = u64::from(header.extra);
        let whole = data.len() as u64 >= total;
        let sender = &self.endpoints[from as usize];
        let beyond = credit::cost(header.extra as usize) > sender.credit.grant();
        let busy = sender.assembly != Assembly::None;
        if whole || beyond || busy {
            return Err(Senseless);
        }
        let envelope = header.envelope();
        let synchronous = header.flags & FLAG_SYNCHRONOUS != 0;
        let assembly = match self.matching.arrive(envelope) {
            Some(index) => {
                let id = self.requests.id(index);
                let slot = self.requests.at(index);
                slot.envelope = envelope;
                slot.peer = from;
                slot.total = total;
                slot.moved = 0;
                slot.stage = Stage::Assembling;
                // SAFETY: who posted the receive promised that its buffer is writable.
                unsafe { slot.accept(data) };
                if synchronous {
                    self.post(from, Header::with_token(MessageKind::Ack, header.token));
                }
                Assembly::Into(id)
            }
            None => {
                Assembly::Parked(self.park(from, envelope, synchronous, header.token, total, data))
            }
        };
        self.endpoints[from as usize].assembly = assembly;
        Ok(())
    }

    fn eager_more(&mut self, from: u32, body: Arrived<'_>) -> Result<(), Senseless> {
        let endpoint = &mut self.endpoints[from as usize];
        match endpoint.assembly {
            Assembly::None => return Err(Senseless),
            Assembly::Parked(record) => {
                let parked = self.records.at(record);
                let begin = parked.arrived as usize;
                let into = parked.body.get_mut(begin..begin + body.len()).ok_or(Senseless)?;
                if let Arrived::Bytes(body) = body {
                    into.copy_from_slice(body);
                }
                parked.arrived += body.len() as u64;
                if parked.arrived >= parked.bytes {
                    endpoint.assembly = Assembly::None;
                }
            }
            Assembly::Into(id) => {
                let slot = self.requests.get_mut(id).ok_or(Senseless)?;
                if body.len() as u64 > slot.total - slot.moved {
                    return Err(Senseless);
                }
                match body {
                    // SAFETY: who posted the receive promised that its buffer is writable.
                    Arrived::Bytes(body) => unsafe { slot.accept(body) },
                    Arrived::Placed(count) => slot.moved += count as u64,
                }
                if slot.moved == slot.total {
                    let total = slot.total;
                    endpoint.assembly = Assembly::None;
                    self.finish_receive(id.index);
                    self.consumed(from, total);
                }
            }
        }
        Ok(())
    }

    fn rts(&mut self, from: u32, header: &Header, body: &[u8]) -> Result<(), Senseless> {
        let (bytes, address) = two_words(body)?;
        let bytes = Word48::new(bytes).ok_or(Senseless)?;
        self.endpoints[from as usize].credit.announcement_came();
        let place = Word48::new(address);
        let message = Message::Announced {
            peer: from,
            fetchable: header.flags & FLAG_FETCHABLE != 0 && place.is_some(),
            bytes,
            address: place.unwrap_or(bytes),
            key: header.extra,
            token: header.token,
        };
        let envelope = header.envelope();
        match self.matching.arrive(envelope) {
            Some(index) => {
                let id = self.requests.id(index);
                self.begin(id, envelope, message);
            }
            None => self.matching.add(envelope, message),
        }
        Ok(())
    }

    fn cts(&mut self, from: u32, header: &Header, body: &[u8]) -> Result<(), Senseless> {
        let (token, wanted) = two_words(body)?;
        let id = RequestId::from_token(header.token);
        let slot = self.sending(from, id)?;
        if !slot.stage.is_announced() || wanted == 0 || wanted > slot.total {
            return Err(Senseless);
        }
        slot.stage = Stage::Streaming { token, wanted };
        self.endpoints[from as usize].streams.push(&mut self.requests, id.index);
        self.activate(from);
        Ok(())
    }

    /// The receiver opened its buffer for us: whether we help is decided when there is time.
    fn join(&mut self, from: u32, header: &Header, body: &[u8]) -> Result<(), Senseless> {
        let (token, bytes) = two_words(body)?;
        let id = RequestId::from_token(header.token);
        let slot = self.sending(from, id)?;
        let cell = CellId::from_word(header.extra);
        let sound = slot.stage.is_announced() && bytes > 0 && bytes <= slot.total;
        if !sound || usize::from(cell.index) >= CELL_COUNT {
            return Err(Senseless);
        }
        let stand = Stand::Open { cell, token, bytes, visits: 0 };
        match self.opened.iter_mut().find(|opened| opened.id == id) {
            Some(opened) => opened.stand = stand,
            None => self.opened.push(Opened { id, stand }),
        }
        Ok(())
    }

    /// The sender has copied its last piece. If ours was later, the receive is over by now.
    fn joined(&mut self, from: u32, token: u64) {
        let id = RequestId::from_token(token);
        if self.requests.get(id).is_some_and(|slot| slot.peer == from) {
            self.actions.push_back(Action::LookAtCell(id));
        }
    }

    fn data(&mut self, from: u32, header: &Header, body: Arrived<'_>) -> Result<(), Senseless> {
        let id = RequestId::from_token(header.token);
        let slot = self.sending(from, id)?;
        let Stage::Receiving { wanted } = slot.stage else { return Err(Senseless) };
        let offset = header.data_offset();
        // In order: bytes are counted once, and what was counted was written.
        if offset != slot.moved || body.len() as u64 > wanted - slot.moved {
            return Err(Senseless);
        }
        if let Arrived::Bytes(body) = body {
            // SAFETY: who posted the receive promised that its buffer is writable; the range ends
            // at most at `wanted`, which the buffer holds.
            unsafe { slot.payload.unpack(offset as usize, body) };
        }
        slot.moved += body.len() as u64;
        if slot.moved == wanted {
            self.finish_receive(id.index);
        }
        Ok(())
    }

    /// Where the next rendezvous data go, if that is one range that holds them.
    fn place_of_data(&mut self, from: u32, header: &Header) -> Option<&mut [u8]> {
        let slot = self.sending(from, RequestId::from_token(header.token)).ok()?;
        let Stage::Receiving { wanted } = slot.stage else { return None };
        if header.data_offset() != slot.moved || u64::from(header.body) > wanted - slot.moved {
            return None;
        }
        // SAFETY: who posted the receive promised that its buffer is writable and untouched until
        // completion; the borrow ends before anything else of this worker runs.
        unsafe { slot.room(header.body as usize) }
    }

    /// Where the next bytes of the peer's eager message go, if that is one range that holds them.
    fn place_of_eager(&mut self, from: u32, bytes: usize) -> Option<&mut [u8]> {
        match self.endpoints[from as usize].assembly {
            Assembly::None => None,
            Assembly::Parked(record) => {
                let parked = self.records.at(record);
                let begin = parked.arrived as usize;
                if bytes as u64 > parked.bytes - parked.arrived {
                    return None;
                }
                parked.body.get_mut(begin..begin + bytes)
            }
            Assembly::Into(id) => {
                let slot = self.requests.get_mut(id)?;
                if bytes as u64 > slot.total - slot.moved {
                    return None;
                }
                // SAFETY: as in `place_of_data`.
                unsafe { slot.room(bytes) }
            }
        }
    }

    /// FIN or Ack: a send is over if it is in the stage that waits for it.
    fn sender_done(
        &mut self,
        from: u32,
        token: u64,
        waits: impl Fn(&Stage) -> bool,
    ) -> Result<(), Senseless> {
        let id = RequestId::from_token(token);
        let slot = self.sending(from, id)?;
        if !waits(&slot.stage) {
            // An Ack may come while the last fragments of its message still wait for room.
            let early = matches!(slot.stage, Stage::Queued) && slot.synchronous && slot.moved > 0;
            if !early {
                return Err(Senseless);
            }
            slot.synchronous = false;
            return Ok(());
        }
        slot.moved = slot.total;
        self.requests.finish(id.index, Outcome::Done);
        Ok(())
    }

    /// The request that a message of this peer may name.
    fn sending(&mut self, from: u32, id: RequestId) -> Result<&mut Slot, Senseless> {
        self.requests.get_mut(id).filter(|slot| slot.peer == from).ok_or(Senseless)
    }

    /// The sender wants a message back.
    fn cancel_asked(&mut self, from: u32, header: &Header) {
        let (records, wanted) = (&self.records, header.token);
        let incomplete = self.endpoints[from as usize].assembly;
        let found = self.matching.find_latest(header.envelope(), |message| match *message {
            Message::Announced { peer, token, .. } => peer == from && token == wanted,
            Message::Parked { peer, synchronous, record, .. } => {
                peer == from
                    && synchronous
                    && incomplete != Assembly::Parked(record)
                    && records.token(record) == wanted
            }
        });
        let mut reply = Header::with_token(MessageKind::CancelReply, wanted);
        if let Some(found) = found {
            reply.extra = 1;
            if let (_, Message::Parked { record, bytes, .. }) = self.matching.remove(found) {
                self.records.free(record);
                self.consumed(from, bytes);
            }
        }
        self.post(from, reply);
    }

    /// The receiver's answer. If the message had matched, the send ends as always.
    fn cancel_answered(&mut self, from: u32, header: &Header) {
        let id = RequestId::from_token(header.token);
        // A send that was matched before the Cancel came may be over by now.
        let Ok(slot) = self.sending(from, id) else { return };
        let waits = slot.stage.is_announced() || slot.stage.is_await_ack();
        if !std::mem::replace(&mut slot.cancelling, false) || !waits {
            return;
        }
        if header.extra == 1 {
            slot.moved = 0;
            self.requests.finish(id.index, Outcome::Cancelled);
        }
    }
}

impl Stage {
    fn is_announced(&self) -> bool {
        matches!(self, Stage::Announced)
    }

    fn is_await_ack(&self) -> bool {
        matches!(self, Stage::AwaitAck)
    }
}

impl Slot {
    /// The next `bytes` of the receive's buffer, if it is contiguous and holds them.
    ///
    /// # Safety
    /// The payload is writable, and nothing else uses it while the slice lives.
    unsafe fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let Payload::Contiguous { base, bytes: all } = self.payload else { return None };
        let begin = self.moved as usize;
        if bytes > all.checked_sub(begin)? {
            return None;
        }
        // SAFETY: the range lies within the payload, says the check.
        let first = unsafe { base.add(begin) };
        // SAFETY: the caller promises the rest.
        Some(unsafe { std::slice::from_raw_parts_mut(first, bytes) })
    }

    /// The next bytes of an eager message: what fits is kept.
    ///
    /// # Safety
    /// The payload is writable.
    unsafe fn accept(&mut self, data: &[u8]) {
        let offset = self.moved as usize;
        let room = self.payload.bytes().saturating_sub(offset);
        let kept = data.len().min(room);
        // SAFETY: the caller says so, and `kept` bytes from `offset` are within the payload.
        unsafe { self.payload.unpack(offset, &data[..kept]) };
        self.moved += data.len() as u64;
    }
}

fn two_words(body: &[u8]) -> Result<(u64, u64), Senseless> {
    let (first, rest) = body.split_first_chunk::<8>().ok_or(Senseless)?;
    let second: &[u8; 8] = rest.try_into().map_err(|_| Senseless)?;
    Ok((u64::from_le_bytes(*first), u64::from_le_bytes(*second)))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long transfers that both sides copy: the receiver's pieces from the front, the sender's from the
//! back (protocol::share has the claims).
//!
//! A receive that matched a long announced message opens a cell and tells the sender (Join). From
//! then on every visit to [`Worker::progress`] copies one piece, so that arrivals are looked at in
//! between. Who copies the last piece ends the transfer and tells the other: the receiver by FIN,
//! the sender by Joined.
//!
//! When does a sender help? If it has nothing else to do: a thread waits in a blocking send
//! ([`Worker::attend`]), or several transfers are under way, which the two sides then divide by
//! whole messages. A single nonblocking send leaves the copy to its receiver: the sender's core is
//! for the computation that the program has put beside the transfer. But if the receiver does not
//! begin, it computes, and the sender, which waits, copies.
//!
//! Invariants:
//! 1. A cell is given back only when all its units were counted, or when its sender never took one,
//!    or is gone.
//! 2. A sender writes only units that it took, of a cell whose generation still stands.

use super::{Action, Core, Worker};
use crate::endpoint::Control;
use crate::envelope::Peer;
use crate::error::Kind;
use crate::lane::{Get, RemoteRange};
use crate::payload::Payload;
use crate::protocol::share::{self, CellId, End, Greed};
use crate::request::{Outcome, RequestId, Stage};
use crate::wire::header::{Header, MessageKind};
use std::ops::Range;

/// A send of ours whose bytes we may write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) id: RequestId,
    pub(super) stand: Stand,
}

/// Whether the receiver has opened its buffer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stand {
    /// Not yet, but it may have offered a posted receive (`offer`).
    Seeking {
        /// How far we were with this peer before the announcement.
        position: u32,
    },
    /// It has.
    Open {
        cell: CellId,
        /// The receiver's request.
        token: u64,
        /// The bytes that it wants.
        bytes: u64,
        /// Visits that saw nothing taken; [`GRACE_VISITS`]: we copy.
        visits: u32,
    },
}

/// A sender that is not asked to help lets its receiver begin for so many visits, some
/// microseconds: one that is in a call begins within one.
const GRACE_VISITS: u32 = 10;

/// How an attempt to copy one piece ended.
enum Piece {
    /// Nothing to do for this transfer now.
    None,
    /// A piece was copied.
    Copied,
    /// One will be at one of the next visits, unless the other side begins.
    Soon,
    /// The transfer is not ours to copy any more.
    Over,
}

impl Worker {
    /// The caller waits for this send and has nothing else to do until it is complete.
    #[inline]
    pub fn attend(&mut self, send: RequestId) {
        if let Some(slot) = self.core.requests.get_mut(send) {
            slot.attended = true;
        }
    }

    /// Opens a matched announced message for both sides; `false`: it is not one for that.
    pub(super) fn open_shared(&mut self, id: RequestId) -> bool {
        let slot = self.core.requests.at(id.index);
        let Stage::Granting { address, token, .. } = slot.stage else { return false };
        let Payload::Contiguous { base, bytes } = slot.payload else { return false };
        let (peer, wanted) = (slot.peer, slot.total.min(bytes as u64));
        let endpoint = &self.core.endpoints[peer as usize];
        let lane = endpoint.lane;
        if !endpoint.thresholds.unit.shares(wanted) {
            return false;
        }
        if self.core.cells.is_empty() {
            self.collect_stale();
        }
        let Some(cells) = self.lanes.cells(lane, self.core.me) else { return false };
        let Some(cell) = self.core.cells.take() else { return false };
        let at = base.expose_provenance() as u64;
        cells[usize::from(cell.index)].open_at(at, cell.generation);
        self.lanes.used(lane, base, wanted as usize);
        self.core.requests.at(id.index).stage = Stage::Sharing { address, token, cell };
        self.core.sharing.push_back(id);
        let mut header = Header::with_token(MessageKind::Join, token);
        let mut body = [0; 16];
        header.body = body.len() as u32;
        header.extra = cell.word();
        body[..8].copy_from_slice(&id.token().to_le_bytes());
        body[8..].copy_from_slice(&wanted.to_le_bytes());
        self.core.actions.push_back(Action::Control { peer, control: Control { header, body } });
        true
    }

    /// Copies one piece of some transfer; returns how many it copied.
    #[inline(never)]
    pub(super) fn copy_piece(&mut self) -> usize {
        let mut at = 0;
        while let Some(id) = self.core.sharing.get(at).copied() {
            match self.read_piece(id) {
                Piece::Copied => return 1,
                Piece::None | Piece::Soon => at += 1,
                Piece::Over => drop(self.core.sharing.remove(at)),
            }
        }
        let requests = &self.core.requests;
        let is_announced = |opened: &Opened| {
            requests.get(opened.id).is_some_and(|slot| matches!(slot.stage, Stage::Announced))
        };
        self.core.opened.retain(is_announced);
        self.seek_offers();
        let is_open = |opened: &&Opened| matches!(opened.stand, Stand::Open { .. });
        let many = self.core.opened.iter().filter(is_open).count() > 1;
        let mut at = self.core.opened.len();
        while let Some(next) = at.checked_sub(1) {
            at = next;
            match self.write_piece(at, many) {
                Piece::Copied | Piece::Soon => return 1,
                Piece::None => {}
                Piece::Over => drop(self.core.opened.remove(at)),
            }
        }
        0
    }

    /// The receiver's part.
    fn read_piece(&mut self, id: RequestId) -> Piece {
        let Some(slot) = self.core.requests.get(id) else { return Piece::Over };
        let Stage::Sharing { address, cell, .. } = slot.stage else { return Piece::Over };
        let Payload::Contiguous { base, bytes } = slot.payload else { return Piece::Over };
        let (peer, wanted) = (slot.peer, slot.total.min(bytes as u64));
        let endpoint = &self.core.endpoints[peer as usize];
        let (lane, unit) = (endpoint.lane, endpoint.thresholds.unit);
        let Some(cells) = self.lanes.cells(lane, self.core.me) else { return Piece::Over };
        let shared = &cells[usize::from(cell.index)];
        let total = unit.count(wanted);
        // What the sender did not touch while we copied a piece it will hardly come for.
        let greedy = self.core.sharing.len() > 1 || share::is_lonely(&shared.claim);
        let greed = self.core.greed(greedy);
        let taken = share::take(&shared.claim, cell.generation, total, End::Front, greed);
        let Some(taken) = taken else { return Piece::None };
        let Range { start, end } = unit.bytes_of(&taken, wanted);
        let from = RemoteRange {
            address: address.wrapping_add(start),
            bytes: (end - start) as usize,
            key: 0,
        };
        // SAFETY: who posted the receive promised that its buffer is writable; the piece lies in
        // it, and was taken by us alone.
        let got = unsafe { self.lanes.get(lane, Peer(peer), from, base.add(start as usize), 0) };
        let Some(cells) = self.lanes.cells(lane, self.core.me) else { return Piece::Over };
        let shared = &cells[usize::from(cell.index)];
        let count = taken.end - taken.start;
        match got {
            Get::Done => {
                if share::finish(&shared.done, count, total) {
                    self.core.end_shared(id);
                }
                Piece::Copied
            }
            // A lane that shares copies at once.
            Get::Refused | Get::Begun => {
                share::give_back(&shared.claim, count, End::Front);
                if share::close(&shared.claim, total) {
                    self.core.cells.give_back(cell);
                }
                self.core.endpoints[peer as usize].thresholds.fetch = false;
                self.core.counters.fetch_refused += 1;
                self.core.ask_for_data(id, wanted);
                Piece::Over
            }
            Get::Lost(error) => {
                // A sender that lives may still write the units that it took.
                let is_gone = matches!(*error.0, Kind::PeerLost { .. });
                if share::close(&shared.claim, total) || is_gone {
                    self.core.cells.give_back(cell);
                }
                self.core.requests.finish(id.index, Outcome::Failed(error));
                Piece::Over
            }
        }
    }

    /// The sender's part.
    fn write_piece(&mut self, at: usize, many: bool) -> Piece {
        let Opened { id, stand } = self.core.opened[at];
        let Stand::Open { cell, token, bytes, visits } = stand else { return Piece::None };
        let Some(slot) = self.core.requests.get(id) else { return Piece::Over };
        let Stage::Announced = slot.stage else { return Piece::Over };
        let Payload::Contiguous { base, .. } = slot.payload else { return Piece::Over };
        let asked = slot.attended || many;
        let peer = slot.peer;
        let endpoint = &self.core.endpoints[peer as usize];
        let (lane, unit) = (endpoint.lane, endpoint.thresholds.unit);
        let Some(cells) = self.lanes.cells(lane, Peer(peer)) else { return Piece::Over };
        let shared = &cells[usize::from(cell.index)];
        let total = unit.count(bytes);
        if !asked && visits < GRACE_VISITS {
            if !share::is_untouched(&shared.claim) {
                return Piece::None;
            }
            let visits = visits + 1;
            self.core.opened[at].stand = Stand::Open { cell, token, bytes, visits };
            return Piece::Soon;
        }
        let greed = self.core.greed(many || !asked);
        let taken = share::take(&shared.claim, cell.generation, total, End::Back, greed);
        let Some(taken) = taken else { return Piece::Over };
        let Range { start, end } = unit.bytes_of(&taken, bytes);
        let to = RemoteRange {
            address: shared.address().wrapping_add(start),
            bytes: (end - start) as usize,
            key: 0,
        };
        // SAFETY: who posted the send promised that it is readable, `bytes` was checked against its
        // length, and the receiver lent us these bytes of its buffer when we took the units.
        let put = unsafe { self.lanes.put(lane, Peer(peer), base.add(start as usize), to) };
        let Some(cells) = self.lanes.cells(lane, Peer(peer)) else { return Piece::Over };
        let shared = &cells[usize::from(cell.index)];
        let count = taken.end - taken.start;
        match put {
            Get::Done => {
                if share::finish(&shared.done, count, total) {
                    let slot = self.core.requests.at(id.index);
                    slot.moved = slot.total;
                    self.core.requests.finish(id.index, Outcome::Done);
                    self.core.post(peer, Header::with_token(MessageKind::Joined, token));
                }
                Piece::Copied
            }
            Get::Refused | Get::Begun => {
                // The receiver may sleep in the belief that we copy: it is told to look again.
                share::give_back(&shared.claim, count, End::Back);
                self.core.post(peer, Header::with_token(MessageKind::Joined, token));
                Piece::Over
            }
            Get::Lost(error) => {
                self.core.requests.finish(id.index, Outcome::Failed(error));
                Piece::Over
            }
        }
    }

    /// The sender says that it is done with a cell of ours: perhaps all is there.
    pub(super) fn look_at_cell(&mut self, id: RequestId) {
        let Some(slot) = self.core.requests.get(id) else { return };
        let Stage::Sharing { cell, .. } = slot.stage else { return };
        let wanted = slot.total.min(slot.payload.bytes() as u64);
        let endpoint = &self.core.endpoints[slot.peer as usize];
        let (lane, unit) = (endpoint.lane, endpoint.thresholds.unit);
        let Some(cells) = self.lanes.cells(lane, self.core.me) else { return };
        if share::is_finished(&cells[usize::from(cell.index)].done, unit.count(wanted)) {
            self.core.cells.give_back(cell);
            self.core.counters.fetched += 1;
            self.core.counters.shared += 1;
            self.core.finish_receive(id.index);
        }
    }
}

impl Core {
    /// How much to take at once. `alone`: the other side takes nothing of this transfer now.
    fn greed(&self, alone: bool) -> Greed {
        match (self.is_aside, alone) {
            (true, _) => Greed::Little,
            (false, true) => Greed::All,
            (false, false) => Greed::Part,
        }
    }

    /// We copied the last piece.
    fn end_shared(&mut self, id: RequestId) {
        let slot = self.requests.at(id.index);
        let (peer, stage) = (slot.peer, &slot.stage);
        let Stage::Sharing { token, cell, .. } = *stage else { return };
        self.cells.give_back(cell);
        self.counters.fetched += 1;
        self.finish_receive(id.index);
        self.post(peer, Header::with_token(MessageKind::Fin, token));
    }
}

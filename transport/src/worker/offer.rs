// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Posted receives that their senders may fill while the receiver computes.
//!
//! A receive that its owner leaves alone ([`Worker::offer`]) is offered in a cell that only the
//! next message of that sender can accept. A sender that waits looks there for each long message
//! that it has announced. It finds the cell at a fixed place, so a look is one line, which stays in
//! its cache until the receiver writes it. What is accepted is an opened transfer like any other
//! (`share`): a receiver that comes back copies its part.
//!
//! Why the right message accepts is reasoned in docs/decisions/0003: the receive is the first that
//! accepts its envelope, both sides are equally far (`Credit::position_sent`), and the announcement
//! is on its way before the sender looks.
//!
//! Invariants:
//! 1. While a receive is posted and offered, its buffer is written only by who accepted the offer.
//! 2. An announced message that matches an offered receive ends the offer first: withdrawn, it goes
//!    on as always; accepted, the transfer is open already.
//! 3. A receive that ended otherwise leaves a stale offer behind, which nobody can accept: the
//!    sender is further than it says. Such cells are collected when their place is wanted.

use super::share::{Opened, Stand};
use super::{Core, Worker};
use crate::endpoint::Endpoint;
use crate::envelope::{ANY, Peer};
use crate::payload::Payload;
use crate::protocol::share::{self, CellId, CellTable, Offer};
use crate::request::{NO_PEER, RequestId, Stage};

/// Receives of fewer bytes are not offered: the copy takes less time than the wake of a line.
pub const OFFER_BYTES_MIN: usize = 128 << 10;

/// Sends for which one visit looks: the oldest ones, since only the next message can be meant.
const SEEKS_MAX: usize = 4;

/// A receive of ours that is offered, or was when it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    id: RequestId,
    cell: CellId,
    /// The claim word.
    word: u64,
    peer: u32,
}

impl Worker {
    /// The caller leaves this receive alone for a while: if it is one for that (long, contiguous,
    /// from one peer of this host, with a definite tag), its sender may fill it meanwhile.
    pub fn offer(&mut self, receive: RequestId) {
        let Some(slot) = self.core.requests.get(receive) else { return };
        let (peer, envelope) = (slot.peer, slot.envelope);
        let Stage::Posted(_) = slot.stage else { return };
        let Payload::Contiguous { base, bytes } = slot.payload else { return };
        if peer == NO_PEER || Peer(peer) == self.core.me || envelope.tag == ANY {
            return;
        }
        self.connect(peer);
        let endpoint = &self.core.endpoints[peer as usize];
        let (lane, position) = (endpoint.lane, endpoint.credit.position_taken());
        let worth = endpoint.thresholds.fetch && endpoint.thresholds.unit.shares(bytes as u64);
        if !worth || self.core.matching.earliest(envelope) != Some(receive.index) {
            return;
        }
        let place = CellTable::place_of(peer);
        if !self.collect_place(place) {
            return;
        }
        let Some(cells) = self.lanes.cells(lane, self.core.me) else { return };
        let Some((cell, number)) = self.core.cells.take_at(place) else { return };
        let offer = Offer {
            address: base.expose_provenance() as u64,
            token: receive.token(),
            capacity: bytes as u64,
            envelope,
            sender: peer,
            position,
        };
        let word = cells[usize::from(place)].offer(&offer, cell.generation, number);
        self.lanes.used(lane, base, bytes);
        self.core.offered.push(Offered { id: receive, cell, word, peer });
        self.core.counters.offers += 1;
    }

    /// Ends the stale offer at this place, if there is one; `false`: a receive waits there.
    fn collect_place(&mut self, place: u16) -> bool {
        let at = self.core.offered.iter().position(|offered| offered.cell.index == place);
        let Some(at) = at else { return true };
        if self.core.is_waiting(self.core.offered[at].id) {
            return false;
        }
        self.collect(at);
        true
    }

    /// Ends all stale offers.
    #[cold]
    pub(super) fn collect_stale(&mut self) {
        for at in (0..self.core.offered.len()).rev() {
            if !self.core.is_waiting(self.core.offered[at].id) {
                self.collect(at);
            }
        }
    }

    fn collect(&mut self, at: usize) {
        let Offered { cell, word, peer, .. } = self.core.offered.swap_remove(at);
        let endpoint = &self.core.endpoints[peer as usize];
        let Some(cells) = self.lanes.cells(endpoint.lane, self.core.me) else { return };
        let claim = &cells[usize::from(cell.index)].claim;
        if !share::withdraw(claim, word) {
            // Accepted, and the receive is over: only the loss of the sender does that.
            debug_assert!(endpoint.lost.is_some());
            if endpoint.lost.is_none() {
                return;
            }
            share::shut(claim, cell.generation);
        }
        self.core.cells.give_back(cell);
    }

    /// Takes back the offer of a receive that is to be cancelled; `false`: its sender has accepted,
    /// so the receive is as good as matched.
    pub(super) fn withdraw_offer(&mut self, receive: RequestId) -> bool {
        let at = self.core.offered.iter().position(|offered| offered.id == receive);
        let Some(at) = at else { return true };
        let Offered { cell, word, peer, .. } = self.core.offered[at];
        let lane = self.core.endpoints[peer as usize].lane;
        let Some(cells) = self.lanes.cells(lane, self.core.me) else { return true };
        if !share::withdraw(&cells[usize::from(cell.index)].claim, word) {
            return false;
        }
        self.core.offered.swap_remove(at);
        self.core.cells.give_back(cell);
        true
    }

    /// An announced message matched this receive. `true`: its sender has accepted the offer, and
    /// the transfer is under way.
    pub(super) fn is_accepted(&mut self, id: RequestId, address: u64, token: u64) -> bool {
        if self.core.offered.is_empty() || self.withdraw_offer(id) {
            return false;
        }
        let at = self.core.offered.iter().position(|offered| offered.id == id);
        let Some(at) = at else { return false };
        let Offered { cell, .. } = self.core.offered.swap_remove(at);
        self.core.requests.at(id.index).stage = Stage::Sharing { address, token, cell };
        self.core.sharing.push_back(id);
        true
    }

    /// Looks whether receivers have offered what our oldest announced sends are for.
    pub(super) fn seek_offers(&mut self) {
        let mut looks = 0;
        for at in 0..self.core.opened.len() {
            let Opened { id, stand: Stand::Seeking { position } } = self.core.opened[at] else {
                continue;
            };
            if let Some(stand) = self.accept_offer(id, position) {
                self.core.opened[at].stand = stand;
                self.core.counters.offers_accepted += 1;
            }
            looks += 1;
            if looks == SEEKS_MAX {
                break;
            }
        }
    }

    fn accept_offer(&self, id: RequestId, position: u32) -> Option<Stand> {
        let slot = self.core.requests.get(id).filter(|slot| !slot.cancelling)?;
        let Endpoint { lane, .. } = self.core.endpoints[slot.peer as usize];
        let index = CellTable::place_of(self.core.me.0);
        let cell = &self.lanes.cells(lane, Peer(slot.peer))?[usize::from(index)];
        let (word, offer) = cell.offered()?;
        let is_meant = offer.sender == self.core.me.0
            && offer.position == position
            && offer.envelope == slot.envelope
            && offer.capacity >= slot.total;
        if !is_meant {
            return None;
        }
        let generation = share::accept(&cell.claim, word)?;
        let cell = CellId { index, generation };
        Some(Stand::Open { cell, token: offer.token, bytes: slot.total, visits: 0 })
    }

    /// A transfer ended by the loss of its sender: nobody writes any more, the cell is ours again.
    pub(super) fn close_cell(&mut self, peer: u32, cell: CellId) {
        let lane = self.core.endpoints[peer as usize].lane;
        let Some(cells) = self.lanes.cells(lane, self.core.me) else { return };
        share::shut(&cells[usize::from(cell.index)].claim, cell.generation);
        self.core.cells.give_back(cell);
    }
}

impl Core {
    fn is_waiting(&self, id: RequestId) -> bool {
        self.requests.get(id).is_some_and(|slot| matches!(slot.stage, Stage::Posted(_)))
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Handles of work in flight, their terminal records, and the slab that both live in.
//!
//! Invariants:
//! 1. An id names one request only: its generation changes when the slot is freed, so an old id is
//!    seen to be stale until the generation wraps.
//! 2. A slot holds what one request needs and nothing of the lanes; what is specific to a stage
//!    lives in [`Stage`], so a stage cannot read the leavings of another.
//! 3. Freed slots are reused, last freed first: nothing is allocated in steady state.
#![forbid(unsafe_code)]

use crate::envelope::Envelope;
use crate::error::Error;
use crate::payload::Payload;
use crate::protocol::matching::PostedId;
use crate::protocol::message::Message;
use crate::protocol::share::CellId;

/// A request of one worker: slab index and generation; a stale one is detected until the
/// generation wraps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId {
    /// Slab index.
    pub index: u32,
    /// Generation of the slab entry.
    pub generation: u32,
}

impl RequestId {
    /// As it travels: never zero, because no generation is.
    #[inline]
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// From a token, which may be anything.
    #[inline]
    pub fn from_token(token: u64) -> RequestId {
        RequestId { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// The terminal record of a request.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Source of the message (receives; for sends the sender's own envelope source).
    pub source: u32,
    /// Tag of the message.
    pub tag: u32,
    /// Packed bytes that were delivered (receives) or sent.
    pub bytes: usize,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As asked.
    Done,
    /// The message was longer than the buffer: `sent` bytes came, `Completion::bytes` were kept.
    Truncated { sent: usize },
    /// Cancelled before it matched.
    Cancelled,
    /// It cannot end: the peer is lost, or the transfer failed.
    Failed(Error),
}

/// Where a request stands. Receives: Posted, then some of Assembling, Granting, Sharing, Receiving;
/// sends: Queued, then one of AwaitAck, Announced, Streaming; both end in Done. The diagrams are in
/// docs/protocol.md.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Not a request; the next free slot.
    Free { next: u32 },
    /// Receive: waits in the posted queue.
    Posted(PostedId),
    /// Receive: matched an eager message whose fragments still arrive.
    Assembling,
    /// Receive: matched an announced message; get or CTS is decided outside the handlers.
    Granting { address: u64, token: u64, key: u32, fetchable: bool },
    /// Receive: the lane fetches the bytes; the sender's `token` is answered when they are here.
    Fetching { token: u64 },
    /// No message: memory of the peer is read or written, or that is confirmed.
    Accessing,
    /// Receive: the bytes are read from the sender's memory, and perhaps written by the sender, by
    /// the claims in this cell.
    Sharing { address: u64, token: u64, cell: CellId },
    /// Receive: CTS is out, data arrives.
    Receiving { wanted: u64 },
    /// A message that a matched probe took out of matching.
    Claimed(Message),
    /// Send: in the queue of its endpoint; `moved` bytes of an eager message are already out.
    Queued,
    /// Send: RTS is out.
    Announced,
    /// Send: CTS is here, data goes out to the receiver's `token`.
    Streaming { token: u64, wanted: u64 },
    /// Synchronous eager send: waits to be matched.
    AwaitAck,
    /// Over; waits to be taken.
    Done(Outcome),
}

/// One request.
pub(crate) struct Slot {
    pub(crate) generation: u32,
    /// Neighbours in a list of the endpoint (sends only).
    pub(crate) previous: u32,
    pub(crate) next: u32,
    /// Nobody will take it.
    pub(crate) detached: bool,
    /// Send: a Cancel is out.
    pub(crate) cancelling: bool,
    /// Send: complete only when matched.
    pub(crate) synchronous: bool,
    /// Send: a thread waits for this one and has nothing else to do.
    pub(crate) attended: bool,
    /// The partner, or [`NO_PEER`] for a receive from any.
    pub(crate) peer: u32,
    pub(crate) envelope: Envelope,
    pub(crate) payload: Payload,
    /// Bytes of the message (unknown before a receive is matched).
    pub(crate) total: u64,
    /// Bytes handed over (sends) or delivered (receives).
    pub(crate) moved: u64,
    pub(crate) stage: Stage,
}

/// End of a list of requests.
pub(crate) const NO_REQUEST: u32 = u32::MAX;
/// No particular peer.
pub(crate) const NO_PEER: u32 = u32::MAX;

// Ten million pending requests are 1.3 GB; a wider slot should be a decision.
const _: () = assert!(size_of::<Slot>() <= 136);

/// All requests of a worker.
pub(crate) struct Requests {
    slots: Vec<Slot>,
    free: u32,
    live: usize,
}

impl Requests {
    pub(crate) fn new() -> Requests {
        Requests { slots: Vec::new(), free: NO_REQUEST, live: 0 }
    }

    /// A new request.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        peer: u32,
        envelope: Envelope,
        payload: Payload,
        stage: Stage,
    ) -> RequestId {
        self.live += 1;
        if self.free == NO_REQUEST {
            return self.insert_new(peer, envelope, payload, stage);
        }
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        let Stage::Free { next } = slot.stage else { unreachable!("the list holds free slots") };
        self.free = next;
        slot.detached = false;
        slot.cancelling = false;
        slot.synchronous = false;
        slot.attended = false;
        slot.previous = NO_REQUEST;
        slot.next = NO_REQUEST;
        slot.peer = peer;
        slot.envelope = envelope;
        slot.total = 0;
        slot.moved = 0;
        // A free slot holds nothing that needs to be dropped, which only we know.
        std::mem::forget(std::mem::replace(&mut slot.payload, payload));
        std::mem::forget(std::mem::replace(&mut slot.stage, stage));
        RequestId { index, generation: slot.generation }
    }

    #[cold]
    #[inline(never)]
    fn insert_new(
        &mut self,
        peer: u32,
        envelope: Envelope,
        payload: Payload,
        stage: Stage,
    ) -> RequestId {
        let index = u32::try_from(self.slots.len()).ok().filter(|&index| index != NO_REQUEST);
        let index = index.expect("fewer than 2^32 - 1 requests are pending");
        self.slots.push(Slot {
            generation: 1,
            previous: NO_REQUEST,
            next: NO_REQUEST,
            detached: false,
            cancelling: false,
            synchronous: false,
            attended: false,
            peer,
            envelope,
            payload,
            total: 0,
            moved: 0,
            stage,
        });
        RequestId { index, generation: 1 }
    }

    /// The slot of a live request, by index alone (from a list whose entries are live).
    #[inline]
    pub(crate) fn at(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    /// The id of a live request.
    #[inline]
    pub(crate) fn id(&self, index: u32) -> RequestId {
        RequestId { index, generation: self.slots[index as usize].generation }
    }

    /// The slot, unless the id is stale.
    #[inline]
    pub(crate) fn get(&self, id: RequestId) -> Option<&Slot> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.generation == id.generation && !matches!(slot.stage, Stage::Free { .. }))
            .then_some(slot)
    }

    /// As [`Requests::get`].
    #[inline]
    pub(crate) fn get_mut(&mut self, id: RequestId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.generation == id.generation && !matches!(slot.stage, Stage::Free { .. }))
            .then_some(slot)
    }

    /// Frees a live slot; returns its stage.
    #[inline]
    pub(crate) fn free(&mut self, index: u32) -> Stage {
        let slot = &mut self.slots[index as usize];
        debug_assert!(!matches!(slot.stage, Stage::Free { .. }));
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.payload = Payload::EMPTY;
        let stage = std::mem::replace(&mut slot.stage, Stage::Free { next: self.free });
        self.free = index;
        self.live -= 1;
        stage
    }

    /// Puts a live request that is not done into its next stage.
    #[inline]
    pub(crate) fn advance(&mut self, index: u32, stage: Stage) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(!matches!(slot.stage, Stage::Free { .. } | Stage::Done(_)));
        // Only a stage that is done holds what needs to be dropped, which only we know.
        std::mem::forget(std::mem::replace(&mut slot.stage, stage));
    }

    /// Ends a request: a detached one is freed.
    #[inline]
    pub(crate) fn finish(&mut self, index: u32, outcome: Outcome) {
        self.advance(index, Stage::Done(outcome));
        let slot = &mut self.slots[index as usize];
        if slot.detached {
            self.free(index);
        }
    }

    /// Slots, live or not: the bound for a walk over all.
    pub(crate) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Live requests.
    pub(crate) fn live(&self) -> usize {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENVELOPE: Envelope = Envelope { context: 1, source: 2, tag: 3 };

    proptest! {
        /// Against a set of live ids: a stale id is never taken for a live one.
        #[test]
        fn stale_ids_are_seen(picks in prop::collection::vec(any::<(bool, usize)>(), 1..300)) {
            let mut requests = Requests::new();
            let (mut live, mut stale) = (Vec::new(), Vec::new());
            for (insert, pick) in picks {
                if insert || live.is_empty() {
                    let id = requests.insert(9, ENVELOPE, Payload::EMPTY, Stage::Queued);
                    prop_assert!(!live.contains(&id) && !stale.contains(&id));
                    live.push(id);
                } else {
                    let id = live.swap_remove(pick % live.len());
                    requests.finish(id.index, Outcome::Done);
                    requests.free(id.index);
                    stale.push(id);
                }
                prop_assert!(live.iter().all(|id| requests.get(*id).is_some()));
                prop_assert!(stale.iter().all(|id| requests.get_mut(*id).is_none()));
                prop_assert_eq!(requests.live(), live.len());
                prop_assert!(requests.len() as usize <= live.len() + stale.len());
            }
        }

        #[test]
        fn tokens_round_trip(token: u64) {
            prop_assert_eq!(RequestId::from_token(token).token(), token);
            let mut requests = Requests::new();
            requests.insert(0, ENVELOPE, Payload::EMPTY, Stage::Queued);
            if token != 1 << 32 {
                prop_assert!(requests.get(RequestId::from_token(token)).is_none());
            }
        }
    }

    #[test]
    fn ten_million_requests() {
        let mut requests = Requests::new();
        for _ in 0..10_000_000 {
            requests.insert(0, ENVELOPE, Payload::EMPTY, Stage::Queued);
        }
        assert_eq!(requests.live(), 10_000_000);
        for index in 0..10_000_000 {
            requests.finish(index, Outcome::Done);
            requests.free(index);
        }
        assert_eq!(requests.live(), 0);
    }

    #[test]
    fn a_detached_request_frees_itself() {
        let mut requests = Requests::new();
        let id = requests.insert(0, ENVELOPE, Payload::EMPTY, Stage::Queued);
        requests.at(id.index).detached = true;
        requests.finish(id.index, Outcome::Done);
        assert!(requests.get(id).is_none());
        assert_eq!(requests.live(), 0);
    }
}

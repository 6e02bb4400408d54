// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Contexts that somebody revoked: what waits in them ends, what comes for them is taken away.
//!
//! Invariants:
//! 1. A transfer that is under way between two living processes ends by itself, so that nobody
//!    writes to memory, or reads it, whose owner was told that all is over.
//! 2. A send that its receiver knows of ends when the receiver agrees (as a cancelled one does).
//! 3. A message whose sender waits for its receive stays: the sender takes it back when it hears of
//!    the revocation. Others are received into nothing, so that their sender gets its credit back.

use super::Worker;
use crate::error::{Error, Kind};
use crate::payload::Payload;
use crate::protocol::message::Message;
use crate::request::{NO_PEER, Outcome, RequestId, Stage};
use std::ops::Range;

impl Worker {
    /// Ends what waits in these contexts and has met no partner, with [`Kind::Revoked`]; from now
    /// on what is cancelled in them ends so. What was posted later is ended by the next call.
    #[cold]
    pub fn revoke(&mut self, contexts: Range<u32>) {
        if !self.core.revoked.contains(&contexts) {
            self.core.revoked.push(contexts.clone());
        }
        for index in 0..self.core.requests.len() {
            let id = self.core.requests.id(index);
            let Some(slot) = self.core.requests.get(id) else { continue };
            let waits = match slot.stage {
                Stage::Posted(_) | Stage::AwaitAck | Stage::Announced => !slot.cancelling,
                Stage::Queued => slot.moved == 0,
                _ => false,
            };
            if waits && contexts.contains(&slot.envelope.context) {
                self.cancel(id);
            }
        }
    }

    /// Takes away what has come in these contexts and nobody waits for; returns how many messages.
    #[cold]
    pub fn take_away(&mut self, contexts: Range<u32>) -> usize {
        let mut count = 0;
        for context in contexts {
            let is_left =
                |message: &Message| matches!(message, Message::Parked { synchronous: false, .. });
            while let Some(found) = self.core.matching.find_where(context, is_left) {
                let (envelope, message) = self.core.matching.remove(found);
                let stage = Stage::Claimed(message);
                let peer = message.peer();
                let id = self.core.requests.insert(peer, envelope, Payload::EMPTY, stage);
                self.core.begin(id, envelope, message);
                self.detach(id);
                count += 1;
            }
        }
        self.run_actions();
        count
    }

    /// Nothing is left of these contexts here: their communicator is gone.
    #[cold]
    pub fn forget_revoked(&mut self, contexts: &Range<u32>) {
        self.core.revoked.retain(|revoked| revoked != contexts);
    }

    /// Whether messages wait that nobody has received.
    #[inline]
    pub fn has_unexpected(&self) -> bool {
        self.core.matching.unexpected_count() != 0
    }

    /// Whether this is a receive from any source that has met no message.
    pub fn is_open_to_all(&self, request: RequestId) -> bool {
        let slot = self.core.requests.get(request);
        slot.is_some_and(|slot| slot.peer == NO_PEER && matches!(slot.stage, Stage::Posted(_)))
    }

    /// How a request ended, if its context was revoked before it was cancelled.
    #[cold]
    pub(super) fn end_of_cancelled(&self, context: u32) -> Outcome {
        match self.core.revoked.iter().any(|revoked| revoked.contains(&context)) {
            true => Outcome::Failed(Error::new(Kind::Revoked)),
            false => Outcome::Cancelled,
        }
    }
}

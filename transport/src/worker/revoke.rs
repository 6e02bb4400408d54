// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Contexts that somebody revoked: what waits in them ends, what comes for them is taken away.
//!
//! Invariants:
//! 1. A transfer that is under way between two living processes ends by itself, so that nobody
//!    writes to memory, or reads it, whose owner was told that all is over.
//! 2. A send that its receiver knows of ends when the receiver agrees (as a cancelled one does).
//! 3. Nothing is forgotten on the other side: a message that is taken away is received into
//!    nothing, so that its sender gets its credit back and hears the end.

use super::Worker;
use crate::envelope::{ANY, Pattern};
use crate::error::{Error, Kind};
use crate::payload::Payload;
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

    /// Takes away what has come in these contexts; returns how many messages.
    #[cold]
    pub fn take_away(&mut self, contexts: Range<u32>) -> usize {
        let mut count = 0;
        for context in contexts {
            let all = Pattern { context, source: ANY, tag: ANY };
            while let Some((message, _)) = self.claim(all) {
                // SAFETY: there is no memory to write to.
                let id = unsafe { self.receive_claimed(message, Payload::EMPTY) };
                self.detach(id);
                count += 1;
            }
        }
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

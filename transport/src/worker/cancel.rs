// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cancellation, the loss of a peer, and the end of all.

use super::{Action, Core, Worker};
use crate::endpoint::{Assembly, List};
use crate::envelope::Peer;
use crate::error::Error;
use crate::request::{Outcome, RequestId, Stage};
use crate::wire::header::{Header, MessageKind};

impl Core {
    /// Takes back what has not met its partner: a posted receive and a send that has not left at
    /// once, an announced or synchronous send if its receiver agrees.
    #[cold]
    pub(super) fn cancel(&mut self, id: RequestId) {
        let Some(slot) = self.requests.get_mut(id) else { return };
        match slot.stage {
            Stage::Posted(posted) => {
                self.matching.withdraw(posted);
                self.requests.finish(id.index, Outcome::Cancelled);
            }
            Stage::Queued if slot.moved == 0 => {
                let peer = slot.peer as usize;
                self.endpoints[peer].sends.remove(&mut self.requests, id.index);
                self.requests.finish(id.index, Outcome::Cancelled);
            }
            Stage::Announced | Stage::AwaitAck if !slot.cancelling => {
                slot.cancelling = true;
                let (peer, envelope) = (slot.peer, slot.envelope);
                let mut header = Header::with_envelope(MessageKind::Cancel, envelope, 0);
                header.token = id.token();
                self.post(peer, header);
            }
            _ => {}
        }
    }

    /// Fails everything that involves a peer, and remembers why. What it had sent in full can still
    /// be received; receives from any peer go on waiting.
    #[cold]
    pub(super) fn lose(&mut self, peer: u32, error: Error) {
        let Some(endpoint) = self.endpoints.get_mut(peer as usize) else { return };
        if endpoint.lost.is_some() {
            return;
        }
        endpoint.lost = Some(error.clone());
        endpoint.ready_below = 0;
        endpoint.control.clear();
        endpoint.sends = List::EMPTY;
        endpoint.streams = List::EMPTY;
        if let Assembly::Parked(record) = std::mem::replace(&mut endpoint.assembly, Assembly::None)
        {
            self.records.at(record).broken = true;
        }
        for index in 0..self.requests.len() {
            let id = self.requests.id(index);
            let Some(slot) = self.requests.get(id) else { continue };
            let involved = slot.peer == peer
                && match slot.stage {
                    Stage::Free { .. } | Stage::Done(_) | Stage::Claimed(_) => false,
                    Stage::Posted(posted) => {
                        self.matching.withdraw(posted);
                        true
                    }
                    Stage::Sharing { cell, .. } => {
                        self.actions.push_back(Action::CloseCell { peer, cell });
                        true
                    }
                    _ => true,
                };
            if involved {
                self.requests.finish(index, Outcome::Failed(error.clone()));
            }
        }
        self.loss_count += 1;
        self.last_loss = Some(error.clone());
        self.lost.push((Peer(peer), error));
    }
}

impl Worker {
    /// How many peers were lost so far, and why the newest one was.
    pub fn losses(&self) -> (u32, Option<&Error>) {
        (self.core.loss_count, self.core.last_loss.as_ref())
    }

    /// After [`Worker::close`] and the last flush, instead of a drop: nothing is sent or received
    /// any more, and nothing is left in the system (libfabric's shm has files).
    pub fn end(&mut self) {
        self.lanes.end();
    }
}

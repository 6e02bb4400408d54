// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Short messages that follow each other to one peer leave in one frame: each post costs the
//! library a system call or a work request, whatever it carries.
//!
//! Invariants:
//! 1. The first [`DIRECT`] messages between two polls are posted at once, so that no single
//!    message waits; what is held leaves at the next poll, at `release`, before any other frame to
//!    the same peer, or when there is enough of it.
//! 2. A held message has been sent, as far as its sender can see: its frame was taken.

use super::FabricLane;
use super::frame::{FrameKind, PREFIX_BYTES};
use super::port::Port;
use super::send::Body;
use crate::envelope::Peer;
use crate::error::Submit;
use crate::wire::header::HEADER_BYTES;

/// Messages to a peer that are posted at once after a poll.
const DIRECT: u16 = 4;
/// Longest body that is held: beyond it the copy counts more than the post.
const HELD_BODY_MAX: usize = 2048;
/// A frame with so many messages or bytes leaves.
const COUNT_MAX: u16 = 32;
const BYTES_MAX: usize = 8 * 1024;

/// Messages that are held for a peer.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    /// The frame.
    number: usize,
    /// Bytes of it.
    used: usize,
    count: u16,
}

impl Batch {
    /// The frame that it has taken.
    pub(super) fn number(self) -> usize {
        self.number
    }
}

impl<P: Port> FabricLane<P> {
    /// Holds a message, if it is one of many; `false`: it is to be posted.
    pub(super) fn hold(
        &mut self,
        peer: Peer,
        head: &[u8; HEADER_BYTES],
        bytes: usize,
        body: &mut Body<'_>,
    ) -> bool {
        let turn = self.core.turn;
        let state = self.core.state(peer.0);
        if state.turn != turn {
            (state.turn, state.burst) = (turn, 0);
        }
        if state.batch.is_none() {
            state.burst = state.burst.saturating_add(1);
        }
        if bytes > HELD_BODY_MAX || (state.batch.is_none() && state.burst <= DIRECT) {
            return false;
        }
        let batch = match self.core.state(peer.0).batch {
            Some(batch) => batch,
            None => {
                let Some(number) = self.port.take_frame() else { return false };
                self.core.holding.push(peer.0);
                Batch { number, used: PREFIX_BYTES, count: 0 }
            }
        };
        let (begin, end) = (batch.used, batch.used + HEADER_BYTES + bytes);
        let into = &mut self.port.frame(batch.number)[begin..end];
        into[..HEADER_BYTES].copy_from_slice(head);
        match body {
            Body::Slice(whole) => into[HEADER_BYTES..].copy_from_slice(whole),
            Body::Filled(fill) => fill(&mut into[HEADER_BYTES..]),
        }
        let batch = Batch { used: end, count: batch.count + 1, ..batch };
        self.core.state(peer.0).batch = Some(batch);
        if batch.count >= COUNT_MAX || batch.used >= BYTES_MAX {
            // What the provider does not take now waits as any frame does.
            let _ = self.post_batch(peer);
        }
        true
    }

    /// Posts what is held for a peer.
    pub(super) fn post_batch(&mut self, peer: Peer) -> Submit {
        let state = self.core.state(peer.0);
        let Some(batch) = state.batch.take() else { return Submit::Sent };
        let to = state.number;
        let prefix = self.core.prefix(peer, FrameKind::Message);
        prefix.write(self.port.frame(batch.number));
        let to = to.expect("messages are held for peers that were reached");
        let posted = self.port.send(peer, to, batch.number, batch.used);
        self.settle_send(peer, FrameKind::Message, (batch.number, batch.used), posted)
    }

    /// Whether something is held.
    #[inline]
    pub fn is_holding(&self) -> bool {
        !self.core.holding.is_empty()
    }

    /// Posts all that is held.
    pub fn release(&mut self) {
        for peer in std::mem::take(&mut self.core.holding) {
            let _ = self.post_batch(Peer(peer));
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a look at the library brings: frames, in whatever order, and the ends of what was posted.
//!
//! Frames are handed on in the order of their places. One that comes too early, or when enough
//! messages were delivered, is copied and waits here.

use super::Core;
use super::frame::{Frame, FrameKind, next_message};
use super::peers::State;
use super::port::Sink;
use crate::envelope::Peer;
use crate::lane::{Get, Inbox};
use std::collections::VecDeque;

/// Messages that were not delivered yet.
pub(super) struct Unread {
    from: u32,
    messages: Vec<u8>,
    /// So many bytes of them were delivered.
    done: usize,
}

/// A frame that came before others of its pair.
pub(super) struct Early {
    kind: FrameKind,
    seen: u16,
    messages: Vec<u8>,
}

/// The lane, without its port, during a look.
pub(super) struct Arrivals<'a, I> {
    pub(super) core: &'a mut Core,
    pub(super) inbox: &'a mut I,
    pub(super) budget: usize,
    pub(super) count: usize,
}

impl<I: Inbox> Arrivals<'_, I> {
    /// What earlier looks left.
    pub(super) fn deliver_unread(&mut self) {
        while !self.is_full()
            && let Some(mut unread) = self.core.unread.pop_front()
        {
            let messages = std::mem::take(&mut unread.messages);
            let left = self.deliver(unread.from, &messages[unread.done..]).len();
            if left > 0 {
                let done = messages.len() - left;
                self.core.unread.push_front(Unread { messages, done, ..unread });
            }
        }
    }

    /// Hands on messages until there are enough; what is left.
    fn deliver<'b>(&mut self, from: u32, mut messages: &'b [u8]) -> &'b [u8] {
        while !self.is_full() {
            let Some((header, body, more)) = next_message(messages) else { return &[] };
            self.inbox.message(Peer(from), &header, body);
            self.count += 1;
            messages = more;
        }
        messages
    }

    /// The state of the sender of a frame, if it is who it says, and was not lost.
    #[inline]
    fn sender(&mut self, frame: &Frame<'_>) -> Option<&mut State> {
        let from = frame.prefix.from;
        let is_member = from < self.core.settings.size && from != self.core.settings.rank;
        if !is_member || self.core.state(from).tag_in != frame.prefix.tag {
            self.core.drop_stranger();
            return None;
        }
        let state = self.core.state(from);
        (!state.lost).then_some(state)
    }

    /// The next frame of its pair.
    #[inline]
    fn take(&mut self, frame: &Frame<'_>) {
        let from = frame.prefix.from;
        self.core.note(from, frame.prefix.kind, frame.prefix.seen);
        if frame.prefix.kind != FrameKind::Message {
            return;
        }
        if !self.core.unread.is_empty() || self.is_full() {
            let messages = frame.copy_messages();
            self.core.unread.push_back(Unread { from, messages, done: 0 });
            return;
        }
        let Some((header, body, more)) = frame.first_message() else { return };
        self.inbox.message(Peer(from), &header, body);
        self.count += 1;
        if !more.is_empty() {
            let left = self.deliver(from, more);
            if !left.is_empty() {
                self.core.unread.push_back(Unread { from, messages: left.to_vec(), done: 0 });
            }
        }
    }

    /// Frames that had waited for the one just taken.
    #[cold]
    fn take_early(&mut self, from: u32) {
        loop {
            let state = self.core.state(from);
            let place = state.place_in;
            let Some(early) = state.early.remove(&place) else { return };
            state.place_in = place.wrapping_add(1);
            self.core.note(from, early.kind, early.seen);
            if early.kind == FrameKind::Message {
                let messages = early.messages;
                self.core.unread.push_back(Unread { from, messages, done: 0 });
            }
        }
    }
}

impl<I: Inbox> Sink for Arrivals<'_, I> {
    #[inline]
    fn frame(&mut self, head: &[u8], rest: &[u8]) {
        let Some(frame) = Frame::read(head, rest) else { return self.core.drop_stranger() };
        let Some(state) = self.sender(&frame) else { return };
        let place = frame.prefix.place;
        if place != state.place_in {
            let messages = frame.copy_messages();
            let early = Early { kind: frame.prefix.kind, seen: frame.prefix.seen, messages };
            state.early.insert(place, early);
            return;
        }
        state.place_in = place.wrapping_add(1);
        let is_awaited = !state.early.is_empty();
        self.take(&frame);
        if is_awaited {
            self.take_early(frame.prefix.from);
            self.deliver_unread();
        }
    }

    fn lent(&mut self, head: &[u8]) -> Option<(Peer, u64)> {
        let frame = Frame::read(head, &[])?;
        self.sender(&frame)?;
        let (header, _, _) = frame.first_message()?;
        self.frame(head, &[]);
        Some((Peer(frame.prefix.from), header.token))
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.count >= self.budget
    }

    #[inline]
    fn settled(&mut self) {
        self.core.settled += 1;
    }

    fn fetched(&mut self, token: u64, end: Get) {
        self.inbox.fetched(token, end);
        self.count += 1;
    }

    #[cold]
    fn failed(&mut self, peer: Peer, reason: String) {
        self.core.settled += 1;
        self.core.failures.push((peer, reason));
    }

    #[cold]
    fn broken(&mut self, reason: String) {
        self.core.broken.get_or_insert(reason);
    }
}

impl Core {
    /// What a frame says of its sender, besides messages.
    #[inline]
    fn note(&mut self, from: u32, kind: FrameKind, seen: u16) {
        let state = self.state(from);
        state.met = true;
        state.take_count(kind, seen);
        let is_to_be_told = state.is_to_be_told();
        match kind {
            FrameKind::Message | FrameKind::Count => {}
            FrameKind::Farewell => state.answered = true,
            FrameKind::Goodbye => {
                state.departed = true;
                // Our own goodbye, on its way to the same peer, says the same.
                if !state.parted {
                    self.be_courteous(from, FrameKind::Farewell);
                }
            }
        }
        if is_to_be_told {
            self.be_courteous(from, FrameKind::Count);
        }
    }

    /// Whether something of a peer waits to be delivered.
    pub(super) fn has_unread(&self, peer: Peer) -> bool {
        self.unread.iter().any(|unread| unread.from == peer.0)
    }

    #[cold]
    fn drop_stranger(&mut self) {
        self.strangers += 1;
        if self.strangers == 1 {
            let line = format!(
                "strait: rank {} dropped a message that came over {}: it is not of this job",
                Peer(self.settings.rank),
                self.library
            );
            (self.settings.report)(&line);
        }
    }
}

/// Of a look, what is not delivered yet.
pub(super) type UnreadQueue = VecDeque<Unread>;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the provider says to be over: messages that came, frames that left, and what failed.

use super::buffers::Role;
use super::fabric::{Completion, Failure};
use super::frame::{Frame, FrameKind};
use super::peers::State;
use super::{OfiLane, sys};
use crate::envelope::Peer;
use crate::lane::Inbox;

impl OfiLane {
    /// One completion; returns how many messages it delivered.
    pub(super) fn complete<I: Inbox>(
        &mut self,
        inbox: &mut I,
        seen: &Completion,
        budget: usize,
    ) -> (usize, bool) {
        match self.buffers.role(seen.op_context) {
            Some(Role::Receive(number)) => self.arrive(inbox, number, seen, budget),
            Some(Role::Send(number)) => {
                self.buffers.put_send(number);
                self.settled += 1;
                (0, true)
            }
            Some(Role::Get(number)) => (self.got(inbox, number), true),
            None => (0, true),
        }
    }

    fn arrive<I: Inbox>(
        &mut self,
        inbox: &mut I,
        number: usize,
        seen: &Completion,
        budget: usize,
    ) -> (usize, bool) {
        let begin = std::mem::take(&mut self.read_bytes);
        let mut count = 0;
        let mut said_goodbye = None;
        let mut to_tell = None;
        if seen.flags & sys::FI_RECV != 0 {
            let at = if self.fabric.facts.multi_receive { seen.buf } else { std::ptr::null_mut() };
            let bytes = self.buffers.arrived(number, at, seen.len);
            count = match bytes.and_then(Frame::read) {
                Some(frame) => {
                    let (settings, from) = (&self.settings, frame.from);
                    let is_member = from < settings.size && from != settings.rank;
                    let known = is_member.then(|| {
                        self.states.entry(from).or_insert_with(|| State::new(settings, from))
                    });
                    match known {
                        Some(state) if state.tag_in == frame.tag && !state.lost => {
                            if begin == 0 {
                                let is_goodbye = frame.kind == FrameKind::Goodbye;
                                said_goodbye = is_goodbye.then_some(from);
                                state.take_count(&frame);
                                to_tell = state.is_to_be_told().then_some(from);
                            }
                            let (count, end) = deliver(inbox, state, &frame, begin, budget);
                            self.read_bytes = end;
                            count
                        }
                        Some(state) if state.tag_in == frame.tag => 0,
                        _ => self.stranger(),
                    }
                }
                None => self.stranger(),
            };
        }
        if self.read_bytes > 0 {
            return (count, false);
        }
        if let Some(peer) = to_tell {
            self.be_courteous(peer, FrameKind::Count);
        }
        if let Some(peer) = said_goodbye {
            // Our own goodbye, on its way to the same peer, says the same.
            let is_said = self.state(peer).parted;
            if !is_said {
                self.be_courteous(peer, FrameKind::Farewell);
            }
        }
        let is_free = !self.fabric.facts.multi_receive || seen.flags & sys::FI_MULTI_RECV != 0;
        if is_free && let Err(error) = self.post_receive(number) {
            self.break_down(&error.to_string());
        }
        (count, true)
    }

    #[cold]
    fn stranger(&mut self) -> usize {
        self.strangers += 1;
        if self.strangers == 1 {
            let line = format!(
                "strait: rank {} dropped a message that came over libfabric's {}: it is not of \
                 this job",
                self.settings.rank, self.fabric.facts.provider
            );
            (self.settings.report)(&line);
        }
        0
    }

    /// A failed operation.
    #[cold]
    pub(super) fn fail<I: Inbox>(&mut self, inbox: &mut I, failure: &Failure) -> usize {
        match self.buffers.role(failure.context) {
            Some(Role::Send(number)) => {
                let peer = self.transfers.sends[number].0;
                self.buffers.put_send(number);
                self.settled += 1;
                let state = self.state(peer);
                // Whoever said goodbye, or heard ours, may be gone: nothing is missing then.
                if !(state.departed || state.answered) {
                    self.lose_unsent(Peer(peer), &failure.reason);
                }
                0
            }
            Some(Role::Receive(number)) => {
                // What comes with it was not delivered; its sender hears of it, or is lost.
                self.transfers.unposted.push(number);
                self.stuck = true;
                0
            }
            Some(Role::Get(number)) => self.get_failed(inbox, number),
            None => 0,
        }
    }
}

/// Hands on what a frame of a known peer carries from `begin` on, at most `budget` messages.
/// Answers how many, and where the next one begins: zero if nothing is left.
fn deliver<I: Inbox>(
    inbox: &mut I,
    state: &mut State,
    frame: &Frame<'_>,
    begin: usize,
    budget: usize,
) -> (usize, usize) {
    state.met = true;
    match frame.kind {
        FrameKind::Goodbye => state.departed = true,
        FrameKind::Farewell => state.answered = true,
        FrameKind::Count => {}
        FrameKind::Message => {
            let (mut at, mut count) = (begin, 0);
            while let Some((header, body, next)) = frame.message(at) {
                inbox.message(Peer(frame.from), &header, body);
                (at, count) = (next, count + 1);
                if count == budget && frame.message(at).is_some() {
                    return (count, at);
                }
            }
            return (count, 0);
        }
    }
    (0, 0)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How messages become frames, and how frames leave, at once or when there is room.

use super::frame::{FrameKind, HEAD_BYTES, PREFIX_BYTES, Prefix};
use super::port::{Port, Posted};
use super::{Core, Courtesy, FAREWELL_TIME, FabricLane};
use crate::envelope::Peer;
use crate::error::Submit;
use crate::lane::is_answer;
use crate::wire::codec;
use crate::wire::header::{FLAG_FETCHABLE, HEADER_BYTES, Header, MessageKind};

/// The body of a fragment up to here is put together on the stack for the library to copy.
const STACK_BYTES: usize = 512;

/// Where the body of a message comes from.
pub(super) enum Body<'a> {
    Slice(&'a [u8]),
    Filled(&'a mut dyn FnMut(&mut [u8])),
}

impl Body<'_> {
    fn write(self, into: &mut [u8]) {
        match self {
            Body::Slice(whole) => into.copy_from_slice(whole),
            Body::Filled(fill) => fill(into),
        }
    }
}

impl<P: Port> FabricLane<P> {
    /// Sends a frame of one message, or of none.
    fn transmit(
        &mut self,
        peer: Peer,
        to: u64,
        kind: FrameKind,
        head: Option<&[u8; HEADER_BYTES]>,
        bytes: usize,
        body: Body<'_>,
    ) -> Submit {
        let prefix = self.core.prefix(peer, kind);
        let mut start = [0; HEAD_BYTES];
        prefix.write(&mut start);
        let start_bytes = if head.is_some() { HEAD_BYTES } else { PREFIX_BYTES };
        if let Some(head) = head {
            start[PREFIX_BYTES..].copy_from_slice(head);
        }
        let facts = self.port.facts();
        // A copy that the library took has no completion: nobody knows when it has left. The last
        // frame of a pair tells it for all before.
        let may_inject = head.is_some() && !facts.needs_polls;
        let mut stack = [0; STACK_BYTES];
        let mut on_stack = false;
        let mut body = body;
        if may_inject && HEAD_BYTES + bytes <= facts.inject_bytes {
            let whole: Option<&[u8]> = match &mut body {
                Body::Slice(whole) => Some(whole),
                Body::Filled(fill) if bytes <= STACK_BYTES => {
                    fill(&mut stack[..bytes]);
                    on_stack = true;
                    Some(&stack[..bytes])
                }
                Body::Filled(_) => None,
            };
            match whole.map_or(Posted::Longer, |whole| self.port.inject(to, &start, whole)) {
                Posted::Yes => return self.core.count_sent(peer, kind),
                Posted::Again => return self.no_room(peer),
                Posted::Longer => {}
                Posted::No(reason) => {
                    self.lose_unsent(peer, &reason);
                    return Submit::Lost;
                }
            }
        }
        let Some(number) = self.port.take_frame() else { return self.no_room(peer) };
        let frame = self.port.frame(number);
        frame[..start_bytes].copy_from_slice(&start[..start_bytes]);
        let end = start_bytes + bytes;
        match on_stack {
            true => frame[start_bytes..end].copy_from_slice(&stack[..bytes]),
            false => body.write(&mut frame[start_bytes..end]),
        }
        let posted = self.port.send(peer, to, number, end);
        self.settle_send(peer, kind, (number, end), posted)
    }

    /// What became of a frame of ours that was filled with so many bytes.
    pub(super) fn settle_send(
        &mut self,
        peer: Peer,
        kind: FrameKind,
        frame: (usize, usize),
        posted: Posted,
    ) -> Submit {
        match posted {
            Posted::Yes => {}
            Posted::Again => {
                // What was filled in counts as sent: it waits here.
                self.core.state(peer.0).waiting = Some(frame);
                self.core.waiting.push_back(peer.0);
                self.core.stuck = true;
            }
            Posted::Longer => unreachable!("a port takes the frames that it gave"),
            Posted::No(reason) => {
                self.port.put_frame(frame.0);
                self.lose_unsent(peer, &reason);
                return Submit::Lost;
            }
        }
        self.core.count_sent(peer, kind)
    }

    /// The library cannot send to this peer.
    #[cold]
    pub(super) fn lose_unsent(&mut self, peer: Peer, reason: &str) {
        let state = self.core.state(peer.0);
        // Whoever said goodbye, or heard ours, may be gone: nothing is missing then.
        if state.departed || state.answered {
            return;
        }
        let reason = format!("{} cannot send to it: {reason}", self.core.library);
        self.lose(peer, reason);
    }

    #[cold]
    fn no_room(&mut self, peer: Peer) -> Submit {
        self.core.state(peer.0).full = true;
        self.core.full.push(peer.0);
        self.core.stuck = true;
        Submit::Full
    }

    /// A message to a peer that may have one: held with others, or sent.
    pub(super) fn submit(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        body: Body<'_>,
    ) -> Submit {
        let to = match self.reach(peer, is_answer(header)) {
            Ok(to) => to,
            Err(answer) => return answer,
        };
        let mut body = body;
        let head = codec::encode(&Header { body: bytes as u32, ..*header });
        let kind = MessageKind::from_byte(header.kind);
        if matches!(kind, Some(MessageKind::Fin | MessageKind::Cts | MessageKind::CancelReply)) {
            self.port.decline(peer, header.token);
        }
        let is_lent = kind == Some(MessageKind::Rts)
            && header.flags & FLAG_FETCHABLE != 0
            && self.port.travels(header.token);
        if !is_lent && self.hold(peer, &head, bytes, &mut body) {
            return Submit::Sent;
        }
        if self.is_holding() {
            if self.post_batch(peer) == Submit::Lost {
                return Submit::Lost;
            }
            if self.core.state(peer.0).waiting.is_some() {
                // What was held waits, and this one behind it.
                return Submit::Full;
            }
        }
        if is_lent {
            return self.transmit_lent(peer, to, &head, (bytes, body), header.token);
        }
        self.transmit(peer, to, FrameKind::Message, Some(&head), bytes, body)
    }

    /// The announcement of a loan that travels with it.
    fn transmit_lent(
        &mut self,
        peer: Peer,
        to: u64,
        head: &[u8; HEADER_BYTES],
        (bytes, body): (usize, Body<'_>),
        token: u64,
    ) -> Submit {
        let mut frame = [0; STACK_BYTES];
        self.core.prefix(peer, FrameKind::Message).write(&mut frame);
        frame[PREFIX_BYTES..HEAD_BYTES].copy_from_slice(head);
        body.write(&mut frame[HEAD_BYTES..HEAD_BYTES + bytes]);
        match self.port.send_lent(peer, to, &frame[..HEAD_BYTES + bytes], token) {
            Posted::Yes => self.core.count_sent(peer, FrameKind::Message),
            Posted::Again | Posted::Longer => self.no_room(peer),
            Posted::No(reason) => {
                self.lose_unsent(peer, &reason);
                Submit::Lost
            }
        }
    }

    /// What had no room, or no address, before the last look.
    pub(super) fn retry(&mut self) {
        for peer in std::mem::take(&mut self.core.full) {
            self.core.state(peer).full = false;
        }
        for _ in 0..self.core.waiting.len() {
            let Some(peer) = self.core.waiting.pop_front() else { break };
            self.retry_waiting(Peer(peer));
        }
        for _ in 0..self.core.courtesies.len() {
            let Some(courtesy) = self.core.courtesies.pop_front() else { break };
            let Courtesy { peer, kind, since } = courtesy;
            let state = self.core.state(peer);
            let is_over = state.lost
                || match kind {
                    FrameKind::Farewell => since.elapsed() > FAREWELL_TIME,
                    // Its sender would wait for it in vain: never given up.
                    FrameKind::Count => state.departed,
                    _ => false,
                };
            if !is_over && !self.send_courtesy(Peer(peer), kind) {
                self.core.courtesies.push_back(courtesy);
            }
        }
    }

    fn retry_waiting(&mut self, peer: Peer) {
        let state = self.core.state(peer.0);
        let (Some((number, bytes)), Some(to)) = (state.waiting, state.number) else { return };
        match self.port.send(peer, to, number, bytes) {
            Posted::Yes => {
                self.core.state(peer.0).waiting = None;
                self.core.settled += 1;
            }
            Posted::Again | Posted::Longer => {
                self.core.waiting.push_back(peer.0);
                self.core.stuck = true;
            }
            Posted::No(reason) => self.lose_unsent(peer, &reason),
        }
    }

    /// A frame without a header; `false`: later.
    pub(super) fn send_courtesy(&mut self, peer: Peer, kind: FrameKind) -> bool {
        let state = self.core.state(peer.0);
        if state.full || state.waiting.is_some() {
            return false;
        }
        let Some(to) = self.look_up(peer) else { return false };
        self.transmit(peer, to, kind, None, 0, Body::Slice(&[])) != Submit::Full
    }
}

impl Core {
    /// The prefix of the next frame to a peer.
    #[inline]
    pub(super) fn prefix(&mut self, peer: Peer, kind: FrameKind) -> Prefix {
        let from = self.settings.rank;
        let state = self.state(peer.0);
        Prefix { from, kind, seen: state.seen, place: state.place_out, tag: state.tag_out }
    }

    /// A frame has left, or will before any other to this peer: it told what we have seen.
    #[inline]
    fn count_sent(&mut self, peer: Peer, kind: FrameKind) -> Submit {
        let state = self.state(peer.0);
        state.sent = state.sent.wrapping_add(u16::from(kind == FrameKind::Message));
        state.place_out = state.place_out.wrapping_add(1);
        (state.told, state.met) = (state.seen, true);
        Submit::Sent
    }
}

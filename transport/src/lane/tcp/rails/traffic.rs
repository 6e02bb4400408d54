// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages over rails: taken from the worker, written to sockets, read from sockets, given to the
//! worker.
#![forbid(unsafe_code)]

use super::super::connection::{Connection, Phase};
use super::super::connections::ConnectionId;
use super::super::poll::Readiness;
use super::super::{EXPECT_BYTES, RECEIVE_BYTES, TcpLane, head};
use super::incoming::Heard;
use super::word::RailWord;
use super::{Bundle, CHUNK_BYTES_MAX, State};
use crate::envelope::Peer;
use crate::error::Submit;
use crate::lane::{Bulk, Inbox};
use crate::wire::header::{HEADER_BYTES, Header, MessageKind};
use rustix::io::Errno;

/// Reads of one connection in one poll.
const READS_MAX: usize = 8;

/// What ended a read.
enum End {
    Socket(Option<Errno>),
    /// The peer's frames make no sense.
    Mad(String),
}

/// Writes into a frame that comes in pieces what the receiver needs beforehand: its number, and how
/// long it is. Those two words of its header are not used otherwise.
fn stamp(frame: &mut [u8], number: u64) {
    let body = (frame.len() - HEADER_BYTES) as u32;
    frame[8..12].copy_from_slice(&(number as u32).to_le_bytes());
    frame[12..16].copy_from_slice(&body.to_le_bytes());
}

impl Bundle {
    /// Accepts a frame of this kind, if there is room.
    pub(super) fn accept(
        &mut self,
        kind: u8,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool {
        let accepted = if kind == MessageKind::Data as u8 {
            self.out.accept_chunk(bytes, &mut |number, frame| {
                fill(frame);
                stamp(frame, number);
            })
        } else {
            let comes_in_pieces = kind == MessageKind::EagerMore as u8;
            self.out.accept(bytes, &mut |frame| {
                fill(frame);
                if comes_in_pieces {
                    stamp(frame, 0);
                }
            })
        };
        self.was_full |= !accepted;
        accepted
    }

    /// As [`Bundle::accept`], of a header and a body.
    fn accept_message(&mut self, header: &Header, body: &[u8]) -> bool {
        let head = head(header, body.len());
        self.accept(header.kind, HEADER_BYTES + body.len(), &mut |into| {
            into[..HEADER_BYTES].copy_from_slice(&head);
            into[HEADER_BYTES..].copy_from_slice(body);
        })
    }

    /// Accepts a frame that waited for a connection: there is room for as much as may wait.
    pub(super) fn accept_waiting(&mut self, frame: &[u8]) {
        let accepted = self.accept(frame[0], frame.len(), &mut |into| into.copy_from_slice(frame));
        debug_assert!(accepted, "fewer bytes may wait than are kept");
    }

    /// Goodbye is an ordered message like others; it counts when the data before it are there.
    pub(super) fn say_goodbye(&mut self) {
        self.goodbye_said = true;
        let last = RailWord::Last { chunks: self.out.chunks_accepted() };
        self.out.accept_control(&last.encode());
    }
}

impl TcpLane {
    /// A frame for a peer with rails.
    pub(in super::super) fn submit_rails(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        let Some(bundle) = self.bundle(peer) else { return Submit::Lost };
        let (accepted, is_open) = (bundle.accept(header.kind, bytes, fill), bundle.is_open());
        match is_open {
            true => self.pump(peer),
            false => self.reconsider_rails(peer),
        }
        if accepted { Submit::Sent } else { Submit::Full }
    }

    /// A long body for a peer with rails: copied, in frames that any rail may carry.
    pub(in super::super) fn bulk_rails(
        &mut self,
        peer: Peer,
        lead: Option<(&Header, &[u8])>,
        header: &Header,
        body: &[u8],
    ) -> Bulk {
        let Some(bundle) = self.bundle(peer) else { return Bulk::Lost };
        let has_lead = lead.is_some();
        if let Some((lead, bytes)) = lead
            && !bundle.accept_message(lead, bytes)
        {
            return Bulk::Full;
        }
        let (mut rest, mut header, mut taken) = (body, *header, 0);
        header.body = body.len() as u32;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(CHUNK_BYTES_MAX));
            let Some(bundle) = self.bundle(peer) else { return Bulk::Lost };
            if !bundle.accept_message(&header, piece) {
                break;
            }
            taken += piece.len();
            header = header.after_piece(piece.len());
            rest = after;
            self.pump(peer);
        }
        if self.bundle(peer).is_some_and(|bundle| !bundle.is_open()) {
            self.reconsider_rails(peer);
        }
        if taken == 0 && !has_lead { Bulk::Full } else { Bulk::Took(taken) }
    }

    /// Writes what the rails take.
    pub(super) fn pump(&mut self, peer: Peer) {
        let Some(rails) = &mut self.rails else { return };
        let Some(bundle) = rails.bundles.get_mut(&peer.0) else { return };
        let mut has_written = false;
        loop {
            let mut progressed = false;
            for rail in 0..bundle.rails.len() {
                let State::Open(id) = bundle.rails[rail].state else { continue };
                let Some(connection) = self.connections.get_mut(id) else { continue };
                if bundle.out.waits_for_room(rail) {
                    continue;
                }
                // The end of the handshake goes before everything.
                if !connection.has_sent_all() {
                    connection.flush(&self.poller);
                }
                if !connection.has_sent_all() || connection.write_error.is_some() {
                    bundle.out.set_stalled(rail, true);
                    continue;
                }
                progressed |= write(connection, bundle, rail);
            }
            has_written |= progressed;
            if !progressed {
                break;
            }
        }
        for rail in 0..bundle.rails.len() {
            if let State::Open(id) = bundle.rails[rail].state
                && let Some(connection) = self.connections.get_mut(id)
            {
                connection.watch_room(&self.poller, bundle.out.waits_for_room(rail));
            }
        }
        if has_written && bundle.watch_at.is_none() {
            self.begin_watch(peer);
        }
    }

    /// Attends to the connection of an open rail.
    pub(in super::super) fn attend_rail<I: Inbox>(
        &mut self,
        id: ConnectionId,
        ready: Readiness,
        inbox: &mut I,
        budget: usize,
    ) -> usize {
        let Some((peer, rail)) = self.rail_place(id) else { return 0 };
        if ready.write
            && let Some(bundle) = self.bundle(peer)
        {
            bundle.out.set_stalled(rail, false);
            self.pump(peer);
            let written = self.bundle(peer).is_some_and(|bundle| bundle.out.is_written());
            self.settled += usize::from(written);
        }
        let Some(connection) = self.connections.get_mut(id) else { return 0 };
        if !ready.read || connection.has_backlog() || budget == 0 {
            return 0;
        }
        let mut buffer = self.take_receive_buffer();
        let mut delivered = 0;
        for _ in 0..READS_MAX {
            let Some(connection) = self.connections.get_mut(id) else { break };
            let Some(rails) = &mut self.rails else { break };
            let Some(bundle) = rails.bundles.get_mut(&peer.0) else { break };
            match read(connection, bundle, (peer, rail), inbox, &mut buffer) {
                Ok(None) => {
                    if bundle.incoming.owes(true) {
                        let acknowledgement = bundle.incoming.acknowledgement();
                        bundle.out.say(rail, acknowledgement);
                        self.pump(peer);
                    }
                    break;
                }
                Ok(Some((count, bytes, more))) => {
                    self.hot.warm(id);
                    delivered += count;
                    let left = budget.saturating_sub(delivered);
                    delivered += self.deliver_rail(id, &buffer[..bytes], inbox, left);
                    if !more || delivered >= budget {
                        break;
                    }
                }
                Err(End::Socket(errno)) => {
                    self.rail_ended(peer, rail, id, errno);
                    break;
                }
                Err(End::Mad(reason)) => {
                    self.lose(peer, reason);
                    break;
                }
            }
        }
        self.receive_buffer = buffer;
        delivered
    }

    fn rail_place(&mut self, id: ConnectionId) -> Option<(Peer, usize)> {
        let connection = self.connections.get_mut(id)?;
        Some((connection.peer?, usize::from(connection.rail?)))
    }

    /// Delivers what was received over a rail; keeps what the budget leaves.
    pub(in super::super) fn deliver_rail<I: Inbox>(
        &mut self,
        id: ConnectionId,
        mut input: &[u8],
        inbox: &mut I,
        budget: usize,
    ) -> usize {
        let Some((peer, rail)) = self.rail_place(id) else { return 0 };
        let mut delivered = 0;
        let mut is_told = false;
        while let (Some(connection), Some(rails)) = (self.connections.get_mut(id), &mut self.rails)
            && let Some(bundle) = rails.bundles.get_mut(&peer.0)
        {
            let left = budget.saturating_sub(delivered);
            let decoder = connection.decoder();
            match bundle.incoming.take((peer, rail), decoder, &mut input, inbox, left) {
                Err(reason) => {
                    self.lose(peer, reason);
                    break;
                }
                Ok((count, heard)) => {
                    delivered += count;
                    match heard {
                        Heard::Nothing => break,
                        Heard::Budget => {
                            connection.keep(input);
                            self.backlog.push_back(id);
                            break;
                        }
                        Heard::Word(word) => is_told |= self.hear_rail_word(peer, word),
                    }
                }
            }
        }
        if self.bundle(peer).is_some_and(|bundle| bundle.incoming.is_over()) {
            self.acknowledge_goodbye(peer);
            return delivered;
        }
        if let Some(bundle) = self.bundle(peer) {
            let owes = bundle.incoming.owes(false);
            if owes {
                let acknowledgement = bundle.incoming.acknowledgement();
                bundle.out.say(rail, acknowledgement);
            }
            if owes || is_told {
                self.pump(peer);
            }
        }
        delivered
    }

    /// Whether it may let something leave.
    fn hear_rail_word(&mut self, peer: Peer, word: RailWord) -> bool {
        let Some(bundle) = self.bundle(peer) else { return false };
        match word {
            RailWord::Open { .. } | RailWord::Resume { .. } | RailWord::Last { .. } => {
                return false;
            }
            RailWord::Acknowledge { offset, counts } => {
                let sound = bundle.out.acknowledged(offset, counts);
                let is_freed = std::mem::take(&mut bundle.was_full);
                self.settled += usize::from(is_freed);
                if let Err(reason) = sound {
                    self.lose(peer, reason.into());
                }
            }
            RailWord::Down { rail, name } => {
                let rail = rail as usize;
                let this = bundle.rails.get(rail);
                if let Some((State::Open(id), true)) = this.map(|r| (r.state, r.name == name)) {
                    self.close_connection(id);
                    self.rail_broke(peer, rail, "its other end gave it up".into(), false);
                    self.note_due(peer);
                }
            }
        }
        true
    }

    /// Says goodbye to all peers with rails.
    pub(in super::super) fn close_rails(&mut self) {
        let Some(rails) = &mut self.rails else { return };
        let mut said = Vec::new();
        for (rank, bundle) in &mut rails.bundles {
            // Who has not been reached and is told nothing needs no goodbye either.
            let speaks = bundle.is_open() || !bundle.out.is_written();
            if speaks && !bundle.goodbye_said {
                bundle.say_goodbye();
                said.push(Peer(*rank));
            }
        }
        for peer in said {
            self.pump(peer);
        }
    }

    /// The peer waits for this word only.
    fn acknowledge_goodbye(&mut self, peer: Peer) {
        if let Some(bundle) = self.bundle(peer) {
            let acknowledgement = bundle.incoming.acknowledgement();
            for rail in 0..bundle.rails.len() {
                bundle.out.say(rail, acknowledgement);
            }
            self.pump(peer);
        }
        self.depart_rails(peer);
    }
}

/// Writes to one rail; whether anything left.
fn write(connection: &mut Connection, bundle: &mut Bundle, rail: usize) -> bool {
    let mut has_written = false;
    loop {
        let bytes = bundle.out.next(rail);
        let wanted = bytes.len();
        if wanted == 0 {
            bundle.out.wrote(rail, 0);
            return has_written;
        }
        let sent = connection.write(bytes);
        bundle.out.wrote(rail, sent);
        has_written |= sent > 0;
        if sent < wanted {
            bundle.out.set_stalled(rail, true);
            return has_written;
        }
    }
}

/// Receives what has come over a rail: messages that this delivered, bytes in `buffer`, and whether
/// there may be more. `None`: nothing has come.
fn read<I: Inbox>(
    connection: &mut Connection,
    bundle: &mut Bundle,
    from: (Peer, usize),
    inbox: &mut I,
    buffer: &mut [u8],
) -> Result<Option<(usize, usize, bool)>, End> {
    debug_assert!(matches!(connection.phase, Phase::Rail));
    let awaited = connection.awaited();
    let place = match awaited {
        Some((_, header)) => bundle.incoming.place(from, &header, inbox).map_err(End::Mad)?,
        None => None,
    };
    // Little more than what has a place: the next frame may have one, too.
    let is_little = place.is_some() || (awaited.is_none() && connection.expects_bulk());
    let buffer = &mut buffer[..if is_little { EXPECT_BYTES } else { RECEIVE_BYTES }];
    let Some(place) = place else {
        let room = buffer.len();
        let bytes = connection.receive(buffer).map_err(End::Socket)?;
        return Ok(bytes.map(|bytes| (0, bytes, bytes == room)));
    };
    let room = place.len() + buffer.len();
    let most = place.len();
    let received = connection.receive_in_place(place, buffer).map_err(End::Socket)?;
    let Some(bytes) = received else { return Ok(None) };
    let placed = most.min(bytes);
    let mut delivered = 0;
    if connection.landed(placed).is_some() {
        delivered = bundle.incoming.landed(from, placed, inbox).map_err(End::Mad)?;
    }
    Ok(Some((delivered, bytes - placed, bytes == room)))
}

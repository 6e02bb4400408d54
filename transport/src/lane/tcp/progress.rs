// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One look at everything: what is ready, what is due, what has ended.
//!
//! Order within a look: what earlier looks left, then what the kernel reports, then deadlines, then
//! losses. A connection is not read while bytes of it are left over, so a peer's messages come in
//! order and its loss after them.
#![forbid(unsafe_code)]

use super::connection::{Connection, Drained, Phase};
use super::connections::ConnectionId;
use super::frame::Control;
use super::link::LinkState;
use super::listen::{AWAIT_TIME, may_call_again};
use super::poll::{self, EVENTS_MAX, Readiness, TIMER};
use super::{EXPECT_BYTES, LISTENER, OTHER_LISTENERS, RECEIVE_BYTES, TcpLane};
use crate::envelope::Peer;
use crate::error::{Error, Kind};
use crate::lane::FINALIZED;
use crate::lane::Inbox;
use crate::lane::directory::{LOOK_UP_PAUSE_MAX, LOOK_UP_PAUSE_MIN};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Reads of one connection in one poll: a long body and the headers before it.
const READS_MAX: usize = 4;
/// Pause between two looks at what is not acknowledged. A kernel may wait 40 ms with its answer.
const FLUSH_PAUSE: Duration = Duration::from_millis(2);
/// How long the last messages of a peer may take whose end the launcher has seen.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl TcpLane {
    /// Delivers up to `budget` messages; returns how many. (A frame over rails may let some more go
    /// that had waited for it: rails/incoming.rs.)
    pub(super) fn progress<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        self.turn = self.turn.wrapping_add(1);
        if self.is_holding() {
            self.release();
        }
        let mut delivered = self.deliver_backlog(inbox, budget);
        for place in self.hot.places() {
            if let Some(id) = self.hot.at(place) {
                let stalled = self.connections.get_mut(id).is_some_and(|c| c.is_stalled());
                let ready = Readiness { read: true, write: stalled };
                delivered += self.attend(id, ready, inbox, budget.saturating_sub(delivered));
            }
        }
        if self.hot.is_look_due() {
            delivered += self.look(inbox, budget.saturating_sub(delivered));
        }
        if self.directory.losses() != self.ends_seen {
            self.look_for_deaths();
        }
        if self.has_deadlines() || self.timer_due.get().is_some() {
            self.meet_deadlines();
        }
        while let Some((peer, error)) = self.losses.pop_front() {
            inbox.lost(peer, error);
            delivered += 1;
        }
        delivered
    }

    /// Asks the kernel what is ready, and attends to that.
    fn look<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        let mut delivered = 0;
        let mut events = [poll::no_event(); EVENTS_MAX];
        let count = self.poller.wait(&mut events);
        for event in &events[..count] {
            match poll::readiness(event) {
                (LISTENER, _) => self.accept(0),
                (token @ OTHER_LISTENERS..LISTENER, _) => self.accept((LISTENER - token) as usize),
                (TIMER, _) => {}
                (token, ready) => {
                    let id = ConnectionId::from_token(token);
                    delivered += self.attend(id, ready, inbox, budget.saturating_sub(delivered));
                }
            }
        }
        delivered
    }

    fn deliver_backlog<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        let mut delivered = 0;
        for _ in 0..self.backlog.len() {
            if delivered == budget {
                break;
            }
            let Some(id) = self.backlog.pop_front() else { break };
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let bytes = connection.take_backlog();
            delivered += self.deliver(id, &bytes, inbox, budget.saturating_sub(delivered));
        }
        delivered
    }

    /// The buffer that all connections receive into; who takes it puts it back.
    pub(super) fn take_receive_buffer(&mut self) -> Vec<u8> {
        let buffer = std::mem::take(&mut self.receive_buffer);
        // Fresh zeroed memory: the kernel gives it page by page, as it is used.
        if buffer.is_empty() { vec![0; RECEIVE_BYTES] } else { buffer }
    }

    fn attend<I: Inbox>(
        &mut self,
        id: ConnectionId,
        ready: Readiness,
        inbox: &mut I,
        budget: usize,
    ) -> usize {
        let Some(connection) = self.connections.get_mut(id) else { return 0 };
        if matches!(connection.phase, Phase::Rail) {
            return self.attend_rail(id, ready, inbox, budget);
        }
        if ready.write && connection.flush(&self.poller) {
            self.settled += 1;
        }
        if !ready.read {
            return 0;
        }
        if connection.is_shaking_hands() {
            self.handshake(id);
            return 0;
        }
        // An exhausted budget leaves the bytes in the kernel, which limits what the peer can send.
        if connection.has_backlog() || budget == 0 {
            return 0;
        }
        let mut buffer = self.take_receive_buffer();
        let mut delivered = 0;
        for _ in 0..READS_MAX {
            let Some(connection) = self.connections.get_mut(id) else { break };
            let limit = if connection.expects_bulk() { EXPECT_BYTES } else { RECEIVE_BYTES };
            match receive(connection, inbox, &mut buffer[..limit]) {
                Ok(None) => break,
                Ok(Some(Received { placed, bytes, more })) => {
                    self.hot.warm(id);
                    delivered += usize::from(placed);
                    let left = budget.saturating_sub(delivered);
                    delivered += self.deliver(id, &buffer[..bytes], inbox, left);
                    // A full buffer of the small size: the body that was expected may follow.
                    if more && limit == EXPECT_BYTES && delivered < budget {
                        continue;
                    }
                    // Nothing is left in the kernel: the burst is over, or pauses.
                    if !more && let Some(connection) = self.connections.get_mut(id) {
                        connection.release_memory();
                    }
                    break;
                }
                Err(errno) => {
                    self.ended(id, errno);
                    break;
                }
            }
        }
        self.receive_buffer = buffer;
        delivered
    }

    /// Delivers what was received; keeps what the budget leaves.
    fn deliver<I: Inbox>(
        &mut self,
        id: ConnectionId,
        mut input: &[u8],
        inbox: &mut I,
        budget: usize,
    ) -> usize {
        let mut delivered = 0;
        while let Some(connection) = self.connections.get_mut(id) {
            match connection.phase {
                Phase::Leaving => break,
                Phase::Rail => {
                    return delivered
                        + self.deliver_rail(id, input, inbox, budget.saturating_sub(delivered));
                }
                _ => {}
            }
            let (count, drained) =
                connection.drain(&mut input, inbox, budget.saturating_sub(delivered));
            delivered += count;
            match drained {
                Drained::Empty => break,
                Drained::Budget => {
                    connection.keep(input);
                    self.backlog.push_back(id);
                    break;
                }
                Drained::Control(control) => self.hear(id, control),
                Drained::Broken(error) => {
                    self.fail(id, error.to_string());
                    break;
                }
            }
        }
        delivered
    }

    fn hear(&mut self, id: ConnectionId, control: Control) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(peer) = connection.peer else { return };
        match (control, &connection.phase) {
            (Control::Welcome, Phase::Proved) if connection.rail.is_some() => {
                let rail = connection.rail.map_or(0, usize::from);
                self.rail_welcomed(peer, rail, id);
            }
            (Control::Decline, Phase::Proved) if connection.rail.is_some() => {
                let rail = connection.rail.map_or(0, usize::from);
                self.rail_declined(peer, rail, id);
            }
            (Control::Welcome, Phase::Proved) => self.open(peer, id),
            (Control::Decline, Phase::Proved) => self.declined(id),
            (Control::Goodbye, Phase::Open) => {
                connection.goodbye_heard = true;
                connection.discard_queue(&self.poller);
                self.depart(peer, id);
            }
            _ => self.fail(id, format!("it sent {control:?} at a time that has no place for it")),
        }
    }

    /// The connection serves its pair from now on.
    pub(super) fn open(&mut self, peer: Peer, id: ConnectionId) {
        let link = self.links.entry(peer.0).or_default();
        if link.state == LinkState::Lost {
            self.close_connection(id);
            return;
        }
        link.state = LinkState::Open(id);
        let is_ours = link.dial == Some(id);
        if is_ours {
            link.dial = None;
        }
        let waiting = std::mem::take(&mut link.waiting);
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.phase = Phase::Open;
        // A bulk message may wait for this with its sender, who tries again.
        self.settled += 1;
        if !waiting.is_empty() {
            connection.adopt(&self.poller, waiting);
        }
        if self.closing {
            self.say_goodbye(id);
        }
    }

    /// Says goodbye on an open connection, once.
    pub(super) fn say_goodbye(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if matches!(connection.phase, Phase::Open) && !connection.goodbye_said {
            connection.goodbye_said = true;
            connection.say(&self.poller, &Control::Goodbye.encode());
        }
    }

    fn depart(&mut self, peer: Peer, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&peer.0)
            && link.state == LinkState::Open(id)
        {
            link.state = LinkState::Departed;
        }
        let refused = self.close_connection(id).is_some_and(|connection| connection.refused);
        if refused {
            self.lose(peer, FINALIZED.into());
        }
    }

    /// Nothing will come from this connection any more.
    pub(super) fn ended(&mut self, id: ConnectionId, errno: Option<Errno>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (address, amid) = (connection.address, connection.is_amid_message());
        let orderly = connection.goodbye_said || connection.goodbye_heard;
        let (peer, phase) = (connection.peer, &connection.phase);
        if let (Some(rail), Some(peer), false) =
            (connection.rail, peer, matches!(phase, Phase::Leaving))
        {
            return self.rail_ended(peer, usize::from(rail), id, errno);
        }
        match (phase, peer) {
            (Phase::Accepted, _) => self.drop_stranger(id),
            (Phase::Challenged(_), Some(peer)) => {
                self.close_connection(id);
                self.reconsider(peer);
            }
            (Phase::Dialing(_), Some(peer)) => {
                self.close_connection(id);
                self.call_failed(peer, id, address, errno);
            }
            (Phase::Proved, Some(peer)) => {
                self.close_connection(id);
                let state = self.links.get(&peer.0).map(|link| link.state);
                if state == Some(LinkState::Dialing(id)) {
                    self.lose(peer, reason_of_end(errno, false));
                }
            }
            (Phase::Open, Some(peer)) if orderly => self.depart(peer, id),
            (Phase::Open, Some(peer)) => self.lose(peer, reason_of_end(errno, amid)),
            _ => {
                self.close_connection(id);
            }
        }
    }

    /// A call ended before the peer answered.
    fn call_failed(
        &mut self,
        peer: Peer,
        id: ConnectionId,
        address: std::net::SocketAddrV4,
        errno: Option<Errno>,
    ) {
        let Some(link) = self.links.get_mut(&peer.0) else { return };
        if link.state != LinkState::Dialing(id) {
            return;
        }
        link.state = LinkState::Idle;
        match errno {
            // Cut off: this process may have been too slow to say hello.
            None | Some(Errno::CONNRESET | Errno::PIPE) if may_call_again(link.attempts) => {
                self.reconsider(peer);
            }
            None => self.lose(peer, format!("at its address {address} calls are cut off")),
            Some(errno) => self.lose(peer, self.unreachable(address, errno)),
        }
    }

    /// A handshake failed: calls (again) if messages wait and nothing else is under way.
    pub(super) fn reconsider(&mut self, peer: Peer) {
        let Some(link) = self.links.get(&peer.0) else { return };
        let idle = matches!(link.state, LinkState::Idle | LinkState::Awaiting);
        if idle && link.incoming.is_none() && !link.waiting.is_empty() {
            self.dial(peer);
        }
    }

    /// An established connection is of no use any more.
    fn fail(&mut self, id: ConnectionId, reason: String) {
        match self.close_connection(id).and_then(|connection| connection.peer) {
            Some(peer) => self.lose(peer, reason),
            None => debug_assert!(false, "frames are read from proved peers only"),
        }
    }

    /// The peer is gone: its connections close, and it will be reported, once.
    #[cold]
    pub(super) fn lose(&mut self, peer: Peer, reason: String) {
        let link = self.links.entry(peer.0).or_default();
        if link.state == LinkState::Lost {
            return;
        }
        let open = match link.state {
            LinkState::Open(id) | LinkState::Dialing(id) => Some(id),
            _ => None,
        };
        link.state = LinkState::Lost;
        link.waiting.clear();
        let ids = [open, link.dial.take(), link.incoming.take()];
        for id in ids.into_iter().flatten() {
            self.close_connection(id);
        }
        self.drop_rails(peer);
        self.losses.push_back((peer, Error::new(Kind::PeerLost { peer, reason })));
    }

    /// Takes a connection out and closes its socket (when the answer is dropped).
    pub(super) fn close_connection(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(id)?;
        self.poller.remove(connection.socket.as_fd());
        if let Some(link) = connection.peer.and_then(|peer| self.links.get_mut(&peer.0)) {
            for place in [&mut link.dial, &mut link.incoming] {
                if *place == Some(id) {
                    *place = None;
                }
            }
        }
        if let (Some(peer), Some(rail)) = (connection.peer, connection.rail) {
            self.forget_rail_call(peer, usize::from(rail), id);
        }
        Some(connection)
    }

    /// The peer has not published its address: looks again later.
    pub(super) fn await_address(&mut self, peer: Peer) {
        self.links.entry(peer.0).or_default().state = LinkState::Unaddressed;
        self.unaddressed.push(peer);
        if self.look_up_at.is_none() {
            self.look_up_pause = LOOK_UP_PAUSE_MIN;
            self.look_up_at = Some(Instant::now() + self.look_up_pause);
            self.set_timer();
        }
    }

    fn has_deadlines(&self) -> bool {
        !self.strangers.is_empty()
            || self.look_up_at.is_some()
            || !self.awaiting.is_empty()
            || self.accept_again_at.is_some()
            || !self.calls.is_empty()
            || !self.dying.is_empty()
            || self.flush_look_at.get().is_some()
            || self.rails.as_ref().is_some_and(|rails| rails.due().is_some())
    }

    /// Wakes a sleeper soon: nothing else does when the last bytes are acknowledged.
    pub(super) fn look_for_acknowledgements(&self) {
        if self.flush_look_at.get().is_none() {
            self.flush_look_at.set(Some(Instant::now() + FLUSH_PAUSE));
            self.set_timer();
        }
    }

    #[cold]
    fn meet_deadlines(&mut self) {
        let now = Instant::now();
        self.cut_strangers(now);
        if self.look_up_at.is_some_and(|at| at <= now) {
            self.look_up_again(now);
        }
        while let Some((at, peer)) = self.awaiting.front().copied()
            && (at <= now || !self.is_awaiting(peer))
        {
            self.awaiting.pop_front();
            self.stop_awaiting(now, peer);
        }
        while let Some((at, id)) = self.calls.front().copied()
            && (at <= now || self.connections.get_mut(id).is_none())
        {
            self.calls.pop_front();
            self.end_call(id);
        }
        if self.accept_again_at.is_some_and(|at| at <= now) {
            self.resume_accepting();
        }
        if self.flush_look_at.get().is_some_and(|at| at <= now) {
            self.flush_look_at.set(None);
            self.settled += 1;
        }
        for (_, peer) in self.dying.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            self.lose(peer, "its process ended".into());
        }
        self.tend_rails(now);
        self.set_timer();
    }

    /// The directory knows of ends. A dead peer with a connection is heard of by that, after all
    /// it sent; one without, or whose host is gone, by this alone.
    #[cold]
    fn look_for_deaths(&mut self) {
        self.ends_seen = self.directory.losses();
        let until = Instant::now() + LAST_WORDS;
        for peer in (0..self.identity.size).map(Peer) {
            let is_known =
                self.links.get(&peer.0).is_some_and(|link| link.state == LinkState::Lost)
                    || self.dying.iter().any(|(_, dying)| *dying == peer);
            if !is_known && self.directory.is_lost(peer) {
                self.dying.push((until, peer));
            }
        }
        self.set_timer();
    }

    fn look_up_again(&mut self, now: Instant) {
        self.look_up_at = None;
        let pause = (self.look_up_pause * 2).min(LOOK_UP_PAUSE_MAX);
        for peer in std::mem::take(&mut self.unaddressed) {
            let state = self.links.get(&peer.0).map(|link| link.state);
            if state == Some(LinkState::Unaddressed) {
                self.dial(peer);
            }
        }
        if self.look_up_at.is_some() {
            self.look_up_pause = pause;
            self.look_up_at = Some(now + pause);
        }
    }

    fn is_awaiting(&self, peer: Peer) -> bool {
        self.links.get(&peer.0).is_some_and(|link| link.state == LinkState::Awaiting)
    }

    fn stop_awaiting(&mut self, now: Instant, peer: Peer) {
        let Some(link) = self.links.get(&peer.0) else { return };
        if link.state != LinkState::Awaiting {
            return;
        }
        if link.incoming.is_some() {
            // It is here and has only to prove itself.
            self.awaiting.push_back((now + AWAIT_TIME, peer));
        } else if may_call_again(link.attempts) {
            self.dial(peer);
        } else {
            self.lose(peer, "it declined every call and never called itself".into());
        }
    }

    /// Sets the timer to the next deadline.
    pub(super) fn set_timer(&self) {
        let strangers = self.strangers.front().map(|(at, _)| *at);
        let awaiting = self.awaiting.front().map(|(at, _)| *at);
        let flush = self.flush_look_at.get();
        let calls = self.calls.front().map(|(at, _)| *at);
        let rails = self.rails.as_ref().and_then(|rails| rails.due());
        let dying = self.dying.first().map(|(at, _)| *at);
        let due = [strangers, awaiting, calls, flush, rails, dying];
        let due = due.into_iter().chain([self.look_up_at, self.accept_again_at]);
        let due = due.flatten().min();
        let expired = self.timer_due.get().is_some_and(|at| at <= Instant::now());
        if due != self.timer_due.get() || expired {
            let delay = due.map(|at| at.saturating_duration_since(Instant::now()));
            // Without a timer deadlines are met whenever somebody polls.
            let _ = self.poller.set_timer(delay);
            self.timer_due.set(due);
        }
    }
}

/// What one read brought.
struct Received {
    /// Some of it went to its place.
    placed: bool,
    /// Bytes in the buffer.
    bytes: usize,
    /// There may be more in the kernel.
    more: bool,
}

/// Receives what has come: what must come next into its place, if it has one, and the rest into
/// `buffer`. `None`: nothing has come.
///
/// # Errors
/// The end of the connection, with its cause if there is one.
fn receive<I: Inbox>(
    connection: &mut Connection,
    inbox: &mut I,
    buffer: &mut [u8],
) -> Result<Option<Received>, Option<Errno>> {
    let awaited = connection.awaited();
    let place = awaited.and_then(|(peer, header)| inbox.place(peer, &header));
    let Some(place) = place else {
        let room = buffer.len();
        let bytes = connection.receive(buffer)?;
        return Ok(bytes.map(|bytes| Received { placed: false, bytes, more: bytes == room }));
    };
    let placed = place.len();
    let room = placed + buffer.len();
    let Some(bytes) = connection.receive_in_place(place, buffer)? else { return Ok(None) };
    let placed = placed.min(bytes);
    if let (Some((peer, _)), Some(piece)) = (awaited, connection.landed(placed)) {
        inbox.placed(peer, &piece);
    }
    Ok(Some(Received { placed: true, bytes: bytes - placed, more: bytes == room }))
}

/// Why a connection without a goodbye ended.
pub(super) fn reason_of_end(errno: Option<Errno>, amid: bool) -> String {
    let within = if amid { " in the middle of a message" } else { "" };
    match errno {
        None => {
            format!("it closed its connection without a goodbye{within}: its process has ended")
        }
        Some(errno) => {
            let text = std::io::Error::from_raw_os_error(errno.raw_os_error());
            format!("its connection broke{within}: {text}")
        }
    }
}

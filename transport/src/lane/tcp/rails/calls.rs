// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opening and losing the connections of a pair with rails.
//!
//! The acceptor of a call over a rail decides, after the proofs:
//!
//! 1. It declines if it calls over that rail itself and has the lower rank, or if the rail is open
//!    and the caller has the higher rank.
//! 2. Otherwise it welcomes. A rail that was open is replaced: the lower rank has lost it.
//!
//! No message is lost or doubled by any of this: what a connection did not bring is sent again.
#![forbid(unsafe_code)]

use super::super::address::Address;
use super::super::auth::Initiator;
use super::super::connection::{Connection, Phase};
use super::super::connections::ConnectionId;
use super::super::frame::Control;
use super::super::link::LinkState;
use super::super::listen::{AWAIT_TIME, CALL_TIME, may_call_again, nonce};
use super::super::{TcpLane, poll};
use super::word::RailWord;
use super::{Bundle, State};
use crate::envelope::Peer;
use crate::lane::directory::LOOK_UP_PAUSE_MAX;
use crate::wire::header::HEADER_BYTES;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long a host may take to accept a call while another rail is open.
const RAIL_CALL_TIME: Duration = Duration::from_secs(5);
/// Pauses between two calls over a rail that is down: the first, and the longest to which each
/// doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a peer must have survived the loss of a rail until that is reported.
const REPORT_PAUSE: Duration = Duration::from_secs(1);
/// Pause before calls that were cut off are made again.
const CUT_OFF_PAUSE: Duration = Duration::from_millis(50);
/// Where the number of the rail is in an attempt.
const RAIL_SHIFT: u32 = 24;

/// The rail over which a call with this attempt comes; `None`: it is an ordinary one.
pub fn rail_of(attempt: u32) -> Option<usize> {
    ((attempt >> RAIL_SHIFT) as usize).checked_sub(1)
}

/// What both ends call a connection: who called, and with which attempt.
fn name(caller_is_lower: bool, attempt: u32) -> u64 {
    u64::from(caller_is_lower) << 32 | u64::from(attempt)
}

impl TcpLane {
    /// Whether a pair has rails: both have several addresses, and share none.
    pub(in super::super) fn has_rails_with(&self, theirs: &Address) -> bool {
        let Some(rails) = &self.rails else { return false };
        let theirs: Vec<_> = theirs.all().collect();
        let shares = |own: &std::net::SocketAddrV4| theirs.iter().any(|at| at.ip() == own.ip());
        theirs.len() > 1 && !rails.own.iter().any(shares)
    }

    pub(super) fn bundle(&mut self, peer: Peer) -> Option<&mut Bundle> {
        self.rails.as_mut()?.bundles.get_mut(&peer.0).map(|bundle| &mut **bundle)
    }

    /// Makes the pair one with rails. What waits for a connection waits there from now on.
    fn bundle_up(&mut self, peer: Peer) {
        let Some(rails) = &mut self.rails else { return };
        let link = self.links.entry(peer.0).or_default();
        link.state = LinkState::Railed;
        let waiting = std::mem::take(&mut link.waiting);
        let new = || Box::new(Bundle::new(&rails.preference));
        let bundle = rails.bundles.entry(peer.0).or_insert_with(new);
        let mut rest = waiting.front();
        while let Some(head) = rest.first_chunk::<HEADER_BYTES>() {
            let body = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let (frame, after) = rest.split_at(HEADER_BYTES + body);
            bundle.accept_waiting(frame);
            rest = after;
        }
    }

    /// Calls a peer over all rails.
    pub(in super::super) fn begin_rails(&mut self, peer: Peer, address: &Address) {
        self.bundle_up(peer);
        self.know_addresses(peer, address);
        self.dial_rails(peer);
    }

    fn know_addresses(&mut self, peer: Peer, address: &Address) {
        if let Some(bundle) = self.bundle(peer) {
            bundle.addresses = address.all().take(bundle.rails.len()).collect();
            bundle.listener = address.listener;
        }
    }

    /// Calls over each rail that is down.
    pub(super) fn dial_rails(&mut self, peer: Peer) {
        let count = self.bundle(peer).map_or(0, |bundle| bundle.addresses.len());
        for rail in 0..count {
            self.dial_rail(peer, rail);
        }
        self.judge_rails(peer);
        self.note_due(peer);
    }

    /// Calls over a rail that is down.
    pub(super) fn dial_rail(&mut self, peer: Peer, rail: usize) {
        let Some(bundle) = self.bundle(peer) else { return };
        let address = bundle.addresses.get(rail).copied();
        let (listener, Some(address)) = (bundle.listener, address) else { return };
        let this = &mut bundle.rails[rail];
        if this.state != State::Down {
            return;
        }
        this.retry_at = None;
        let link = self.links.entry(peer.0).or_default();
        link.attempts += 1;
        let attempt = (rail as u32 + 1) << RAIL_SHIFT | link.attempts & ((1 << RAIL_SHIFT) - 1);
        let Ok(nonce) = nonce() else { return self.call_over_rail_failed(peer, rail, None) };
        let initiator = Initiator::new(&self.identity, peer.0, attempt, &listener, nonce);
        let hello = *initiator.hello();
        let own = self.rails.as_ref().and_then(|rails| rails.own.get(rail)).map(|own| *own.ip());
        let socket = match self.connect(own, address) {
            Ok(socket) => socket,
            Err(errno) => return self.call_over_rail_failed(peer, rail, Some(errno)),
        };
        let phase = Phase::Dialing(Box::new(initiator));
        let id = self.connections.insert(|id| Connection::new(id, socket, address, phase));
        let lower = self.identity.rank < peer.0;
        if let Some(bundle) = self.bundle(peer) {
            let time = if bundle.is_open() { RAIL_CALL_TIME } else { CALL_TIME };
            bundle.rails[rail].state = State::Dialing(id, Instant::now() + time);
            bundle.rails[rail].name = name(lower, attempt);
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.peer = Some(peer);
            connection.rail = Some(rail as u8);
        }
        self.register(id);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.say(&self.poller, &hello);
        }
    }

    /// A hello over a rail came. Whether it may go on.
    pub(in super::super) fn hear_rail_hello(
        &mut self,
        peer: Peer,
        attempt: u32,
        id: ConnectionId,
    ) -> bool {
        let state = self.links.get(&peer.0).map(|link| link.state);
        let (Some(rails), Some(rail)) = (&self.rails, rail_of(attempt)) else { return false };
        let is_plain = matches!(state, Some(LinkState::Open(_) | LinkState::Dialing(_)));
        if rail >= rails.own.len() || is_plain {
            return false;
        }
        if !matches!(state, Some(LinkState::Lost | LinkState::Departed | LinkState::Railed)) {
            self.bundle_up(peer);
        }
        // The peer's calls are counted over all rails: a recorded hello to a pair that is gone is
        // known by that. Another one is heard, and declined.
        let number = attempt & ((1 << RAIL_SHIFT) - 1);
        let heard = &mut self.links.entry(peer.0).or_default().heard;
        let is_new = number > *heard;
        *heard = number.max(*heard);
        let Some(bundle) = self.bundle(peer) else { return is_new };
        let this = &mut bundle.rails[rail];
        if attempt <= this.heard {
            return false;
        }
        this.heard = attempt;
        let older = this.incoming.replace(id);
        if let Some(older) = older {
            self.close_connection(older);
        }
        true
    }

    /// The caller of a rail has proved itself.
    pub(in super::super) fn rail_proved(&mut self, peer: Peer, attempt: u32, id: ConnectionId) {
        let lower = peer.0 < self.identity.rank;
        let rail = rail_of(attempt).unwrap_or(usize::MAX);
        let this = self.bundle(peer).and_then(|bundle| bundle.rails.get_mut(rail));
        let welcome = this.is_some_and(|this| {
            this.incoming = None;
            match this.state {
                State::Down => true,
                State::Dialing(..) | State::Open(_) => lower,
            }
        });
        if !welcome {
            return self.decline(id);
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.say(&self.poller, &Control::Welcome.encode());
        }
        self.open_rail(peer, rail, id, name(lower, attempt));
    }

    /// Our call was welcomed.
    pub(in super::super) fn rail_welcomed(&mut self, peer: Peer, rail: usize, id: ConnectionId) {
        let this = self.bundle(peer).and_then(|bundle| bundle.rails.get(rail));
        match this.map(|this| (this.state, this.name)) {
            Some((State::Dialing(dialing, _), name)) if dialing == id => {
                self.open_rail(peer, rail, id, name);
            }
            _ => {
                self.close_connection(id);
            }
        }
    }

    fn open_rail(&mut self, peer: Peer, rail: usize, id: ConnectionId, name: u64) {
        let (closing, lower) = (self.closing, self.identity.rank < peer.0);
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.phase = Phase::Rail;
        connection.rail = Some(rail as u8);
        let Some(bundle) = self.bundle(peer) else { return };
        let this = &mut bundle.rails[rail];
        let old = std::mem::replace(&mut this.state, State::Open(id));
        this.name = name;
        (this.retry_at, this.outstanding_since) = (None, None);
        this.pause = PAUSE_MIN;
        bundle.again_at = None;
        bundle.out.opened(rail);
        bundle.incoming.restart(rail);
        let acknowledgement = bundle.incoming.acknowledgement();
        bundle.out.say(rail, acknowledgement);
        if lower {
            for other in &mut bundle.rails {
                if other.state == State::Down && other.retry_at.is_none() {
                    other.pause = PAUSE_MIN;
                    other.retry_at = Some(Instant::now() + PAUSE_MIN);
                }
            }
        }
        if closing && !bundle.goodbye_said {
            bundle.say_goodbye();
        }
        if let State::Open(old) = old {
            self.close_connection(old);
        }
        self.settled += 1;
        self.pump(peer);
        self.note_due(peer);
    }

    /// A connection over a rail has ended.
    pub(in super::super) fn rail_ended(
        &mut self,
        peer: Peer,
        rail: usize,
        id: ConnectionId,
        errno: Option<Errno>,
    ) {
        self.close_connection(id);
        let Some(bundle) = self.bundle(peer) else { return };
        match bundle.rails[rail].state {
            State::Dialing(dialing, _) if dialing == id => {
                self.call_over_rail_failed(peer, rail, errno);
            }
            State::Open(open) if open == id => {
                let reason = super::super::progress::reason_of_end(errno, false);
                self.rail_broke(peer, rail, reason, false);
            }
            _ => self.reconsider_rails(peer),
        }
        self.note_due(peer);
    }

    /// Messages wait, no rail is open, and nobody calls (any more): calls.
    #[cold]
    pub(super) fn reconsider_rails(&mut self, peer: Peer) {
        let Some(bundle) = self.bundle(peer) else { return };
        if bundle.is_idle() && bundle.again_at.is_none() && !bundle.out.is_written() {
            self.dial_again(peer);
        }
    }

    /// Calls over all rails, if the peer's addresses are known; else looks for them again later.
    pub(super) fn dial_again(&mut self, peer: Peer) {
        self.learn_addresses(peer);
        let attempts = self.links.get(&peer.0).map_or(0, |link| link.attempts);
        let Some(bundle) = self.bundle(peer) else { return };
        if bundle.addresses.is_empty() {
            bundle.again_at = Some(Instant::now() + LOOK_UP_PAUSE_MAX);
            return self.note_due(peer);
        }
        if !may_call_again(attempts / bundle.rails.len().max(1) as u32) {
            return self.lose(peer, "it declined every call and never called itself".into());
        }
        self.dial_rails(peer);
    }

    /// The call over a rail was declined: the peer's own is under way, or here already.
    pub(in super::super) fn rail_declined(&mut self, peer: Peer, rail: usize, id: ConnectionId) {
        self.close_connection(id);
        let Some(bundle) = self.bundle(peer) else { return };
        if let State::Dialing(dialing, _) = bundle.rails[rail].state
            && dialing == id
        {
            bundle.rails[rail].state = State::Down;
            if !bundle.is_open() {
                bundle.again_at = Some(Instant::now() + AWAIT_TIME);
            }
            self.plan_retry(peer, rail);
            self.note_due(peer);
        }
    }

    /// A call over a rail has had its time. A peer that was reached, and computes, is waited for.
    pub(super) fn end_rail_call(&mut self, peer: Peer, rail: usize, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let is_reached = rustix::net::getpeername(&connection.socket).is_ok()
            && poll::unacknowledged_bytes(connection.socket.as_fd()) == 0;
        match self.bundle(peer) {
            Some(bundle) if is_reached => {
                bundle.rails[rail].state = State::Dialing(id, Instant::now() + RAIL_CALL_TIME);
            }
            _ => self.rail_ended(peer, rail, id, Some(Errno::TIMEDOUT)),
        }
    }

    /// Somebody else than the peer answered the call over a rail.
    pub(in super::super) fn rail_refused(&mut self, peer: Peer, rail: usize, reason: String) {
        self.plan_retry(peer, rail);
        if let Some(bundle) = self.bundle(peer) {
            bundle.first_error.get_or_insert(reason);
        }
        self.judge_rails(peer);
        self.note_due(peer);
    }

    /// A connection that is closed is no call of the peer any more.
    pub(in super::super) fn forget_rail_call(&mut self, peer: Peer, rail: usize, id: ConnectionId) {
        let this = self.bundle(peer).and_then(|bundle| bundle.rails.get_mut(rail));
        if let Some(this) = this
            && this.incoming == Some(id)
        {
            this.incoming = None;
        }
    }

    /// The rail will be called again, if that is ours to do.
    fn plan_retry(&mut self, peer: Peer, rail: usize) {
        let lower = self.identity.rank < peer.0;
        let Some(bundle) = self.bundle(peer) else { return };
        let this = &mut bundle.rails[rail];
        this.state = State::Down;
        if lower {
            let pause = this.pause.max(PAUSE_MIN);
            this.retry_at = Some(Instant::now() + pause);
            this.pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// `None`: it was cut off, because this process or the peer was too slow, or has ended.
    pub(super) fn call_over_rail_failed(&mut self, peer: Peer, rail: usize, errno: Option<Errno>) {
        self.plan_retry(peer, rail);
        let attempts = self.links.get(&peer.0).map_or(0, |link| link.attempts);
        let Some(bundle) = self.bundle(peer) else { return };
        let address = bundle.addresses.get(rail).copied();
        let calls = attempts / bundle.rails.len().max(1) as u32;
        let is_cut_off = matches!(errno, None | Some(Errno::CONNRESET | Errno::PIPE));
        if is_cut_off && !bundle.is_open() && may_call_again(calls) {
            bundle.again_at = Some(Instant::now() + CUT_OFF_PAUSE);
        }
        let Some(address) = address else { return };
        let reason = match errno {
            None => format!("at its address {address} calls are cut off"),
            Some(errno) => self.unreachable(address, errno),
        };
        if let Some(bundle) = self.bundle(peer) {
            bundle.first_error.get_or_insert(reason);
        }
        self.judge_rails(peer);
    }

    /// No rail is open and none is going to be: the peer is lost.
    fn judge_rails(&mut self, peer: Peer) {
        let Some(bundle) = self.bundle(peer) else { return };
        if bundle.is_idle() && bundle.again_at.is_none() && bundle.first_error.is_some() {
            let reason = bundle.first_error.take().unwrap_or_default();
            self.lose(peer, reason);
        }
    }

    /// The connection of an open rail is gone; the others take over, if there are any. `is_silent`:
    /// the peer may not know.
    pub(super) fn rail_broke(&mut self, peer: Peer, rail: usize, reason: String, is_silent: bool) {
        let Some(bundle) = self.bundle(peer) else { return };
        bundle.out.closed(rail);
        bundle.incoming.restart(rail);
        bundle.rails[rail].outstanding_since = None;
        let name = bundle.rails[rail].name;
        let orderly = bundle.goodbye_said;
        self.plan_retry(peer, rail);
        let Some(bundle) = self.bundle(peer) else { return };
        if !bundle.is_open() {
            return if orderly { self.depart_rails(peer) } else { self.lose(peer, reason) };
        }
        if is_silent {
            for other in 0..bundle.rails.len() {
                bundle.out.say(other, RailWord::Down { rail: rail as u32, name });
            }
        }
        // What was said of this kind may have been lost with the rail.
        if let Some(primary) = bundle.out.primary() {
            let acknowledgement = bundle.incoming.acknowledgement();
            bundle.out.say(primary, acknowledgement);
        }
        self.plan_report(peer, rail, &reason);
        self.pump(peer);
        self.note_due(peer);
    }

    /// Says once for each rail that it failed: nothing else shows it. It is not said of a peer that
    /// turns out to be lost or to have ended.
    fn plan_report(&mut self, peer: Peer, rail: usize, reason: &str) {
        let Some(rails) = &mut self.rails else { return };
        let (Some(own), Some(bundle)) = (rails.own.get(rail), rails.bundles.get_mut(&peer.0))
        else {
            return;
        };
        if rails.reported[rail] || bundle.report.is_some() {
            return;
        }
        let line = format!(
            "strait: rank {} on {} lost its connection to rank {} over {}: {reason}; it goes on \
             over another interface",
            self.identity.rank,
            self.host,
            peer.0,
            own.ip()
        );
        bundle.report = Some((Instant::now() + REPORT_PAUSE, rail, line));
    }

    /// Says it, if nobody did meanwhile.
    pub(super) fn report_rail(&mut self, peer: Peer, now: Instant) {
        let Some(bundle) = self.bundle(peer) else { return };
        let Some((_, rail, line)) = bundle.report.take_if(|report| report.0 <= now) else { return };
        let Some(rails) = &mut self.rails else { return };
        let is_known = std::mem::replace(&mut rails.reported[rail], true);
        if !is_known && !self.closing {
            (self.report)(&line);
        }
    }

    /// The peer has said goodbye, or we have and it is gone.
    pub(super) fn depart_rails(&mut self, peer: Peer) {
        if let Some(link) = self.links.get_mut(&peer.0)
            && link.state == LinkState::Railed
        {
            link.state = LinkState::Departed;
        }
        self.drop_rails(peer);
    }

    /// Closes all connections of a pair with rails.
    pub(in super::super) fn drop_rails(&mut self, peer: Peer) {
        let Some(rails) = &mut self.rails else { return };
        let Some(bundle) = rails.bundles.remove(&peer.0) else { return };
        for id in bundle.connections() {
            // One that is left by words stays until these are read.
            let is_leaving =
                self.connections.get_mut(id).is_some_and(|c| matches!(c.phase, Phase::Leaving));
            if !is_leaving {
                self.close_connection(id);
            }
        }
    }

    /// Looks for the peer's addresses, if they are not known.
    pub(super) fn learn_addresses(&mut self, peer: Peer) {
        if self.bundle(peer).is_none_or(|bundle| !bundle.addresses.is_empty()) {
            return;
        }
        if let Some(address) = self.directory.lookup(peer).and_then(|blob| Address::decode(&blob)) {
            self.know_addresses(peer, &address);
        }
    }
}

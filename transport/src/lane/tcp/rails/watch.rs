// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rails that have gone silent, and all else about rails that happens at some time.
//!
//! The kernel alone notices after a quarter of an hour that nothing comes back. Here a rail is
//! silent if its kernel has bytes that were not acknowledged for [`SILENCE`] although it sent them
//! again, or asked for room, twice in vain. A peer that only computes is not silent: its kernel
//! acknowledges, and answers who asks for room in a closed window.
#![forbid(unsafe_code)]

use super::super::TcpLane;
use super::super::poll::{self, Signs};
use super::State;
use crate::envelope::Peer;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long nothing may be acknowledged: three retransmissions of a kernel that begins with 200 ms.
const SILENCE: Duration = Duration::from_secs(3);
/// Pause between two looks, while bytes are outstanding.
const WATCH_PAUSE: Duration = Duration::from_millis(500);
/// Repetitions in vain, so that a kernel which sends seldom is not thought dead.
const REPEATED_MIN: u8 = 2;

/// How a rail is, as the kernel sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Health {
    /// Nothing is outstanding.
    Idle,
    /// Something is, and that is no reason to worry.
    Busy,
    Silent,
}

/// Judges a rail on which bytes are outstanding since `since`.
fn health(signs: Signs, since: Option<Instant>, now: Instant) -> Health {
    let Some(since) = since.filter(|_| signs.unacknowledged > 0) else { return Health::Idle };
    let without = signs.since_acknowledgement.min(now.saturating_duration_since(since));
    let repeated = signs.retransmits.max(signs.probes);
    if without >= SILENCE && repeated >= REPEATED_MIN { Health::Silent } else { Health::Busy }
}

impl TcpLane {
    /// Something was written: from now on it is watched.
    pub(super) fn begin_watch(&mut self, peer: Peer) {
        if let Some(bundle) = self.bundle(peer) {
            bundle.watch_at = Some(Instant::now() + WATCH_PAUSE);
        }
        self.note_due(peer);
    }

    /// The deadlines of a pair may have changed.
    pub(super) fn note_due(&mut self, peer: Peer) {
        let Some(rails) = &self.rails else { return };
        let Some(due) = rails.bundles.get(&peer.0).and_then(|bundle| bundle.next_due()) else {
            return;
        };
        if rails.due.get().is_none_or(|at| due < at) {
            rails.due.set(Some(due));
            self.set_timer();
        }
    }

    /// Does what is due.
    pub(in super::super) fn tend_rails(&mut self, now: Instant) {
        let Some(rails) = &self.rails else { return };
        if rails.due.get().is_none_or(|at| at > now) {
            return;
        }
        rails.due.set(None);
        let peers: Vec<Peer> = rails.bundles.keys().map(|rank| Peer(*rank)).collect();
        for peer in peers {
            self.tend_pair(peer, now);
            self.note_due(peer);
        }
    }

    fn tend_pair(&mut self, peer: Peer, now: Instant) {
        self.learn_addresses(peer);
        self.report_rail(peer, now);
        let Some(bundle) = self.bundle(peer) else { return };
        if bundle.again_at.is_some_and(|at| at <= now) {
            bundle.again_at = None;
            if !bundle.is_open() {
                self.dial_again(peer);
            }
        }
        let count = self.bundle(peer).map_or(0, |bundle| bundle.rails.len());
        for rail in 0..count {
            let Some(bundle) = self.bundle(peer) else { return };
            let has_address = bundle.addresses.is_empty() || rail < bundle.addresses.len();
            let this = &mut bundle.rails[rail];
            match this.state {
                State::Dialing(id, until) if until <= now => {
                    self.end_rail_call(peer, rail, id);
                }
                State::Down if this.retry_at.is_some_and(|at| at <= now) => {
                    // While the peer's addresses are not known, that is looked at again.
                    this.retry_at = has_address.then(|| now + WATCH_PAUSE);
                    self.dial_rail(peer, rail);
                }
                _ => {}
            }
        }
        if self.bundle(peer).is_some_and(|bundle| bundle.watch_at.is_some_and(|at| at <= now)) {
            self.watch_rails(peer, now);
        }
    }

    /// Gives up the rails that are silent, as long as another one is not.
    fn watch_rails(&mut self, peer: Peer, now: Instant) {
        let Some(rails) = &mut self.rails else { return };
        let Some(bundle) = rails.bundles.get_mut(&peer.0) else { return };
        let mut found = Vec::new();
        for (rail, this) in bundle.rails.iter_mut().enumerate() {
            let State::Open(id) = this.state else { continue };
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let signs = poll::signs(connection.socket.as_fd());
            if signs.unacknowledged == 0 {
                this.outstanding_since = None;
            } else {
                this.outstanding_since.get_or_insert(now);
            }
            found.push((rail, id, health(signs, this.outstanding_since, now)));
        }
        let is_quiet = found.iter().all(|(_, _, health)| *health == Health::Idle);
        bundle.watch_at = (!is_quiet).then(|| now + WATCH_PAUSE);
        if found.iter().all(|(_, _, health)| *health == Health::Silent) {
            return;
        }
        for (rail, id, _) in found.into_iter().filter(|(_, _, health)| *health == Health::Silent) {
            if let Some(connection) = self.connections.get_mut(id) {
                // What the kernel still has comes again over another rail: it is dropped.
                poll::drop_unsent(connection.socket.as_fd());
            }
            self.close_connection(id);
            let seconds = SILENCE.as_secs();
            let reason = format!("nothing was acknowledged for {seconds} s");
            self.rail_broke(peer, rail, reason, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_does_not_answer_is_silent() {
        let now = Instant::now() + Duration::from_secs(100);
        let since = |seconds| Some(now - Duration::from_secs(seconds));
        let signs = |unacknowledged, seconds, retransmits, probes| Signs {
            unacknowledged,
            since_acknowledgement: Duration::from_secs(seconds),
            retransmits,
            probes,
        };
        assert_eq!(health(signs(0, 90, 5, 5), None, now), Health::Idle);
        assert_eq!(health(signs(9, 90, 3, 0), since(4), now), Health::Silent);
        assert_eq!(health(signs(9, 90, 0, 2), since(4), now), Health::Silent);
        // It was idle for long, and has just been written to.
        assert_eq!(health(signs(9, 90, 3, 0), since(1), now), Health::Busy);
        // A slow link, and one that was heard a moment ago.
        assert_eq!(health(signs(9, 90, 1, 0), since(4), now), Health::Busy);
        assert_eq!(health(signs(9, 1, 3, 0), since(90), now), Health::Busy);
        // A window that stays closed: each question is answered, however seldom they are.
        assert_eq!(health(signs(9, 100, 0, 1), since(90), now), Health::Busy);
    }
}

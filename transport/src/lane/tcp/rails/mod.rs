// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Several connections for one pair of processes on different hosts, each over another network
//! interface: a *rail*. Long messages use all of them, and when one breaks the others go on.
//!
//! ```text
//!   worker --frames--> Outgoing --bytes--> socket of rail 0 --> Incoming --frames--> worker
//!                         '-----bytes--> socket of rail 1 -->----'
//!                         <------------- acknowledgements ---------
//! ```
//!
//! Invariants:
//! 1. A pair has rails if both processes listen on several addresses and share none of them. Both
//!    know that from each other's published addresses; all other pairs know nothing of this module.
//! 2. Each rail is authenticated like any connection (auth.rs), and its number is under the hello's
//!    tag: it is the upper byte of the attempt, plus one.
//! 3. Whoever speaks first calls over all rails. After that the lower rank alone calls, so that two
//!    calls never take a rail from each other.
//! 4. A rail that does not answer is given up only while another one does. What ends the last one
//!    is the loss of the peer, as with one connection.
//!
//! Not here: what goes where and comes once (outgoing.rs, incoming.rs), connecting (calls.rs),
//! reading and writing (traffic.rs), silence (watch.rs), which rail is near (near.rs).
#![forbid(unsafe_code)]

mod calls;
pub mod incoming;
pub mod near;
pub mod outgoing;
mod share;
#[cfg(test)]
mod tests;
mod traffic;
mod watch;
pub mod word;

pub use calls::rail_of;

use super::auth::ListenerId;
use super::connections::ConnectionId;
use crate::lane::by_rank::ByRank;
use incoming::Incoming;
use outgoing::Outgoing;
use std::cell::Cell;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Rails of a pair at most: the acknowledgement has a word for each.
pub const RAILS_MAX: usize = 4;
/// Body of a frame that comes in pieces at most: the unit that is spread over rails and kept.
pub const CHUNK_BYTES_MAX: usize = super::FRAGMENT_BYTES_MAX;
/// Data frames that are kept for a peer at most, and bytes of them: four rails' worth.
pub const CHUNKS_MAX: usize = 256;
pub const DATA_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Data of one rail that are not acknowledged at most: 1.6 ms of a 10 Gbit/s link, so that a slow
/// rail does not take what a fast one would have brought.
const RAIL_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of other frames that are kept for a peer at most: the largest eager grant.
pub const ORDERED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// An acknowledgement is sent after so many bytes, or frames: an eighth of what the sender keeps of
/// one rail, a quarter of its frames.
const ACKNOWLEDGE_BYTES: usize = 256 * 1024;
const ACKNOWLEDGE_FRAMES: usize = 64;
/// ... or after so many when nothing more comes: what a pair keeps that is quiet is less.
const REMAINDER_BYTES: usize = 64 * 1024;
/// Buffers of data frames that are kept for the next ones while more than [`REMAINDER_BYTES`] are
/// under way.
const SPARE_MAX: usize = 16;

/// Where a rail is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// There is no connection.
    #[default]
    Down,
    /// We are calling, until then.
    Dialing(ConnectionId, Instant),
    /// The connection of the rail.
    Open(ConnectionId),
}

/// One rail of a pair, seen from here.
#[derive(Default)]
struct Rail {
    state: State,
    /// The peer's call, until it has proved itself.
    incoming: Option<ConnectionId>,
    /// The highest attempt of the peer's calls over this rail.
    heard: u32,
    /// What both ends call the connection.
    name: u64,
    /// When to call again, and the pause after that.
    retry_at: Option<Instant>,
    pause: Duration,
    /// Since when the kernel has bytes that the other one did not acknowledge.
    outstanding_since: Option<Instant>,
}

/// A pair with rails.
struct Bundle {
    out: Outgoing,
    incoming: Incoming,
    rails: Vec<Rail>,
    /// Where the peer listens, rail by rail; empty while that is not known.
    addresses: Vec<SocketAddrV4>,
    listener: ListenerId,
    goodbye_said: bool,
    /// Something was refused for want of room.
    was_full: bool,
    /// All our calls were declined, or cut off: when to call again.
    again_at: Option<Instant>,
    /// When to look whether the rails are silent.
    watch_at: Option<Instant>,
    /// Why the first call failed.
    first_error: Option<String>,
    /// The loss of a rail that is to be reported, and when.
    report: Option<(Instant, usize, String)>,
}

impl Bundle {
    fn new(preference: &[u8]) -> Bundle {
        Bundle {
            out: Outgoing::new(preference.to_vec()),
            incoming: Incoming::default(),
            rails: preference.iter().map(|_| Rail::default()).collect(),
            addresses: Vec::new(),
            listener: ListenerId::default(),
            goodbye_said: false,
            was_full: false,
            again_at: None,
            watch_at: None,
            first_error: None,
            report: None,
        }
    }

    fn is_open(&self) -> bool {
        self.rails.iter().any(|rail| matches!(rail.state, State::Open(_)))
    }

    /// Nothing is under way that could open a rail.
    fn is_idle(&self) -> bool {
        self.rails.iter().all(|rail| rail.state == State::Down && rail.incoming.is_none())
    }

    fn connections(&self) -> Vec<ConnectionId> {
        let of = |rail: &Rail| {
            let own = match rail.state {
                State::Down => None,
                State::Dialing(id, _) | State::Open(id) => Some(id),
            };
            [own, rail.incoming]
        };
        self.rails.iter().flat_map(of).flatten().collect()
    }

    fn next_due(&self) -> Option<Instant> {
        let of = |rail: &Rail| match rail.state {
            State::Dialing(_, until) => Some(until),
            State::Down => rail.retry_at,
            State::Open(_) => None,
        };
        let rails = self.rails.iter().filter_map(of);
        let report = self.report.as_ref().map(|report| report.0);
        rails.chain(self.again_at).chain(self.watch_at).chain(report).min()
    }
}

/// What a lane that listens on several addresses has besides.
pub struct Rails {
    /// Where it listens, rail by rail.
    own: Vec<SocketAddrV4>,
    /// The sockets of all but the first.
    listeners: Vec<OwnedFd>,
    /// The rails, nearest first.
    preference: Vec<u8>,
    bundles: ByRank<Box<Bundle>>,
    due: Cell<Option<Instant>>,
    /// Rails whose failure was reported.
    reported: [bool; RAILS_MAX],
}

impl Rails {
    /// Rails over these addresses; the socket of the first is the lane's own.
    pub fn new(own: Vec<SocketAddrV4>, listeners: Vec<OwnedFd>, preference: Vec<u8>) -> Rails {
        let (bundles, due) = (ByRank::default(), Cell::new(None));
        Rails { own, listeners, preference, bundles, due, reported: [false; RAILS_MAX] }
    }

    /// The next deadline.
    pub fn due(&self) -> Option<Instant> {
        self.due.get()
    }

    /// The listening sockets besides the lane's own.
    pub fn listeners(&self) -> &[OwnedFd] {
        &self.listeners
    }

    /// Whether messages wait for a connection.
    pub fn is_connecting(&self) -> bool {
        self.bundles.values().any(|bundle| !bundle.is_open() && !bundle.out.is_written())
    }

    /// Whether all that was accepted has left, and all that must be has been acknowledged.
    pub fn is_flushed(&self) -> bool {
        self.bundles.values().all(|bundle| {
            bundle.out.is_written() && (!bundle.goodbye_said || bundle.out.is_acknowledged())
        })
    }
}

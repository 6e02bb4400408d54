// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a message says of itself and what a receive accepts: 32 bits each for context, source, tag.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Index of a peer (another process's worker) in a worker's endpoint table.
/// The peers `0..size` are the processes of the job, host by host; more may be added later.
///
/// Written in a text, it is the number that the user knows it by: its rank in the job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Peer(pub u32);

/// The names of peers, where they are not their numbers.
static NAMES: OnceLock<Box<dyn Fn(Peer) -> u32 + Send + Sync>> = OnceLock::new();

/// From now on texts of this process name peers so. Only the first call counts: a process is in one
/// job.
pub(crate) fn name_peers(name: Box<dyn Fn(Peer) -> u32 + Send + Sync>) {
    let _ = NAMES.set(name);
}

/// The first peer that is no process of this job, and the ranks of such peers in their own jobs.
static OUTSIDE: OnceLock<(u32, Mutex<Vec<u32>>)> = OnceLock::new();

/// From now on texts name this peer by its rank in its own job, which begins behind `size` peers of
/// ours.
pub(crate) fn name_outsider(size: u32, peer: Peer, rank: u32) {
    let (first, ranks) = OUTSIDE.get_or_init(|| (size, Mutex::default()));
    let mut ranks = ranks.lock().unwrap_or_else(PoisonError::into_inner);
    let place = (peer.0 - first) as usize;
    if place >= ranks.len() {
        ranks.resize(place + 1, 0);
    }
    ranks[place] = rank;
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((first, ranks)) = OUTSIDE.get()
            && let Some(place) = self.0.checked_sub(*first)
        {
            let ranks = ranks.lock().unwrap_or_else(PoisonError::into_inner);
            let rank = ranks.get(place as usize).copied().unwrap_or(self.0);
            return write!(f, "{rank} of another job");
        }
        NAMES.get().map_or(self.0, |name| name(*self)).fmt(f)
    }
}

/// What a message says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Envelope {
    /// Communication context: messages never match across contexts.
    pub context: u32,
    /// The sender as the receiver knows it (its rank in the group of the context).
    pub source: u32,
    /// User's tag.
    pub tag: u32,
}

/// In a [`Pattern`]: any source, or any tag. No envelope may carry this value.
pub const ANY: u32 = u32::MAX;

/// What a receive accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pattern {
    /// The context, always exact.
    pub context: u32,
    /// A source, or [`ANY`].
    pub source: u32,
    /// A tag, or [`ANY`].
    pub tag: u32,
}

impl Pattern {
    /// Whether a message with this envelope may be received by this pattern.
    #[inline]
    pub fn accepts(&self, envelope: &Envelope) -> bool {
        self.context == envelope.context
            && (self.source == ANY || self.source == envelope.source)
            && (self.tag == ANY || self.tag == envelope.tag)
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes of other jobs, which a worker is introduced to while it runs: they follow those of its
//! own job in the table of peers, and are reached over TCP (docs/dynamic-processes.md).
//!
//! Invariants:
//! 1. A process is introduced to all who will talk to it, and they to it, before anybody talks:
//!    an introduction has a name and a key of its own, so that no job gives its key away.
//! 2. Who was introduced stays in the table; another introduction of the same process is another
//!    way to prove who it is, and no other peer.
#![forbid(unsafe_code)]

use crate::envelope::Peer;
use crate::error::{Error, Kind, Result};

/// A process of another job, as an introduction names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outsider {
    /// Its place in the introduction.
    pub place: u32,
    /// What this process calls it.
    pub peer: Peer,
    /// Its rank in its own job, for people.
    pub rank: u32,
    /// Where it listens: what its [`crate::worker::Worker::open_to_others`] answered.
    pub address: Vec<u8>,
    /// Whether it comes before this process in an order that both know: of two calls of a pair that
    /// of the former wins.
    pub precedes: bool,
}

/// Several processes that learn of each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introduction {
    /// Its name, random.
    pub name: [u8; 16],
    /// What its members prove to each other that they know.
    pub key: [u8; 32],
    /// The place of this process.
    pub me: u32,
    /// Places.
    pub size: u32,
    /// Those of other jobs.
    pub outsiders: Vec<Outsider>,
}

/// Random bytes: names and keys of introductions.
///
/// # Errors
/// The system gives none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(Kind::Bootstrap(format!("the system gives no random bytes: {error}")))
    })?;
    Ok(bytes)
}

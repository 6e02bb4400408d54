// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A peer as the lane sees it: whether there is a connection, and what waits for one.
#![forbid(unsafe_code)]

use super::connections::ConnectionId;
use super::send_queue::SendQueue;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Where the pair is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkState {
    /// Nothing was done yet, or the peer's own call is awaited.
    #[default]
    Idle,
    /// A message waits; the peer's address is not published yet.
    Unaddressed,
    /// We are connecting.
    Dialing(ConnectionId),
    /// Ours was declined: the peer's is under way.
    Awaiting,
    /// The connection of the pair.
    Open(ConnectionId),
    /// The peer said goodbye.
    Departed,
    /// The peer is gone, and that has been or will be reported.
    Lost,
}

/// One peer.
#[derive(Default)]
pub struct Link {
    /// Where the pair is.
    pub state: LinkState,
    /// Messages that were accepted before there was a connection.
    pub waiting: SendQueue,
    /// Our call, as long as it is open: also one that lost against the peer's.
    pub dial: Option<ConnectionId>,
    /// The peer's call, until it proved itself.
    pub incoming: Option<ConnectionId>,
    /// Our hellos so far.
    pub attempts: u32,
    /// The highest attempt of the peer that was heard: a recorded hello is not higher.
    pub heard: u32,
}

/// The peers with which there was any contact, by rank.
pub type Links = HashMap<u32, Link, BuildHasherDefault<RankHasher>>;

/// Ranks are small numbers that nobody can choose to our harm: one multiplication spreads them.
#[derive(Default)]
pub struct RankHasher(u64);

impl Hasher for RankHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, rank: u32) {
        self.0 = (self.0 ^ u64::from(rank)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which peer is which rank of a shape.
#![forbid(unsafe_code)]

use crate::shape::Rank;
use strait_transport::envelope::Peer;
use strait_transport::peers::Peers;

/// The peers of a call, in rank order (two groups: the first one's, then the second one's).
#[derive(Clone, Debug)]
pub struct Group {
    /// Rank -> peer.
    pub peers: Peers,
    /// This process's rank.
    pub me: Rank,
}

impl Group {
    /// The peer of a rank, which is within the group.
    pub fn peer(&self, rank: Rank) -> Peer {
        self.peers.at(rank as usize)
    }
}

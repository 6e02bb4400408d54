// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the addresses of the other processes come from.
//!
//! A process publishes one blob, before it makes its first connection; who wants to reach it looks
//! the blob up, as often as it takes until it is there. Its first byte says which lane wrote it
//! (tcp/address.rs, ofi/blob.rs). No names are resolved anywhere.
#![forbid(unsafe_code)]

use crate::bootstrap::{Job, keyspace};
use crate::envelope::Peer;
use crate::node::Node;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Pauses between two looks for an address that is not there yet: the first, and the longest, to
/// which each doubles.
pub(super) const LOOK_UP_PAUSE_MIN: Duration = Duration::from_micros(200);
pub(super) const LOOK_UP_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Publishes this process's address blob, finds those of others.
pub trait Directory: Send {
    /// Makes `bytes` the blob of this process.
    fn publish(&self, bytes: &[u8]);
    /// The blob of `peer`; `None` while it has not published.
    fn lookup(&self, peer: Peer) -> Option<Vec<u8>>;
    /// Counts deaths that became known without any message; cheap.
    fn losses(&self) -> u32 {
        0
    }
    /// Whether `peer` is one of them.
    fn is_lost(&self, _peer: Peer) -> bool {
        false
    }
}

/// The boards in the memory of a node for the peers of this host, its table of addresses for those
/// of others, which the launcher fills as we ask.
pub struct NodeDirectory {
    node: Arc<Node>,
    local_rank: u32,
    local_size: u32,
    first_local_rank: u32,
}

impl NodeDirectory {
    /// That of a process.
    pub fn new(job: &Job) -> NodeDirectory {
        NodeDirectory {
            node: job.node.clone(),
            local_rank: job.local_rank,
            local_size: job.local_size,
            first_local_rank: job.first_local_rank,
        }
    }
}

impl NodeDirectory {
    /// As a launcher of others knows this process.
    fn rank(&self) -> u32 {
        self.node.rank_of(self.first_local_rank + self.local_rank)
    }
}

impl Directory for NodeDirectory {
    fn publish(&self, bytes: &[u8]) {
        self.node.record(self.local_rank).publish_address(bytes);
        // Somebody on another host may be waiting for it.
        if self.node.has_far_ranks() && !keyspace::publish_address(self.rank(), bytes) {
            crate::bootstrap::call_launcher();
        }
    }

    fn lookup(&self, peer: Peer) -> Option<Vec<u8>> {
        let local = peer.0.wrapping_sub(self.first_local_rank);
        if local < self.local_size {
            return self.node.record(local).address();
        }
        let found = self.node.far_address(peer.0);
        if found.is_none() && keyspace::is_joined() {
            let asked = keyspace::address(self.node.rank_of(peer.0))?;
            self.node.set_far_address(peer.0, &asked);
            return Some(asked);
        }
        if found.is_none() {
            self.node.want_far_address(peer.0);
            crate::bootstrap::call_launcher();
        }
        found
    }

    fn losses(&self) -> u32 {
        self.node.losses()
    }

    fn is_lost(&self, peer: Peer) -> bool {
        let local = peer.0.wrapping_sub(self.first_local_rank);
        match local < self.local_size {
            true => self.node.record(local).is_lost(),
            false => self.node.is_far_lost(peer.0),
        }
    }
}

/// A directory for the lanes of one process (tests).
#[derive(Clone)]
pub struct MemoryDirectory {
    me: Peer,
    blobs: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
    dead: Arc<Mutex<Vec<Peer>>>,
}

impl MemoryDirectory {
    /// One directory for each of `size` peers, over the same blobs.
    pub fn all(size: u32) -> Vec<MemoryDirectory> {
        let blobs = Arc::new(Mutex::new(vec![None; size as usize]));
        let dead = Arc::new(Mutex::new(Vec::new()));
        let one =
            |rank| MemoryDirectory { me: Peer(rank), blobs: blobs.clone(), dead: dead.clone() };
        (0..size).map(one).collect()
    }

    /// Says that a peer is dead, as a launcher does.
    pub fn announce_loss(&self, peer: Peer) {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
    }
}

impl Directory for MemoryDirectory {
    fn publish(&self, bytes: &[u8]) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs[self.me.0 as usize] = Some(bytes.to_vec());
    }

    fn lookup(&self, peer: Peer) -> Option<Vec<u8>> {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.get(peer.0 as usize).cloned().flatten()
    }

    fn losses(&self) -> u32 {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).len() as u32
    }

    fn is_lost(&self, peer: Peer) -> bool {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer)
    }
}

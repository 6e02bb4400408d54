// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the addresses of the other processes come from, and what an address blob contains.
//!
//! A process publishes one blob, before it makes its first connection; who wants to reach it looks
//! the blob up, as often as it takes until it is there. No names are resolved anywhere.
#![forbid(unsafe_code)]

use super::auth::ListenerId;
use crate::bootstrap::{Job, pmi};
use crate::envelope::Peer;
use crate::node::Node;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

/// Publishes this process's address blob, finds those of others.
pub trait Directory: Send {
    /// Makes `bytes` the blob of this process.
    fn publish(&self, bytes: &[u8]);
    /// The blob of `peer`; `None` while it has not published.
    fn lookup(&self, peer: Peer) -> Option<Vec<u8>>;
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
    fn rank(&self) -> u32 {
        self.first_local_rank + self.local_rank
    }
}

impl Directory for NodeDirectory {
    fn publish(&self, bytes: &[u8]) {
        self.node.record(self.local_rank).publish_address(bytes);
        // Somebody on another host may be waiting for it.
        if self.node.has_far_ranks() && !pmi::publish_address(self.rank(), bytes) {
            crate::bootstrap::call_launcher();
        }
    }

    fn lookup(&self, peer: Peer) -> Option<Vec<u8>> {
        let local = peer.0.wrapping_sub(self.first_local_rank);
        if local < self.local_size {
            return self.node.record(local).address();
        }
        let found = self.node.far_address(peer.0);
        if found.is_none() && pmi::is_joined() {
            let asked = pmi::address(peer.0)?;
            self.node.set_far_address(peer.0, &asked);
            return Some(asked);
        }
        if found.is_none() {
            self.node.want_far_address(peer.0);
            crate::bootstrap::call_launcher();
        }
        found
    }
}

/// A directory for the lanes of one process (tests).
#[derive(Clone)]
pub struct MemoryDirectory {
    me: Peer,
    blobs: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
}

impl MemoryDirectory {
    /// One directory for each of `size` peers, over the same blobs.
    pub fn all(size: u32) -> Vec<MemoryDirectory> {
        let blobs = Arc::new(Mutex::new(vec![None; size as usize]));
        (0..size).map(|rank| MemoryDirectory { me: Peer(rank), blobs: blobs.clone() }).collect()
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
}

/// Where a process listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Address and port.
    pub socket: SocketAddrV4,
    /// Random name of this listener; hellos are bound to it.
    pub listener: ListenerId,
}

/// Bytes of an address blob.
pub const ADDRESS_BYTES: usize = 24;
/// First byte of a blob: an IPv4 address follows.
const FAMILY_V4: u8 = 4;

impl Address {
    /// To bytes: family, zero, port, address, listener.
    pub fn encode(&self) -> [u8; ADDRESS_BYTES] {
        let mut bytes = [0; ADDRESS_BYTES];
        bytes[0] = FAMILY_V4;
        bytes[2..4].copy_from_slice(&self.socket.port().to_le_bytes());
        bytes[4..8].copy_from_slice(&self.socket.ip().octets());
        bytes[8..24].copy_from_slice(&self.listener);
        bytes
    }

    /// From bytes; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Address> {
        let bytes: &[u8; ADDRESS_BYTES] = bytes.try_into().ok()?;
        let port = u16::from_le_bytes([bytes[2], bytes[3]]);
        if bytes[0] != FAMILY_V4 || bytes[1] != 0 || port == 0 {
            return None;
        }
        let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
        let mut listener = [0; 16];
        listener.copy_from_slice(&bytes[8..24]);
        Some(Address { socket: SocketAddrV4::new(ip, port), listener })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_trip() {
        let socket = SocketAddrV4::new(Ipv4Addr::new(10, 1, 2, 3), 54_321);
        let address = Address { socket, listener: [7; 16] };
        assert_eq!(Address::decode(&address.encode()), Some(address));
        assert_eq!(Address::decode(&[0; ADDRESS_BYTES]), None);
        assert_eq!(Address::decode(&address.encode()[1..]), None);
    }
}

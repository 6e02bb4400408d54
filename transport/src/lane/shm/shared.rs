// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages by the ring that all senders of a rank share, out and in.
//!
//! Not here: the ring (ring.rs), rings of pairs (pairs.rs), chunks (slab.rs).

use super::cells::{INLINE_BYTES, Rest};
use super::endpoint::{Endpoint, chunk_bytes};
use super::{IN_CHUNK, ShmLane, pairs};
use crate::envelope::Peer;
use crate::error::{Error, Kind, Submit};
use crate::lane::Inbox;
use crate::node::Node;
use crate::wire::header::Header;
use std::sync::Arc;

impl ShmLane {
    /// Looks at the ring that everybody may use.
    #[inline]
    pub(super) fn poll_shared<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        let (first_rank, endpoints, node) = (self.first_rank, &self.endpoints, &self.node);
        let (mut mad, mut moved) = (None, Vec::new());
        let count = self.inbound.poll(budget, |word, rest| {
            let from = (word >> 32) as u32 & 0x3fff_ffff;
            let Some(endpoint) = endpoints.get(from as usize) else { return };
            if endpoint.is_lost {
                return;
            }
            if word as u8 == pairs::MOVED {
                // SAFETY: `poll` lends a published slot's rest for the call.
                moved.push((from, unsafe { (*rest).extra }));
                return;
            }
            // SAFETY: as above.
            if !unsafe { deliver(node, endpoint, Peer(first_rank + from), word, rest, inbox) } {
                mad = Some(from);
            }
        });
        for (from, index) in moved {
            if !self.peer_moved(from, index) {
                mad = Some(from);
            }
        }
        if let Some(from) = mad {
            self.expel(from, inbox);
        }
        count
    }

    /// [`Lane::short`](crate::lane::Lane::short) by the ring that everybody may use.
    #[inline(never)]
    pub(super) fn short_shared(
        &mut self,
        local_rank: usize,
        header: &Header,
        body: &[u8],
    ) -> Submit {
        assert!(body.len() <= INLINE_BYTES, "a short body fits a slot");
        if let Some(answer) = self.attend(local_rank) {
            return answer;
        }
        if !self.push_inline(local_rank, header, body) {
            return self.no_room(local_rank, header.kind);
        }
        self.ring_bell(local_rank);
        self.count_shared(local_rank);
        Submit::Sent
    }

    #[inline]
    pub(super) fn count_shared(&mut self, local_rank: usize) {
        if self.endpoints[local_rank].pair.is_due() {
            self.move_to_pair(local_rank);
        }
    }

    /// A peer wrote nonsense: nothing is exchanged with it any more.
    #[cold]
    pub(super) fn expel<I: Inbox>(&mut self, local_rank: u32, inbox: &mut I) {
        let peer = Peer(self.first_rank + local_rank);
        if self.forget(local_rank as usize) {
            let text = format!("peer {peer} named a chunk that cannot be");
            inbox.lost(peer, Error::new(Kind::Protocol(text)));
        }
    }
}

/// Hands one message to the inbox; `false` if what it says cannot be.
///
/// # Safety
/// `rest` is a published slot's rest that stays ours during the call.
#[inline]
unsafe fn deliver<I: Inbox>(
    node: &Arc<Node>,
    endpoint: &Endpoint,
    peer: Peer,
    word: u64,
    rest: *const Rest,
    inbox: &mut I,
) -> bool {
    let bytes = (word >> 16) as u16 as usize;
    // SAFETY: the caller lends the slot; these are plain integers in its first cache line.
    let header = unsafe {
        Header {
            kind: word as u8,
            flags: (word >> 8) as u8,
            reserved: 0,
            body: bytes as u32,
            context: (*rest).context,
            source: (*rest).source,
            tag: (*rest).tag,
            extra: (*rest).extra,
            token: (*rest).token,
        }
    };
    if word & IN_CHUNK == 0 {
        if bytes > INLINE_BYTES {
            return false;
        }
        // SAFETY: `bytes` was checked against the slot's body, which is ours during the call.
        let body = unsafe { std::slice::from_raw_parts((&raw const (*rest).body).cast(), bytes) };
        inbox.message(peer, &header, body);
        return true;
    }
    // SAFETY: the first four bytes of the body, which the slot always has.
    let chunk = unsafe { (&raw const (*rest).body).cast::<u32>().read_unaligned() };
    let Some(chunk) = u16::try_from(u32::from_le(chunk)).ok() else { return false };
    if chunk_bytes(chunk).is_none_or(|room| bytes > room) {
        return false;
    }
    // SAFETY: number and length were checked; the chunk is ours until it is given back.
    inbox.message(peer, &header, unsafe { endpoint.slab.bytes(chunk, bytes) });
    endpoint.give_back(node, chunk);
    true
}

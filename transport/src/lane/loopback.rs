// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A worker talking to itself: what is sent is copied into one buffer and delivered at the next
//! poll, from another; the two change places.
//!
//! Invariants:
//! 1. A frame is a header followed by its body; frames are never split.
//! 2. Neither buffer grows beyond [`QUEUE_BYTES`]: beyond that the lane is full.
//!
//! A large message is not carried here at all: its receiver gets it from the sender's buffer.
use super::{Capabilities, Get, Inbox, Lane, RemoteRange};
use crate::envelope::Peer;
use crate::error::Submit;
use crate::protocol::share::Unit;
use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header};

/// Bytes that may wait: a grant of eager messages and as much again for control.
const QUEUE_BYTES: usize = 512 << 10;
const SHORT_BYTES_MAX: usize = 4 << 10;
const FRAGMENT_BYTES_MAX: usize = 64 << 10;

/// The lane.
pub struct Loopback {
    me: Peer,
    /// What was sent since the last poll that emptied `outgoing`.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Bytes of `outgoing` that were delivered.
    delivered: usize,
}

impl Loopback {
    /// The lane of this peer with itself.
    pub fn new(me: Peer) -> Loopback {
        Loopback { me, incoming: Vec::new(), outgoing: Vec::new(), delivered: 0 }
    }

    #[inline]
    fn claim(&mut self, header: &Header, bytes: usize) -> Option<&mut [u8]> {
        let at = self.incoming.len();
        let end = at + HEADER_BYTES + bytes;
        if end > QUEUE_BYTES {
            return None;
        }
        self.incoming.extend_from_slice(&codec::encode(header));
        self.incoming.resize(end, 0);
        Some(&mut self.incoming[at + HEADER_BYTES..])
    }
}

impl Lane for Loopback {
    fn capabilities(&mut self, _peer: Peer) -> Capabilities {
        Capabilities {
            short_bytes_max: SHORT_BYTES_MAX,
            fragment_bytes_max: FRAGMENT_BYTES_MAX,
            piece_bytes_max: FRAGMENT_BYTES_MAX,
            bulk_bytes_max: 0,
            get: true,
            get_later: false,
            latency_ns: 50,
            fragment_bytes_per_us: 8_000,
            get_ns: 50,
            get_bytes_per_us: 10_000,
            get_written_bytes_per_us: 0,
            share: Unit::NONE,
        }
    }

    fn short(&mut self, _peer: Peer, header: &Header, body: &[u8]) -> Submit {
        match self.claim(header, body.len()) {
            Some(into) => {
                into.copy_from_slice(body);
                Submit::Sent
            }
            None => Submit::Full,
        }
    }

    fn fragment(
        &mut self,
        _peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        match self.claim(header, bytes) {
            Some(into) => {
                fill(into);
                Submit::Sent
            }
            None => Submit::Full,
        }
    }

    unsafe fn get(&mut self, _peer: Peer, from: RemoteRange, into: *mut u8, _token: u64) -> Get {
        let source = from.address as usize as *const u8;
        // SAFETY: the range is a pending send of this worker, whose memory stays readable until it
        // is complete; `into` is writable by the caller's promise. A program may receive into the
        // memory that it sends from (that is its error), so the copy allows overlap.
        unsafe { std::ptr::copy(source, into, from.bytes) };
        Get::Done
    }

    fn poll<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize {
        if self.delivered == self.outgoing.len() {
            if self.incoming.is_empty() {
                return 0;
            }
            self.outgoing.clear();
            self.delivered = 0;
            std::mem::swap(&mut self.incoming, &mut self.outgoing);
        }
        let mut count = 0;
        while count < budget {
            let Some((head, rest)) = self.outgoing[self.delivered..].split_first_chunk() else {
                break;
            };
            let header = codec::decode(head).expect("this worker wrote it");
            let body = &rest[..header.body as usize];
            inbox.message(self.me, &header, body);
            self.delivered += HEADER_BYTES + body.len();
            count += 1;
        }
        count
    }

    fn is_flushed(&self) -> bool {
        self.incoming.is_empty() && self.delivered == self.outgoing.len()
    }
}

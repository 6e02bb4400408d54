// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who gets a ring of its own: pairs that exchange more than a few messages.
//!
//! Each receiver has up to sixteen such rings (so memory grows with the ranks of the node, not with
//! their square), and everybody's messages can always come by its shared ring. A sender whose
//! [`SHARED_SENDS`]th message to a receiver has left claims a ring of that receiver, if one is
//! free, and says so in its last message to the shared ring; the receiver polls the ring from when
//! it finds that message.
//!
//! Invariants:
//! 1. A sender puts nothing into the shared ring after the message that says it moved, and nothing
//!    into its own ring before. The receiver looks at the latter only after it found the former.
//!    So the order of the sender's messages is kept.
//! 2. A ring is claimed once in its life, by one sender, which keeps it until it ends.
//! 3. What a sender published before it died is delivered before its loss: a look for deaths comes
//!    only after a poll that found all rings empty.
//!
//! Not here: the rings (pair.rs), what their slots say (pair_slot.rs).

use super::cells::INLINE_BYTES;
use super::pair::{self, Consumer, PairCells, Producer};
use super::pair_slot::{self, Body, MappedPair, Rest};
use super::{FRAGMENT_BYTES_MAX, ShmLane, bell};
use crate::envelope::{Envelope, Peer};
use crate::error::Submit;
use crate::lane::Inbox;
use crate::memory::copy::copy_few;
use crate::node::Node;
use crate::wire::header::{Header, MessageKind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Messages by the shared ring before a sender asks for a ring of its own. A tree or an exchange
/// with everybody, done once, needs none.
const SHARED_SENDS: u32 = 16;
/// Kind of the message in the shared ring that says: from now on I use your ring `extra`.
pub(super) const MOVED: u8 = 0xff;
const _: () = assert!(MOVED > MessageKind::CancelReply as u8);

/// The outgoing side of one peer.
pub(super) struct OutPair {
    /// Our ring with the peer.
    pub(super) ring: Option<Producer<MappedPair>>,
    /// Messages until we ask for one; at zero we were refused.
    shared_sends_left: u32,
}

impl OutPair {
    pub(super) fn new() -> OutPair {
        OutPair { ring: None, shared_sends_left: SHARED_SENDS }
    }

    /// Counts a message in the shared ring; whether it is time to ask for a ring of our own.
    #[inline]
    pub(super) fn is_due(&mut self) -> bool {
        if self.shared_sends_left == 0 {
            return false;
        }
        self.shared_sends_left -= 1;
        self.shared_sends_left == 0
    }

    /// Nothing goes to this peer any more.
    pub(super) fn forget(&mut self) {
        *self = OutPair { ring: None, shared_sends_left: 0 };
    }

    /// Room for any one message.
    pub(super) fn has_room(&mut self) -> Option<bool> {
        self.ring.as_mut().map(|ring| ring.has_room(FRAGMENT_BYTES_MAX))
    }
}

/// The rings of this receiver that senders have moved to.
pub(super) struct InPairs {
    rings: Vec<InPair>,
    /// The ring that is looked at first; another one each time.
    first: usize,
}

struct InPair {
    from: u32,
    /// The heads that senders who sleep for room were shown.
    shown: u64,
    ring: Consumer<MappedPair>,
}

impl InPairs {
    pub(super) fn new() -> InPairs {
        InPairs { rings: Vec::new(), first: 0 }
    }

    /// Nothing can be taken from any ring now.
    pub(super) fn is_empty(&self) -> bool {
        self.rings.iter().all(|pair| pair.ring.is_empty())
    }

    /// A sender says that it moved to ring `index`; `false` if that cannot be.
    pub(super) fn add(&mut self, node: &Arc<Node>, me: u32, from: u32, index: u32) -> bool {
        // Relaxed: the message that names the ring was acquired, and with it the claim.
        let sound = index < node.layout().pair_count()
            && pair_slot::owner(node, me, index).load(Relaxed) == from + 1
            && self.rings.iter().all(|pair| pair.from != from);
        if sound {
            let ring = Consumer::new(MappedPair::of(node, me, index));
            self.rings.push(InPair { from, shown: 0, ring });
        }
        sound
    }
}

/// A poll of a receiver's own rings.
pub(super) struct Polled {
    pub(super) count: usize,
    /// Senders got room.
    pub(super) released: bool,
    /// This sender wrote what cannot be.
    pub(super) mad: Option<u32>,
}

impl InPairs {
    /// Delivers up to `budget` messages, `is_lost` senders' excepted.
    #[inline]
    pub(super) fn poll<I: Inbox>(
        &mut self,
        first_rank: u32,
        budget: usize,
        inbox: &mut I,
        is_lost: impl Fn(u32) -> bool,
    ) -> Polled {
        let mut polled = Polled { count: 0, released: false, mad: None };
        let count = self.rings.len();
        if count > 1 {
            self.first = if self.first + 1 < count { self.first + 1 } else { 0 };
        }
        for turn in 0..count {
            let at = self.first + turn;
            let at = if at < count { at } else { at - count };
            let Some(InPair { from, shown, ring }) = self.rings.get_mut(at) else { break };
            if ring.is_empty() {
                continue;
            }
            let (from, mad) = (*from, &mut polled.mad);
            let lost = is_lost(from);
            polled.count += ring.poll(budget - polled.count, |word, rest, cells| {
                // SAFETY: `poll` lends a published slot's rest, and the cells, for the call.
                match unsafe { deliver(Peer(first_rank + from), word, rest, cells, inbox, lost) } {
                    Some(run_bytes) => run_bytes,
                    None => {
                        *mad = Some(from);
                        0
                    }
                }
            });
            if ring.released() != *shown {
                *shown = ring.released();
                polled.released = true;
            }
            if polled.count >= budget {
                break;
            }
        }
        polled
    }
}

/// Hands one message to the inbox; the bytes that it had in the run, `None` if it makes no sense.
///
/// # Safety
/// `rest` is a published slot's rest that stays ours during the call, of the ring `cells`.
#[inline]
unsafe fn deliver<I: Inbox>(
    peer: Peer,
    word: u64,
    rest: *const Rest,
    cells: &MappedPair,
    inbox: &mut I,
    is_lost: bool,
) -> Option<u32> {
    // SAFETY: the caller's promise.
    let (header, body) = unsafe { pair_slot::read(word, rest)? };
    if is_lost {
        return Some(0);
    }
    let bytes = header.body as usize;
    match body {
        Body::Slot(at) => {
            // SAFETY: the body lies in the slot, which is ours during the call.
            inbox.message(peer, &header, unsafe { std::slice::from_raw_parts(at, bytes) });
            Some(0)
        }
        Body::Run(at) => {
            // SAFETY: `read` checked that the range lies in the run; a published slot's bytes are
            // ours until `head` passes the slot. The inbox copies them and decides nothing by a
            // byte that it reads twice.
            unsafe {
                cells.read_run(at, header.body, |run| {
                    inbox.message(peer, &header, std::slice::from_raw_parts(run, bytes));
                });
            }
            Some(header.body)
        }
    }
}

/// Sends header and body, which fit a slot, by our own ring.
#[inline]
pub(super) fn push_inline(ring: &mut Producer<MappedPair>, header: &Header, body: &[u8]) -> bool {
    assert!(body.len() <= INLINE_BYTES, "a short body fits a slot");
    ring.push(pair_slot::word_of(header, body.len()), |rest| {
        // SAFETY: `push` lends a slot's rest; the body fits behind the header and is not in it.
        unsafe { copy_few(body.as_ptr(), pair_slot::write_header(rest, header), body.len()) };
    })
}

/// Sends a plain message, whose body fits a slot, by our own ring.
///
/// # Safety
/// `base` is readable for `bytes` bytes, at most [`INLINE_BYTES`].
#[inline(always)]
pub(super) unsafe fn push_plain(
    ring: &mut Producer<MappedPair>,
    envelope: Envelope,
    base: *const u8,
    bytes: usize,
) -> bool {
    debug_assert!(bytes <= INLINE_BYTES);
    ring.push(pair_slot::plain_word(envelope.context, bytes), |rest| {
        // SAFETY: `push` lends a slot's rest; the body fits behind the header and is not in it.
        unsafe { copy_few(base, pair_slot::write_plain(rest, envelope), bytes) };
    })
}

/// Sends header and a body of `bytes` that `fill` writes, by our own ring.
pub(super) fn push_filled(
    ring: &mut Producer<MappedPair>,
    header: &Header,
    bytes: usize,
    fill: &mut dyn FnMut(&mut [u8]),
) -> bool {
    let word = pair_slot::word_of(header, bytes);
    if bytes <= INLINE_BYTES {
        return ring.push(word, |rest| {
            // SAFETY: `push` lends a slot's rest, in which the body fits behind the header.
            fill(unsafe {
                std::slice::from_raw_parts_mut(pair_slot::write_header(rest, header), bytes)
            });
        });
    }
    ring.push_with_body(
        word,
        bytes,
        // SAFETY: `push_with_body` lends these bytes of the run; any bytes are valid.
        |run| fill(unsafe { std::slice::from_raw_parts_mut(run, bytes) }),
        // SAFETY: it lends a slot's rest, in which four bytes fit behind the header.
        |rest, at| unsafe {
            pair_slot::write_header(rest, header).cast::<u32>().write_unaligned(at);
        },
    )
}

impl ShmLane {
    /// Many messages have gone to this peer: from now on by a ring of our own, if there is one.
    #[cold]
    #[inline(never)]
    pub(super) fn move_to_pair(&mut self, local_rank: usize) {
        let endpoint = &mut self.endpoints[local_rank];
        let (receiver, me) = (local_rank as u32, self.local_rank);
        if endpoint.pending.is_some() || !endpoint.ring.has_room() {
            return;
        }
        let node = &self.node;
        let claimed = (0..node.layout().pair_count())
            .find(|index| pair::claim(pair_slot::owner(node, receiver, *index), me));
        let Some(index) = claimed else { return };
        let header = Header { kind: MOVED, extra: index, ..Header::default() };
        if !self.push_inline(local_rank, &header, &[]) {
            // Others filled the shared ring meanwhile. Nobody was told of the claim.
            pair_slot::owner(&self.node, receiver, index).store(0, Relaxed);
            return;
        }
        let ring = Producer::new(MappedPair::of(&self.node, receiver, index));
        self.endpoints[local_rank].pair.ring = Some(ring);
        self.ring_bell(local_rank);
    }

    /// A plain message by our own ring with the peer, if there is one and room in it: `None`, try
    /// another way.
    ///
    /// # Safety
    /// `base` is readable for `bytes` bytes, at most [`INLINE_BYTES`].
    #[inline(always)]
    pub(crate) unsafe fn plain(
        &mut self,
        peer: Peer,
        envelope: Envelope,
        base: *const u8,
        bytes: usize,
    ) -> Option<bool> {
        let local_rank = peer.0.wrapping_sub(self.first_rank) as usize;
        let endpoint = self.endpoints.get_mut(local_rank)?;
        let ring = endpoint.pair.ring.as_mut()?;
        // SAFETY: the caller's promise.
        if !unsafe { push_plain(ring, envelope, base, bytes) } {
            return None;
        }
        if endpoint.is_asleep() {
            bell::ring(&self.node, local_rank as u32);
        }
        Some(true)
    }

    /// The answer to a message that went, or did not go, by our own ring.
    #[inline]
    pub(super) fn pushed_to_pair(&mut self, local_rank: usize, pushed: bool, kind: u8) -> Submit {
        if !pushed {
            return self.no_room(local_rank, kind);
        }
        self.ring_bell(local_rank);
        Submit::Sent
    }
}

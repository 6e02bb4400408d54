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
use super::pair_slot::{self, Body, LINE_BODY_BYTES, MappedPair, Rest};
use super::{FRAGMENT_BYTES_MAX, ShmLane, bell};
use crate::envelope::{ANY, Envelope, Pattern, Peer};
use crate::error::Submit;
use crate::lane::Inbox;
use crate::memory::copy::copy_few;
use crate::wire::header::{Header, MessageKind};
use std::sync::atomic::Ordering::Relaxed;

/// Messages by the shared ring before a sender asks for a ring of its own. A tree or an exchange
/// with everybody, done once, needs none.
const SHARED_SENDS: u32 = 16;
/// Kind of the message in the shared ring that says: from now on I use your ring `extra`.
pub(super) const MOVED: u8 = 0xff;
const _: () = assert!(MOVED > MessageKind::CancelReply as u8);

/// Both directions of one peer, as far as they have rings of their own.
pub(super) struct Pair {
    /// Our ring at the peer.
    pub(super) out: Option<Producer<MappedPair>>,
    /// The peer's ring here.
    inbound: Option<Consumer<MappedPair>>,
    /// The head of it that a sender who sleeps for room was shown.
    shown: u64,
    /// Messages until we ask for a ring; at zero we have one, or were refused.
    shared_sends_left: u32,
}

impl Pair {
    pub(super) fn new() -> Pair {
        Pair { out: None, inbound: None, shown: 0, shared_sends_left: SHARED_SENDS }
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

    /// Nothing goes to this peer any more. What it sent stays where it is.
    pub(super) fn forget(&mut self) {
        self.out = None;
        self.shared_sends_left = 0;
    }

    /// Room for any one message.
    pub(super) fn has_room(&mut self) -> Option<bool> {
        self.out.as_mut().map(|ring| ring.has_room(FRAGMENT_BYTES_MAX))
    }

    /// Whether something of the peer can be taken.
    #[inline(always)]
    fn has_news(&self) -> bool {
        self.inbound.as_ref().is_some_and(|ring| !ring.is_empty())
    }

    /// A plain message by our ring, if there is one and room in it.
    ///
    /// # Safety
    /// `base` is readable for `bytes` bytes, at most [`INLINE_BYTES`].
    #[inline(always)]
    unsafe fn push_plain(&mut self, envelope: Envelope, base: *const u8, bytes: usize) -> bool {
        debug_assert!(bytes <= INLINE_BYTES);
        let Some(ring) = &mut self.out else { return false };
        let word = pair_slot::plain_word(envelope.context, bytes);
        // SAFETY: `push` lends a slot's rest; the body fits behind the header and is not in it.
        ring.push(word, bytes > LINE_BODY_BYTES, |rest| unsafe {
            copy_few(base, pair_slot::write_plain(rest, envelope), bytes);
        })
    }

    /// Delivers up to `budget` messages.
    #[inline(always)]
    fn poll<I: Inbox>(
        &mut self,
        peer: Peer,
        budget: usize,
        inbox: &mut I,
        is_lost: bool,
        polled: &mut Polled,
    ) {
        let Some(ring) = &mut self.inbound else { return };
        while polled.count < budget {
            let Some(word) = ring.look() else { break };
            if let Some(out) = &self.out {
                out.fetch_next();
            }
            ring.take(|rest, cells| {
                // SAFETY: `take` lends a published slot's rest, and the cells, for the call.
                match unsafe { deliver(peer, word, rest, cells, inbox, is_lost) } {
                    Some(run_bytes) => run_bytes,
                    None => {
                        polled.is_mad = true;
                        0
                    }
                }
            });
            polled.count += 1;
        }
        if ring.released() != self.shown {
            self.shown = ring.released();
            polled.released = true;
        }
    }
}

/// A poll of a receiver's own rings.
struct Polled {
    count: usize,
    /// A sender got room.
    released: bool,
    /// What the last one wrote cannot be.
    is_mad: bool,
}

/// The peers that have moved to a ring of their own here.
pub(super) struct InPairs {
    from: Vec<u32>,
    /// The one that is looked at first; another one each time.
    first: usize,
}

impl InPairs {
    pub(super) fn new() -> InPairs {
        InPairs { from: Vec::new(), first: 0 }
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
    ring.push(pair_slot::word_of(header, body.len()), body.len() > LINE_BODY_BYTES, |rest| {
        // SAFETY: `push` lends a slot's rest; the body fits behind the header and is not in it.
        unsafe { copy_few(body.as_ptr(), pair_slot::write_header(rest, header), body.len()) };
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
        return ring.push(word, bytes > LINE_BODY_BYTES, |rest| {
            // SAFETY: `push` lends a slot's rest, in which the body fits behind the header.
            fill(unsafe {
                std::slice::from_raw_parts_mut(pair_slot::write_header(rest, header), bytes)
            });
        });
    }
    ring.push_with_body(
        word,
        bytes,
        header.kind == MessageKind::Eager as u8,
        // SAFETY: `push_with_body` lends these bytes of the run; any bytes are valid.
        |run| fill(unsafe { std::slice::from_raw_parts_mut(run, bytes) }),
        // SAFETY: it lends a slot's rest, in which four bytes fit behind the header.
        |rest, at| unsafe {
            pair_slot::write_header(rest, header).cast::<u32>().write_unaligned(at);
        },
    )
}

impl ShmLane {
    /// Whether something can be taken from a ring of its own.
    #[inline(always)]
    pub(super) fn has_pair_news(&self) -> bool {
        self.pairs.from.iter().any(|from| self.endpoints[*from as usize].pair.has_news())
    }

    /// Delivers up to `budget` messages from rings of their own; how many, and whether senders got
    /// room.
    #[inline]
    pub(super) fn poll_pairs<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> (usize, bool) {
        let mut polled = Polled { count: 0, released: false, is_mad: false };
        let count = self.pairs.from.len();
        if count > 1 {
            let next = self.pairs.first + 1;
            self.pairs.first = if next < count { next } else { 0 };
        }
        for turn in 0..count {
            let at = self.pairs.first + turn;
            let from = self.pairs.from[if at < count { at } else { at - count }];
            let endpoint = &mut self.endpoints[from as usize];
            if endpoint.pair.has_news() {
                let peer = Peer(self.first_rank + from);
                let is_lost = endpoint.is_lost;
                endpoint.pair.poll(peer, budget, inbox, is_lost, &mut polled);
                if polled.is_mad {
                    polled.is_mad = false;
                    self.expel(from, inbox);
                }
                if polled.count >= budget {
                    break;
                }
            }
        }
        (polled.count, polled.released)
    }

    /// A sender says that it moved to our ring `index`; `false` if that cannot be.
    #[cold]
    pub(super) fn peer_moved(&mut self, from: u32, index: u32) -> bool {
        let me = self.local_rank;
        // Relaxed: the message that names the ring was acquired, and with it the claim.
        let sound = index < self.node.layout().pair_count()
            && pair_slot::owner(&self.node, me, index).load(Relaxed) == from + 1
            && self.endpoints[from as usize].pair.inbound.is_none();
        if sound {
            let pair = &mut self.endpoints[from as usize].pair;
            pair.inbound = Some(Consumer::new(MappedPair::of(&self.node, me, index)));
            self.pairs.from.push(from);
        }
        sound
    }

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
        let pair = &mut self.endpoints[local_rank].pair;
        pair.out = Some(Producer::new(MappedPair::of(&self.node, receiver, index)));
        self.ring_bell(local_rank);
    }

    /// A plain message by our own ring with the peer, if there is one and room in it;
    /// `false`: try another way.
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
    ) -> bool {
        let local_rank = peer.0.wrapping_sub(self.first_rank) as usize;
        let Some(endpoint) = self.endpoints.get_mut(local_rank) else { return false };
        // SAFETY: the caller's promise.
        if !unsafe { endpoint.pair.push_plain(envelope, base, bytes) } {
            return false;
        }
        if endpoint.is_asleep() {
            bell::ring(&self.node, local_rank as u32);
        }
        true
    }

    /// Takes the next message of a peer if it has a ring of its own here, and the message is a
    /// plain one that the pattern accepts and that fits `room` bytes: its tag and its bytes. Looks
    /// so many times for it. `None`: nothing was taken.
    ///
    /// # Safety
    /// `into` is writable for `room` bytes.
    #[inline(always)]
    pub(crate) unsafe fn take_plain(
        &mut self,
        peer: Peer,
        wanted: Pattern,
        (into, room): (*mut u8, usize),
        looks: u32,
    ) -> Option<(u32, usize)> {
        let local_rank = peer.0.wrapping_sub(self.first_rank) as usize;
        let endpoint = self.endpoints.get_mut(local_rank)?;
        if endpoint.is_lost {
            return None;
        }
        let pair = &mut endpoint.pair;
        let ring = pair.inbound.as_mut()?;
        let mut left = looks;
        let word = loop {
            if let Some(word) = ring.look() {
                break word;
            }
            left = left.checked_sub(1)?;
            std::hint::spin_loop();
        };
        let (context, bytes) = pair_slot::plain_of(word)?;
        // SAFETY: `peek` lends a published slot's rest, which stays ours until `take`.
        let (source, tag, body) =
            ring.peek(|rest| unsafe { pair_slot::read_plain(rest, bytes) })?;
        let accepted = context == wanted.context
            && source == wanted.source
            && (tag == wanted.tag || wanted.tag == ANY);
        if !accepted || bytes > room {
            return None;
        }
        if let Some(out) = &pair.out {
            out.fetch_next();
        }
        // SAFETY: the body lies where `read_plain` says, is ours until the end of `take`, and fits
        // `into`, says the caller.
        ring.take(|_, cells| unsafe {
            match body {
                Body::Slot(at) => {
                    copy_few(at, into, bytes);
                    0
                }
                Body::Run(at) => {
                    cells.read_run(at, bytes as u32, |run| run.copy_to_nonoverlapping(into, bytes));
                    bytes as u32
                }
            }
        });
        if ring.released() != pair.shown {
            pair.shown = ring.released();
            self.show_room();
        }
        Some((tag, bytes))
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A bounded ring from many senders to one receiver, laid out in shared memory.
//!
//! A ticket is a position that never wraps; ticket t uses slot t mod N in lap t / N. A slot's first
//! word carries the parity of the lap in which it was published, (lap + 1) & 1, so that zeroed
//! memory reads as unpublished and nothing is ever cleared.
//!
//! Invariants:
//! 1. A slot belongs to one side at a time. The sender that moved `tail` past ticket t owns slot t
//!    until it publishes; the receiver owns it from then until it moves `head` past t.
//! 2. A slot's bytes are written before its first word is released and read after it is acquired;
//!    they are read before `head` is released past them and overwritten after that is acquired.
//! 3. Between claim and publish the sender does nothing that can fail or wait.
//! 4. A sender publishes a ticket before it claims its next one in the same ring. So behind an
//!    unpublished slot (a hole) nothing of the same sender can be published.
//! 5. The receiver takes ticket p only after it found all earlier untaken tickets unpublished
//!    at a time when p was already acquired. With 4, the order of each sender is kept: if an
//!    earlier ticket of p's sender existed, it was published before p, and the receiver, having
//!    acquired p, would have seen it.
//! 6. Words found here are copied out once; positions are compared by wrapping differences that
//!    are bounded before use: a mad peer can stall the ring, not lead us out of it.
//!
//! ```text
//! FREE --claim--> FILLING --publish--> READY --take--> TAKEN --head passes--> FREE
//! ```
//!
//! A sender that is preempted in FILLING leaves a hole; the receiver looks up to [`WINDOW`] slots
//! past it and remembers what it took there in a bitmap, so that nobody else is stalled. A sender
//! that dies in FILLING leaves the hole forever: the others go on until the ring is full behind it,
//! and learn of the death from the launcher, never from the ring.
//!
//! Not here: waking a sleeping receiver (bell.rs), bodies beyond a slot (slab.rs), what the words
//! mean (mod.rs).

use super::cells::{Rest, RingCells};
use crate::sync::Word;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The parity bit of a slot's first word. The other 63 bits are the message's.
pub const PUBLISHED: u64 = 1 << 63;

/// How far past a hole the receiver looks; at most 64, the bits of the bitmap.
pub const WINDOW: u32 = 32;

/// How many empty looks pass before the receiver asks `tail` whether a hole hides messages. Asking
/// on each look would pull the senders' line away from them for nothing. The
/// models ask each time.
const LOOKS_PER_TAIL: u32 = if cfg!(loom) { 1 } else { 16 };

#[inline]
fn parity<C: RingCells>(cells: &C, ticket: u64) -> u64 {
    let lap = ticket >> cells.slot_count().trailing_zeros();
    if lap & 1 == 0 { PUBLISHED } else { 0 }
}

#[inline]
fn slot_index<C: RingCells>(cells: &C, ticket: u64) -> u32 {
    ticket as u32 & (cells.slot_count() - 1)
}

/// The sending end of one process.
pub struct Producer<C> {
    cells: C,
    /// What `head` was when it was last read; it only grows.
    head_seen: u64,
}

impl<C: RingCells> Producer<C> {
    /// An end of this ring.
    pub fn new(cells: C) -> Producer<C> {
        Producer { cells, head_seen: 0 }
    }

    /// The memory.
    pub fn cells(&self) -> &C {
        &self.cells
    }

    /// Whether a push would find room now. Another sender may take it.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.is_free(self.cells.tail().load(Relaxed))
    }

    #[inline]
    fn is_free(&mut self, ticket: u64) -> bool {
        let slots = u64::from(self.cells.slot_count());
        if ticket.wrapping_sub(self.head_seen) < slots {
            return true;
        }
        // SYNC(ring.head): the receiver is done with the slots before this head.
        self.head_seen = self.cells.head().load(Acquire);
        ticket.wrapping_sub(self.head_seen) < slots
    }

    /// Publishes one message, or answers `false`: no room. `word` must not use [`PUBLISHED`].
    /// `fill` writes the rest; it must not fail or wait (invariant 3).
    #[inline]
    pub fn push(&mut self, word: u64, fill: impl FnOnce(*mut Rest)) -> bool {
        debug_assert_eq!(word & PUBLISHED, 0);
        let ticket = loop {
            let ticket = self.cells.tail().load(Relaxed);
            if !self.is_free(ticket) {
                return false;
            }
            // Relaxed: the ticket only says who owns the slot. That it is free is known from
            // `head`, and what is in it is published by its own word.
            if self.cells.tail().replace_weak(ticket, ticket.wrapping_add(1), Relaxed) {
                break ticket;
            }
        };
        let index = slot_index(&self.cells, ticket);
        // SAFETY: we moved `tail` past this ticket, and `head` says that the slot is free: it is
        // ours until the store below (invariant 1).
        unsafe { self.cells.write(index, fill) };
        // SYNC(ring.word): publishes the slot's bytes to the acquiring look in `Consumer`.
        self.cells.word(index).store(word | parity(&self.cells, ticket), Release);
        true
    }
}

/// The receiving end.
pub struct Consumer<C> {
    cells: C,
    /// The first ticket that was not taken.
    head: u64,
    /// What `head` in the ring says; it lags behind by up to a quarter of the slots.
    released: u64,
    /// Bit i: ticket `head + 1 + i` was taken from behind a hole.
    taken: u64,
    /// Looks since the last message.
    idle_looks: u32,
}

impl<C: RingCells> Consumer<C> {
    /// The receiving end; one per ring, and the first in the ring's life.
    pub fn new(cells: C) -> Consumer<C> {
        Consumer { cells, head: 0, released: 0, taken: 0, idle_looks: 0 }
    }

    /// The memory.
    pub fn cells(&self) -> &C {
        &self.cells
    }

    /// Takes up to `budget` messages; returns how many. `take` gets a message's word (without the
    /// parity) and its rest, valid during the call.
    #[inline]
    pub fn poll(&mut self, budget: usize, mut take: impl FnMut(u64, *const Rest)) -> usize {
        let mut count = 0;
        while count < budget {
            let ticket = match self.published(self.head) {
                Some(_) => self.head,
                None => match self.behind_hole(count == 0) {
                    Some(ticket) => ticket,
                    None => break,
                },
            };
            self.take(ticket, &mut take);
            count += 1;
        }
        if count != 0 {
            self.idle_looks = 0;
        }
        count
    }

    /// Whether the next ticket is published.
    #[inline]
    pub fn has_next(&self) -> bool {
        self.published(self.head).is_some()
    }

    /// Whether anything could be taken now, behind holes too. The last look before sleep.
    pub fn is_empty(&self) -> bool {
        self.published(self.head).is_none() && self.find_behind_hole().is_none()
    }

    /// The word of a ticket, if it is published.
    #[inline]
    fn published(&self, ticket: u64) -> Option<u64> {
        // SYNC(ring.word): sees the bytes that `Producer::push` released with this word.
        let word = self.cells.word(slot_index(&self.cells, ticket)).load(Acquire);
        (word & PUBLISHED == parity(&self.cells, ticket)).then_some(word & !PUBLISHED)
    }

    #[inline]
    fn take(&mut self, ticket: u64, take: &mut impl FnMut(u64, *const Rest)) {
        let index = slot_index(&self.cells, ticket);
        // Relaxed: `published` acquired this word already, and it does not change while we own it.
        let word = self.cells.word(index).load(Relaxed) & !PUBLISHED;
        // SAFETY: the slot is published and `head` has not passed it: it is ours (invariant 1).
        unsafe { self.cells.read(index, |rest| take(word, rest)) };
        if ticket != self.head {
            self.taken |= 1 << (ticket.wrapping_sub(self.head) - 1);
            return;
        }
        loop {
            self.head = self.head.wrapping_add(1);
            let next_was_taken = self.taken & 1 != 0;
            self.taken >>= 1;
            if !next_was_taken {
                break;
            }
        }
        let batch = u64::from(self.cells.slot_count() / 4).max(1);
        if self.head.wrapping_sub(self.released) >= batch {
            self.released = self.head;
            // SYNC(ring.head): we are done with the slots before; senders acquire it to reuse them.
            self.cells.head().store(self.head, Release);
        }
    }

    /// How far `head` was released: changes when senders got room.
    #[inline]
    pub fn released(&self) -> u64 {
        self.released
    }

    /// The head slot is unpublished: is there something behind it?
    #[inline]
    fn behind_hole(&mut self, idle: bool) -> Option<u64> {
        if idle {
            self.idle_looks = self.idle_looks.wrapping_add(1);
        }
        if self.taken == 0 && !self.idle_looks.is_multiple_of(LOOKS_PER_TAIL) {
            return None;
        }
        self.find_behind_hole()
    }

    #[cold]
    fn find_behind_hole(&self) -> Option<u64> {
        let window = WINDOW.min(self.cells.slot_count() - 1);
        // Relaxed: a hint how far to look; what is found is acquired on its own.
        let claimed = self.cells.tail().load(Relaxed).wrapping_sub(self.head);
        let end = claimed.min(u64::from(window) + 1);
        let mut found = self.first_published(1, end)?;
        // Invariant 5: what we passed may have been published since, before what we found.
        while let Some(earlier) = self.first_published(0, found) {
            found = earlier;
        }
        Some(self.head.wrapping_add(found))
    }

    /// The first untaken published ticket in `head + from .. head + end`, as a distance from head.
    fn first_published(&self, from: u64, end: u64) -> Option<u64> {
        (from..end).find(|distance| {
            let was_taken = *distance > 0 && self.taken & (1 << (distance - 1)) != 0;
            !was_taken && self.published(self.head.wrapping_add(*distance)).is_some()
        })
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A bounded ring from one sender to one receiver, for pairs that talk often: slots of two cache
//! lines, and a run of bytes beside them for bodies that do not fit a slot.
//!
//! The ring that all senders of a rank share (ring.rs) costs each of them a locked instruction per
//! message, which waits for every earlier store of that core to reach memory: with the receiver's
//! cache far away that alone limits a sender to some 6 million messages a second. Here nothing is
//! locked, and the stores of many messages are under way at once.
//!
//! A ticket is a position that never wraps; ticket t uses slot t mod N in lap t / N. A slot's word
//! carries the parity of its lap ([`PUBLISHED`] in even laps), so that zeroed memory reads as
//! unpublished and nothing is ever cleared.
//!
//! Invariants:
//! 1. A slot belongs to one side at a time: to the sender until it publishes the slot's word, to
//!    the receiver until it moves `head` past the ticket. The same holds for the bytes of the run
//!    that a slot names; the sender alone decides which, and remembers until when they are taken.
//! 2. Slot and bytes are written before the word is released and read after it is acquired; they
//!    are read before `head` is released past them and overwritten after that is acquired.
//! 3. The receiver moves `head` when a quarter of the slots, or of the run, is done with. So when
//!    everything was received the sender finds room for the longest body, whatever was cut off at
//!    the end of the run (the sum is at [`Producer::room_for`]).
//! 4. Words found here are copied out once; the receiver trusts no position of the sender's.
//!
//! ```text
//! FREE --fill, publish--> READY --take--> TAKEN --head passes--> FREE
//! ```
//!
//! Not here: what a slot says (pair_slot.rs), who gets such a ring (pairs.rs), waking (bell.rs).

use crate::memory::copy::prefetch_for_writing;
use crate::sync::Word;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The parity bit of a slot's word. The other bits are the message's.
pub const PUBLISHED: u64 = 1 << 31;
/// Bodies in the run begin at multiples of this: two cache lines.
const ALIGNMENT: u64 = 128;
/// A cache line, for hints.
const LINE_BYTES: u32 = 64;
/// Of the place of the next body so much is fetched ahead: as many lines as a core can wait for.
const FETCH_BYTES_MAX: u32 = 1024;

/// Where a ring's words, slots and bytes are.
///
/// # Safety
/// `word`, `write` and `read` accept every index below `slot_count`, which is a power of two and
/// never changes; two indices never share memory. The run has `run_bytes` bytes.
pub unsafe trait PairCells {
    /// A 64-bit word.
    type Word: Word<u64>;
    /// What a slot holds besides its word.
    type Rest;
    /// The first ticket that is not free again; written by the receiver.
    fn head(&self) -> &Self::Word;
    /// Slots.
    fn slot_count(&self) -> u32;
    /// Word of a slot.
    fn word(&self, index: u32) -> &Self::Word;
    /// Writes a slot's rest.
    ///
    /// # Safety
    /// The caller owns the slot (invariant 1).
    unsafe fn write<R>(&self, index: u32, with: impl FnOnce(*mut Self::Rest) -> R) -> R;
    /// Reads a slot's rest.
    ///
    /// # Safety
    /// As for `write`.
    unsafe fn read<R>(&self, index: u32, with: impl FnOnce(*const Self::Rest) -> R) -> R;
    /// Bytes of the run, a multiple of 128 and four times the longest body at least.
    fn run_bytes(&self) -> u32;
    /// Where a byte of the run is, for hints to the processor only.
    fn run_hint(&self, _at: u32) -> *const u8 {
        std::ptr::null()
    }
    /// Writes bytes of the run.
    ///
    /// # Safety
    /// The range lies in the run, and the caller owns it (invariant 1).
    unsafe fn write_run<R>(&self, at: u32, bytes: u32, with: impl FnOnce(*mut u8) -> R) -> R;
    /// Reads bytes of the run.
    ///
    /// # Safety
    /// As for `write_run`.
    unsafe fn read_run<R>(&self, at: u32, bytes: u32, with: impl FnOnce(*const u8) -> R) -> R;
}

#[inline]
fn parity<C: PairCells>(cells: &C, ticket: u64) -> u64 {
    let lap = ticket >> cells.slot_count().trailing_zeros();
    if lap & 1 == 0 { PUBLISHED } else { 0 }
}

#[inline]
fn slot_index<C: PairCells>(cells: &C, ticket: u64) -> u32 {
    ticket as u32 & (cells.slot_count() - 1)
}

/// The sending end.
pub struct Producer<C> {
    cells: C,
    tail: u64,
    /// What `head` was when it was last read; it only grows.
    head_seen: u64,
    run: Run,
    last: Last,
}

/// The sender's account of the run: positions that never wrap.
struct Run {
    tail: u64,
    head: u64,
    /// For each body that may still be there: its ticket, and where the bytes behind it begin.
    bodies: VecDeque<(u64, u64)>,
}

/// What the last message took: the next one is likely to be like it.
#[derive(Clone, Copy)]
enum Last {
    /// The first line of a slot.
    Line,
    /// A slot.
    Slot,
    /// A slot, and so many bytes of the run.
    Run(u32),
}

impl<C: PairCells> Producer<C> {
    /// The sending end; one per ring, and the first in the ring's life.
    pub fn new(cells: C) -> Producer<C> {
        let run = Run { tail: 0, head: 0, bodies: VecDeque::new() };
        Producer { cells, tail: 0, head_seen: 0, run, last: Last::Line }
    }

    /// Asks the processor to fetch the next slot for writing: while the answer to a message is
    /// being prepared, the receiver's copy of that line can already be taken away. If the last
    /// message had a body in the run, the same goes for the place of the next one.
    #[inline(always)]
    pub fn fetch_next(&self) {
        let word: *const C::Word = self.cells.word(slot_index(&self.cells, self.tail));
        prefetch_for_writing(word.cast());
        match self.last {
            Last::Line => {}
            // The second line of the slot.
            Last::Slot => prefetch_for_writing(word.wrapping_byte_add(LINE_BYTES as usize).cast()),
            Last::Run(bytes) => self.fetch_next_body(bytes),
        }
    }

    #[inline(never)]
    fn fetch_next_body(&self, bytes: u32) {
        let at = (self.run.tail % self.run_bytes()) as u32;
        let end = at.saturating_add(bytes.min(FETCH_BYTES_MAX)).min(self.cells.run_bytes());
        let mut line = at;
        while line < end {
            prefetch_for_writing(self.cells.run_hint(line));
            line += LINE_BYTES;
        }
    }

    /// Whether a slot is free.
    #[inline]
    fn has_slot(&mut self) -> bool {
        if self.tail.wrapping_sub(self.head_seen) < u64::from(self.cells.slot_count()) {
            return true;
        }
        self.look_at_head();
        self.tail.wrapping_sub(self.head_seen) < u64::from(self.cells.slot_count())
    }

    #[cold]
    #[inline(never)]
    fn look_at_head(&mut self) {
        // SYNC(pair.head): the receiver is done with the slots and bytes before this head.
        let head = self.cells.head().load(Acquire);
        // A mad receiver may write anything; what is not between the last head and the tail is
        // not believed, and then there is no room for ever.
        if head.wrapping_sub(self.head_seen) > self.tail.wrapping_sub(self.head_seen) {
            return;
        }
        self.head_seen = head;
        while let Some((ticket, end)) = self.run.bodies.front().copied() {
            if head.wrapping_sub(ticket) as i64 <= 0 {
                break;
            }
            self.run.head = end;
            self.run.bodies.pop_front();
        }
    }

    /// Publishes a message without bytes in the run, or answers `false`: no room. `word` must not
    /// use [`PUBLISHED`]; `is_long`: it takes more than a line of the slot; `fill` writes the rest
    /// of the slot and must not fail or wait.
    #[inline]
    pub fn push(&mut self, word: u64, is_long: bool, fill: impl FnOnce(*mut C::Rest)) -> bool {
        if !self.has_slot() {
            return false;
        }
        self.last = if is_long { Last::Slot } else { Last::Line };
        self.publish(word, fill);
        true
    }

    #[inline]
    fn publish(&mut self, word: u64, fill: impl FnOnce(*mut C::Rest)) {
        debug_assert_eq!(word & PUBLISHED, 0);
        let index = slot_index(&self.cells, self.tail);
        // SAFETY: `head` says that the slot is free: it is ours until the store below.
        unsafe { self.cells.write(index, fill) };
        // SYNC(pair.word): publishes slot and bytes to the acquiring look in `Consumer`.
        self.cells.word(index).store(word | parity(&self.cells, self.tail), Release);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Where a body of `bytes` would begin in the run, if there is room for it and for its slot.
    ///
    /// Once everything was received there is always room for a body of a quarter of the run: the
    /// receiver owes less than a quarter (invariant 3), less than a quarter was cut off at the
    /// end of the run before it, less than a quarter may be cut off now.
    #[inline]
    fn room_for(&mut self, bytes: usize) -> Option<u64> {
        debug_assert!(bytes * 4 <= self.cells.run_bytes() as usize);
        if !self.has_slot() {
            return None;
        }
        let start = self.run_start(bytes);
        if self.run_end(start, bytes).wrapping_sub(self.run.head) <= self.run_bytes() {
            return Some(start);
        }
        self.look_at_head();
        let fits = self.run_end(start, bytes).wrapping_sub(self.run.head) <= self.run_bytes();
        fits.then_some(start)
    }

    fn run_bytes(&self) -> u64 {
        u64::from(self.cells.run_bytes())
    }

    /// A body is not cut in two: what does not fit before the end begins anew.
    fn run_start(&self, bytes: usize) -> u64 {
        let at = self.run.tail % self.run_bytes();
        match at + bytes as u64 > self.run_bytes() {
            true => self.run.tail.wrapping_add(self.run_bytes() - at),
            false => self.run.tail,
        }
    }

    fn run_end(&self, start: u64, bytes: usize) -> u64 {
        start.wrapping_add((bytes as u64).next_multiple_of(ALIGNMENT))
    }

    /// Whether a message with a body of `bytes` in the run would find room now.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        self.room_for(bytes).is_some()
    }

    /// As [`Producer::push`], with a body in the run: `body` writes it, `fill` gets its place.
    #[inline]
    pub fn push_with_body(
        &mut self,
        word: u64,
        bytes: usize,
        body: impl FnOnce(*mut u8),
        fill: impl FnOnce(*mut C::Rest, u32),
    ) -> bool {
        let Some(start) = self.room_for(bytes) else { return false };
        let at = (start % self.run_bytes()) as u32;
        // SAFETY: `room_for` found these bytes free; they are ours until the slot is published.
        unsafe { self.cells.write_run(at, bytes as u32, body) };
        self.run.tail = self.run_end(start, bytes);
        self.last = Last::Run(bytes as u32);
        self.run.bodies.push_back((self.tail, self.run.tail));
        self.publish(word, |rest| fill(rest, at));
        true
    }
}

/// The receiving end.
pub struct Consumer<C> {
    cells: C,
    /// The first ticket that was not taken.
    head: u64,
    /// What `head` in the ring says.
    released: u64,
    /// Bytes of the run that were taken since.
    run_taken: u32,
}

impl<C: PairCells> Consumer<C> {
    /// The receiving end; one per ring, and the first in the ring's life.
    pub fn new(cells: C) -> Consumer<C> {
        Consumer { cells, head: 0, released: 0, run_taken: 0 }
    }

    /// The memory.
    pub fn cells(&self) -> &C {
        &self.cells
    }

    /// The word of the next message, without the parity, if it is there.
    #[inline(always)]
    pub fn look(&self) -> Option<u64> {
        // SYNC(pair.word): sees the slot and the bytes that `Producer` released with this word.
        let word = self.cells.word(slot_index(&self.cells, self.head)).load(Acquire);
        (word & PUBLISHED == parity(&self.cells, self.head)).then_some(word & !PUBLISHED)
    }

    /// Reads the slot of the message that [`Consumer::look`] found, and does not take it.
    #[inline(always)]
    pub fn peek<R>(&self, with: impl FnOnce(*const C::Rest) -> R) -> R {
        debug_assert!(self.look().is_some());
        // SAFETY: the slot is published and `head` has not passed it: it is ours.
        unsafe { self.cells.read(slot_index(&self.cells, self.head), with) }
    }

    /// Takes the message that [`Consumer::look`] found. `take` gets its slot's rest and the cells,
    /// valid during the call, and returns how many bytes of the run the message had.
    #[inline(always)]
    pub fn take(&mut self, take: impl FnOnce(*const C::Rest, &C) -> u32) {
        debug_assert!(self.look().is_some());
        let index = slot_index(&self.cells, self.head);
        let cells = &self.cells;
        // SAFETY: the slot is published and `head` has not passed it: it is ours.
        let run_bytes = unsafe { cells.read(index, |rest| take(rest, cells)) };
        self.head = self.head.wrapping_add(1);
        if run_bytes != 0 {
            let taken = u64::from(run_bytes).next_multiple_of(ALIGNMENT);
            self.run_taken = self.run_taken.saturating_add(taken as u32);
        }
        self.release();
    }

    #[inline]
    fn release(&mut self) {
        let slots = u64::from(self.cells.slot_count() / 4).max(1);
        let due = self.head.wrapping_sub(self.released) >= slots
            || self.run_taken >= self.cells.run_bytes() / 4;
        if due {
            self.released = self.head;
            self.run_taken = 0;
            // SYNC(pair.head): we are done with the slots and bytes before; the sender acquires it.
            self.cells.head().store(self.head, Release);
        }
    }

    /// How far `head` was released: changes when the sender got room.
    #[inline]
    pub fn released(&self) -> u64 {
        self.released
    }

    /// Whether nothing can be taken now. The last look before sleep.
    pub fn is_empty(&self) -> bool {
        self.look().is_none()
    }
}

/// Whether a claim word is free to be taken by `claimant` (a local rank): takes it if so.
pub fn claim(owner: &impl Word<u32>, claimant: u32) -> bool {
    // Relaxed: the claim orders nothing. The receiver learns of it through the shared ring, by the
    // message that announces it.
    owner.load(Relaxed) == 0 && owner.replace_weak(0, claimant + 1, Relaxed)
}

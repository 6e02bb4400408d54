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

use crate::memory::copy::{demote, prefetch_for_writing};
use crate::sync::Word;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The parity bit of a slot's word. The other bits are the message's.
pub const PUBLISHED: u64 = 1 << 31;
/// Bodies in the run begin at multiples of this: two cache lines.
const ALIGNMENT: u64 = 128;
/// A cache line, for hints.
const LINE_BYTES: u32 = 64;
/// Of the place of the next body so much is fetched ahead.
const FETCH_BYTES_MAX: u32 = 8192;
/// A body of at most so many bytes is demoted once it is published: its receiver reads it in a
/// third of the time. That takes the sender some nanoseconds a line, so in a stream of messages,
/// where the next one waits for it, only short bodies are.
const DEMOTE_BYTES_MAX: u32 = 8192;
const DEMOTE_STREAM_BYTES_MAX: u32 = 2048;

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
    /// Of these the first so many are for short bodies ([`is_near`]); what is said of the run holds
    /// for both parts.
    fn near_bytes(&self) -> u32 {
        0
    }
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
    /// For short bodies, and for long ones.
    runs: [Run; 2],
    last: Last,
    /// A body was published, and nothing of the peer was found since.
    streams: Cell<bool>,
}

/// Whether a body lies in the near part of the run: one so short that the bodies of all slots find
/// room there, half full. It stays in nearer caches than the whole run.
fn is_near(near_bytes: u32, slots: u32, bytes: usize) -> bool {
    near_bytes != 0 && bytes <= (near_bytes / (slots / 2).max(1)) as usize
}

/// The sender's account of a part of the run: positions that never wrap.
struct Run {
    /// Where the part begins, and its bytes.
    base: u32,
    size: u64,
    tail: u64,
    head: u64,
    /// For each body that may still be there: its ticket, and where the bytes behind it begin.
    bodies: VecDeque<(u64, u64)>,
}

impl Run {
    fn new(base: u32, size: u32) -> Run {
        Run { base, size: u64::from(size), tail: 0, head: 0, bodies: VecDeque::new() }
    }

    /// Where a body of `bytes` would begin, and the tail behind it, if there is room.
    ///
    /// A body is not cut in two: what does not fit before the end begins anew. Once everything was
    /// received there is always room for a body of a quarter of the part: the receiver owes less
    /// than half of it (invariant 3), less than a quarter is cut off.
    #[inline]
    fn room_for(&self, bytes: usize) -> Option<(u32, u64)> {
        let at = self.tail % self.size;
        let start = match at + bytes as u64 > self.size {
            true => self.tail.wrapping_add(self.size - at),
            false => self.tail,
        };
        let end = start.wrapping_add((bytes as u64).next_multiple_of(ALIGNMENT));
        let fits = end.wrapping_sub(self.head) <= self.size;
        fits.then_some((self.base + (start % self.size) as u32, end))
    }

    /// The receiver is done with all tickets before `head`.
    fn release(&mut self, head: u64) {
        while let Some((ticket, end)) = self.bodies.front().copied() {
            if head.wrapping_sub(ticket) as i64 <= 0 {
                break;
            }
            self.head = end;
            self.bodies.pop_front();
        }
    }
}

/// What the last message took: the next one is likely to be like it.
#[derive(Clone, Copy)]
enum Last {
    /// The first line of a slot.
    Line,
    /// A slot.
    Slot,
    /// The first line of a slot, and bytes of the run.
    Run,
}

impl<C: PairCells> Producer<C> {
    /// The sending end; one per ring, and the first in the ring's life.
    pub fn new(cells: C) -> Producer<C> {
        let (near, all) = (cells.near_bytes(), cells.run_bytes());
        let runs = [Run::new(0, near), Run::new(near, all - near)];
        Producer { cells, tail: 0, head_seen: 0, runs, last: Last::Line, streams: Cell::new(false) }
    }

    /// Asks the processor to fetch the next slot for writing: while the answer to a message is
    /// being prepared, the receiver's copy of that line, at which it looks again and again, can
    /// already be taken away.
    #[inline(always)]
    pub fn fetch_next(&self) {
        self.streams.set(false);
        let word: *const C::Word = self.cells.word(slot_index(&self.cells, self.tail));
        prefetch_for_writing(word.cast());
        if matches!(self.last, Last::Slot) {
            // The second line of the slot.
            prefetch_for_writing(word.wrapping_byte_add(LINE_BYTES as usize).cast());
        }
    }

    /// A body of so many bytes, at `at` of the run, was published. Its lines go to the cache that
    /// both sides share, and those of the next body come here: nobody waits for either now.
    #[inline(never)]
    fn body_left(&self, at: u32, bytes: u32, is_whole: bool) {
        let streams = self.streams.replace(true) || !is_whole;
        if bytes <= if streams { DEMOTE_STREAM_BYTES_MAX } else { DEMOTE_BYTES_MAX } {
            self.each_line(at, bytes, demote);
        }
        let part = self.part_of(bytes as usize);
        if let Some((next, _)) = self.runs[part].room_for(bytes as usize) {
            self.each_line(next, bytes.min(FETCH_BYTES_MAX), prefetch_for_writing);
        }
    }

    fn each_line(&self, at: u32, bytes: u32, hint: impl Fn(*const u8)) {
        let mut line = at;
        while line < at + bytes {
            hint(self.cells.run_hint(line));
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
        for run in &mut self.runs {
            run.release(head);
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
        let place = self.cells.word(index);
        place.store(word | parity(&self.cells, self.tail), Release);
        let line: *const C::Word = place;
        demote(line.cast());
        if matches!(self.last, Last::Slot) {
            demote(line.wrapping_byte_add(LINE_BYTES as usize).cast());
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Which part of the run a body belongs to.
    #[inline]
    fn part_of(&self, bytes: usize) -> usize {
        usize::from(!is_near(self.cells.near_bytes(), self.cells.slot_count(), bytes))
    }

    /// Where a body of `bytes` would begin in the run, and where its part would end then, if there
    /// is room for it and for its slot.
    #[inline]
    fn room_for(&mut self, bytes: usize) -> Option<(u32, u64)> {
        if !self.has_slot() {
            return None;
        }
        let part = self.part_of(bytes);
        if let Some(room) = self.runs[part].room_for(bytes) {
            return Some(room);
        }
        self.look_at_head();
        self.runs[part].room_for(bytes)
    }

    /// Whether a message with a body of `bytes` in the run would find room now.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        self.room_for(bytes).is_some()
    }

    /// As [`Producer::push`], with a body in the run: `body` writes it, `fill` gets its place.
    /// `is_whole`: it is no piece of a longer message.
    #[inline]
    pub fn push_with_body(
        &mut self,
        word: u64,
        bytes: usize,
        is_whole: bool,
        body: impl FnOnce(*mut u8),
        fill: impl FnOnce(*mut C::Rest, u32),
    ) -> bool {
        let Some((at, end)) = self.room_for(bytes) else { return false };
        // SAFETY: `room_for` found these bytes free; they are ours until the slot is published.
        unsafe { self.cells.write_run(at, bytes as u32, body) };
        let part = self.part_of(bytes);
        self.runs[part].tail = end;
        self.runs[part].bodies.push_back((self.tail, end));
        self.last = Last::Run;
        self.publish(word, |rest| fill(rest, at));
        self.body_left(at, bytes as u32, is_whole);
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

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One transfer that two processes copy together: the receiver takes pieces from the front and
//! reads them, the sender takes pieces from the back and writes them, until they meet. Who is busy
//! elsewhere takes none, and the other does it all.
//!
//! A cell is the receiver's. It lies where both can reach it, and its claim word says everything:
//!
//! ```text
//!   63        48 47        24 23         0
//!   generation | units taken  | units taken     one unit is a page of the message
//!              | at the back  | at the front
//! ```
//!
//! Invariants:
//! 1. A unit is taken at most once: front and back change in one compare-and-swap, and nobody takes
//!    beyond where they meet.
//! 2. Only the receiver takes at the front, only the sender at the back. So who cannot copy a piece
//!    after all gives back the last piece that it took, and the other may take that.
//! 3. Exactly one side counts the last unit as copied ([`finish`] says so): that side ends the
//!    transfer and tells the other.
//! 4. The receiver opens a cell again, under the next generation, only when every unit that was
//!    taken was counted. So a claim of an old generation fails, and no count comes late.
#![forbid(unsafe_code)]

use crate::sync::Word;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// What is taken and counted: so many bytes, a number of the lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unit {
    /// Binary logarithm of the bytes; 0: this lane shares nothing.
    pub shift: u8,
}

impl Unit {
    /// No transfer is shared.
    pub const NONE: Unit = Unit { shift: 0 };
    /// A page: the two sides meet in one page at most.
    pub const PAGE: Unit = Unit { shift: 12 };

    /// Whether a transfer of so many bytes is shared: one of two pieces or more, and not longer
    /// than a claim word can say (64 GiB in pages). Of one piece there is nothing to share.
    pub fn shares(self, bytes: u64) -> bool {
        let least = 2 * PIECE_UNITS_MIN;
        self.shift > 0 && bytes >= least << self.shift && bytes <= FIELD << self.shift
    }

    /// Units of a message.
    pub fn count(self, bytes: u64) -> u64 {
        bytes.div_ceil(1 << self.shift)
    }

    /// The bytes of some units of a message.
    pub fn bytes_of(self, taken: &Range<u64>, bytes: u64) -> Range<u64> {
        taken.start << self.shift..(taken.end << self.shift).min(bytes)
    }
}

/// Cells of one receiver: one for each transfer that it shares at a time. A program that has more
/// in flight copies the others alone.
pub const CELL_COUNT: usize = 64;

const FIELD_BITS: u32 = 24;
const FIELD: u64 = (1 << FIELD_BITS) - 1;
/// A piece is at least so long: a system call costs as much as a copy of about this.
const PIECE_UNITS_MIN: u64 = 16;
/// A piece is at most so long (1 MiB): the caller comes back to its other work after it.
const PIECE_UNITS_MAX: u64 = 256;

/// One cell, two lines: what is fought over, and what is only read meanwhile. All zero is a valid
/// first state.
#[derive(Default, Debug)]
#[repr(C, align(128))]
pub struct Cell {
    /// The claim word.
    pub claim: AtomicU64,
    /// Units that were copied.
    pub done: AtomicU64,
    reserved: [u64; 6],
    /// Where the receiver wants the message, in its address space.
    address: AtomicU64,
}

const _: () = assert!(size_of::<Cell>() == 128);

impl Cell {
    /// Where the receiver wants the message. Valid for who took units of this use.
    pub fn address(&self) -> u64 {
        self.address.load(Relaxed)
    }

    /// Opens the cell for a message that is wanted at this address.
    pub fn open_at(&self, address: u64, generation: u16) {
        self.address.store(address, Relaxed);
        open(&self.claim, &self.done, generation);
    }
}

/// Which end is taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The receiver's.
    Front,
    /// The sender's.
    Back,
}

/// How much to take at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greed {
    /// A part of what is left: both sides are expected to be done at the same time.
    Part,
    /// As much as a piece may be: there are other transfers for the other side.
    All,
}

/// Names one use of a cell: number and generation, as it travels in a header's `extra`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellId {
    /// Number of the cell in its owner's table.
    pub index: u16,
    /// Which use of it.
    pub generation: u16,
}

impl CellId {
    /// As it travels.
    pub fn word(self) -> u32 {
        u32::from(self.generation) << 16 | u32::from(self.index)
    }

    /// From a word, which may be anything.
    pub fn from_word(word: u32) -> CellId {
        CellId { index: word as u16, generation: (word >> 16) as u16 }
    }
}

fn split(word: u64) -> (u16, u64, u64) {
    ((word >> (2 * FIELD_BITS)) as u16, word & FIELD, word >> FIELD_BITS & FIELD)
}

fn join(generation: u16, front: u64, back: u64) -> u64 {
    u64::from(generation) << (2 * FIELD_BITS) | back << FIELD_BITS | front
}

/// Opens a cell for its next use: nothing is taken. What else it holds was written before.
pub fn open<W: Word<u64>>(claim: &W, done: &W, generation: u16) {
    done.store(0, Relaxed);
    // SYNC(share.claim): who sees the new generation sees what the cell holds for it.
    claim.store(join(generation, 0, 0), Release);
}

/// Takes the next piece at one end of a transfer of `total` units; `None`: nothing is left, or the
/// cell is in another use.
pub fn take<W: Word<u64>>(
    claim: &W,
    generation: u16,
    total: u64,
    end: End,
    greed: Greed,
) -> Option<Range<u64>> {
    loop {
        // SYNC(share.claim): sees what the opener wrote before it opened.
        let word = claim.load(Acquire);
        let (found, front, back) = split(word);
        let left = total.checked_sub(front + back).filter(|left| *left > 0)?;
        if found != generation {
            return None;
        }
        let count = piece_units(left, end, greed);
        let (next, range) = match end {
            End::Front => (join(generation, front + count, back), front..front + count),
            End::Back => {
                let top = total - back;
                (join(generation, front, back + count), top - count..top)
            }
        };
        // SYNC(share.claim): the claim is what makes the units ours; nothing else hangs on it.
        if claim.replace_weak(word, next, AcqRel) {
            return Some(range);
        }
    }
}

/// A part of what is left, so that the last pieces are short and both sides end together; a rest
/// that would be too short for the other side goes along. The sender, in whose cache the bytes may
/// lie, takes more at once.
fn piece_units(left: u64, end: End, greed: Greed) -> u64 {
    let eighths = if end == End::Front { 2 } else { 3 };
    let part = match greed {
        Greed::Part => (left * eighths).div_ceil(8).max(PIECE_UNITS_MIN),
        Greed::All => left,
    };
    let part = part.min(PIECE_UNITS_MAX);
    if left < part + PIECE_UNITS_MIN / 2 { left } else { part }
}

/// Whether the front was taken from and the back never was: the other side is not at work.
pub fn is_lonely<W: Word<u64>>(claim: &W) -> bool {
    let (_, front, back) = split(claim.load(Relaxed));
    front > 0 && back == 0
}

/// Gives back the piece that this end took last, uncopied.
pub fn give_back<W: Word<u64>>(claim: &W, count: u64, end: End) {
    loop {
        // SYNC(share.claim): as in `take`.
        let word = claim.load(Acquire);
        let (generation, front, back) = split(word);
        let next = match end {
            End::Front => join(generation, front - count, back),
            End::Back => join(generation, front, back - count),
        };
        // SYNC(share.claim): as in `take`.
        if claim.replace_weak(word, next, AcqRel) {
            return;
        }
    }
}

/// Lets nobody take anything any more; whether the back was never touched (then the sender is not
/// at work, and the cell may be used again at once).
pub fn close<W: Word<u64>>(claim: &W, total: u64) -> bool {
    loop {
        // SYNC(share.claim): as in `take`.
        let word = claim.load(Acquire);
        let (generation, front, back) = split(word);
        let next = join(generation, total - back, back);
        debug_assert!(front + back <= total);
        // SYNC(share.claim): as in `take`.
        if claim.replace_weak(word, next, AcqRel) {
            return back == 0;
        }
    }
}

/// Counts units as copied; whether these were the last of `total`: then all are, the other side's
/// too, and the caller ends the transfer.
pub fn finish<W: Word<u64>>(done: &W, count: u64, total: u64) -> bool {
    loop {
        // SYNC(share.done): sees the other side's copies, counted by its Release.
        let before = done.load(Acquire);
        // SYNC(share.done): releases our copies to who counts the last unit.
        if done.replace_weak(before, before + count, AcqRel) {
            return before + count >= total;
        }
    }
}

/// Whether all of `total` units were counted.
pub fn is_finished<W: Word<u64>>(done: &W, total: u64) -> bool {
    // SYNC(share.done): sees the copies that were counted.
    done.load(Acquire) >= total
}

/// Which of its cells a receiver uses, and their generations.
#[derive(Debug)]
pub(crate) struct CellTable {
    free: Vec<u16>,
    generations: Vec<u16>,
}

impl CellTable {
    pub(crate) fn new() -> CellTable {
        CellTable { free: (0..CELL_COUNT as u16).rev().collect(), generations: vec![0; CELL_COUNT] }
    }

    /// A free cell, under a generation that it did not have for long.
    pub(crate) fn take(&mut self) -> Option<CellId> {
        let index = self.free.pop()?;
        let generation = &mut self.generations[usize::from(index)];
        // Zero is what fresh memory holds: nobody may take it for an open cell.
        *generation = generation.wrapping_add(1).max(1);
        Some(CellId { index, generation: *generation })
    }

    /// Every unit that was taken of it was counted.
    pub(crate) fn give_back(&mut self, cell: CellId) {
        debug_assert!(!self.free.contains(&cell.index));
        self.free.push(cell.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the order of the sides, every unit is copied once and one side is the last.
        #[test]
        fn every_unit_once(bytes in 1..5_000_000_u64, turns in prop::collection::vec(0..5_u8, 64)) {
            let cell = Cell::default();
            let total = Unit::PAGE.count(bytes);
            open(&cell.claim, &cell.done, 7);
            let mut copied = vec![0_u8; total as usize];
            let (mut last, mut turn) = (0, 0);
            loop {
                let choice = turns[turn % turns.len()];
                turn += 1;
                let end = if choice % 2 == 0 { End::Front } else { End::Back };
                let greed = if choice == 4 { Greed::All } else { Greed::Part };
                prop_assert!(take(&cell.claim, 8, total, end, greed).is_none());
                let Some(piece) = take(&cell.claim, 7, total, end, greed) else { break };
                if choice == 3 && turn % 7 == 0 {
                    give_back(&cell.claim, piece.end - piece.start, end);
                    continue;
                }
                for unit in piece.clone() {
                    copied[unit as usize] += 1;
                }
                let range = Unit::PAGE.bytes_of(&piece, bytes);
                prop_assert!(range.start < range.end && range.end <= bytes);
                last += u32::from(finish(&cell.done, piece.end - piece.start, total));
            }
            prop_assert!(copied.iter().all(|count| *count == 1));
            prop_assert!(last == 1 && is_finished(&cell.done, total));
        }

        #[test]
        fn ids_travel(word: u32) {
            prop_assert_eq!(CellId::from_word(word).word(), word);
        }
    }

    #[test]
    fn bounds_of_sharing() {
        assert!(!Unit::NONE.shares(1 << 20));
        assert!(!Unit::PAGE.shares((128 << 10) - 1) && Unit::PAGE.shares(128 << 10));
        assert!(Unit::PAGE.shares(FIELD << 12) && !Unit::PAGE.shares(1 << 36));
    }

    #[test]
    fn a_closed_cell_gives_nothing_and_says_who_was_there() {
        let cell = Cell::default();
        open(&cell.claim, &cell.done, 1);
        let mine = take(&cell.claim, 1, 100, End::Front, Greed::Part).unwrap();
        give_back(&cell.claim, mine.end - mine.start, End::Front);
        assert!(close(&cell.claim, 100), "the sender took nothing");
        assert!(take(&cell.claim, 1, 100, End::Back, Greed::All).is_none());
        open(&cell.claim, &cell.done, 2);
        assert!(take(&cell.claim, 2, 100, End::Back, Greed::Part).is_some());
        assert!(!close(&cell.claim, 100));
        assert!(take(&cell.claim, 2, 100, End::Front, Greed::Part).is_none());
    }

    #[test]
    fn cells_come_back_under_new_generations() {
        let mut table = CellTable::new();
        let all: Vec<CellId> = std::iter::from_fn(|| table.take()).collect();
        assert_eq!(all.len(), CELL_COUNT);
        table.give_back(all[5]);
        let again = table.take().unwrap();
        assert_eq!((again.index, again.generation), (all[5].index, all[5].generation + 1));
    }
}

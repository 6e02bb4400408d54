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
//! A cell may also be *offered* before there is a message: it stands for a posted receive, which
//! the next message of one sender will match. Then the claim word is the generation, a flag, and
//! the number of the offer; the sender accepts it, which opens the cell, or the receiver withdraws
//! it. docs/decisions/0003 has the reasons why the right message is the one that accepts.
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
//! 5. Of accept and withdraw exactly one succeeds for each offer. The number of the offer fills the
//!    word, so who looked at one offer cannot accept a later one.
#![forbid(unsafe_code)]

use crate::envelope::Envelope;
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
    /// than a claim word can say (32 GiB in pages). Of one piece there is nothing to share.
    pub fn shares(self, bytes: u64) -> bool {
        let least = 2 * PIECE_UNITS_MIN;
        self.shift > 0 && bytes >= least << self.shift && bytes <= UNITS_MAX << self.shift
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
/// Units of a transfer at most: so the highest bit of the back is free to say that a cell is
/// offered.
const UNITS_MAX: u64 = FIELD >> 1;
/// The flag of an offer; below it is its number.
const OFFERED: u64 = 1 << (2 * FIELD_BITS - 1);
/// A piece is at least so long: a system call costs as much as a copy of about this.
const PIECE_UNITS_MIN: u64 = 16;
/// A short piece (256 KiB), some 25 us.
const PIECE_UNITS_LITTLE: u64 = 64;
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
    /// Of an offer: token and capacity of the receive.
    token: AtomicU64,
    capacity: AtomicU64,
    /// Context and source.
    envelope: AtomicU64,
    /// Tag, and the process that may accept.
    tag_sender: AtomicU64,
    position: AtomicU64,
}

/// A posted receive that a sender may fill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Where the message is wanted, in the address space of the receiver.
    pub address: u64,
    /// The receive's request.
    pub token: u64,
    /// Bytes of its buffer.
    pub capacity: u64,
    /// What it accepts; no wildcard.
    pub envelope: Envelope,
    /// The process that may accept.
    pub sender: u32,
    /// What the receiver had taken of that sender's messages (`Credit::position_taken`).
    pub position: u32,
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

    /// Offers a posted receive, under a number that no other offer of this cell has had for long;
    /// returns the claim word, for [`withdraw`].
    pub fn offer(&self, offer: &Offer, generation: u16, number: u64) -> u64 {
        let Envelope { context, source, tag } = offer.envelope;
        self.address.store(offer.address, Relaxed);
        self.token.store(offer.token, Relaxed);
        self.capacity.store(offer.capacity, Relaxed);
        self.envelope.store(u64::from(context) << 32 | u64::from(source), Relaxed);
        self.tag_sender.store(u64::from(tag) << 32 | u64::from(offer.sender), Relaxed);
        self.position.store(u64::from(offer.position), Relaxed);
        offer_word(&self.claim, &self.done, generation, number)
    }

    /// What is offered, and the claim word for [`accept`]. If that succeeds, this was read whole.
    pub fn offered(&self) -> Option<(u64, Offer)> {
        let word = offered_word(&self.claim)?;
        let (envelope, tag) = (self.envelope.load(Relaxed), self.tag_sender.load(Relaxed));
        let offer = Offer {
            address: self.address.load(Relaxed),
            token: self.token.load(Relaxed),
            capacity: self.capacity.load(Relaxed),
            envelope: Envelope {
                context: (envelope >> 32) as u32,
                source: envelope as u32,
                tag: (tag >> 32) as u32,
            },
            sender: tag as u32,
            position: self.position.load(Relaxed) as u32,
        };
        Some((word, offer))
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
    /// A short piece: somebody may come who wants to do the rest.
    Little,
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

/// Offers a cell: see [`Cell::offer`].
pub fn offer_word<W: Word<u64>>(claim: &W, done: &W, generation: u16, number: u64) -> u64 {
    done.store(0, Relaxed);
    let word = join(generation, 0, 0) | OFFERED | number & (OFFERED - 1);
    // SYNC(share.claim): who sees the offer sees what the cell holds for it.
    claim.store(word, Release);
    word
}

/// The claim word of a cell that is offered now.
pub fn offered_word<W: Word<u64>>(claim: &W) -> Option<u64> {
    // SYNC(share.claim): sees what was written before the offer.
    let word = claim.load(Acquire);
    (word & OFFERED != 0).then_some(word)
}

/// The sender takes an offer, which opens the cell under the generation that is returned. `None`:
/// it was withdrawn.
pub fn accept<W: Word<u64>>(claim: &W, word: u64) -> Option<u16> {
    let generation = split(word).0;
    replace(claim, word, join(generation, 0, 0)).then_some(generation)
}

/// The receiver takes an offer back. `false`: the sender has accepted it.
pub fn withdraw<W: Word<u64>>(claim: &W, word: u64) -> bool {
    replace(claim, word, join(split(word).0, UNITS_MAX, 0))
}

fn replace<W: Word<u64>>(claim: &W, word: u64, next: u64) -> bool {
    while claim.load(Relaxed) == word {
        // SYNC(share.claim): as in `take`; what the loser reads next is the winner's word.
        if claim.replace_weak(word, next, AcqRel) {
            return true;
        }
    }
    false
}

/// Lets nobody take anything of a cell whose sender is gone.
pub fn shut<W: Word<u64>>(claim: &W, generation: u16) {
    // SYNC(share.claim): as in `open`.
    claim.store(join(generation, UNITS_MAX, 0), Release);
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
        Greed::Little => left.min(PIECE_UNITS_LITTLE),
    };
    let part = part.min(PIECE_UNITS_MAX);
    if left < part + PIECE_UNITS_MIN / 2 { left } else { part }
}

/// Whether the front was taken from and the back never was: the other side is not at work.
pub fn is_lonely<W: Word<u64>>(claim: &W) -> bool {
    let (_, front, back) = split(claim.load(Relaxed));
    front > 0 && back == 0
}

/// Whether nothing was taken yet: the receiver is not at work, and neither are we.
pub fn is_untouched<W: Word<u64>>(claim: &W) -> bool {
    let (_, front, back) = split(claim.load(Relaxed));
    front + back == 0
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
    /// Offers so far.
    offers: u64,
}

impl CellTable {
    pub(crate) fn new() -> CellTable {
        let free = (0..CELL_COUNT as u16).collect();
        CellTable { free, generations: vec![0; CELL_COUNT], offers: 0 }
    }

    /// The cell in which a receive from this peer is offered.
    pub(crate) fn place_of(peer: u32) -> u16 {
        (peer % CELL_COUNT as u32) as u16
    }

    /// This cell, if it is free, and the number of its next offer.
    pub(crate) fn take_at(&mut self, index: u16) -> Option<(CellId, u64)> {
        let at = self.free.iter().position(|free| *free == index)?;
        self.free.swap_remove(at);
        self.offers += 1;
        Some((self.renew(index), self.offers))
    }

    /// A free cell, under a generation that it did not have for long.
    pub(crate) fn take(&mut self) -> Option<CellId> {
        let index = self.free.pop()?;
        Some(self.renew(index))
    }

    fn renew(&mut self, index: u16) -> CellId {
        let generation = &mut self.generations[usize::from(index)];
        // Zero is what fresh memory holds: nobody may take it for an open cell.
        *generation = generation.wrapping_add(1).max(1);
        CellId { index, generation: *generation }
    }

    /// No cell is free.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.is_empty()
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
                let greed = match choice {
                    4 => Greed::All,
                    3 => Greed::Little,
                    _ => Greed::Part,
                };
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
        assert!(Unit::PAGE.shares(UNITS_MAX << 12) && !Unit::PAGE.shares(1 << 35));
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
    fn an_offer_ends_once() {
        let cell = Cell::default();
        let envelope = Envelope { context: 1, source: 2, tag: 3 };
        let offer =
            Offer { address: 4, token: 5, capacity: 6, envelope, sender: 7, position: u32::MAX };
        assert!(cell.offered().is_none());
        let mine = cell.offer(&offer, 9, 1);
        let (word, seen) = cell.offered().unwrap();
        assert_eq!((word, seen), (mine, offer));
        assert!(take(&cell.claim, 8, 100, End::Back, Greed::All).is_none());
        assert_eq!(accept(&cell.claim, word), Some(9));
        assert!(!withdraw(&cell.claim, mine) && is_untouched(&cell.claim));
        assert!(take(&cell.claim, 9, 100, End::Back, Greed::All).is_some());
        let again = cell.offer(&offer, 10, 2);
        assert!(accept(&cell.claim, word).is_none(), "an old look accepts nothing");
        assert!(withdraw(&cell.claim, again) && cell.offered().is_none());
        assert!(accept(&cell.claim, again).is_none());
        assert!(take(&cell.claim, 10, 100, End::Back, Greed::All).is_none());
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

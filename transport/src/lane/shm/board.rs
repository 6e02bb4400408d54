// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A board: where the members of a communicator on one host show each other small data, each in
//! lines of its own, without messages.
//!
//! A collective call is one or more rounds. Rounds have words, numbers that grow; all members know
//! the word of each round. In a round a member may publish (its data, then the word, in one of its
//! slots), await the publications of others, and at its end says that it is done.
//!
//! ```text
//!   writer                                reader
//!   room: done of all >= the slot's last  await: slot's word == the round's (Acquire)
//!   fill the slot                         read the slot
//!   slot's word = the round's (Release)   done = the round's (Release)
//! ```
//!
//! Invariants:
//! 1. A slot is written by its owner only, and only when all members are done with the round that
//!    it was last published in. So what a reader sees between its look and its `done` stays.
//! 2. A member ends its rounds in the order of their words. So a publication also says that its
//!    author is done with all rounds before, except those of the same call that it publishes ahead
//!    of its reading; how many these are is known to all.
//! 3. A word that has passed the awaited one means that the members do not make the same calls.
//! 4. In a counted round the member that arrives last reads all publications, may write its own
//!    slot once more, and shows the round as combined; the others look at nothing before that.
//! 5. A sleeper says whom it waits for, and that it sleeps, before the heavy fence and its last
//!    look; a publisher looks for sleepers after its publication and a fence (bell.rs says why).
//!
//! Not here: where the lines lie (desk.rs), what is published (bindings), waiting (wait.rs).

use crate::node::DESK_SLOT_COUNT;
use crate::sync::{Word, heavy_fence, light_fence, register_membarrier};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Whom a sleeper waits for, when it is for the last one of a counted round.
pub const LAST_ONE: u32 = u32::MAX;
/// Members that count their arrivals on one line, before one of them counts for all.
pub const GROUP: u32 = 8;

/// The memory of a board.
///
/// # Safety
/// All functions accept every member below `member_count` and every slot below
/// [`DESK_SLOT_COUNT`]; different ones never share memory.
pub unsafe trait Desks {
    /// 64-bit words.
    type Word: Word<u64>;
    /// 32-bit words.
    type Short: Word<u32>;
    /// Where the contents of a slot are.
    type Place;
    /// Members.
    fn member_count(&self) -> u32;
    /// The word of a member's slot; written by that member.
    fn word(&self, member: u32, slot: u32) -> &Self::Word;
    /// What a member is done with; written by that member.
    fn done(&self, member: u32) -> &Self::Word;
    /// Arrivals of a group.
    fn group(&self, group: u32) -> &Self::Word;
    /// Arrivals of whole groups.
    fn groups(&self) -> &Self::Word;
    /// The last counted round that was combined.
    fn combined(&self) -> &Self::Word;
    /// Who combined it.
    fn combiner(&self) -> &Self::Short;
    /// How many members sleep.
    fn asleep(&self) -> &Self::Short;
    /// Whom a member that sleeps waits for, as a code; zero while it is awake.
    fn awaited(&self, member: u32) -> &Self::Short;
    /// The slot will soon be written by its owner, likely with so many bytes.
    fn prepare(&self, _member: u32, _slot: u32, _bytes: usize) {}
    /// Lends a slot for writing.
    ///
    /// # Safety
    /// The caller owns the slot now (invariants 1 and 4).
    unsafe fn write<R>(&self, member: u32, slot: u32, with: impl FnOnce(Self::Place) -> R) -> R;
    /// Lends a slot for reading.
    ///
    /// # Safety
    /// The caller saw it published, and is not done with that round.
    unsafe fn read<R>(&self, member: u32, slot: u32, with: impl FnOnce(Self::Place) -> R) -> R;
}

/// What a look finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Not yet published.
    Absent,
    /// There.
    Here,
    /// The member is in a later round already: it makes other calls than we do.
    Passed,
}

/// A member, or [`LAST_ONE`], as a number that is not zero.
fn code(whom: u32) -> u32 {
    whom.wrapping_add(2)
}

fn whom_of(code: u32) -> u32 {
    code.wrapping_sub(2)
}

/// A member's place at a board.
pub struct Seat<D> {
    desks: D,
    me: u32,
    /// Rounds in which our slots were published last.
    last: [u64; DESK_SLOT_COUNT as usize],
    /// All members are known to be done with this round.
    cleared: u64,
    /// Counted rounds so far.
    counted: u64,
    /// Bytes that recent publications had: the next one may have as many.
    usual_bytes: usize,
    /// Sleepers ask for fences.
    pub full_fence: bool,
}

impl<D: Desks> Seat<D> {
    /// The place of a member at a fresh board.
    pub fn new(desks: D, me: u32) -> Seat<D> {
        assert!(me < desks.member_count(), "a member of the board");
        let last = [0; DESK_SLOT_COUNT as usize];
        Seat { desks, me, last, cleared: 0, counted: 0, usual_bytes: 0, full_fence: true }
    }

    /// The memory.
    pub fn desks(&self) -> &D {
        &self.desks
    }

    /// Members of the board.
    pub fn member_count(&self) -> u32 {
        self.desks.member_count()
    }

    /// This member.
    pub fn me(&self) -> u32 {
        self.me
    }

    /// Whether a slot may be written; if not, a member that is not done with it.
    #[inline]
    pub fn room(&mut self, slot: u32) -> Result<(), u32> {
        match self.last[slot as usize] <= self.cleared {
            true => Ok(()),
            false => self.look_for_room(self.last[slot as usize]),
        }
    }

    #[cold]
    fn look_for_room(&mut self, needed: u64) -> Result<(), u32> {
        let mut least = u64::MAX;
        for member in (0..self.desks.member_count()).filter(|member| *member != self.me) {
            // SYNC(board.done): the member's reads of our slot were before its `finish`.
            let done = self.desks.done(member).load(Acquire);
            if done < needed {
                return Err(member);
            }
            least = least.min(done);
        }
        self.cleared = self.cleared.max(least);
        Ok(())
    }

    /// Fills one of our slots, with about so many bytes, and shows it.
    ///
    /// # Panics
    /// If there is no room (see [`Seat::room`]).
    #[inline]
    pub fn publish(&mut self, slot: u32, word: u64, bytes: usize, fill: impl FnOnce(D::Place)) {
        assert!(self.last[slot as usize] <= self.cleared, "a slot is free before it is filled");
        // SAFETY: the slot is ours, and everybody is done with what was in it.
        unsafe { self.desks.write(self.me, slot, fill) };
        self.last[slot as usize] = word;
        // SYNC(board.word): shows what the slot holds to `look`.
        self.desks.word(self.me, slot).store(word, Release);
        // Others read the next one some rounds ago: it is fetched back while they are waited for.
        self.usual_bytes = bytes.max(self.usual_bytes - self.usual_bytes / 4);
        self.desks.prepare(self.me, (slot + 1) % DESK_SLOT_COUNT, self.usual_bytes);
    }

    /// Whether a member has published the round in a slot.
    #[inline]
    pub fn look(&self, member: u32, slot: u32, word: u64) -> Look {
        // SYNC(board.word): sees what the slot holds.
        let found = self.desks.word(member, slot).load(Acquire);
        match found {
            _ if found == word => Look::Here,
            _ if found < word => Look::Absent,
            _ => Look::Passed,
        }
    }

    /// Lends a published slot.
    ///
    /// # Safety
    /// [`Seat::look`] said `Here` for it (or the round is combined), and we are not done with it.
    #[inline]
    pub unsafe fn read<R>(&self, member: u32, slot: u32, with: impl FnOnce(D::Place) -> R) -> R {
        // SAFETY: the caller's promise.
        unsafe { self.desks.read(member, slot, with) }
    }

    /// All members are known to be done with the rounds up to this one: their publications in a
    /// later one were seen.
    #[inline]
    pub fn clear(&mut self, word: u64) {
        self.cleared = self.cleared.max(word);
    }

    /// We read nothing of this round and those before any more.
    #[inline]
    pub fn finish(&self, word: u64) {
        // SYNC(board.done): lets the owners of the slots that we read write them again.
        self.desks.done(self.me).store(word, Release);
    }

    /// Whether a member is done with this round.
    #[inline]
    pub fn is_done(&self, member: u32, word: u64) -> bool {
        // SYNC(board.done): the member's uses of what we lent it in the round were before.
        self.desks.done(member).load(Acquire) >= word
    }

    /// Counts our arrival in a counted round, after our publication; whether all have arrived now,
    /// and combining is ours.
    pub fn arrive(&mut self) -> bool {
        self.counted += 1;
        let count = self.desks.member_count();
        let group = self.me / GROUP;
        let size = GROUP.min(count - group * GROUP);
        // SYNC(board.arrive): the last of a group sees the publications of all of the group.
        let before = self.desks.group(group).add(1, AcqRel);
        if before + 1 != self.counted * u64::from(size) {
            return false;
        }
        // SYNC(board.arrive): the last of all sees what the last of each group saw.
        let before = self.desks.groups().add(1, AcqRel);
        before + 1 == self.counted * u64::from(count.div_ceil(GROUP))
    }

    /// Writes our own slot once more, as the last one of a counted round.
    ///
    /// # Safety
    /// [`Seat::arrive`] said that we are the last one, and the round is not combined yet.
    pub unsafe fn rewrite<R>(&self, slot: u32, fill: impl FnOnce(D::Place) -> R) -> R {
        // SAFETY: nobody else looks at any slot of this round before it is combined.
        unsafe { self.desks.write(self.me, slot, fill) }
    }

    /// Shows a counted round as combined.
    pub fn show_combined(&mut self, word: u64) {
        self.desks.combiner().store(self.me, Relaxed);
        self.clear(word - 1);
        // SYNC(board.combined): shows the result and its author to `combined`.
        self.desks.combined().store(word, Release);
    }

    /// Who combined this round, once it is.
    #[inline]
    pub fn combined(&mut self, word: u64) -> Option<u32> {
        // SYNC(board.combined): sees the result.
        if self.desks.combined().load(Acquire) < word {
            return None;
        }
        self.clear(word - 1);
        Some(self.desks.combiner().load(Relaxed))
    }

    /// After a publication, `finish` or `show_combined`: whether somebody sleeps who may wait for
    /// it.
    #[inline]
    pub fn somebody_sleeps(&self) -> bool {
        // SYNC(board.sleep): what was shown before the look for sleepers; a sleeper's side is
        // `fall_asleep` and the heavy fence of the bell before its last look.
        light_fence(self.full_fence);
        self.desks.asleep().load(Relaxed) != 0
    }

    /// Those who sleep and wait for somebody who is meant ([`LAST_ONE`] may be).
    pub fn sleepers(&self, is_meant: impl Fn(u32) -> bool) -> impl Iterator<Item = u32> {
        (0..self.desks.member_count()).filter(move |member| {
            let code = self.desks.awaited(*member).load(Relaxed);
            code != 0 && is_meant(whom_of(code))
        })
    }

    /// Says that we are about to sleep for `whom`, before the bell is armed.
    pub fn fall_asleep(&self, whom: u32) {
        self.desks.awaited(self.me).store(code(whom), Relaxed);
        self.desks.asleep().add(1, Relaxed);
        // SYNC(board.sleep): the heavy fence of the bell comes next.
    }

    /// After [`Seat::fall_asleep`]: it is somebody else. Followed by another look.
    pub fn sleep_for(&self, whom: u32) {
        self.desks.awaited(self.me).store(code(whom), Relaxed);
        // SYNC(board.sleep): the wish before the look, as the bell's heavy fence for the first.
        heavy_fence(register_membarrier());
    }

    /// We are awake again.
    pub fn wake_up(&self) {
        self.desks.awaited(self.me).store(0, Relaxed);
        self.desks.asleep().add(u32::MAX, Relaxed);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One collective call of this process at a board: its rounds, and the waits between them.

use super::meta;
use crate::entry::{Awaited, Entry};
use crate::error::{MpiError, Result, class, make};
use crate::object::comm::Comm;
use crate::runtime::Runtime;
use std::cell::RefMut;
use strait_transport::lane::shm::board::{LAST_ONE, Look, Seat};
use strait_transport::lane::shm::desk::{Board, MappedDesks, Place};
use strait_transport::node::DESK_SLOT_COUNT;
use strait_transport::worker::Waiter;

/// Bits of a word for the round within a call.
const ROUND_BITS: u32 = 20;
/// Most rounds of one call.
pub const ROUNDS_MAX: usize = (1 << ROUND_BITS) - 16;
/// Close looks before the ladder of waits: some microseconds, in which a member that is on its way
/// arrives.
const CLOSE_LOOKS: u32 = 100;
/// Turns of the ladder between two looks at what else may end a wait.
const TURNS_PER_CHECK: u32 = 64;

/// A call under way.
pub struct Table<'a> {
    pub(super) entry: &'a mut Entry,
    pub(super) comm: &'a Comm,
    board: RefMut<'a, Board>,
    /// Words of this call begin above.
    base: u64,
    /// What we publish with each round.
    meta: u64,
    /// The last one to arrive combines this call's round.
    pub(super) is_counted: bool,
}

impl<'a> Table<'a> {
    /// For the communicator's call of this number. `None` if it has no board.
    ///
    /// # Errors
    /// Another thread is in a collective call of the communicator.
    #[inline]
    pub fn of(
        entry: &'a mut Entry,
        comm: &'a Comm,
        number: u64,
        meta: u64,
    ) -> Result<Option<Table<'a>>> {
        let Some(Some(board)) = comm.board.get() else { return Ok(None) };
        let Ok(board) = board.try_borrow_mut() else { return Err(two_at_once(comm)) };
        Ok(Some(Table { entry, comm, board, base: number << ROUND_BITS, meta, is_counted: false }))
    }

    /// Members.
    #[inline]
    pub fn size(&self) -> u32 {
        self.comm.group.size() as u32
    }

    /// This member.
    #[inline]
    pub fn me(&self) -> u32 {
        self.comm.rank
    }

    #[inline]
    fn word(&self, round: u32) -> u64 {
        self.base + 1 + u64::from(round)
    }

    #[inline]
    fn slot(&self, round: u32) -> u32 {
        ((self.base >> ROUND_BITS) as u32).wrapping_add(round) % DESK_SLOT_COUNT
    }

    /// Publishes `bytes` bytes in a round.
    #[inline]
    pub fn publish(&mut self, round: u32, bytes: usize, fill: impl FnOnce(&mut [u8])) -> Result {
        let (slot, word, meta) = (self.slot(round), self.word(round), self.meta);
        if self.board.seat.room(slot).is_err() {
            self.wait(round, &mut |board| board.seat.room(slot))?;
        }
        self.board.seat.publish(slot, word, bytes, |place| {
            // SAFETY: the slot is lent for writing.
            unsafe { (*place.rest).meta = meta };
            if bytes > 0 {
                // SAFETY: as above; `data` checks that the slot has so many bytes.
                fill(unsafe { std::slice::from_raw_parts_mut(place.data(bytes), bytes) });
            }
        });
        let (me, is_counted) = (self.me(), self.is_counted);
        // Who sleeps for a last one makes another call than we do, if our round is not counted.
        self.board.wake(|whom| whom == me || (whom == LAST_ONE && !is_counted));
        Ok(())
    }

    /// Waits until a member has published in a round, and looks whether it makes the same call.
    #[inline]
    pub fn see(&mut self, member: u32, round: u32) -> Result {
        let (slot, word) = (self.slot(round), self.word(round));
        let mut found = self.board.seat.look(member, slot, word);
        if found == Look::Absent {
            self.wait(round, &mut |board| {
                found = board.seat.look(member, slot, word);
                if found == Look::Absent { Err(member) } else { Ok(()) }
            })?;
        }
        match found {
            Look::Here if self.meta_of(member, slot) == self.meta => Ok(()),
            _ => Err(self.mismatch(member, slot, found)),
        }
    }

    /// As [`Table::see`], of all others, who publish so many rounds ahead of their reading.
    #[inline]
    pub fn see_all(&mut self, round: u32, ahead: u32) -> Result {
        for member in (0..self.size()).filter(|member| *member != self.comm.rank) {
            self.see(member, round)?;
        }
        // Below the words of this call are those of the last one, which is over for all.
        let word = self.word(round);
        self.board.seat.clear(word - 1 - u64::from(ahead));
        Ok(())
    }

    /// Waits until a member is done with a round: it uses nothing any more that we lent it there.
    pub fn await_done(&mut self, member: u32, round: u32) -> Result {
        let word = self.word(round);
        let look = |board: &mut Board| match board.seat.is_done(member, word) {
            true => Ok(()),
            false => Err(member),
        };
        match look(&mut self.board) {
            Ok(()) => Ok(()),
            Err(_) => self.wait(round, &mut |board| look(board)),
        }
    }

    /// As [`Table::await_done`], of all others.
    pub fn await_all_done(&mut self, round: u32) -> Result {
        for member in (0..self.size()).filter(|member| *member != self.comm.rank) {
            self.await_done(member, round)?;
        }
        let word = self.word(round);
        self.board.seat.clear(word);
        Ok(())
    }

    /// Whether members count their arrivals.
    #[inline]
    pub fn counts(&self) -> bool {
        self.board.counts
    }

    /// Counts our arrival in a counted round, after our publication; whether we are the last one.
    pub fn arrive(&mut self) -> bool {
        self.board.seat.arrive()
    }

    /// Writes our publication once more, as the last one.
    ///
    /// # Safety
    /// [`Table::arrive`] said that we are, and it was followed by nothing but looks.
    pub unsafe fn rewrite(&mut self, round: u32, bytes: usize, fill: impl FnOnce(&mut [u8])) {
        let slot = self.slot(round);
        let write = |place: Place| {
            // SAFETY: the slot is lent for writing.
            fill(unsafe { std::slice::from_raw_parts_mut(place.data(bytes), bytes) });
        };
        // SAFETY: the caller's promise.
        unsafe { self.board.seat.rewrite(slot, write) };
    }

    /// Shows a counted round as combined by us.
    pub fn show_combined(&mut self, round: u32) {
        let word = self.word(round);
        self.board.seat.show_combined(word);
        self.board.wake(|whom| whom == LAST_ONE);
    }

    /// Waits until a counted round is combined; by whom.
    pub fn await_combined(&mut self, round: u32) -> Result<u32> {
        let word = self.word(round);
        if let Some(member) = self.board.seat.combined(word) {
            return Ok(member);
        }
        let mut combiner = 0;
        self.wait(round, &mut |board| match board.seat.combined(word) {
            Some(member) => {
                combiner = member;
                Ok(())
            }
            None => Err(LAST_ONE),
        })?;
        Ok(combiner)
    }

    /// Whether all members can read each other's memory; settled once for a board, in a round of
    /// the call in which that is asked first by all.
    pub fn can_read(&mut self) -> Result<bool> {
        match self.board.reads {
            Some(reads) => Ok(reads),
            None => self.settle_reads(),
        }
    }

    #[cold]
    fn settle_reads(&mut self) -> Result<bool> {
        let (me, members) = (self.entry.me(), self.comm.group.members.clone());
        let mut others = members.iter().filter(|peer| *peer != me);
        let mine = others.all(|peer| self.entry.worker.can_read(peer));
        self.publish(0, 1, |slot| slot[0] = u8::from(mine))?;
        self.see_all(0, 0)?;
        // SAFETY: it is used before the end of the round.
        let view = unsafe { self.view(0, 1) };
        // SAFETY: all were seen.
        let all = (0..self.size()).all(|member| unsafe { view.of(member) } == [1]);
        self.finish(0);
        self.board.reads = Some(all);
        // The rounds of the call proper follow.
        self.base += 1;
        Ok(all)
    }

    /// Publications of `bytes` bytes each in this round.
    ///
    /// # Safety
    /// It is not used after [`Table::finish`] of the round.
    #[inline]
    pub unsafe fn view(&self, round: u32, bytes: usize) -> View {
        View { seat: &raw const self.board.seat, slot: self.slot(round), bytes }
    }

    /// We are done with this round.
    #[inline]
    pub fn finish(&mut self, round: u32) {
        let word = self.word(round);
        self.board.seat.finish(word);
        let me = self.me();
        self.board.wake(|whom| whom == me);
    }

    /// We leave the call amid it: done with all of its rounds.
    #[cold]
    pub fn abandon(&mut self) {
        let word = self.word(ROUNDS_MAX as u32);
        self.board.seat.finish(word);
        // Nobody may wait for the call to end.
        self.board.wake(|_| true);
    }

    #[inline]
    fn meta_of(&self, member: u32, slot: u32) -> u64 {
        // SAFETY: a look found it published, and we are not done with the round.
        unsafe { self.board.seat.read(member, slot, |place| (*place.rest).meta) }
    }

    #[cold]
    fn mismatch(&self, member: u32, slot: u32, found: Look) -> Box<MpiError> {
        let theirs = (found == Look::Here).then(|| self.meta_of(member, slot));
        meta::mismatch(self.comm, member, self.meta, theirs)
    }

    /// Until `look` is content; until then it names whom it waits for.
    fn wait(
        &mut self,
        round: u32,
        look: &mut dyn FnMut(&mut Board) -> std::result::Result<(), u32>,
    ) -> Result {
        if self.entry.is_alone() && Waiter::new().is_spinning() {
            for _ in 0..CLOSE_LOOKS {
                std::hint::spin_loop();
                if look(&mut self.board).is_ok() {
                    return Ok(());
                }
            }
        }
        self.wait_long(round, look)
    }

    #[cold]
    fn wait_long(
        &mut self,
        round: u32,
        look: &mut dyn FnMut(&mut Board) -> std::result::Result<(), u32>,
    ) -> Result {
        let mut wait = Wait {
            slot: self.slot(round),
            word: self.word(round),
            meta: self.meta,
            comm: self.comm,
            board: &mut self.board,
            look,
            whom: LAST_ONE,
            is_announced: false,
            turns: 0,
            failure: None,
        };
        if !wait.is_done(self.entry) {
            self.entry.wait_long(&mut wait);
        }
        wait.failure.map_or(Ok(()), Err)
    }
}

/// The publications of a round.
#[derive(Clone, Copy)]
pub struct View {
    seat: *const Seat<MappedDesks>,
    slot: u32,
    bytes: usize,
}

impl View {
    /// What a member published.
    ///
    /// # Safety
    /// [`Table::see`] was right for it (or it is our own), and the publication had so many bytes.
    #[inline]
    pub unsafe fn of<'b>(&self, member: u32) -> &'b [u8] {
        if self.bytes == 0 {
            return &[];
        }
        // SAFETY: the table outlives the view, says who made it.
        let seat = unsafe { &*self.seat };
        // SAFETY: the caller's promise; nobody writes the slot before we are done with the round.
        unsafe {
            seat.read(member, self.slot, |place| {
                std::slice::from_raw_parts(place.data(self.bytes).cast_const(), self.bytes)
            })
        }
    }
}

#[cold]
fn two_at_once(comm: &Comm) -> Box<MpiError> {
    let text = format!("two threads are in collective calls on {} at once", comm.describe());
    make(class::OTHER, text)
}

/// A wait at a board: for members, and for what makes waiting senseless.
struct Wait<'a> {
    slot: u32,
    word: u64,
    meta: u64,
    comm: &'a Comm,
    board: &'a mut Board,
    look: &'a mut dyn FnMut(&mut Board) -> std::result::Result<(), u32>,
    whom: u32,
    /// We have said that we may sleep for it.
    is_announced: bool,
    turns: u32,
    failure: Option<Box<MpiError>>,
}

impl Wait<'_> {
    fn look(&mut self) -> bool {
        loop {
            match (self.look)(self.board) {
                Ok(()) => return true,
                Err(whom) if self.is_announced && whom != self.whom => {
                    // The one that we said we sleep for has come, and now it is another one.
                    self.whom = whom;
                    self.board.seat.sleep_for(whom);
                }
                Err(whom) => {
                    self.whom = whom;
                    return false;
                }
            }
        }
    }

    /// Somebody who came already makes another call than we do.
    #[cold]
    fn find_mismatch(&mut self) -> bool {
        for member in 0..self.board.seat.member_count() {
            let found = self.board.seat.look(member, self.slot, self.word);
            if found != Look::Here || member == self.comm.rank {
                continue;
            }
            // SAFETY: just found published, and we are not done with the round.
            let theirs =
                unsafe { self.board.seat.read(member, self.slot, |place| (*place.rest).meta) };
            if theirs != self.meta {
                let error = meta::mismatch(self.comm, member, self.meta, Some(theirs));
                self.failure = Some(error);
                return true;
            }
        }
        false
    }
}

impl Awaited for Wait<'_> {
    fn is_done(&mut self, runtime: &mut Runtime) -> bool {
        if self.look() {
            return true;
        }
        if self.comm.is_revoked() {
            self.failure = Some(crate::fault::revoked(self.comm));
            return true;
        }
        if let Some(error) = runtime.worker.loss_among(self.comm.group.members.iter()) {
            // What the lost one showed before counts.
            if !self.look() {
                self.failure = Some(error.into());
            }
            return true;
        }
        self.turns += 1;
        self.turns.is_multiple_of(TURNS_PER_CHECK) && self.find_mismatch()
    }

    fn watch(&mut self, _: &mut Entry) -> bool {
        for _ in 0..CLOSE_LOOKS / 4 {
            if self.look() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    fn announce_sleep(&mut self) {
        // The last look before sleep is a thorough one.
        self.turns = TURNS_PER_CHECK - 1;
        self.is_announced = true;
        self.board.seat.fall_asleep(self.whom);
    }

    fn withdraw_sleep(&mut self) {
        self.is_announced = false;
        self.board.seat.wake_up();
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a board lies: desks of the node memory, one behind the other, a desk for each member; who
//! gets which, and when they are free again.
//!
//! Invariants:
//! 1. A desk belongs to the board whose maker turned its claim from 0 to 1. Nobody waits for a
//!    desk: where too few are free in a row, there is no board.
//! 2. The board's users count down when they leave; the last one clears all words, then the claims.
//!    So a free desk is as good as a fresh one.
//! 3. What is found in a desk decides nothing but what is right to wait for: lengths come from the
//!    caller.
//!
//! Not here: the protocol (board.rs); how members agree on the first desk (bindings).

use super::bell;
use super::board::{Desks, Seat};
use crate::memory::copy::prefetch_for_writing;
use crate::node::{DESK_BODY_BYTES, DESK_BYTES, DESK_HEAD_BYTES, DESK_SLOT_COUNT, Node, RankState};
use crate::sync::register_membarrier;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of a publication that fit the slot's own lines.
pub const INLINE_BYTES: usize = 112;

/// Bytes of a body that are fetched for writing ahead of time: as many lines as are in flight at
/// once.
const PREPARED_BYTES: usize = 8192;

#[repr(C, align(128))]
struct Line<T>(T);

/// The lines of a desk: its claim, then four of the board (in its first desk), one of a group.
#[repr(C)]
struct Desk {
    claim: Line<AtomicU32>,
    users: Line<AtomicU32>,
    asleep: Line<AtomicU32>,
    combined: Line<(AtomicU64, AtomicU32)>,
    groups: Line<AtomicU64>,
    group: Line<AtomicU64>,
    done: Line<AtomicU64>,
    awaited: Line<AtomicU32>,
    slots: [Slot; DESK_SLOT_COUNT as usize],
}

const _: () = assert!(size_of::<Desk>() <= DESK_HEAD_BYTES);

#[repr(C, align(128))]
struct Slot {
    word: AtomicU64,
    rest: UnsafeCell<Rest>,
}

/// A slot after its word.
#[repr(C)]
pub struct Rest {
    /// What call this is.
    pub meta: u64,
    /// Data of at most [`INLINE_BYTES`]; longer data is in the body.
    pub inline: [u8; INLINE_BYTES],
}

const _: () = assert!(size_of::<Slot>() == 128);

/// The contents of a slot.
#[derive(Clone, Copy)]
pub struct Place {
    /// Its own lines.
    pub rest: *mut Rest,
    body: *mut u8,
}

impl Place {
    /// Where data of so many bytes is.
    ///
    /// # Panics
    /// If a slot cannot hold so many.
    #[inline]
    pub fn data(&self, bytes: usize) -> *mut u8 {
        assert!(bytes <= DESK_BODY_BYTES, "a publication fits a slot");
        if bytes <= INLINE_BYTES {
            // SAFETY: the place of the array, without a look at it.
            unsafe { (&raw mut (*self.rest).inline).cast() }
        } else {
            self.body
        }
    }
}

fn claim_of(node: &Node, desk: u32) -> &AtomicU32 {
    // SAFETY: the desk is mapped as long as the node, and page-aligned; this line is an atomic.
    unsafe { &(*node.desk_base(desk, 1).cast::<Desk>()).claim.0 }
}

/// The desks of one board in the node memory.
pub struct MappedDesks {
    base: *const u8,
    count: u32,
    node: Arc<Node>,
}

// SAFETY: the pointer leads into the node's mapping, which belongs to the process; what it leads to
// are atomics, and slots whose use the board's protocol orders.
unsafe impl Send for MappedDesks {}

impl MappedDesks {
    /// Takes desks for a board of so many members; the number of the first one, if there are so
    /// many in a row.
    pub fn claim(node: &Node, members: u32) -> Option<u32> {
        let count = node.layout().desk_count();
        let mut first = 0;
        while members > 0 && first + members <= count {
            // SYNC(desk.claim): the desks were cleared before they were given back.
            let take = |desk| claim_of(node, desk).compare_exchange(0, 1, Acquire, Relaxed);
            let taken = (first..first + members).find(|desk| take(*desk).is_err());
            let Some(taken) = taken else { return Some(first) };
            for desk in first..taken {
                // SYNC(desk.claim): nothing was written; pairs with whoever takes it next.
                claim_of(node, desk).store(0, Release);
            }
            first = taken + 1;
        }
        None
    }

    /// The desks from `first` on, which were claimed for so many members. Each member does this
    /// once and drops it once.
    pub fn join(node: &Arc<Node>, first: u32, members: u32) -> MappedDesks {
        let base = node.desk_base(first, members);
        MappedDesks { base, count: members, node: Arc::clone(node) }
    }

    #[inline]
    fn desk(&self, member: u32) -> &Desk {
        debug_assert!(member < self.count);
        // SAFETY: `join` checked that so many desks lie behind the base, which is page-aligned.
        let desk = unsafe { self.base.add(member as usize * DESK_BYTES) };
        // SAFETY: mapped as long as the node; made of atomics, and of cells for the slots.
        unsafe { &*desk.cast::<Desk>() }
    }

    #[inline]
    fn place(&self, member: u32, slot: u32) -> Place {
        debug_assert!(slot < DESK_SLOT_COUNT);
        let offset = DESK_HEAD_BYTES + slot as usize * DESK_BODY_BYTES;
        Place {
            rest: self.desk(member).slots[slot as usize].rest.get(),
            // SAFETY: the bodies lie behind the lines of the same desk.
            body: unsafe { self.base.add(member as usize * DESK_BYTES + offset).cast_mut() },
        }
    }
}

impl Drop for MappedDesks {
    fn drop(&mut self) {
        // SYNC(desk.claim): both ways: the last one out comes after all that the others did here.
        if self.desk(0).users.0.fetch_add(1, AcqRel) + 1 != self.count {
            return;
        }
        for member in 0..self.count {
            let desk = self.desk(member);
            desk.combined.0.0.store(0, Relaxed);
            desk.groups.0.store(0, Relaxed);
            desk.group.0.store(0, Relaxed);
            desk.done.0.store(0, Relaxed);
            for slot in &desk.slots {
                slot.word.store(0, Relaxed);
            }
        }
        self.desk(0).users.0.store(0, Relaxed);
        for member in 0..self.count {
            // SYNC(desk.claim): cleared before it is free.
            self.desk(member).claim.0.store(0, Release);
        }
    }
}

// SAFETY: members have desks of their own, slots of a desk are distinct; the counts are checked
// where the pointers are made.
unsafe impl Desks for MappedDesks {
    type Word = AtomicU64;
    type Short = AtomicU32;
    type Place = Place;

    #[inline]
    fn member_count(&self) -> u32 {
        self.count
    }

    #[inline]
    fn word(&self, member: u32, slot: u32) -> &AtomicU64 {
        &self.desk(member).slots[slot as usize].word
    }

    #[inline]
    fn done(&self, member: u32) -> &AtomicU64 {
        &self.desk(member).done.0
    }

    fn group(&self, group: u32) -> &AtomicU64 {
        &self.desk(group).group.0
    }

    fn groups(&self) -> &AtomicU64 {
        &self.desk(0).groups.0
    }

    #[inline]
    fn combined(&self) -> &AtomicU64 {
        &self.desk(0).combined.0.0
    }

    #[inline]
    fn combiner(&self) -> &AtomicU32 {
        &self.desk(0).combined.0.1
    }

    #[inline]
    fn asleep(&self) -> &AtomicU32 {
        &self.desk(0).asleep.0
    }

    #[inline]
    fn awaited(&self, member: u32) -> &AtomicU32 {
        &self.desk(member).awaited.0
    }

    #[inline]
    fn prepare(&self, member: u32, slot: u32, bytes: usize) {
        let line = &raw const self.desk(member).slots[slot as usize];
        prefetch_for_writing(line.cast());
        prefetch_for_writing(line.cast::<u8>().wrapping_add(64));
        if bytes > INLINE_BYTES {
            let body = self.place(member, slot).body;
            for at in (0..bytes.min(PREPARED_BYTES)).step_by(64) {
                prefetch_for_writing(body.wrapping_add(at));
            }
        }
    }

    #[inline]
    unsafe fn write<R>(&self, member: u32, slot: u32, with: impl FnOnce(Place) -> R) -> R {
        with(self.place(member, slot))
    }

    #[inline]
    unsafe fn read<R>(&self, member: u32, slot: u32, with: impl FnOnce(Place) -> R) -> R {
        with(self.place(member, slot))
    }
}

/// A member's place at a board of the node memory, with the bells of the others.
pub struct Board {
    /// The protocol.
    pub seat: Seat<MappedDesks>,
    /// Whether members count their arrivals, so that the last one does what can be done once: when
    /// they outnumber cores, or are many. The same at all.
    pub counts: bool,
    /// Whether all can read each other's memory, once that was settled.
    pub reads: Option<bool>,
    /// Members as ranks of the node.
    local_ranks: Box<[u32]>,
    /// All members were seen running, so that `full_fence` is settled.
    is_settled: bool,
}

impl Board {
    /// For the members with these ranks of the node, of which we are number `me`; `first` is what
    /// [`MappedDesks::claim`] gave one of them.
    pub fn new(
        node: &Arc<Node>,
        first: u32,
        counts: bool,
        local_ranks: Box<[u32]>,
        me: u32,
    ) -> Board {
        let desks = MappedDesks::join(node, first, local_ranks.len() as u32);
        let seat = Seat::new(desks, me);
        Board { seat, counts, reads: None, local_ranks, is_settled: false }
    }

    /// After something was shown: wakes those who sleep for somebody who is meant: ourselves, or
    /// [`LAST_ONE`] after a round was combined.
    ///
    /// [`LAST_ONE`]: super::board::LAST_ONE
    #[inline]
    pub fn wake(&mut self, is_meant: impl Fn(u32) -> bool) {
        if !self.is_settled {
            self.settle();
        }
        if self.seat.somebody_sleeps() {
            self.ring(is_meant);
        }
    }

    #[cold]
    fn ring(&self, is_meant: impl Fn(u32) -> bool) {
        for member in self.seat.sleepers(is_meant) {
            bell::ring(&self.seat.desks().node, self.local_ranks[member as usize]);
        }
    }

    /// Once all run, their records say whether we must fence for one of them.
    #[cold]
    fn settle(&mut self) {
        let node = &self.seat.desks().node;
        let records = || self.local_ranks.iter().map(|rank| node.record(*rank));
        if records().all(|record| record.state() != RankState::Absent) {
            let asked = records().any(|record| record.needs_fence());
            self.seat.full_fence = asked || !register_membarrier();
            self.is_settled = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodePlan;

    fn node(local_size: u32) -> Arc<Node> {
        let plan = NodePlan {
            job: [1; 16],
            key: [2; 32],
            size: local_size,
            first_local_rank: 0,
            local_size,
        };
        Arc::new(Node::create(&plan).unwrap())
    }

    #[test]
    fn desks_are_given_out_once_and_come_back_clean() {
        let node = node(3);
        let all = node.layout().desk_count();
        let mut firsts = Vec::new();
        while let Some(first) = MappedDesks::claim(&node, 3) {
            firsts.push(first);
        }
        assert_eq!(firsts.len() as u32, all / 3);
        assert_eq!(MappedDesks::claim(&node, 3), None);
        let mut members: Vec<_> =
            (0..3).map(|me| Board::new(&node, firsts[2], false, Box::new([0, 1, 2]), me)).collect();
        for member in &mut members {
            member.seat.publish(1, 77, 8, |place| {
                // SAFETY: the slot is lent for writing.
                unsafe { place.data(8).write_bytes(7, 8) }
            });
            member.seat.finish(77);
            member.seat.arrive();
        }
        let last = members.pop();
        drop(members);
        assert_eq!(MappedDesks::claim(&node, 3), None);
        drop(last);
        assert_eq!(MappedDesks::claim(&node, 3), Some(firsts[2]));
        let fresh = MappedDesks::join(&node, firsts[2], 3);
        for member in 0..3 {
            assert_eq!(fresh.word(member, 1).load(Relaxed), 0);
            assert_eq!(fresh.done(member).load(Relaxed), 0);
            assert_eq!(fresh.group(member).load(Relaxed), 0);
        }
        // It was joined by one of three: not free.
        drop(fresh);
        assert_eq!(MappedDesks::claim(&node, 1), None);
        assert_eq!(MappedDesks::claim(&node, 0), None);
    }

    #[test]
    fn a_node_of_one_has_no_desks() {
        assert_eq!(MappedDesks::claim(&node(1), 1), None);
    }
}

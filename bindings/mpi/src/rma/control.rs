// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The locks of a window's members that are on one host, in memory that they share
//! (transport's lane/shm/window_lock.rs has the protocol of waiting).

use crate::object::shared_memory::Mapping;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use strait_transport::lane::shm::bell;
use strait_transport::lane::shm::window_lock;
use strait_transport::node::Node;

/// A cache line for each member.
#[repr(C, align(64))]
struct Line {
    /// The lock of MPI_Win_lock.
    lock: AtomicU32,
    /// Held while elements are combined with memory of the member.
    update: AtomicU32,
    /// Waiters of the member that sleep for a lock.
    own: AtomicU32,
    /// In the first line only: those of all members.
    asleep: AtomicU32,
}

/// The locks. A place is a member's index among those of the host.
pub struct Control {
    memory: Mapping,
    places: usize,
    me: usize,
    local_ranks: Vec<u32>,
    node: Arc<Node>,
}

impl Control {
    /// Bytes for so many members.
    pub fn bytes(places: usize) -> usize {
        places * size_of::<Line>()
    }

    /// Locks in zeroed memory of [`Control::bytes`], all free.
    pub fn new(memory: Mapping, me: usize, local_ranks: Vec<u32>, node: Arc<Node>) -> Control {
        Control { memory, places: local_ranks.len(), me, local_ranks, node }
    }

    fn line(&self, place: usize) -> &Line {
        assert!(place < self.places);
        // SAFETY: the memory holds a line for each place, aligned since mappings are, zeroed at
        // first, and only accessed through these atomics.
        unsafe { &*self.memory.base().cast::<Line>().add(place) }
    }

    /// This process's place.
    pub fn me(&self) -> usize {
        self.me
    }

    /// Takes a member's lock if it can be had now.
    #[inline]
    pub fn try_lock(&self, place: usize, alone: bool) -> bool {
        window_lock::try_lock(&self.line(place).lock, alone)
    }

    /// Lets it go, and wakes who sleeps for it.
    #[inline]
    pub fn unlock(&self, place: usize, alone: bool) {
        window_lock::unlock(&self.line(place).lock, alone);
        if window_lock::somebody_sleeps(&self.line(0).asleep) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        for other in (0..self.places).filter(|other| *other != self.me) {
            if self.line(other).own.load(Relaxed) != 0 {
                bell::ring(&self.node, self.local_ranks[other]);
            }
        }
    }

    /// A waiter of this process is about to sleep for a lock.
    pub fn fall_asleep(&self) {
        window_lock::fall_asleep(&self.line(0).asleep, &self.line(self.me).own);
    }

    /// It is awake again.
    pub fn wake_up(&self) {
        window_lock::wake_up(&self.line(0).asleep, &self.line(self.me).own);
    }

    /// Takes a member's update lock if it can be had now. Held for bounded work only.
    #[inline]
    pub fn try_update(&self, place: usize) -> bool {
        let update = &self.line(place).update;
        // SYNC(window.update): sees what the last one combined; pairs with `end_update`.
        update.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
    }

    /// Lets it go.
    #[inline]
    pub fn end_update(&self, place: usize) {
        // SYNC(window.update): pairs with `try_update`.
        self.line(place).update.store(0, Release);
    }
}

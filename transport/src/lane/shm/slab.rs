// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Chunks of a sender's shared memory, for bodies that do not fit a slot.
//!
//! Invariants:
//! 1. A chunk belongs to its sender while its state is FREE, or from allocation to publication; to
//!    the one receiver that was told its number from then until the receiver stores FREE.
//! 2. Only the sender stores USED, only that receiver stores FREE. So the sender keeps its lists to
//!    itself, and giving back costs one store.
//! 3. The most recently used chunk is tried first: its lines are warm on both sides. When it is
//!    still in use, its state word is in our cache and the look costs nothing.
//!
//! A receiver that dies keeps the chunks it was told of; they are at most the slab, and its death
//! ends the job or the sender's use of this lane to it.
//!
//! Not here: who is told, and how (mod.rs).

use crate::sync::Word;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// State of a chunk: may be allocated. Zero, so that fresh memory is free.
const FREE: u32 = 0;
/// State of a chunk: allocated, or told to a receiver.
const USED: u32 = 1;

/// The chunks of one size of one sender.
pub struct ChunkList {
    first: u16,
    /// Known to be free; last in, first out.
    free: Vec<u16>,
    /// Given out, in order; some of them may be free again.
    used: Vec<u16>,
}

impl ChunkList {
    /// The chunks `first .. first + count`, all free.
    pub fn new(first: u16, count: u16) -> ChunkList {
        let free = (first..first + count).rev().collect();
        ChunkList { first, free, used: Vec::with_capacity(usize::from(count)) }
    }

    /// Number of the first chunk.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// A chunk of our own, or `None`: all are in use. `state` gives a chunk's state word.
    #[inline]
    pub fn allocate<'a, W: Word<u32> + 'a>(&mut self, state: impl Fn(u16) -> &'a W) -> Option<u16> {
        let chunk = match self.used.last() {
            // SYNC(slab.chunk): the receiver is done with the bytes before it stored FREE.
            Some(last) if state(*last).load(Acquire) == FREE => *last,
            _ => {
                if self.free.is_empty() {
                    self.sweep(&state);
                }
                let chunk = self.free.pop()?;
                self.used.push(chunk);
                chunk
            }
        };
        // Relaxed: the receiver learns the number through the ring, which orders this store.
        state(chunk).store(USED, Relaxed);
        Some(chunk)
    }

    /// Gives back a chunk that was allocated and not told to anybody.
    pub fn cancel<'a, W: Word<u32> + 'a>(&mut self, chunk: u16, state: impl Fn(u16) -> &'a W) {
        state(chunk).store(FREE, Relaxed);
    }

    /// Whether `allocate` would succeed now.
    pub fn has_room<'a, W: Word<u32> + 'a>(&self, state: impl Fn(u16) -> &'a W) -> bool {
        // SYNC(slab.chunk): as in `allocate`, which looks again before it uses one.
        !self.free.is_empty() || self.used.iter().any(|chunk| state(*chunk).load(Acquire) == FREE)
    }

    #[cold]
    fn sweep<'a, W: Word<u32> + 'a>(&mut self, state: &impl Fn(u16) -> &'a W) {
        let free = &mut self.free;
        self.used.retain(|chunk| {
            // SYNC(slab.chunk): the receiver is done with the bytes before it stored FREE.
            let is_used = state(*chunk).load(Acquire) != FREE;
            if !is_used {
                free.push(*chunk);
            }
            is_used
        });
    }
}

/// The receiver is done with a chunk.
#[inline]
pub fn give_back(state: &impl Word<u32>) {
    // SYNC(slab.chunk): our reads of the bytes come before the sender's acquiring look.
    state.store(FREE, Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn chunks_are_reused_warm_first_and_never_twice() {
        let states: Vec<AtomicU32> = (0..7).map(|_| AtomicU32::new(0)).collect();
        let state = |chunk: u16| &states[usize::from(chunk)];
        let mut list = ChunkList::new(3, 4);
        let first = list.allocate(state).unwrap();
        give_back(state(first));
        assert_eq!(list.allocate(state), Some(first), "the warm one");
        let mut all = vec![first];
        while let Some(chunk) = list.allocate(state) {
            all.push(chunk);
        }
        all.sort_unstable();
        assert_eq!(all, [3, 4, 5, 6]);
        assert!(!list.has_room(state));
        give_back(state(4));
        assert!(list.has_room(state));
        assert_eq!(list.allocate(state), Some(4));
        assert_eq!(list.allocate(state), None);
        list.cancel(5, state);
        assert_eq!(list.allocate(state), Some(5));
        assert_eq!(list.allocate(state), None);
    }
}

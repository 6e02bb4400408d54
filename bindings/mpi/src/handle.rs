// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Dynamic handles: slab index and generation in 32 bits, so that a stale one is detected until
//! the generation wraps.
//!
//! ```text
//! requests   111 ggggg iiiiiiiiiiiiiiiiiiiiiiii      5 bits generation, 24 bits index
//! others     110 kkkk ggggggg iiiiiiiiiiiiiiiiii     kind, 7 bits generation, 18 bits index
//! ```
//!
//! Bits 31-30 are ones: above the first page of the standard ABI, and none of the MPICH ABI's
//! predefined codes.

use crate::abi::{Code, HandleKind};

/// A request that has already ended and has nothing to tell: shared by all immediate sends that
/// completed at once.
pub const REQUEST_DONE: Code = u32::MAX;

const REQUEST_INDEX_BITS: u32 = 24;
const REQUEST_PREFIX: u32 = 0b111 << 29;
const OTHER_INDEX_BITS: u32 = 18;
const OTHER_GENERATION_BITS: u32 = 7;
const OTHER_PREFIX: u32 = 0b110 << 29;

/// Objects of one kind behind handles.
pub struct Slab<T> {
    kind: HandleKind,
    entries: Vec<Entry<T>>,
    free_head: u32,
    live: usize,
}

struct Entry<T> {
    generation: u8,
    /// Next free entry while free.
    next_free: u32,
    value: Option<T>,
}

const NONE: u32 = u32::MAX;

impl<T> Slab<T> {
    /// An empty slab of a kind.
    pub fn new(kind: HandleKind) -> Slab<T> {
        Slab { kind, entries: Vec::new(), free_head: NONE, live: 0 }
    }

    fn code(&self, index: u32, generation: u8) -> Code {
        if self.kind == HandleKind::Request {
            REQUEST_PREFIX | u32::from(generation) << REQUEST_INDEX_BITS | index
        } else {
            OTHER_PREFIX
                | (self.kind as u32) << (OTHER_GENERATION_BITS + OTHER_INDEX_BITS)
                | u32::from(generation) << OTHER_INDEX_BITS
                | index
        }
    }

    #[inline]
    fn index(&self, code: Code) -> Option<usize> {
        let (index, generation) = if self.kind == HandleKind::Request {
            if code & REQUEST_PREFIX != REQUEST_PREFIX {
                return None;
            }
            (code & ((1 << REQUEST_INDEX_BITS) - 1), (code >> REQUEST_INDEX_BITS & 31) as u8)
        } else {
            let prefix = OTHER_PREFIX | (self.kind as u32) << 25;
            if code & 0xFE00_0000 != prefix {
                return None;
            }
            (code & ((1 << OTHER_INDEX_BITS) - 1), (code >> OTHER_INDEX_BITS & 127) as u8)
        };
        let entry = self.entries.get(index as usize)?;
        (entry.generation == generation && entry.value.is_some()).then_some(index as usize)
    }

    fn capacity(&self) -> usize {
        // The last request index is REQUEST_DONE's.
        if self.kind == HandleKind::Request {
            (1 << REQUEST_INDEX_BITS) - 1
        } else {
            1 << OTHER_INDEX_BITS
        }
    }

    /// Whether `insert` would find a code.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.free_head != NONE || self.entries.len() < self.capacity()
    }

    /// Stores an object; `None` when all codes of the kind are in use.
    #[inline]
    pub fn insert(&mut self, value: T) -> Option<Code> {
        let index = if self.free_head != NONE {
            let index = self.free_head;
            let entry = &mut self.entries[index as usize];
            self.free_head = entry.next_free;
            // A free entry holds nothing that needs to be dropped, which only we know.
            std::mem::forget(entry.value.replace(value));
            index
        } else {
            if self.entries.len() >= self.capacity() {
                return None;
            }
            self.entries.push(Entry { generation: 0, next_free: NONE, value: Some(value) });
            (self.entries.len() - 1) as u32
        };
        self.live += 1;
        Some(self.code(index, self.entries[index as usize].generation))
    }

    /// The object of a live handle.
    #[inline]
    pub fn get(&self, code: Code) -> Option<&T> {
        let index = self.index(code)?;
        self.entries[index].value.as_ref()
    }

    /// The object of a live handle.
    #[inline]
    pub fn get_mut(&mut self, code: Code) -> Option<&mut T> {
        let index = self.index(code)?;
        self.entries[index].value.as_mut()
    }

    /// Takes the object out; its handle is stale from now on.
    #[inline]
    pub fn remove(&mut self, code: Code) -> Option<T> {
        let index = self.index(code)?;
        let generations = if self.kind == HandleKind::Request { 31 } else { 127 };
        let entry = &mut self.entries[index];
        entry.generation = (entry.generation + 1) & generations;
        entry.next_free = self.free_head;
        self.free_head = index as u32;
        self.live -= 1;
        entry.value.take()
    }

    /// Live objects.
    pub fn live(&self) -> usize {
        self.live
    }

    /// All live objects with their codes.
    pub fn iter(&self) -> impl Iterator<Item = (Code, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(i, e)| e.value.as_ref().map(|v| (self.code(i as u32, e.generation), v)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_handle_is_detected_until_the_generation_wraps() {
        for kind in [HandleKind::Comm, HandleKind::Request] {
            let mut slab = Slab::new(kind);
            let first = slab.insert(1).unwrap();
            assert!(crate::abi::is_dynamic(first));
            assert_eq!(slab.remove(first), Some(1));
            let second = slab.insert(2).unwrap();
            assert_ne!(first, second);
            assert_eq!(slab.get(first), None);
            assert_eq!(slab.get(second), Some(&2));
        }
    }

    #[test]
    fn kinds_do_not_mix() {
        let mut comms = Slab::new(HandleKind::Comm);
        let mut groups = Slab::new(HandleKind::Group);
        let comm = comms.insert(()).unwrap();
        let group = groups.insert(()).unwrap();
        assert!(comms.get(group).is_none());
        assert!(groups.get(comm).is_none());
        assert!(comms.get(0x101).is_none());
        assert!(comms.get(REQUEST_DONE).is_none());
    }

    #[test]
    fn codes_are_reused_and_distinct() {
        let mut slab = Slab::new(HandleKind::Request);
        let codes: Vec<_> = (0..1000).map(|i| slab.insert(i).unwrap()).collect();
        for (i, c) in codes.iter().enumerate() {
            assert_eq!(slab.get(*c), Some(&i));
        }
        for c in &codes {
            slab.remove(*c);
        }
        assert_eq!(slab.live(), 0);
        assert!(slab.iter().next().is_none());
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The memory of a ring as an interface: mapped memory here, loom's cells in the models.
//!
//! Not here: who may touch what and when (ring.rs).

use crate::node::{Node, SLOT_BYTES};
use crate::sync::Word;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of a body that fit a slot.
pub const INLINE_BYTES: usize = 96;
/// Bytes of a body that fit the slot's first 64 bytes, together with the header.
pub const FIRST_LINE_BYTES: usize = 32;

/// A slot after its first word. The first word is the header's head and the publication.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rest {
    /// Envelope: context.
    pub context: u32,
    /// Envelope: source.
    pub source: u32,
    /// Envelope: tag.
    pub tag: u32,
    /// Header field.
    pub extra: u32,
    /// Header field.
    pub token: u64,
    /// The body, or the number of the chunk that holds it.
    pub body: [u8; INLINE_BYTES],
}

const _: () = assert!(size_of::<Rest>() + 8 == SLOT_BYTES);

/// Where a ring's words and slots are.
///
/// # Safety
/// `word` and `rest` accept every index below `slot_count`, which is a power of two and never
/// changes; two indices never share memory.
pub unsafe trait RingCells {
    /// A 64-bit word.
    type Word: Word<u64>;
    /// The next ticket; written by producers.
    fn tail(&self) -> &Self::Word;
    /// The first ticket that is not free again; written by the consumer.
    fn head(&self) -> &Self::Word;
    /// Slots.
    fn slot_count(&self) -> u32;
    /// First word of a slot.
    fn word(&self, index: u32) -> &Self::Word;
    /// Writes a slot's rest.
    ///
    /// # Safety
    /// The caller owns the slot (ring.rs, invariant 1).
    unsafe fn write<R>(&self, index: u32, with: impl FnOnce(*mut Rest) -> R) -> R;
    /// Reads a slot's rest.
    ///
    /// # Safety
    /// As for `write`.
    unsafe fn read<R>(&self, index: u32, with: impl FnOnce(*const Rest) -> R) -> R;
}

/// Before the slots: each word on lines of its own.
#[repr(C)]
struct Head {
    tail: PaddedWord,
    head: PaddedWord,
    room: Room,
}

#[repr(C, align(128))]
struct PaddedWord(AtomicU64);

/// Which senders sleep until the ring has room; written by them, and by the consumer who wakes.
#[repr(C, align(128))]
pub(super) struct Room {
    /// 1: somebody is in the map.
    pub(super) wanted: AtomicU32,
    /// Bit i: local rank i.
    pub(super) map: [AtomicU64; 16],
}

const _: () = assert!(size_of::<Head>() <= 4096);
const _: () = assert!(crate::node::LOCAL_SIZE_MAX as usize <= 16 * 64);

#[repr(C, align(128))]
struct Slot {
    word: AtomicU64,
    rest: std::cell::UnsafeCell<Rest>,
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);

/// The ring of one rank in the node memory.
#[derive(Clone)]
pub struct MappedRing {
    head: *const Head,
    slots: *const Slot,
    slot_count: u32,
    /// Keeps the mapping.
    _node: Arc<Node>,
}

// SAFETY: the pointers lead into the node's mapping, which belongs to the process; what they lead
// to are atomics, and slots whose use the ring's protocol orders.
unsafe impl Send for MappedRing {}

impl MappedRing {
    /// The ring of a local rank.
    pub fn of(node: &Arc<Node>, local_rank: u32) -> MappedRing {
        let base = node.ring_base(local_rank);
        // SAFETY: the layout keeps a page before the slots inside the ring's part of the mapping.
        let slots = unsafe { base.add(crate::node::RING_HEAD_BYTES) };
        MappedRing {
            head: base.cast(),
            slots: slots.cast(),
            slot_count: node.layout().slot_count(),
            _node: Arc::clone(node),
        }
    }

    fn lines(&self) -> &Head {
        // SAFETY: page-aligned, mapped as long as `_node`, and made of atomics only.
        unsafe { &*self.head }
    }

    #[inline]
    fn slot(&self, index: u32) -> &Slot {
        debug_assert!(index < self.slot_count);
        // SAFETY: the layout has `slot_count` slots here; an index is below it (trait's promise).
        unsafe { &*self.slots.add(index as usize) }
    }

    pub(super) fn room(&self) -> &Room {
        &self.lines().room
    }
}

// SAFETY: the slots are `slot_count` distinct elements of the mapping.
unsafe impl RingCells for MappedRing {
    type Word = AtomicU64;

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.lines().tail.0
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.lines().head.0
    }

    #[inline]
    fn slot_count(&self) -> u32 {
        self.slot_count
    }

    #[inline]
    fn word(&self, index: u32) -> &AtomicU64 {
        &self.slot(index).word
    }

    #[inline]
    unsafe fn write<R>(&self, index: u32, with: impl FnOnce(*mut Rest) -> R) -> R {
        with(self.slot(index).rest.get())
    }

    #[inline]
    unsafe fn read<R>(&self, index: u32, with: impl FnOnce(*const Rest) -> R) -> R {
        with(self.slot(index).rest.get())
    }
}

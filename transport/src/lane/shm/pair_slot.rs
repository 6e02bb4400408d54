// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a slot of a pair's ring says, and where these rings lie in the node memory.
//!
//! ```text
//! word   kind 7, plain 1, flags 8, bytes of the body 15, parity 1, context 32
//! rest   source 4, tag 4, then the plain message's body (of up to 112 bytes),
//!        or token 8, extra 4, four bytes of nothing, and the body (of up to 96)
//! ```
//!
//! A plain message has neither token nor extra, as an eager one that nobody waits for: a body of up
//! to 48 bytes lies in the slot's first cache line. A body of more than
//! [`INLINE_BYTES`] lies in the run; its place (4 bytes) stands where the body would.
//!
//! Invariants:
//! 1. What a slot says is copied out once and checked: lengths and places that cannot be are the
//!    answer `None`, and no byte outside the ring is touched for them.
//!
//! Not here: whose turn it is (pair.rs).

use super::cells::INLINE_BYTES;
use super::pair::PairCells;
use crate::envelope::Envelope;
use crate::node::{Node, PAIR_NEAR_BYTES, PAIR_RUN_BYTES, PAIR_SLOT_COUNT, SLOT_BYTES};
use crate::wire::header::{Header, MessageKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A slot after its word.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rest {
    source: u32,
    tag: u32,
    data: [u8; DATA_BYTES],
}

const DATA_BYTES: usize = SLOT_BYTES - 16;
/// A plain message's body of up to this lies in the first line of a slot.
pub(super) const LINE_BODY_BYTES: usize = 48;
/// Token and extra, with their padding.
const EXTENSION_BYTES: usize = 16;
const _: () = assert!(DATA_BYTES - EXTENSION_BYTES == INLINE_BYTES);
const _: () = assert!(size_of::<Rest>() + 8 == SLOT_BYTES);

/// Where a message's body is.
pub(super) enum Body {
    /// In the slot.
    Slot(*const u8),
    /// In the run, from here on.
    Run(u32),
}

/// In a word: the message is plain.
const PLAIN: u64 = 1 << 7;
const _: () = assert!((MessageKind::CancelReply as u64) < PLAIN);

/// The word of a slot, without the parity.
#[inline]
pub(super) fn word_of(header: &Header, bytes: usize) -> u64 {
    debug_assert!(bytes < 1 << 15 && u64::from(header.kind) < PLAIN);
    u64::from(header.kind)
        | if is_plain(header) { PLAIN } else { 0 }
        | u64::from(header.flags) << 8
        | (bytes as u64) << 16
        | u64::from(header.context) << 32
}

#[inline]
fn is_plain(header: &Header) -> bool {
    header.token == 0 && header.extra == 0
}

/// Writes the header; returns where the body goes.
///
/// # Safety
/// `rest` is a slot's rest, valid for writes.
#[inline]
pub(super) unsafe fn write_header(rest: *mut Rest, header: &Header) -> *mut u8 {
    // SAFETY: the caller's promise; the offsets lie inside `data`, and the writes are unaligned.
    unsafe {
        (*rest).source = header.source;
        (*rest).tag = header.tag;
        let data = (&raw mut (*rest).data).cast::<u8>();
        if is_plain(header) {
            return data;
        }
        data.cast::<u64>().write_unaligned(header.token);
        data.add(8).cast::<u32>().write_unaligned(header.extra);
        data.add(EXTENSION_BYTES)
    }
}

/// The word of a plain message.
#[inline(always)]
pub(super) fn plain_word(context: u32, bytes: usize) -> u64 {
    MessageKind::Eager as u64 | PLAIN | (bytes as u64) << 16 | u64::from(context) << 32
}

/// Writes the rest of a plain message's header; returns where the body goes.
///
/// # Safety
/// As [`write_header`].
#[inline(always)]
pub(super) unsafe fn write_plain(rest: *mut Rest, envelope: Envelope) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe {
        (*rest).source = envelope.source;
        (*rest).tag = envelope.tag;
        (&raw mut (*rest).data).cast()
    }
}

/// Of the word of a plain eager message that waits for no answer: context and bytes of the body;
/// `None` of any other.
#[inline(always)]
pub(super) fn plain_of(word: u64) -> Option<(u32, usize)> {
    const KIND_AND_FLAGS: u64 = 0xffff;
    let plain = word & KIND_AND_FLAGS == MessageKind::Eager as u64 | PLAIN;
    plain.then_some(((word >> 32) as u32, (word >> 16) as usize & 0x7fff))
}

/// Source, tag and place of the body of a plain message; `None` if that cannot be.
///
/// # Safety
/// As [`read`].
#[inline(always)]
pub(super) unsafe fn read_plain(rest: *const Rest, bytes: usize) -> Option<(u32, u32, Body)> {
    // SAFETY: the caller lends the slot; these are plain integers inside it.
    let (source, tag) = unsafe { ((*rest).source, (*rest).tag) };
    let data = data_of(rest);
    if bytes <= INLINE_BYTES {
        return Some((source, tag, Body::Slot(data)));
    }
    // SAFETY: four bytes of the slot.
    let place = unsafe { data.cast::<u32>().read_unaligned() };
    Some((source, tag, Body::Run(in_run(place, bytes)?)))
}

/// A place in the run, if so many bytes fit behind it.
#[inline(always)]
fn in_run(place: u32, bytes: usize) -> Option<u32> {
    let end = (place as usize).checked_add(bytes)?;
    (end <= PAIR_RUN_BYTES).then_some(place)
}

/// Reads what [`word_of`] and [`write_header`] wrote: header and place of the body; `None` if what
/// it says cannot be.
///
/// # Safety
/// `rest` is a published slot's rest that stays ours as long as the answer is used.
#[inline]
pub(super) unsafe fn read(word: u64, rest: *const Rest) -> Option<(Header, Body)> {
    let (kind, flags) = ((word & (PLAIN - 1)) as u8, (word >> 8) as u8);
    let bytes = (word >> 16) as usize & 0x7fff;
    // SAFETY: the caller lends the slot; these are plain integers inside it.
    let (source, tag) = unsafe { ((*rest).source, (*rest).tag) };
    let data = data_of(rest);
    let mut header = Header {
        kind,
        flags,
        body: bytes as u32,
        context: (word >> 32) as u32,
        source,
        tag,
        ..Header::default()
    };
    let at = if word & PLAIN != 0 {
        data
    } else {
        // SAFETY: as above.
        unsafe {
            header.token = data.cast::<u64>().read_unaligned();
            header.extra = data.add(8).cast::<u32>().read_unaligned();
            data.add(EXTENSION_BYTES)
        }
    };
    if bytes <= INLINE_BYTES {
        return Some((header, Body::Slot(at)));
    }
    // SAFETY: four bytes of the slot.
    let place = unsafe { at.cast::<u32>().read_unaligned() };
    Some((header, Body::Run(in_run(place, bytes)?)))
}

#[inline]
fn data_of(rest: *const Rest) -> *const u8 {
    // Only the address of a field is computed; nothing is read.
    rest.cast::<u8>().wrapping_add(std::mem::offset_of!(Rest, data))
}

#[repr(C, align(128))]
struct Slot {
    word: AtomicU64,
    rest: std::cell::UnsafeCell<Rest>,
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);

/// One ring of a receiver in the node memory.
pub struct MappedPair {
    head: *const AtomicU64,
    slots: *const Slot,
    run: *mut u8,
    /// Keeps the mapping.
    _node: Arc<Node>,
}

// SAFETY: the pointers lead into the node's mapping, which belongs to the process; what they lead
// to are atomics, and slots and bytes whose use the ring's protocol orders.
unsafe impl Send for MappedPair {}

impl MappedPair {
    /// Ring `index` of a receiver.
    pub(super) fn of(node: &Arc<Node>, receiver: u32, index: u32) -> MappedPair {
        let place = node.pair_place(receiver, index);
        MappedPair {
            head: place.head.cast(),
            slots: place.slots.cast(),
            run: place.run.cast_mut(),
            _node: Arc::clone(node),
        }
    }

    #[inline]
    fn slot(&self, index: u32) -> &Slot {
        debug_assert!(index < PAIR_SLOT_COUNT);
        // SAFETY: the layout has so many slots here; an index is below it (trait's promise).
        unsafe { &*self.slots.add(index as usize) }
    }
}

// SAFETY: the slots are distinct elements of the mapping, and the run lies behind them.
unsafe impl PairCells for MappedPair {
    type Word = AtomicU64;
    type Rest = Rest;

    #[inline]
    fn head(&self) -> &AtomicU64 {
        // SAFETY: a line of the mapping, aligned; an atomic accepts any bytes.
        unsafe { &*self.head }
    }

    #[inline]
    fn slot_count(&self) -> u32 {
        PAIR_SLOT_COUNT
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

    #[inline]
    fn run_bytes(&self) -> u32 {
        PAIR_RUN_BYTES as u32
    }

    #[inline]
    fn near_bytes(&self) -> u32 {
        PAIR_NEAR_BYTES as u32
    }

    #[inline]
    fn run_hint(&self, at: u32) -> *const u8 {
        self.run.wrapping_add(at as usize)
    }

    #[inline]
    unsafe fn write_run<R>(&self, at: u32, bytes: u32, with: impl FnOnce(*mut u8) -> R) -> R {
        debug_assert!(at as usize + bytes as usize <= PAIR_RUN_BYTES);
        // SAFETY: the caller says that the range lies in the run.
        with(unsafe { self.run.add(at as usize) })
    }

    #[inline]
    unsafe fn read_run<R>(&self, at: u32, bytes: u32, with: impl FnOnce(*const u8) -> R) -> R {
        debug_assert!(at as usize + bytes as usize <= PAIR_RUN_BYTES);
        // SAFETY: as above.
        with(unsafe { self.run.add(at as usize) })
    }
}

/// The claim word of ring `index` of a receiver: 0 free, else the sender's local rank plus one.
pub(super) fn owner(node: &Node, receiver: u32, index: u32) -> &AtomicU32 {
    let place = node.pair_place(receiver, index);
    // SAFETY: a word of the mapping, aligned; an atomic accepts any bytes; `node` keeps it.
    unsafe { &*place.owner.cast() }
}

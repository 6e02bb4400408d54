// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of user memory: contiguous, or described by a layout that packs and unpacks.

use crate::memory::copy::{FEW_BYTES, copy_few};
use std::sync::Arc;

/// How the elements of a payload lie in memory. "Packed" bytes are the elements' bytes one after
/// another with no gaps; both functions work on any range of them, so that a message can travel in
/// fragments.
///
/// # Safety
/// `pack` must initialise all of `into`; both must touch only memory that the layout describes.
pub unsafe trait Layout: Send + Sync {
    /// Packed bytes of one element.
    fn packed_bytes(&self) -> usize;

    /// Copies packed bytes `offset .. offset + into.len()` of `count` elements at `base` to `into`.
    ///
    /// # Safety
    /// `base` points to `count` readable elements of this layout, and the range lies within them.
    unsafe fn pack(&self, base: *const u8, count: usize, offset: usize, into: &mut [u8]);

    /// Writes packed bytes `offset .. offset + from.len()` to `count` elements at `base`.
    ///
    /// # Safety
    /// `base` points to `count` writable elements of this layout, and the range lies within them.
    unsafe fn unpack(&self, base: *mut u8, count: usize, offset: usize, from: &[u8]);
}

/// Where a memory lies. Device memory is refused by name today.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryKind {
    /// Ordinary memory of this process.
    #[default]
    Host,
}

/// A piece of user memory that is sent or received.
#[derive(Clone)]
pub enum Payload {
    /// `bytes` bytes at `base`.
    Contiguous { base: *mut u8, bytes: usize },
    /// `count` elements of a layout at `base`.
    Typed { base: *mut u8, count: usize, layout: Arc<dyn Layout> },
}

// SAFETY: a payload is a description; who posts it promises (in the `unsafe fn` that posts) that
// the memory is valid until completion, from whichever thread makes progress.
unsafe impl Send for Payload {}
// SAFETY: as above; shared references give no access to the memory without `unsafe`.
unsafe impl Sync for Payload {}

impl Payload {
    /// No bytes at all.
    pub const EMPTY: Payload = Payload::Contiguous { base: std::ptr::null_mut(), bytes: 0 };

    /// Packed bytes of the whole payload.
    #[inline]
    pub fn bytes(&self) -> usize {
        match self {
            Payload::Contiguous { bytes, .. } => *bytes,
            Payload::Typed { count, layout, .. } => count * layout.packed_bytes(),
        }
    }

    /// Where the memory lies.
    pub fn memory_kind(&self) -> MemoryKind {
        MemoryKind::Host
    }

    /// The bytes from `offset` on of a contiguous payload; empty for any other.
    ///
    /// # Safety
    /// The memory described is readable, and not written while the slice lives.
    #[inline]
    pub unsafe fn rest(&self, offset: usize) -> &[u8] {
        match *self {
            Payload::Contiguous { base, bytes } if offset < bytes => {
                // SAFETY: `offset` lies within the payload.
                let first = unsafe { base.add(offset) };
                // SAFETY: the caller says that all bytes of the payload are readable.
                unsafe { std::slice::from_raw_parts(first, bytes - offset) }
            }
            _ => &[],
        }
    }

    /// Copies packed bytes `offset .. offset + into.len()` into `into`.
    ///
    /// # Safety
    /// The memory described is readable and the range lies within [`Payload::bytes`].
    #[inline]
    pub unsafe fn pack(&self, offset: usize, into: &mut [u8]) {
        if into.is_empty() {
            return;
        }
        match self {
            Payload::Contiguous { base, .. } => {
                // SAFETY: the caller says that the range is readable; `into` is a distinct borrow.
                unsafe {
                    std::ptr::copy_nonoverlapping(base.add(offset), into.as_mut_ptr(), into.len())
                }
            }
            // SAFETY: the caller's promise is this function's own condition.
            Payload::Typed { base, count, layout } => unsafe {
                layout.pack(*base, *count, offset, into)
            },
        }
    }

    /// Writes packed bytes `offset .. offset + from.len()` from `from`.
    ///
    /// # Safety
    /// The memory described is writable and the range lies within [`Payload::bytes`].
    #[inline]
    pub unsafe fn unpack(&self, offset: usize, from: &[u8]) {
        if from.is_empty() {
            return;
        }
        match self {
            // SAFETY: the caller says that the range is writable; `from` is a distinct borrow.
            Payload::Contiguous { base, .. } if from.len() <= FEW_BYTES => unsafe {
                copy_few(from.as_ptr(), base.add(offset), from.len())
            },
            Payload::Contiguous { base, .. } => {
                // SAFETY: as above.
                unsafe {
                    std::ptr::copy_nonoverlapping(from.as_ptr(), base.add(offset), from.len())
                }
            }
            // SAFETY: the caller's promise is this function's own condition.
            Payload::Typed { base, count, layout } => unsafe {
                layout.unpack(*base, *count, offset, from)
            },
        }
    }
}

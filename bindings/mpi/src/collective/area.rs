// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the blocks of a buffer lie: a base address, a datatype, and a rule for the blocks.
//!
//! Areas are descriptions; they own nothing. Memory of ours behind an area is a [`Memory`], kept by
//! whoever made the area.

use crate::datatype::Type;
use std::alloc::{Layout as Memo, alloc_zeroed, dealloc, handle_alloc_error};
use std::rc::Rc;
use std::sync::Arc;
use strait_transport::payload::{Layout, Payload};

/// One block: elements of a type at an address.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where the first element lies.
    pub base: *mut u8,
    /// How many elements.
    pub count: i64,
    /// Their type.
    pub ty: Arc<Type>,
}

impl Piece {
    /// As a message.
    pub fn payload(&self) -> Payload {
        self.ty.payload(self.base, self.count)
    }
}

/// The rule for the blocks.
#[derive(Clone, Debug)]
pub enum Places {
    /// Blocks of `count` elements, one after another.
    Even { count: i64 },
    /// A vector of `count` elements in `blocks` nearly equal parts.
    Cut { count: i64, blocks: u32 },
    /// For each block its number of elements, and its displacement in bytes.
    List(Rc<[(i64, i64)]>),
    /// Each block for itself, with its own type.
    Each(Rc<[Piece]>),
}

/// A buffer in blocks.
#[derive(Clone, Debug)]
pub struct Area {
    base: *mut u8,
    ty: Arc<Type>,
    places: Places,
}

/// Canonical code of MPI_BYTE.
const BYTE: u32 = 0x247;

/// MPI_BYTE.
pub fn byte() -> &'static Arc<Type> {
    crate::datatype::predefined(BYTE).expect("MPI_BYTE is predefined")
}

impl Area {
    /// Blocks of elements of one type.
    pub fn new(base: *mut u8, ty: Arc<Type>, places: Places) -> Area {
        Area { base, ty, places }
    }

    /// Each block for itself.
    pub fn each(pieces: Vec<Piece>) -> Area {
        Area::new(std::ptr::null_mut(), byte().clone(), Places::Each(pieces.into()))
    }

    /// Just one block.
    pub fn of_piece(piece: Piece) -> Area {
        Area::new(piece.base, piece.ty, Places::Even { count: piece.count })
    }

    /// A vector that algorithms may cut; one block until then.
    pub fn vector(piece: Piece) -> Area {
        let count = piece.count;
        Area::new(piece.base, piece.ty, Places::Cut { count, blocks: 1 })
    }

    /// No memory.
    pub fn none() -> Area {
        Area::new(std::ptr::null_mut(), byte().clone(), Places::Even { count: 0 })
    }

    /// The type of its elements (not of an area of [`Places::Each`]).
    pub fn ty(&self) -> &Arc<Type> {
        &self.ty
    }

    /// The same with the vector cut otherwise.
    pub fn cut(mut self, parts: u32) -> Area {
        if let Places::Cut { blocks, .. } = &mut self.places {
            *blocks = parts;
        }
        self
    }

    /// Elements of a block.
    pub fn count(&self, block: u32) -> i64 {
        match &self.places {
            Places::Even { count } => *count,
            Places::Cut { count, blocks } => {
                cut_at(*count, *blocks, block + 1) - cut_at(*count, *blocks, block)
            }
            Places::List(places) => places[block as usize].0,
            Places::Each(pieces) => pieces[block as usize].count,
        }
    }

    /// One block.
    pub fn piece(&self, block: u32) -> Piece {
        let offset = match &self.places {
            Places::Even { count } => i64::from(block) * count * self.ty.extent(),
            Places::Cut { count, blocks } => cut_at(*count, *blocks, block) * self.ty.extent(),
            Places::List(places) => places[block as usize].1,
            Places::Each(pieces) => return pieces[block as usize].clone(),
        };
        Piece {
            base: self.base.wrapping_offset(offset as isize),
            count: self.count(block),
            ty: self.ty.clone(),
        }
    }

    /// The blocks `first .. first + count` as one run of elements, if they are one.
    pub fn run(&self, first: u32, count: u32) -> Option<Piece> {
        let mut run = match count {
            0 => return None,
            _ => self.piece(first),
        };
        match &self.places {
            Places::Even { .. } | Places::Cut { .. } => {
                run.count = (first..first + count).map(|block| self.count(block)).sum();
            }
            Places::List(places) => {
                for block in first + 1..first + count {
                    let (count, offset) = places[block as usize];
                    let end = places[first as usize].1 + run.count * self.ty.extent();
                    if count != 0 && offset != end {
                        return None;
                    }
                    run.count += count;
                }
            }
            Places::Each(_) if count == 1 => {}
            Places::Each(_) => return None,
        }
        Some(run)
    }

    /// The blocks as one message.
    pub fn payload(&self, first: u32, count: u32) -> Payload {
        if count == 0 {
            return Payload::EMPTY;
        }
        match self.run(first, count) {
            Some(run) => run.payload(),
            None => {
                let parts = first..first + count;
                let parts: Vec<_> = parts.map(|block| self.piece(block).payload()).collect();
                Payload::Typed {
                    base: std::ptr::null_mut(),
                    count: 1,
                    layout: Arc::new(Joined(parts)),
                }
            }
        }
    }
}

/// Where part `part` of `parts` of a vector begins.
fn cut_at(count: i64, parts: u32, part: u32) -> i64 {
    (i128::from(count) * i128::from(part) / i128::from(parts.max(1))) as i64
}

/// Several payloads as one message.
struct Joined(Vec<Payload>);

impl Joined {
    /// The parts that packed bytes `offset .. offset + bytes` fall on: which, from where in it,
    /// from where in the range, how many.
    fn walk(&self, offset: usize, bytes: usize, mut f: impl FnMut(&Payload, usize, usize, usize)) {
        let mut start = 0;
        for part in &self.0 {
            let end = start + part.bytes();
            let (from, to) = (offset.max(start), (offset + bytes).min(end));
            if from < to {
                f(part, from - start, from - offset, to - from);
            }
            start = end;
        }
    }
}

// SAFETY: the walk covers the whole range, which lies within the parts; their own `pack` and
// `unpack` touch only what they describe.
unsafe impl Layout for Joined {
    fn packed_bytes(&self) -> usize {
        self.0.iter().map(Payload::bytes).sum()
    }

    unsafe fn pack(&self, _: *const u8, _: usize, offset: usize, into: &mut [u8]) {
        self.walk(offset, into.len(), |part, from, at, bytes| {
            // SAFETY: the caller's promise.
            unsafe { part.pack(from, &mut into[at..at + bytes]) };
        });
    }

    unsafe fn unpack(&self, _: *mut u8, _: usize, offset: usize, from: &[u8]) {
        self.walk(offset, from.len(), |part, to, at, bytes| {
            // SAFETY: the caller's promise.
            unsafe { part.unpack(to, &from[at..at + bytes]) };
        });
    }
}

/// Bytes that are copied through a buffer at once when both sides have gaps.
const COPY_CHUNK: usize = 64 << 10;

/// Copies elements; equal addresses mean the same elements, which then stay. If the sizes differ
/// (an erroneous program), the smaller one counts.
///
/// # Safety
/// `what` is readable and `into` writable.
pub unsafe fn copy(what: &Payload, into: &Payload) {
    let bytes = what.bytes().min(into.bytes());
    if bytes == 0 {
        return;
    }
    match (what, into) {
        (Payload::Contiguous { base: from, .. }, Payload::Contiguous { base: to, .. }) => {
            // SAFETY: both ranges have that many bytes, says the caller; they may overlap.
            unsafe { std::ptr::copy(*from, *to, bytes) }
        }
        (Payload::Contiguous { base, .. }, _) => {
            // SAFETY: readable, says the caller; the gaps of `into` are not touched.
            unsafe { into.unpack(0, std::slice::from_raw_parts(*base, bytes)) }
        }
        (_, Payload::Contiguous { base, .. }) => {
            // SAFETY: writable, says the caller.
            unsafe { what.pack(0, std::slice::from_raw_parts_mut(*base, bytes)) }
        }
        (
            Payload::Typed { base: from, layout: l, .. },
            Payload::Typed { base: to, layout: r, .. },
        ) if from == to && !from.is_null() && Arc::ptr_eq(l, r) => {}
        _ => {
            let mut chunk = vec![0u8; bytes.min(COPY_CHUNK)];
            let mut at = 0;
            while at < bytes {
                let now = &mut chunk[..(bytes - at).min(COPY_CHUNK)];
                // SAFETY: the caller's promise, for a part of the range.
                unsafe { what.pack(at, now) };
                // SAFETY: as above.
                unsafe { into.unpack(at, now) };
                at += now.len();
            }
        }
    }
}

/// Memory of ours, zeroed.
pub struct Memory {
    base: *mut u8,
    memo: Memo,
}

/// Alignment of scratch: at least that of any basic type, and a cache line.
const ALIGNMENT: usize = 64;

impl Memory {
    fn new(bytes: usize) -> Memory {
        let memo = Memo::from_size_align(bytes.max(1), ALIGNMENT).expect("scratch that fits");
        // SAFETY: the size is not zero.
        let base = unsafe { alloc_zeroed(memo) };
        if base.is_null() {
            handle_alloc_error(memo);
        }
        Memory { base, memo }
    }

    /// Room for blocks of elements of a type, one after another.
    pub fn of_elements(ty: &Arc<Type>, counts: &[i64]) -> (Memory, Area) {
        let total: i64 = counts.iter().sum();
        let span = (total - 1).max(0) * ty.extent();
        let low = ty.true_lb() + span.min(0);
        let high = ty.true_ub() + span.max(0);
        let memory = Memory::new((high - low) as usize);
        let base = memory.base.wrapping_offset(-low as isize);
        let mut offset = 0;
        let place = |count: &i64| {
            let place = (*count, offset);
            offset += count * ty.extent();
            place
        };
        let places = Places::List(counts.iter().map(place).collect());
        (memory, Area::new(base, ty.clone(), places))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.base, self.memo) };
    }
}

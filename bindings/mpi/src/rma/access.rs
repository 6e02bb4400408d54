// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One access, whichever way it goes.

use super::combine::Combine;
use super::near::{self, Memory};
use super::network;
use super::origin::{self, Batch};
use super::wire::{Head, Kind, Runs};
use crate::datatype::Type;
use crate::entry::Entry;
use crate::error::Result;
use crate::object::window::{Reach, WinRef};
use std::rc::Rc;
use std::sync::Arc;
use strait_collectives::reduce::Op;
use strait_transport::payload::Payload;

/// Packed bytes of a message.
const MESSAGE_BYTES: usize = 256 << 10;

/// Elements in the memory of a target, checked.
pub struct Remote {
    /// Whose.
    pub rank: u32,
    /// Where: an offset in the region, or an address (dynamic windows).
    pub at: i64,
    /// Packed bytes.
    pub bytes: usize,
    shape: Shape,
}

enum Shape {
    /// Side by side.
    Run,
    /// So many elements.
    Typed(Arc<Type>, i64),
}

impl Remote {
    /// `count` elements at `at`; their bytes were checked to fit.
    #[inline]
    pub fn new(rank: u32, at: i64, ty: &Arc<Type>, count: i64) -> Remote {
        match ty.contiguous_bytes(count) {
            Some((offset, bytes)) => Remote { rank, at: at + offset, bytes, shape: Shape::Run },
            None => {
                let bytes = ty.size() as usize * count as usize;
                Remote { rank, at, bytes, shape: Shape::Typed(ty.clone(), count) }
            }
        }
    }

    /// The bytes, if they lie side by side.
    #[inline]
    pub fn run_bytes(&self) -> Option<usize> {
        matches!(self.shape, Shape::Run).then_some(self.bytes)
    }

    /// The elements, where the memory is mapped from `base` on.
    #[inline]
    pub fn payload(&self, base: *mut u8) -> Payload {
        let base = base.wrapping_offset(self.at as isize);
        match &self.shape {
            Shape::Run => Payload::Contiguous { base, bytes: self.bytes },
            Shape::Typed(ty, count) => ty.payload(base, *count),
        }
    }

    /// Calls `found` with each run of the packed bytes `from .. from + bytes`.
    pub fn each_run(&self, from: usize, bytes: usize, found: &mut dyn FnMut(i64, usize)) {
        match &self.shape {
            Shape::Run => found(self.at + from as i64, bytes),
            Shape::Typed(ty, _) => {
                ty.each_run(from as i64, bytes, &mut |at, bytes| found(self.at + at, bytes));
            }
        }
    }

    /// Calls `piece` with offset, length and runs of each part that one message carries.
    fn each_message(
        &self,
        piece_bytes: usize,
        mut piece: impl FnMut(usize, usize, Runs) -> Result,
    ) -> Result {
        near::each_piece(self, piece_bytes, |from, bytes, found| {
            let mut runs = Runs::default();
            found.iter().for_each(|(at, bytes)| runs.push(*at, *bytes));
            piece(from, bytes, runs)
        })
    }
}

/// The target's memory, unless messages must carry the access.
#[inline]
fn memory(win: &WinRef, rank: u32) -> Option<Memory> {
    match win.reach(rank) {
        Reach::Mapped(base) => Some(Memory::Here(base)),
        Reach::Kernel(peer, base) => Some(Memory::There(peer, base)),
        Reach::Messages => None,
    }
}

/// Locally complete when `batch` is, and at the next flush.
///
/// # Safety
/// `origin` is readable until then, of as many bytes as `remote`, which was checked.
#[inline]
pub unsafe fn put(
    entry: &mut Entry,
    win: &WinRef,
    origin: &Payload,
    remote: &Remote,
    batch: Option<&Rc<Batch>>,
) -> Result {
    if let Some(memory) = memory(win, remote.rank) {
        // SAFETY: the caller's promise.
        return unsafe { near::put(entry, memory, origin, remote) };
    }
    if let Some(memory) = network::reach(entry, win, remote) {
        // SAFETY: the caller's promise.
        unsafe { network::put(entry, win, origin, remote, memory, batch) };
        return Ok(());
    }
    let head = Head::new(Kind::Put, 0);
    remote.each_message(MESSAGE_BYTES, |from, bytes, runs| {
        origin::send(entry, win, remote.rank, head, &runs.0, bytes, |data| {
            // SAFETY: the caller's promise.
            unsafe { origin.pack(from, data) }
        })
    })
}

/// Complete when `batch` is, and at the next flush.
///
/// # Safety
/// `into` is writable until then, of as many bytes as `remote`, which was checked.
#[inline]
pub unsafe fn get(
    entry: &mut Entry,
    win: &WinRef,
    into: &Payload,
    remote: &Remote,
    batch: Option<&Rc<Batch>>,
) -> Result {
    if let Some(memory) = memory(win, remote.rank) {
        // SAFETY: the caller's promise.
        return unsafe { near::get(entry, memory, into, remote) };
    }
    if let Some(number) = network::reach(entry, win, remote) {
        // SAFETY: the caller's promise.
        unsafe { network::get(entry, win, into, remote, number, batch) };
        return Ok(());
    }
    remote.each_message(MESSAGE_BYTES, |from, bytes, runs| {
        // SAFETY: the caller's promise.
        let reply = unsafe { origin::expect(entry, win, remote.rank, (into, from, bytes), batch)? };
        let head = Head::new(Kind::Get, reply);
        origin::send(entry, win, remote.rank, head, &runs.0, 0, |_| {})
    })
}

/// As [`put`], and as [`get`] for what was there before.
///
/// # Safety
/// As both; `origin` is not looked at for MPI_NO_OP.
#[inline]
pub unsafe fn accumulate(
    entry: &mut Entry,
    win: &WinRef,
    (origin, fetched): (&Payload, Option<&Payload>),
    combine: Combine,
    remote: &Remote,
    batch: Option<&Rc<Batch>>,
) -> Result {
    if let Some(memory) = memory(win, remote.rank) {
        let operands = (origin, fetched);
        // SAFETY: the caller's promise.
        return unsafe { near::accumulate(entry, (win, memory), operands, combine, remote) };
    }
    let kind = if fetched.is_some() { Kind::Fetch } else { Kind::Accumulate };
    remote.each_message(combine.piece_bytes(), |from, bytes, runs| {
        let reply = match fetched {
            Some(into) => {
                let place = (into, from, bytes);
                // SAFETY: the caller's promise.
                unsafe { origin::expect(entry, win, remote.rank, place, batch)? }
            }
            None => 0,
        };
        let head = Head { combine: combine.to_words(), ..Head::new(kind, reply) };
        let carried = if combine.op() == Op::NoOp { 0 } else { bytes };
        origin::send(entry, win, remote.rank, head, &runs.0, carried, |data| {
            if !data.is_empty() {
                // SAFETY: the caller's promise.
                unsafe { origin.pack(from, data) }
            }
        })
    })
}

/// Stores `new` where `expected` is; what was there goes to `fetched` (at the next flush).
///
/// # Safety
/// `fetched` is writable until then; all have as many bytes as `remote`, which was checked.
pub unsafe fn swap(
    entry: &mut Entry,
    win: &WinRef,
    (expected, new): (&[u8], &[u8]),
    fetched: *mut u8,
    remote: &Remote,
) -> Result {
    let bytes = remote.bytes;
    if let Some(memory) = memory(win, remote.rank) {
        // SAFETY: the caller's promise; nobody else uses it during the call.
        let fetched = unsafe { std::slice::from_raw_parts_mut(fetched, bytes) };
        // SAFETY: as above.
        return unsafe { near::swap(entry, (win, memory), (expected, new), fetched, remote) };
    }
    let into = Payload::Contiguous { base: fetched, bytes };
    // SAFETY: as above.
    let reply = unsafe { origin::expect(entry, win, remote.rank, (&into, 0, bytes), None)? };
    let mut runs = Runs::default();
    runs.push(remote.at, bytes);
    let head = Head::new(Kind::Swap, reply);
    origin::send(entry, win, remote.rank, head, &runs.0, 2 * bytes, |data| {
        data[..bytes].copy_from_slice(expected);
        data[bytes..].copy_from_slice(new);
    })
}

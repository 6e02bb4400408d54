// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long calls: members say at the board where their data lies, and the others read it there through
//! the kernel, one copy in all. A reduction is cut into slices, of which each member does one.
//!
//! Nobody leaves before all who use its memory are done with the last round of the call.

use super::fold::Fold;
use super::rounds::Job;
use super::table::Table;
use crate::collective::area;
use crate::error::Result;
use std::ops::Range;
use strait_collectives::kind::Kind;
use strait_collectives::reduce::{self, Basic, Op};
use strait_transport::payload::Payload;

/// Bytes that are read at once where something follows that should find them in the cache.
const PIECE_BYTES: usize = 64 << 10;
/// Slices begin at multiples of about this.
const SLICE_UNIT: usize = 4096;

/// Where a member's buffers lie: input, output.
type Lent = [u64; 2];

/// # Safety
/// As [`Job::run`]; all members can read each other.
pub unsafe fn run(job: &Job<'_>, table: &mut Table<'_>) -> Result {
    let (members, me) = (table.size(), table.me());
    let mut aside = Vec::new();
    // SAFETY: the caller's promise.
    let input = unsafe { contiguous(job, members, me, &mut aside) };
    let output = match (job.kind, job.output.payload(0)) {
        (Kind::Reduce | Kind::Allreduce, Payload::Contiguous { base, .. }) => base,
        _ => std::ptr::null_mut(),
    };
    if !input.is_null() {
        table.entry.worker.note_use(input, job.bytes * input_blocks(job, members) as usize);
    }
    let lent: Lent = [input as u64, output as u64];
    let publishes = match job.kind {
        Kind::Scatter | Kind::Bcast => me == job.root,
        Kind::Gather => me != job.root,
        _ => true,
    };
    if publishes {
        table.publish(0, size_of::<Lent>(), |slot| {
            slot[..8].copy_from_slice(&lent[0].to_ne_bytes());
            slot[8..].copy_from_slice(&lent[1].to_ne_bytes());
        })?;
    }
    // SAFETY: the caller's promise.
    unsafe {
        match job.kind {
            Kind::Scatter | Kind::Bcast => from_the_root(job, table),
            Kind::Gather => to_the_root(job, table),
            Kind::Allgather | Kind::Alltoall => exchange(job, table),
            _ => reduction(job, table, input),
        }
    }
}

/// What a member lends in this call.
fn lent_by(table: &mut Table<'_>, member: u32) -> Result<Lent> {
    if member != table.me() {
        table.see(member, 0)?;
    }
    // SAFETY: it is used before the end of the round.
    let view = unsafe { table.view(0, size_of::<Lent>()) };
    // SAFETY: seen, or our own.
    let (input, output) = unsafe { view.of(member) }.split_at(8);
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    Ok([word(input), word(output)])
}

/// Blocks of the input of who has one.
fn input_blocks(job: &Job<'_>, members: u32) -> u32 {
    match job.kind {
        Kind::Scatter | Kind::Alltoall | Kind::ReduceScatter => members,
        _ => 1,
    }
}

/// Where all of our input lies in a row; what does not is packed first.
///
/// # Safety
/// The input is readable.
unsafe fn contiguous(job: &Job<'_>, members: u32, me: u32, aside: &mut Vec<u8>) -> *const u8 {
    if matches!(job.kind, Kind::Scatter | Kind::Bcast) && me != job.root {
        return std::ptr::null();
    }
    let blocks = input_blocks(job, members);
    let overwritten = job.in_place && job.kind == Kind::Alltoall;
    let mut end = None;
    let mut first = std::ptr::null();
    let is_run = !overwritten
        && (0..blocks).all(|block| match job.input.payload(block) {
            Payload::Contiguous { base, bytes } => {
                let follows = bytes == 0 || end.is_none_or(|end| std::ptr::eq(end, base));
                if bytes > 0 && end.is_none() {
                    first = base.cast_const();
                }
                if bytes > 0 {
                    end = Some(base.wrapping_add(bytes));
                }
                follows
            }
            Payload::Typed { .. } => false,
        });
    if is_run {
        return first;
    }
    for block in 0..blocks {
        let payload = job.input.payload(block);
        let from = aside.len();
        aside.resize(from + payload.bytes(), 0);
        // SAFETY: the caller's promise.
        unsafe { payload.pack(0, &mut aside[from..]) };
    }
    aside.as_ptr()
}

/// Reads what lies at an address of a member into a payload.
///
/// # Safety
/// The payload is writable, and the member lends as many bytes.
unsafe fn read(table: &mut Table<'_>, member: u32, address: u64, into: &Payload) -> Result {
    let peer = table.comm.group.members.at(member as usize);
    let bytes = into.bytes();
    if let Payload::Contiguous { base, .. } = into {
        // SAFETY: the caller's promise.
        unsafe { table.entry.worker.read_memory(peer, address, bytes, *base)? };
        return Ok(());
    }
    let mut scratch = vec![0; PIECE_BYTES.min(bytes)];
    for from in (0..bytes).step_by(PIECE_BYTES) {
        let count = PIECE_BYTES.min(bytes - from);
        let piece = &mut scratch[..count];
        let at = address + from as u64;
        // SAFETY: the caller's promise, for a part of it.
        unsafe { table.entry.worker.read_memory(peer, at, count, piece.as_mut_ptr())? };
        // SAFETY: as above.
        unsafe { into.unpack(from, piece) };
    }
    Ok(())
}

/// Scatter, bcast.
///
/// # Safety
/// As [`run`].
unsafe fn from_the_root(job: &Job<'_>, table: &mut Table<'_>) -> Result {
    let (root, is_scatter) = (job.root, job.kind == Kind::Scatter);
    if table.me() == root {
        table.finish(0);
        if is_scatter && !job.in_place {
            // SAFETY: the caller's promise.
            unsafe { area::copy(&job.input.payload(root), &job.output.payload(0)) };
        }
        return table.await_all_done(0);
    }
    let [address, _] = lent_by(table, root)?;
    let block = if is_scatter { table.me() as usize } else { 0 };
    let at = address + (block * job.bytes) as u64;
    // SAFETY: the caller's promise.
    unsafe { read(table, root, at, &job.output.payload(0))? };
    table.finish(0);
    Ok(())
}

/// Gather.
///
/// # Safety
/// As [`run`].
unsafe fn to_the_root(job: &Job<'_>, table: &mut Table<'_>) -> Result {
    let (root, members) = (job.root, table.size());
    if table.me() != root {
        table.finish(0);
        return table.await_done(root, 0);
    }
    if !job.in_place {
        // SAFETY: the caller's promise.
        unsafe { area::copy(&job.input.payload(0), &job.output.payload(root)) };
    }
    for member in (0..members).filter(|member| *member != root) {
        let [address, _] = lent_by(table, member)?;
        // SAFETY: as above.
        unsafe { read(table, member, address, &job.output.payload(member))? };
    }
    table.finish(0);
    Ok(())
}

/// Allgather, alltoall.
///
/// # Safety
/// As [`run`].
unsafe fn exchange(job: &Job<'_>, table: &mut Table<'_>) -> Result {
    let (members, me) = (table.size(), table.me());
    let (mine, offset) = match job.kind {
        Kind::Alltoall => (me, me as usize * job.bytes),
        _ => (0, 0),
    };
    if !job.in_place {
        // SAFETY: the caller's promise.
        unsafe { area::copy(&job.input.payload(mine), &job.output.payload(me)) };
    }
    // Everybody begins with another one: the kernel locks the memory that it reads.
    for other in (1..members).map(|distance| (me + distance) % members) {
        let [address, _] = lent_by(table, other)?;
        let into = job.output.payload(other);
        // SAFETY: as above.
        unsafe { read(table, other, address + offset as u64, &into)? };
    }
    table.finish(0);
    table.await_all_done(0)
}

/// Part `part` of `parts` of a vector.
fn slice(bytes: usize, element: usize, part: u32, parts: u32) -> Range<usize> {
    let unit = element * (SLICE_UNIT / element).max(1);
    let units = bytes.div_ceil(unit);
    let begin = |part: u32| (units * part as usize / parts as usize * unit).min(bytes);
    begin(part)..begin(part + 1)
}

/// A reduction under way: reduce, allreduce, reduce_scatter.
struct Reduction<'a> {
    job: &'a Job<'a>,
    op: Op,
    basic: Basic,
    /// Where everybody's buffers lie.
    lent: Vec<Lent>,
    /// Our operand.
    input: *const u8,
}

/// # Safety
/// As [`run`].
unsafe fn reduction(job: &Job<'_>, table: &mut Table<'_>, input: *const u8) -> Result {
    let Fold::Plain(op, basic) = job.fold else { unreachable!("only plain operands are direct") };
    let mut lent = Vec::with_capacity(table.size() as usize);
    for member in 0..table.size() {
        lent.push(lent_by(table, member)?);
    }
    let reduction = Reduction { job, op, basic, lent, input };
    let mut scratch = std::mem::take(&mut table.entry.scratch);
    scratch.resize(scratch.len().max(3 * PIECE_BYTES), 0);
    // SAFETY: the caller's promise; the scratch has three pieces.
    let result = unsafe {
        match job.kind {
            Kind::ReduceScatter => reduction.scattered(table, scratch.as_mut_ptr()),
            Kind::Reduce => reduction.at_the_root(table, scratch.as_mut_ptr()),
            _ => reduction.at_all(table, scratch.as_mut_ptr()),
        }
    };
    table.entry.scratch = scratch;
    result
}

impl Reduction<'_> {
    /// What a member combines.
    fn part_of(&self, member: u32) -> Range<usize> {
        let members = self.lent.len() as u32;
        if self.job.kind == Kind::Reduce && members == 2 {
            // The root has the result where it is wanted; the other one writes its part there.
            let part = |part: Range<u32>| {
                let cut = |part| slice(self.job.bytes, self.basic.bytes(), part, 8);
                cut(part.start).start..cut(part.end - 1).end
            };
            return match (self.job.root, member) {
                (0, 0) => part(0..5),
                (0, _) => part(5..8),
                (_, 0) => part(0..3),
                _ => part(3..8),
            };
        }
        slice(self.job.bytes, self.basic.bytes(), member, members)
    }

    /// # Safety
    /// As [`run`]; `scratch` has three pieces.
    unsafe fn scattered(&self, table: &mut Table<'_>, scratch: *mut u8) -> Result {
        let (job, me) = (self.job, table.me());
        let bytes_of = |block: u32| job.input.payload(block).bytes();
        let begin: usize = (0..me).map(bytes_of).sum();
        let mine = begin..begin + bytes_of(me);
        let Payload::Contiguous { base, .. } = job.output.payload(0) else {
            unreachable!("plain operands lie without gaps")
        };
        // In place the result lies where others may still read: it is kept aside.
        let mut aside = vec![0; if job.in_place { mine.len() } else { 0 }];
        let into = if job.in_place { aside.as_mut_ptr() } else { base };
        // SAFETY: the caller's promise.
        unsafe { self.combine(table, mine.clone(), into, scratch)? };
        table.finish(0);
        table.await_all_done(0)?;
        if job.in_place {
            // SAFETY: the output has as many bytes as our block of the input.
            unsafe { std::ptr::copy_nonoverlapping(into, base, mine.len()) };
        }
        Ok(())
    }

    /// # Safety
    /// As [`Reduction::scattered`].
    unsafe fn at_the_root(&self, table: &mut Table<'_>, scratch: *mut u8) -> Result {
        let root = self.job.root;
        let mine = self.part_of(table.me());
        let target = self.lent[root as usize][1];
        if table.me() == root {
            // SAFETY: the slice lies in the output.
            let into = unsafe { (target as *mut u8).add(mine.start) };
            // SAFETY: the caller's promise.
            unsafe { self.combine(table, mine, into, scratch)? };
        } else {
            let peer = table.comm.group.members.at(root as usize);
            // SAFETY: the scratch has three pieces.
            let into = unsafe { scratch.add(2 * PIECE_BYTES) };
            for from in mine.clone().step_by(PIECE_BYTES) {
                let piece = from..(from + PIECE_BYTES).min(mine.end);
                let (bytes, at) = (piece.len(), target + from as u64);
                // SAFETY: the caller's promise; the third piece is ours.
                unsafe { self.combine(table, piece, into, scratch)? };
                // SAFETY: the root lends its output.
                unsafe { table.entry.worker.write_memory(peer, at, bytes, into)? };
            }
        }
        table.finish(0);
        table.await_all_done(0)
    }

    /// # Safety
    /// As [`Reduction::scattered`].
    unsafe fn at_all(&self, table: &mut Table<'_>, scratch: *mut u8) -> Result {
        let (members, me) = (table.size(), table.me());
        let output = self.lent[me as usize][1] as *mut u8;
        // Two members read as much by slices as if each reads all, which takes one round less. In
        // place the other one's operand must not change before it was read.
        if members == 2 && self.lent.iter().all(|[input, output]| input != output) {
            // SAFETY: the caller's promise.
            unsafe { self.combine(table, 0..self.job.bytes, output, scratch)? };
            table.finish(0);
            return table.await_all_done(0);
        }
        let mine = self.part_of(me);
        // SAFETY: the slice lies in the output.
        let into = unsafe { output.add(mine.start) };
        // SAFETY: the caller's promise.
        unsafe { self.combine(table, mine, into, scratch)? };
        table.publish(1, 0, |_| {})?;
        table.finish(0);
        for other in (1..members).map(|distance| (me + distance) % members) {
            table.see(other, 1)?;
            let part = self.part_of(other);
            // SAFETY: the slice lies in the output.
            let base = unsafe { output.add(part.start) };
            let into = Payload::Contiguous { base, bytes: part.len() };
            let at = self.lent[other as usize][1] + part.start as u64;
            // SAFETY: the other one has ended its slice, and read ours of the input.
            unsafe { read(table, other, at, &into)? };
        }
        table.finish(1);
        table.await_all_done(1)
    }

    /// Combines a range of all operands into `into`.
    ///
    /// # Safety
    /// The range lies in all inputs, `into` is writable for as many bytes, `scratch` has two
    /// pieces.
    unsafe fn combine(
        &self,
        table: &mut Table<'_>,
        range: Range<usize>,
        into: *mut u8,
        scratch: *mut u8,
    ) -> Result {
        for from in range.clone().step_by(PIECE_BYTES) {
            let piece = from..(from + PIECE_BYTES).min(range.end);
            // SAFETY: the piece lies in the range.
            let into = unsafe { into.add(from - range.start) };
            // SAFETY: the caller's promise.
            unsafe { self.combine_piece(table, piece, into, scratch)? };
        }
        Ok(())
    }

    /// # Safety
    /// As [`Reduction::combine`].
    unsafe fn combine_piece(
        &self,
        table: &mut Table<'_>,
        piece: Range<usize>,
        into: *mut u8,
        scratch: *mut u8,
    ) -> Result {
        let (bytes, me) = (piece.len(), table.me() as usize);
        let elements = bytes / self.basic.bytes();
        // SAFETY: the scratch has two pieces.
        let second = unsafe { scratch.add(PIECE_BYTES) };
        let mut operand = |member: usize, place: *mut u8| -> Result<*const u8> {
            if member == me {
                // SAFETY: the piece lies in our input.
                return Ok(unsafe { self.input.add(piece.start) });
            }
            let peer = table.comm.group.members.at(member);
            let at = self.lent[member][0] + piece.start as u64;
            // SAFETY: the place has as many bytes, and the member lends its input.
            unsafe { table.entry.worker.read_memory(peer, at, bytes, place)? };
            Ok(place.cast_const())
        };
        let last = self.lent.len() - 1;
        let mut right = operand(last, scratch)?;
        for member in (0..last).rev() {
            let left = operand(member, second)?;
            let to = if member == 0 { into } else { scratch };
            // SAFETY: all have as many elements; `to` is none of the operands, or the right one,
            // or (in place, ours being the first one) the left one.
            unsafe { reduce::reduce(self.op, self.basic, left, right, to, elements) };
            right = to.cast_const();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_the_vector() {
        for (bytes, element) in [(0, 8), (8, 8), (65_536, 8), (100_000, 16), (99_999, 3)] {
            for parts in [1, 2, 3, 7, 64] {
                let mut end = 0;
                for part in 0..parts {
                    let slice = slice(bytes, element, part, parts);
                    assert_eq!(slice.start, end);
                    assert!(slice.start.is_multiple_of(element) || slice.start == bytes);
                    end = slice.end;
                }
                assert_eq!(end, bytes);
            }
        }
    }
}

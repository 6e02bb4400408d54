// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The way of an ordinary collective call to the board in few instructions: predefined types,
//! predefined operations, arguments that are right.
//!
//! Each function does the whole of its call, or answers `None` and has done nothing: then the
//! general way finds what is unusual or wrong about it, and names it. What both ways do at the
//! board is the same text (rounds.rs), in the same rounds, so members may come by either.

use super::fold::Fold;
use super::plan;
use super::rounds::{Job, Side};
use super::{Table, meta};
use crate::abi::{Abi, HandleKind};
use crate::api::short::bytes_of;
use crate::collective::build::Even;
use crate::collective::reproducible::minds_order;
use crate::entry::Entry;
use crate::error::Result;
use crate::object::comm::{Comm, CommRef};
use std::ffi::{c_int, c_void};
use strait_collectives::kind::Kind;
use strait_collectives::reduce::{self, Op};

/// Both buffers of a reduction: input, output, count, datatype, operation.
pub type Operands<A> = (*const c_void, *mut c_void, i64, <A as Abi>::Handle, <A as Abi>::Handle);

pub fn barrier(entry: &mut Entry, comm: &CommRef, number: u64) -> Option<Result> {
    let job = moved(comm, Kind::Barrier, 0, 0, (Side::NONE, Side::NONE))?;
    // SAFETY: there are no buffers.
    unsafe { run(entry, comm, number, 0, &job) }
}

/// # Safety
/// The buffers of the job are readable and writable as its call says.
#[inline]
unsafe fn run(
    entry: &mut Entry,
    comm: &Comm,
    number: u64,
    op: u32,
    job: &Job<'_>,
) -> Option<Result> {
    let meta = meta::word(job.kind, op, job.root, job.bytes);
    match Table::of(entry, comm, number, meta) {
        // SAFETY: the caller's promise.
        Ok(Some(mut table)) => unsafe { job.run(&mut table) }.transpose(),
        Ok(None) => None,
        Err(error) => Some(Err(error)),
    }
}

/// A root within the group.
#[inline]
fn root_of(comm: &Comm, root: c_int) -> Option<u32> {
    (root >= 0 && (root as usize) < comm.group.size()).then_some(root as u32)
}

#[inline]
fn side(base: *const c_void, block_bytes: usize) -> Side<'static> {
    Side::Run { base: base.cast_mut().cast(), block_bytes }
}

/// Bytes of a buffer of one predefined type that may stand where it stands; not MPI_IN_PLACE.
#[inline]
fn plain<A: Abi>(entry: &Entry, (base, count, datatype): Even<A>) -> Option<usize> {
    let bytes = bytes_of::<A>(entry, count, datatype)?;
    let is_right = !A::is_in_place(base) && (!base.is_null() || bytes == 0);
    is_right.then_some(bytes)
}

/// # Safety
/// As MPI_Bcast.
#[inline]
pub unsafe fn bcast<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    number: u64,
    buffer: Even<A>,
    root: c_int,
) -> Option<Result> {
    let root = root_of(comm, root)?;
    let bytes = plain::<A>(entry, buffer)?;
    let data = side(buffer.0, bytes);
    let job = moved(comm, Kind::Bcast, root, bytes, (data, data))?;
    // SAFETY: the caller's promise.
    unsafe { run(entry, comm, number, 0, &job) }
}

/// Operands of a predefined operation on a predefined type.
#[inline]
fn operands<A: Abi>(
    entry: &Entry,
    comm: &Comm,
    kind: Kind,
    (send, receive, count, datatype, op): Operands<A>,
    root: u32,
) -> Option<(Job<'static>, u32)> {
    let bytes = bytes_of::<A>(entry, count, datatype)?;
    let ty = crate::datatype::predefined(A::handle_in(HandleKind::Datatype, datatype))?;
    let code = A::handle_in(HandleKind::Op, op);
    let (op, basic) = (Op::from_code(code)?, ty.basic()?);
    if op.is_accumulate_only() || !reduce::supports(op, basic) {
        return None;
    }
    if minds_order(op, basic.group) {
        return None;
    }
    let is_in_place = A::is_in_place(send);
    let receives = kind != Kind::Reduce || root == comm.rank;
    let is_wrong = (send.is_null() && bytes > 0)
        || (receives && (A::is_in_place(receive) || (receive.is_null() && bytes > 0)))
        || (is_in_place && !receives)
        || (receives && bytes > 0 && std::ptr::eq(send, receive));
    if is_wrong {
        return None;
    }
    let (input, output) = (if is_in_place { receive } else { send }, receive);
    let sides = (side(input, bytes), side(output, bytes));
    let mut job = planned(comm, kind, root, bytes, sides, Fold::Plain(op, basic))?;
    job.in_place = is_in_place;
    Some((job, code))
}

/// # Safety
/// As MPI_Reduce.
#[inline]
pub unsafe fn reduce<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    number: u64,
    buffers: Operands<A>,
    root: c_int,
) -> Option<Result> {
    let root = root_of(comm, root)?;
    let (job, op) = operands::<A>(entry, comm, Kind::Reduce, buffers, root)?;
    // SAFETY: the caller's promise.
    unsafe { run(entry, comm, number, op, &job) }
}

/// Allreduce, scan, exscan.
///
/// # Safety
/// As MPI_Allreduce.
#[inline]
pub unsafe fn reduce_all<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    number: u64,
    buffers: Operands<A>,
    kind: Kind,
) -> Option<Result> {
    let (job, op) = operands::<A>(entry, comm, kind, buffers, 0)?;
    // SAFETY: the caller's promise.
    unsafe { run(entry, comm, number, op, &job) }
}

/// A call that only moves data: blocks of so many bytes.
#[inline]
fn moved(
    comm: &Comm,
    kind: Kind,
    root: u32,
    bytes: usize,
    sides: (Side<'static>, Side<'static>),
) -> Option<Job<'static>> {
    planned(comm, kind, root, bytes, sides, Fold::None)
}

/// The job, if it is one for the board.
#[inline]
fn planned(
    comm: &Comm,
    kind: Kind,
    root: u32,
    bytes: usize,
    (input, output): (Side<'static>, Side<'static>),
    fold: Fold<'static>,
) -> Option<Job<'static>> {
    let members = comm.group.size() as u32;
    let plan = plan::plan(kind, members, bytes, fold.element_bytes());
    let direct = plan::is_direct(kind, members, bytes, matches!(fold, Fold::Plain(..)));
    if plan.is_none() && !direct {
        return None;
    }
    Some(Job { kind, root, input, output, fold, direct, plan, in_place: false, bytes })
}

/// # Safety
/// As MPI_Gather.
#[inline]
pub unsafe fn gather<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    number: u64,
    send: Even<A>,
    receive: Even<A>,
    root: c_int,
) -> Option<Result> {
    let root = root_of(comm, root)?;
    let bytes = plain::<A>(entry, send)?;
    let mut output = Side::NONE;
    if root == comm.rank {
        let differs = plain::<A>(entry, receive)? != bytes;
        if differs || (bytes > 0 && std::ptr::eq(send.0, receive.0)) {
            return None;
        }
        output = side(receive.0, bytes);
    }
    let job = moved(comm, Kind::Gather, root, bytes, (side(send.0, bytes), output))?;
    // SAFETY: the caller's promise.
    unsafe { run(entry, comm, number, 0, &job) }
}

/// # Safety
/// As MPI_Scatter.
#[inline]
pub unsafe fn scatter<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    number: u64,
    send: Even<A>,
    receive: Even<A>,
    root: c_int,
) -> Option<Result> {
    let root = root_of(comm, root)?;
    let bytes = plain::<A>(entry, receive)?;
    let mut input = Side::NONE;
    if root == comm.rank {
        let differs = plain::<A>(entry, send)? != bytes;
        if differs || (bytes > 0 && std::ptr::eq(send.0, receive.0)) {
            return None;
        }
        input = side(send.0, bytes);
    }
    let job = moved(comm, Kind::Scatter, root, bytes, (input, side(receive.0, bytes)))?;
    // SAFETY: the caller's promise.
    unsafe { run(entry, comm, number, 0, &job) }
}

/// Allgather, alltoall.
///
/// # Safety
/// As MPI_Allgather.
#[inline]
pub unsafe fn all_to_all<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    number: u64,
    send: Even<A>,
    receive: Even<A>,
    kind: Kind,
) -> Option<Result> {
    let bytes = plain::<A>(entry, send)?;
    let differs = plain::<A>(entry, receive)? != bytes;
    if differs || (bytes > 0 && std::ptr::eq(send.0, receive.0)) {
        return None;
    }
    let job = moved(comm, kind, 0, bytes, (side(send.0, bytes), side(receive.0, bytes)))?;
    // SAFETY: the caller's promise.
    unsafe { run(entry, comm, number, 0, &job) }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Arguments of the collectives that combine, checked, as a [`Call`].

use super::area::{Area, Places};
use super::bind::Sizes;
use super::build::{Part, absent, apart, check_counts, in_place, part, piece};
use super::operation::Operation;
use super::{Call, shape};
use crate::abi::{Abi, Counts};
use crate::api::arguments::operation;
use crate::entry::Entry;
use crate::error::{Result, class, error};
use crate::object::comm::CommRef;
use std::ffi::{c_int, c_void};
use strait_collectives::kind::Kind;

/// What both buffers have: address of each, elements, type, operation.
pub struct Operands<A: Abi> {
    /// What this process brings.
    pub send: *const c_void,
    /// Where the result goes.
    pub receive: *mut c_void,
    /// Elements.
    pub count: i64,
    /// Their type.
    pub datatype: A::Handle,
    /// The operation.
    pub op: A::Handle,
}

fn with_operation<A: Abi>(entry: &Entry, call: &mut Call, o: &Operands<A>) -> Result {
    // The type is checked before the operation, by a piece that is thrown away.
    let ty = piece::<A>(entry, (std::ptr::null(), 0, o.datatype))?.ty;
    let op = operation::<A>(entry, o.op)?;
    call.operation = Some(Operation::new::<A>(op, &ty, o.datatype)?);
    call.sizes = Sizes::Elements;
    if o.count < 0 {
        let text = format!("the count is {}; it must not be negative", o.count);
        return error(class::COUNT, text);
    }
    call.bytes = ty.size() as usize * o.count as usize;
    Ok(())
}

pub fn reduce<A: Abi>(entry: &Entry, comm: &CommRef, o: Operands<A>, root: c_int) -> Result<Call> {
    let mut call = Call::new(shape(comm, Kind::Reduce));
    let is_root = match part::<A>(comm, root)? {
        Part::Absent => return Ok(absent(comm, Kind::Reduce)),
        Part::Root(root) => {
            call.shape.root = root;
            true
        }
        Part::Leaf(root) => {
            call.shape.root = root;
            false
        }
    };
    with_operation::<A>(entry, &mut call, &o)?;
    if is_root {
        in_place::<A>(comm, o.receive, false)?;
        call.output = Area::vector(piece::<A>(entry, (o.receive, o.count, o.datatype))?);
    }
    if in_place::<A>(comm, o.send, is_root)? {
        call.shape.in_place = true;
        call.input = call.output.clone();
    } else if !is_root || !comm.is_inter() {
        apart(o.send, o.receive, is_root && o.count > 0)?;
        call.input = Area::vector(piece::<A>(entry, (o.send, o.count, o.datatype))?);
    }
    Ok(call)
}

/// Allreduce, scan, exscan: everybody has both buffers.
pub fn reduce_all<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    o: Operands<A>,
    kind: Kind,
) -> Result<Call> {
    if comm.is_inter() && !kind.joins_groups() {
        let text = format!("MPI defines no {} on intercommunicators", kind.name());
        return error(class::COMM, text);
    }
    let mut call = Call::new(shape(comm, kind));
    with_operation::<A>(entry, &mut call, &o)?;
    in_place::<A>(comm, o.receive, false)?;
    call.output = Area::vector(piece::<A>(entry, (o.receive, o.count, o.datatype))?);
    if in_place::<A>(comm, o.send, true)? {
        call.shape.in_place = true;
        call.input = call.output.clone();
    } else {
        apart(o.send, o.receive, o.count > 0 && !comm.is_inter())?;
        call.input = Area::vector(piece::<A>(entry, (o.send, o.count, o.datatype))?);
    }
    Ok(call)
}

/// Reduce_scatter with these counts, one for each rank of the local group.
///
/// Between groups it is an allreduce of the whole vector, of which each process keeps its part: a
/// process knows only how its own group divides the result.
pub fn reduce_scatter<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    counts: Vec<i64>,
    o: Operands<A>,
) -> Result<Call> {
    check_counts(&counts)?;
    let total: i64 = counts.iter().sum();
    let o = Operands { count: total, ..o };
    let kind = if comm.is_inter() { Kind::Allreduce } else { Kind::ReduceScatter };
    let mut call = Call::new(shape(comm, kind));
    with_operation::<A>(entry, &mut call, &o)?;
    in_place::<A>(comm, o.receive, false)?;
    let mine = comm.rank as usize;
    let output = piece::<A>(entry, (o.receive, counts[mine], o.datatype))?;
    let is_in_place = in_place::<A>(comm, o.send, true)?;
    let source = if is_in_place { o.receive.cast_const() } else { o.send };
    apart(o.send, o.receive, total > 0 && !comm.is_inter())?;
    let input = piece::<A>(entry, (source, total, o.datatype))?;
    if comm.is_inter() {
        call.slice = Some((counts[..mine].iter().sum(), output));
        call.input = Area::vector(input);
        return Ok(call);
    }
    call.shape.in_place = is_in_place;
    let mut offset = 0;
    let place = |count: &i64| {
        let place = (*count, offset);
        offset += count * input.ty.extent();
        place
    };
    let places = Places::List(counts.iter().map(place).collect());
    call.input = Area::new(input.base, input.ty.clone(), places);
    call.output = Area::of_piece(output);
    Ok(call)
}

/// The counts of an array, one for each rank of the local group.
///
/// # Safety
/// The array has as many elements.
pub unsafe fn counts(comm: &CommRef, counts: Counts) -> Result<Vec<i64>> {
    if counts.is_null() {
        return error(class::ARG, "the array of counts is NULL");
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { counts.to_vec(comm.group.size()) })
}

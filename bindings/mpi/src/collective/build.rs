// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Arguments of the collectives that move data, checked, as a [`Call`].
//!
//! What is checked is what this process can see: counts, types, roots, where MPI_IN_PLACE may
//! stand, buffers that are the same. Arguments that have no meaning here (the receive buffer of a
//! gather away from the root) are not looked at.

use super::area::{Area, Piece, Places};
use super::bind::Sizes;
use super::{Call, my_rank, remote_rank, shape};
use crate::abi::{Abi, Counts};
use crate::api::arguments::{self, PROC_NULL, ROOT, committed_type, payload};
use crate::entry::Entry;
use crate::error::{Result, advise, class, error};
use crate::object::comm::{Comm, CommRef};
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use strait_collectives::kind::Kind;

/// A buffer of equal blocks: address, count, datatype.
pub type Even<A> = (*const c_void, i64, <A as Abi>::Handle);

/// A buffer of a v variant: address, counts, displacements in elements, datatype.
pub type Listed<A> = (*const c_void, Counts, Counts, <A as Abi>::Handle);

/// A buffer of a w variant: address, counts, displacements in bytes, datatypes.
pub type Mixed<A> = (*const c_void, Counts, Counts, *const <A as Abi>::Handle);

/// One block of each of several ranks.
pub enum Rows<A: Abi> {
    /// Equal blocks, one after another.
    Even(Even<A>),
    /// Blocks by counts and displacements.
    Listed(Listed<A>),
    /// Blocks with their own types, too.
    Mixed(Mixed<A>),
}

impl<A: Abi> Rows<A> {
    /// Where the buffer begins.
    pub fn base(&self) -> *const c_void {
        match self {
            Rows::Even(buffer) => buffer.0,
            Rows::Listed(buffer) => buffer.0,
            Rows::Mixed(buffer) => buffer.0,
        }
    }

    /// The blocks of so many ranks.
    ///
    /// # Safety
    /// Arrays have as many elements.
    pub unsafe fn area(&self, entry: &Entry, ranks: usize) -> Result<Area> {
        match *self {
            Rows::Even((base, count, datatype)) => {
                let piece = piece::<A>(entry, (base, count, datatype))?;
                Ok(Area::new(piece.base, piece.ty, Places::Even { count }))
            }
            Rows::Listed((base, counts, displacements, datatype)) => {
                let ty = committed_type::<A>(entry, datatype)?.clone();
                // SAFETY: the caller's promise.
                let (counts, offsets) =
                    unsafe { (array(counts, ranks)?, array(displacements, ranks)?) };
                let places: Vec<_> = counts
                    .iter()
                    .zip(&offsets)
                    .map(|(count, offset)| (*count, offset * ty.extent()))
                    .collect();
                let some = places.iter().map(|place| place.0).max().unwrap_or(0);
                check_counts(&counts)?;
                payload::<A>(entry, base, some, datatype)?;
                Ok(Area::new(base as *mut u8, ty, Places::List(places.into())))
            }
            Rows::Mixed((base, counts, displacements, datatypes)) => {
                // SAFETY: the caller's promise.
                let (counts, offsets) =
                    unsafe { (array(counts, ranks)?, array(displacements, ranks)?) };
                if datatypes.is_null() && ranks > 0 {
                    return error(class::TYPE, "the array of datatypes is NULL");
                }
                let mut pieces = Vec::with_capacity(ranks);
                for i in 0..ranks {
                    let at = (base as *const u8).wrapping_offset(offsets[i] as isize);
                    // SAFETY: the caller's promise.
                    let datatype = unsafe { *datatypes.add(i) };
                    pieces.push(piece::<A>(entry, (at.cast(), counts[i], datatype))?);
                }
                Ok(Area::each(pieces))
            }
        }
    }

    fn is_even(&self) -> bool {
        matches!(self, Rows::Even(_))
    }
}

unsafe fn array(counts: Counts, ranks: usize) -> Result<Vec<i64>> {
    if counts.is_null() && ranks > 0 {
        return error(class::ARG, "an array of counts or displacements is NULL");
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { counts.to_vec(ranks) })
}

/// Counts of several blocks.
pub fn check_counts(counts: &[i64]) -> Result {
    match counts.iter().position(|count| *count < 0) {
        Some(i) => {
            let text = format!("count {i} is {}; it must not be negative", counts[i]);
            error(class::COUNT, text)
        }
        None => Ok(()),
    }
}

/// One block, checked.
pub fn piece<A: Abi>(entry: &Entry, (base, count, datatype): Even<A>) -> Result<Piece> {
    payload::<A>(entry, base, count, datatype)?;
    let ty = committed_type::<A>(entry, datatype)?.clone();
    Ok(Piece { base: base as *mut u8, count, ty })
}

/// Refuses MPI_IN_PLACE where it may not stand, and tells where it stands.
pub fn in_place<A: Abi>(comm: &Comm, base: *const c_void, is_allowed: bool) -> Result<bool> {
    if !A::is_in_place(base) {
        return Ok(false);
    }
    if comm.is_inter() {
        return error(class::BUFFER, "MPI_IN_PLACE has no meaning on an intercommunicator");
    }
    if !is_allowed {
        return error(class::BUFFER, "MPI_IN_PLACE may not stand for this buffer here");
    }
    Ok(true)
}

/// Refuses the same memory for input and output.
pub fn apart(input: *const c_void, output: *const c_void, some: bool) -> Result {
    if some && input == output && !input.is_null() {
        return Err(advise(
            class::BUFFER,
            "the send and the receive buffer are the same memory",
            "pass MPI_IN_PLACE as the send buffer to work in place",
        ));
    }
    Ok(())
}

/// What the root argument says of this process.
pub enum Part {
    /// It is the root, whose number in the shape this is.
    Root(u32),
    /// Another is.
    Leaf(u32),
    /// MPI_PROC_NULL: nothing to do.
    Absent,
}

/// Reads a root argument.
pub fn part<A: Abi>(comm: &CommRef, root: c_int) -> Result<Part> {
    let Some(remote) = &comm.remote else {
        let root = arguments::root(comm, root)?;
        return Ok(if root == comm.rank { Part::Root(root) } else { Part::Leaf(root) });
    };
    match A::rank_in(root) {
        ROOT => Ok(Part::Root(my_rank(comm))),
        PROC_NULL => Ok(Part::Absent),
        rank if rank >= 0 && (rank as usize) < remote.size() => {
            Ok(Part::Leaf(remote_rank(comm, rank as u32)))
        }
        _ => {
            let last = remote.size() - 1;
            let text = format!("the root is {root}, but the remote group has ranks 0 to {last}");
            error(class::ROOT, text)
        }
    }
}

/// A call in which this process does nothing.
pub fn absent(comm: &Comm, kind: Kind) -> Call {
    Call { is_absent: true, ..Call::new(shape(comm, kind)) }
}

pub fn barrier(comm: &Comm) -> Call {
    Call::new(shape(comm, Kind::Barrier))
}

pub fn bcast<A: Abi>(entry: &Entry, comm: &CommRef, buffer: Even<A>, root: c_int) -> Result<Call> {
    let part = part::<A>(comm, root)?;
    let (root, is_root) = match part {
        Part::Root(root) => (root, true),
        Part::Leaf(root) => (root, false),
        Part::Absent => return Ok(absent(comm, Kind::Bcast)),
    };
    in_place::<A>(comm, buffer.0, false)?;
    let piece = piece::<A>(entry, buffer)?;
    let bytes = piece.payload().bytes();
    let places = Places::Cut { count: piece.count, blocks: 1 };
    let area = Area::new(piece.base, piece.ty, places);
    let (input, output) = if is_root { (area, Area::none()) } else { (Area::none(), area) };
    Ok(Call { bytes, input, output, ..Call::new(shape(comm, Kind::Bcast).root(root)) })
}

/// How many ranks the blocks of the root, or of everyone, are for.
fn others(comm: &Comm) -> usize {
    comm.target_group().size()
}

/// # Safety
/// Arrays have an element for each rank, where they have a meaning.
pub unsafe fn gather<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    send: Even<A>,
    receive: Rows<A>,
    root: c_int,
) -> Result<Call> {
    let mut call = Call::new(shape(comm, Kind::Gather));
    call.shape.regular = receive.is_even();
    let is_root = match part::<A>(comm, root)? {
        Part::Absent => return Ok(absent(comm, Kind::Gather)),
        Part::Root(root) => {
            call.shape.root = root;
            in_place::<A>(comm, receive.base(), false)?;
            // SAFETY: the caller's promise; they have a meaning at the root.
            call.output = unsafe { receive.area(entry, others(comm))? };
            true
        }
        Part::Leaf(root) => {
            call.shape.root = root;
            false
        }
    };
    if in_place::<A>(comm, send.0, is_root)? {
        call.shape.in_place = true;
        call.input = Area::of_piece(call.output.piece(comm.rank));
    } else if !is_root || !comm.is_inter() {
        let piece = piece::<A>(entry, send)?;
        apart(send.0, receive.base(), is_root && piece.count > 0)?;
        call.input = Area::of_piece(piece);
    }
    let mine = if is_root { &call.output } else { &call.input };
    with_block_bytes(&mut call.bytes, &mut call.sizes, mine, call.shape.regular);
    Ok(call)
}

/// # Safety
/// As [`gather`].
pub unsafe fn scatter<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    send: Rows<A>,
    receive: Even<A>,
    root: c_int,
) -> Result<Call> {
    let mut call = Call::new(shape(comm, Kind::Scatter));
    call.shape.regular = send.is_even();
    let is_root = match part::<A>(comm, root)? {
        Part::Absent => return Ok(absent(comm, Kind::Scatter)),
        Part::Root(root) => {
            call.shape.root = root;
            in_place::<A>(comm, send.base(), false)?;
            // SAFETY: the caller's promise; they have a meaning at the root.
            call.input = unsafe { send.area(entry, others(comm))? };
            true
        }
        Part::Leaf(root) => {
            call.shape.root = root;
            false
        }
    };
    if in_place::<A>(comm, receive.0, is_root)? {
        call.shape.in_place = true;
        call.output = Area::of_piece(call.input.piece(comm.rank));
    } else if !is_root || !comm.is_inter() {
        let piece = piece::<A>(entry, receive)?;
        apart(send.base(), receive.0, is_root && piece.count > 0)?;
        call.output = Area::of_piece(piece);
    }
    let mine = if is_root { &call.input } else { &call.output };
    with_block_bytes(&mut call.bytes, &mut call.sizes, mine, call.shape.regular);
    Ok(call)
}

/// What all ranks know of a regular call: the bytes of a block.
fn with_block_bytes(bytes: &mut usize, sizes: &mut Sizes, area: &Area, regular: bool) {
    if regular {
        *bytes = area.payload(0, 1).bytes();
        *sizes = Sizes::Regular(*bytes);
    }
}

/// # Safety
/// Arrays have an element for each rank.
pub unsafe fn allgather<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    send: Even<A>,
    receive: Rows<A>,
) -> Result<Call> {
    let mut call = Call::new(shape(comm, Kind::Allgather));
    call.shape.regular = receive.is_even();
    in_place::<A>(comm, receive.base(), false)?;
    // SAFETY: the caller's promise.
    call.output = unsafe { receive.area(entry, others(comm))? };
    if in_place::<A>(comm, send.0, true)? {
        call.shape.in_place = true;
        call.input = Area::of_piece(call.output.piece(comm.rank));
    } else {
        let piece = piece::<A>(entry, send)?;
        apart(send.0, receive.base(), piece.count > 0 && !comm.is_inter())?;
        call.input = Area::of_piece(piece);
    }
    if call.shape.regular {
        let output = call.output.clone();
        with_block_bytes(&mut call.bytes, &mut call.sizes, &output, true);
    } else if !comm.is_inter() {
        // Everyone knows all counts: the mean decides.
        let blocks = 0..others(comm) as u32;
        let sizes: Rc<[usize]> = blocks.map(|b| call.output.payload(b, 1).bytes()).collect();
        call.bytes = sizes.iter().sum::<usize>() / sizes.len();
        call.sizes = Sizes::Packed(sizes);
    }
    Ok(call)
}

/// # Safety
/// Arrays have an element for each rank.
pub unsafe fn alltoall<A: Abi>(
    entry: &Entry,
    comm: &CommRef,
    send: Rows<A>,
    receive: Rows<A>,
) -> Result<Call> {
    let mut call = Call::new(shape(comm, Kind::Alltoall));
    call.shape.regular = receive.is_even();
    in_place::<A>(comm, receive.base(), false)?;
    // SAFETY: the caller's promise.
    call.output = unsafe { receive.area(entry, others(comm))? };
    if in_place::<A>(comm, send.base(), true)? {
        call.shape.in_place = true;
        call.input = call.output.clone();
    } else {
        // SAFETY: the caller's promise.
        call.input = unsafe { send.area(entry, others(comm))? };
        let some = (0..others(comm) as u32).any(|block| call.input.count(block) > 0);
        apart(send.base(), receive.base(), some && !comm.is_inter())?;
    }
    if call.shape.regular {
        let output = call.output.clone();
        with_block_bytes(&mut call.bytes, &mut call.sizes, &output, true);
    }
    Ok(call)
}

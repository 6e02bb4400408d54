// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `STRAIT_REPRODUCIBLE`: reductions whose result is the same to the last bit from run to run, for
//! any layout of the ranks, or for any order of the operands (docs/reproducible.md).
//!
//! The result of a floating-point sum depends on the order in which operands are combined. With
//! `run` and `layout` each call for which that matters goes by its schedule, which follows from the
//! collective, the number of ranks and the bytes alone; boards, which combine otherwise, are for
//! the others. With `exact` a sum of floating-point numbers is lifted: ranks reduce long
//! accumulators (strait_collectives::reduce::exact), and round at the end.

use super::area::{Area, Memory, Piece, byte};
use super::operation::Operation;
use super::{Call, my_rank};
use crate::datatype::{Form, Type};
use crate::error::{Result, class, error, make};
use crate::object::comm::Comm;
use std::sync::OnceLock;
use strait_collectives::kind::{self, Kind};
use strait_collectives::reduce::{Element, Group, Op, exact};
use strait_collectives::schedule::Buffer;

/// What the user asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub enum Mode {
    /// Nothing.
    Off,
    /// The same bits in each run with so many ranks, wherever they are: `run` and `layout`.
    Layout,
    /// Sums that no order changes.
    Exact,
}

static MODE: OnceLock<Mode> = OnceLock::new();

/// Reads the variable, in MPI_Init.
///
/// # Errors
/// It is none of its words.
pub fn settle() -> Result {
    let text = strait_transport::config::text("REPRODUCIBLE")?;
    let mode = match text.as_deref() {
        None | Some("off") => Mode::Off,
        Some("run" | "layout") => Mode::Layout,
        Some("exact") => Mode::Exact,
        Some(other) => {
            let text = format!("STRAIT_REPRODUCIBLE is {other}: it may be off, run, layout, exact");
            return error(class::OTHER, text);
        }
    };
    let _ = MODE.set(mode);
    Ok(())
}

fn mode() -> Mode {
    MODE.get().copied().unwrap_or(Mode::Off)
}

/// Whether a predefined operation on these elements goes by messages, since its result depends on
/// the order of its operands and somebody wants to know that order.
#[inline]
pub fn minds_order(op: Op, group: Group) -> bool {
    matches!(op, Op::Sum | Op::Prod)
        && matches!(group, Group::Floating | Group::Complex)
        && mode() != Mode::Off
}

/// The same of a call.
pub fn goes_by_messages(call: &Call) -> bool {
    match &call.operation {
        None => false,
        Some(operation) => match operation.predefined() {
            Some((op, basic)) => minds_order(op, basic.group),
            None => mode() != Mode::Off,
        },
    }
}

/// A call that reduces accumulators in place of the user's elements.
pub struct Lifted {
    /// The call.
    pub call: Call,
    /// Memory behind its areas.
    pub memory: Vec<Memory>,
    /// What to round in the end: accumulators, and where the elements go.
    store: Option<(Piece, Piece)>,
    element: Element,
    /// Basic elements of an element of the user's type.
    per_element: i64,
}

/// Lifts a call, if it is a sum that can be exact and is to be; its accumulators are filled.
///
/// # Errors
/// The accumulators are more than fits a datatype.
pub fn lift(comm: &Comm, call: &Call) -> Result<Option<Lifted>> {
    if mode() != Mode::Exact {
        return Ok(None);
    }
    let Some((element, per_element)) = call.operation.as_ref().and_then(Operation::summed) else {
        return Ok(None);
    };
    let Some(size) = exact::bytes(element) else { return Ok(None) };
    let ty = Type::contiguous(Form::Large, size as i64 * per_element, byte())
        .map_err(|_| make(class::INTERN, "the accumulators of an exact sum have no type"))?;
    let blocks = kind::blocks(&call.shape, my_rank(comm), Buffer::Input);
    let counts: Vec<i64> = (0..blocks).map(|block| call.input.count(block)).collect();
    let (own, accumulators) = Memory::of_elements(&ty, &counts);
    let mut memory = vec![own];
    for (block, count) in counts.iter().enumerate() {
        let from = call.input.piece(block as u32);
        let to = accumulators.piece(block as u32);
        let count = (count * per_element) as usize;
        // SAFETY: the user's input is readable, says the caller of the call, and its elements lie
        // without gaps, as `Operation::new` checked; the accumulators are ours.
        unsafe { exact::load(element, from.base, to.base, count) };
    }
    let mut make_room = |like: &Piece| {
        let (own, area) = Memory::of_elements(&ty, &[like.count]);
        memory.push(own);
        area.piece(0)
    };
    let mut lifted = Call {
        // A part of the input takes as many bytes more as an element.
        bytes: call.bytes / element.bytes() * size,
        operation: Some(Operation::exact(element, per_element)),
        input: accumulators,
        output: Area::none(),
        ..call.clone()
    };
    lifted.shape.in_place = false;
    if blocks == 0 {
        lifted.input = Area::none();
    } else if call.shape.kind != Kind::ReduceScatter {
        lifted.input = Area::vector(lifted.input.piece(0));
    }
    let store = if let Some((first, to)) = &call.slice {
        let room = make_room(to);
        lifted.slice = Some((*first, room.clone()));
        Some((room, to.clone()))
    } else if kind::blocks(&call.shape, my_rank(comm), Buffer::Output) == 0 {
        None
    } else {
        let to = call.output.piece(0);
        let room = make_room(&to);
        let is_scattered = call.shape.kind == Kind::ReduceScatter;
        lifted.output =
            if is_scattered { Area::of_piece(room.clone()) } else { Area::vector(room.clone()) };
        // What the first rank of an exscan gets is not defined: it stays as it is.
        let is_nothing = call.shape.kind == Kind::Exscan && comm.rank == 0;
        (!is_nothing).then_some((room, to))
    };
    Ok(Some(Lifted { call: lifted, memory, store, element, per_element }))
}

impl Lifted {
    /// What is left to do when the accumulators are reduced; the memory lives as long.
    pub fn rounding(&mut self) -> Option<Rounding> {
        let (from, into) = self.store.take()?;
        let count = (into.count * self.per_element) as usize;
        Some(Rounding { from: from.base, into: into.base, element: self.element, count })
    }
}

/// The end of an exact sum.
pub struct Rounding {
    from: *const u8,
    into: *mut u8,
    element: Element,
    count: usize,
}

impl Rounding {
    /// Writes the result.
    ///
    /// # Safety
    /// The accumulators are complete and still there; the user's buffer is writable.
    pub unsafe fn round(self) {
        // SAFETY: the caller's promise.
        unsafe { exact::store(self.element, self.from, self.into, self.count) };
    }
}

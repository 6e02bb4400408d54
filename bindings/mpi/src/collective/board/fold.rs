// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Combining what members published, from the last one down to the first, so that operands keep
//! their order and all who do it come to the same bits.

use crate::collective::area::{Area, Memory};
use crate::collective::operation::Operation;
use crate::datatype::Type;
use std::sync::Arc;
use strait_collectives::reduce::{self, Basic, Op};
use strait_transport::payload::Payload;

/// How operands are combined.
#[derive(Clone, Copy)]
pub enum Fold<'a> {
    /// Nothing is.
    None,
    /// A predefined operation on elements that lie without gaps.
    Plain(Op, Basic),
    /// In a copy of each operand that is laid out as the type says.
    Typed(&'a Operation, &'a Arc<Type>),
}

impl Fold<'_> {
    /// Bytes of one element: operands are cut between elements only.
    pub fn element_bytes(&self) -> usize {
        match self {
            Fold::None => 1,
            Fold::Plain(_, basic) => basic.bytes(),
            Fold::Typed(_, ty) => ty.size() as usize,
        }
    }

    /// Whether it runs code of the user, which must not happen under a lock.
    pub fn is_user(&self) -> bool {
        matches!(self, Fold::Typed(operation, _) if operation.is_user())
    }

    /// Combines `count` operands, of which `operand` gives the packed bytes, into the packed bytes
    /// from `offset` on of `into`.
    ///
    /// # Safety
    /// `into` is writable there, and holds none of the operands.
    #[inline]
    pub unsafe fn combine<'o>(
        &self,
        count: u32,
        operand: impl Fn(u32) -> &'o [u8],
        into: &Payload,
        offset: usize,
    ) {
        let last = operand(count - 1);
        match (self, into) {
            (_, _) if last.is_empty() => {}
            // SAFETY: the caller's promise.
            _ if count == 1 => unsafe { into.unpack(offset, last) },
            (Fold::Plain(op, basic), Payload::Contiguous { base, .. }) => {
                // SAFETY: the caller vouches for the bytes behind `offset`.
                let into = unsafe { base.add(offset) };
                let elements = last.len() / basic.bytes();
                let mut right = last.as_ptr();
                for member in (0..count - 1).rev() {
                    let left = operand(member).as_ptr();
                    // SAFETY: operands have as many bytes as the last one; `into` is none of them.
                    unsafe { reduce::reduce(*op, *basic, left, right, into, elements) };
                    right = into;
                }
            }
            // SAFETY: the caller's promise.
            (Fold::Typed(operation, ty), _) => unsafe {
                combine_typed(operation, ty, count, operand, into, offset)
            },
            _ => unreachable!("plain operations have plain operands"),
        }
    }
}

/// # Safety
/// As [`Fold::combine`].
#[cold]
unsafe fn combine_typed<'o>(
    operation: &Operation,
    ty: &Arc<Type>,
    count: u32,
    operand: impl Fn(u32) -> &'o [u8],
    into: &Payload,
    offset: usize,
) {
    let last = operand(count - 1);
    let elements = (last.len() / ty.size() as usize) as i64;
    let (_right_memory, right): (Memory, Area) = Memory::of_elements(ty, &[elements]);
    let (_left_memory, left): (Memory, Area) = Memory::of_elements(ty, &[elements]);
    // SAFETY: the area has room for so many elements of the type.
    unsafe { right.payload(0, 1).unpack(0, last) };
    for member in (0..count - 1).rev() {
        // SAFETY: as above.
        unsafe { left.payload(0, 1).unpack(0, operand(member)) };
        // SAFETY: both areas hold so many elements.
        unsafe { operation.combine(&left.piece(0), &right.piece(0), &right.piece(0)) };
    }
    let mut packed = vec![0; last.len()];
    // SAFETY: the area holds as many packed bytes as the operands have.
    unsafe { right.payload(0, 1).pack(0, &mut packed) };
    // SAFETY: the caller's promise.
    unsafe { into.unpack(offset, &packed) };
}

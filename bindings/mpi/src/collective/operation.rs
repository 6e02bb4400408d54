// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Combining elements: predefined operations on predefined types, or a function of the user.

use super::area::{Piece, copy};
use crate::abi::Abi;
use crate::datatype::Type;
use crate::error::{Result, class, error};
use crate::object::op::{OpRef, UserOp};
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use std::sync::Arc;
use strait_collectives::reduce::{self, Basic, Element, Op, exact};

/// How two vectors are combined.
#[derive(Clone)]
pub struct Operation {
    how: How,
    /// Operands may be swapped.
    pub commutes: bool,
}

#[derive(Clone)]
enum How {
    /// `per_element` basic elements in one element.
    Predefined { op: Op, basic: Basic, per_element: i64 },
    /// Adds accumulators of so many basic elements an element.
    Exact { element: Element, per_element: i64 },
    /// Calls the user: `right[i] = left[i] op right[i]` for so many elements.
    User(Rc<dyn Fn(*mut u8, *mut u8, i64)>),
}

impl Operation {
    /// The operation, if it is defined for the type. `handle` is what the user called the type.
    pub fn new<A: Abi>(op: OpRef, ty: &Arc<Type>, handle: A::Handle) -> Result<Operation> {
        let commutes = op.is_commutative();
        let how = match op {
            OpRef::Predefined(code) => predefined(code, ty)?,
            OpRef::User(user) => {
                How::User(Rc::new(move |left, right, count| {
                    // SAFETY: `combine` passes as many elements of the type.
                    unsafe { call_user::<A>(&user, left, right, count, handle) }
                }))
            }
        };
        Ok(Operation { how, commutes })
    }

    /// The operation and its basic elements, if it is a predefined one.
    pub fn predefined(&self) -> Option<(Op, Basic)> {
        match self.how {
            How::Predefined { op, basic, .. } => Some((op, basic)),
            How::User(_) | How::Exact { .. } => None,
        }
    }

    /// The addition of accumulators (reproducible.rs).
    pub fn exact(element: Element, per_element: i64) -> Operation {
        Operation { how: How::Exact { element, per_element }, commutes: true }
    }

    /// If it is a sum: what it adds, and how many of these are in one element of the call's type.
    pub fn summed(&self) -> Option<(Element, i64)> {
        match self.how {
            How::Predefined { op: Op::Sum, basic, per_element } => {
                Some((basic.element, per_element))
            }
            _ => None,
        }
    }

    /// Whether `combine` runs code of the user.
    pub fn is_user(&self) -> bool {
        matches!(self.how, How::User(_))
    }

    /// `into = left op right`; `into` may be `right`. All have one count and type.
    ///
    /// # Safety
    /// `left` and `right` are readable and `into` is writable.
    pub unsafe fn combine(&self, left: &Piece, right: &Piece, into: &Piece) {
        if into.count == 0 {
            return;
        }
        match &self.how {
            How::Predefined { op, basic, per_element } => {
                let count = (into.count * per_element) as usize;
                // SAFETY: `predefined` checked that elements lie without gaps; the schedule keeps
                // the operands apart, or `into` equal to `right`.
                unsafe { reduce::reduce(*op, *basic, left.base, right.base, into.base, count) }
            }
            How::Exact { element, per_element } => {
                let count = (into.count * per_element) as usize;
                // SAFETY: as above; the pieces are accumulators.
                unsafe { exact::add(*element, left.base, right.base, into.base, count) }
            }
            How::User(call) => {
                if into.base != right.base {
                    // SAFETY: the caller's promise.
                    unsafe { copy(&right.payload(), &into.payload()) };
                }
                call(left.base, into.base, into.count);
            }
        }
    }
}

fn predefined(code: u32, ty: &Arc<Type>) -> Result<How> {
    let Some(op) = Op::from_code(code) else {
        return error(class::OP, format!("{code:#x} is not an operation"));
    };
    if op.is_accumulate_only() {
        let text = format!("{} may only be used to accumulate into windows", op.name());
        return error(class::OP, text);
    }
    let plain = ty.basic().zip(ty.basic_count()).filter(|(basic, count)| {
        // Elements one after another without gaps, as the kernels read them.
        ty.lb() == 0 && ty.extent() == count * basic.bytes() as i64
    });
    match plain {
        Some((basic, per_element)) if reduce::supports(op, basic) => {
            Ok(How::Predefined { op, basic, per_element })
        }
        _ => error(class::OP, format!("{} is not defined for the datatype {ty:?}", op.name())),
    }
}

/// # Safety
/// Both vectors have `count` elements of the type that `handle` names.
unsafe fn call_user<A: Abi>(
    user: &UserOp,
    left: *mut u8,
    right: *mut u8,
    count: i64,
    handle: A::Handle,
) {
    type Function<N, H> = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut N, *mut H);
    let mut handle = handle;
    let (left, right) = (left.cast(), right.cast());
    if user.large {
        // SAFETY: the user passed a function of this type to MPI_Op_create_c.
        let function = unsafe {
            std::mem::transmute::<*const c_void, Function<i64, A::Handle>>(user.function)
        };
        let mut count = count;
        // SAFETY: the vectors are the caller's promise, the rest are live locals.
        unsafe { function(left, right, &mut count, &mut handle) };
        return;
    }
    // SAFETY: the user passed a function of this type to MPI_Op_create.
    let function =
        unsafe { std::mem::transmute::<*const c_void, Function<c_int, A::Handle>>(user.function) };
    // A count beyond an int is possible only for `_c` calls, whose user also has `_c` operations.
    let mut count = c_int::try_from(count).expect("large counts need MPI_Op_create_c");
    // SAFETY: as above.
    unsafe { function(left, right, &mut count, &mut handle) };
}

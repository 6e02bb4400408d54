// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reduction operations (MPI-5.0 sections 6.9.5 and 6.9.7).

use crate::abi::{Abi, Code, HandleKind};
use crate::api::arguments::{committed_type, handle, operation, out};
use crate::collective::area::Piece;
use crate::collective::operation::Operation;
use crate::entry::on_process;
use crate::error::{Result, class, error};
use crate::object::op::{OP_NULL, OpRef, UserOp};
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use strait_collectives::reduce::Op;

unsafe fn create<A: Abi>(
    name: &'static str,
    function: *const c_void,
    commute: c_int,
    large: bool,
    op: *mut A::Handle,
) -> c_int {
    on_process::<A>(name, |entry| {
        let op = out(op, "op")?;
        if function.is_null() {
            return error(class::ARG, "the function of the operation is NULL");
        }
        let new = Rc::new(UserOp { function, large, commutative: commute != 0 });
        let code = entry.ops.insert(new);
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *op = handle::<A>(HandleKind::Op, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_Op_create<A: Abi>(
    user_fn: *const c_void,
    commute: c_int,
    op: *mut A::Handle,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { create::<A>("MPI_Op_create", user_fn, commute, false, op) }
}

pub unsafe fn MPI_Op_create_c<A: Abi>(
    user_fn: *const c_void,
    commute: c_int,
    op: *mut A::Handle,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { create::<A>("MPI_Op_create_c", user_fn, commute, true, op) }
}

pub unsafe fn MPI_Op_free<A: Abi>(op: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Op_free", |entry| {
        let op = out(op, "op")?;
        // SAFETY: checked not to be null; readable, says the caller.
        let code = A::handle_in(HandleKind::Op, unsafe { *op });
        if entry.ops.remove(code).is_none() {
            let what = if Op::from_code(code).is_some() { "predefined" } else { "no operation" };
            return error(class::OP, format!("{code:#x} cannot be freed: it is {what}"));
        }
        // SAFETY: writable, says the caller.
        unsafe { *op = A::handle_out(HandleKind::Op, OP_NULL) };
        Ok(())
    })
}

pub unsafe fn MPI_Op_commutative<A: Abi>(op: A::Handle, commute: *mut c_int) -> c_int {
    on_process::<A>("MPI_Op_commutative", |entry| {
        let commutes = match operation::<A>(entry, op)? {
            OpRef::Predefined(code) => predefined(code)?.is_commutative(),
            OpRef::User(op) => op.commutative,
        };
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(commute, "commute")? = c_int::from(commutes) };
        Ok(())
    })
}

fn predefined(code: Code) -> Result<Op> {
    match Op::from_code(code) {
        Some(op) => Ok(op),
        None => error(class::OP, format!("{code:#x} is not an operation")),
    }
}

pub unsafe fn MPI_Reduce_local<A: Abi>(
    inbuf: *const c_void,
    inoutbuf: *mut c_void,
    count: i64,
    datatype: A::Handle,
    op: A::Handle,
) -> c_int {
    on_process::<A>("MPI_Reduce_local", |entry| {
        if count < 0 {
            return error(class::COUNT, format!("the count is {count}; it must not be negative"));
        }
        let ty = committed_type::<A>(entry, datatype)?.clone();
        if A::is_in_place(inbuf) || A::is_in_place(inoutbuf) {
            return error(class::BUFFER, "MPI_IN_PLACE has no meaning here");
        }
        if count > 0 && ty.size() > 0 && (inbuf.is_null() || inoutbuf.is_null()) {
            return error(class::BUFFER, format!("a buffer is NULL but the count is {count}"));
        }
        let op = operation::<A>(entry, op)?;
        if let OpRef::User(user) = &op
            && !user.large
            && c_int::try_from(count).is_err()
        {
            let text = "the count does not fit in the int that the operation takes";
            return error(class::COUNT, text);
        }
        let operation = Operation::new::<A>(op, &ty, datatype)?;
        let left = Piece { base: inbuf.cast::<u8>().cast_mut(), count, ty: ty.clone() };
        let right = Piece { base: inoutbuf.cast(), count, ty };
        // SAFETY: both buffers have so many elements, says the caller; no lock is held, since this
        // may be code of the user.
        entry.outside(|| unsafe { operation.combine(&left, &right, &right) });
        Ok(())
    })
}

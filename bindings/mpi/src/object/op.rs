// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reduction operations: the predefined ones by code, and users' functions (MPI-5.0 section 6.9).

use crate::abi::Code;
use std::ffi::c_void;
use std::rc::Rc;

/// Code of MPI_OP_NULL.
pub const OP_NULL: Code = 0x20;

/// A user's operation.
#[derive(Debug)]
pub struct UserOp {
    /// `MPI_User_function` or `MPI_User_function_c`.
    pub function: *const c_void,
    /// It takes `MPI_Count *` lengths (`_c`).
    pub large: bool,
    /// Operands may be swapped.
    pub commutative: bool,
}

/// An operation as calls use it.
#[derive(Clone, Debug)]
pub enum OpRef {
    /// A predefined one, by its canonical code (0x21..0x3f).
    Predefined(Code),
    /// A user's.
    User(Rc<UserOp>),
}

impl OpRef {
    /// Whether operands may be swapped.
    pub fn is_commutative(&self) -> bool {
        match self {
            // MPI_REPLACE is not; the others are.
            OpRef::Predefined(code) => *code != 0x3c,
            OpRef::User(op) => op.commutative,
        }
    }
}

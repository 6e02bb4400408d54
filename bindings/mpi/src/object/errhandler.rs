// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Error handlers: three predefined ones, and users' functions (MPI-5.0 section 9.3).

use crate::abi::{Code, HandleKind};
use std::ffi::c_void;
use std::rc::Rc;

/// Code of MPI_ERRHANDLER_NULL.
pub const ERRHANDLER_NULL: Code = 0x140;
/// Code of MPI_ERRORS_ARE_FATAL.
pub const ERRORS_ARE_FATAL: Code = 0x141;
/// Code of MPI_ERRORS_ABORT.
pub const ERRORS_ABORT: Code = 0x142;
/// Code of MPI_ERRORS_RETURN.
pub const ERRORS_RETURN: Code = 0x143;

/// A user's handler.
#[derive(Debug)]
pub struct UserErrhandler {
    /// `void (*)(MPI_Comm *, int *, ...)` and the like, of the face that is active.
    pub function: *const c_void,
    /// Which kind of object it serves.
    pub kind: HandleKind,
    /// Handles given out and objects that hold it.
    pub references: std::cell::Cell<u32>,
}

/// What an object holds.
#[derive(Clone, Debug)]
pub enum ErrhandlerRef {
    /// MPI_ERRORS_ARE_FATAL
    Fatal,
    /// MPI_ERRORS_ABORT
    Abort,
    /// MPI_ERRORS_RETURN
    Return,
    /// A user's, with its code.
    User(Code, Rc<UserErrhandler>),
}

impl ErrhandlerRef {
    /// One more handle or object has it.
    pub fn hold(&self) {
        if let ErrhandlerRef::User(_, user) = self {
            user.references.set(user.references.get() + 1);
        }
    }

    /// The predefined handler of a code.
    pub fn predefined(code: Code) -> Option<ErrhandlerRef> {
        match code {
            ERRORS_ARE_FATAL => Some(ErrhandlerRef::Fatal),
            ERRORS_ABORT => Some(ErrhandlerRef::Abort),
            ERRORS_RETURN => Some(ErrhandlerRef::Return),
            _ => None,
        }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        match self {
            ErrhandlerRef::Fatal => ERRORS_ARE_FATAL,
            ErrhandlerRef::Abort => ERRORS_ABORT,
            ErrhandlerRef::Return => ERRORS_RETURN,
            ErrhandlerRef::User(code, _) => *code,
        }
    }
}

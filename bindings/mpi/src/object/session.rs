// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A session: a handle on the job beside the world model, with an error handler of its own
//! (MPI-5.0 section 11.3).

use crate::abi::Code;
use crate::object::errhandler::ErrhandlerRef;

/// Code of MPI_SESSION_NULL.
pub const SESSION_NULL: Code = 0x120;

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Error handler.
    pub errhandler: ErrhandlerRef,
}

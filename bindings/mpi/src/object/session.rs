// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A session: a handle on the job beside the world model, with an error handler of its own
//! (MPI-5.0 section 11.3).

use crate::abi::Code;
use crate::object::errhandler::ErrhandlerRef;
use crate::object::request::BsendBuffer;

/// Code of MPI_SESSION_NULL.
pub const SESSION_NULL: Code = 0x120;

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Error handler.
    pub errhandler: ErrhandlerRef,
    /// Buffer for buffered sends over communicators that come from this session.
    pub buffer: Option<BsendBuffer>,
}

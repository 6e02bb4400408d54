// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an exported function without an implementation answers.

use std::ffi::c_int;

use super::{Abi, HandleKind};

/// The answer of the function `name`: MPI_ERR_UNSUPPORTED_OPERATION through the error handler of
/// MPI_COMM_SELF, with a text that names the function.
#[cold]
#[inline(never)]
pub fn unsupported<A: Abi>(name: &'static str) -> c_int {
    crate::entry::unsupported::<A>(name)
}

/// The answer of a function that returns a handle: the kind's NULL.
pub fn unsupported_handle<A: Abi>(kind: HandleKind, name: &'static str) -> A::Handle {
    unsupported::<A>(name);
    A::handle_out(kind, kind.null())
}

/// The answer of a function that returns a file: MPI_FILE_NULL.
pub fn unsupported_file<A: Abi>(name: &'static str) -> A::File {
    unsupported::<A>(name);
    A::file_out(HandleKind::File.null())
}

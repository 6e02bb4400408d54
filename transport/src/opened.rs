// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Libraries that are opened at run time, by libfabric's and UCX's ports and for PMIx.

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::OsStr;

/// Opens a library that is never closed: it may have threads, hooks in the allocator, functions to
/// call at exit. RTLD_NODELETE, so that who opens it again finds the same.
///
/// # Safety
/// Its initialisers may run in this process.
pub(crate) unsafe fn open(name: &OsStr) -> Result<&'static Library, libloading::Error> {
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
    // SAFETY: the caller's promise.
    let library = unsafe { Library::open(Some(name), flags) }?;
    Ok(Box::leak(Box::new(library)))
}

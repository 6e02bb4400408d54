// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Open files: a descriptor per process, what the group agreed on, and this process's view
//! (MPI-5.0 chapter 14).
//!
//! Offsets count etypes of the view (file_view.rs).

use crate::abi::{Code, Status};
use crate::error::{MpiError, Result, class, error, make};
use crate::object::comm::Comm;
use crate::object::errhandler::ErrhandlerRef;
use crate::object::file_view::View;
use crate::object::info::InfoData;
use crate::object::shared_position::SharedPosition;
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Mutex;

/// Code of MPI_FILE_NULL.
pub const FILE_NULL: Code = 0x118;

/// Canonical access modes.
pub mod mode {
    #![allow(missing_docs)]
    pub const APPEND: i32 = 1;
    pub const CREATE: i32 = 2;
    pub const DELETE_ON_CLOSE: i32 = 4;
    pub const EXCL: i32 = 8;
    pub const RDONLY: i32 = 16;
    pub const RDWR: i32 = 32;
    pub const SEQUENTIAL: i32 = 64;
    pub const UNIQUE_OPEN: i32 = 128;
    pub const WRONLY: i32 = 256;
    /// All of them.
    pub const ALL: i32 = 511;
    /// Exactly one must be there.
    pub const DIRECTION: i32 = RDONLY | RDWR | WRONLY;
}

/// An open file.
pub struct File {
    /// Its handle.
    pub code: Cell<Code>,
    /// The members, with contexts of their own: the user may free the communicator of the open.
    pub comm: Comm,
    /// As this process named it.
    pub path: PathBuf,
    /// Canonical access mode.
    pub mode: c_int,
    /// The descriptor.
    pub file: std::fs::File,
    /// What of the file this process sees.
    pub view: RefCell<View>,
    /// The individual file pointer, in etypes.
    pub position: Cell<i64>,
    /// The shared file pointer; `None` when the members share neither memory nor a file for it.
    pub shared_position: Option<SharedPosition>,
    /// MPI_File_set_atomicity.
    pub atomic: Cell<bool>,
    /// In atomic mode, one access of this process at a time: its threads share the file's locks.
    pub turn: Mutex<()>,
    /// The split collective access that has begun and not ended.
    pub split: RefCell<Option<Split>>,
    /// Something was written since the last sync.
    pub unsynced: Cell<bool>,
    /// Hints.
    pub info: RefCell<InfoData>,
    /// Error handler.
    pub errhandler: RefCell<ErrhandlerRef>,
}

/// A split collective access between its two halves.
pub struct Split {
    /// The function that began it, without "_begin".
    pub name: &'static str,
    /// What its end tells.
    pub status: Status,
}

/// A file as it is shared.
pub type FileRef = Rc<File>;

impl File {
    /// What messages call it.
    pub fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }

    /// Whether the mode has this bit.
    pub fn has(&self, bit: c_int) -> bool {
        self.mode & bit != 0
    }

    /// Refuses what changes a file that was opened to be read only.
    pub fn writable(&self) -> Result {
        if self.has(mode::RDONLY) {
            return error(
                class::READ_ONLY,
                format!("{} was opened with MPI_MODE_RDONLY", self.describe()),
            );
        }
        Ok(())
    }

    /// Refuses offsets and sizes on a file that is passed through once.
    pub fn seekable(&self) -> Result {
        if self.has(mode::SEQUENTIAL) {
            return error(
                class::UNSUPPORTED_OPERATION,
                format!("{} was opened with MPI_MODE_SEQUENTIAL", self.describe()),
            );
        }
        Ok(())
    }

    /// The shared file pointer, if there is one.
    pub fn shared(&self) -> Result<&SharedPosition> {
        match &self.shared_position {
            Some(position) => Ok(position),
            None => error(
                class::UNSUPPORTED_OPERATION,
                format!(
                    "{} has no shared file pointer: the ranks share no memory, and beside the file \
                     none could make or open another one for it",
                    self.describe()
                ),
            ),
        }
    }

    /// Something done with the shared file pointer.
    pub fn with_shared<T>(
        &self,
        body: impl FnOnce(&SharedPosition) -> std::io::Result<T>,
    ) -> Result<T> {
        let done = body(self.shared()?);
        done.map_err(|error| self.failed("has a shared pointer that cannot be used", error))
    }

    /// Bytes in the file now.
    pub fn bytes(&self) -> Result<i64> {
        let found = self.file.metadata().map_err(|error| self.failed("cannot be looked at", error));
        Ok(found?.len() as i64)
    }

    /// An error of the system about this file.
    #[cold]
    pub fn failed(&self, what: &str, error: std::io::Error) -> Box<MpiError> {
        make(class_of(&error), format!("{} {what}: {error}", self.describe()))
    }
}

/// The class of an error of the system about a file.
pub fn class_of(error: &std::io::Error) -> c_int {
    match error.raw_os_error() {
        Some(libc::ENOENT) => class::NO_SUCH_FILE,
        Some(libc::EEXIST) => class::FILE_EXISTS,
        Some(libc::EACCES | libc::EPERM) => class::ACCESS,
        Some(libc::EROFS) => class::READ_ONLY,
        Some(libc::ENOTDIR | libc::EISDIR | libc::ENAMETOOLONG | libc::ELOOP) => class::BAD_FILE,
        Some(libc::EBUSY | libc::ETXTBSY) => class::FILE_IN_USE,
        Some(libc::ENOSPC | libc::EFBIG) => class::NO_SPACE,
        Some(libc::EDQUOT) => class::QUOTA,
        Some(libc::ENOMEM) => class::NO_MEM,
        _ => class::IO,
    }
}

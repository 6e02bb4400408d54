// SPDX-License-Identifier: Apache-2.0 OR MIT
//! libfabric, opened at run time: nothing is linked, and a machine without it loses this lane only.
//!
//! The library is never closed: its providers may have threads, and hooks in the allocator.

use super::sys::{fi_fabric_attr, fi_info, fi_version, fid_fabric};
use crate::error::{Error, Kind, Result};
use crate::opened;
use libloading::os::unix::Library as Handle;
use std::ffi::{CStr, c_char, c_int, c_void};

/// Where it is looked for, unless `STRAIT_OFI_LIBRARY` names another.
pub const SONAME: &str = "libfabric.so.1";
/// The interface that we ask for; newer libraries follow it.
pub const API: u32 = fi_version(1, 17);
/// The first version whose layout nobody has compared with ours.
const MAJOR_END: u32 = 3;

/// The functions that the library exports; everything else goes through tables of its objects.
#[derive(Clone, Copy)]
pub struct Library {
    /// `fi_version`.
    pub version: unsafe extern "C" fn() -> u32,
    /// `fi_getinfo`.
    pub getinfo: unsafe extern "C" fn(
        u32,
        *const c_char,
        *const c_char,
        u64,
        *const fi_info,
        *mut *mut fi_info,
    ) -> c_int,
    /// `fi_freeinfo`.
    pub freeinfo: unsafe extern "C" fn(*mut fi_info),
    /// `fi_dupinfo`.
    pub dupinfo: unsafe extern "C" fn(*const fi_info) -> *mut fi_info,
    /// `fi_fabric`.
    pub fabric:
        unsafe extern "C" fn(*mut fi_fabric_attr, *mut *mut fid_fabric, *mut c_void) -> c_int,
    /// `fi_strerror`.
    pub strerror: unsafe extern "C" fn(c_int) -> *const c_char,
}

impl Library {
    /// Opens the library that `STRAIT_OFI_LIBRARY` names, else the system's.
    ///
    /// # Errors
    /// It is not there, is no libfabric, or is one that this build cannot use; the message says
    /// which and what to do.
    pub fn open() -> Result<Library> {
        let name = crate::config::text("OFI_LIBRARY")?.unwrap_or_else(|| SONAME.to_owned());
        // SAFETY: the initialisers of libfabric are made to run on opening; a user who names
        // another file vouches for it as for any library of the program.
        let handle = unsafe { opened::open(name.as_ref()) }.map_err(|why| {
            refused(format!(
                "libfabric cannot be opened ({why}); install it (Debian: libfabric1), name it by \
                 STRAIT_OFI_LIBRARY, or leave ofi out of STRAIT_LANES"
            ))
        })?;
        let library = Library::of(handle)
            .map_err(|why| refused(format!("{name} is no libfabric that Strait can use: {why}")))?;
        // SAFETY: fi_version takes nothing and may be called at any time.
        let version = unsafe { (library.version)() };
        accept(&name, version)?;
        Ok(library)
    }

    fn of(handle: &Handle) -> std::result::Result<Library, libloading::Error> {
        // SAFETY: these are the functions of those names in fabric.h, with its signatures; the
        // handle is never closed, so they stay.
        unsafe {
            Ok(Library {
                version: *handle.get(c"fi_version")?,
                getinfo: *handle.get(c"fi_getinfo")?,
                freeinfo: *handle.get(c"fi_freeinfo")?,
                dupinfo: *handle.get(c"fi_dupinfo")?,
                fabric: *handle.get(c"fi_fabric")?,
                strerror: *handle.get(c"fi_strerror")?,
            })
        }
    }

    /// The library's words for a negative result.
    pub fn words(&self, result: isize) -> String {
        let code = c_int::try_from(result.unsigned_abs()).unwrap_or(c_int::MAX);
        // SAFETY: fi_strerror answers any number with a constant string.
        let text = unsafe { (self.strerror)(code) };
        if text.is_null() {
            return format!("error {code}");
        }
        // SAFETY: it is a string that ends with zero and is not changed.
        format!("{} ({code})", unsafe { CStr::from_ptr(text) }.to_string_lossy())
    }

    /// Version as people write it.
    pub fn version_text(&self) -> String {
        // SAFETY: as in `open`.
        let version = unsafe { (self.version)() };
        format!("{}.{}", version >> 16, version & 0xffff)
    }
}

fn accept(name: &str, version: u32) -> Result<()> {
    if version >= API && version < fi_version(MAJOR_END, 0) {
        return Ok(());
    }
    let (major, minor) = (version >> 16, version & 0xffff);
    Err(refused(format!(
        "{name} is libfabric {major}.{minor}, and Strait works with 1.17 to 2.x; name another by \
         STRAIT_OFI_LIBRARY, or leave ofi out of STRAIT_LANES"
    )))
}

#[cold]
pub(super) fn refused(text: String) -> Error {
    Error::new(Kind::Config(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_or_refused_by_name() {
        for good in [(1, 17), (1, 22), (2, 0), (2, 5), (2, 99)] {
            assert!(accept("it", fi_version(good.0, good.1)).is_ok(), "{good:?}");
        }
        for bad in [(1, 14), (0, 0), (3, 0)] {
            let error = accept("/x.so", fi_version(bad.0, bad.1)).expect_err("refused").to_string();
            let says = format!("/x.so is libfabric {}.{}", bad.0, bad.1);
            assert!(error.contains(&says) && error.contains("STRAIT_LANES"), "{error}");
        }
    }
}

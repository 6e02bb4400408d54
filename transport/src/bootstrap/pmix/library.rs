// SPDX-License-Identifier: Apache-2.0 OR MIT
//! PMIx's library, opened at run time: nothing is linked, and only a process that a PMIx launcher
//! started looks for it.
//!
//! The library is never closed: it has a thread of its own.

use super::sys::{pmix_info_t, pmix_proc_t, pmix_value_t};
use crate::error::{Error, Kind, Result};
use crate::opened;
use libloading::os::unix::Library as Handle;
use std::error::Error as _;
use std::ffi::{CStr, c_char, c_int};
use std::path::{Path, PathBuf};

/// Its name for the loader. All versions since 2 have it.
pub const SONAME: &str = "libpmix.so.2";
/// Versions whose types and numbers are those of sys.rs.
const MAJORS: std::ops::RangeInclusive<u32> = 3..=5;

/// Directories that launchers name in the environment of what they start, and where beneath them
/// the library lies: Open MPI's mpirun names its own libraries, and its prefix if it was moved.
const NAMED_BY_LAUNCHERS: &[(&str, &[&str])] = &[
    ("OMPI_LIBDIR_LOC", &["", "openmpi"]),
    ("PMIX_PREFIX", &["lib", "lib/openmpi", "lib64", "lib64/openmpi"]),
    ("OPAL_PREFIX", &["lib", "lib/openmpi", "lib64", "lib64/openmpi"]),
];

/// The functions that we call.
#[derive(Clone, Copy)]
pub(super) struct Library {
    pub(super) version: unsafe extern "C" fn() -> *const c_char,
    pub(super) error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    pub(super) init: unsafe extern "C" fn(*mut pmix_proc_t, *mut pmix_info_t, usize) -> c_int,
    pub(super) finalize: unsafe extern "C" fn(*const pmix_info_t, usize) -> c_int,
    pub(super) abort: unsafe extern "C" fn(c_int, *const c_char, *mut pmix_proc_t, usize) -> c_int,
    pub(super) put: unsafe extern "C" fn(u8, *const c_char, *mut pmix_value_t) -> c_int,
    pub(super) commit: unsafe extern "C" fn() -> c_int,
    pub(super) fence:
        unsafe extern "C" fn(*const pmix_proc_t, usize, *const pmix_info_t, usize) -> c_int,
    pub(super) get: unsafe extern "C" fn(
        *const pmix_proc_t,
        *const c_char,
        *const pmix_info_t,
        usize,
        *mut *mut pmix_value_t,
    ) -> c_int,
    /// The hosts of a job, as one text.
    pub(super) resolve_nodes: unsafe extern "C" fn(*const c_char, *mut *mut c_char) -> c_int,
    /// The processes of a job on a host.
    pub(super) resolve_peers: unsafe extern "C" fn(
        *const c_char,
        *const c_char,
        *mut *mut pmix_proc_t,
        *mut usize,
    ) -> c_int,
}

impl Library {
    /// Opens the library that `STRAIT_PMIX_LIBRARY` names, else the launcher's own, else the
    /// loader's.
    ///
    /// # Errors
    /// It is nowhere, or is none that this build can use; the message says where was looked and
    /// what to do.
    pub(super) fn open(variable: &dyn Fn(&str) -> Option<String>) -> Result<Library> {
        let chosen = crate::config::text("PMIX_LIBRARY")?;
        let names = match chosen {
            Some(name) => vec![PathBuf::from(name)],
            None => candidates(variable, &|path| path.exists()),
        };
        let mut reasons = Vec::new();
        for name in &names {
            match open_one(name) {
                Ok(library) => return Ok(library),
                Err(why) => reasons.push(why),
            }
        }
        Err(Error::new(Kind::Bootstrap(format!(
            "the launcher speaks PMIx, and its library cannot be used\n  {}\n  help: install it \
             (Debian: libpmix2), name it by STRAIT_PMIX_LIBRARY, or start the program with the \
             mpiexec of Strait",
            reasons.join("\n  ")
        ))))
    }

    fn of(handle: &Handle) -> std::result::Result<Library, libloading::Error> {
        // SAFETY: these are the functions of those names in pmix.h, with its signatures; the handle
        // is never closed, so they stay.
        unsafe {
            Ok(Library {
                version: *handle.get(c"PMIx_Get_version")?,
                error_string: *handle.get(c"PMIx_Error_string")?,
                init: *handle.get(c"PMIx_Init")?,
                finalize: *handle.get(c"PMIx_Finalize")?,
                abort: *handle.get(c"PMIx_Abort")?,
                put: *handle.get(c"PMIx_Put")?,
                commit: *handle.get(c"PMIx_Commit")?,
                fence: *handle.get(c"PMIx_Fence")?,
                get: *handle.get(c"PMIx_Get")?,
                resolve_nodes: *handle.get(c"PMIx_Resolve_nodes")?,
                resolve_peers: *handle.get(c"PMIx_Resolve_peers")?,
            })
        }
    }

    /// The library's words for a status.
    pub(super) fn words(&self, status: c_int) -> String {
        // SAFETY: any number is answered with a constant string.
        let text = unsafe { (self.error_string)(status) };
        format!("{} ({status})", text_of(text))
    }
}

fn open_one(name: &Path) -> std::result::Result<Library, String> {
    // SAFETY: the library's initialisers are made to run on opening; a user or launcher who names
    // another file vouches for it as for any library of the program.
    let opened = unsafe { opened::open(name.as_os_str()) };
    let shown = name.display();
    let handle = opened.map_err(|why| format!("{shown}: {}", reason(&why)))?;
    let library = Library::of(handle);
    let library = library.map_err(|why| format!("{shown} is no PMIx library: {}", reason(&why)))?;
    // SAFETY: it takes nothing, and may be called before everything else.
    let version = text_of(unsafe { (library.version)() });
    match major_of(&version) {
        Some(major) if MAJORS.contains(&major) => Ok(library),
        _ => Err(format!(
            "{shown} is {version}, and Strait works with PMIx {} to {}",
            MAJORS.start(),
            MAJORS.end()
        )),
    }
}

/// The loader's words.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return "?".to_owned();
    }
    // SAFETY: the library's constant string, which ends with zero.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The first number of `OpenPMIx 4.2.2 (PMIx Standard: 4.2, ...)`.
fn major_of(version: &str) -> Option<u32> {
    let start = version.find(|letter: char| letter.is_ascii_digit())?;
    let digits = &version[start..];
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Where it may be, in this order. The launcher's own comes first: it is of the version of the
/// server that we will talk to, and the loader may find an older one.
fn candidates(
    variable: &dyn Fn(&str) -> Option<String>,
    exists: &dyn Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for (name, below) in NAMED_BY_LAUNCHERS {
        let Some(prefix) = variable(name).filter(|prefix| prefix.starts_with('/')) else {
            continue;
        };
        for directory in *below {
            let path = Path::new(&prefix).join(directory).join(SONAME);
            if exists(&path) && !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found.push(PathBuf::from(SONAME));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_libraries_write_them() {
        for (text, major) in [
            ("OpenPMIx 4.2.2rc2 (PMIx Standard: 4.2, Stable ABI: 0.0)", Some(4)),
            ("OpenPMIx 5.0.11rc1 (PMIx Standard: 5.1, Stable ABI: 5.0)", Some(5)),
            ("3.2.3", Some(3)),
            ("OpenPMIx 12", Some(12)),
            ("", None),
        ] {
            assert_eq!(major_of(text), major, "{text}");
        }
    }

    #[test]
    fn the_launchers_own_library_comes_first() {
        let moved = [("OMPI_LIBDIR_LOC", "/o/lib"), ("PMIX_PREFIX", "/o"), ("OPAL_PREFIX", "o")];
        let variable = |name: &str| {
            moved.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let exists = |path: &Path| path.starts_with("/o/lib/openmpi");
        let found = candidates(&variable, &exists);
        assert_eq!(found, ["/o/lib/openmpi/libpmix.so.2", SONAME].map(PathBuf::from));
        assert_eq!(candidates(&|_| None, &|_| true), [PathBuf::from(SONAME)]);
    }

    #[test]
    fn what_is_no_pmix_is_refused_by_name() {
        let why = open_one(Path::new("libc.so.6")).map(drop).expect_err("refused");
        assert!(why.contains("libc.so.6 is no PMIx library"), "{why}");
        let why = open_one(Path::new("/nonexistent/libpmix.so.2")).map(drop).expect_err("refused");
        assert!(why.contains("/nonexistent"), "{why}");
    }
}

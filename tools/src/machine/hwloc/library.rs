// SPDX-License-Identifier: Apache-2.0 OR MIT
//! hwloc, opened at run time: nothing is linked, and a host without it has sysfs. The library is
//! never closed.

use super::sys::{hwloc_bitmap_s, hwloc_obj, hwloc_topology};
use libloading::os::unix::{Library as Handle, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{CString, c_char, c_int, c_uint, c_ulong};

/// Where it is looked for, unless `STRAIT_HWLOC_LIBRARY` names another.
pub const SONAME: &str = "libhwloc.so.15";
/// The interfaces of that name: 2.0 and all later ones of 2. Others have other structures.
const MAJOR: u32 = 2;

/// Why there is no hwloc.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    /// It is not installed, and nobody said that it is.
    Absent,
    /// It is another thing than was hoped for: a sentence.
    Refused(String),
}

/// The functions that are called.
#[derive(Clone, Copy)]
pub struct Library {
    get_api_version: unsafe extern "C" fn() -> c_uint,
    pub(super) topology_init: unsafe extern "C" fn(*mut *mut hwloc_topology) -> c_int,
    pub(super) topology_set_flags: unsafe extern "C" fn(*mut hwloc_topology, c_ulong) -> c_int,
    pub(super) topology_set_io_types_filter:
        unsafe extern "C" fn(*mut hwloc_topology, c_int) -> c_int,
    topology_set_xml: unsafe extern "C" fn(*mut hwloc_topology, *const c_char) -> c_int,
    pub(super) topology_load: unsafe extern "C" fn(*mut hwloc_topology) -> c_int,
    pub(super) topology_destroy: unsafe extern "C" fn(*mut hwloc_topology),
    pub(super) topology_is_thissystem: unsafe extern "C" fn(*mut hwloc_topology) -> c_int,
    pub(super) topology_get_depth: unsafe extern "C" fn(*mut hwloc_topology) -> c_int,
    pub(super) topology_get_allowed_cpuset:
        unsafe extern "C" fn(*mut hwloc_topology) -> *const hwloc_bitmap_s,
    pub(super) get_obj_by_depth:
        unsafe extern "C" fn(*mut hwloc_topology, c_int, c_uint) -> *mut hwloc_obj,
    pub(super) bitmap_next: unsafe extern "C" fn(*const hwloc_bitmap_s, c_int) -> c_int,
}

impl Library {
    /// Opens the library of this name, or the system's.
    ///
    /// # Errors
    /// There is none, or one that cannot be used.
    pub fn open(named: Option<&str>) -> Result<Library, Missing> {
        let name = named.unwrap_or(SONAME);
        let refused = |why: String| {
            Missing::Refused(format!(
                "{why}; Strait works with hwloc 2 ({SONAME}): name one by STRAIT_HWLOC_LIBRARY"
            ))
        };
        // SAFETY: hwloc's initialisers are made to run on opening; a user who names another file
        // vouches for it as for any library of a program.
        let handle = unsafe { Handle::open(Some(name), RTLD_NOW | RTLD_LOCAL) };
        let handle = handle.map_err(|why| match named {
            None => Missing::Absent,
            Some(_) => refused(format!("{name} cannot be opened ({why})")),
        })?;
        // The version first: a library of another one may lack the rest.
        // SAFETY: the function of that name in hwloc.h, with its signature.
        let version =
            unsafe { handle.get::<unsafe extern "C" fn() -> c_uint>(c"hwloc_get_api_version") };
        let version = version.map_err(|_| refused(format!("{name} is no hwloc")))?;
        // SAFETY: it takes nothing and may be called at any time.
        let version = unsafe { version() };
        if version >> 16 != MAJOR {
            return Err(refused(format!("{name} is hwloc {}", in_words(version))));
        }
        let library = Library::of(&handle)
            .map_err(|why| refused(format!("{name} is no whole hwloc ({why})")))?;
        std::mem::forget(handle);
        Ok(library)
    }

    fn of(handle: &Handle) -> Result<Library, libloading::Error> {
        // SAFETY: these are the functions of those names in hwloc.h of version 2, with its
        // signatures; the handle is never closed, so they stay.
        unsafe {
            Ok(Library {
                get_api_version: *handle.get(c"hwloc_get_api_version")?,
                topology_init: *handle.get(c"hwloc_topology_init")?,
                topology_set_flags: *handle.get(c"hwloc_topology_set_flags")?,
                topology_set_io_types_filter: *handle.get(c"hwloc_topology_set_io_types_filter")?,
                topology_set_xml: *handle.get(c"hwloc_topology_set_xml")?,
                topology_load: *handle.get(c"hwloc_topology_load")?,
                topology_destroy: *handle.get(c"hwloc_topology_destroy")?,
                topology_is_thissystem: *handle.get(c"hwloc_topology_is_thissystem")?,
                topology_get_depth: *handle.get(c"hwloc_topology_get_depth")?,
                topology_get_allowed_cpuset: *handle.get(c"hwloc_topology_get_allowed_cpuset")?,
                get_obj_by_depth: *handle.get(c"hwloc_get_obj_by_depth")?,
                bitmap_next: *handle.get(c"hwloc_bitmap_next")?,
            })
        }
    }

    /// Version of its interface, as people write it; that of 2.9 is 2.8, since it added nothing.
    pub fn version(&self) -> String {
        // SAFETY: as in `open`.
        in_words(unsafe { (self.get_api_version)() })
    }

    /// Takes a file instead of this host; a negative number if it cannot be read.
    ///
    /// # Safety
    /// `topology` was initialised and not loaded yet.
    pub(super) unsafe fn set_xml(&self, topology: *mut hwloc_topology, path: &CString) -> c_int {
        // SAFETY: by the caller; the path is a string that ends with zero.
        unsafe { (self.topology_set_xml)(topology, path.as_ptr()) }
    }
}

fn in_words(version: u32) -> String {
    format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff)
}

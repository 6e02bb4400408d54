// SPDX-License-Identifier: Apache-2.0 OR MIT
//! UCX, opened at run time: nothing is linked, and a machine without it loses this lane only.
//!
//! The library is never closed: it has a thread, modules, and hooks in the allocator.

use super::sys;
use crate::error::{Error, Kind, Result};
use crate::opened;
use libloading::os::unix::Library as Handle;
use std::ffi::{CStr, c_uint};

/// Where it is looked for, unless `STRAIT_UCX_LIBRARY` names another.
pub const SONAME: &str = "libucp.so.0";
/// The interface that we ask for; newer libraries follow it.
pub const API: (c_uint, c_uint) = (1, 13);
/// The first version whose layout nobody has compared with ours.
const MAJOR_END: c_uint = 2;

macro_rules! functions {
    ($($field:ident: $kind:ident = $name:literal;)+) => {
        /// The functions that the library exports.
        #[derive(Clone, Copy)]
        pub struct Library {
            $(#[doc = $name] pub $field: sys::$kind,)+
        }

        impl Library {
            fn of(handle: &Handle) -> std::result::Result<Library, libloading::Error> {
                // SAFETY: these are the functions of those names in ucp.h and status.h, with their
                // signatures; the handle is never closed, so they stay.
                unsafe { Ok(Library { $($field: *handle.get($name.as_bytes())?,)+ }) }
            }
        }
    };
}

functions! {
    get_version: GetVersion = "ucp_get_version";
    status_string: StatusString = "ucs_status_string";
    config_read: ConfigRead = "ucp_config_read";
    config_modify: ConfigModify = "ucp_config_modify";
    config_release: ConfigRelease = "ucp_config_release";
    init_version: InitVersion = "ucp_init_version";
    cleanup: Cleanup = "ucp_cleanup";
    worker_create: WorkerCreate = "ucp_worker_create";
    worker_destroy: WorkerDestroy = "ucp_worker_destroy";
    worker_get_address: WorkerGetAddress = "ucp_worker_get_address";
    worker_release_address: WorkerReleaseAddress = "ucp_worker_release_address";
    worker_progress: WorkerProgress = "ucp_worker_progress";
    worker_get_efd: WorkerGetEfd = "ucp_worker_get_efd";
    worker_arm: WorkerArm = "ucp_worker_arm";
    set_am_handler: SetAmHandler = "ucp_worker_set_am_recv_handler";
    ep_create: EpCreate = "ucp_ep_create";
    ep_close: EpClose = "ucp_ep_close_nbx";
    am_send: AmSend = "ucp_am_send_nbx";
    am_receive: AmReceive = "ucp_am_recv_data_nbx";
    am_release: AmRelease = "ucp_am_data_release";
    mem_map: MemMap = "ucp_mem_map";
    mem_unmap: MemUnmap = "ucp_mem_unmap";
    rkey_pack: RkeyPack = "ucp_rkey_pack";
    rkey_buffer_release: RkeyBufferRelease = "ucp_rkey_buffer_release";
    rkey_unpack: RkeyUnpack = "ucp_ep_rkey_unpack";
    rkey_destroy: RkeyDestroy = "ucp_rkey_destroy";
    put: Put = "ucp_put_nbx";
    get: Get = "ucp_get_nbx";
    ep_flush: EpFlush = "ucp_ep_flush_nbx";
    request_status: RequestStatus = "ucp_request_check_status";
    request_free: RequestFree = "ucp_request_free";
}

impl Library {
    /// Opens the library that `STRAIT_UCX_LIBRARY` names, else the system's.
    ///
    /// # Errors
    /// It is not there, is no UCX, or is one that this build cannot use; the message says which and
    /// what to do.
    pub fn open() -> Result<Library> {
        let name = crate::config::text("UCX_LIBRARY")?.unwrap_or_else(|| SONAME.to_owned());
        // SAFETY: the initialisers of UCX are made to run on opening; a user who names another file
        // vouches for it as for any library of the program.
        let handle = unsafe { opened::open(name.as_ref()) }.map_err(|why| {
            refused(format!(
                "UCX cannot be opened ({why}); install it (Debian: libucx0), name it by \
                 STRAIT_UCX_LIBRARY, or leave ucx out of STRAIT_LANES"
            ))
        })?;
        be_quiet(handle);
        let library = Library::of(handle)
            .map_err(|why| refused(format!("{name} is no UCX that Strait can use: {why}")))?;
        accept(&name, library.version())?;
        Ok(library)
    }

    fn version(&self) -> (c_uint, c_uint, c_uint) {
        let (mut major, mut minor, mut release) = (0, 0, 0);
        // SAFETY: it writes three numbers, and may be called at any time.
        unsafe { (self.get_version)(&mut major, &mut minor, &mut release) };
        (major, minor, release)
    }

    /// The library's words for a status.
    pub fn words(&self, status: sys::Status) -> String {
        // SAFETY: it answers any number with a string that stays.
        let text = unsafe { (self.status_string)(status) };
        if text.is_null() {
            return format!("error {status}");
        }
        // SAFETY: it ends with zero and is not changed.
        format!("{} ({status})", unsafe { CStr::from_ptr(text) }.to_string_lossy())
    }

    /// Whether its sockets can use the loopback interface; 1.20 finds no route there.
    pub fn knows_loopback(&self) -> bool {
        let (major, minor, _) = self.version();
        (major, minor) != (1, 20)
    }

    /// Version as people write it.
    pub fn version_text(&self) -> String {
        let (major, minor, release) = self.version();
        format!("{major}.{minor}.{release}")
    }
}

/// Keeps UCX from writing to the standard output of a program whose errors we report, unless the
/// user asked for its log, and from catching signals: its handlers for crashes stand before those
/// of Python, and its one for SIGHUP waits for a debugger.
fn be_quiet(handle: &Handle) {
    // SAFETY: these are functions of libucs with these signatures since 1.13; where a version has
    // them no more, nothing is called.
    unsafe {
        if std::env::var_os("UCX_HANDLE_ERRORS").is_none()
            && let Ok(disable) = handle.get::<sys::DisableSignals>(b"ucs_debug_disable_signals")
        {
            disable();
        }
        if std::env::var_os("UCX_LOG_LEVEL").is_none()
            && let Ok(set) = handle.get::<sys::SetOption>(b"ucs_global_opts_set_value")
        {
            set(c"LOG_LEVEL".as_ptr(), c"fatal".as_ptr());
        }
    }
}

fn accept(name: &str, (major, minor, release): (c_uint, c_uint, c_uint)) -> Result<()> {
    if (major, minor) >= API && major < MAJOR_END {
        return Ok(());
    }
    Err(refused(format!(
        "{name} is UCX {major}.{minor}.{release}, and Strait works with 1.13 to 1.x; name another \
         by STRAIT_UCX_LIBRARY, or leave ucx out of STRAIT_LANES"
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
        for good in [(1, 13, 1), (1, 22, 0), (1, 99, 0)] {
            assert!(accept("it", good).is_ok(), "{good:?}");
        }
        for bad in [(1, 12, 1), (0, 0, 0), (2, 0, 0)] {
            let error = accept("/x.so", bad).expect_err("refused").to_string();
            let says = format!("/x.so is UCX {}.{}.{}", bad.0, bad.1, bad.2);
            assert!(error.contains(&says) && error.contains("STRAIT_LANES"), "{error}");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The objects of UCX that a port has: a context, a worker, and an endpoint for each peer that
//! talks.
//!
//! Invariants: endpoints are closed before their worker, the worker before its context; one thread
//! at a time uses them (UCS_THREAD_MODE_SERIALIZED).

use super::landing::{Landing, Note, on_broken, on_frame, on_lent};
use super::library::{API, Library, refused};
use super::sys::{self, Status, UCS_OK, ucp_context, ucp_ep, ucp_request_param, ucp_worker};
use crate::envelope::Peer;
use crate::error::Result;
use std::ffi::{CString, c_int, c_void};
use std::os::fd::RawFd;
use std::ptr;
use std::time::{Duration, Instant};

/// The active messages of the lane: frames, and announcements with memory on loan.
pub const FRAME: u32 = 1;
pub const LENT: u32 = 2;
/// What is not used unless `UCX_TLS` says so: memory that is shared. It does not notice the end of
/// a peer, and a process that is killed early leaves a name of it behind.
const TRANSPORTS: &str = "^posix,sysv,xpmem";
/// How long the end waits for UCX to have sent what it took.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// What the port wants.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Values of UCX's own settings, by their names without `UCX_`, where the environment has none.
    pub settings: Vec<(String, String)>,
    /// Processes of the job.
    pub size: u32,
}

/// An endpoint.
struct Endpoint {
    /// Null once it was closed, or its peer is lost.
    raw: *mut ucp_ep,
    /// What its failures are noted under.
    note: *mut Note,
    /// UCX tells when its peer is gone.
    notices: bool,
}

/// The objects.
pub struct Objects {
    pub library: Library,
    pub landing: *mut Landing,
    context: *mut ucp_context,
    pub worker: *mut ucp_worker,
    /// By number.
    endpoints: Vec<Endpoint>,
    pub wait: Option<RawFd>,
}

impl Objects {
    /// Opens a context and a worker.
    ///
    /// # Errors
    /// In a sentence with UCX's words.
    pub fn open(library: Library, wanted: &Wanted) -> Result<Objects> {
        let mut objects = Objects {
            library,
            landing: Landing::new(library),
            context: ptr::null_mut(),
            worker: ptr::null_mut(),
            endpoints: Vec::new(),
            wait: None,
        };
        objects.open_context(wanted)?;
        objects.open_worker()?;
        Ok(objects)
    }

    fn check(&self, what: &str, status: Status) -> Result<()> {
        if status == UCS_OK {
            return Ok(());
        }
        let (version, why) = (self.library.version_text(), self.library.words(status));
        Err(refused(format!(
            "UCX {version}: {what} failed: {why}. UCX_TLS and UCX_NET_DEVICES choose transports \
             and devices (`ucx_info -d` lists them, UCX_LOG_LEVEL=info tells more); or leave ucx \
             out of STRAIT_LANES"
        )))
    }

    fn open_context(&mut self, wanted: &Wanted) -> Result<()> {
        let size = wanted.size;
        let mut config = ptr::null_mut();
        // SAFETY: UCX reads the environment and fills in the pointer.
        let status = unsafe { (self.library.config_read)(ptr::null(), ptr::null(), &mut config) };
        self.check("ucp_config_read", status)?;
        let mut result = Ok(());
        // A worker that sleeps before it has sent anything must hear of its first connection. With
        // UCX's adaptive progress it does not (1.13 to 1.22: bytes stay unread in the socket).
        let always = [("ADAPTIVE_PROGRESS", "n"), ("TLS", TRANSPORTS)];
        let wanted = wanted.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in always.into_iter().chain(wanted) {
            if std::env::var_os(format!("UCX_{name}")).is_some() {
                continue;
            }
            let text = |text: &str| CString::new(text).expect("names and addresses have no zeros");
            let modify = |name: &str| {
                let (c_name, c_value) = (text(name), text(value));
                // SAFETY: the configuration is open; the texts are read during the call.
                unsafe { (self.library.config_modify)(config, c_name.as_ptr(), c_value.as_ptr()) }
            };
            let mut status = modify(name);
            // A transport's setting: 1.13 knows it without the transport's name only, which it does
            // not say; 1.22 with it only.
            if let Some(short) = name.strip_prefix("TCP_") {
                let by_short = modify(short);
                status = if status == UCS_OK { status } else { by_short };
            }
            result = result.and(self.check(&format!("setting {name} to {value}"), status));
        }
        // SAFETY: numbers and null pointers may be zero.
        let mut params: sys::ucp_params = unsafe { std::mem::zeroed() };
        params.field_mask = sys::UCP_PARAM_FIELD_FEATURES | sys::UCP_PARAM_FIELD_ESTIMATED_NUM_EPS;
        params.features = sys::UCP_FEATURE_AM | sys::UCP_FEATURE_RMA | sys::UCP_FEATURE_WAKEUP;
        params.estimated_num_eps = size as usize;
        if result.is_ok() {
            let (major, minor) = API;
            // SAFETY: the parameters are those of the mask; UCX fills in the pointer.
            let status = unsafe {
                (self.library.init_version)(major, minor, &params, config, &mut self.context)
            };
            result = self.check("ucp_init", status);
        }
        // SAFETY: it was read above, and is not used afterwards.
        unsafe { (self.library.config_release)(config) };
        result
    }

    fn open_worker(&mut self) -> Result<()> {
        // SAFETY: numbers may be zero.
        let mut params: sys::ucp_worker_params = unsafe { std::mem::zeroed() };
        params.field_mask = sys::UCP_WORKER_PARAM_FIELD_THREAD_MODE;
        params.thread_mode = sys::UCS_THREAD_MODE_SERIALIZED;
        // SAFETY: the context is open; UCX fills in the pointer.
        let status =
            unsafe { (self.library.worker_create)(self.context, &params, &mut self.worker) };
        self.check("ucp_worker_create", status)?;
        for (id, cb) in [(FRAME, on_frame as sys::AmCallback), (LENT, on_lent)] {
            let params = sys::ucp_am_handler_param {
                field_mask: sys::UCP_AM_HANDLER_PARAM_FIELD_ID
                    | sys::UCP_AM_HANDLER_PARAM_FIELD_CB
                    | sys::UCP_AM_HANDLER_PARAM_FIELD_ARG,
                id,
                flags: 0,
                cb,
                arg: self.landing.cast(),
                later: [0; 8],
            };
            // SAFETY: the worker is open, and goes before the landing.
            let status = unsafe { (self.library.set_am_handler)(self.worker, &params) };
            self.check("ucp_worker_set_am_recv_handler", status)?;
        }
        let mut wait: c_int = -1;
        // SAFETY: the worker is open and its context was asked for wake-ups.
        let status = unsafe { (self.library.worker_get_efd)(self.worker, &mut wait) };
        self.wait = (status == UCS_OK && wait >= 0).then_some(wait);
        Ok(())
    }

    /// The address of the worker, for peers.
    ///
    /// # Errors
    /// UCX does not tell.
    pub fn address(&self) -> Result<Vec<u8>> {
        let (mut base, mut bytes) = (ptr::null_mut(), 0);
        // SAFETY: the worker is open; UCX fills in both.
        let status =
            unsafe { (self.library.worker_get_address)(self.worker, &mut base, &mut bytes) };
        self.check("ucp_worker_get_address", status)?;
        // SAFETY: UCX says that so many bytes are there; they are given back once.
        unsafe {
            let address = std::slice::from_raw_parts(base.cast::<u8>(), bytes).to_vec();
            (self.library.worker_release_address)(self.worker, base);
            Ok(address)
        }
    }

    /// An endpoint to a peer; its number.
    ///
    /// UCX's transports over shared memory are refused to who wants to hear of the end of a peer.
    /// Peers that only those reach are of this host: their end is the launcher's to tell.
    ///
    /// # Errors
    /// In UCX's words.
    pub fn enter(&mut self, peer: Peer, address: &[u8]) -> std::result::Result<u64, String> {
        let note = Box::into_raw(Box::new(Note { landing: self.landing, peer, token: 0 }));
        let mut raw = ptr::null_mut();
        let mut notices = true;
        let mut status = self.create(note, address, sys::UCP_ERR_HANDLING_MODE_PEER, &mut raw);
        if status != UCS_OK {
            notices = false;
            status = self.create(note, address, sys::UCP_ERR_HANDLING_MODE_NONE, &mut raw);
        }
        if status != UCS_OK {
            // SAFETY: UCX did not keep it.
            drop(unsafe { Box::from_raw(note) });
            return Err(self.library.words(status));
        }
        self.endpoints.push(Endpoint { raw, note, notices });
        Ok(self.endpoints.len() as u64 - 1)
    }

    fn create(
        &self,
        note: *mut Note,
        address: &[u8],
        err_mode: c_int,
        raw: &mut *mut ucp_ep,
    ) -> Status {
        let params = sys::ucp_ep_params {
            field_mask: sys::UCP_EP_PARAM_FIELD_REMOTE_ADDRESS
                | sys::UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE
                | sys::UCP_EP_PARAM_FIELD_ERR_HANDLER,
            address: address.as_ptr().cast(),
            err_mode,
            err_handler: sys::ucp_err_handler { cb: on_broken, arg: note.cast() },
            later: [0; 24],
        };
        // SAFETY: the worker is open; the address is read during the call, and made by UCX: blobs
        // come from ranks of this job, by the launcher. The note lives as long as the endpoint.
        unsafe { (self.library.ep_create)(self.worker, &params, raw) }
    }

    /// The context.
    pub fn context(&self) -> *mut ucp_context {
        self.context
    }

    /// The endpoint of a number; null if it was closed.
    #[inline]
    pub fn endpoint(&self, number: u64) -> *mut ucp_ep {
        self.endpoints[number as usize].raw
    }

    /// Closes the endpoint of a peer that is lost: what is under way there ends as failed, or,
    /// where UCX does not notice its end, never.
    pub fn close_endpoint(&mut self, peer: Peer) {
        let found = self.endpoints.iter_mut().find(|endpoint| {
            // SAFETY: notes live as long as the objects.
            !endpoint.raw.is_null() && unsafe { (*endpoint.note).peer } == peer
        });
        let Some(found) = found else { return };
        let raw = std::mem::replace(&mut found.raw, ptr::null_mut());
        if found.notices {
            let params = close_params(sys::UCP_EP_CLOSE_FLAG_FORCE);
            // SAFETY: the endpoint was open, and is not used afterwards.
            let request = unsafe { (self.library.ep_close)(raw, &params) };
            self.forget(request);
        }
    }

    /// A request of ours that nobody waits for.
    fn forget(&self, request: *mut c_void) {
        if is_request(request) {
            // SAFETY: it is a request, and not used afterwards; UCX ends it all the same.
            unsafe { (self.library.request_free)(request) };
        }
    }

    /// Lets UCX send what it has, for a moment, and closes all endpoints.
    fn close_endpoints(&mut self, worker: *mut ucp_worker) {
        let params = close_params(0);
        let open = self.endpoints.iter_mut();
        // SAFETY: each is open or null, and not used afterwards.
        let requests = open
            .map(|endpoint| std::mem::replace(&mut endpoint.raw, ptr::null_mut()))
            .filter(|endpoint| !endpoint.is_null())
            .map(|endpoint| unsafe { (self.library.ep_close)(endpoint, &params) })
            .filter(|request| is_request(*request))
            .collect::<Vec<_>>();
        let begun = Instant::now();
        // SAFETY: these are requests, freed once, below.
        let is_open = |request: &*mut c_void| unsafe {
            (self.library.request_status)(*request) == sys::UCS_INPROGRESS
        };
        while requests.iter().any(is_open) && begun.elapsed() < FLUSH_TIME {
            // SAFETY: the worker is open.
            unsafe { (self.library.worker_progress)(worker) };
        }
        requests.into_iter().for_each(|request| self.forget(request));
    }
}

impl Objects {
    /// Ends everything: nothing works on memory of ours afterwards, and nothing can be posted.
    pub fn close(&mut self) {
        let worker = std::mem::replace(&mut self.worker, ptr::null_mut());
        let context = std::mem::replace(&mut self.context, ptr::null_mut());
        if !worker.is_null() {
            self.close_endpoints(worker);
            // SAFETY: it was open, and is closed once; its endpoints are.
            unsafe { (self.library.worker_destroy)(worker) };
        }
        if !context.is_null() {
            // SAFETY: it was open, and is closed once; its worker is.
            unsafe { (self.library.cleanup)(context) };
        }
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.close();
        // SAFETY: made by `enter` and `open`; nobody calls back any more.
        unsafe {
            for endpoint in self.endpoints.drain(..) {
                drop(Box::from_raw(endpoint.note));
            }
            drop(Box::from_raw(self.landing));
        }
    }
}

fn close_params(flags: u32) -> ucp_request_param {
    ucp_request_param {
        op_attr_mask: sys::UCP_OP_ATTR_FIELD_FLAGS,
        flags,
        request: ptr::null_mut(),
        cb: sys::ucp_request_callback { none: 0 },
        datatype: 0,
        user_data: ptr::null_mut(),
        later: [0; 12],
    }
}

/// Whether what UCX answered is a request, and neither null nor a status.
pub fn is_request(answer: *mut c_void) -> bool {
    !answer.is_null() && status_of(answer) == sys::UCS_INPROGRESS
}

/// The status in what UCX answered: in progress for a request.
pub fn status_of(answer: *mut c_void) -> Status {
    let number = answer.addr() as isize;
    match number {
        0 => UCS_OK,
        failed if failed < 0 && failed >= sys::UCS_ERR_LAST as isize => failed as Status,
        _ => sys::UCS_INPROGRESS,
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where UCX calls back: frames that came, and ends of what was posted.
//!
//! Invariants:
//! 1. UCX calls only from inside its own functions, which one thread at a time calls (the worker's
//!    lock). So whoever holds the port, and is not inside such a call, has the landing alone.
//! 2. A note (what UCX got as user data) lives until its callback was called.
//! 3. Nothing unwinds into UCX: a panic in a callback ends the process (`extern "C"`).

use super::library::Library;
use super::sys::{
    Status, UCP_AM_RECV_ATTR_FLAG_RNDV, UCS_INPROGRESS, UCS_OK, ucp_am_recv_param, ucp_ep,
};
use crate::envelope::Peer;
use crate::lane::fabric::frame::PREFIX_BYTES;
use crate::lane::fabric::port::Sink;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;

/// Memory of a peer that came with an announcement.
pub enum Lent {
    /// To be fetched: UCX's descriptor, and how many bytes.
    There(*mut c_void, usize),
    /// UCX had sent the bytes already.
    Here(Vec<u8>),
}

/// What an operation is, for its callback.
pub struct Note {
    pub landing: *mut Landing,
    pub peer: Peer,
    /// Frame, or the token of a loan, a get, an access or a confirmation.
    pub token: u64,
}

/// What happened during a call of UCX.
pub struct Landing {
    pub library: Library,
    /// Who hears of frames; null while nobody looks.
    pub sink: *mut dyn Sink,
    /// Memory on loan, by its owner and the owner's token.
    pub lent: HashMap<(Peer, u64), Lent>,
    /// Frames that have left, or failed.
    pub sent: Vec<(usize, Peer, Status)>,
    /// Loans that are over.
    pub returned: Vec<u64>,
    /// Gets, accesses and confirmations that are over.
    pub got: Vec<(*mut Note, Status)>,
    /// Endpoints that failed.
    pub broken: Vec<(Peer, Status)>,
}

/// A sink that is nobody, for its type.
struct Nobody;

impl Sink for Nobody {
    fn frame(&mut self, _head: &[u8], _rest: &[u8]) {}
    fn lent(&mut self, _head: &[u8]) -> Option<(Peer, u64)> {
        None
    }
    fn is_full(&self) -> bool {
        true
    }
    fn settled(&mut self) {}
    fn fetched(&mut self, _token: u64, _end: crate::lane::Get) {}
    fn failed(&mut self, _peer: Peer, _reason: String) {}
    fn broken(&mut self, _reason: String) {}
}

/// Nobody looks.
pub const NOBODY: *mut dyn Sink = ptr::null_mut::<Nobody>() as *mut dyn Sink;

impl Landing {
    pub fn new(library: Library) -> *mut Landing {
        Box::into_raw(Box::new(Landing {
            library,
            sink: NOBODY,
            lent: HashMap::new(),
            sent: Vec::new(),
            returned: Vec::new(),
            got: Vec::new(),
            broken: Vec::new(),
        }))
    }
}

/// # Safety
/// As C gives them: `bytes` readable bytes, or none.
unsafe fn slice<'a>(base: *const c_void, bytes: usize) -> &'a [u8] {
    match bytes {
        0 => &[],
        // SAFETY: the caller's promise.
        _ => unsafe { std::slice::from_raw_parts(base.cast(), bytes) },
    }
}

/// A frame has come.
pub unsafe extern "C" fn on_frame(
    landing: *mut c_void,
    _header: *const c_void,
    _header_bytes: usize,
    data: *mut c_void,
    bytes: usize,
    about: *const ucp_am_recv_param,
) -> Status {
    let landing = landing.cast::<Landing>();
    // SAFETY: invariant 1; UCX's pointers are valid during the call, and `sink` as long as it is
    // not null.
    unsafe {
        let sink = (*landing).sink;
        // Frames of ours bring their bytes; a stranger's that does not is dropped.
        if !sink.is_null() && (*about).recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV == 0 {
            let frame: &[u8] = slice(data, bytes);
            let (head, rest) = frame.split_at(bytes.min(PREFIX_BYTES));
            (*sink).frame(head, rest);
        }
    }
    UCS_OK
}

/// An announcement has come, and the memory that it announces can be fetched.
pub unsafe extern "C" fn on_lent(
    landing: *mut c_void,
    header: *const c_void,
    header_bytes: usize,
    data: *mut c_void,
    bytes: usize,
    about: *const ucp_am_recv_param,
) -> Status {
    let landing = landing.cast::<Landing>();
    // SAFETY: as in `on_frame`.
    unsafe {
        let sink = (*landing).sink;
        if sink.is_null() {
            return UCS_OK;
        }
        let Some(name) = (*sink).lent(slice(header, header_bytes)) else { return UCS_OK };
        if (*about).recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV == 0 {
            (*landing).lent.insert(name, Lent::Here(slice(data, bytes).to_vec()));
            return UCS_OK;
        }
        (*landing).lent.insert(name, Lent::There(data, bytes));
    }
    // The descriptor is ours now.
    UCS_INPROGRESS
}

/// # Safety
/// `request` is one of UCX's whose callback this is: it is over.
unsafe fn free(landing: *mut Landing, request: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { ((*landing).library.request_free)(request) };
}

/// A frame has left. Its note is one of the port's own, and stays.
pub unsafe extern "C" fn on_sent(request: *mut c_void, status: Status, note: *mut c_void) {
    let note = note.cast::<Note>();
    // SAFETY: invariants 1 and 2.
    unsafe {
        let landing = (*note).landing;
        (*landing).sent.push(((*note).token as usize, (*note).peer, status));
        free(landing, request);
    }
}

/// A loan is over.
pub unsafe extern "C" fn on_returned(request: *mut c_void, _status: Status, note: *mut c_void) {
    let note = note.cast::<Note>();
    // SAFETY: invariants 1 and 2. A failure is the loss of its peer, which is told otherwise.
    unsafe {
        let landing = (*note).landing;
        (*landing).returned.push((*note).token);
        free(landing, request);
    }
}

/// A get is over.
pub unsafe extern "C" fn on_got(
    request: *mut c_void,
    status: Status,
    _bytes: usize,
    note: *mut c_void,
) {
    let note = note.cast::<Note>();
    // SAFETY: invariants 1 and 2.
    unsafe {
        let landing = (*note).landing;
        (*landing).got.push((note, status));
        free(landing, request);
    }
}

/// An access to memory of a peer is over, or a confirmation.
pub unsafe extern "C" fn on_accessed(request: *mut c_void, status: Status, note: *mut c_void) {
    // SAFETY: as for a get, which has one thing more to tell.
    unsafe { on_got(request, status, 0, note) };
}

/// An endpoint has failed. Its note is one of the port's own, and stays.
pub unsafe extern "C" fn on_broken(note: *mut c_void, _endpoint: *mut ucp_ep, status: Status) {
    let note = note.cast::<Note>();
    // SAFETY: invariants 1 and 2.
    unsafe { (*(*note).landing).broken.push(((*note).peer, status)) };
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of windows: mapped for peers here, and known by address and key there.
//!
//! Invariants:
//! 1. A mapping lives from `expose` to `conceal`, a key from `enter_memory` to `leave_memory`, or
//!    both to the end of the port, which comes before that of their worker and context.
//! 2. UCX's puts end when the memory here is free; a flush of the endpoint tells that the bytes are
//!    there.

use super::UcxPort;
use super::landing::{Note, on_accessed};
use super::objects::status_of;
use super::params;
use super::sys::{
    UCP_MEM_MAP_PARAM_FIELD_ADDRESS, UCP_MEM_MAP_PARAM_FIELD_LENGTH, UCP_OP_ATTR_FIELD_CALLBACK,
    UCP_OP_ATTR_FIELD_USER_DATA, UCS_INPROGRESS, UCS_OK, ucp_mem, ucp_mem_map_params,
    ucp_request_param, ucp_rkey,
};
use crate::envelope::Peer;
use crate::lane::Get;
use crate::lane::fabric::exposures::{Entered, Exposures};
use crate::lane::remote::{Access, Exposed, Way};
use std::ffi::c_void;
use std::ptr;

/// Of a name, before UCX's packed key: address of the first byte, and bytes, each 64 bits,
/// little-endian.
const HEAD_BYTES: usize = 16;

/// Mappings of ours, keys of peers.
pub(super) type Memories = Exposures<*mut ucp_mem, *mut ucp_rkey>;

impl UcxPort {
    /// # Safety
    /// As `RemoteMemory::expose`.
    pub(super) unsafe fn expose_memory(&mut self, base: *mut u8, bytes: usize) -> Option<Exposed> {
        // SAFETY: numbers and null pointers may be zero.
        let mut params: ucp_mem_map_params = unsafe { std::mem::zeroed() };
        params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
        (params.address, params.length) = (base.cast(), bytes);
        let (library, context) = (self.objects.library, self.objects.context());
        let mut mapped = ptr::null_mut();
        // SAFETY: the context is open; the memory is as the caller says.
        if unsafe { (library.mem_map)(context, &params, &mut mapped) } != UCS_OK {
            return None;
        }
        let (mut packed, mut packed_bytes) = (ptr::null_mut(), 0);
        // SAFETY: context and mapping are open; UCX fills in pointer and length.
        let status =
            unsafe { (library.rkey_pack)(context, mapped, &mut packed, &mut packed_bytes) };
        if status != UCS_OK {
            self.unmap(mapped);
            return None;
        }
        let mut name = Vec::with_capacity(HEAD_BYTES + packed_bytes);
        name.extend((base.expose_provenance() as u64).to_le_bytes());
        name.extend((bytes as u64).to_le_bytes());
        // SAFETY: UCX packed so many bytes, which are ours until they are released.
        unsafe {
            name.extend_from_slice(std::slice::from_raw_parts(packed.cast(), packed_bytes));
            (library.rkey_buffer_release)(packed);
        }
        let number = self.memories.expose(mapped);
        Some(Exposed { number, name })
    }

    pub(super) fn conceal_memory(&mut self, number: u64) {
        if let Some(mapped) = self.memories.conceal(number) {
            self.unmap(mapped);
        }
    }

    fn unmap(&self, mapped: *mut ucp_mem) {
        // SAFETY: it was mapped in this context, and is not used afterwards.
        unsafe { (self.objects.library.mem_unmap)(self.objects.context(), mapped) };
    }

    pub(super) fn enter_name(&mut self, to: u64, name: &[u8]) -> Option<u64> {
        let (head, packed) = name.split_at_checked(HEAD_BYTES)?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight"));
        let endpoint = self.objects.endpoint(to);
        if endpoint.is_null() {
            return None;
        }
        let mut key = ptr::null_mut();
        // SAFETY: the endpoint is open; the key was packed by UCX in a rank of this job.
        let status = unsafe {
            (self.objects.library.rkey_unpack)(endpoint, packed.as_ptr().cast(), &mut key)
        };
        if status != UCS_OK {
            return None;
        }
        Some(self.memories.enter(Entered { key, address: word(0), bytes: word(8) }))
    }

    pub(super) fn leave_name(&mut self, number: u64) {
        if let Some(entered) = self.memories.leave(number) {
            self.destroy(entered.key);
        }
    }

    fn destroy(&self, key: *mut ucp_rkey) {
        // SAFETY: it was unpacked, and is not used afterwards.
        unsafe { (self.objects.library.rkey_destroy)(key) };
    }

    /// Both of all that is left.
    pub(super) fn leave_all(&mut self) {
        let (theirs, ours) = (self.memories.take_theirs(), self.memories.take_ours());
        theirs.for_each(|entered| self.destroy(entered.key));
        ours.for_each(|mapped| self.unmap(mapped));
    }

    /// # Safety
    /// As `RemoteMemory::access`.
    pub(super) unsafe fn begin_access(
        &mut self,
        peer: Peer,
        to: u64,
        access: Access,
        token: u64,
    ) -> Get {
        let endpoint = self.objects.endpoint(to);
        let Some(memory) = self.memories.entered(access.memory) else { return Get::Refused };
        let (Some(address), false) = (memory.place(&access), endpoint.is_null()) else {
            return Get::Refused;
        };
        let key = memory.key;
        let library = self.objects.library;
        let (local, bytes) = (access.local, access.bytes);
        self.begin_noted(peer, token, |params| {
            // SAFETY: endpoint and key are open; memory here and there is the caller's promise, and
            // the note stays until the callback.
            unsafe {
                match access.way {
                    Way::Write => {
                        (library.put)(endpoint, local.cast(), bytes, address, key, params)
                    }
                    Way::Read => (library.get)(endpoint, local.cast(), bytes, address, key, params),
                }
            }
        })
    }

    pub(super) fn begin_confirmation(&mut self, peer: Peer, to: u64, token: u64) -> Get {
        let endpoint = self.objects.endpoint(to);
        if endpoint.is_null() {
            return Get::Refused;
        }
        let flush = self.objects.library.ep_flush;
        // SAFETY: the endpoint is open, and the note stays until the callback.
        self.begin_noted(peer, token, |params| unsafe { flush(endpoint, params) })
    }

    /// Begins an operation whose end a note tells.
    fn begin_noted(
        &mut self,
        peer: Peer,
        token: u64,
        begin: impl FnOnce(*const ucp_request_param) -> *mut c_void,
    ) -> Get {
        let landing = self.objects.landing;
        let note = Box::into_raw(Box::new(Note { landing, peer, token }));
        let mut params = params(UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA, 0);
        params.cb.send = on_accessed;
        params.user_data = note.cast();
        let status = status_of(begin(&params));
        if status == UCS_INPROGRESS {
            self.gets.insert(note, true);
            return Get::Begun;
        }
        // SAFETY: UCX calls back only for what is in progress.
        drop(unsafe { Box::from_raw(note) });
        if status == UCS_OK { Get::Done } else { Get::Refused }
    }
}

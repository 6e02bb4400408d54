// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is posted to the endpoint, and what its queue of completions tells.
//!
//! Invariants: those of objects.rs.

use super::objects::{Completion, Failure, Objects, Seen};
use super::sys;
use crate::lane::fabric::port::Posted;
use std::ffi::c_void;
use std::os::fd::BorrowedFd;

impl Objects {
    /// Sends a message that the provider copies at once (at most `inject_bytes`).
    pub fn inject(&mut self, to: u64, bytes: &[u8]) -> Posted {
        // SAFETY: the endpoint is open; the bytes are only read during the call.
        let result = unsafe {
            let inject = (*(*self.endpoint).msg).inject;
            inject(self.endpoint, bytes.as_ptr().cast(), bytes.len(), to)
        };
        self.posted(result)
    }

    /// Sends a message from memory that stays until the completion.
    ///
    /// # Safety
    /// Memory, descriptor and context are valid until then.
    pub unsafe fn send(
        &mut self,
        to: u64,
        base: *const u8,
        bytes: usize,
        descriptor: *mut c_void,
        context: *mut c_void,
    ) -> Posted {
        // SAFETY: the endpoint is open; the rest is the caller's promise.
        let result = unsafe {
            let send = (*(*self.endpoint).msg).send;
            send(self.endpoint, base.cast(), bytes, descriptor, to, context)
        };
        self.posted(result)
    }

    /// Posts a buffer for one message, or for many.
    ///
    /// # Safety
    /// Memory, descriptor and context are valid until the completion that ends it.
    pub unsafe fn receive(
        &mut self,
        base: *mut u8,
        bytes: usize,
        descriptor: *mut c_void,
        context: *mut c_void,
    ) -> Posted {
        let from = sys::FI_ADDR_UNSPEC;
        if !self.facts.multi_receive {
            // SAFETY: the endpoint is open; the rest is the caller's promise.
            let result = unsafe {
                let receive = (*(*self.endpoint).msg).recv;
                receive(self.endpoint, base.cast(), bytes, descriptor, from, context)
            };
            return self.posted(result);
        }
        let range = libc::iovec { iov_base: base.cast(), iov_len: bytes };
        let mut descriptor = descriptor;
        let message = sys::fi_msg {
            msg_iov: &range,
            desc: &mut descriptor,
            iov_count: 1,
            addr: from,
            context,
            data: 0,
        };
        // SAFETY: as above; the description itself is only read during the call.
        let result = unsafe {
            let receive = (*(*self.endpoint).msg).recvmsg;
            receive(self.endpoint, &message, sys::FI_MULTI_RECV)
        };
        self.posted(result)
    }

    /// Reads a peer's memory.
    ///
    /// # Safety
    /// `into`, descriptor and context are valid until the completion.
    pub unsafe fn read(
        &mut self,
        from: u64,
        remote: (u64, u64),
        into: (*mut u8, usize),
        descriptor: *mut c_void,
        context: *mut c_void,
    ) -> Posted {
        let ((address, key), (base, bytes)) = (remote, into);
        // SAFETY: the endpoint is open and has such a table, or `facts.reads` would say so.
        let result = unsafe {
            let read = (*(*self.endpoint).rma).read;
            read(self.endpoint, base.cast(), bytes, descriptor, from, address, key, context)
        };
        self.posted(result)
    }

    /// Writes a peer's memory. The completion comes when the bytes are there.
    ///
    /// # Safety
    /// `from`, descriptor and context are valid until the completion.
    pub unsafe fn write(
        &mut self,
        to: u64,
        remote: (u64, u64),
        from: (*const u8, usize),
        descriptor: *mut c_void,
        context: *mut c_void,
    ) -> Posted {
        let ((addr, key), (base, len)) = (remote, from);
        let range = libc::iovec { iov_base: base.cast_mut().cast(), iov_len: len };
        let target = sys::fi_rma_iov { addr, len, key };
        let mut descriptor = descriptor;
        let message = sys::fi_msg_rma {
            msg_iov: &range,
            desc: &mut descriptor,
            iov_count: 1,
            addr: to,
            rma_iov: &target,
            rma_iov_count: 1,
            context,
            data: 0,
        };
        let flags = sys::FI_COMPLETION | sys::FI_DELIVERY_COMPLETE;
        // SAFETY: the endpoint is open and has such a table, or `facts.writes` would say so; the
        // description itself is only read during the call.
        let result = unsafe {
            let write = (*(*self.endpoint).rma).writemsg;
            write(self.endpoint, &message, flags)
        };
        self.posted(result)
    }

    fn posted(&self, result: isize) -> Posted {
        match result {
            0.. => Posted::Yes,
            again if again == -sys::FI_EAGAIN => Posted::Again,
            failed => Posted::No(self.library.words(failed)),
        }
    }

    /// Reads completions; this is what makes progress.
    #[inline]
    pub fn look(&mut self, into: &mut [Completion]) -> Seen {
        // SAFETY: the queue is open and of this format; `into` has room for so many entries.
        let result = unsafe {
            let read = (*(*self.queue).ops).read;
            read(self.queue, into.as_mut_ptr().cast(), into.len())
        };
        match result {
            0.. => Seen::Some(result.unsigned_abs()),
            empty if empty == -sys::FI_EAGAIN => Seen::Some(0),
            failed if failed == -sys::FI_EAVAIL => self.failure(),
            broken => Seen::Broken(self.library.words(broken)),
        }
    }

    #[cold]
    fn failure(&mut self) -> Seen {
        // SAFETY: all-zero bytes are a valid entry, and ask for no further detail.
        let mut entry: sys::fi_cq_err_entry = unsafe { std::mem::zeroed() };
        // SAFETY: the queue is open; the entry is at least as long as the library's.
        let result = unsafe { ((*(*self.queue).ops).readerr)(self.queue, &mut entry, 0) };
        match result {
            1.. => {
                let reason = self.library.words(entry.err as isize);
                Seen::Failed(Failure { context: entry.op_context, reason })
            }
            empty if empty == -sys::FI_EAGAIN => Seen::Some(0),
            broken => Seen::Broken(self.library.words(broken)),
        }
    }

    /// Gives up an operation; its completion still comes.
    ///
    /// # Safety
    /// The context is one of an operation that was posted here.
    pub unsafe fn cancel(&mut self, context: *mut c_void) {
        // SAFETY: the endpoint is open; an operation that is over already is an error to ignore.
        unsafe { ((*(*self.endpoint).ops).cancel)(&raw mut (*self.endpoint).fid, context) };
    }

    /// What is readable when there is something to do, if the provider has such a thing.
    pub fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the descriptor belongs to the queue, which is open as long as `self` lives.
        self.wait.map(|raw| unsafe { BorrowedFd::borrow_raw(raw) })
    }

    /// Whether a thread may sleep on the descriptor now.
    pub fn may_sleep(&self) -> bool {
        if self.wait.is_none() {
            return false;
        }
        // SAFETY: fabric and queue are open; the array has one element.
        unsafe {
            let mut waited = [&raw mut (*self.queue).fid];
            ((*(*self.fabric).ops).trywait)(self.fabric, waited.as_mut_ptr(), 1) == 0
        }
    }
}

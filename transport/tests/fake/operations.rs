// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fake's sends, receives, reads and completions.

use super::{Endpoint, Memory, Posted, State, Write, fi_cq_data_entry_copy, numbers, with};
use std::ffi::c_void;
use std::ptr;
use strait_transport::lane::ofi::sys::*;

/// Local memory of an operation: known by its descriptor, where the mode wants that.
fn check_local(
    state: &mut State,
    endpoint: usize,
    base: usize,
    bytes: usize,
    descriptor: usize,
    access: u64,
) {
    if state.character.memory_mode & FI_MR_LOCAL == 0 || bytes == 0 {
        return;
    }
    let memory = descriptor.checked_sub(0x1000).and_then(|number| state.memories.get(number));
    let fits = memory.is_some_and(|memory| {
        memory.open
            && usable(memory, endpoint)
            && memory.access & access != 0
            && base >= memory.base
            && base + bytes <= memory.base + memory.bytes
    });
    if !fits {
        state.faults.push(format!("an operation on memory that is not registered for {access:#x}"));
    }
}

fn usable(memory: &Memory, endpoint: usize) -> bool {
    let bound = memory.endpoint == Some(endpoint);
    memory.enabled && (bound || memory.endpoint.is_none()) && memory.domain == endpoint + 1
}

fn refuses(state: &mut State) -> bool {
    state.posts += 1;
    let one_in = state.character.again_one_in;
    one_in > 0 && state.posts.is_multiple_of(one_in)
}

pub unsafe extern "C" fn send(
    endpoint: *mut fid_ep,
    base: *const c_void,
    bytes: usize,
    descriptor: *mut c_void,
    to: u64,
    context: *mut c_void,
) -> isize {
    // SAFETY: the endpoint was made here, the bytes are readable until the completion.
    unsafe {
        let (number, _) = numbers(endpoint);
        with(|state| {
            if refuses(state) {
                return -FI_EAGAIN;
            }
            check_local(state, number, base.addr(), bytes, descriptor.addr(), FI_SEND);
            let target = &mut state.endpoints[to as usize];
            if !target.open {
                state.endpoints[number].failed.push_back((context.addr(), 111));
                return 0;
            }
            let copy = std::slice::from_raw_parts(base.cast::<u8>(), bytes).to_vec();
            target.inbox.push_back(copy);
            let (context, flags) = (context.addr(), FI_SEND | FI_MSG);
            let entry = fi_cq_data_entry_copy { context, flags, len: 0, buf: 0 };
            state.endpoints[number].done.push_back(entry);
            0
        })
    }
}

pub unsafe extern "C" fn inject(
    endpoint: *mut fid_ep,
    base: *const c_void,
    bytes: usize,
    to: u64,
) -> isize {
    // SAFETY: as for `send`.
    unsafe {
        let _ = numbers(endpoint);
        with(|state| {
            if refuses(state) {
                return -FI_EAGAIN;
            }
            if bytes > state.character.inject_bytes {
                state.faults.push(format!("{bytes} bytes are injected"));
            }
            let target = &mut state.endpoints[to as usize];
            if !target.open {
                return -111;
            }
            target.inbox.push_back(std::slice::from_raw_parts(base.cast::<u8>(), bytes).to_vec());
            0
        })
    }
}

pub unsafe extern "C" fn recv(
    endpoint: *mut fid_ep,
    base: *mut c_void,
    bytes: usize,
    descriptor: *mut c_void,
    _from: u64,
    context: *mut c_void,
) -> isize {
    // SAFETY: the endpoint was made here.
    let (number, _) = unsafe { numbers(endpoint) };
    with(|state| {
        if refuses(state) {
            return -FI_EAGAIN;
        }
        check_local(state, number, base.addr(), bytes, descriptor.addr(), FI_RECV);
        let (base, context) = (base.expose_provenance(), context.addr());
        state.endpoints[number].posted.push_back(Posted { base, bytes, used: 0, context });
        0
    })
}

pub unsafe extern "C" fn recvmsg(
    endpoint: *mut fid_ep,
    message: *const fi_msg,
    flags: u64,
) -> isize {
    assert_eq!(flags, FI_MULTI_RECV);
    // SAFETY: the lane's message has one range and its descriptor.
    unsafe {
        let message = &*message;
        assert_eq!(message.iov_count, 1);
        let range = &*message.msg_iov;
        let (base, bytes) = (range.iov_base, range.iov_len);
        recv(endpoint, base, bytes, *message.desc, message.addr, message.context)
    }
}

/// Where memory of a peer lies that may be accessed so; `None` if it may not.
fn remote(
    state: &State,
    target: usize,
    (address, key): (u64, u64),
    bytes: usize,
    access: u64,
) -> Option<usize> {
    let is_virtual = state.character.memory_mode & FI_MR_VIRT_ADDR != 0;
    let found = state.memories.iter().find(|memory| {
        memory.open
            && memory.domain == target + 1
            && memory.key == key
            && memory.access & access != 0
            && usable(memory, target)
    });
    found.and_then(|memory| {
        let base = if is_virtual { address as usize } else { memory.base + address as usize };
        let inside = base >= memory.base && base + bytes <= memory.base + memory.bytes;
        inside.then_some(base)
    })
}

pub unsafe extern "C" fn write_memory(
    endpoint: *mut fid_ep,
    message: *const fi_msg_rma,
    flags: u64,
) -> isize {
    assert_eq!(flags, FI_COMPLETION | FI_DELIVERY_COMPLETE);
    // SAFETY: the endpoint was made here; the lane's message has one range here and one there.
    let (number, range, descriptor, place, message) = unsafe {
        let message = &*message;
        assert_eq!((message.iov_count, message.rma_iov_count), (1, 1));
        let place = &*message.rma_iov;
        (numbers(endpoint).0, &*message.msg_iov, *message.desc, place, message)
    };
    let (from, bytes) = (range.iov_base.expose_provenance(), range.iov_len);
    assert_eq!(place.len, bytes);
    let (target, context) = (message.addr as usize, message.context.addr());
    with(|state| {
        if refuses(state) {
            return -FI_EAGAIN;
        }
        check_local(state, number, from, bytes, descriptor.addr(), FI_WRITE);
        match remote(state, target, (place.addr, place.key), bytes, FI_REMOTE_WRITE) {
            Some(into) if !state.character.writes_fail => {
                let write = Write { from, into, bytes, context, origin: number };
                state.endpoints[target].writes.push_back(write);
            }
            _ => state.endpoints[number].failed.push_back((context, 13)),
        }
        0
    })
}

/// The writes to an endpoint that looks.
fn deliver_writes(state: &mut State, target: usize) {
    for write in std::mem::take(&mut state.endpoints[target].writes) {
        let from = ptr::with_exposed_provenance::<u8>(write.from);
        let into = ptr::with_exposed_provenance_mut::<u8>(write.into);
        // SAFETY: the writer keeps its memory until the completion, the target its own while it is
        // registered.
        unsafe { ptr::copy(from, into, write.bytes) };
        let (context, flags) = (write.context, FI_WRITE | FI_RMA);
        let entry = fi_cq_data_entry_copy { context, flags, len: write.bytes, buf: 0 };
        state.endpoints[write.origin].done.push_back(entry);
    }
}

pub unsafe extern "C" fn read_memory(
    endpoint: *mut fid_ep,
    into: *mut c_void,
    bytes: usize,
    descriptor: *mut c_void,
    from: u64,
    address: u64,
    key: u64,
    context: *mut c_void,
) -> isize {
    // SAFETY: the endpoint was made here.
    let (number, _) = unsafe { numbers(endpoint) };
    with(|state| {
        if refuses(state) {
            return -FI_EAGAIN;
        }
        if state.character.reads_refused {
            return -38;
        }
        check_local(state, number, into.addr(), bytes, descriptor.addr(), FI_READ);
        match remote(state, from as usize, (address, key), bytes, FI_REMOTE_READ) {
            Some(base) if !state.character.reads_fail => {
                let base = ptr::with_exposed_provenance::<u8>(base);
                // SAFETY: the lender keeps the memory while it is registered, and the reader's
                // buffer is writable until the completion.
                unsafe { ptr::copy(base, into.cast(), bytes) };
                let (context, flags) = (context.addr(), FI_READ | FI_RMA);
                let entry = fi_cq_data_entry_copy { context, flags, len: bytes, buf: 0 };
                state.endpoints[number].done.push_back(entry);
            }
            _ => state.endpoints[number].failed.push_back((context.addr(), 13)),
        }
        0
    })
}

pub unsafe extern "C" fn look(queue: *mut fid_cq, into: *mut c_void, count: usize) -> isize {
    // SAFETY: the queue was made here; there is room for `count` entries.
    unsafe {
        let (number, _) = numbers(queue);
        with(|state| {
            deliver_writes(state, number);
            let multi = state.character.multi_receive;
            let endpoint = &mut state.endpoints[number];
            arrive(endpoint, multi);
            if !endpoint.failed.is_empty() {
                return -FI_EAVAIL;
            }
            let some = endpoint.done.len().min(count);
            for (at, entry) in endpoint.done.drain(..some).enumerate() {
                let entry = fi_cq_data_entry {
                    op_context: ptr::with_exposed_provenance_mut(entry.context),
                    flags: entry.flags,
                    len: entry.len,
                    buf: ptr::with_exposed_provenance_mut(entry.buf),
                    data: 0,
                };
                into.cast::<fi_cq_data_entry>().add(at).write(entry);
            }
            if some == 0 { -FI_EAGAIN } else { some as isize }
        })
    }
}

/// Puts what has come into the buffers that are posted.
fn arrive(endpoint: &mut Endpoint, multi: bool) {
    while let (Some(message), Some(posted)) = (endpoint.inbox.front(), endpoint.posted.front_mut())
    {
        if message.len() > posted.bytes - posted.used {
            // Truncated: an error (FI_ETRUNC), and the buffer is the lane's again.
            endpoint.failed.push_back((posted.context, 265));
            endpoint.inbox.pop_front();
            endpoint.posted.pop_front();
            continue;
        }
        let place = posted.base + posted.used;
        // SAFETY: the buffer is the provider's until its completion.
        unsafe {
            let into = ptr::with_exposed_provenance_mut::<u8>(place);
            ptr::copy_nonoverlapping(message.as_ptr(), into, message.len());
        }
        posted.used += message.len();
        let over = !multi || posted.bytes - posted.used < endpoint.least;
        let flags = FI_RECV | FI_MSG | if multi && over { FI_MULTI_RECV } else { 0 };
        let buf = if multi { place } else { 0 };
        let (context, len) = (posted.context, message.len());
        endpoint.done.push_back(fi_cq_data_entry_copy { context, flags, len, buf });
        endpoint.inbox.pop_front();
        if over {
            endpoint.posted.pop_front();
        }
    }
}

pub unsafe extern "C" fn look_at_error(
    queue: *mut fid_cq,
    into: *mut fi_cq_err_entry,
    _flags: u64,
) -> isize {
    // SAFETY: as for `look`.
    unsafe {
        let (number, _) = numbers(queue);
        let failed = with(|state| state.endpoints[number].failed.pop_front());
        let Some((context, error)) = failed else { return -FI_EAGAIN };
        (*into).op_context = ptr::with_exposed_provenance_mut(context);
        (*into).err = error;
    }
    1
}

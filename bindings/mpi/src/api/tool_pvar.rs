// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MPI_T: performance variables and their sessions (MPI-5.0 section 15.3.7).
//!
//! Counters count for each handle from its start on; levels and watermarks are what they are, and
//! can neither be started nor written.

use crate::abi::{Abi, Family};
use crate::api::tool::{at, bind, datatype, find, give, give_text, verbosity, with_tool};
use crate::entry::Entry;
use crate::tool::variable::{Class, PVARS, UNSIGNED_LONG_LONG};
use crate::tool::{self, Answer, PvarHandle, Tool, code};
use std::ffi::{c_char, c_int, c_void};
use strait_transport::counters::Counters;

/// The worker's counters; zeros where there is none.
fn counters() -> Counters {
    Entry::open("MPI_T_pvar_read").map_or(Counters::default(), |entry| entry.worker.counters())
}

pub unsafe fn MPI_T_pvar_get_num<A: Abi>(num_pvar: *mut c_int) -> c_int {
    with_tool::<A>(|_| {
        // SAFETY: writable, says the caller.
        unsafe { give(num_pvar, PVARS.len() as c_int) };
        Ok(())
    })
}

pub unsafe fn MPI_T_pvar_get_info<A: Abi>(
    pvar_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    verbosity: *mut c_int,
    var_class: *mut c_int,
    datatype: *mut A::Handle,
    enumtype: *mut *mut c_void,
    desc: *mut c_char,
    desc_len: *mut c_int,
    bind: *mut c_int,
    readonly: *mut c_int,
    continuous: *mut c_int,
    atomic: *mut c_int,
) -> c_int {
    with_tool::<A>(|_| {
        let pvar = at(PVARS, pvar_index)?;
        let is_counter = pvar.class == Class::Counter;
        // SAFETY: this function's own conditions, here and below.
        unsafe {
            give_text(pvar.name, name, name_len);
            give_text(pvar.text, desc, desc_len);
            give(verbosity, self::verbosity::<A>(true));
            give(var_class, A::constant_out(Family::ToolClass, pvar.class.code()));
            give(datatype, self::datatype::<A>(UNSIGNED_LONG_LONG));
            give(enumtype, std::ptr::null_mut());
            give(bind, self::bind::<A>());
            give(readonly, (!is_counter).into());
            give(continuous, (!is_counter).into());
            give(atomic, 0);
        }
        Ok(())
    })
}

pub unsafe fn MPI_T_pvar_get_index<A: Abi>(
    name: *const c_char,
    var_class: c_int,
    pvar_index: *mut c_int,
) -> c_int {
    let class = A::constant_in(Family::ToolClass, var_class);
    with_tool::<A>(|_| {
        let is_called = |name: &str| {
            PVARS.iter().position(|pvar| pvar.name == name && pvar.class.code() == class)
        };
        // SAFETY: this function's own conditions.
        unsafe { find(name, pvar_index, is_called) }
    })
}

pub unsafe fn MPI_T_pvar_session_create<A: Abi>(session: *mut *mut c_void) -> c_int {
    with_tool::<A>(|tool| {
        let number = tool.number();
        tool.sessions.insert(number, ());
        // SAFETY: writable, says the caller.
        unsafe { give(session, tool::handle(number)) };
        Ok(())
    })
}

pub unsafe fn MPI_T_pvar_session_free<A: Abi>(session: *mut *mut c_void) -> c_int {
    with_tool::<A>(|tool| {
        if session.is_null() {
            return Err(code::INVALID_SESSION);
        }
        // SAFETY: not null; readable, says the caller.
        let number = unsafe { *session }.addr();
        tool.sessions.remove(&number).ok_or(code::INVALID_SESSION)?;
        tool.pvars.retain(|_, handle| handle.session != number);
        // SAFETY: as above; MPI_T_PVAR_SESSION_NULL.
        unsafe { *session = std::ptr::null_mut() };
        Ok(())
    })
}

fn session_of(tool: &Tool, session: *mut c_void) -> Answer<usize> {
    match tool.sessions.contains_key(&session.addr()) {
        true => Ok(session.addr()),
        false => Err(code::INVALID_SESSION),
    }
}

pub unsafe fn MPI_T_pvar_handle_alloc<A: Abi>(
    session: *mut c_void,
    pvar_index: c_int,
    _obj_handle: *mut c_void,
    handle: *mut *mut c_void,
    count: *mut c_int,
) -> c_int {
    with_tool::<A>(|tool| {
        let session = session_of(tool, session)?;
        at(PVARS, pvar_index)?;
        let number = tool.number();
        let new = PvarHandle { session, index: pvar_index as usize, counted: 0, since: None };
        tool.pvars.insert(number, new);
        // SAFETY: this function's own conditions.
        unsafe { give(handle, tool::handle(number)) };
        // SAFETY: as above.
        unsafe { give(count, 1) };
        Ok(())
    })
}

pub unsafe fn MPI_T_pvar_handle_free<A: Abi>(
    session: *mut c_void,
    handle: *mut *mut c_void,
) -> c_int {
    with_tool::<A>(|tool| {
        let session = session_of(tool, session)?;
        if handle.is_null() {
            return Err(code::INVALID_HANDLE);
        }
        // SAFETY: not null; readable, says the caller.
        let number = unsafe { *handle }.addr();
        match tool.pvars.get(&number) {
            Some(known) if known.session == session => tool.pvars.remove(&number),
            _ => return Err(code::INVALID_HANDLE),
        };
        // SAFETY: as above; MPI_T_PVAR_HANDLE_NULL.
        unsafe { *handle = std::ptr::null_mut() };
        Ok(())
    })
}

/// Does something with a handle of a session, or (where `all` allows it) with all of them that can
/// bear it.
fn on_handles<A: Abi>(
    session: *mut c_void,
    handle: *mut c_void,
    all: bool,
    mut body: impl FnMut(&mut PvarHandle, u64) -> Answer,
) -> c_int {
    // Not under the lock of the tool: the entry lock comes first.
    let counters = counters();
    with_tool::<A>(|tool| {
        let session = session_of(tool, session)?;
        if all && A::is_all_handles(handle) {
            for one in tool.pvars.values_mut().filter(|one| one.session == session) {
                // Those that cannot are left alone (MPI-5.0 section 15.3.7).
                let _ = body(one, (PVARS[one.index].value)(&counters));
            }
            return Ok(());
        }
        let one = tool.pvars.get_mut(&handle.addr()).filter(|one| one.session == session);
        let one = one.ok_or(code::INVALID_HANDLE)?;
        body(one, (PVARS[one.index].value)(&counters))
    })
}

fn is_counter(one: &PvarHandle) -> bool {
    PVARS[one.index].class == Class::Counter
}

fn value(one: &PvarHandle, now: u64) -> u64 {
    match is_counter(one) {
        true => one.counted + one.since.map_or(0, |since| now - since),
        false => now,
    }
}

fn set(one: &mut PvarHandle, now: u64, value: u64) {
    one.counted = value;
    one.since = one.since.map(|_| now);
}

pub unsafe fn MPI_T_pvar_start<A: Abi>(session: *mut c_void, handle: *mut c_void) -> c_int {
    on_handles::<A>(session, handle, true, |one, now| {
        if !is_counter(one) {
            return Err(code::PVAR_NO_STARTSTOP);
        }
        one.since = one.since.or(Some(now));
        Ok(())
    })
}

pub unsafe fn MPI_T_pvar_stop<A: Abi>(session: *mut c_void, handle: *mut c_void) -> c_int {
    on_handles::<A>(session, handle, true, |one, now| {
        if !is_counter(one) {
            return Err(code::PVAR_NO_STARTSTOP);
        }
        one.counted = value(one, now);
        one.since = None;
        Ok(())
    })
}

/// Writes the value of a handle to a buffer of the user.
unsafe fn put(one: &PvarHandle, now: u64, buf: *mut c_void) -> Answer {
    if buf.is_null() {
        return Err(code::INVALID);
    }
    // SAFETY: the buffer holds one MPI_UNSIGNED_LONG_LONG, says the caller.
    unsafe { buf.cast::<u64>().write_unaligned(value(one, now)) };
    Ok(())
}

pub unsafe fn MPI_T_pvar_read<A: Abi>(
    session: *mut c_void,
    handle: *mut c_void,
    buf: *mut c_void,
) -> c_int {
    on_handles::<A>(session, handle, false, |one, now| {
        // SAFETY: this function's own conditions.
        unsafe { put(one, now, buf) }
    })
}

pub unsafe fn MPI_T_pvar_write<A: Abi>(
    session: *mut c_void,
    handle: *mut c_void,
    buf: *const c_void,
) -> c_int {
    on_handles::<A>(session, handle, false, |one, now| {
        if !is_counter(one) {
            return Err(code::PVAR_NO_WRITE);
        }
        if buf.is_null() {
            return Err(code::INVALID);
        }
        // SAFETY: the buffer holds one MPI_UNSIGNED_LONG_LONG, says the caller.
        set(one, now, unsafe { buf.cast::<u64>().read_unaligned() });
        Ok(())
    })
}

pub unsafe fn MPI_T_pvar_reset<A: Abi>(session: *mut c_void, handle: *mut c_void) -> c_int {
    on_handles::<A>(session, handle, true, |one, now| {
        if !is_counter(one) {
            return Err(code::PVAR_NO_WRITE);
        }
        set(one, now, 0);
        Ok(())
    })
}

pub unsafe fn MPI_T_pvar_readreset<A: Abi>(
    session: *mut c_void,
    handle: *mut c_void,
    buf: *mut c_void,
) -> c_int {
    on_handles::<A>(session, handle, false, |one, now| {
        if !is_counter(one) {
            return Err(code::PVAR_NO_WRITE);
        }
        // SAFETY: this function's own conditions.
        unsafe { put(one, now, buf)? };
        set(one, now, 0);
        Ok(())
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sessions and their process sets (MPI-5.0 section 11.3).
//!
//! A session here looks at the job that MPI_Init joined. Not built yet: sessions without MPI_Init.

use crate::abi::{Abi, Code, HandleKind};
use crate::api::arguments::{handle, out, put_string, string};
use crate::api::buffered::{Owner, flush};
use crate::api::communicator::give_group;
use crate::api::errhandler::{acquire, create, describe, let_go};
use crate::entry::{Entry, die, fatal_text, note_error, on_process};
use crate::error::{MpiError, Result, class, error, make};
use crate::object::errhandler::ErrhandlerRef;
use crate::object::group::Group;
use crate::object::info::InfoData;
use crate::object::session::{SESSION_NULL, Session};
use std::ffi::{c_char, c_int, c_void};

/// The process sets that there are.
const PROCESS_SETS: [&str; 2] = ["mpi://WORLD", "mpi://SELF"];

/// Around a call that names a session: its errors go to the session's handler.
pub(crate) fn on_session<A: Abi>(
    name: &'static str,
    session: A::Handle,
    body: impl FnOnce(&mut Entry, Code) -> Result,
) -> c_int {
    let code = A::handle_in(HandleKind::Session, session);
    let mut result = 0;
    let outer = on_process::<A>(name, |entry| {
        if entry.sessions.get(code).is_none() {
            return bad_session(code);
        }
        if let Err(error) = body(entry, code) {
            result = raise::<A>(entry, code, &error);
        }
        Ok(())
    });
    if outer == 0 { result } else { outer }
}

#[cold]
fn bad_session<T>(code: Code) -> Result<T> {
    match code {
        SESSION_NULL => error(class::SESSION, "the session is MPI_SESSION_NULL"),
        _ => error(class::SESSION, format!("{code:#x} is not a session (finalized already?)")),
    }
}

/// Calls the session's error handler and returns the code for the caller.
#[cold]
fn raise<A: Abi>(entry: &mut Entry, session: Code, error: &MpiError) -> c_int {
    let handler = entry.sessions.get(session).map(|s| s.errhandler.clone());
    match handler {
        Some(ErrhandlerRef::User(_, user)) => {
            type Handler<H> = unsafe extern "C" fn(*mut H, *mut c_int, ...);
            // SAFETY: the user passed a function of this type to MPI_Session_create_errhandler.
            let function =
                unsafe { std::mem::transmute::<*const c_void, Handler<A::Handle>>(user.function) };
            let mut handle = A::handle_out(HandleKind::Session, session);
            let mut code = A::error_out(error.code);
            // SAFETY: both pointers are to live locals; the lock is not held.
            entry.outside(|| unsafe { function(&mut handle, &mut code) });
        }
        Some(ErrhandlerRef::Return) | None => note_error(entry, error),
        Some(ErrhandlerRef::Fatal | ErrhandlerRef::Abort) => {
            let text = fatal_text(entry, Some("a session"), error);
            die(entry, 1, &text)
        }
    }
    A::error_out(error.code)
}

pub unsafe fn MPI_Session_init<A: Abi>(
    info: A::Handle,
    errhandler: A::Handle,
    session: *mut A::Handle,
) -> c_int {
    // The hints of a session (its thread level) are those of the process already.
    let _ = info;
    on_process::<A>("MPI_Session_init", |entry| {
        let place = out(session, "session")?;
        let errhandler = acquire::<A>(entry, HandleKind::Session, errhandler)?;
        let code = entry.sessions.insert(Session { errhandler, buffer: None });
        // SAFETY: writable, says the caller.
        unsafe { *place = handle::<A>(HandleKind::Session, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_Session_finalize<A: Abi>(session: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Session_finalize", |entry| {
        let place = out(session, "session")?;
        // SAFETY: readable, says the caller.
        let code = A::handle_in(HandleKind::Session, unsafe { *place });
        if entry.sessions.get(code).is_none() {
            return bad_session(code);
        }
        flush(entry, &Owner::Session(code));
        let Some(session) = entry.sessions.remove(code) else { return bad_session(code) };
        let_go(entry, &session.errhandler);
        // SAFETY: writable, says the caller.
        unsafe { *place = A::handle_out(HandleKind::Session, SESSION_NULL) };
        Ok(())
    })
}

/// Hands a new info object to the caller.
fn give_info<A: Abi>(entry: &mut Entry, info: *mut A::Handle, pairs: &[(&str, &str)]) -> Result {
    let place = out(info, "info")?;
    let mut data = InfoData::default();
    for (key, value) in pairs {
        data.set(key, value);
    }
    let code = entry.infos.insert(data);
    // SAFETY: writable, says the caller.
    unsafe { *place = handle::<A>(HandleKind::Info, code)? };
    Ok(())
}

pub unsafe fn MPI_Session_get_info<A: Abi>(session: A::Handle, info_used: *mut A::Handle) -> c_int {
    on_session::<A>("MPI_Session_get_info", session, |entry, _| {
        let level = crate::api::info::level_name(entry.thread_level);
        give_info::<A>(entry, info_used, &[("thread_level", level)])
    })
}

pub unsafe fn MPI_Session_get_num_psets<A: Abi>(
    session: A::Handle,
    info: A::Handle,
    npset_names: *mut c_int,
) -> c_int {
    let _ = info;
    on_session::<A>("MPI_Session_get_num_psets", session, |_, _| {
        // SAFETY: writable, says the caller.
        unsafe { *out(npset_names, "npset_names")? = PROCESS_SETS.len() as c_int };
        Ok(())
    })
}

pub unsafe fn MPI_Session_get_nth_pset<A: Abi>(
    session: A::Handle,
    info: A::Handle,
    n: c_int,
    pset_len: *mut c_int,
    pset_name: *mut c_char,
) -> c_int {
    let _ = info;
    on_session::<A>("MPI_Session_get_nth_pset", session, |_, _| {
        let Some(name) = usize::try_from(n).ok().and_then(|n| PROCESS_SETS.get(n)) else {
            let last = PROCESS_SETS.len() - 1;
            return error(class::ARG, format!("n is {n}; there are process sets 0 to {last}"));
        };
        let length = out(pset_len, "pset_len")?;
        // SAFETY: readable, says the caller.
        let room = usize::try_from(unsafe { *length }).unwrap_or(0);
        if room > 0 {
            // SAFETY: `pset_len` bytes are writable, says the caller.
            unsafe { put_string(name, out(pset_name, "pset_name")?, room) };
        }
        // SAFETY: writable, says the caller.
        unsafe { *length = name.len() as c_int + 1 };
        Ok(())
    })
}

/// The members of a process set.
///
/// # Safety
/// `name` is NULL or a C string.
unsafe fn members(entry: &Entry, name: *const c_char) -> Result<Group> {
    // SAFETY: the caller's promise.
    let name = unsafe { string(name) }?;
    match name.as_str() {
        "mpi://WORLD" => Ok(entry.world.group.clone()),
        "mpi://SELF" => Ok(entry.comm_self.group.clone()),
        _ => error(class::ARG, format!("there is no process set {name:?}")),
    }
}

pub unsafe fn MPI_Session_get_pset_info<A: Abi>(
    session: A::Handle,
    pset_name: *const c_char,
    info: *mut A::Handle,
) -> c_int {
    on_session::<A>("MPI_Session_get_pset_info", session, |entry, _| {
        // SAFETY: a C string, says the caller.
        let size = unsafe { members(entry, pset_name) }?.size().to_string();
        give_info::<A>(entry, info, &[("mpi_size", &size)])
    })
}

pub unsafe fn MPI_Group_from_session_pset<A: Abi>(
    session: A::Handle,
    pset_name: *const c_char,
    newgroup: *mut A::Handle,
) -> c_int {
    on_session::<A>("MPI_Group_from_session_pset", session, |entry, code| {
        // SAFETY: a C string, and writable, says the caller.
        unsafe {
            let group = Group { session: Some(code), ..members(entry, pset_name)? };
            give_group::<A>(entry, group, newgroup)
        }
    })
}

pub unsafe fn MPI_Session_create_errhandler<A: Abi>(
    session_errhandler_fn: *const c_void,
    errhandler: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Session_create_errhandler", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { create::<A>(entry, HandleKind::Session, session_errhandler_fn, errhandler) }
    })
}

pub unsafe fn MPI_Session_set_errhandler<A: Abi>(
    session: A::Handle,
    errhandler: A::Handle,
) -> c_int {
    on_session::<A>("MPI_Session_set_errhandler", session, |entry, code| {
        let new = acquire::<A>(entry, HandleKind::Session, errhandler)?;
        let place = entry.sessions.get_mut(code).expect("on_session found it");
        let old = std::mem::replace(&mut place.errhandler, new);
        let_go(entry, &old);
        Ok(())
    })
}

pub unsafe fn MPI_Session_get_errhandler<A: Abi>(
    session: A::Handle,
    errhandler: *mut A::Handle,
) -> c_int {
    on_session::<A>("MPI_Session_get_errhandler", session, |entry, code| {
        let place = out(errhandler, "errhandler")?;
        let handler = &entry.sessions.get(code).expect("on_session found it").errhandler;
        if let ErrhandlerRef::User(_, user) = handler {
            user.references.set(user.references.get() + 1);
        }
        // SAFETY: writable, says the caller.
        unsafe { *place = A::handle_out(HandleKind::Errhandler, handler.code()) };
        Ok(())
    })
}

pub unsafe fn MPI_Session_call_errhandler<A: Abi>(session: A::Handle, errorcode: c_int) -> c_int {
    on_session::<A>("MPI_Session_call_errhandler", session, |entry, code| {
        let canonical = A::error_in(errorcode);
        let text = describe(Some(entry), canonical);
        // The handler is called: that is success.
        raise::<A>(entry, code, &make(canonical, text));
        Ok(())
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Error handlers, classes, codes and strings (MPI-5.0 sections 9.3 to 9.5).

use crate::abi::{Abi, HandleKind};
use crate::api::arguments::{handle, out, put_string, string};
use crate::entry::{Entry, any_time, on_comm, on_process, raise};
use crate::error::{Result, class, error, make, remembered};
use crate::object::errhandler::{ERRHANDLER_NULL, ErrhandlerRef, UserErrhandler};
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;

/// MPI_MAX_ERROR_STRING of both ABIs.
const MAX_ERROR_STRING: usize = 512;

/// Registers a user's handler for objects of a kind.
pub(crate) unsafe fn create<A: Abi>(
    entry: &mut Entry,
    kind: HandleKind,
    function: *const c_void,
    errhandler: *mut A::Handle,
) -> Result {
    if function.is_null() {
        return error(class::ARG, "the error handler function is NULL");
    }
    let references = Cell::new(1);
    let code = entry.errhandlers.insert(Rc::new(UserErrhandler { function, kind, references }));
    // SAFETY: checked not to be null; writable, says the caller.
    unsafe { *out(errhandler, "errhandler")? = handle::<A>(HandleKind::Errhandler, code)? };
    Ok(())
}

/// The handler of a handle, as an object of `kind` may hold it; counts a reference.
pub(crate) fn acquire<A: Abi>(
    entry: &Entry,
    kind: HandleKind,
    errhandler: A::Handle,
) -> Result<ErrhandlerRef> {
    let code = A::handle_in(HandleKind::Errhandler, errhandler);
    if let Some(predefined) = ErrhandlerRef::predefined(code) {
        return Ok(predefined);
    }
    match entry.errhandlers.get(code) {
        Some(user) if user.kind == kind => {
            user.references.set(user.references.get() + 1);
            Ok(ErrhandlerRef::User(code, user.clone()))
        }
        Some(user) => error(
            class::ERRHANDLER,
            format!("the error handler is for a {:?}, not for a {kind:?}", user.kind),
        ),
        None => error(class::ERRHANDLER, format!("{code:#x} is not an error handler")),
    }
}

/// An object or a handle lets a handler go.
pub(crate) fn let_go(entry: &mut Entry, handler: &ErrhandlerRef) {
    if let ErrhandlerRef::User(code, user) = handler {
        user.references.set(user.references.get() - 1);
        if user.references.get() == 0 {
            entry.errhandlers.remove(*code);
        }
    }
}

pub unsafe fn MPI_Comm_create_errhandler<A: Abi>(
    comm_errhandler_fn: *const c_void,
    errhandler: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Comm_create_errhandler", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { create::<A>(entry, HandleKind::Comm, comm_errhandler_fn, errhandler) }
    })
}

pub unsafe fn MPI_Win_create_errhandler<A: Abi>(
    win_errhandler_fn: *const c_void,
    errhandler: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Win_create_errhandler", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { create::<A>(entry, HandleKind::Win, win_errhandler_fn, errhandler) }
    })
}

pub unsafe fn MPI_File_create_errhandler<A: Abi>(
    file_errhandler_fn: *const c_void,
    errhandler: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_File_create_errhandler", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { create::<A>(entry, HandleKind::File, file_errhandler_fn, errhandler) }
    })
}

pub unsafe fn MPI_Comm_set_errhandler<A: Abi>(comm: A::Handle, errhandler: A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_set_errhandler", comm, |entry, comm| {
        let new = acquire::<A>(entry, HandleKind::Comm, errhandler)?;
        let old = comm.errhandler.replace(new);
        let_go(entry, &old);
        Ok(())
    })
}

pub unsafe fn MPI_Comm_get_errhandler<A: Abi>(
    comm: A::Handle,
    errhandler: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_get_errhandler", comm, |_, comm| {
        let handler = comm.errhandler.borrow();
        if let ErrhandlerRef::User(_, user) = &*handler {
            user.references.set(user.references.get() + 1);
        }
        let found = A::handle_out(HandleKind::Errhandler, handler.code());
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(errhandler, "errhandler")? = found };
        Ok(())
    })
}

pub unsafe fn MPI_Errhandler_free<A: Abi>(errhandler: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Errhandler_free", |entry| {
        // SAFETY: readable, says the caller.
        let code = A::handle_in(HandleKind::Errhandler, unsafe { *errhandler });
        if ErrhandlerRef::predefined(code).is_none() {
            match entry.errhandlers.get(code).cloned() {
                Some(user) => let_go(entry, &ErrhandlerRef::User(code, user)),
                None => {
                    return error(
                        class::ERRHANDLER,
                        format!("{code:#x} is not an error handler that can be freed"),
                    );
                }
            }
        }
        // SAFETY: writable, says the caller.
        unsafe { *errhandler = A::handle_out(HandleKind::Errhandler, ERRHANDLER_NULL) };
        Ok(())
    })
}

pub unsafe fn MPI_Comm_call_errhandler<A: Abi>(comm: A::Handle, errorcode: c_int) -> c_int {
    let Some(mut entry) = Entry::open("MPI_Comm_call_errhandler") else {
        return A::error_out(class::OTHER);
    };
    let code = A::handle_in(HandleKind::Comm, comm);
    match entry.comm(code).cloned() {
        Some(comm) => {
            let canonical = A::error_in(errorcode);
            let text = describe(Some(&entry), canonical);
            raise::<A>(&mut entry, Some(&comm), make(canonical, text));
            // The handler was called: that is success.
            0
        }
        None => {
            let error = make(class::COMM, format!("{code:#x} is not a communicator"));
            raise::<A>(&mut entry, None, error)
        }
    }
}

/// The text of a canonical class or code.
pub fn describe(entry: Option<&Entry>, code: c_int) -> String {
    if let Some(text) = entry.and_then(|e| e.user_errors.string(code)) {
        return text.to_string();
    }
    let known = CLASSES.iter().find(|(c, _, _)| *c == code);
    match known {
        Some((_, name, text)) => format!("{name}: {text}"),
        None if entry.is_some_and(|e| e.user_errors.class_of(code).is_some()) => String::new(),
        None => format!("error code {code}"),
    }
}

fn is_known(entry: Option<&Entry>, code: c_int) -> bool {
    CLASSES.iter().any(|(c, _, _)| *c == code)
        || entry.is_some_and(|e| e.user_errors.class_of(code).is_some())
}

pub unsafe fn MPI_Error_string<A: Abi>(
    errorcode: c_int,
    string: *mut c_char,
    resultlen: *mut c_int,
) -> c_int {
    any_time::<A>("MPI_Error_string", |entry| {
        let entry = entry.as_deref();
        let code = A::error_in(errorcode);
        if !is_known(entry, code) {
            return error(class::ARG, format!("{errorcode} is not an error code"));
        }
        let mut text = describe(entry, code);
        // What this thread was told last is more than the name of its class.
        if let Some(what) = remembered(code).filter(|what| !text.contains(what.as_str())) {
            text = format!("{text}: {what}");
        }
        // SAFETY: the array has MPI_MAX_ERROR_STRING bytes, says the caller.
        unsafe {
            *out(resultlen, "resultlen")? =
                put_string(&text, out(string, "string")?, MAX_ERROR_STRING);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Error_class<A: Abi>(errorcode: c_int, errorclass: *mut c_int) -> c_int {
    any_time::<A>("MPI_Error_class", |entry| {
        let entry = entry.as_deref();
        let code = A::error_in(errorcode);
        if !is_known(entry, code) {
            return error(class::ARG, format!("{errorcode} is not an error code"));
        }
        let found = entry.and_then(|e| e.user_errors.class_of(code)).unwrap_or(code);
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(errorclass, "errorclass")? = A::error_out(found) };
        Ok(())
    })
}

pub unsafe fn MPI_Add_error_class<A: Abi>(errorclass: *mut c_int) -> c_int {
    on_process::<A>("MPI_Add_error_class", |entry| {
        let new = entry.user_errors.add_class();
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(errorclass, "errorclass")? = A::error_out(new) };
        Ok(())
    })
}

pub unsafe fn MPI_Add_error_code<A: Abi>(errorclass: c_int, errorcode: *mut c_int) -> c_int {
    on_process::<A>("MPI_Add_error_code", |entry| {
        let of = A::error_in(errorclass);
        if !is_known(Some(entry), of) {
            return error(class::ARG, format!("{errorclass} is not an error class"));
        }
        let new = entry.user_errors.add_code(of);
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(errorcode, "errorcode")? = A::error_out(new) };
        Ok(())
    })
}

fn user_code<A: Abi>(entry: &Entry, code: c_int) -> Result<c_int> {
    let canonical = A::error_in(code);
    match entry.user_errors.class_of(canonical) {
        Some(_) => Ok(canonical),
        None => error(class::ARG, format!("{code} was not added by MPI_Add_error_*")),
    }
}

pub unsafe fn MPI_Add_error_string<A: Abi>(errorcode: c_int, text: *const c_char) -> c_int {
    on_process::<A>("MPI_Add_error_string", |entry| {
        let code = user_code::<A>(entry, errorcode)?;
        // SAFETY: a C string, says the caller.
        let text = unsafe { string(text)? };
        entry.user_errors.set_string(code, &text);
        Ok(())
    })
}

pub unsafe fn MPI_Remove_error_class<A: Abi>(errorclass: c_int) -> c_int {
    on_process::<A>("MPI_Remove_error_class", |entry| {
        let code = user_code::<A>(entry, errorclass)?;
        let errors = &entry.user_errors;
        if !errors.is_class(code) || errors.has_codes(code) || errors.string(code).is_some() {
            return error(
                class::ARG,
                format!("{errorclass} is no class, or has codes or a string still"),
            );
        }
        entry.user_errors.remove(code);
        Ok(())
    })
}

pub unsafe fn MPI_Remove_error_code<A: Abi>(errorcode: c_int) -> c_int {
    on_process::<A>("MPI_Remove_error_code", |entry| {
        let code = user_code::<A>(entry, errorcode)?;
        let errors = &entry.user_errors;
        if errors.is_class(code) || errors.string(code).is_some() {
            return error(class::ARG, format!("{errorcode} is a class, or has a string still"));
        }
        entry.user_errors.remove(code);
        Ok(())
    })
}

pub unsafe fn MPI_Remove_error_string<A: Abi>(errorcode: c_int) -> c_int {
    on_process::<A>("MPI_Remove_error_string", |entry| {
        let code = user_code::<A>(entry, errorcode)?;
        if !entry.user_errors.remove_string(code) {
            return error(class::ARG, format!("{errorcode} has no string"));
        }
        Ok(())
    })
}

/// Canonical class, name, text.
static CLASSES: &[(c_int, &str, &str)] = &[
    (0, "MPI_SUCCESS", "no error"),
    (1, "MPI_ERR_BUFFER", "invalid buffer"),
    (2, "MPI_ERR_COUNT", "invalid count"),
    (3, "MPI_ERR_TYPE", "invalid datatype"),
    (4, "MPI_ERR_TAG", "invalid tag"),
    (5, "MPI_ERR_COMM", "invalid communicator"),
    (6, "MPI_ERR_RANK", "invalid rank"),
    (7, "MPI_ERR_REQUEST", "invalid request"),
    (8, "MPI_ERR_ROOT", "invalid root"),
    (9, "MPI_ERR_GROUP", "invalid group"),
    (10, "MPI_ERR_OP", "invalid operation"),
    (11, "MPI_ERR_TOPOLOGY", "invalid topology"),
    (12, "MPI_ERR_DIMS", "invalid dimensions"),
    (13, "MPI_ERR_ARG", "invalid argument"),
    (14, "MPI_ERR_UNKNOWN", "unknown error"),
    (15, "MPI_ERR_TRUNCATE", "message truncated on receive"),
    (16, "MPI_ERR_OTHER", "another error"),
    (17, "MPI_ERR_INTERN", "internal error"),
    (18, "MPI_ERR_PENDING", "the request is still pending"),
    (19, "MPI_ERR_IN_STATUS", "the error is in the status"),
    (20, "MPI_ERR_ACCESS", "permission denied"),
    (21, "MPI_ERR_AMODE", "invalid access mode"),
    (22, "MPI_ERR_ASSERT", "invalid assertion"),
    (23, "MPI_ERR_BAD_FILE", "invalid file name"),
    (24, "MPI_ERR_BASE", "invalid base address"),
    (25, "MPI_ERR_CONVERSION", "a data conversion function failed"),
    (26, "MPI_ERR_DISP", "invalid displacement"),
    (27, "MPI_ERR_DUP_DATAREP", "the data representation is already defined"),
    (28, "MPI_ERR_FILE_EXISTS", "the file exists"),
    (29, "MPI_ERR_FILE_IN_USE", "the file is in use"),
    (30, "MPI_ERR_FILE", "invalid file"),
    (31, "MPI_ERR_INFO_KEY", "the info key is too long or empty"),
    (32, "MPI_ERR_INFO_NOKEY", "the info key is not defined"),
    (33, "MPI_ERR_INFO_VALUE", "the info value is too long or empty"),
    (34, "MPI_ERR_INFO", "invalid info object"),
    (35, "MPI_ERR_IO", "input or output failed"),
    (36, "MPI_ERR_KEYVAL", "invalid attribute key"),
    (37, "MPI_ERR_LOCKTYPE", "invalid lock type"),
    (38, "MPI_ERR_NAME", "the service name is not published"),
    (39, "MPI_ERR_NO_MEM", "out of memory"),
    (40, "MPI_ERR_NOT_SAME", "arguments differ between processes"),
    (41, "MPI_ERR_NO_SPACE", "no space left"),
    (42, "MPI_ERR_NO_SUCH_FILE", "the file does not exist"),
    (43, "MPI_ERR_PORT", "invalid port"),
    (44, "MPI_ERR_QUOTA", "the quota is exceeded"),
    (45, "MPI_ERR_READ_ONLY", "the file or file system is read-only"),
    (46, "MPI_ERR_RMA_ATTACH", "memory cannot be attached"),
    (47, "MPI_ERR_RMA_CONFLICT", "conflicting accesses to a window"),
    (48, "MPI_ERR_RMA_RANGE", "the target memory is not in the window"),
    (49, "MPI_ERR_RMA_SHARED", "memory cannot be shared"),
    (50, "MPI_ERR_RMA_SYNC", "wrong synchronization of one-sided calls"),
    (51, "MPI_ERR_SERVICE", "the service name cannot be unpublished"),
    (52, "MPI_ERR_SIZE", "invalid size"),
    (53, "MPI_ERR_SPAWN", "processes could not be spawned"),
    (54, "MPI_ERR_UNSUPPORTED_DATAREP", "unsupported data representation"),
    (55, "MPI_ERR_UNSUPPORTED_OPERATION", "unsupported operation"),
    (56, "MPI_ERR_WIN", "invalid window"),
    (57, "MPI_ERR_RMA_FLAVOR", "wrong flavor of window"),
    (58, "MPI_ERR_PROC_ABORTED", "a process of the communicator is lost"),
    (59, "MPI_ERR_VALUE_TOO_LARGE", "the value is too large for the result"),
    (60, "MPI_ERR_SESSION", "invalid session"),
    (61, "MPI_ERR_ERRHANDLER", "invalid error handler"),
    (62, "MPI_ERR_ABI", "the ABI does not fit"),
    (101, "MPIX_ERR_PROC_FAILED", "a process that the operation needs is lost"),
    (
        102,
        "MPIX_ERR_PROC_FAILED_PENDING",
        "a process is lost; the receive from any source waits on",
    ),
    (103, "MPIX_ERR_REVOKED", "the communicator was revoked"),
    (1001, "MPI_T_ERR_CANNOT_INIT", "the tool interface cannot be initialized"),
    (1002, "MPI_T_ERR_NOT_ACCESSIBLE", "not accessible"),
    (1003, "MPI_T_ERR_NOT_INITIALIZED", "the tool interface is not initialized"),
    (1004, "MPI_T_ERR_NOT_SUPPORTED", "not supported"),
    (1005, "MPI_T_ERR_MEMORY", "out of memory"),
    (1006, "MPI_T_ERR_INVALID", "invalid use of the tool interface"),
    (1007, "MPI_T_ERR_INVALID_INDEX", "invalid index"),
    (1008, "MPI_T_ERR_INVALID_ITEM", "invalid item"),
    (1009, "MPI_T_ERR_INVALID_SESSION", "invalid session"),
    (1010, "MPI_T_ERR_INVALID_HANDLE", "invalid handle"),
    (1011, "MPI_T_ERR_INVALID_NAME", "invalid name"),
    (1012, "MPI_T_ERR_OUT_OF_HANDLES", "no more handles"),
    (1013, "MPI_T_ERR_OUT_OF_SESSIONS", "no more sessions"),
    (1014, "MPI_T_ERR_CVAR_SET_NOT_NOW", "the variable cannot be set now"),
    (1015, "MPI_T_ERR_CVAR_SET_NEVER", "the variable cannot be set"),
    (1016, "MPI_T_ERR_PVAR_NO_WRITE", "the variable cannot be written"),
    (1017, "MPI_T_ERR_PVAR_NO_STARTSTOP", "the variable cannot be started or stopped"),
    (1018, "MPI_T_ERR_PVAR_NO_ATOMIC", "the variable cannot be read and reset at once"),
];

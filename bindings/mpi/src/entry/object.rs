// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Wrappers of calls that name a file or a window: their errors go to that object's handler.
//!
//! A call that names no file (MPI_File_open, MPI_File_delete), or a bad one, goes to the handler of
//! MPI_FILE_NULL, which returns unless the user changed it (MPI-5.0 section 14.7). A bad window
//! goes to the handler of MPI_COMM_SELF: there is no window whose handler could be called.

use super::{Entry, die, fatal_text, not_running, note_error, raise};
use crate::abi::{Abi, Code, HandleKind};
use crate::error::{MpiError, Result, advise, class, make};
use crate::object::errhandler::ErrhandlerRef;
use crate::object::file::{FILE_NULL, FileRef};
use crate::object::window::{WIN_NULL, WinRef};
use std::ffi::{c_int, c_void};

/// Around a call that names a file.
pub fn on_file<A: Abi>(
    name: &'static str,
    file: A::File,
    body: impl FnOnce(&mut Entry, &FileRef) -> Result,
) -> c_int {
    let Some(mut entry) = Entry::open(name) else {
        return not_running::<A>(name);
    };
    let code = A::file_in(file);
    let Some(file) = entry.files.get(code).cloned() else {
        return raise_on_file::<A>(&mut entry, None, bad_file(code));
    };
    match body(&mut entry, &file) {
        Ok(()) => 0,
        Err(error) => raise_on_file::<A>(&mut entry, Some(&file), error),
    }
}

/// Around a call about files that names none.
pub fn on_default_file<A: Abi>(
    name: &'static str,
    body: impl FnOnce(&mut Entry) -> Result,
) -> c_int {
    let Some(mut entry) = Entry::open(name) else {
        return not_running::<A>(name);
    };
    match body(&mut entry) {
        Ok(()) => 0,
        Err(error) => raise_on_file::<A>(&mut entry, None, error),
    }
}

/// Around a call that names a window.
pub fn on_win<A: Abi>(
    name: &'static str,
    win: A::Handle,
    body: impl FnOnce(&mut Entry, &WinRef) -> Result,
) -> c_int {
    let Some(mut entry) = Entry::open(name) else {
        return not_running::<A>(name);
    };
    let code = A::handle_in(HandleKind::Win, win);
    let Some(win) = entry.windows.get(code).cloned() else {
        return raise::<A>(&mut entry, None, bad_win(code));
    };
    match body(&mut entry, &win) {
        Ok(()) => 0,
        Err(error) => raise_on_win::<A>(&mut entry, &win, error),
    }
}

#[cold]
fn bad_file(code: Code) -> Box<MpiError> {
    match code {
        FILE_NULL => make(class::FILE, "the file is MPI_FILE_NULL"),
        _ => advise(
            class::FILE,
            format!("{code:#x} is not an open file"),
            "it may have been closed, or come from another MPI library's mpi.h",
        ),
    }
}

#[cold]
fn bad_win(code: Code) -> Box<MpiError> {
    match code {
        WIN_NULL => make(class::WIN, "the window is MPI_WIN_NULL"),
        _ => advise(
            class::WIN,
            format!("{code:#x} is not a window"),
            "it may have been freed, or come from another MPI library's mpi.h",
        ),
    }
}

/// Calls the error handler of a file (or of MPI_FILE_NULL) and returns the code for the caller.
#[cold]
#[inline(never)]
pub fn raise_on_file<A: Abi>(
    entry: &mut Entry,
    file: Option<&FileRef>,
    error: Box<MpiError>,
) -> c_int {
    let (handler, place, code) = match file {
        Some(file) => (file.errhandler.borrow().clone(), file.describe(), file.code.get()),
        None => (entry.file_errhandler.clone(), "no file".to_string(), FILE_NULL),
    };
    answer::<A>(entry, &handler, &place, &error, |function, number| {
        type Handler<F> = unsafe extern "C" fn(*mut F, *mut c_int, ...);
        // SAFETY: the user passed a function of this type to MPI_File_create_errhandler.
        let function = unsafe { std::mem::transmute::<*const c_void, Handler<A::File>>(function) };
        let mut handle = A::file_out(code);
        // SAFETY: both pointers are to live places; the lock is not held.
        unsafe { function(&mut handle, number) };
    })
}

/// Calls the error handler of a window and returns the code for the caller.
#[cold]
#[inline(never)]
pub fn raise_on_win<A: Abi>(entry: &mut Entry, win: &WinRef, error: Box<MpiError>) -> c_int {
    let handler = win.errhandler.borrow().clone();
    let code = win.code.get();
    answer::<A>(entry, &handler, &win.describe(), &error, |function, number| {
        type Handler<H> = unsafe extern "C" fn(*mut H, *mut c_int, ...);
        // SAFETY: the user passed a function of this type to MPI_Win_create_errhandler.
        let function =
            unsafe { std::mem::transmute::<*const c_void, Handler<A::Handle>>(function) };
        let mut handle = A::handle_out(HandleKind::Win, code);
        // SAFETY: both pointers are to live places; the lock is not held.
        unsafe { function(&mut handle, number) };
    })
}

/// What a handler does with an error; `call` runs a user's function, without the lock.
fn answer<A: Abi>(
    entry: &mut Entry,
    handler: &ErrhandlerRef,
    place: &str,
    error: &MpiError,
    call: impl FnOnce(*const c_void, *mut c_int),
) -> c_int {
    match handler {
        ErrhandlerRef::Return => note_error(entry, error),
        ErrhandlerRef::Fatal | ErrhandlerRef::Abort => {
            let text = fatal_text(entry, Some(place), error);
            die(entry, 1, &text)
        }
        ErrhandlerRef::User(_, user) => {
            let mut code = A::error_out(error.code);
            note_error(entry, error);
            entry.outside(|| call(user.function, &mut code));
        }
    }
    A::error_out(error.code)
}

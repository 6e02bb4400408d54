// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files as objects: opening, closing, sizes, hints, handlers (MPI-5.0 sections 14.2, 14.6, 14.7).
//!
//! What the group decides together goes through `Circle::settle`: nobody is left waiting because
//! one member's arguments or host refused.

use crate::abi::{Abi, CountOut, Family, HandleKind};
use crate::agreement::Circle;
use crate::api::arguments::{any_type, handle, out};
use crate::api::communicator::{agree, give_group, info_of};
use crate::api::datarep::type_in_file;
use crate::api::errhandler::{acquire, describe, let_go};
use crate::entry::{Entry, on_default_file, on_file};
use crate::error::{Result, class, error, make};
use crate::object::comm::{Comm, CommRef};
use crate::object::errhandler::ErrhandlerRef;
use crate::object::file::{FILE_NULL, File, FileRef, class_of, mode};
use crate::object::file_view::View;
use crate::object::info::InfoData;
use crate::object::shared_position::{PointerFile, SharedPosition};
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

/// A file name argument.
///
/// # Safety
/// `text` is NULL or a C string.
unsafe fn path_argument(text: *const c_char) -> Result<PathBuf> {
    if text.is_null() {
        return error(class::BAD_FILE, "the file name is NULL");
    }
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(text) }.to_bytes();
    if name.is_empty() {
        return error(class::BAD_FILE, "the file name is empty");
    }
    Ok(PathBuf::from(OsStr::from_bytes(name)))
}

/// Refuses access modes that contradict themselves.
fn check_mode(amode: c_int) -> Result {
    let has = |bits: c_int| amode & bits != 0;
    let wrong = if amode & !mode::ALL != 0 {
        "has bits that no access mode has"
    } else if (amode & mode::DIRECTION).count_ones() != 1 {
        "must have exactly one of MPI_MODE_RDONLY, MPI_MODE_RDWR and MPI_MODE_WRONLY"
    } else if has(mode::RDONLY) && has(mode::CREATE | mode::EXCL) {
        "has MPI_MODE_RDONLY together with MPI_MODE_CREATE or MPI_MODE_EXCL"
    } else if has(mode::RDWR) && has(mode::SEQUENTIAL) {
        "has MPI_MODE_RDWR together with MPI_MODE_SEQUENTIAL"
    } else {
        return Ok(());
    };
    error(class::AMODE, format!("the access mode {wrong}"))
}

/// Opens the file in this process; only the first member creates it.
fn open_here(path: &Path, amode: c_int, first: bool) -> Result<std::fs::File> {
    let has = |bit: c_int| amode & bit != 0;
    let (create, exclusive) = (first && has(mode::CREATE), first && has(mode::EXCL));
    let opened = std::fs::OpenOptions::new()
        .read(!has(mode::WRONLY))
        .write(!has(mode::RDONLY))
        .create(create)
        .create_new(create && exclusive)
        .open(path);
    let failed = |problem: std::io::Error| {
        let text = format!("the file {} cannot be opened: {problem}", path.display());
        make(class_of(&problem), text)
    };
    let file = opened.map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return error(class::BAD_FILE, format!("{} is a directory", path.display()));
    }
    Ok(file)
}

/// A place for the shared file pointer: memory, or a file beside the data when the members share
/// none; nothing when that cannot be either.
fn share_position(
    entry: &mut Entry,
    circle: &Circle,
    path: &Path,
) -> Result<Option<SharedPosition>> {
    if circle.members.len() == 1 {
        return Ok(Some(SharedPosition::own()));
    }
    let host = entry.host_word(&circle.members).into();
    let (_, hosts) = circle.settle(entry, Ok(()), [host])?;
    if hosts.iter().all(|said| said == &hosts[0])
        && let Ok(memory) = circle.share(entry, SharedPosition::BYTES)
    {
        return Ok(Some(SharedPosition::Memory(memory)));
    }
    share_beside(entry, circle, path)
}

/// The file pointer in a file beside the data; nothing when a member cannot make or open it.
fn share_beside(entry: &mut Entry, circle: &Circle, path: &Path) -> Result<Option<SharedPosition>> {
    static NUMBER: AtomicI64 = AtomicI64::new(0);
    let mine = [std::process::id().into(), NUMBER.fetch_add(1, Ordering::Relaxed)];
    let mut held = None;
    if circle.me == 0 {
        held = PointerFile::create(&PointerFile::name(path, mine)).ok();
    }
    let (_, said) = circle.settle(entry, Ok(()), mine)?;
    if circle.me != 0 {
        held = PointerFile::open(&PointerFile::name(path, said[0])).ok();
    }
    let (_, have) = circle.settle(entry, Ok(()), [i64::from(held.is_some())])?;
    if let Some(file) = &mut held {
        file.all_have_it();
    }
    let all = have.iter().all(|said| said[0] != 0);
    Ok(held.filter(|_| all).map(SharedPosition::Beside))
}

/// The members agree on the mode, the first one opens (and creates), then the others do.
fn open_together(
    entry: &mut Entry,
    comm: &CommRef,
    arguments: Result<(PathBuf, InfoData)>,
    amode: c_int,
) -> Result<File> {
    if comm.is_inter() {
        return error(class::COMM, "a file needs an intracommunicator");
    }
    let circle = Circle::of_comm(comm);
    let checked = arguments.and_then(|arguments| check_mode(amode).map(|()| arguments));
    let ((path, info), modes) = circle.settle(entry, checked, [amode.into()])?;
    if modes.iter().any(|said| said != &modes[0]) {
        return error(class::NOT_SAME, "the ranks passed different access modes");
    }
    let context = agree(entry, &circle)?;
    let first = circle.me == 0;
    let created = if first { open_here(&path, amode, true).map(Some) } else { Ok(None) };
    let (created, _) = circle.settle(entry, created, [])?;
    let opened = match created {
        Some(file) => Ok(file),
        None => open_here(&path, amode, false),
    };
    let end = opened.as_ref().ok().and_then(|file| file.metadata().ok()).map_or(0, |m| m.len());
    // All begin where the first one saw the end: another may write before the last has looked.
    let (file, ends) = circle.settle(entry, opened, [end as i64])?;
    let start = if amode & mode::APPEND != 0 { ends[0][0] } else { 0 };
    let shared_position = share_position(entry, &circle, &path)?;
    if let Some(position) = &shared_position
        && circle.me == 0
    {
        // Should that fail, so does whatever uses it.
        let _ = position.store(start);
    }
    // Nobody moves the shared pointer before it stands at its beginning.
    circle.barrier(entry)?;
    let errhandler = entry.file_errhandler.clone();
    errhandler.hold();
    Ok(File {
        code: Cell::new(FILE_NULL),
        comm: Comm::new(context, comm.group.clone(), None, ErrhandlerRef::Return),
        path,
        mode: amode,
        file,
        view: RefCell::new(View::bytes()),
        position: Cell::new(start),
        shared_position,
        atomic: Cell::new(false),
        turn: Mutex::new(()),
        split: RefCell::new(None),
        unsynced: Cell::new(false),
        info: RefCell::new(info),
        errhandler: RefCell::new(errhandler),
    })
}

pub unsafe fn MPI_File_open<A: Abi>(
    comm: A::Handle,
    filename: *const c_char,
    amode: c_int,
    info: A::Handle,
    fh: *mut A::File,
) -> c_int {
    on_default_file::<A>("MPI_File_open", |entry| {
        let code = A::handle_in(HandleKind::Comm, comm);
        let Some(comm) = entry.comm(code).cloned() else {
            return error(class::COMM, format!("{code:#x} is not a communicator"));
        };
        let place = out(fh, "fh")?;
        // SAFETY: a C string or NULL, says the caller.
        let path = unsafe { path_argument(filename) };
        let arguments = path.and_then(|path| Ok((path, info_of::<A>(entry, info)?)));
        let amode = A::constant_in(Family::FileMode, amode);
        let file = Rc::new(open_together(entry, &comm, arguments, amode)?);
        let Some(code) = entry.files.insert(file.clone()) else {
            return error(class::OTHER, "no file handle is left: close some");
        };
        file.code.set(code);
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *place = A::file_out(code) };
        Ok(())
    })
}

/// Writes to storage what this process wrote.
fn sync(file: &File) -> Result {
    if file.unsynced.replace(false) {
        file.file.sync_all().map_err(|error| {
            file.unsynced.set(true);
            file.failed("cannot be synchronized", error)
        })?;
    }
    Ok(())
}

/// Syncs, waits for all, and lets the first member delete the file if the mode says so. The handle
/// is gone in any case.
fn close_together(entry: &mut Entry, file: &FileRef) -> Result {
    let circle = Circle::of_comm(&file.comm);
    let synced = sync(file);
    let synced = circle.settle(entry, synced, []).map(|_| ());
    let mut closed = Ok(());
    if file.has(mode::DELETE_ON_CLOSE) {
        if circle.me == 0 {
            closed = std::fs::remove_file(&file.path)
                .map_err(|error| file.failed("cannot be deleted", error));
        }
        closed = circle.settle(entry, closed, []).map(|_| ());
    }
    entry.files.remove(file.code.get());
    synced.and(closed)
}

pub unsafe fn MPI_File_close<A: Abi>(fh: *mut A::File) -> c_int {
    // SAFETY: readable, says the caller.
    on_file::<A>("MPI_File_close", unsafe { *fh }, |entry, file| {
        let closed = close_together(entry, file);
        // SAFETY: writable, says the caller.
        unsafe { *fh = A::file_out(FILE_NULL) };
        if closed.is_ok() {
            let handler = file.errhandler.replace(ErrhandlerRef::Return);
            let_go(entry, &handler);
        }
        closed
    })
}

pub unsafe fn MPI_File_delete<A: Abi>(filename: *const c_char, info: A::Handle) -> c_int {
    on_default_file::<A>("MPI_File_delete", |entry| {
        info_of::<A>(entry, info)?;
        // SAFETY: a C string or NULL, says the caller.
        let path = unsafe { path_argument(filename) }?;
        std::fs::remove_file(&path).map_err(|problem| {
            let text = format!("the file {} cannot be deleted: {problem}", path.display());
            make(class_of(&problem), text)
        })
    })
}

/// A new size that all must name alike; the first member sets it.
fn resize_together(
    entry: &mut Entry,
    file: &File,
    size: i64,
    resize: impl FnOnce(&File) -> std::io::Result<()>,
) -> Result {
    let circle = Circle::of_comm(&file.comm);
    let checked = file.writable().and_then(|()| file.seekable()).and_then(|()| match size {
        0.. => Ok(()),
        _ => error(class::ARG, format!("the size is {size}; it must not be negative")),
    });
    let (_, sizes) = circle.settle(entry, checked, [size])?;
    if sizes.iter().any(|said| said[0] != size) {
        return error(class::NOT_SAME, "the ranks passed different sizes");
    }
    let mut resized = Ok(());
    if circle.me == 0 {
        resized = resize(file).map_err(|error| file.failed("cannot be resized", error));
        file.unsynced.set(true);
    }
    circle.settle(entry, resized, []).map(|_| ())
}

pub unsafe fn MPI_File_set_size<A: Abi>(fh: A::File, size: i64) -> c_int {
    on_file::<A>("MPI_File_set_size", fh, |entry, file| {
        resize_together(entry, file, size, |file| file.file.set_len(size as u64))
    })
}

pub unsafe fn MPI_File_preallocate<A: Abi>(fh: A::File, size: i64) -> c_int {
    on_file::<A>("MPI_File_preallocate", fh, |entry, file| {
        resize_together(entry, file, size, |file| {
            if size == 0 {
                return Ok(());
            }
            // SAFETY: the descriptor is the open file's; no memory is passed.
            match unsafe { libc::posix_fallocate(file.file.as_raw_fd(), 0, size) } {
                0 => Ok(()),
                number => Err(std::io::Error::from_raw_os_error(number)),
            }
        })
    })
}

pub unsafe fn MPI_File_get_size<A: Abi>(fh: A::File, size: *mut i64) -> c_int {
    on_file::<A>("MPI_File_get_size", fh, |_, file| {
        file.seekable()?;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(size, "size")? = file.bytes()? };
        Ok(())
    })
}

pub unsafe fn MPI_File_get_group<A: Abi>(fh: A::File, group: *mut A::Handle) -> c_int {
    on_file::<A>("MPI_File_get_group", fh, |entry, file| {
        // SAFETY: this function's own conditions.
        unsafe { give_group::<A>(entry, file.comm.group.clone(), group) }
    })
}

pub unsafe fn MPI_File_get_amode<A: Abi>(fh: A::File, amode: *mut c_int) -> c_int {
    on_file::<A>("MPI_File_get_amode", fh, |_, file| {
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(amode, "amode")? = A::constant_out(Family::FileMode, file.mode) };
        Ok(())
    })
}

pub unsafe fn MPI_File_set_info<A: Abi>(fh: A::File, info: A::Handle) -> c_int {
    on_file::<A>("MPI_File_set_info", fh, |entry, file| {
        let hints = info_of::<A>(entry, info)?;
        let mut kept = file.info.borrow_mut();
        hints.iter().for_each(|(key, value)| kept.set(key, value));
        Ok(())
    })
}

pub unsafe fn MPI_File_get_info<A: Abi>(fh: A::File, info_used: *mut A::Handle) -> c_int {
    on_file::<A>("MPI_File_get_info", fh, |entry, file| {
        let place = out(info_used, "info_used")?;
        let code = entry.infos.insert(file.info.borrow().clone());
        // SAFETY: writable, says the caller.
        unsafe { *place = handle::<A>(HandleKind::Info, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_File_set_atomicity<A: Abi>(fh: A::File, flag: c_int) -> c_int {
    on_file::<A>("MPI_File_set_atomicity", fh, |entry, file| {
        let wish = i64::from(flag != 0);
        let (_, wishes) = Circle::of_comm(&file.comm).settle(entry, Ok(()), [wish])?;
        if wishes.iter().any(|said| said[0] != wish) {
            return error(class::NOT_SAME, "the ranks passed different values of flag");
        }
        file.atomic.set(flag != 0);
        Ok(())
    })
}

pub unsafe fn MPI_File_get_atomicity<A: Abi>(fh: A::File, flag: *mut c_int) -> c_int {
    on_file::<A>("MPI_File_get_atomicity", fh, |_, file| {
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(flag, "flag")? = c_int::from(file.atomic.get()) };
        Ok(())
    })
}

pub unsafe fn MPI_File_sync<A: Abi>(fh: A::File) -> c_int {
    // Collective, but nobody has to wait: what others wrote is seen once they have synced.
    on_file::<A>("MPI_File_sync", fh, |_, file| sync(file))
}

pub unsafe fn MPI_File_get_type_extent<A: Abi>(
    fh: A::File,
    datatype: A::Handle,
    extent: CountOut,
) -> c_int {
    on_file::<A>("MPI_File_get_type_extent", fh, |entry, file| {
        let ty = any_type::<A>(entry, datatype)?;
        if extent.is_null() {
            return error(class::ARG, "the argument extent is NULL");
        }
        let representation = file.view.borrow().representation.clone();
        let there = type_in_file::<A>(entry, &representation, &ty)?;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { extent.set(there.extent()) };
        Ok(())
    })
}

/// The place of a file's handler, or of that of MPI_FILE_NULL.
fn on_handler<A: Abi>(
    name: &'static str,
    file: A::File,
    body: impl FnOnce(&mut Entry, ErrhandlerRef) -> Result<Option<ErrhandlerRef>>,
) -> c_int {
    if A::file_in(file) == FILE_NULL {
        return on_default_file::<A>(name, |entry| {
            let old = entry.file_errhandler.clone();
            if let Some(new) = body(entry, old.clone())? {
                entry.file_errhandler = new;
                let_go(entry, &old);
            }
            Ok(())
        });
    }
    on_file::<A>(name, file, |entry, file| {
        let old = file.errhandler.borrow().clone();
        if let Some(new) = body(entry, old.clone())? {
            *file.errhandler.borrow_mut() = new;
            let_go(entry, &old);
        }
        Ok(())
    })
}

pub unsafe fn MPI_File_set_errhandler<A: Abi>(file: A::File, errhandler: A::Handle) -> c_int {
    on_handler::<A>("MPI_File_set_errhandler", file, |entry, _| {
        acquire::<A>(entry, HandleKind::File, errhandler).map(Some)
    })
}

pub unsafe fn MPI_File_get_errhandler<A: Abi>(file: A::File, errhandler: *mut A::Handle) -> c_int {
    on_handler::<A>("MPI_File_get_errhandler", file, |_, handler| {
        let place = out(errhandler, "errhandler")?;
        handler.hold();
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *place = A::handle_out(HandleKind::Errhandler, handler.code()) };
        Ok(None)
    })
}

pub unsafe fn MPI_File_call_errhandler<A: Abi>(fh: A::File, errorcode: c_int) -> c_int {
    let canonical = A::error_in(errorcode);
    let raised = |entry: &mut Entry| make(canonical, describe(Some(entry), canonical));
    let mut found = true;
    let result = if A::file_in(fh) == FILE_NULL {
        on_default_file::<A>("MPI_File_call_errhandler", |entry| Err(raised(entry)))
    } else {
        found = false;
        on_file::<A>("MPI_File_call_errhandler", fh, |entry, _| {
            found = true;
            Err(raised(entry))
        })
    };
    // The handler was called: that is success.
    if found { 0 } else { result }
}

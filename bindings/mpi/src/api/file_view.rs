// SPDX-License-Identifier: Apache-2.0 OR MIT
//! File views and the two file pointers (MPI-5.0 sections 14.3, 14.4.3 and 14.4.4).

use crate::abi::{Abi, Family, HandleKind};
use crate::agreement::Circle;
use crate::api::arguments::{committed_type, out, put_string, string};
use crate::api::communicator::info_of;
use crate::api::datarep::{representation, type_in_file};
use crate::api::datatype::new_handle;
use crate::datatype::Type;
use crate::entry::{Entry, on_file};
use crate::error::{Result, class, error};
use crate::object::file::{File, mode};
use crate::object::file_view::View;
use std::ffi::{c_char, c_int};
use std::sync::Arc;

/// Canonical starting points of a seek.
const SEEK_CUR: c_int = 401;
const SEEK_END: c_int = 402;
const SEEK_SET: c_int = 403;

/// The displacement that an argument means.
fn displacement_of<A: Abi>(file: &File, disp: i64) -> Result<i64> {
    let displacement = if disp == A::DISPLACEMENT_CURRENT {
        if !file.has(mode::SEQUENTIAL) {
            let text = "MPI_DISPLACEMENT_CURRENT is for files opened with MPI_MODE_SEQUENTIAL";
            return error(class::ARG, text);
        }
        // Where the shared pointer stands becomes the beginning of the new view.
        file.view.borrow().byte_of(file.with_shared(|position| position.load())?)?
    } else {
        file.seekable()?;
        disp
    };
    if displacement < 0 {
        return error(class::ARG, format!("the displacement is {disp}; it must not be negative"));
    }
    Ok(displacement)
}

/// Refuses etypes and filetypes (as they are in the file) that make no view of this file.
fn check_types(file: &File, etype: &Type, filetype: &Type) -> Result {
    if etype.size() <= 0 || filetype.size() % etype.size() != 0 {
        let text = format!(
            "a filetype of {} bytes is not made of whole etypes of {} bytes",
            filetype.size(),
            etype.size()
        );
        return error(class::TYPE, text);
    }
    if etype.true_lb() < 0 || filetype.true_lb() < 0 {
        return error(class::TYPE, "a view cannot have negative displacements");
    }
    let (ordered, apart) = filetype.order_of_runs();
    if !ordered {
        let text = "the displacements of a filetype must not go back, within it or to the next one";
        return error(class::TYPE, text);
    }
    if !apart && !file.has(mode::RDONLY) {
        let text = "a filetype must not overlap itself in a file that can be written";
        return error(class::TYPE, text);
    }
    Ok(())
}

/// The arguments of a view, checked.
///
/// # Safety
/// The name of the representation is NULL or a C string.
unsafe fn view_of<A: Abi>(
    entry: &mut Entry,
    file: &File,
    disp: i64,
    (etype, filetype): (A::Handle, A::Handle),
    datarep: *const c_char,
) -> Result<View> {
    let etype = committed_type::<A>(entry, etype)?.clone();
    let filetype = committed_type::<A>(entry, filetype)?.clone();
    let displacement = displacement_of::<A>(file, disp)?;
    // SAFETY: the caller's promise.
    let representation = representation(entry, &unsafe { string(datarep) }?)?;
    let unit = type_in_file::<A>(entry, &representation, &etype)?;
    let layout = type_in_file::<A>(entry, &representation, &filetype)?;
    check_types(file, &unit, &layout)?;
    Ok(View { displacement, etype, filetype, representation, etype_bytes: unit.size(), layout })
}

pub unsafe fn MPI_File_set_view<A: Abi>(
    fh: A::File,
    disp: i64,
    etype: A::Handle,
    filetype: A::Handle,
    datarep: *const c_char,
    info: A::Handle,
) -> c_int {
    on_file::<A>("MPI_File_set_view", fh, |entry, file| {
        // SAFETY: a C string, says the caller.
        let view = unsafe { view_of::<A>(entry, file, disp, (etype, filetype), datarep) };
        let view = view.and_then(|view| Ok((view, info_of::<A>(entry, info)?)));
        let extent = view.as_ref().map_or(0, |(view, _)| view.etype.extent());
        let circle = Circle::of_comm(&file.comm);
        let ((view, hints), extents) = circle.settle(entry, view, [extent])?;
        if extents.iter().any(|said| said[0] != extent) {
            return error(class::NOT_SAME, "the ranks passed etypes of different extents");
        }
        *file.view.borrow_mut() = view;
        file.position.set(0);
        if let Some(position) = &file.shared_position {
            let mut moved = Ok(());
            if circle.me == 0 {
                moved = position.store(0).map_err(|error| file.failed("has no pointer", error));
            }
            circle.settle(entry, moved, [])?;
        }
        let mut kept = file.info.borrow_mut();
        hints.iter().for_each(|(key, value)| kept.set(key, value));
        Ok(())
    })
}

/// A type of a view for the caller: the constant's handle, or a committed one of its own.
fn give_type<A: Abi>(entry: &mut Entry, ty: &Arc<Type>) -> Result<A::Handle> {
    if let Some(code) = ty.code() {
        return Ok(A::handle_out(HandleKind::Datatype, code));
    }
    let object = new_handle::<A>(entry, ty.clone())?;
    object.committed.set(true);
    Ok(A::handle_out(HandleKind::Datatype, object.code.get()))
}

pub unsafe fn MPI_File_get_view<A: Abi>(
    fh: A::File,
    disp: *mut i64,
    etype: *mut A::Handle,
    filetype: *mut A::Handle,
    datarep: *mut c_char,
) -> c_int {
    on_file::<A>("MPI_File_get_view", fh, |entry, file| {
        let view = file.view.borrow().clone();
        let (disp, etype) = (out(disp, "disp")?, out(etype, "etype")?);
        let (filetype, datarep) = (out(filetype, "filetype")?, out(datarep, "datarep")?);
        // SAFETY: checked not to be null; writable, says the caller, and the text has
        // MPI_MAX_DATAREP_STRING bytes.
        unsafe {
            *disp = view.displacement;
            *etype = give_type::<A>(entry, &view.etype)?;
            *filetype = give_type::<A>(entry, &view.filetype)?;
            put_string(view.representation.name(), datarep, A::LIMITS.datarep);
        }
        Ok(())
    })
}

pub unsafe fn MPI_File_get_byte_offset<A: Abi>(fh: A::File, offset: i64, disp: *mut i64) -> c_int {
    on_file::<A>("MPI_File_get_byte_offset", fh, |_, file| {
        file.seekable()?;
        if offset < 0 {
            return error(class::ARG, format!("the offset is {offset}; it must not be negative"));
        }
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(disp, "disp")? = file.view.borrow().byte_of(offset)? };
        Ok(())
    })
}

/// Where a seek leads.
fn target_of(file: &File, offset: i64, whence: c_int, current: i64) -> Result<i64> {
    let from = match whence {
        SEEK_SET => 0,
        SEEK_CUR => current,
        SEEK_END => file.view.borrow().end_of(file.bytes()?)?,
        _ => return error(class::ARG, "whence is no MPI_SEEK_*"),
    };
    match from.checked_add(offset) {
        Some(position) if position >= 0 => Ok(position),
        _ => error(class::ARG, format!("seeking {offset} from {from} leaves the view")),
    }
}

pub unsafe fn MPI_File_seek<A: Abi>(fh: A::File, offset: i64, whence: c_int) -> c_int {
    on_file::<A>("MPI_File_seek", fh, |_, file| {
        file.seekable()?;
        let whence = A::constant_in(Family::Seek, whence);
        file.position.set(target_of(file, offset, whence, file.position.get())?);
        Ok(())
    })
}

pub unsafe fn MPI_File_get_position<A: Abi>(fh: A::File, offset: *mut i64) -> c_int {
    on_file::<A>("MPI_File_get_position", fh, |_, file| {
        file.seekable()?;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(offset, "offset")? = file.position.get() };
        Ok(())
    })
}

pub unsafe fn MPI_File_seek_shared<A: Abi>(fh: A::File, offset: i64, whence: c_int) -> c_int {
    on_file::<A>("MPI_File_seek_shared", fh, |entry, file| {
        let whence = A::constant_in(Family::Seek, whence);
        let circle = Circle::of_comm(&file.comm);
        let checked = file.seekable().and_then(|()| file.shared());
        let (_, said) = circle.settle(entry, checked, [offset, whence.into()])?;
        if said.iter().any(|words| words != &said[0]) {
            return error(class::NOT_SAME, "the ranks passed different offsets or starting points");
        }
        let mut moved = Ok(());
        if circle.me == 0 {
            moved = file.with_shared(|position| position.load()).and_then(|current| {
                let to = target_of(file, offset, whence, current)?;
                file.with_shared(|position| position.store(to))
            });
        }
        circle.settle(entry, moved, []).map(|_| ())
    })
}

pub unsafe fn MPI_File_get_position_shared<A: Abi>(fh: A::File, offset: *mut i64) -> c_int {
    on_file::<A>("MPI_File_get_position_shared", fh, |_, file| {
        file.seekable()?;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(offset, "offset")? = file.with_shared(|position| position.load())? };
        Ok(())
    })
}

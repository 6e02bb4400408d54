// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MPI_T: start and end, enumerations, control variables, categories (MPI-5.0 sections 15.3.4 to
//! 15.3.6 and 15.3.9). `tool/` holds what there is.

use crate::abi::{Abi, Code, Family, HandleKind};
use crate::tool::{self, Answer, CATEGORIES, Category, Enum, Tool, code, variable};
use std::ffi::{CStr, c_char, c_int, c_void};
use strait_transport::config::KNOBS;

/// Around every call but the first: errors go to no handler.
pub(super) fn with_tool<A: Abi>(body: impl FnOnce(&mut Tool) -> Answer) -> c_int {
    let mut tool = tool::lock();
    let answer = match tool.users {
        0 => Err(code::NOT_INITIALIZED),
        _ => body(&mut tool),
    };
    answer.map_or_else(A::error_out, |()| 0)
}

/// Writes a result that the user may not want.
///
/// # Safety
/// The place is null or writable.
pub(super) unsafe fn give<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *place = value };
    }
}

/// A text and its length, end included. Without room it is only the length that is needed; with
/// too little the text is cut.
///
/// # Safety
/// `length` is null or points to the bytes that `into` has (if that is not null).
pub(super) unsafe fn give_text(text: &str, into: *mut c_char, length: *mut c_int) {
    if length.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let room = usize::try_from(unsafe { *length }).unwrap_or(0);
    let needed = if into.is_null() || room == 0 {
        text.len()
    } else {
        // SAFETY: the array has so many bytes, says the caller.
        unsafe { crate::api::arguments::put_string(text, into, room) as usize }
    };
    // SAFETY: as above.
    unsafe { *length = needed as c_int + 1 };
}

/// The place of a name.
///
/// # Safety
/// `name` is null or a C string; `place` is null or writable.
pub(super) unsafe fn find(
    name: *const c_char,
    place: *mut c_int,
    is_called: impl Fn(&str) -> Option<usize>,
) -> Answer {
    if name.is_null() || place.is_null() {
        return Err(code::INVALID);
    }
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| code::INVALID_NAME)?;
    let found = is_called(name).ok_or(code::INVALID_NAME)?;
    // SAFETY: as above.
    unsafe { *place = found as c_int };
    Ok(())
}

/// An element of a table by its place.
pub(super) fn at<T>(table: &[T], index: c_int) -> Answer<&T> {
    let index = usize::try_from(index).ok();
    index.and_then(|index| table.get(index)).ok_or(code::INVALID_INDEX)
}

pub(super) fn datatype<A: Abi>(code: Code) -> A::Handle {
    A::handle_out(HandleKind::Datatype, code)
}

/// Canonical MPI_T_BIND_NO_OBJECT.
const NO_OBJECT: c_int = 1;
/// Canonical MPI_T_SCOPE_LOCAL.
const SCOPE_LOCAL: c_int = 3;
/// Canonical MPI_T_SCOPE_ALL_EQ.
const SCOPE_ALL_EQ: c_int = 7;
/// Canonical MPI_T_VERBOSITY_USER_BASIC.
const USER_BASIC: c_int = 9;
/// Canonical MPI_T_VERBOSITY_TUNER_BASIC.
const TUNER_BASIC: c_int = 17;

pub(super) fn bind<A: Abi>() -> c_int {
    A::constant_out(Family::ToolBind, NO_OBJECT)
}

pub(super) fn verbosity<A: Abi>(for_tuners: bool) -> c_int {
    A::constant_out(Family::ToolVerbosity, if for_tuners { TUNER_BASIC } else { USER_BASIC })
}

pub unsafe fn MPI_T_init_thread<A: Abi>(required: c_int, provided: *mut c_int) -> c_int {
    // Whatever the level is, the state has a lock.
    let level = A::constant_in(Family::ThreadLevel, required).clamp(0, 4096);
    tool::lock().users += 1;
    // SAFETY: writable, says the caller.
    unsafe { give(provided, A::constant_out(Family::ThreadLevel, level)) };
    0
}

pub unsafe fn MPI_T_finalize<A: Abi>() -> c_int {
    let ended = with_tool::<A>(|tool| {
        tool.users -= 1;
        if tool.users == 0 {
            *tool = Tool::default();
        }
        Ok(())
    });
    if ended == 0 {
        tool::event::note_listeners();
    }
    ended
}

pub unsafe fn MPI_T_enum_get_info<A: Abi>(
    enumtype: *mut c_void,
    num: *mut c_int,
    name: *mut c_char,
    name_len: *mut c_int,
) -> c_int {
    with_tool::<A>(|_| {
        let set = Enum::of(enumtype).ok_or(code::INVALID_HANDLE)?;
        // SAFETY: this function's own conditions.
        unsafe { give(num, set.items().len() as c_int) };
        // SAFETY: as above.
        unsafe { give_text(set.name(), name, name_len) };
        Ok(())
    })
}

pub unsafe fn MPI_T_enum_get_item<A: Abi>(
    enumtype: *mut c_void,
    indx: c_int,
    value: *mut c_int,
    name: *mut c_char,
    name_len: *mut c_int,
) -> c_int {
    with_tool::<A>(|_| {
        let set = Enum::of(enumtype).ok_or(code::INVALID_HANDLE)?;
        let item = at(set.items(), indx).map_err(|_| code::INVALID_ITEM)?;
        // SAFETY: this function's own conditions.
        unsafe { give(value, indx) };
        // SAFETY: as above.
        unsafe { give_text(item, name, name_len) };
        Ok(())
    })
}

pub unsafe fn MPI_T_cvar_get_num<A: Abi>(num_cvar: *mut c_int) -> c_int {
    with_tool::<A>(|_| {
        // SAFETY: writable, says the caller.
        unsafe { give(num_cvar, KNOBS.len() as c_int) };
        Ok(())
    })
}

pub unsafe fn MPI_T_cvar_get_info<A: Abi>(
    cvar_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    verbosity: *mut c_int,
    datatype: *mut A::Handle,
    enumtype: *mut *mut c_void,
    desc: *mut c_char,
    desc_len: *mut c_int,
    bind: *mut c_int,
    scope: *mut c_int,
) -> c_int {
    with_tool::<A>(|_| {
        let knob = at(KNOBS, cvar_index)?;
        let (kind, set, _) = variable::form(knob);
        let alike = if variable::is_alike(knob) { SCOPE_ALL_EQ } else { SCOPE_LOCAL };
        let is_tuning = knob.scope == strait_transport::config::Scope::Tuning;
        // SAFETY: this function's own conditions, here and below.
        unsafe {
            give_text(&variable::name(knob), name, name_len);
            give_text(knob.text, desc, desc_len);
            give(verbosity, self::verbosity::<A>(is_tuning));
            give(datatype, self::datatype::<A>(kind));
            give(enumtype, set.map_or(std::ptr::null_mut(), Enum::handle));
            give(bind, self::bind::<A>());
            give(scope, A::constant_out(Family::ToolScope, alike));
        }
        Ok(())
    })
}

pub unsafe fn MPI_T_cvar_get_index<A: Abi>(name: *const c_char, cvar_index: *mut c_int) -> c_int {
    with_tool::<A>(|_| {
        let is_called = |name: &str| KNOBS.iter().position(|knob| variable::name(knob) == name);
        // SAFETY: this function's own conditions.
        unsafe { find(name, cvar_index, is_called) }
    })
}

pub unsafe fn MPI_T_cvar_handle_alloc<A: Abi>(
    cvar_index: c_int,
    _obj_handle: *mut c_void,
    handle: *mut *mut c_void,
    count: *mut c_int,
) -> c_int {
    with_tool::<A>(|tool| {
        let (_, _, elements) = variable::form(at(KNOBS, cvar_index)?);
        let number = tool.number();
        tool.cvars.insert(number, cvar_index as usize);
        // SAFETY: this function's own conditions.
        unsafe { give(handle, tool::handle(number)) };
        // SAFETY: as above.
        unsafe { give(count, elements as c_int) };
        Ok(())
    })
}

pub unsafe fn MPI_T_cvar_handle_free<A: Abi>(handle: *mut *mut c_void) -> c_int {
    with_tool::<A>(|tool| {
        if handle.is_null() {
            return Err(code::INVALID_HANDLE);
        }
        // SAFETY: not null; readable, says the caller.
        tool.cvars.remove(&unsafe { *handle }.addr()).ok_or(code::INVALID_HANDLE)?;
        // SAFETY: as above; MPI_T_CVAR_HANDLE_NULL.
        unsafe { *handle = std::ptr::null_mut() };
        Ok(())
    })
}

pub unsafe fn MPI_T_cvar_read<A: Abi>(handle: *mut c_void, buf: *mut c_void) -> c_int {
    with_tool::<A>(|tool| {
        let index = *tool.cvars.get(&handle.addr()).ok_or(code::INVALID_HANDLE)?;
        let bytes = variable::read(&KNOBS[index]);
        if buf.is_null() {
            return Err(code::INVALID);
        }
        // SAFETY: the buffer holds as many elements as the handle has, says the caller.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf.cast(), bytes.len()) };
        Ok(())
    })
}

pub unsafe fn MPI_T_cvar_write<A: Abi>(handle: *mut c_void, buf: *const c_void) -> c_int {
    with_tool::<A>(|tool| {
        let index = *tool.cvars.get(&handle.addr()).ok_or(code::INVALID_HANDLE)?;
        if buf.is_null() {
            return Err(code::INVALID);
        }
        let knob = &KNOBS[index];
        let bytes = match variable::form(knob) {
            // SAFETY: a C string of at most as many elements, says the caller.
            (variable::CHAR, ..) => unsafe { CStr::from_ptr(buf.cast()) }.to_bytes(),
            // SAFETY: one element, says the caller.
            (variable::INT, ..) => unsafe { std::slice::from_raw_parts(buf.cast(), 4) },
            // SAFETY: as above.
            _ => unsafe { std::slice::from_raw_parts(buf.cast(), 8) },
        };
        variable::write(knob, bytes)
    })
}

pub unsafe fn MPI_T_category_get_num<A: Abi>(num_cat: *mut c_int) -> c_int {
    with_tool::<A>(|_| {
        // SAFETY: writable, says the caller.
        unsafe { give(num_cat, CATEGORIES.len() as c_int) };
        Ok(())
    })
}

pub unsafe fn MPI_T_category_get_info<A: Abi>(
    cat_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    desc: *mut c_char,
    desc_len: *mut c_int,
    num_cvars: *mut c_int,
    num_pvars: *mut c_int,
    num_categories: *mut c_int,
) -> c_int {
    with_tool::<A>(|_| {
        let category = at(CATEGORIES, cat_index)?;
        // SAFETY: this function's own conditions, here and below.
        unsafe {
            give_text(category.name, name, name_len);
            give_text(category.text, desc, desc_len);
            give(num_cvars, (category.cvars)().len() as c_int);
            give(num_pvars, (category.pvars)().len() as c_int);
            give(num_categories, category.categories.len() as c_int);
        }
        Ok(())
    })
}

pub unsafe fn MPI_T_category_get_num_events<A: Abi>(
    cat_index: c_int,
    num_events: *mut c_int,
) -> c_int {
    with_tool::<A>(|_| {
        let category = at(CATEGORIES, cat_index)?;
        // SAFETY: writable, says the caller.
        unsafe { give(num_events, category.events.len() as c_int) };
        Ok(())
    })
}

pub unsafe fn MPI_T_category_get_index<A: Abi>(
    name: *const c_char,
    cat_index: *mut c_int,
) -> c_int {
    with_tool::<A>(|_| {
        let is_called = |name: &str| CATEGORIES.iter().position(|known| known.name == name);
        // SAFETY: this function's own conditions.
        unsafe { find(name, cat_index, is_called) }
    })
}

/// What a category holds of one kind, as far as there is room.
unsafe fn members<A: Abi>(
    cat_index: c_int,
    len: c_int,
    indices: *mut c_int,
    of: impl FnOnce(&Category) -> Vec<usize>,
) -> c_int {
    with_tool::<A>(|_| {
        let found = of(at(CATEGORIES, cat_index)?);
        if indices.is_null() && len > 0 {
            return Err(code::INVALID);
        }
        for (place, index) in found.iter().take(len.max(0) as usize).enumerate() {
            // SAFETY: the array has `len` elements, says the caller.
            unsafe { *indices.add(place) = *index as c_int };
        }
        Ok(())
    })
}

pub unsafe fn MPI_T_category_get_cvars<A: Abi>(
    cat_index: c_int,
    len: c_int,
    indices: *mut c_int,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { members::<A>(cat_index, len, indices, |category| (category.cvars)()) }
}

pub unsafe fn MPI_T_category_get_pvars<A: Abi>(
    cat_index: c_int,
    len: c_int,
    indices: *mut c_int,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { members::<A>(cat_index, len, indices, |category| (category.pvars)()) }
}

pub unsafe fn MPI_T_category_get_events<A: Abi>(
    cat_index: c_int,
    len: c_int,
    indices: *mut c_int,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { members::<A>(cat_index, len, indices, |category| category.events.to_vec()) }
}

pub unsafe fn MPI_T_category_get_categories<A: Abi>(
    cat_index: c_int,
    len: c_int,
    indices: *mut c_int,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { members::<A>(cat_index, len, indices, |category| category.categories.to_vec()) }
}

pub unsafe fn MPI_T_category_changed<A: Abi>(update_number: *mut c_int) -> c_int {
    with_tool::<A>(|_| {
        // They never change.
        // SAFETY: writable, says the caller.
        unsafe { give(update_number, 0) };
        Ok(())
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MPI_T: events and their sources (MPI-5.0 section 15.3.8). No hints are known: infos are accepted
//! and come back empty; that of an event about collective calls has their names.

use crate::abi::{Abi, Family, HandleKind};
use crate::api::tool::{at, bind, datatype, find, give, give_text, verbosity, with_tool};
use crate::entry::Entry;
use crate::object::info::InfoData;
use crate::tool::event::{self, Callback, ELEMENTS, Instance, KINDS, Registration};
use crate::tool::{self, Answer, Tool, code};
use std::ffi::{c_char, c_int, c_void};

/// Canonical MPI_T_SOURCE_ORDERED.
const ORDERED: c_int = 1;
/// Code of MPI_INFO_NULL.
const INFO_NULL: u32 = 0x130;

/// An info object; MPI_INFO_NULL where there is no MPI to hold it. Nothing if nobody wants it.
unsafe fn give_info<A: Abi>(place: *mut A::Handle, info: InfoData) {
    if place.is_null() {
        return;
    }
    let made = Entry::open("MPI_T_event_get_info").and_then(|mut entry| entry.infos.insert(info));
    let info = A::handle_out(HandleKind::Info, made.unwrap_or(INFO_NULL));
    // SAFETY: writable, says the caller.
    unsafe { *place = info };
}

pub unsafe fn MPI_T_source_get_num<A: Abi>(num_sources: *mut c_int) -> c_int {
    with_tool::<A>(|_| {
        // SAFETY: writable, says the caller.
        unsafe { give(num_sources, 1) };
        Ok(())
    })
}

pub unsafe fn MPI_T_source_get_info<A: Abi>(
    source_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    desc: *mut c_char,
    desc_len: *mut c_int,
    ordering: *mut c_int,
    ticks_per_second: *mut i64,
    max_ticks: *mut i64,
    info: *mut A::Handle,
) -> c_int {
    let answer = with_tool::<A>(|_| {
        at(&[()], source_index)?;
        // SAFETY: this function's own conditions, here and below.
        unsafe {
            give_text("strait", name, name_len);
            give_text("This process's calls and messages.", desc, desc_len);
            give(ordering, A::constant_out(Family::ToolOrder, ORDERED));
            give(ticks_per_second, 1_000_000_000);
            give(max_ticks, i64::MAX);
        }
        Ok(())
    });
    if answer == 0 {
        // SAFETY: as above.
        unsafe { give_info::<A>(info, InfoData::default()) };
    }
    answer
}

pub unsafe fn MPI_T_source_get_timestamp<A: Abi>(
    source_index: c_int,
    timestamp: *mut i64,
) -> c_int {
    with_tool::<A>(|_| {
        at(&[()], source_index)?;
        // SAFETY: writable, says the caller.
        unsafe { give(timestamp, event::now()) };
        Ok(())
    })
}

pub unsafe fn MPI_T_event_get_num<A: Abi>(num_events: *mut c_int) -> c_int {
    with_tool::<A>(|_| {
        // SAFETY: writable, says the caller.
        unsafe { give(num_events, KINDS.len() as c_int) };
        Ok(())
    })
}

pub unsafe fn MPI_T_event_get_info<A: Abi>(
    event_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    verbosity: *mut c_int,
    array_of_datatypes: *mut A::Handle,
    array_of_displacements: *mut isize,
    num_elements: *mut c_int,
    enumtype: *mut *mut c_void,
    info: *mut A::Handle,
    desc: *mut c_char,
    desc_len: *mut c_int,
    bind: *mut c_int,
) -> c_int {
    let answer = with_tool::<A>(|_| {
        let kind = at(KINDS, event_index)?;
        // SAFETY: this function's own conditions, here and below.
        unsafe {
            give_text(kind.name, name, name_len);
            give_text(kind.text, desc, desc_len);
            give(verbosity, self::verbosity::<A>(true));
            give(bind, self::bind::<A>());
            give(enumtype, kind.elements.handle());
        }
        if num_elements.is_null() {
            return Ok(());
        }
        // SAFETY: as above.
        let room = usize::try_from(unsafe { *num_elements }).unwrap_or(0);
        for (place, (code, displacement)) in ELEMENTS.iter().take(room).enumerate() {
            // SAFETY: the arrays are null or have so many elements, says the caller.
            unsafe {
                if !array_of_datatypes.is_null() {
                    *array_of_datatypes.add(place) = self::datatype::<A>(*code);
                }
                if !array_of_displacements.is_null() {
                    *array_of_displacements.add(place) = *displacement;
                }
            }
        }
        // SAFETY: as above.
        unsafe { *num_elements = ELEMENTS.len() as c_int };
        Ok(())
    });
    if answer == 0 {
        // SAFETY: as above.
        unsafe { give_info::<A>(info, names_of(event_index)) };
    }
    answer
}

/// Names of the calls that the first element of some events tells by number.
fn names_of(event_index: c_int) -> InfoData {
    let mut names = InfoData::default();
    if event_index >= event::COLLECTIVE_START as c_int {
        let all = event::CALLS.iter().enumerate();
        all.for_each(|(number, name)| names.set(&number.to_string(), name));
    }
    names
}

pub unsafe fn MPI_T_event_get_index<A: Abi>(name: *const c_char, event_index: *mut c_int) -> c_int {
    with_tool::<A>(|_| {
        let is_called = |name: &str| KINDS.iter().position(|kind| kind.name == name);
        // SAFETY: this function's own conditions.
        unsafe { find(name, event_index, is_called) }
    })
}

pub unsafe fn MPI_T_event_handle_alloc<A: Abi>(
    event_index: c_int,
    _obj_handle: *mut c_void,
    _info: A::Handle,
    event_registration: *mut *mut c_void,
) -> c_int {
    with_tool::<A>(|tool| {
        at(KINDS, event_index)?;
        let number = tool.number();
        let new = Registration { kind: event_index as usize, ..Registration::default() };
        tool.registrations.insert(number, new);
        // SAFETY: writable, says the caller.
        unsafe { give(event_registration, tool::handle(number)) };
        Ok(())
    })
}

fn registration(tool: &mut Tool, handle: *mut c_void) -> Answer<&mut Registration> {
    tool.registrations.get_mut(&handle.addr()).ok_or(code::INVALID_HANDLE)
}

fn safety<A: Abi>(level: c_int) -> Answer<c_int> {
    match A::constant_in(Family::ToolSafety, level) {
        known if known >= 0 => Ok(known),
        _ => Err(code::INVALID),
    }
}

pub unsafe fn MPI_T_event_register_callback<A: Abi>(
    event_registration: *mut c_void,
    cb_safety: c_int,
    _info: A::Handle,
    user_data: *mut c_void,
    event_cb_function: *const c_void,
) -> c_int {
    let answer = with_tool::<A>(|tool| {
        let level = safety::<A>(cb_safety)?;
        let one = registration(tool, event_registration)?;
        match event_cb_function.is_null() {
            true => one.callbacks.remove(&level),
            false => one.callbacks.insert(
                level,
                Callback {
                    function: event_cb_function.expose_provenance(),
                    user_data: user_data.expose_provenance(),
                },
            ),
        };
        Ok(())
    });
    if answer == 0 {
        event::note_listeners();
    }
    answer
}

pub unsafe fn MPI_T_event_set_dropped_handler<A: Abi>(
    event_registration: *mut c_void,
    dropped_cb_function: *const c_void,
) -> c_int {
    with_tool::<A>(|tool| {
        let one = registration(tool, event_registration)?;
        one.dropped_handler = dropped_cb_function.expose_provenance();
        Ok(())
    })
}

pub unsafe fn MPI_T_event_handle_free<A: Abi>(
    event_registration: *mut c_void,
    user_data: *mut c_void,
    free_cb_function: *const c_void,
) -> c_int {
    let answer = with_tool::<A>(|tool| {
        let removed = tool.registrations.remove(&event_registration.addr());
        removed.map(|_| ()).ok_or(code::INVALID_HANDLE)
    });
    if answer == 0 {
        event::note_listeners();
        // SAFETY: this function's own conditions.
        unsafe { event::tell_freed(event_registration.addr(), free_cb_function, user_data) };
    }
    answer
}

/// The four calls about hints of which none are known.
unsafe fn hints<A: Abi>(
    event_registration: *mut c_void,
    level: Option<c_int>,
    info_used: *mut A::Handle,
) -> c_int {
    let answer = with_tool::<A>(|tool| {
        level.map_or(Ok(0), safety::<A>)?;
        registration(tool, event_registration).map(|_| ())
    });
    if answer == 0 {
        // SAFETY: this function's own conditions.
        unsafe { give_info::<A>(info_used, InfoData::default()) };
    }
    answer
}

pub unsafe fn MPI_T_event_handle_set_info<A: Abi>(
    event_registration: *mut c_void,
    _info: A::Handle,
) -> c_int {
    // SAFETY: nothing is written.
    unsafe { hints::<A>(event_registration, None, std::ptr::null_mut()) }
}

pub unsafe fn MPI_T_event_handle_get_info<A: Abi>(
    event_registration: *mut c_void,
    info_used: *mut A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { hints::<A>(event_registration, None, info_used) }
}

pub unsafe fn MPI_T_event_callback_set_info<A: Abi>(
    event_registration: *mut c_void,
    cb_safety: c_int,
    _info: A::Handle,
) -> c_int {
    // SAFETY: nothing is written.
    unsafe { hints::<A>(event_registration, Some(cb_safety), std::ptr::null_mut()) }
}

pub unsafe fn MPI_T_event_callback_get_info<A: Abi>(
    event_registration: *mut c_void,
    cb_safety: c_int,
    info_used: *mut A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { hints::<A>(event_registration, Some(cb_safety), info_used) }
}

/// Around the calls about the event that a callback is told of.
fn on_instance<A: Abi>(instance: *mut c_void, body: impl FnOnce(&Instance) -> Answer) -> c_int {
    with_tool::<A>(|_| body(&event::current(instance).ok_or(code::INVALID_HANDLE)?))
}

pub unsafe fn MPI_T_event_read<A: Abi>(
    event_instance: *mut c_void,
    element_index: c_int,
    buffer: *mut c_void,
) -> c_int {
    on_instance::<A>(event_instance, |instance| {
        let index = usize::try_from(element_index).map_err(|_| code::INVALID_INDEX)?;
        let bytes = instance.element(index).ok_or(code::INVALID_INDEX)?;
        if buffer.is_null() {
            return Err(code::INVALID);
        }
        // SAFETY: the buffer holds one element, says the caller.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast(), bytes.len()) };
        Ok(())
    })
}

pub unsafe fn MPI_T_event_copy<A: Abi>(event_instance: *mut c_void, buffer: *mut c_void) -> c_int {
    on_instance::<A>(event_instance, |instance| {
        if buffer.is_null() {
            return Err(code::INVALID);
        }
        for (index, (_, displacement)) in ELEMENTS.iter().enumerate() {
            let bytes = instance.element(index).unwrap_or_default();
            let place = buffer.cast::<u8>().wrapping_offset(*displacement);
            // SAFETY: the buffer holds all elements at their displacements, says the caller.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        }
        Ok(())
    })
}

pub unsafe fn MPI_T_event_get_timestamp<A: Abi>(
    event_instance: *mut c_void,
    event_timestamp: *mut i64,
) -> c_int {
    on_instance::<A>(event_instance, |instance| {
        // SAFETY: writable, says the caller.
        unsafe { give(event_timestamp, instance.time) };
        Ok(())
    })
}

pub unsafe fn MPI_T_event_get_source<A: Abi>(
    event_instance: *mut c_void,
    source_index: *mut c_int,
) -> c_int {
    on_instance::<A>(event_instance, |_| {
        // SAFETY: writable, says the caller.
        unsafe { give(source_index, 0) };
        Ok(())
    })
}

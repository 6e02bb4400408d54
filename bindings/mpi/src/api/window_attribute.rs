// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attributes of windows, and those that describe the window itself (MPI-5.0 sections 7.7.3 and
//! 12.2.6).

use crate::abi::{Abi, Family, HandleKind};
use crate::api::arguments::out;
use crate::api::attribute::{
    create_keyval, delete_attribute, free_keyval, get_attribute, set_attribute,
};
use crate::entry::{on_process, on_win};
use crate::object::window::Win;
use std::ffi::{c_int, c_void};

const KIND: HandleKind = HandleKind::Win;

/// The value of a predefined attribute; `None` if the keyval is not one.
fn predefined<A: Abi>(win: &Win, code: c_int) -> Option<*const c_void> {
    let facts = &*win.facts;
    let value = match A::constant_in(Family::Keyval, code) {
        601 => win.base.cast_const(),
        602 => (&raw const facts.unit).cast(),
        603 => (&raw const facts.bytes).cast(),
        604 => (&raw const facts.flavor).cast(),
        605 => (&raw const facts.model).cast(),
        _ => return None,
    };
    Some(value)
}

pub unsafe fn MPI_Win_create_keyval<A: Abi>(
    win_copy_attr_fn: *const c_void,
    win_delete_attr_fn: *const c_void,
    win_keyval: *mut c_int,
    extra_state: *mut c_void,
) -> c_int {
    on_process::<A>("MPI_Win_create_keyval", |entry| {
        let functions = (win_copy_attr_fn, win_delete_attr_fn);
        // SAFETY: this function's own conditions.
        unsafe { create_keyval::<A>(entry, KIND, functions, win_keyval, extra_state) }
    })
}

pub unsafe fn MPI_Win_free_keyval<A: Abi>(win_keyval: *mut c_int) -> c_int {
    on_process::<A>("MPI_Win_free_keyval", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { free_keyval::<A>(entry, KIND, win_keyval) }
    })
}

pub unsafe fn MPI_Win_set_attr<A: Abi>(
    win: A::Handle,
    win_keyval: c_int,
    attribute_val: *mut c_void,
) -> c_int {
    on_win::<A>("MPI_Win_set_attr", win, |entry, win| {
        let which = (KIND, win.code.get());
        set_attribute::<A>(entry, which, &win.attributes, win_keyval, attribute_val)
    })
}

pub unsafe fn MPI_Win_get_attr<A: Abi>(
    win: A::Handle,
    win_keyval: c_int,
    attribute_val: *mut c_void,
    flag: *mut c_int,
) -> c_int {
    on_win::<A>("MPI_Win_get_attr", win, |entry, win| {
        if let Some(value) = predefined::<A>(win, win_keyval) {
            let place = out(attribute_val.cast::<*const c_void>(), "attribute_val")?;
            // SAFETY: checked not to be null; writable, says the caller.
            unsafe {
                *place = value;
                *out(flag, "flag")? = 1;
            }
            return Ok(());
        }
        let table = &win.attributes;
        // SAFETY: this function's own conditions.
        unsafe { get_attribute(entry, KIND, table, win_keyval, attribute_val, flag) }
    })
}

pub unsafe fn MPI_Win_delete_attr<A: Abi>(win: A::Handle, win_keyval: c_int) -> c_int {
    on_win::<A>("MPI_Win_delete_attr", win, |entry, win| {
        let which = (KIND, win.code.get());
        delete_attribute::<A>(entry, which, &win.attributes, win_keyval)
    })
}

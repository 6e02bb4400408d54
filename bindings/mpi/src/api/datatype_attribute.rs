// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attributes of datatypes (MPI-5.0 section 7.7.4).

use crate::abi::{Abi, HandleKind};
use crate::api::attribute::{
    create_keyval, delete_attribute, free_keyval, get_attribute, set_attribute,
};
use crate::api::datatype_query::object_of;
use crate::entry::on_process;
use std::ffi::{c_int, c_void};

const KIND: HandleKind = HandleKind::Datatype;

pub unsafe fn MPI_Type_create_keyval<A: Abi>(
    type_copy_attr_fn: *const c_void,
    type_delete_attr_fn: *const c_void,
    type_keyval: *mut c_int,
    extra_state: *mut c_void,
) -> c_int {
    on_process::<A>("MPI_Type_create_keyval", |entry| {
        let functions = (type_copy_attr_fn, type_delete_attr_fn);
        // SAFETY: this function's own conditions.
        unsafe { create_keyval::<A>(entry, KIND, functions, type_keyval, extra_state) }
    })
}

pub unsafe fn MPI_Type_free_keyval<A: Abi>(type_keyval: *mut c_int) -> c_int {
    on_process::<A>("MPI_Type_free_keyval", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { free_keyval::<A>(entry, KIND, type_keyval) }
    })
}

pub unsafe fn MPI_Type_set_attr<A: Abi>(
    datatype: A::Handle,
    type_keyval: c_int,
    attribute_val: *mut c_void,
) -> c_int {
    on_process::<A>("MPI_Type_set_attr", |entry| {
        let object = object_of::<A>(entry, datatype)?;
        let which = (KIND, object.code.get());
        set_attribute::<A>(entry, which, &object.attributes, type_keyval, attribute_val)
    })
}

pub unsafe fn MPI_Type_get_attr<A: Abi>(
    datatype: A::Handle,
    type_keyval: c_int,
    attribute_val: *mut c_void,
    flag: *mut c_int,
) -> c_int {
    on_process::<A>("MPI_Type_get_attr", |entry| {
        let object = object_of::<A>(entry, datatype)?;
        let table = &object.attributes;
        // SAFETY: this function's own conditions.
        unsafe { get_attribute(entry, KIND, table, type_keyval, attribute_val, flag) }
    })
}

pub unsafe fn MPI_Type_delete_attr<A: Abi>(datatype: A::Handle, type_keyval: c_int) -> c_int {
    on_process::<A>("MPI_Type_delete_attr", |entry| {
        let object = object_of::<A>(entry, datatype)?;
        let which = (KIND, object.code.get());
        delete_attribute::<A>(entry, which, &object.attributes, type_keyval)
    })
}

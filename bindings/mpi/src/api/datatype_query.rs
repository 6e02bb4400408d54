// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a datatype is: sizes, bounds, names, how it was made (MPI-5.0 sections 5.1.5 to 5.1.13,
//! 7.8, 19.1.5).

use crate::abi::{Abi, Code, CountOut, Family, HandleKind};
use crate::api::arguments::{UNDEFINED, any_type, out, put_string, string};
use crate::api::communicator::MAX_OBJECT_NAME;
use crate::api::datatype::handle_of;
use crate::datatype::{
    Class, Combiner, Contents, DEFAULT_LENGTH, Type, absent_name, is_absent, match_size,
    value_index,
};
use crate::entry::{Entry, on_process};
use crate::error::{Result, class, error};
use crate::object::datatype::{DATATYPE_NULL, DatatypeObject, DatatypeRef};
use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int};
use std::rc::Rc;
use std::sync::Arc;

/// What hangs on a datatype's handle; predefined types get it when it is first needed.
pub(crate) fn object_of<A: Abi>(entry: &mut Entry, datatype: A::Handle) -> Result<DatatypeRef> {
    let ty = any_type::<A>(entry, datatype)?;
    let code = A::handle_in(HandleKind::Datatype, datatype);
    if let Some(object) = entry.datatypes.get(code) {
        return Ok(object.clone());
    }
    let object = entry.predefined_datatypes.entry(code).or_insert_with(|| {
        Rc::new(DatatypeObject {
            code: Cell::new(code),
            name: RefCell::new(ty.default_name().to_string()),
            ty,
            committed: Cell::new(true),
            attributes: RefCell::default(),
        })
    });
    Ok(object.clone())
}

/// Writes one or two facts of a type; of one that does not exist here all are undefined.
unsafe fn facts<A: Abi, const N: usize>(
    name: &'static str,
    datatype: A::Handle,
    places: [CountOut; N],
    facts: impl FnOnce(&Type) -> [i64; N],
) -> c_int {
    on_process::<A>(name, |entry| {
        if places.iter().any(CountOut::is_null) {
            return error(class::ARG, "an argument for a result is NULL");
        }
        let facts = match A::handle_in(HandleKind::Datatype, datatype) {
            code if is_absent(code) => [UNDEFINED.into(); N],
            _ => facts(&*any_type::<A>(entry, datatype)?),
        };
        for (place, fact) in places.iter().zip(facts) {
            // SAFETY: checked not to be null; writable, says the caller.
            unsafe { place.set(fact) };
        }
        Ok(())
    })
}

pub unsafe fn MPI_Type_size<A: Abi>(datatype: A::Handle, size: CountOut) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { facts::<A, 1>("MPI_Type_size", datatype, [size], |ty| [ty.size()]) }
}

pub unsafe fn MPI_Type_size_x<A: Abi>(datatype: A::Handle, size: *mut i64) -> c_int {
    let places = [CountOut::Long(size)];
    // SAFETY: the caller's promise.
    unsafe { facts::<A, 1>("MPI_Type_size_x", datatype, places, |ty| [ty.size()]) }
}

pub unsafe fn MPI_Type_get_extent<A: Abi>(
    datatype: A::Handle,
    lb: CountOut,
    extent: CountOut,
) -> c_int {
    let bounds = |ty: &Type| [ty.lb(), ty.extent()];
    // SAFETY: the caller's promise.
    unsafe { facts::<A, 2>("MPI_Type_get_extent", datatype, [lb, extent], bounds) }
}

pub unsafe fn MPI_Type_get_extent_x<A: Abi>(
    datatype: A::Handle,
    lb: *mut i64,
    extent: *mut i64,
) -> c_int {
    let places = [CountOut::Long(lb), CountOut::Long(extent)];
    let bounds = |ty: &Type| [ty.lb(), ty.extent()];
    // SAFETY: the caller's promise.
    unsafe { facts::<A, 2>("MPI_Type_get_extent_x", datatype, places, bounds) }
}

pub unsafe fn MPI_Type_get_true_extent<A: Abi>(
    datatype: A::Handle,
    true_lb: CountOut,
    true_extent: CountOut,
) -> c_int {
    let places = [true_lb, true_extent];
    let bounds = |ty: &Type| [ty.true_lb(), ty.true_extent()];
    // SAFETY: the caller's promise.
    unsafe { facts::<A, 2>("MPI_Type_get_true_extent", datatype, places, bounds) }
}

pub unsafe fn MPI_Type_get_true_extent_x<A: Abi>(
    datatype: A::Handle,
    true_lb: *mut i64,
    true_extent: *mut i64,
) -> c_int {
    let places = [CountOut::Long(true_lb), CountOut::Long(true_extent)];
    let bounds = |ty: &Type| [ty.true_lb(), ty.true_extent()];
    // SAFETY: the caller's promise.
    unsafe { facts::<A, 2>("MPI_Type_get_true_extent_x", datatype, places, bounds) }
}

pub unsafe fn MPI_Type_get_envelope<A: Abi>(
    datatype: A::Handle,
    num_integers: *mut c_int,
    num_addresses: *mut c_int,
    num_datatypes: *mut c_int,
    combiner: *mut c_int,
) -> c_int {
    on_process::<A>("MPI_Type_get_envelope", |entry| {
        let ty = any_type::<A>(entry, datatype)?;
        let contents = ty.contents();
        without_large_counts(contents)?;
        let lengths = [contents.integers.len(), contents.addresses.len(), contents.types.len()];
        let places = [num_integers, num_addresses, num_datatypes];
        for (place, length) in places.into_iter().zip(lengths) {
            // SAFETY: checked not to be null; writable, says the caller.
            unsafe { CountOut::Int(out(place, "num_integers")?).set(length as i64) };
        }
        // SAFETY: as above.
        unsafe { put_combiner::<A>(&ty, combiner) }
    })
}

pub unsafe fn MPI_Type_get_envelope_c<A: Abi>(
    datatype: A::Handle,
    num_integers: *mut i64,
    num_addresses: *mut i64,
    num_large_counts: *mut i64,
    num_datatypes: *mut i64,
    combiner: *mut c_int,
) -> c_int {
    on_process::<A>("MPI_Type_get_envelope_c", |entry| {
        let ty = any_type::<A>(entry, datatype)?;
        let Contents { integers, addresses, counts, types } = ty.contents();
        let lengths = [integers.len(), addresses.len(), counts.len(), types.len()];
        let places = [num_integers, num_addresses, num_large_counts, num_datatypes];
        for (place, length) in places.into_iter().zip(lengths) {
            // SAFETY: checked not to be null; writable, says the caller.
            unsafe { *out(place, "num_integers")? = length as i64 };
        }
        // SAFETY: as above.
        unsafe { put_combiner::<A>(&ty, combiner) }
    })
}

unsafe fn put_combiner<A: Abi>(ty: &Type, combiner: *mut c_int) -> Result {
    let code = A::constant_out(Family::Combiner, ty.combiner() as c_int);
    // SAFETY: checked not to be null; writable, says the caller.
    unsafe { *out(combiner, "combiner")? = code };
    Ok(())
}

fn without_large_counts(contents: &Contents) -> Result {
    if contents.counts.is_empty() {
        return Ok(());
    }
    error(class::TYPE, "the datatype was made by a _c function, so its contents are large counts")
}

/// The integers of a type's contents as the caller's ABI names orders and distributions.
fn integers_out<A: Abi>(ty: &Type) -> Vec<c_int> {
    let contents = ty.contents();
    let mut integers = contents.integers.clone();
    let last = integers.len().wrapping_sub(1);
    match ty.combiner() {
        Combiner::Subarray => integers[last] = A::constant_out(Family::Order, integers[last]),
        Combiner::Darray => {
            integers[last] = A::constant_out(Family::Order, integers[last]);
            let dimensions = integers[2] as usize;
            let first = if contents.counts.is_empty() { 3 + dimensions } else { 3 };
            for i in first..first + dimensions {
                integers[i] = A::constant_out(Family::Distribution, integers[i]);
                let length = &mut integers[i + dimensions];
                if *length == DEFAULT_LENGTH {
                    *length = A::constant_out(Family::Special, 19);
                }
            }
        }
        _ => {}
    }
    integers
}

/// Copies `values` to the caller's array, which has `max` elements.
unsafe fn put<T: Copy, U: From<T>>(values: &[T], max: i64, array: *mut U) -> Result {
    let needed = values.len();
    if (needed as i64) > max || needed > 0 && array.is_null() {
        let text = format!("an array for contents has {max} elements, but {needed} are needed");
        return error(class::ARG, text);
    }
    for (i, &value) in values.iter().enumerate() {
        // SAFETY: `i` is below the number of elements that the caller says it has.
        unsafe { *array.add(i) = value.into() };
    }
    Ok(())
}

/// What both forms of MPI_Type_get_contents do: integers, addresses, types.
unsafe fn put_contents<A: Abi>(
    entry: &mut Entry,
    ty: &Arc<Type>,
    (max_integers, integers): (i64, *mut c_int),
    (max_addresses, addresses): (i64, *mut i64),
    (max_types, types): (i64, *mut A::Handle),
) -> Result {
    if ty.combiner() == Combiner::Named {
        return error(class::TYPE, format!("{ty:?} is predefined and has no contents"));
    }
    let contents = ty.contents();
    // SAFETY: the arrays are as long as the caller says; new handles only once all else is done.
    unsafe {
        put(&integers_out::<A>(ty), max_integers, integers)?;
        put(&contents.addresses, max_addresses, addresses)?;
        if max_types < contents.types.len() as i64 {
            return error(class::ARG, "the array of datatypes is too short for the contents");
        }
        let children = contents.types.iter().map(|child| handle_of::<A>(entry, child));
        put(&children.collect::<Result<Vec<A::Handle>>>()?, max_types, types)
    }
}

pub unsafe fn MPI_Type_get_contents<A: Abi>(
    datatype: A::Handle,
    max_integers: c_int,
    max_addresses: c_int,
    max_datatypes: c_int,
    array_of_integers: *mut c_int,
    array_of_addresses: *mut isize,
    array_of_datatypes: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Type_get_contents", |entry| {
        let ty = any_type::<A>(entry, datatype)?;
        without_large_counts(ty.contents())?;
        // SAFETY: this function's own conditions.
        unsafe {
            put_contents::<A>(
                entry,
                &ty,
                (max_integers.into(), array_of_integers),
                (max_addresses.into(), array_of_addresses.cast()),
                (max_datatypes.into(), array_of_datatypes),
            )
        }
    })
}

pub unsafe fn MPI_Type_get_contents_c<A: Abi>(
    datatype: A::Handle,
    max_integers: i64,
    max_addresses: i64,
    max_large_counts: i64,
    max_datatypes: i64,
    array_of_integers: *mut c_int,
    array_of_addresses: *mut isize,
    array_of_large_counts: *mut i64,
    array_of_datatypes: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Type_get_contents_c", |entry| {
        let ty = any_type::<A>(entry, datatype)?;
        // SAFETY: this function's own conditions.
        unsafe {
            put(&ty.contents().counts, max_large_counts, array_of_large_counts)?;
            put_contents::<A>(
                entry,
                &ty,
                (max_integers, array_of_integers),
                (max_addresses, array_of_addresses.cast()),
                (max_datatypes, array_of_datatypes),
            )
        }
    })
}

pub unsafe fn MPI_Type_set_name<A: Abi>(datatype: A::Handle, type_name: *const c_char) -> c_int {
    on_process::<A>("MPI_Type_set_name", |entry| {
        // SAFETY: a C string, says the caller.
        let name = unsafe { string(type_name)? };
        *object_of::<A>(entry, datatype)?.name.borrow_mut() = name;
        Ok(())
    })
}

/// The name of any datatype, also of the null handle and of types that do not exist here.
fn name_of<A: Abi>(entry: &Entry, datatype: A::Handle) -> Result<String> {
    let code: Code = A::handle_in(HandleKind::Datatype, datatype);
    if code == DATATYPE_NULL {
        return Ok("MPI_DATATYPE_NULL".to_string());
    }
    if let Some(name) = absent_name(code) {
        return Ok(name.to_string());
    }
    let ty = any_type::<A>(entry, datatype)?;
    let object = entry.datatypes.get(code).or(entry.predefined_datatypes.get(&code));
    Ok(match object {
        Some(object) => object.name.borrow().clone(),
        None => ty.default_name().to_string(),
    })
}

pub unsafe fn MPI_Type_get_name<A: Abi>(
    datatype: A::Handle,
    type_name: *mut c_char,
    resultlen: *mut c_int,
) -> c_int {
    on_process::<A>("MPI_Type_get_name", |entry| {
        let name = name_of::<A>(entry, datatype)?;
        // SAFETY: the array has MPI_MAX_OBJECT_NAME bytes, says the caller.
        unsafe {
            *out(resultlen, "resultlen")? =
                put_string(&name, out(type_name, "type_name")?, MAX_OBJECT_NAME);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Type_match_size<A: Abi>(
    typeclass: c_int,
    size: c_int,
    datatype: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Type_match_size", |_| {
        let Some(class) = Class::from_code(A::constant_in(Family::Typeclass, typeclass)) else {
            return error(class::ARG, format!("{typeclass} is no class of types"));
        };
        let Some(code) = match_size(class, size.into()) else {
            return error(class::ARG, format!("there is no {class:?} type of {size} bytes"));
        };
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(datatype, "datatype")? = A::handle_out(HandleKind::Datatype, code) };
        Ok(())
    })
}

pub unsafe fn MPI_Type_get_value_index<A: Abi>(
    value_type: A::Handle,
    index_type: A::Handle,
    pair_type: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Type_get_value_index", |entry| {
        let value = any_type::<A>(entry, value_type)?.code();
        let index = any_type::<A>(entry, index_type)?.code();
        let pair = value.zip(index).and_then(|(value, index)| value_index(value, index));
        let pair = A::handle_out(HandleKind::Datatype, pair.unwrap_or(DATATYPE_NULL));
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(pair_type, "pair_type")? = pair };
        Ok(())
    })
}

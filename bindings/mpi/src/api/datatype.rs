// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Constructors of datatypes, commit, free, dup (MPI-5.0 sections 5.1.2 to 5.1.10 and 19.1.5).
//!
//! A constructor makes a `Type` of checked arguments and gives it a handle. The twins that take
//! only scalars are two functions around one body: the type must know which of them made it.

use crate::abi::{Abi, Code, Counts, Family, HandleKind};
use crate::api::arguments::{UNDEFINED, any_type, handle, out};
use crate::api::attribute::{copy_all, delete_all};
use crate::datatype::{Combiner, DEFAULT_LENGTH, Distribution, Fault, Form, Order, Type};
use crate::entry::{Entry, on_process};
use crate::error::{Result, class, error};
use crate::object::datatype::{DATATYPE_NULL, DatatypeObject, DatatypeRef};
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::Arc;

type Made = std::result::Result<Arc<Type>, Fault>;

/// A fault of a constructor as an error of MPI.
fn checked(made: Made) -> Result<Arc<Type>> {
    made.or_else(|fault| {
        let class = match fault {
            Fault::Count => class::COUNT,
            Fault::Argument => class::ARG,
            Fault::Type => class::TYPE,
            Fault::Overflow => class::VALUE_TOO_LARGE,
        };
        error(class, format!("the datatype cannot be made: {fault}"))
    })
}

/// Gives a type a handle of its own.
pub(crate) fn new_handle<A: Abi>(entry: &mut Entry, ty: Arc<Type>) -> Result<DatatypeRef> {
    let object = Rc::new(DatatypeObject {
        code: Cell::new(DATATYPE_NULL),
        committed: Cell::new(is_permanent(&ty)),
        ty,
        name: RefCell::new(String::new()),
        attributes: RefCell::default(),
    });
    let code = entry.datatypes.insert(object.clone());
    handle::<A>(HandleKind::Datatype, code)?;
    object.code.set(code.unwrap_or(DATATYPE_NULL));
    Ok(object)
}

/// Types of MPI_Type_create_f90_*: as good as predefined, but without names.
fn is_permanent(ty: &Type) -> bool {
    matches!(ty.combiner(), Combiner::F90Real | Combiner::F90Complex | Combiner::F90Integer)
}

/// The handle by which a user may know a type: the constant's, that of the equal permanent type, or
/// a new one.
pub(crate) fn handle_of<A: Abi>(entry: &mut Entry, ty: &Arc<Type>) -> Result<A::Handle> {
    if let Some(code) = ty.code() {
        return Ok(A::handle_out(HandleKind::Datatype, code));
    }
    if is_permanent(ty)
        && let Some((code, _)) = entry.datatypes.iter().find(|(_, known)| *known.ty == **ty)
    {
        return Ok(A::handle_out(HandleKind::Datatype, code));
    }
    let object = new_handle::<A>(entry, ty.clone())?;
    Ok(A::handle_out(HandleKind::Datatype, object.code.get()))
}

/// Around a constructor: its result becomes a handle.
unsafe fn construct<A: Abi>(
    name: &'static str,
    newtype: *mut A::Handle,
    make: impl FnOnce(&Entry) -> Result<Made>,
) -> c_int {
    on_process::<A>(name, |entry| {
        let newtype = out(newtype, "newtype")?;
        let ty = checked(make(entry)?)?;
        let handle = handle_of::<A>(entry, &ty)?;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *newtype = handle };
        Ok(())
    })
}

fn form_of(counts: &Counts) -> Form {
    match counts {
        Counts::Int(_) => Form::Int,
        Counts::Long(_) => Form::Large,
    }
}

/// An array argument of `count` elements.
unsafe fn list(counts: &Counts, count: i64, name: &str) -> Result<Vec<i64>> {
    // SAFETY: checked not to be null; it has so many elements, says the caller.
    unsafe { Ok(counts.to_vec(length(counts.is_null(), count, name)?)) }
}

/// The same for an array of `int` in both twins.
unsafe fn integers(array: *const c_int, count: i64, name: &str) -> Result<Vec<c_int>> {
    // SAFETY: checked not to be null; it has so many elements, says the caller.
    unsafe {
        let length = length(array.is_null(), count, name)?;
        Ok((0..length).map(|i| *array.add(i)).collect())
    }
}

fn length(is_null: bool, count: i64, name: &str) -> Result<usize> {
    if count < 0 {
        return error(class::COUNT, format!("the count is {count}; it must not be negative"));
    }
    if is_null && count > 0 {
        return error(class::ARG, format!("the argument {name} is NULL"));
    }
    Ok(count as usize)
}

pub unsafe fn MPI_Type_contiguous<A: Abi>(
    count: c_int,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        Ok(Type::contiguous(Form::Int, count.into(), &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_contiguous", newtype, make) }
}

pub unsafe fn MPI_Type_contiguous_c<A: Abi>(
    count: i64,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        Ok(Type::contiguous(Form::Large, count, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_contiguous_c", newtype, make) }
}

pub unsafe fn MPI_Type_vector<A: Abi>(
    count: c_int,
    blocklength: c_int,
    stride: c_int,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        Ok(Type::vector(Form::Int, count.into(), blocklength.into(), stride.into(), &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_vector", newtype, make) }
}

pub unsafe fn MPI_Type_vector_c<A: Abi>(
    count: i64,
    blocklength: i64,
    stride: i64,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        Ok(Type::vector(Form::Large, count, blocklength, stride, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_vector_c", newtype, make) }
}

pub unsafe fn MPI_Type_create_hvector<A: Abi>(
    count: c_int,
    blocklength: c_int,
    stride: isize,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        Ok(Type::hvector(Form::Int, count.into(), blocklength.into(), stride as i64, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_hvector", newtype, make) }
}

pub unsafe fn MPI_Type_create_hvector_c<A: Abi>(
    count: i64,
    blocklength: i64,
    stride: i64,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        Ok(Type::hvector(Form::Large, count, blocklength, stride, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_hvector_c", newtype, make) }
}

pub unsafe fn MPI_Type_create_hindexed_block<A: Abi>(
    count: c_int,
    blocklength: c_int,
    array_of_displacements: *const isize,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let at = Counts::Long(array_of_displacements.cast());
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        // SAFETY: the array has `count` elements, says the caller.
        let at = unsafe { list(&at, count.into(), "array_of_displacements")? };
        Ok(Type::hindexed_block(Form::Int, blocklength.into(), &at, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_hindexed_block", newtype, make) }
}

pub unsafe fn MPI_Type_create_hindexed_block_c<A: Abi>(
    count: i64,
    blocklength: i64,
    array_of_displacements: *const i64,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let at = Counts::Long(array_of_displacements);
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        // SAFETY: the array has `count` elements, says the caller.
        let at = unsafe { list(&at, count, "array_of_displacements")? };
        Ok(Type::hindexed_block(Form::Large, blocklength, &at, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_hindexed_block_c", newtype, make) }
}

pub unsafe fn MPI_Type_create_resized<A: Abi>(
    oldtype: A::Handle,
    lb: isize,
    extent: isize,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        Ok(Type::resized(Form::Int, lb as i64, extent as i64, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_resized", newtype, make) }
}

pub unsafe fn MPI_Type_create_resized_c<A: Abi>(
    oldtype: A::Handle,
    lb: i64,
    extent: i64,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        Ok(Type::resized(Form::Large, lb, extent, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_resized_c", newtype, make) }
}

pub unsafe fn MPI_Type_indexed<A: Abi>(
    count: i64,
    array_of_blocklengths: Counts,
    array_of_displacements: Counts,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        let form = form_of(&array_of_blocklengths);
        // SAFETY: the arrays have `count` elements, says the caller.
        let (lengths, at) = unsafe {
            (
                list(&array_of_blocklengths, count, "array_of_blocklengths")?,
                list(&array_of_displacements, count, "array_of_displacements")?,
            )
        };
        Ok(Type::indexed(form, &lengths, &at, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_indexed", newtype, make) }
}

pub unsafe fn MPI_Type_create_hindexed<A: Abi>(
    count: i64,
    array_of_blocklengths: Counts,
    array_of_displacements: Counts,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        let form = form_of(&array_of_blocklengths);
        // SAFETY: the arrays have `count` elements, says the caller.
        let (lengths, at) = unsafe {
            (
                list(&array_of_blocklengths, count, "array_of_blocklengths")?,
                list(&array_of_displacements, count, "array_of_displacements")?,
            )
        };
        Ok(Type::hindexed(form, &lengths, &at, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_hindexed", newtype, make) }
}

pub unsafe fn MPI_Type_create_indexed_block<A: Abi>(
    count: i64,
    blocklength: i64,
    array_of_displacements: Counts,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        let form = form_of(&array_of_displacements);
        // SAFETY: the array has `count` elements, says the caller.
        let at = unsafe { list(&array_of_displacements, count, "array_of_displacements")? };
        Ok(Type::indexed_block(form, blocklength, &at, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_indexed_block", newtype, make) }
}

pub unsafe fn MPI_Type_create_struct<A: Abi>(
    count: i64,
    array_of_blocklengths: Counts,
    array_of_displacements: Counts,
    array_of_types: *const A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let form = form_of(&array_of_blocklengths);
        let fields = length(array_of_types.is_null(), count, "array_of_types")?;
        let mut types = Vec::with_capacity(fields);
        for i in 0..fields {
            // SAFETY: the array has `count` elements, says the caller.
            types.push(any_type::<A>(entry, unsafe { *array_of_types.add(i) })?);
        }
        // SAFETY: as above.
        let (lengths, at) = unsafe {
            (
                list(&array_of_blocklengths, count, "array_of_blocklengths")?,
                list(&array_of_displacements, count, "array_of_displacements")?,
            )
        };
        Ok(Type::structure(form, &lengths, &at, &types))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_struct", newtype, make) }
}

fn order_of<A: Abi>(order: c_int) -> Result<Order> {
    match Order::from_code(A::constant_in(Family::Order, order)) {
        Some(order) => Ok(order),
        None => error(class::ARG, format!("{order} is no order of an array")),
    }
}

/// The number of dimensions of an array.
fn dimensions(ndims: c_int) -> Result<i64> {
    if ndims < 1 {
        return error(class::ARG, format!("the array has {ndims} dimensions; it must have some"));
    }
    Ok(ndims.into())
}

pub unsafe fn MPI_Type_create_subarray<A: Abi>(
    ndims: c_int,
    array_of_sizes: Counts,
    array_of_subsizes: Counts,
    array_of_starts: Counts,
    order: c_int,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        let count = dimensions(ndims)?;
        let form = form_of(&array_of_sizes);
        // SAFETY: the arrays have `ndims` elements, says the caller.
        let (sizes, subsizes, starts) = unsafe {
            (
                list(&array_of_sizes, count, "array_of_sizes")?,
                list(&array_of_subsizes, count, "array_of_subsizes")?,
                list(&array_of_starts, count, "array_of_starts")?,
            )
        };
        Ok(Type::subarray(form, &sizes, &subsizes, &starts, order_of::<A>(order)?, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_subarray", newtype, make) }
}

/// Distribution and length of a dimension as the caller names them.
fn distribution<A: Abi>(distribution: c_int, length: c_int) -> Result<(Distribution, c_int)> {
    let default = A::constant_out(Family::Special, 19);
    let length = if length == default { DEFAULT_LENGTH } else { length };
    match Distribution::from_code(A::constant_in(Family::Distribution, distribution)) {
        Some(known) => Ok((known, length)),
        None => error(class::ARG, format!("{distribution} is no distribution of an array")),
    }
}

pub unsafe fn MPI_Type_create_darray<A: Abi>(
    size: c_int,
    rank: c_int,
    ndims: c_int,
    array_of_gsizes: Counts,
    array_of_distribs: *const c_int,
    array_of_dargs: *const c_int,
    array_of_psizes: *const c_int,
    order: c_int,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |entry: &Entry| {
        let child = any_type::<A>(entry, oldtype)?;
        let count = dimensions(ndims)?;
        let form = form_of(&array_of_gsizes);
        // SAFETY: the arrays have `ndims` elements, says the caller.
        let (sizes, kinds, lengths, places) = unsafe {
            (
                list(&array_of_gsizes, count, "array_of_gsizes")?,
                integers(array_of_distribs, count, "array_of_distribs")?,
                integers(array_of_dargs, count, "array_of_dargs")?,
                integers(array_of_psizes, count, "array_of_psizes")?,
            )
        };
        let dealt = kinds.iter().zip(&lengths);
        let dealt = dealt.map(|(&kind, &length)| distribution::<A>(kind, length));
        let dealt = dealt.collect::<Result<Vec<_>>>()?;
        let order = order_of::<A>(order)?;
        Ok(Type::darray(form, (size, rank), &sizes, &dealt, &places, order, &child))
    };
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_darray", newtype, make) }
}

fn defined(value: c_int) -> Option<c_int> {
    (value != UNDEFINED).then_some(value)
}

pub unsafe fn MPI_Type_create_f90_real<A: Abi>(
    p: c_int,
    r: c_int,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |_: &Entry| Ok(Type::f90_real(defined(p), defined(r)));
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_f90_real", newtype, make) }
}

pub unsafe fn MPI_Type_create_f90_complex<A: Abi>(
    p: c_int,
    r: c_int,
    newtype: *mut A::Handle,
) -> c_int {
    let make = |_: &Entry| Ok(Type::f90_complex(defined(p), defined(r)));
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_f90_complex", newtype, make) }
}

pub unsafe fn MPI_Type_create_f90_integer<A: Abi>(r: c_int, newtype: *mut A::Handle) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { construct::<A>("MPI_Type_create_f90_integer", newtype, |_| Ok(Type::f90_integer(r))) }
}

/// Code of a datatype argument behind a pointer.
unsafe fn code_at<A: Abi>(datatype: *mut A::Handle) -> Result<Code> {
    // SAFETY: checked not to be null; readable, says the caller.
    Ok(A::handle_in(HandleKind::Datatype, unsafe { *out(datatype, "datatype")? }))
}

pub unsafe fn MPI_Type_commit<A: Abi>(datatype: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Type_commit", |entry| {
        // SAFETY: this function's own conditions.
        let code = unsafe { code_at::<A>(datatype)? };
        any_type::<A>(entry, A::handle_out(HandleKind::Datatype, code))?.commit();
        if let Some(object) = entry.datatypes.get(code) {
            object.committed.set(true);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Type_free<A: Abi>(datatype: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Type_free", |entry| {
        // SAFETY: this function's own conditions.
        let code = unsafe { code_at::<A>(datatype)? };
        let ty = any_type::<A>(entry, A::handle_out(HandleKind::Datatype, code))?;
        let Some(object) = entry.datatypes.get(code).cloned().filter(|_| !is_permanent(&ty)) else {
            return error(class::TYPE, format!("{ty:?} is predefined and cannot be freed"));
        };
        delete_all::<A>(entry, HandleKind::Datatype, code, &object.attributes)?;
        entry.datatypes.remove(code);
        // SAFETY: writable, says the caller.
        unsafe { *datatype = A::handle_out(HandleKind::Datatype, DATATYPE_NULL) };
        Ok(())
    })
}

pub unsafe fn MPI_Type_dup<A: Abi>(oldtype: A::Handle, newtype: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Type_dup", |entry| {
        let newtype = out(newtype, "newtype")?;
        let ty = any_type::<A>(entry, oldtype)?;
        let new = new_handle::<A>(entry, Type::dup(&ty))?;
        let code = A::handle_in(HandleKind::Datatype, oldtype);
        new.committed.set(true);
        let predefined = entry.predefined_datatypes.get(&code);
        if let Some(old) = entry.datatypes.get(code).or(predefined).cloned() {
            new.committed.set(old.committed.get());
            let kind = HandleKind::Datatype;
            if let Err(error) = copy_all::<A>(entry, kind, code, &old.attributes, &new.attributes) {
                entry.datatypes.remove(new.code.get());
                return Err(error);
            }
        }
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *newtype = A::handle_out(HandleKind::Datatype, new.code.get()) };
        Ok(())
    })
}

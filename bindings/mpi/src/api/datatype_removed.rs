// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names of datatype functions that MPI 3 removed; only the MPICH ABI still has them.

use crate::abi::{Abi, CountOut, Counts};
use crate::api::arguments::{any_type, out};
use crate::api::datatype::{
    MPI_Type_create_hindexed, MPI_Type_create_hvector, MPI_Type_create_struct,
};
use crate::datatype::Type;
use crate::entry::on_process;
use std::ffi::c_int;

unsafe fn bound<A: Abi>(
    name: &'static str,
    datatype: A::Handle,
    place: *mut isize,
    bound: impl FnOnce(&Type) -> i64,
) -> c_int {
    on_process::<A>(name, |entry| {
        let ty = any_type::<A>(entry, datatype)?;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { CountOut::Long(out(place, "displacement")?.cast()).set(bound(&ty)) };
        Ok(())
    })
}

pub unsafe fn MPI_Type_extent<A: Abi>(datatype: A::Handle, extent: *mut isize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { bound::<A>("MPI_Type_extent", datatype, extent, Type::extent) }
}

pub unsafe fn MPI_Type_lb<A: Abi>(datatype: A::Handle, displacement: *mut isize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { bound::<A>("MPI_Type_lb", datatype, displacement, Type::lb) }
}

pub unsafe fn MPI_Type_ub<A: Abi>(datatype: A::Handle, displacement: *mut isize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { bound::<A>("MPI_Type_ub", datatype, displacement, Type::ub) }
}

pub unsafe fn MPI_Type_hvector<A: Abi>(
    count: c_int,
    blocklength: c_int,
    stride: isize,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { MPI_Type_create_hvector::<A>(count, blocklength, stride, oldtype, newtype) }
}

pub unsafe fn MPI_Type_hindexed<A: Abi>(
    count: c_int,
    array_of_blocklengths: *mut c_int,
    array_of_displacements: *mut isize,
    oldtype: A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let lengths = Counts::Int(array_of_blocklengths);
    let at = Counts::Long(array_of_displacements.cast());
    // SAFETY: the caller's promise.
    unsafe { MPI_Type_create_hindexed::<A>(count.into(), lengths, at, oldtype, newtype) }
}

pub unsafe fn MPI_Type_struct<A: Abi>(
    count: c_int,
    array_of_blocklengths: *mut c_int,
    array_of_displacements: *mut isize,
    array_of_types: *mut A::Handle,
    newtype: *mut A::Handle,
) -> c_int {
    let lengths = Counts::Int(array_of_blocklengths);
    let at = Counts::Long(array_of_displacements.cast());
    // SAFETY: the caller's promise.
    unsafe { MPI_Type_create_struct::<A>(count.into(), lengths, at, array_of_types, newtype) }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packing into the user's buffers, and what a status says in elements (MPI-5.0 sections 3.2.5,
//! 5.1.11, 5.2, 5.3 and 13.3).
//!
//! A packed buffer is the packed bytes alone, as they travel in messages: no header, so that
//! MPI_PACKED matches every type.

use crate::abi::{Abi, CountOut};
use crate::api::arguments::{UNDEFINED, any_type, committed_type, out, payload, string};
use crate::datatype::Type;
use crate::entry::{Entry, on_comm, on_process};
use crate::error::{Result, class, error};
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// Checks that `bytes` fit between `position` and the end of a buffer.
unsafe fn room(position: &CountOut, bytes: i64, size: i64) -> Result<i64> {
    if position.is_null() {
        return error(class::ARG, "the argument position is NULL");
    }
    // SAFETY: checked not to be null; readable, says the caller.
    let from = unsafe { position.get() };
    if from < 0 || from > size {
        let text = format!("the position is {from}, which is not in a buffer of {size} bytes");
        return error(class::ARG, text);
    }
    if bytes > size - from {
        let left = size - from;
        let text = format!("{bytes} bytes do not fit: the buffer has {left} from position {from}");
        return error(class::TRUNCATE, text);
    }
    Ok(from)
}

/// `count` times so many bytes.
fn total(count: i64, each: i64) -> Result<i64> {
    if count < 0 {
        return error(class::COUNT, format!("the count is {count}; it must not be negative"));
    }
    match count.checked_mul(each) {
        Some(bytes) => Ok(bytes),
        None => error(class::VALUE_TOO_LARGE, "the packed size does not fit in 64 bits"),
    }
}

/// `bytes` bytes of the user's packed buffer from `from` on, to be written.
unsafe fn area<'a>(buffer: *mut c_void, from: i64, bytes: i64) -> Result<&'a mut [u8]> {
    if bytes == 0 {
        return Ok(&mut []);
    }
    let start = out(buffer.cast::<u8>(), "packed buffer")?.wrapping_add(from as usize);
    // SAFETY: `room` found the range within the buffer that the caller promises.
    Ok(unsafe { std::slice::from_raw_parts_mut(start, bytes as usize) })
}

/// The same, to be read.
unsafe fn read_area<'a>(buffer: *const c_void, from: i64, bytes: i64) -> Result<&'a [u8]> {
    if bytes == 0 {
        return Ok(&[]);
    }
    let start = out(buffer.cast::<u8>().cast_mut(), "packed buffer")?.wrapping_add(from as usize);
    // SAFETY: `room` found the range within the buffer that the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(start, bytes as usize) })
}

pub unsafe fn MPI_Pack<A: Abi>(
    inbuf: *const c_void,
    incount: i64,
    datatype: A::Handle,
    outbuf: *mut c_void,
    outsize: i64,
    position: CountOut,
    comm: A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Pack", comm, |entry, _| {
        let source = payload::<A>(entry, inbuf, incount, datatype)?;
        let bytes = source.bytes() as i64;
        // SAFETY: both buffers are as the arguments say, says the caller.
        unsafe {
            let from = room(&position, bytes, outsize)?;
            source.pack(0, area(outbuf, from, bytes)?);
            position.set(from + bytes);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Unpack<A: Abi>(
    inbuf: *const c_void,
    insize: i64,
    position: CountOut,
    outbuf: *mut c_void,
    outcount: i64,
    datatype: A::Handle,
    comm: A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Unpack", comm, |entry, _| {
        let target = payload::<A>(entry, outbuf, outcount, datatype)?;
        let bytes = target.bytes() as i64;
        // SAFETY: both buffers are as the arguments say, says the caller.
        unsafe {
            let from = room(&position, bytes, insize)?;
            target.unpack(0, read_area(inbuf, from, bytes)?);
            position.set(from + bytes);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Pack_size<A: Abi>(
    incount: i64,
    datatype: A::Handle,
    comm: A::Handle,
    size: CountOut,
) -> c_int {
    on_comm::<A>("MPI_Pack_size", comm, |entry, _| {
        let bytes = total(incount, any_type::<A>(entry, datatype)?.size())?;
        // SAFETY: this function's own conditions.
        unsafe { put(&size, bytes) }
    })
}

unsafe fn put(place: &CountOut, value: i64) -> Result {
    if place.is_null() {
        return error(class::ARG, "an argument for a result is NULL");
    }
    // SAFETY: checked not to be null; writable, says the caller.
    unsafe { place.set(value) };
    Ok(())
}

/// Refuses representations other than the one that the standard names.
unsafe fn check_representation(datarep: *const c_char) -> Result {
    // SAFETY: a C string, says the caller.
    match unsafe { string(datarep)? }.as_str() {
        "external32" => Ok(()),
        other => error(class::ARG, format!("the data representation {other} is not known")),
    }
}

/// A committed type and the bytes of `count` elements in "external32".
fn external<A: Abi>(
    entry: &Entry,
    buffer: *const c_void,
    count: i64,
    datatype: A::Handle,
) -> Result<(Arc<Type>, i64)> {
    payload::<A>(entry, buffer, count, datatype)?;
    let ty = committed_type::<A>(entry, datatype)?.clone();
    let bytes = total(count, ty.external_size())?;
    Ok((ty, bytes))
}

pub unsafe fn MPI_Pack_external<A: Abi>(
    datarep: *const c_char,
    inbuf: *const c_void,
    incount: i64,
    datatype: A::Handle,
    outbuf: *mut c_void,
    outsize: i64,
    position: CountOut,
) -> c_int {
    on_process::<A>("MPI_Pack_external", |entry| {
        let (ty, bytes) = external::<A>(entry, inbuf, incount, datatype)?;
        // SAFETY: both buffers are as the arguments say, says the caller.
        unsafe {
            check_representation(datarep)?;
            let from = room(&position, bytes, outsize)?;
            ty.pack_external(inbuf.cast(), incount, area(outbuf, from, bytes)?);
            position.set(from + bytes);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Unpack_external<A: Abi>(
    datarep: *const c_char,
    inbuf: *const c_void,
    insize: i64,
    position: CountOut,
    outbuf: *mut c_void,
    outcount: i64,
    datatype: A::Handle,
) -> c_int {
    on_process::<A>("MPI_Unpack_external", |entry| {
        let (ty, bytes) = external::<A>(entry, outbuf, outcount, datatype)?;
        // SAFETY: both buffers are as the arguments say, says the caller.
        unsafe {
            check_representation(datarep)?;
            let from = room(&position, bytes, insize)?;
            ty.unpack_external(outbuf.cast(), outcount, read_area(inbuf, from, bytes)?);
            position.set(from + bytes);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Pack_external_size<A: Abi>(
    datarep: *const c_char,
    incount: i64,
    datatype: A::Handle,
    size: CountOut,
) -> c_int {
    on_process::<A>("MPI_Pack_external_size", |entry| {
        let bytes = total(incount, any_type::<A>(entry, datatype)?.external_size())?;
        // SAFETY: this function's own conditions.
        unsafe {
            check_representation(datarep)?;
            put(&size, bytes)
        }
    })
}

/// What a status says of its bytes: a count, or undefined.
unsafe fn counted<A: Abi>(
    name: &'static str,
    status: *const A::Status,
    datatype: A::Handle,
    place: CountOut,
    count: impl FnOnce(&Type, i64) -> Option<i64>,
) -> c_int {
    on_process::<A>(name, |entry| {
        if status.is_null() || A::is_status_ignore(status) {
            return error(class::ARG, "the status is NULL or MPI_STATUS_IGNORE");
        }
        let ty = any_type::<A>(entry, datatype)?;
        // SAFETY: not the ignore value, so the caller says that it is a status.
        let bytes = unsafe { A::status_read(status) }.bytes;
        let found = i64::try_from(bytes).ok().and_then(|bytes| count(&ty, bytes));
        // SAFETY: this function's own conditions.
        unsafe { put(&place, found.unwrap_or(UNDEFINED.into())) }
    })
}

pub unsafe fn MPI_Get_count<A: Abi>(
    status: *const A::Status,
    datatype: A::Handle,
    count: CountOut,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { counted::<A>("MPI_Get_count", status, datatype, count, Type::count_of) }
}

pub unsafe fn MPI_Get_elements<A: Abi>(
    status: *const A::Status,
    datatype: A::Handle,
    count: CountOut,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { counted::<A>("MPI_Get_elements", status, datatype, count, Type::elements_of) }
}

pub unsafe fn MPI_Get_elements_x<A: Abi>(
    status: *const A::Status,
    datatype: A::Handle,
    count: *mut i64,
) -> c_int {
    let place = CountOut::Long(count);
    // SAFETY: the caller's promise.
    unsafe { counted::<A>("MPI_Get_elements_x", status, datatype, place, Type::elements_of) }
}

unsafe fn set_elements<A: Abi>(
    name: &'static str,
    status: *mut A::Status,
    datatype: A::Handle,
    count: i64,
) -> c_int {
    on_process::<A>(name, |entry| {
        if status.is_null() || A::is_status_ignore(status) {
            return error(class::ARG, "the status is NULL or MPI_STATUS_IGNORE");
        }
        if count < 0 {
            return error(class::COUNT, format!("the count is {count}; it must not be negative"));
        }
        let ty = any_type::<A>(entry, datatype)?;
        let Some(bytes) = ty.bytes_of_elements(count) else {
            return error(class::ARG, format!("{count} elements of this type are no byte count"));
        };
        // SAFETY: not the ignore value, so the caller says that it is a status of its own.
        unsafe {
            let mut value = A::status_read(status);
            value.bytes = bytes as u64;
            A::status_write(status, &value);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Status_set_elements<A: Abi>(
    status: *mut A::Status,
    datatype: A::Handle,
    count: i64,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { set_elements::<A>("MPI_Status_set_elements", status, datatype, count) }
}

pub unsafe fn MPI_Status_set_elements_x<A: Abi>(
    status: *mut A::Status,
    datatype: A::Handle,
    count: i64,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { set_elements::<A>("MPI_Status_set_elements_x", status, datatype, count) }
}

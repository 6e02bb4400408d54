// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The MPI_Abi family: which ABI this is, and which Fortran compiler it was made for
//! (MPI-5.0 sections 20.1 to 20.4).
//!
//! There is no Fortran library of ours yet. What is answered about Fortran are the sizes and
//! logical values of gfortran and LLVM's flang without options; another claim is refused.

use crate::abi::{Abi, HandleKind};
use crate::api::arguments::{handle, out};
use crate::api::info::info_argument;
use crate::entry::{Entry, any_time, on_process};
use crate::error::{Result, class, error};
use crate::object::info::InfoData;
use std::ffi::{c_int, c_void};

/// Fortran's basic types and their bytes.
const FORTRAN_SIZES: [(&str, &str); 4] = [
    ("mpi_logical_size", "4"),
    ("mpi_integer_size", "4"),
    ("mpi_real_size", "4"),
    ("mpi_double_precision_size", "8"),
];

/// Optional types of Fortran: the key's middle, and the canonical code of the datatype.
const FORTRAN_OPTIONAL: [(&str, u32); 19] = [
    ("logical1", 0x2c0),
    ("logical2", 0x2c8),
    ("logical4", 0x2d0),
    ("logical8", 0x2d8),
    ("logical16", 0x2e0),
    ("integer1", 0x2c1),
    ("integer2", 0x2c9),
    ("integer4", 0x2d1),
    ("integer8", 0x2d9),
    ("integer16", 0x2e1),
    ("real2", 0x2ca),
    ("real4", 0x2d2),
    ("real8", 0x2da),
    ("real16", 0x2e2),
    ("complex4", 0x2d3),
    ("complex8", 0x2db),
    ("complex16", 0x2e3),
    ("complex32", 0x2eb),
    ("double_complex", 0x21d),
];

pub unsafe fn MPI_Abi_get_version<A: Abi>(abi_major: *mut c_int, abi_minor: *mut c_int) -> c_int {
    any_time::<A>("MPI_Abi_get_version", |_| {
        // SAFETY: writable, says the caller.
        unsafe {
            *out(abi_major, "abi_major")? = A::ABI_VERSION.0;
            *out(abi_minor, "abi_minor")? = A::ABI_VERSION.1;
        }
        Ok(())
    })
}

/// Hands a new info object to the caller.
fn give<A: Abi>(entry: &mut Entry, info: *mut A::Handle, data: InfoData) -> Result {
    let place = out(info, "info")?;
    let code = entry.infos.insert(data);
    // SAFETY: writable, says the caller.
    unsafe { *place = handle::<A>(HandleKind::Info, code)? };
    Ok(())
}

pub unsafe fn MPI_Abi_get_info<A: Abi>(info: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Abi_get_info", |entry| {
        let mut data = InfoData::default();
        data.set("mpi_aint_size", &size_of::<isize>().to_string());
        data.set("mpi_count_size", &size_of::<i64>().to_string());
        data.set("mpi_offset_size", &size_of::<i64>().to_string());
        give::<A>(entry, info, data)
    })
}

fn fortran_info() -> InfoData {
    let mut data = InfoData::default();
    for (key, size) in FORTRAN_SIZES {
        data.set(key, size);
    }
    for (name, code) in FORTRAN_OPTIONAL {
        let known = crate::datatype::predefined(code).is_some_and(|ty| ty.size() > 0);
        data.set(&format!("mpi_{name}_supported"), if known { "true" } else { "false" });
    }
    data
}

pub unsafe fn MPI_Abi_get_fortran_info<A: Abi>(info: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Abi_get_fortran_info", |entry| give::<A>(entry, info, fortran_info()))
}

pub unsafe fn MPI_Abi_set_fortran_info<A: Abi>(info: A::Handle) -> c_int {
    on_process::<A>("MPI_Abi_set_fortran_info", |entry| {
        let Some(claimed) = info_argument::<A>(entry, info)? else { return Ok(()) };
        let known = fortran_info();
        match claimed.iter().find(|(key, value)| known.get(key).is_some_and(|k| k != *value)) {
            None => Ok(()),
            Some((key, value)) => {
                error(class::ABI, format!("{key} cannot become {value}: it is fixed already"))
            }
        }
    })
}

/// Writes or compares a logical value of `size` bytes: the number 1 or 0.
fn logical(size: c_int, value: u8) -> Result<Vec<u8>> {
    match size {
        1 | 2 | 4 | 8 | 16 => {
            let mut bytes = u128::from(value).to_ne_bytes().to_vec();
            if cfg!(target_endian = "big") {
                bytes.reverse();
            }
            bytes.truncate(size as usize);
            Ok(bytes)
        }
        _ => error(class::ARG, format!("no LOGICAL has {size} bytes")),
    }
}

pub unsafe fn MPI_Abi_get_fortran_booleans<A: Abi>(
    logical_size: c_int,
    logical_true: *mut c_void,
    logical_false: *mut c_void,
    is_set: *mut c_int,
) -> c_int {
    any_time::<A>("MPI_Abi_get_fortran_booleans", |_| {
        for (place, value) in [(logical_true, 1), (logical_false, 0)] {
            let bytes = logical(logical_size, value)?;
            let place = out(place.cast::<u8>(), "logical_true or logical_false")?;
            // SAFETY: `logical_size` bytes are writable, says the caller.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        }
        // SAFETY: writable, says the caller.
        unsafe { *out(is_set, "is_set")? = 1 };
        Ok(())
    })
}

pub unsafe fn MPI_Abi_set_fortran_booleans<A: Abi>(
    logical_size: c_int,
    logical_true: *mut c_void,
    logical_false: *mut c_void,
) -> c_int {
    any_time::<A>("MPI_Abi_set_fortran_booleans", |_| {
        for (place, value) in [(logical_true, 1), (logical_false, 0)] {
            let bytes = logical(logical_size, value)?;
            let place = out(place.cast::<u8>(), "logical_true or logical_false")?;
            // SAFETY: `logical_size` bytes are readable, says the caller.
            let claimed = unsafe { std::slice::from_raw_parts(place, bytes.len()) };
            if claimed != bytes {
                return error(class::ABI, "the logical values are fixed already: 1 and 0");
            }
        }
        Ok(())
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Data representations (MPI-5.0 section 14.5): what a type is in a file, and the conversions, ours
//! and users'. Users' functions run without the lock.

use crate::abi::{Abi, HandleKind};
use crate::api::arguments::string;
use crate::api::file_access::Memory;
use crate::datatype::Type;
use crate::entry::{Entry, on_default_file};
use crate::error::{Result, class, error, make};
use crate::object::file_transfer::Direction;
use crate::object::file_view::{Representation, UserRepresentation};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;
use std::sync::Arc;

/// The representation of a name.
pub(super) fn representation(entry: &Entry, name: &str) -> Result<Representation> {
    Ok(match name {
        "native" => Representation::Native,
        "internal" => Representation::Internal,
        "external32" => Representation::External32,
        _ => match entry.representations.iter().find(|user| user.name == name) {
            Some(user) => Representation::User(user.clone()),
            None => {
                let text = format!("there is no data representation {name:?}");
                return error(class::UNSUPPORTED_DATAREP, text);
            }
        },
    })
}

/// What a user's function says of a predefined type's extent in the file.
fn user_extent<A: Abi>(entry: &mut Entry, user: &UserRepresentation, ty: &Type) -> Result<i64> {
    type Function<H> = unsafe extern "C" fn(H, *mut isize, *mut c_void) -> c_int;
    // SAFETY: the user passed a function of this type to MPI_Register_datarep.
    let function =
        unsafe { std::mem::transmute::<*const c_void, Function<A::Handle>>(user.extent) };
    let handle = A::handle_out(HandleKind::Datatype, ty.code().expect("a predefined type"));
    let (mut extent, extra) = (0, user.extra_state);
    // SAFETY: the pointer is to a live local; the lock is not held.
    let code = entry.outside(|| unsafe { function(handle, &mut extent, extra) });
    match code {
        0 if extent > 0 => Ok(extent as i64),
        0 => {
            let text = format!("{:?} has the extent {extent} of {ty:?}", user.name);
            error(class::CONVERSION, text)
        }
        _ => {
            let text = format!("the extent function of {:?} failed for {ty:?}", user.name);
            error(A::error_in(code), text)
        }
    }
}

/// The type that a datatype is in a file.
pub(super) fn type_in_file<A: Abi>(
    entry: &mut Entry,
    representation: &Representation,
    ty: &Arc<Type>,
) -> Result<Arc<Type>> {
    let mut extents = BTreeMap::new();
    for leaf in ty.leaves() {
        let extent = match representation {
            Representation::Native | Representation::Internal => return Ok(ty.clone()),
            Representation::External32 => leaf.external_size(),
            Representation::User(user) => user_extent::<A>(entry, user, &leaf)?,
        };
        extents.extend(leaf.code().map(|code| (code, extent)));
    }
    ty.in_file(&extents).map_err(|fault| {
        let name = representation.name();
        make(class::TYPE, format!("the datatype cannot be in a file of {name:?}: {fault}"))
    })
}

/// Bytes of one element of a datatype in a file.
pub(super) fn bytes_in_file<A: Abi>(
    entry: &mut Entry,
    representation: &Representation,
    ty: &Arc<Type>,
) -> Result<i64> {
    match representation {
        Representation::Native | Representation::Internal => Ok(ty.size()),
        Representation::External32 => Ok(ty.external_size()),
        Representation::User(_) => Ok(type_in_file::<A>(entry, representation, ty)?.size()),
    }
}

/// Converts a user's buffer to the bytes of the file, or those that were read to it; how many bytes
/// of memory it was.
///
/// # Safety
/// The user's buffer is as MPI says.
pub(super) unsafe fn convert<A: Abi>(
    entry: &mut Entry,
    representation: &Representation,
    (ty, memory): (&Arc<Type>, Memory<A>),
    direction: Direction,
    bytes: &mut [u8],
) -> Result<i64> {
    let (base, count) = (memory.0.cast::<u8>(), memory.1);
    match representation {
        // SAFETY: the caller's promise; `bytes` are the elements', or their beginning.
        Representation::External32 => unsafe {
            if direction == Direction::Write {
                ty.pack_external(base, count, bytes);
            } else {
                ty.unpack_external(base.cast_mut(), count, bytes);
            }
            Ok(ty.bytes_of_external(bytes.len() as i64))
        },
        // SAFETY: the caller's promise.
        Representation::User(user) => unsafe {
            convert_by_user::<A>(entry, user, (ty, memory), direction, bytes)
        },
        Representation::Native | Representation::Internal => unreachable!("nothing to convert"),
    }
}

/// # Safety
/// As above.
unsafe fn convert_by_user<A: Abi>(
    entry: &mut Entry,
    user: &Rc<UserRepresentation>,
    (ty, (base, count, handle)): (&Arc<Type>, Memory<A>),
    direction: Direction,
    bytes: &mut [u8],
) -> Result<i64> {
    let representation = Representation::User(user.clone());
    let each = bytes_in_file::<A>(entry, &representation, ty)?;
    let count = if each == 0 { 0 } else { count.min(bytes.len() as i64 / each) };
    let function = if direction == Direction::Read { user.read } else { user.write };
    if function.is_null() {
        if each != ty.size() {
            let text = format!("{:?} has other sizes than memory but no conversion", user.name);
            return error(class::CONVERSION, text);
        }
        let payload = ty.payload(base.cast_mut().cast(), count);
        // SAFETY: the caller's promise.
        unsafe {
            match direction {
                Direction::Read => payload.unpack(0, &bytes[..payload.bytes()]),
                Direction::Write => payload.pack(0, bytes),
            }
        }
        return Ok(count * ty.size());
    }
    type Large<H> =
        unsafe extern "C" fn(*mut c_void, H, i64, *mut c_void, i64, *mut c_void) -> c_int;
    type Small<H> =
        unsafe extern "C" fn(*mut c_void, H, c_int, *mut c_void, i64, *mut c_void) -> c_int;
    let (buffer, file, extra) = (base.cast_mut(), bytes.as_mut_ptr().cast(), user.extra_state);
    let code = if count == 0 {
        0
    } else if user.large {
        // SAFETY: the user passed a function of this type to MPI_Register_datarep_c.
        let f = unsafe { std::mem::transmute::<*const c_void, Large<A::Handle>>(function) };
        // SAFETY: both buffers have `count` elements; the lock is not held.
        entry.outside(|| unsafe { f(buffer, handle, count, file, 0, extra) })
    } else {
        let Ok(count) = c_int::try_from(count) else {
            return error(class::COUNT, "the conversion takes no count of more than 31 bits");
        };
        // SAFETY: the user passed a function of this type to MPI_Register_datarep.
        let f = unsafe { std::mem::transmute::<*const c_void, Small<A::Handle>>(function) };
        // SAFETY: as above.
        entry.outside(|| unsafe { f(buffer, handle, count, file, 0, extra) })
    };
    match code {
        0 => Ok(count * ty.size()),
        _ => error(A::error_in(code), format!("a conversion of {:?} failed", user.name)),
    }
}

/// The body of the two functions below.
///
/// # Safety
/// The name is NULL or a C string.
unsafe fn register<A: Abi>(
    name: &'static str,
    datarep: *const c_char,
    (read, write, extent): (*const c_void, *const c_void, *const c_void),
    extra_state: *mut c_void,
    large: bool,
) -> c_int {
    on_default_file::<A>(name, |entry| {
        // SAFETY: the caller's promise.
        let name = unsafe { string(datarep) }?;
        if name.is_empty() || name.len() >= A::LIMITS.datarep {
            let text = format!("a name of {} bytes cannot be one of a representation", name.len());
            return error(class::ARG, text);
        }
        if extent.is_null() {
            return error(class::ARG, "the extent function is NULL");
        }
        if representation(entry, &name).is_ok() {
            let text = format!("there is a data representation {name:?} already");
            return error(class::DUP_DATAREP, text);
        }
        let user = UserRepresentation { name, read, write, extent, extra_state, large };
        entry.representations.push(Rc::new(user));
        Ok(())
    })
}

pub unsafe fn MPI_Register_datarep<A: Abi>(
    datarep: *const c_char,
    read_conversion_fn: *const c_void,
    write_conversion_fn: *const c_void,
    dtype_file_extent_fn: *const c_void,
    extra_state: *mut c_void,
) -> c_int {
    let functions = (read_conversion_fn, write_conversion_fn, dtype_file_extent_fn);
    // SAFETY: this function's own conditions.
    unsafe { register::<A>("MPI_Register_datarep", datarep, functions, extra_state, false) }
}

pub unsafe fn MPI_Register_datarep_c<A: Abi>(
    datarep: *const c_char,
    read_conversion_fn: *const c_void,
    write_conversion_fn: *const c_void,
    dtype_file_extent_fn: *const c_void,
    extra_state: *mut c_void,
) -> c_int {
    let functions = (read_conversion_fn, write_conversion_fn, dtype_file_extent_fn);
    // SAFETY: this function's own conditions.
    unsafe { register::<A>("MPI_Register_datarep_c", datarep, functions, extra_state, true) }
}

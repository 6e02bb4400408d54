// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attributes: keyvals with procedures of Fortran, and values that are integers (MPI-5.0 sections
//! 7.7 and 19.3.7).
//!
//! C keeps a pointer's width for each attribute, and an INTEGER(KIND=MPI_ADDRESS_KIND) is as wide:
//! the value is kept as it is. So what C stored, Fortran reads as an address; what Fortran stored,
//! C reads as the value itself and not as a pointer to it, which docs/fortran.md says.
#![allow(clippy::missing_safety_doc, reason = "Fortran's interfaces say what may be passed")]

use std::ffi::{c_int, c_void};
use std::ptr::{null_mut, without_provenance_mut};

use crate::exports::Handle;
use crate::handle::{handle, integer};
use crate::own::level;

/// The first and last keyval that every communicator has: their values are INTEGERs.
const COMM_FIRST: c_int = 501;
const COMM_LAST: c_int = 507;
/// MPI_WIN_BASE, whose value is an address, and the others of a window.
const WIN_SIZE: c_int = 603;
const WIN_NUMBERS: [c_int; 3] = [602, 604, 605];

type Copy<V> =
    unsafe extern "C" fn(*mut c_int, *mut c_int, *mut V, *mut V, *mut V, *mut c_int, *mut c_int);
type Delete<V> = unsafe extern "C" fn(*mut c_int, *mut c_int, *mut V, *mut V, *mut c_int);

/// What the values of a keyval are: addresses, or INTEGERs as in MPI-1.
trait Value: std::marker::Copy {
    fn of_pointer(pointer: *mut c_void) -> Self;
    fn to_pointer(self) -> *mut c_void;
}

impl Value for isize {
    fn of_pointer(pointer: *mut c_void) -> isize {
        pointer.addr() as isize
    }

    fn to_pointer(self) -> *mut c_void {
        without_provenance_mut(self as usize)
    }
}

impl Value for c_int {
    fn of_pointer(pointer: *mut c_void) -> c_int {
        pointer.addr() as c_int
    }

    fn to_pointer(self) -> *mut c_void {
        without_provenance_mut(self as isize as usize)
    }
}

/// What a keyval carries as C's extra state. It lives as long as the process: when the last
/// attribute of a freed keyval goes, nobody says so.
struct Keyval<V> {
    copy: Copy<V>,
    delete: Delete<V>,
    extra: V,
}

unsafe extern "C" fn copy<V: Value>(
    object: Handle,
    keyval: c_int,
    extra: *mut c_void,
    value: *mut c_void,
    made: *mut c_void,
    flag: *mut c_int,
) -> c_int {
    // SAFETY: the extra state is what `keep` made.
    let known = unsafe { &*extra.cast::<Keyval<V>>() };
    let (mut object, mut keyval, mut extra) = (integer(object), keyval, known.extra);
    let (mut value, mut copied) = (V::of_pointer(value), V::of_pointer(value));
    let (mut is_copied, mut ierror) = (0, 0);
    // SAFETY: the user's procedure has this interface; C's places are writable.
    unsafe {
        (known.copy)(
            &raw mut object,
            &raw mut keyval,
            &raw mut extra,
            &raw mut value,
            &raw mut copied,
            &raw mut is_copied,
            &raw mut ierror,
        );
        *flag = c_int::from(is_copied != 0);
        if is_copied != 0 {
            *made.cast::<*mut c_void>() = copied.to_pointer();
        }
    }
    ierror
}

unsafe extern "C" fn delete<V: Value>(
    object: Handle,
    keyval: c_int,
    value: *mut c_void,
    extra: *mut c_void,
) -> c_int {
    // SAFETY: the extra state is what `keep` made.
    let known = unsafe { &*extra.cast::<Keyval<V>>() };
    let (mut object, mut keyval, mut extra) = (integer(object), keyval, known.extra);
    let (mut value, mut ierror) = (V::of_pointer(value), 0);
    // SAFETY: the user's procedure has this interface.
    unsafe {
        (known.delete)(
            &raw mut object,
            &raw mut keyval,
            &raw mut value,
            &raw mut extra,
            &raw mut ierror,
        );
    }
    ierror
}

/// The extra state of a keyval.
unsafe fn keep<V: Value>(
    copy: *const c_void,
    delete: *const c_void,
    extra: *mut V,
) -> *mut Keyval<V> {
    // SAFETY: procedures with the interfaces of a keyval's, by the interface.
    let copy = unsafe { std::mem::transmute::<*const c_void, Copy<V>>(copy) };
    // SAFETY: the same.
    let delete = unsafe { std::mem::transmute::<*const c_void, Delete<V>>(delete) };
    // SAFETY: the interface.
    let extra = unsafe { *extra };
    Box::into_raw(Box::new(Keyval { copy, delete, extra }))
}

/// The routines that make keyvals.
macro_rules! keyvals {
    ($($routine:ident $plain:ident $profiling:ident $value:ty;)*) => {$(
        pub unsafe fn $routine<const PLAIN: bool>(
            copy_fn: *const c_void,
            delete_fn: *const c_void,
            keyval: *mut c_int,
            extra_state: *mut $value,
        ) -> c_int {
            // SAFETY: the interface; what was kept is freed if C does not know of it.
            unsafe {
                let known = keep::<$value>(copy_fn, delete_fn, extra_state);
                let (copy, delete) = (copy::<$value> as *const (), delete::<$value> as *const ());
                let result = level!(
                    $plain | $profiling(copy.cast(), delete.cast(), keyval, known.cast())
                );
                if result != 0 {
                    drop(Box::from_raw(known));
                }
                result
            }
        }
    )*};
}

keyvals! {
    mpi_comm_create_keyval MPI_Comm_create_keyval PMPI_Comm_create_keyval isize;
    mpi_type_create_keyval MPI_Type_create_keyval PMPI_Type_create_keyval isize;
    mpi_win_create_keyval MPI_Win_create_keyval PMPI_Win_create_keyval isize;
    mpi_keyval_create MPI_Keyval_create PMPI_Keyval_create c_int;
}

/// The value of an attribute: what C keeps, or what that points to, where C says so.
unsafe fn value<V: Value>(keyval: c_int, kept: *mut c_void) -> V {
    let is_number = (COMM_FIRST..=COMM_LAST).contains(&keyval) || WIN_NUMBERS.contains(&keyval);
    let number = match keyval {
        // SAFETY: C keeps the address of an int there.
        _ if is_number => unsafe { *kept.cast::<c_int>() as isize },
        // SAFETY: and here of an MPI_Aint.
        WIN_SIZE => unsafe { *kept.cast::<isize>() },
        _ => return V::of_pointer(kept),
    };
    V::of_pointer(number.to_pointer())
}

/// The routines that read and set attributes.
macro_rules! attributes {
    ($($get:ident $plain_get:ident $profiling_get:ident
       $set:ident $plain_set:ident $profiling_set:ident $value:ty;)*) => {$(
        pub unsafe fn $get<const PLAIN: bool>(
            object: *mut c_int,
            keyval: *mut c_int,
            attribute_val: *mut $value,
            flag: *mut c_int,
        ) -> c_int {
            let mut kept: *mut c_void = null_mut();
            // SAFETY: the interface; the place is ours.
            unsafe {
                let (object, place) = (handle(*object), (&raw mut kept).cast());
                let result = level!($plain_get | $profiling_get(object, *keyval, place, flag));
                if result == 0 && *flag != 0 {
                    *attribute_val = value::<$value>(*keyval, kept);
                }
                result
            }
        }

        pub unsafe fn $set<const PLAIN: bool>(
            object: *mut c_int,
            keyval: *mut c_int,
            attribute_val: *mut $value,
        ) -> c_int {
            // SAFETY: the interface.
            unsafe {
                let value = (*attribute_val).to_pointer();
                level!($plain_set | $profiling_set(handle(*object), *keyval, value))
            }
        }
    )*};
}

attributes! {
    mpi_comm_get_attr MPI_Comm_get_attr PMPI_Comm_get_attr
        mpi_comm_set_attr MPI_Comm_set_attr PMPI_Comm_set_attr isize;
    mpi_type_get_attr MPI_Type_get_attr PMPI_Type_get_attr
        mpi_type_set_attr MPI_Type_set_attr PMPI_Type_set_attr isize;
    mpi_win_get_attr MPI_Win_get_attr PMPI_Win_get_attr
        mpi_win_set_attr MPI_Win_set_attr PMPI_Win_set_attr isize;
    mpi_attr_get MPI_Attr_get PMPI_Attr_get mpi_attr_put MPI_Attr_put PMPI_Attr_put c_int;
}

/// The predefined procedures of keyvals, which are called like a user's.
macro_rules! predefined {
    ($($null:ident $dup:ident $delete:ident $value:ty;)*) => {$(
        /// Copies nothing (MPI-5.0 section 7.7.2).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $null(
            _object: *mut c_int,
            _keyval: *mut c_int,
            _extra_state: *mut $value,
            _attribute_val_in: *mut $value,
            _attribute_val_out: *mut $value,
            flag: *mut c_int,
            ierror: *mut c_int,
        ) {
            // SAFETY: the interface of a copy procedure.
            unsafe {
                *flag = 0;
                *ierror = 0;
            }
        }

        /// Copies the value (MPI-5.0 section 7.7.2).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $dup(
            _object: *mut c_int,
            _keyval: *mut c_int,
            _extra_state: *mut $value,
            attribute_val_in: *mut $value,
            attribute_val_out: *mut $value,
            flag: *mut c_int,
            ierror: *mut c_int,
        ) {
            // SAFETY: the interface of a copy procedure.
            unsafe {
                *attribute_val_out = *attribute_val_in;
                *flag = 1;
                *ierror = 0;
            }
        }

        /// Does nothing (MPI-5.0 section 7.7.2).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete(
            _object: *mut c_int,
            _keyval: *mut c_int,
            _attribute_val: *mut $value,
            _extra_state: *mut $value,
            ierror: *mut c_int,
        ) {
            // SAFETY: the interface of a delete procedure.
            unsafe { *ierror = 0 };
        }
    )*};
}

predefined! {
    mpi_comm_null_copy_fn_ mpi_comm_dup_fn_ mpi_comm_null_delete_fn_ isize;
    mpi_type_null_copy_fn_ mpi_type_dup_fn_ mpi_type_null_delete_fn_ isize;
    mpi_win_null_copy_fn_ mpi_win_dup_fn_ mpi_win_null_delete_fn_ isize;
    mpi_null_copy_fn_ mpi_dup_fn_ mpi_null_delete_fn_ c_int;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_sign() {
        for number in [-1, 0, 7, c_int::MIN] {
            assert_eq!(c_int::of_pointer(number.to_pointer()), number);
            assert_eq!(isize::of_pointer(number.to_pointer()), number as isize);
        }
        let number = isize::MIN + 3;
        assert_eq!(isize::of_pointer(number.to_pointer()), number);
    }

    #[test]
    fn what_is_behind_predefined_keyvals() {
        let (mut number, mut size) = (-5 as c_int, 1_isize << 40);
        // SAFETY: the kept places are of the types that these keyvals have.
        unsafe {
            assert_eq!(value::<isize>(COMM_FIRST, (&raw mut number).cast()), -5);
            assert_eq!(value::<c_int>(COMM_LAST, (&raw mut number).cast()), -5);
            assert_eq!(value::<isize>(WIN_SIZE, (&raw mut size).cast()), 1 << 40);
            let base: *mut c_void = (&raw mut size).cast();
            assert_eq!(value::<isize>(601, base), base.addr() as isize);
        }
    }
}

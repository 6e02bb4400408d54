// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Handles: INTEGER in Fortran, a pointer's width in C.

use std::ffi::c_int;

/// Requests of a call up to here lie on the stack: 256 bytes.
const SOME: usize = 32;

/// The C handle of an INTEGER.
#[inline]
pub fn handle(number: c_int) -> usize {
    number as u32 as usize
}

/// The INTEGER of a C handle.
#[inline]
pub fn integer(handle: usize) -> c_int {
    handle as u32 as c_int
}

/// An array of handles for C, made from one of Fortran's.
#[expect(clippy::large_enum_variant, reason = "it lies on the stack, to spare an allocation")]
pub enum Handles {
    /// A few, and how many.
    Some([usize; SOME], usize),
    Many(Vec<usize>),
}

impl Handles {
    /// Reads so many; a negative count is the C function's to refuse.
    ///
    /// # Safety
    /// There are as many.
    #[inline]
    pub unsafe fn read(array: *const c_int, count: i64) -> Handles {
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: the caller's promise.
        let one = |i: usize| handle(unsafe { *array.add(i) });
        if count > SOME {
            return Handles::Many((0..count).map(one).collect());
        }
        let mut some = [0; SOME];
        some.iter_mut().take(count).enumerate().for_each(|(i, place)| *place = one(i));
        Handles::Some(some, count)
    }

    /// For the C function.
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut usize {
        match self {
            Handles::Some(some, _) => some.as_mut_ptr(),
            Handles::Many(many) => many.as_mut_ptr(),
        }
    }

    /// Gives Fortran what C left there.
    ///
    /// # Safety
    /// The array is the one that was read, and writable.
    #[inline]
    pub unsafe fn write(&self, array: *mut c_int) {
        let all = match self {
            Handles::Some(some, count) => &some[..*count],
            Handles::Many(many) => many,
        };
        for (i, one) in all.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *array.add(i) = integer(*one) };
        }
    }
}

/// Functions that compare two handles of a type: the operators of module `strait_types`.
macro_rules! comparisons {
    ($($equal:ident $differ:ident)*) => {$(
        /// Whether two handles are of one object.
        ///
        /// # Safety
        /// Both are readable.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $equal(a: *const c_int, b: *const c_int) -> c_int {
            // SAFETY: the caller's promise.
            c_int::from(unsafe { *a == *b })
        }

        /// Whether they are not.
        ///
        /// # Safety
        /// Both are readable.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $differ(a: *const c_int, b: *const c_int) -> c_int {
            // SAFETY: the caller's promise.
            c_int::from(unsafe { *a != *b })
        }
    )*};
}

comparisons! {
    strait_equal_comm_ strait_differ_comm_
    strait_equal_group_ strait_differ_group_
    strait_equal_datatype_ strait_differ_datatype_
    strait_equal_op_ strait_differ_op_
    strait_equal_request_ strait_differ_request_
    strait_equal_message_ strait_differ_message_
    strait_equal_info_ strait_differ_info_
    strait_equal_errhandler_ strait_differ_errhandler_
    strait_equal_win_ strait_differ_win_
    strait_equal_session_ strait_differ_session_
    strait_equal_file_ strait_differ_file_
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_go_there_and_back() {
        for count in [0, 1, SOME, SOME + 1] {
            // Dynamic handles have their upper bit set: negative in Fortran.
            let mut array: Vec<c_int> = (0..count as c_int).map(|i| i - 5).collect();
            let before = array.clone();
            // SAFETY: as many as there are.
            let mut read = unsafe { Handles::read(array.as_ptr(), count as i64) };
            for (i, number) in before.iter().enumerate() {
                // SAFETY: within what was read.
                let place = unsafe { read.as_mut_ptr().add(i) };
                // SAFETY: the same.
                assert_eq!(unsafe { *place }, *number as u32 as usize);
                // SAFETY: the same.
                unsafe { *place += 1 };
            }
            // SAFETY: the array that was read.
            unsafe { read.write(array.as_mut_ptr()) };
            let expected: Vec<_> = before.iter().map(|number| number.wrapping_add(1)).collect();
            assert_eq!(array, expected);
        }
        // SAFETY: nothing is read.
        assert!(matches!(unsafe { Handles::read(std::ptr::null(), -1) }, Handles::Some(_, 0)));
    }
}

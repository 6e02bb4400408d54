// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Texts: a length and blanks to the end in Fortran, a zero byte at the end in C.

use std::ffi::{CStr, CString, c_char, c_int};

/// The longest text that a C function gives back, MPI_MAX_LIBRARY_VERSION_STRING.
const LONGEST: usize = 8192;

/// The bytes of a CHARACTER.
///
/// # Safety
/// So many are readable.
unsafe fn bytes<'a>(text: *const c_char, length: usize) -> &'a [u8] {
    // SAFETY: the caller's promise; Fortran may give any address to a text without length.
    if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(text.cast(), length) } }
}

/// C's form of some bytes. One that is zero ends it, as it would in C.
fn of_bytes(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

fn without_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &bytes[..end]
}

/// C's form of a text, without the blanks at its end.
///
/// # Safety
/// So many bytes are readable.
pub unsafe fn trimmed(text: *const c_char, length: usize) -> CString {
    // SAFETY: the caller's promise.
    of_bytes(without_end(unsafe { bytes(text, length) }))
}

/// The same, without those at its beginning: keys and values of infos (MPI-5.0 section 10).
///
/// # Safety
/// So many bytes are readable.
pub unsafe fn stripped(text: *const c_char, length: usize) -> CString {
    // SAFETY: the caller's promise.
    let whole = without_end(unsafe { bytes(text, length) });
    let start = whole.iter().position(|byte| *byte != b' ').unwrap_or(0);
    of_bytes(&whole[start..])
}

/// Gives Fortran a text: cut where it is too long, and blanks behind it.
///
/// # Safety
/// So many bytes are writable.
pub unsafe fn give(from: &[u8], text: *mut c_char, length: usize) {
    if length == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    let to = unsafe { std::slice::from_raw_parts_mut(text.cast::<u8>(), length) };
    let copied = from.len().min(length);
    to[..copied].copy_from_slice(&from[..copied]);
    to[copied..].fill(b' ');
}

/// Where a C function writes a text.
pub struct Answer(Vec<u8>);

impl Answer {
    /// Room for the longest.
    pub fn new() -> Answer {
        Answer::of_length(LONGEST)
    }

    /// Room for so many bytes, the zero byte among them.
    pub fn of_length(length: usize) -> Answer {
        Answer(vec![0; length.max(1)])
    }

    /// For the C function.
    pub fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr().cast()
    }

    /// Gives Fortran what the function wrote, if it succeeded.
    ///
    /// # Safety
    /// So many bytes are writable.
    pub unsafe fn give(&self, result: c_int, text: *mut c_char, length: usize) {
        if result == 0 {
            let written = CStr::from_bytes_until_nul(&self.0).map_or(&self.0[..], CStr::to_bytes);
            // SAFETY: the caller's promise.
            unsafe { give(written, text, length) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str) -> (CString, CString) {
        let (place, length) = (text.as_ptr().cast(), text.len());
        // SAFETY: a text of that length.
        unsafe { (trimmed(place, length), stripped(place, length)) }
    }

    #[test]
    fn blanks() {
        let of = |trimmed: &CStr, stripped: &CStr| (trimmed.to_owned(), stripped.to_owned());
        assert_eq!(both(" a b  "), of(c" a b", c"a b"));
        assert_eq!(both("    "), of(c"", c""));
        assert_eq!(both(""), of(c"", c""));
        assert_eq!(both("ab\0 cd"), of(c"ab", c"ab"));
    }

    #[test]
    fn answers_are_cut_or_filled() {
        let mut answer = Answer::of_length(8);
        // SAFETY: eight bytes are there.
        unsafe { answer.as_mut_ptr().copy_from(c"four".as_ptr(), 5) };
        for (length, expected) in [(6, "four  "), (4, "four"), (2, "fo"), (0, "")] {
            let mut text = vec![b'x'; length];
            // SAFETY: as long as it is.
            unsafe { answer.give(0, text.as_mut_ptr().cast(), length) };
            assert_eq!(text, expected.as_bytes());
        }
        let mut kept = *b"kept";
        // SAFETY: as long as it is.
        unsafe { answer.give(1, kept.as_mut_ptr().cast(), 4) };
        assert_eq!(&kept, b"kept");
    }
}

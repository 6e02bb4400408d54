// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that starts at a page, and that MPI may write while we hold it.

use crate::datatype::Type;
use crate::mpi::Part;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

const PAGE: usize = 4096;

/// Bytes whose first lies at the start of a page.
///
/// It owns raw memory, not a `Vec`, so that the pointers given to MPI stay valid whatever is
/// borrowed of it in between.
pub struct Buffer {
    start: NonNull<u8>,
    size: usize,
    layout: Layout,
}

impl Buffer {
    /// `size` bytes, all touched.
    pub fn new(size: usize) -> Buffer {
        let layout = Layout::from_size_align(size.max(1), PAGE).expect("a size that fits memory");
        // SAFETY: the layout has at least one byte.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        let mut buffer = Buffer { start, size, layout };
        buffer.bytes_mut().fill(1);
        buffer
    }

    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `size` bytes are allocated and initialised; MPI writes them only between the
        // start and the end of an operation, when nobody looks.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed for us alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }

    /// `bytes` of it from `at` on, as elements.
    pub fn part(&self, at: usize, bytes: usize, datatype: Type) -> Part {
        assert!(at + bytes <= self.size, "{bytes} bytes at {at} of {}", self.size);
        let count = bytes / datatype.size();
        let count = i32::try_from(count).expect("sizes are limited to what an int counts");
        // SAFETY: `at` is within the allocation, as just seen.
        let start = unsafe { self.start.as_ptr().add(at) };
        Part { start, count, datatype: datatype.handle() }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_a_page_and_its_parts_lie_in_it() {
        let mut buffer = Buffer::new(10_000);
        assert_eq!(buffer.start() as usize % PAGE, 0);
        assert!(buffer.bytes().iter().all(|byte| *byte == 1));
        buffer.bytes_mut()[9_999] = 2;
        assert_eq!(buffer.bytes().len(), 10_000);
        let part = buffer.part(4000, 4000, Type::Int);
        assert_eq!((part.start as usize, part.count), (buffer.start() as usize + 4000, 1000));
        assert_eq!(Buffer::new(0).bytes().len(), 0);
    }

    #[test]
    #[should_panic(expected = "5 bytes at 4 of 8")]
    fn a_part_beyond_the_end_is_refused() {
        Buffer::new(8).part(4, 5, Type::Char);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Huge pages under the buffers of long transfers.
//!
//! A copy through the kernel pins its pages and copies page by page; with pages of 2 MiB it takes
//! about half the time. So memory of ours that is used again and again for long transfers is
//! collapsed into huge pages (`MADV_COLLAPSE`, Linux 6.1), which changes nothing that a program can
//! see but its speed. A range is collapsed only if nearly all of it is in use already, so that it
//! costs no memory.
//!
//! Invariants:
//! 1. The table is bounded, and a range is tried a bounded number of times.
//! 2. Only memory of this process is touched, and no content changes.

/// The size of a huge page, and the alignment of a range.
const RANGE_BYTES: usize = 2 << 20;
const PAGE_BYTES: usize = 4096;
const PAGES: usize = RANGE_BYTES / PAGE_BYTES;
/// A collapse takes as long as ten to fifty transfers of the range save: so many uses show that
/// there will be more.
const USES_MIN: u8 = 16;
/// A try fails for the moment if a peer reads the range just then.
const TRIES_MAX: u8 = 3;
/// Ranges that are remembered: 512 MiB of buffers; beyond that they push each other out.
const ENTRIES: usize = 256;
/// Pages of a range that may be missing.
const MISSING_MAX: usize = PAGES / 16;

/// `MADV_COLLAPSE`, which the libc crate does not name for every target.
const COLLAPSE: libc::c_int = 25;

#[derive(Clone, Copy, Default)]
struct Entry {
    /// The range's number: its address by its size.
    range: usize,
    uses: u8,
    tries: u8,
}

/// The ranges that transfers have used.
pub(super) struct HugeRanges {
    entries: Box<[Entry]>,
    is_on: bool,
}

impl HugeRanges {
    pub(super) fn new(is_on: bool) -> HugeRanges {
        HugeRanges { entries: vec![Entry::default(); ENTRIES].into(), is_on }
    }

    /// A long transfer uses this memory of ours. It must be mapped; nothing of it is read here.
    pub(super) fn note(&mut self, base: *const u8, bytes: usize) {
        if !self.is_on {
            return;
        }
        let first = base as usize / RANGE_BYTES;
        let last = (base as usize).saturating_add(bytes.saturating_sub(1)) / RANGE_BYTES;
        // A very long buffer is looked at piece by piece, as many ranges as the table has.
        for range in (first..=last).take(ENTRIES) {
            let entry = &mut self.entries[range % ENTRIES];
            if entry.range != range {
                *entry = Entry { range, uses: 0, tries: 0 };
            }
            if entry.uses < USES_MIN {
                entry.uses += 1;
            } else if entry.tries < TRIES_MAX {
                entry.tries += 1;
                if collapse(range) {
                    entry.tries = TRIES_MAX;
                }
            }
        }
    }
}

/// `true`: nothing is left to try.
#[cold]
fn collapse(range: usize) -> bool {
    let start = (range * RANGE_BYTES) as *mut libc::c_void;
    let mut present = [0_u8; PAGES];
    // SAFETY: the vector has a byte for each page of the range. A range that is not (wholly)
    // mapped is an error, not a fault.
    let looked = unsafe { libc::mincore(start, RANGE_BYTES, present.as_mut_ptr()) };
    let missing = present.iter().filter(|page| **page & 1 == 0).count();
    if looked != 0 || missing > MISSING_MAX {
        return true;
    }
    // SAFETY: collapsing changes which physical pages hold the range, nothing that a program sees;
    // where the kernel cannot do it, it says so.
    unsafe { libc::madvise(start, RANGE_BYTES, COLLAPSE) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges that are used often are tried once or a few times, and their content stays.
    #[test]
    fn content_stays_and_tries_are_bounded() {
        let mut buffer = vec![0_u8; 4 * RANGE_BYTES];
        for (index, byte) in buffer.iter_mut().enumerate() {
            *byte = (index % 251) as u8;
        }
        let mut ranges = HugeRanges::new(true);
        for _ in 0..100 {
            ranges.note(buffer.as_ptr(), buffer.len());
        }
        assert!(ranges.entries.iter().all(|entry| entry.tries <= TRIES_MAX));
        assert!(ranges.entries.iter().any(|entry| entry.tries == TRIES_MAX));
        assert!(buffer.iter().enumerate().all(|(index, byte)| *byte == (index % 251) as u8));
    }

    #[test]
    fn memory_that_is_not_there_is_left_alone() {
        assert!(collapse(1 << 20), "a range far above anything mapped");
        let mut off = HugeRanges::new(false);
        off.note(std::ptr::null(), usize::MAX);
        assert!(off.entries.iter().all(|entry| entry.uses == 0));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The endpoints of all peers. A rank of a large job talks to few others: endpoints are made, and
//! their memory touched, when one of their page is first looked at.
//!
//! Invariants:
//! 1. The endpoints of a page are made once, all together; before that nobody has a reference to
//!    any of them.
//! 2. `made` tells which pages are; `all_made` that all are, so that small jobs ask nothing more.

use crate::endpoint::Endpoint;
use crate::lane::any::Kinds;
use crate::protocol::credit::GRANT_OUTSIDE;
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ops::{Index, IndexMut};

/// Endpoints of a page.
const PAGE: usize = 64;
/// Jobs up to here have all of them from the start: 512 KiB.
const SMALL_JOB: usize = 4096;

/// One for each peer, this process included.
pub(crate) struct Endpoints {
    list: Box<[UnsafeCell<MaybeUninit<Endpoint>>]>,
    /// By page.
    made: Box<[Cell<bool>]>,
    all_made: bool,
    kinds: Kinds,
    grant: usize,
}

impl Endpoints {
    pub(crate) fn new(kinds: Kinds, grant: usize) -> Endpoints {
        let size = kinds.size() as usize;
        let mut list = Vec::with_capacity(size);
        // SAFETY: there is room for so many, and no element need be anything yet. (Untouched, so
        // that the system need not find memory for them.)
        unsafe { list.set_len(size) };
        let made = (0..size.div_ceil(PAGE)).map(|_| Cell::new(false)).collect();
        let list = list.into_boxed_slice();
        let mut endpoints = Endpoints { list, made, all_made: false, kinds, grant };
        if size <= SMALL_JOB {
            (0..endpoints.made.len()).for_each(|page| endpoints.make(page));
            endpoints.all_made = true;
        }
        endpoints
    }

    /// Peers, this process included.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Makes place for more peers, of other jobs: `size` in all.
    pub(crate) fn grow(&mut self, size: usize) {
        let old = self.len();
        if size <= old {
            return;
        }
        // The page that gets company is whole, before and after.
        if !old.is_multiple_of(PAGE) {
            self.ensure(old - 1);
        }
        let mut list = std::mem::take(&mut self.list).into_vec();
        list.reserve_exact(size - old);
        for peer in old..size {
            let endpoint = Endpoint::new(self.kinds.of(peer as u32), GRANT_OUTSIDE);
            list.push(UnsafeCell::new(MaybeUninit::new(endpoint)));
        }
        self.list = list.into_boxed_slice();
        let mut made = std::mem::take(&mut self.made).into_vec();
        made.resize(size.div_ceil(PAGE), Cell::new(true));
        self.made = made.into_boxed_slice();
    }

    pub(crate) fn get(&self, peer: usize) -> Option<&Endpoint> {
        (peer < self.len()).then(|| &self[peer])
    }

    pub(crate) fn get_mut(&mut self, peer: usize) -> Option<&mut Endpoint> {
        (peer < self.len()).then(|| &mut self[peer])
    }

    #[inline]
    fn ensure(&self, peer: usize) {
        if !self.all_made && !self.made[peer / PAGE].get() {
            self.make(peer / PAGE);
        }
    }

    #[cold]
    #[inline(never)]
    fn make(&self, page: usize) {
        assert!(!self.made[page].replace(true), "a page is made once");
        let first = page * PAGE;
        for (at, place) in self.list.iter().enumerate().skip(first).take(PAGE) {
            let endpoint = Endpoint::new(self.kinds.of(at as u32), self.grant);
            // SAFETY: it was not made, so nobody has a reference to it (invariant 1).
            unsafe { (*place.get()).write(endpoint) };
        }
    }
}

impl Index<usize> for Endpoints {
    type Output = Endpoint;

    #[inline]
    fn index(&self, peer: usize) -> &Endpoint {
        let place = &self.list[peer];
        self.ensure(peer);
        // SAFETY: it is made, and `make` touches no page twice: only `&mut self` changes it.
        unsafe { (*place.get()).assume_init_ref() }
    }
}

impl IndexMut<usize> for Endpoints {
    #[inline]
    fn index_mut(&mut self, peer: usize) -> &mut Endpoint {
        self.ensure(peer);
        // SAFETY: it is made, and ours alone.
        unsafe { self.list[peer].get_mut().assume_init_mut() }
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        for (page, made) in self.list.chunks_mut(PAGE).zip(&self.made) {
            if made.get() {
                for place in page {
                    // SAFETY: it was made, and nobody looks at it again.
                    unsafe { place.get_mut().assume_init_drop() };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::any::LaneKind;

    #[test]
    fn of_a_large_job_only_what_is_looked_at_is_made() {
        let endpoints = |size| {
            let kinds = Kinds::spread(size, size / 2, 8, LaneKind::Tcp);
            Endpoints::new(kinds, 1 << 16)
        };
        let mut large = endpoints(1_000_001);
        assert_eq!(large.len(), 1_000_001);
        let made = |all: &Endpoints| all.made.iter().filter(|page| page.get()).count();
        assert_eq!(made(&large), 0);
        assert_eq!(large[500_001].lane, LaneKind::Shm);
        assert_eq!(large[500_000].lane, LaneKind::Loopback);
        large[1_000_000].active = true;
        assert!(large[1_000_000].active && !large[999_999].active);
        assert!(large.get(1_000_001).is_none() && large.get_mut(1_000_001).is_none());
        assert_eq!(made(&large), 3, "that of this process, and the last two");
        // Processes of other jobs come behind them; what was there stays as it was.
        large.grow(1_000_003);
        assert_eq!(large.len(), 1_000_003);
        assert!(large[1_000_000].active && large[1_000_000].credit.grant() == 1 << 16);
        assert_eq!(large[1_000_002].lane, LaneKind::Tcp);
        assert_eq!(large[1_000_002].credit.grant(), GRANT_OUTSIDE);
        assert_eq!(made(&large), 3, "their page was made already");
        let mut small = endpoints(70);
        small[69].active = true;
        small.grow(200);
        small.grow(100);
        assert!(small.len() == 200 && small.made.iter().all(Cell::get) && small.made.len() == 4);
        assert!(small[69].active && !small[70].active && small[199].lane == LaneKind::Tcp);
        let small = endpoints(70);
        assert!(small.all_made && made(&small) == 2);
        assert_eq!(small[0].lane, LaneKind::Tcp);
    }
}

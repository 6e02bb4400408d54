// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of windows that a port knows, ours and that of peers, each by its number.
#![forbid(unsafe_code)]

use crate::lane::remote::Access;
use std::collections::HashMap;

/// Memory of a peer.
#[derive(Clone, Copy, Debug)]
pub struct Entered<K> {
    /// The library's key.
    pub key: K,
    /// Where it begins, as the library counts.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
}

impl<K> Entered<K> {
    /// Where an access begins; `None` if it does not lie in this memory.
    pub fn place(&self, access: &Access) -> Option<u64> {
        let end = access.offset.checked_add(access.bytes as u64)?;
        (end <= self.bytes).then(|| self.address.wrapping_add(access.offset))
    }
}

/// All of it: `M` is what the library gave for memory of ours, `K` a key of a peer's.
pub struct Exposures<M, K> {
    ours: HashMap<u64, M>,
    theirs: HashMap<u64, Entered<K>>,
    last: u64,
}

impl<M, K> Default for Exposures<M, K> {
    fn default() -> Exposures<M, K> {
        Exposures { ours: HashMap::new(), theirs: HashMap::new(), last: 0 }
    }
}

impl<M, K> Exposures<M, K> {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Memory of ours is exposed; its number.
    pub fn expose(&mut self, memory: M) -> u64 {
        let number = self.next();
        self.ours.insert(number, memory);
        number
    }

    /// It is not any more.
    pub fn conceal(&mut self, number: u64) -> Option<M> {
        self.ours.remove(&number)
    }

    /// Memory of a peer is known; its number.
    pub fn enter(&mut self, entered: Entered<K>) -> u64 {
        let number = self.next();
        self.theirs.insert(number, entered);
        number
    }

    /// It is not needed any more.
    pub fn leave(&mut self, number: u64) -> Option<Entered<K>> {
        self.theirs.remove(&number)
    }

    /// Memory of a peer.
    pub fn entered(&self, number: u64) -> Option<&Entered<K>> {
        self.theirs.get(&number)
    }

    /// All memory of ours, at the end.
    pub fn take_ours(&mut self) -> impl Iterator<Item = M> + use<M, K> {
        std::mem::take(&mut self.ours).into_values()
    }

    /// All that was entered, at the end.
    pub fn take_theirs(&mut self) -> impl Iterator<Item = Entered<K>> + use<M, K> {
        std::mem::take(&mut self.theirs).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::remote::Way;

    #[test]
    fn an_access_lies_in_the_memory_or_has_no_place() {
        let memory = Entered { key: (), address: 1000, bytes: 100 };
        let place = |offset, bytes| {
            let access =
                Access { memory: 1, offset, local: std::ptr::null_mut(), bytes, way: Way::Read };
            memory.place(&access)
        };
        assert_eq!((place(0, 100), place(99, 1)), (Some(1000), Some(1099)));
        assert_eq!((place(0, 101), place(100, 1), place(u64::MAX, 2)), (None, None, None));
    }
}

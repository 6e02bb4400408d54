// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ranks of other hosts, as this host knows them: one table of addresses for all its ranks,
//! filled by the launcher as they ask.
//!
//! A rank that needs an address sets the bit of its peer and calls the launcher; the launcher takes
//! the bits, asks the peer's host, and enters what it answers. An entry is written once. Pages that
//! nobody asked about are never touched, so the table costs what is used of it.

use super::layout::FarAddress;
use super::{FAR_ADDRESS_BYTES_MAX, Node, load_bytes, store_bytes};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The bitmaps: whose address is wanted, who is lost, who has ended in order.
const WANTED: usize = 0;
const LOST: usize = 1;
const ENDED: usize = 2;

impl Node {
    /// Whether the job spans several hosts.
    pub fn has_far_ranks(&self) -> bool {
        self.layout.far_count() > 0
    }

    /// Says that a process of this host needs the address of `rank`, which is on another host.
    ///
    /// # Panics
    /// If the job has no such rank, or runs on one host.
    pub fn want_far_address(&self, rank: u32) {
        // SYNC(node.wanted): pairs with `take_wanted`, which sees the bit once it was called.
        self.wanted()[rank as usize / 64].fetch_or(1 << (rank % 64), AcqRel);
    }

    /// The ranks whose addresses were asked for since the last call (launcher).
    pub fn take_wanted(&self) -> Vec<u32> {
        let mut ranks = Vec::new();
        for (index, word) in self.wanted().iter().enumerate() {
            if word.load(Relaxed) == 0 {
                continue;
            }
            // SYNC(node.wanted): pairs with `want_far_address`.
            let mut bits = word.swap(0, AcqRel);
            while bits != 0 {
                ranks.push(index as u32 * 64 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
        ranks
    }

    /// Enters the address of a rank of another host (launcher); a second one is ignored.
    ///
    /// # Panics
    /// If the job has no such rank, or `address` is empty or longer than an entry.
    pub fn set_far_address(&self, rank: u32, address: &[u8]) {
        assert!((1..=FAR_ADDRESS_BYTES_MAX).contains(&address.len()), "an address fits the table");
        let entry = self.far(rank);
        if entry.bytes.load(Relaxed) != 0 {
            return;
        }
        store_bytes(&entry.address, address);
        // SYNC(node.far): releases the address to `far_address`.
        entry.bytes.store(address.len() as u32, Release);
    }

    /// The address of a rank of another host, once it is there.
    ///
    /// # Panics
    /// If the job has no such rank, or runs on one host.
    pub fn far_address(&self, rank: u32) -> Option<Vec<u8>> {
        let entry = self.far(rank);
        // SYNC(node.far): sees the address that `set_far_address` released.
        let end = (entry.bytes.load(Acquire) as usize).min(FAR_ADDRESS_BYTES_MAX);
        let mut bytes = vec![0; end];
        load_bytes(&entry.address, &mut bytes);
        (end > 0).then_some(bytes)
    }

    /// Another identity and key than those it was created with: those that all hosts of the job
    /// agreed on. All processes of the node must adopt the same.
    pub(crate) fn adopt(&mut self, job: [u8; 16], key: [u8; 32]) {
        self.plan.job = job;
        self.plan.key = key;
    }

    /// A process of another host is gone (launcher): it died, or it ended after MPI_Finalize. The
    /// processes of this host hear of it at their next look, and sleepers are woken for it.
    ///
    /// # Panics
    /// If the job has no such rank, or runs on one host.
    pub fn announce_far_end(&self, rank: u32, is_lost: bool) {
        let bits = self.bits(if is_lost { LOST } else { ENDED });
        // SYNC(node.far-end): releases nothing but the bit; pairs with `is_far_lost`.
        bits[rank as usize / 64].fetch_or(1 << (rank % 64), AcqRel);
        self.tell_of_ends();
    }

    /// Whether the launcher announced that a process of another host died.
    pub fn is_far_lost(&self, rank: u32) -> bool {
        self.has_bit(LOST, rank)
    }

    /// Whether the launcher announced that a process of another host ended in order.
    pub fn has_far_ended(&self, rank: u32) -> bool {
        self.has_bit(ENDED, rank)
    }

    fn has_bit(&self, which: usize, rank: u32) -> bool {
        let word = self.bits(which).get(rank as usize / 64);
        // SYNC(node.far-end): pairs with `announce_far_end`.
        word.is_some_and(|word| word.load(Acquire) & 1 << (rank % 64) != 0)
    }

    fn wanted(&self) -> &[AtomicU64] {
        self.bits(WANTED)
    }

    fn bits(&self, which: usize) -> &[AtomicU64] {
        if !self.has_far_ranks() {
            return &[];
        }
        let words = self.layout.wanted_words();
        let offset = self.layout.wanted_offset() + which * words * size_of::<u64>();
        let base = self.at::<AtomicU64>(offset);
        // SAFETY: the layout places three times so many words here, from a page border on, inside
        // the mapping; atomics accept any bytes, and the mapping lives as long as self.
        unsafe { std::slice::from_raw_parts(base, words) }
    }

    fn far(&self, rank: u32) -> &FarAddress {
        assert!(rank < self.layout.far_count(), "a rank of a job of several hosts");
        // SAFETY: the table has this entry, aligned to its size; atomics accept any bytes.
        unsafe { &*self.at::<FarAddress>(self.layout.far_offset(rank)) }
    }
}

#[cfg(test)]
mod tests {
    use crate::node::{Node, NodePlan};

    #[test]
    fn what_is_wanted_is_taken_once_and_answers_stay() {
        let plan =
            NodePlan { job: [1; 16], key: [2; 32], size: 200, first_local_rank: 4, local_size: 2 };
        let node = Node::create(&plan).expect("node memory");
        let other = Node::open(node.descriptor().try_clone_to_owned().expect("descriptors"));
        let other = other.expect("the same memory");
        assert!(node.has_far_ranks() && node.take_wanted().is_empty());
        for rank in [199, 0, 64, 63, 0] {
            other.want_far_address(rank);
        }
        assert_eq!(node.take_wanted(), [0, 63, 64, 199]);
        assert!(node.take_wanted().is_empty());
        assert_eq!(other.far_address(199), None);
        node.set_far_address(199, &[7; 24]);
        node.set_far_address(199, &[8; 24]);
        assert_eq!(other.far_address(199), Some(vec![7; 24]));
        assert_eq!(other.far_address(198), None);
        assert!(!other.is_far_lost(130) && other.losses() == 0);
        node.announce_far_end(130, true);
        node.announce_far_end(131, false);
        assert!(other.is_far_lost(130) && !other.is_far_lost(131) && other.losses() == 2);
        assert!(other.has_far_ended(131) && !other.has_far_ended(130));
        assert!(node.take_wanted().is_empty(), "the maps are different ones");
    }

    #[test]
    fn a_job_of_one_host_has_no_table() {
        let plan =
            NodePlan { job: [1; 16], key: [2; 32], size: 2, first_local_rank: 0, local_size: 2 };
        let node = Node::create(&plan).expect("node memory");
        assert!(!node.has_far_ranks() && node.take_wanted().is_empty());
    }
}

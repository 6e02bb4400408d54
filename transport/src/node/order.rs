// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which rank each process is: the user's numbering of a job beside ours.
//!
//! Processes are numbered host by host, so that "is it on this host" is one subtraction; everything
//! in this crate counts them so. Ranks may lie on the hosts in any order. Where the two numberings
//! differ, the node memory holds a table of both directions, once for all processes of a host;
//! where they are the same there is none.
//!
//! Not here: who makes the order (the launcher), what ranks are for (bindings).

use super::Node;
use crate::envelope::Peer;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The rank of each process, and the process of each rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RankOrder {
    /// Both are empty where each process is the rank of its number.
    ranks: Vec<u32>,
    processes: Vec<u32>,
}

impl RankOrder {
    /// The order in which process `p` is rank `ranks[p]`; `None` if a rank is missing.
    pub fn new(ranks: Vec<u32>) -> Option<RankOrder> {
        let mut processes = vec![u32::MAX; ranks.len()];
        for (rank, process) in ranks.iter().zip(0..) {
            let place = processes.get_mut(*rank as usize)?;
            if *place != u32::MAX {
                return None;
            }
            *place = process;
        }
        let is_same = ranks.iter().zip(0..).all(|(rank, process)| *rank == process);
        Some(if is_same { RankOrder::default() } else { RankOrder { ranks, processes } })
    }

    /// The order of a job whose launcher put each rank on a host: hosts in the order of their first
    /// ranks, those of a host in their own.
    pub fn of_hosts(host_of: &[u32]) -> RankOrder {
        let mut first_of = std::collections::HashMap::new();
        let mut ranks: Vec<u32> = (0..host_of.len() as u32).collect();
        for (host, rank) in host_of.iter().zip(0_u32..) {
            first_of.entry(*host).or_insert(rank);
        }
        ranks.sort_by_key(|rank| first_of[&host_of[*rank as usize]]);
        RankOrder::new(ranks).expect("each rank once")
    }

    /// Whether each process is the rank of its number.
    pub fn is_same(&self) -> bool {
        self.ranks.is_empty()
    }

    /// The rank of each process; empty where it is its number.
    pub fn ranks(&self) -> &[u32] {
        &self.ranks
    }

    /// The rank of a process.
    pub fn rank_of(&self, process: u32) -> u32 {
        self.ranks.get(process as usize).copied().unwrap_or(process)
    }

    /// The process of a rank.
    pub fn process_of(&self, rank: u32) -> u32 {
        self.processes.get(rank as usize).copied().unwrap_or(rank)
    }
}

impl Node {
    /// The rank of a process of the job.
    pub fn rank_of(&self, process: u32) -> u32 {
        self.look_up(process, 0)
    }

    /// The process of a rank of the job.
    pub fn process_of(&self, rank: u32) -> u32 {
        self.look_up(rank, self.plan.size as usize)
    }

    /// Whether ranks and processes are numbered differently.
    pub fn is_ordered(&self) -> bool {
        self.layout.order_count() > 0
    }

    /// Writes the order, before anybody else knows this memory.
    pub(super) fn write_order(&self, order: &RankOrder) {
        let entries = order.ranks.iter().chain(&order.processes);
        for (cell, number) in self.order_cells().iter().zip(entries) {
            cell.store(*number, Relaxed);
        }
    }

    /// Another process of the host may have ruined the table: then the answer is wrong, but a
    /// number of this job all the same.
    fn look_up(&self, number: u32, base: usize) -> u32 {
        let size = self.plan.size;
        match self.order_cells().get(base + number as usize) {
            Some(cell) if number < size => cell.load(Relaxed).min(size - 1),
            _ => number,
        }
    }

    fn order_cells(&self) -> &[AtomicU32] {
        let count = 2 * self.layout.order_count() as usize;
        if count == 0 {
            return &[];
        }
        let base = self.at::<AtomicU32>(self.layout.order_offset());
        // SAFETY: the layout places so many words here, on a page border inside the mapping;
        // atomics accept any bytes, and the mapping lives as long as self.
        unsafe { std::slice::from_raw_parts(base, count) }
    }
}

/// From now on errors and notes of this process name peers by their ranks.
pub(crate) fn name_peers(node: &std::sync::Arc<Node>) {
    if node.is_ordered() {
        let node = node.clone();
        crate::envelope::name_peers(Box::new(move |peer: Peer| node.rank_of(peer.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodePlan;

    fn plan(size: u32, first: u32, local_size: u32) -> NodePlan {
        NodePlan { job: [1; 16], key: [2; 32], size, first_local_rank: first, local_size }
    }

    #[test]
    fn an_order_is_a_permutation() {
        let order = RankOrder::new(vec![0, 2, 1, 3]).expect("a permutation");
        assert_eq!((0..4).map(|p| order.rank_of(p)).collect::<Vec<_>>(), [0, 2, 1, 3]);
        assert_eq!(RankOrder::new(vec![2, 0, 1]).map(|order| order.process_of(0)), Some(1));
        assert!(RankOrder::new(vec![0, 1, 2]).is_some_and(|order| order.is_same()));
        assert_eq!(RankOrder::new(vec![0, 0]), None);
        assert!(RankOrder::of_hosts(&[7, 7, 3, 3, 9]).is_same());
        assert_eq!(RankOrder::of_hosts(&[7, 3, 7, 3]).ranks(), [0, 2, 1, 3]);
        assert_eq!(RankOrder::of_hosts(&[0, 1, 2, 0, 1, 0]).ranks(), [0, 3, 5, 1, 4, 2]);
        assert_eq!(RankOrder::new(vec![0, 2]), None);
    }

    #[test]
    fn all_processes_of_a_host_read_one_table() {
        let order = RankOrder::new((0..200).rev().collect()).expect("a permutation");
        let node = Node::create_ordered(&plan(200, 4, 2), &order).expect("node memory");
        let other = Node::open(node.descriptor().try_clone_to_owned().expect("descriptors"));
        let other = other.expect("the same memory");
        assert!(other.is_ordered() && other.plan() == node.plan());
        for process in [0, 4, 5, 199] {
            assert_eq!(other.rank_of(process), 199 - process);
            assert_eq!(other.process_of(199 - process), process);
        }
        // The table of addresses lies where it lay.
        other.want_far_address(199);
        assert_eq!((node.take_wanted(), other.rank_of(199)), (vec![199], 0));
    }

    #[test]
    fn the_same_order_takes_no_memory() {
        let order = RankOrder::new(vec![0, 1, 2]).expect("a permutation");
        let plain = Node::create(&plan(3, 0, 3)).expect("node memory");
        let node = Node::create_ordered(&plan(3, 0, 3), &order).expect("node memory");
        assert_eq!(node.layout(), plain.layout());
        assert!(!node.is_ordered() && node.rank_of(2) == 2 && node.process_of(1) == 1);
        let turned = RankOrder::new(vec![2, 1, 0]).expect("a permutation");
        let turned = Node::create_ordered(&plan(3, 0, 3), &turned).expect("node memory");
        assert!(turned.layout().total_bytes() > plain.layout().total_bytes());
        assert_eq!((turned.rank_of(0), turned.process_of(0)), (2, 2));
    }

    #[test]
    fn a_ruined_table_names_ranks_of_the_job() {
        let order = RankOrder::new(vec![1, 0]).expect("a permutation");
        let node = Node::create_ordered(&plan(2, 0, 2), &order).expect("node memory");
        node.order_cells()[0].store(u32::MAX, Relaxed);
        assert_eq!(node.rank_of(0), 1);
    }
}

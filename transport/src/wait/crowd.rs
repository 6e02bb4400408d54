// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How many ranks share a core, and what follows for who waits.
#![forbid(unsafe_code)]

use crate::node::Node;
use crate::topology::{CoreSet, cgroup, quota_millicores};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// How many ranks share a core, as this process last saw it; more than one: they are crowded.
pub(super) static RANKS_PER_CORE: AtomicU32 = AtomicU32::new(1);
/// One hand-over of a core from a rank to another, with what they then do, in nanoseconds.
const HAND_OVER_NS: u32 = 1_600;

/// What it adds to a message's way that ranks share cores: until the receiver's turn comes.
pub(crate) fn turn_ns() -> u32 {
    match RANKS_PER_CORE.load(Relaxed) {
        0 | 1 => 0,
        ranks => ranks.saturating_mul(HAND_OVER_NS),
    }
}

/// Whether a core is ours to spin on, as this process last saw it.
#[inline(always)]
pub(crate) fn may_spin() -> bool {
    RANKS_PER_CORE.load(Relaxed) <= 1
}

/// Whether ranks outnumber cores.
pub fn is_crowded(node: &Node, local_rank: u32) -> bool {
    ranks_per_core(node, local_rank) > 1
}

/// Whether the ranks of this host leave a core idle that this rank may use.
pub fn has_idle_core(node: &Node, local_rank: u32) -> bool {
    let (cores, sharing) = cores_and_ranks(node, local_rank);
    let by_quota =
        quota().is_none_or(|quota| cgroup::has_idle_core(node.plan_ref().local_size, quota));
    cores > sharing && by_quota
}

/// Ranks per core, rounded up: among the ranks whose cores meet ours, or by the quota that all of
/// this host's ranks share. A rank that has not said its cores yet counts as one with ours.
pub(super) fn ranks_per_core(node: &Node, local_rank: u32) -> u32 {
    let (cores, sharing) = cores_and_ranks(node, local_rank);
    let by_cores = u64::from(sharing.div_ceil(cores.max(1)));
    let local_size = node.plan_ref().local_size;
    let by_quota = quota().map_or(1, |quota| cgroup::ranks_per_core(local_size, quota));
    u32::try_from(by_cores.max(by_quota)).unwrap_or(u32::MAX)
}

fn quota() -> Option<u64> {
    static QUOTA: OnceLock<Option<u64>> = OnceLock::new();
    *QUOTA.get_or_init(quota_millicores)
}

/// The cores of all ranks whose cores meet ours, and how many ranks these are.
fn cores_and_ranks(node: &Node, local_rank: u32) -> (u32, u32) {
    // As the others see us: said once, at the start (`settle_policy`).
    let mine = node.record(local_rank).cores().unwrap_or_else(CoreSet::allowed);
    let mut cores = mine;
    let mut sharing = 1_u32;
    let local_size = node.plan_ref().local_size;
    for other in (0..local_size).filter(|other| *other != local_rank) {
        let theirs = node.record(other).cores().unwrap_or(mine);
        if theirs.meets(&mine) {
            sharing += 1;
            cores.add(&theirs);
        }
    }
    (cores.count(), sharing)
}

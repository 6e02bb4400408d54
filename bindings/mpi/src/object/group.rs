// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Groups: an ordered set of peers, and where this process stands in it (MPI-5.0 section 7.3).

use crate::abi::Code;
use std::collections::HashMap;
use strait_transport::envelope::Peer;
use strait_transport::peers::Peers;

/// An ordered set of peers.
#[derive(Clone, Debug)]
pub struct Group {
    /// Rank -> peer.
    pub members: Peers,
    /// This process's rank, if it is a member.
    pub rank: Option<u32>,
    /// The session that it was made from, itself or by way of other groups.
    pub session: Option<Code>,
}

impl Group {
    /// A group of these peers, seen from `me`.
    pub fn new(members: impl Into<Peers>, me: Peer) -> Group {
        let members = members.into();
        let rank = members.position(me).map(|r| r as u32);
        Group { members, rank, session: None }
    }

    /// The same group, of the session that `other` is of.
    pub fn derived_from(self, other: &Group) -> Group {
        Group { session: other.session, ..self }
    }

    /// Number of members.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Peer -> rank, for bulk translation.
    pub fn ranks(&self) -> HashMap<Peer, u32> {
        self.members.iter().enumerate().map(|(r, p)| (p, r as u32)).collect()
    }

    /// The rank of a peer.
    pub fn rank_of(&self, peer: Peer) -> Option<u32> {
        self.members.position(peer).map(|r| r as u32)
    }

    /// All of this group, then those of `other` that are not in it.
    pub fn union(&self, other: &Group, me: Peer) -> Group {
        let mine = self.ranks();
        let rest = other.members.iter().filter(|p| !mine.contains_key(p));
        let all: Peers = self.members.iter().chain(rest).collect();
        Group::new(all, me).derived_from(self)
    }

    /// Those of this group that are in `other` too, in this group's order.
    pub fn intersection(&self, other: &Group, me: Peer) -> Group {
        let others = other.ranks();
        let both = self.members.iter().filter(|p| others.contains_key(p));
        Group::new(both.collect::<Peers>(), me).derived_from(self)
    }

    /// Those of this group that are not in `other`, in this group's order.
    pub fn difference(&self, other: &Group, me: Peer) -> Group {
        let others = other.ranks();
        let rest = self.members.iter().filter(|p| !others.contains_key(p));
        Group::new(rest.collect::<Peers>(), me).derived_from(self)
    }

    /// How two groups compare.
    pub fn compare(&self, other: &Group) -> Comparison {
        if self.members == other.members {
            return Comparison::Ident;
        }
        if self.size() != other.size() {
            return Comparison::Unequal;
        }
        let mine = self.ranks();
        if other.members.iter().all(|p| mine.contains_key(&p)) {
            Comparison::Similar
        } else {
            Comparison::Unequal
        }
    }
}

/// Results of comparing; canonical numbers are the standard ABI's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Comparison {
    /// The same object, or the same members in the same order for groups.
    Ident = 201,
    /// The same members in the same order, other contexts.
    Congruent = 202,
    /// The same members in another order.
    Similar = 203,
    /// Anything else.
    Unequal = 204,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(peers: &[u32]) -> Group {
        Group::new(peers.iter().map(|&p| Peer(p)).collect::<Vec<_>>(), Peer(0))
    }

    fn peers(group: &Group) -> Vec<u32> {
        group.members.iter().map(|p| p.0).collect()
    }

    #[test]
    fn set_operations_keep_the_order_of_the_first_group() {
        let (a, b) = (group(&[3, 0, 2]), group(&[2, 5, 3]));
        assert_eq!(peers(&a.union(&b, Peer(0))), [3, 0, 2, 5]);
        assert_eq!(peers(&a.intersection(&b, Peer(0))), [3, 2]);
        assert_eq!(peers(&a.difference(&b, Peer(0))), [0]);
        assert_eq!(a.rank, Some(1));
        assert_eq!(b.rank, None);
    }

    #[test]
    fn comparison() {
        assert_eq!(group(&[1, 2]).compare(&group(&[1, 2])), Comparison::Ident);
        assert_eq!(group(&[1, 2]).compare(&group(&[2, 1])), Comparison::Similar);
        assert_eq!(group(&[1, 2]).compare(&group(&[1, 3])), Comparison::Unequal);
        assert_eq!(group(&[1, 2]).compare(&group(&[1])), Comparison::Unequal);
    }
}

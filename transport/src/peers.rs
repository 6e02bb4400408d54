// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An ordered set of peers. One whose numbers follow each other takes no memory, so that a process
//! of a large job holds no list of all the others.
#![forbid(unsafe_code)]

use crate::envelope::Peer;
use std::sync::Arc;

/// The set. Two are equal if they have the same peers in the same order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peers(Kept);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kept {
    /// Each is one more than the one before; also if there are none (then from zero on).
    Range { first: u32, count: u32 },
    /// Any others.
    List(Arc<[Peer]>),
}

impl Peers {
    /// `count` peers from `first` on.
    pub fn range(first: u32, count: u32) -> Peers {
        Peers(Kept::Range { first: if count == 0 { 0 } else { first }, count })
    }

    /// How many.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Range { count, .. } => *count as usize,
            Kept::List(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one at a place.
    #[inline]
    pub fn get(&self, place: usize) -> Option<Peer> {
        match &self.0 {
            Kept::Range { first, count } => {
                (place < *count as usize).then(|| Peer(first + place as u32))
            }
            Kept::List(list) => list.get(place).copied(),
        }
    }

    /// The one at a place that there is.
    ///
    /// # Panics
    /// If there is no such place.
    #[inline]
    pub fn at(&self, place: usize) -> Peer {
        self.get(place).expect("a place within the set")
    }

    /// All of them in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Peer> + ExactSizeIterator + Clone + '_ {
        (0..self.len()).map(|place| self.at(place))
    }

    /// The first place of a peer.
    pub fn position(&self, peer: Peer) -> Option<usize> {
        match &self.0 {
            Kept::Range { first, count } => {
                let place = peer.0.wrapping_sub(*first);
                (place < *count).then_some(place as usize)
            }
            Kept::List(list) => list.iter().position(|other| *other == peer),
        }
    }

    /// A list of them.
    pub fn to_vec(&self) -> Vec<Peer> {
        self.iter().collect()
    }
}

impl From<Vec<Peer>> for Peers {
    fn from(list: Vec<Peer>) -> Peers {
        let first = list.first().map_or(0, |peer| peer.0);
        let follow = |(place, peer): (u32, &Peer)| first.checked_add(place) == Some(peer.0);
        match (0..).zip(&list).all(follow) {
            true => Peers::range(first, list.len() as u32),
            false => Peers(Kept::List(list.into())),
        }
    }
}

impl FromIterator<Peer> for Peers {
    fn from_iter<I: IntoIterator<Item = Peer>>(peers: I) -> Peers {
        peers.into_iter().collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_list(
            list in prop_oneof![
                prop::collection::vec(0..20_u32, 0..8),
                (0..9_u32, 0..9_u32).prop_map(|(first, count)| (first..first + count).collect()),
                Just(vec![u32::MAX - 1, u32::MAX]),
                Just(vec![u32::MAX, 0]),
            ],
            sought in 0..20_u32,
        ) {
            let list: Vec<Peer> = list.into_iter().map(Peer).collect();
            let peers = Peers::from(list.clone());
            prop_assert_eq!(peers.len(), list.len());
            prop_assert_eq!(peers.to_vec(), list.clone());
            prop_assert_eq!(peers.iter().rev().collect::<Vec<_>>(), {
                let mut turned = list.clone();
                turned.reverse();
                turned
            });
            prop_assert_eq!(peers.get(list.len()), None);
            let sought = Peer(sought);
            prop_assert_eq!(peers.position(sought), list.iter().position(|peer| *peer == sought));
            let follow = list.windows(2).all(|pair| pair[0].0.checked_add(1) == Some(pair[1].0));
            prop_assert_eq!(matches!(peers.0, Kept::Range { .. }), follow, "no memory");
        }
    }

    #[test]
    fn sets_of_none_are_equal() {
        assert_eq!(Peers::range(7, 0), Peers::from(Vec::new()));
        assert_ne!(Peers::range(7, 1), Peers::range(8, 1));
    }
}

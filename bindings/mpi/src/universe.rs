// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes of other jobs that this one has met, and the contexts that are agreed with them
//! (docs/dynamic-processes.md).
//!
//! Invariants:
//! 1. A process of another job is one peer, however often it is met: groups compare peers.
//! 2. Peers of other jobs are numbered in the order in which this process met them, so a number
//!    means nothing to anybody else. What leaves the process is a [`Card`], or a rank.
//! 3. A communicator with members of several jobs has a context above [`CONTEXT_FIRST`], which each
//!    member has reserved; those below are given out by one job to its own processes.

use crate::agreement::Circle;
use crate::entry::Entry;
use crate::error::{Result, class, error};
use crate::progress_thread;
use crate::runtime::{CONTEXT_SPAN, Runtime};
use std::collections::{HashMap, HashSet};
use strait_transport::bootstrap::names::Names;
use strait_transport::envelope::Peer;
use strait_transport::outside::{self, Introduction, Outsider};

/// The first context that jobs agree on with others: the upper half of all.
pub const CONTEXT_FIRST: u32 = 1 << 31;

/// Who a process is, for those of other jobs, and where it listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Card {
    job: [u8; 16],
    process: u32,
    rank: u32,
    address: [u8; ADDRESS_BYTES],
}

/// Bytes of an address over TCP (transport's lane/tcp/address.rs) without further interfaces.
const ADDRESS_BYTES: usize = 24;

impl Card {
    /// Bytes of a card.
    pub const BYTES: usize = 24 + ADDRESS_BYTES;

    /// To bytes.
    pub fn encode(&self) -> [u8; Card::BYTES] {
        let mut bytes = [0; Card::BYTES];
        bytes[..16].copy_from_slice(&self.job);
        bytes[16..20].copy_from_slice(&self.process.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.rank.to_le_bytes());
        bytes[24..].copy_from_slice(&self.address);
        bytes
    }

    /// Several cards; what is no whole card at the end is left out.
    pub fn decode_all(bytes: &[u8]) -> Vec<Card> {
        let word = |b: &[u8]| u32::from_le_bytes(b.try_into().expect("four bytes"));
        let one = |card: &[u8; Card::BYTES]| Card {
            job: *card.first_chunk().expect("16 bytes"),
            process: word(&card[16..20]),
            rank: word(&card[20..24]),
            address: *card.last_chunk().expect("the rest"),
        };
        bytes.as_chunks().0.iter().map(one).collect()
    }

    /// What makes it the process that it is: the order of these is the same for all.
    pub fn identity(&self) -> ([u8; 16], u32) {
        (self.job, self.process)
    }
}

/// What this process knows of other jobs.
#[derive(Default)]
pub struct Universe {
    /// The peer of each process that was met.
    met: HashMap<([u8; 16], u32), Peer>,
    own: Option<Card>,
    /// What a process without mpiexec has published.
    pub names: Names,
    /// Contexts that this process has agreed to. Never given back: a late message of a
    /// communicator that was freed must not meet another one.
    reserved: HashSet<u32>,
}

impl Universe {
    /// Agrees to a context, unless it is in use here.
    pub fn reserve(&mut self, context: u32) -> bool {
        self.reserved.insert(context)
    }

    /// The agreement came to nothing.
    pub fn release(&mut self, context: u32) {
        self.reserved.remove(&context);
    }
}

impl Runtime {
    /// Whether a peer is a process of another job.
    #[inline]
    pub fn is_outsider(&self, peer: Peer) -> bool {
        peer.0 >= self.job.size
    }

    /// Whether some of these are.
    pub fn has_outsiders(&self, members: &[Peer]) -> bool {
        !self.universe.met.is_empty() && members.iter().any(|peer| self.is_outsider(*peer))
    }

    /// A word that processes of this host give for it, and no others of the communicator: the index
    /// of the first of them.
    pub fn host_word(&self, members: &[Peer]) -> u32 {
        let first = self.job.first_local_rank;
        if !self.has_outsiders(members) {
            return first;
        }
        let is_here = |peer: &Peer| peer.0.wrapping_sub(first) < self.job.local_size;
        members.iter().position(is_here).unwrap_or(members.len()) as u32
    }
}

impl Entry {
    /// The card of this process, which can be reached by others from now on.
    pub fn card(&mut self) -> Result<Card> {
        if let Some(card) = self.universe.own {
            return Ok(card);
        }
        let had_network = self.worker.has_network();
        let runtime = &mut **self;
        let address = runtime.worker.open_to_others(&runtime.job)?;
        let card = Card {
            job: runtime.job.node.plan().job,
            process: runtime.job.rank,
            rank: runtime.job.world_rank,
            address: address.try_into().map_err(|_| {
                crate::error::make(class::INTERN, "the address of this process is of another size")
            })?,
        };
        runtime.universe.own = Some(card);
        runtime.sleeper = runtime.worker.sleeper();
        if !had_network {
            progress_thread::renew(self)?;
        }
        Ok(card)
    }

    /// The address of this process as others reach it.
    pub fn outer_ip(&mut self) -> Result<std::net::Ipv4Addr> {
        let [_, _, _, _, a, b, c, d, ..] = self.card()?.address;
        Ok(std::net::Ipv4Addr::new(a, b, c, d))
    }

    /// Learns of these processes; they learn of it. The peers, in the order of the cards.
    pub fn introduce(
        &mut self,
        name: [u8; 16],
        key: [u8; 32],
        cards: &[Card],
    ) -> Result<Vec<Peer>> {
        let own = self.card()?.identity();
        let Some(me) = cards.iter().position(|card| card.identity() == own) else {
            return error(class::INTERN, "a process that is not there was to be introduced");
        };
        let size = self.job.size;
        let mut next = size + self.universe.met.len() as u32;
        let (mut peers, mut outsiders, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for (place, card) in (0..).zip(cards) {
            if card.job == own.0 {
                peers.push(Peer(card.process.min(size - 1)));
                continue;
            }
            let known = self.universe.met.get(&card.identity()).copied();
            let peer = known.unwrap_or_else(|| {
                new.push((card.identity(), Peer(next)));
                next += 1;
                Peer(next - 1)
            });
            peers.push(peer);
            let (rank, address) = (card.rank, card.address.to_vec());
            let precedes = card.identity() < own;
            outsiders.push(Outsider { place, peer, rank, address, precedes });
        }
        let introduction =
            Introduction { name, key, me: me as u32, size: cards.len() as u32, outsiders };
        let runtime = &mut **self;
        runtime.worker.introduce(&runtime.job, &introduction)?;
        runtime.universe.met.extend(new);
        Ok(peers)
    }
}

/// A context of the upper half, at random.
pub fn random_context() -> Result<u32> {
    let number = u32::from_le_bytes(outside::random()?);
    Ok(CONTEXT_FIRST | (number - number % CONTEXT_SPAN))
}

/// A context that all members of the circle, which are of several jobs, have reserved.
pub fn agree_outside(entry: &mut Entry, circle: &Circle) -> Result<u32> {
    loop {
        let mut bytes = [0; 4];
        if circle.me == 0 {
            bytes = random_context()?.to_le_bytes();
        }
        circle.bcast(entry, 0, &mut bytes)?;
        let context = u32::from_le_bytes(bytes);
        let is_mine = entry.universe.reserve(context);
        let all = circle.allgather(entry, &[u8::from(is_mine)])?;
        if all.iter().all(|said| *said == 1) {
            return Ok(context);
        }
        if is_mine {
            entry.universe.release(context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_survive_the_trip() {
        let card = |process| Card { job: [3; 16], process, rank: 9, address: [7; ADDRESS_BYTES] };
        let mut bytes = [card(1).encode(), card(0xffff_fffe).encode()].concat();
        assert_eq!(Card::decode_all(&bytes), [card(1), card(0xffff_fffe)]);
        bytes.pop();
        assert_eq!(Card::decode_all(&bytes), [card(1)]);
        assert!(card(1).identity() < card(2).identity());
    }

    #[test]
    fn a_context_is_reserved_once() {
        let mut universe = Universe::default();
        let context = random_context().unwrap();
        assert!(context >= CONTEXT_FIRST && context.is_multiple_of(CONTEXT_SPAN));
        assert!(universe.reserve(context) && !universe.reserve(context));
        universe.release(context);
        assert!(universe.reserve(context));
    }
}

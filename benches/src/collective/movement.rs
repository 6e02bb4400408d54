// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which way the bytes of a collective go: how large its buffers are, what they hold before, and
//! what they must hold afterwards.

use super::call::Call;
use crate::datatype::Type;
use crate::pattern::{Seed, fill, fill_numbers, holds, holds_sums};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Movement {
    None,
    /// The root's block to all.
    Broadcast,
    /// Each rank's block to all.
    Gossip,
    /// A block from each to each.
    Exchange,
    /// Each rank's block to the root.
    Gather,
    /// A block of the root to each.
    Scatter,
    /// Sums for all.
    SumForAll,
    /// Sums for the root.
    SumForRoot,
    /// Sums shared out, as evenly as it goes.
    SumShared,
    /// Sums shared out in equal blocks; what remains of the size is left out.
    SumBlocks,
}

use Movement::*;

/// A buffer that MPI_IN_PLACE takes the place of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Send,
    Receive,
}

/// What no pattern of a round looks like for long.
const WIPED: u8 = 0x55;

impl Movement {
    pub fn sums(self) -> bool {
        matches!(self, SumForAll | SumForRoot | SumShared | SumBlocks)
    }

    fn is_shared_out(self) -> bool {
        matches!(self, SumShared | SumBlocks)
    }

    /// How many times the size the largest buffer of a rank has.
    pub fn footprint(self, ranks: usize) -> usize {
        match self {
            Gossip | Exchange | Gather | Scatter => ranks,
            _ => 1,
        }
    }

    /// Fewer bytes cannot be shared out among the ranks.
    pub fn smallest(self, ranks: usize, datatype: Type) -> usize {
        if self == SumBlocks { ranks * datatype.size() } else { datatype.size() }
    }

    /// Elements of each rank's part.
    pub fn counts(self, elements: usize, ranks: usize) -> Vec<usize> {
        let share = |rank: usize| match self {
            SumShared => elements / ranks + usize::from(rank < elements % ranks),
            SumBlocks => elements / ranks,
            _ => elements,
        };
        (0..ranks).map(share).collect()
    }

    /// Bytes of the buffers to send from and to receive into; `own` are those of the own part.
    pub fn buffers(
        self,
        size: usize,
        ranks: usize,
        own: usize,
        may_be_root: bool,
        in_place: bool,
    ) -> (usize, usize) {
        let all = size * ranks;
        let (send, receive) = match self {
            None => (0, 0),
            Broadcast => (0, size),
            Gossip => (size, all),
            Exchange => (all, all),
            Gather => (size, if may_be_root { all } else { 0 }),
            Scatter => (if may_be_root { all } else { 0 }, size),
            SumForAll => (size, size),
            SumForRoot => (size, if may_be_root { size } else { 0 }),
            SumShared | SumBlocks => (size, own),
        };
        // In place, what is to be shared out lies where the result will be.
        (send, if in_place && self.is_shared_out() { size } else { receive })
    }

    /// Where a rank may say MPI_IN_PLACE.
    pub fn in_place(self, is_root: bool) -> Option<Side> {
        match self {
            None | Broadcast => Option::None,
            Gather | SumForRoot => is_root.then_some(Side::Send),
            Scatter => is_root.then_some(Side::Receive),
            _ => Some(Side::Send),
        }
    }
}

impl Call {
    /// Where the own contribution lies: in the send buffer, or already in place.
    fn contribution(&mut self) -> &mut [u8] {
        let (rank, size) = (self.world.rank, self.size);
        let side = self.movement.in_place(self.is_root());
        if !self.in_place || side != Some(Side::Send) {
            return match self.movement {
                Broadcast => self.receive.bytes_mut(),
                _ => self.send.bytes_mut(),
            };
        }
        match self.movement {
            Gossip | Gather => &mut self.receive.bytes_mut()[rank * size..][..size],
            _ => self.receive.bytes_mut(),
        }
    }

    /// Writes what this rank gives in this round, and wipes where it will receive.
    pub fn fill(&mut self, round: u64) {
        let (rank, root) = (self.world.rank, self.current_root);
        let (movement, element, size) = (self.movement, self.element, self.size.max(1));
        self.receive.bytes_mut().fill(WIPED);
        let is_root = self.is_root();
        let blocks = |bytes: &mut [u8], from: usize| {
            let blocks = bytes.chunks_exact_mut(size).enumerate();
            blocks.for_each(|(to, block)| fill(block, Seed::new(round, from, to)));
        };
        let contribution = self.contribution();
        match movement {
            None => {}
            Broadcast if is_root => fill(contribution, Seed::new(round, root, 0)),
            Broadcast => {}
            Gossip | Gather => fill(contribution, Seed::new(round, rank, 0)),
            Exchange => blocks(contribution, rank),
            Scatter if is_root => blocks(contribution, root),
            Scatter => {}
            _ => fill_numbers(contribution, element, round, rank),
        }
    }

    /// Has this rank received what it should have?
    pub fn holds(&self, round: u64) -> bool {
        let (rank, root, ranks) = (self.world.rank, self.current_root, self.world.size);
        let received = self.receive.bytes();
        let blocks = |to: usize| {
            let mut blocks = received.chunks_exact(self.size.max(1)).enumerate();
            blocks.all(|(from, block)| holds(block, Seed::new(round, from, to)))
        };
        let sums = |bytes: &[u8], first| holds_sums(bytes, self.element, round, ranks, first);
        match self.movement {
            None => true,
            Broadcast => holds(received, Seed::new(round, root, 0)),
            Gossip => blocks(0),
            Exchange => blocks(rank),
            Gather => !self.is_root() || blocks(0),
            Scatter if self.in_place && self.is_root() => true,
            Scatter => holds(received, Seed::new(round, root, rank)),
            SumForAll => sums(received, 0),
            SumForRoot => !self.is_root() || sums(received, 0),
            SumShared | SumBlocks => {
                let own = self.counts[rank] as usize * self.element.size();
                sums(&received[..own], self.displacements[rank] as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which way a call goes, and how it is cut into rounds: by what all members know.

use super::table::ROUNDS_MAX;
use strait_collectives::kind::Kind;
use strait_transport::node::DESK_BODY_BYTES;

/// Beyond this the data goes by messages where it cannot be read from the other's memory: through
/// a board every byte is copied twice.
const STAGED_MAX: usize = 128 << 10;

/// Nothing shorter is read from the other's memory: a system call costs more than its copies.
const DIRECT_MIN: usize = 2048;
/// Two members read each other from here on: 1.9 against 3.2 us for an allgather of 8 KiB.
const PAIR_MIN: usize = 6 << 10;
/// Up to here a bcast is read from the root's memory, and a gather by the root.
const ONE_READER_MAX: usize = 256 << 10;
/// From here on a reduction in slices beats one in rounds.
const SLICED_MIN: usize = 32 << 10;

/// The rounds of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Bytes of each block that one round carries at most.
    pub chunk: usize,
    /// Rounds; at least one.
    pub rounds: u32,
}

impl Plan {
    /// The bytes of a block of so many that a round carries: from where, how many.
    #[inline]
    pub fn part(&self, round: u32, bytes: usize) -> (usize, usize) {
        let from = (round as usize * self.chunk).min(bytes);
        (from, (bytes - from).min(self.chunk))
    }
}

/// Blocks that a publication holds one after another: one for each other member, or for all.
#[inline]
pub fn blocks_at_once(kind: Kind, members: u32) -> usize {
    match kind {
        Kind::Scatter | Kind::Alltoall => members as usize - 1,
        Kind::ReduceScatter => members as usize,
        _ => 1,
    }
}

/// For blocks of `bytes` bytes (of the whole vector; the longest, if they differ), which may be cut
/// between elements of `element` bytes. `None`: not through the board.
#[inline]
pub fn plan(kind: Kind, members: u32, bytes: usize, element: usize) -> Option<Plan> {
    let blocks = blocks_at_once(kind, members);
    match bytes.checked_mul(blocks)? <= DESK_BODY_BYTES {
        true => Some(Plan { chunk: bytes.max(1), rounds: 1 }),
        false => cut(kind, bytes, DESK_BODY_BYTES / blocks, element),
    }
}

#[cold]
fn cut(kind: Kind, bytes: usize, room: usize, element: usize) -> Option<Plan> {
    let chunk = room - room % element.max(1);
    // One copy by a message beats two through the board, where only one member has to read.
    let by_messages = matches!(kind, Kind::Bcast | Kind::Gather) || bytes > STAGED_MAX;
    if chunk == 0 || by_messages {
        return None;
    }
    let rounds = bytes.div_ceil(chunk);
    (rounds <= ROUNDS_MAX).then_some(Plan { chunk, rounds: rounds as u32 })
}

/// Whether members read each other's memory for such a call, where they can. `plain`: operands lie
/// without gaps, and the operation is a predefined one.
#[inline]
pub fn is_direct(kind: Kind, members: u32, bytes: usize, plain: bool) -> bool {
    bytes >= DIRECT_MIN && is_long(kind, members, bytes, plain)
}

#[cold]
fn is_long(kind: Kind, members: u32, bytes: usize, plain: bool) -> bool {
    let fits = bytes.saturating_mul(members as usize) <= DESK_BODY_BYTES;
    match kind {
        // Others write to the root's memory, and it may leave the call because somebody died.
        Kind::Reduce if crate::fault::keeps_going() => false,
        Kind::Allreduce if members == 2 => plain && bytes >= PAIR_MIN,
        Kind::Allreduce | Kind::Reduce | Kind::ReduceScatter => plain && bytes >= SLICED_MIN,
        Kind::Scan | Kind::Exscan | Kind::Barrier => false,
        Kind::NeighborAllgather | Kind::NeighborAlltoall => false,
        // Of longer ones both sides copy when they go by messages.
        Kind::Bcast | Kind::Gather if bytes > ONE_READER_MAX => false,
        _ if members == 2 => bytes >= PAIR_MIN,
        Kind::Bcast | Kind::Gather | Kind::Allgather => bytes > DESK_BODY_BYTES,
        Kind::Alltoall | Kind::Scatter => !fits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_block_and_end_between_elements() {
        for kind in Kind::ALL {
            for members in [2, 3, 7, 64, 1000] {
                for (bytes, element) in [(0, 8), (8, 8), (24 * 1001, 24), (96 << 10, 8)] {
                    let Some(plan) = plan(kind, members, bytes, element) else {
                        let never = blocks_at_once(kind, members) * element > DESK_BODY_BYTES;
                        let by_messages = matches!(kind, Kind::Bcast | Kind::Gather);
                        assert!(never || by_messages);
                        continue;
                    };
                    let mut end = 0;
                    for round in 0..plan.rounds {
                        let (from, count) = plan.part(round, bytes);
                        assert_eq!(from, end);
                        assert_eq!(count % element, 0);
                        assert!(count * blocks_at_once(kind, members) <= DESK_BODY_BYTES);
                        end += count;
                    }
                    assert_eq!(end, bytes);
                    assert_eq!(plan.part(plan.rounds + 3, bytes).1, 0);
                }
            }
        }
    }
}

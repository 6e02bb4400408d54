// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a call is cut into rounds, and whether a board serves it at all: by what all members know.

use super::table::ROUNDS_MAX;
use strait_collectives::kind::Kind;
use strait_transport::node::DESK_BODY_BYTES;

/// Beyond this the data goes by messages: through the board every byte is copied twice.
const BYTES_MAX: usize = 128 << 10;

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

/// Blocks that a publication holds one after another.
#[inline]
pub fn blocks_at_once(kind: Kind, members: u32) -> usize {
    match kind {
        Kind::Scatter | Kind::Alltoall | Kind::ReduceScatter => members as usize,
        _ => 1,
    }
}

/// For blocks of `bytes` bytes (of the whole vector; the longest, if they differ), which may be cut
/// between elements of `element` bytes. `None`: by messages.
#[inline]
pub fn plan(kind: Kind, members: u32, bytes: usize, element: usize) -> Option<Plan> {
    let blocks = blocks_at_once(kind, members);
    if bytes.checked_mul(blocks)? <= DESK_BODY_BYTES {
        return Some(Plan { chunk: bytes.max(1), rounds: 1 });
    }
    cut(bytes, DESK_BODY_BYTES / blocks, element)
}

fn cut(bytes: usize, room: usize, element: usize) -> Option<Plan> {
    let chunk = room - room % element.max(1);
    if chunk == 0 || bytes > BYTES_MAX {
        return None;
    }
    let rounds = bytes.div_ceil(chunk);
    (rounds <= ROUNDS_MAX).then_some(Plan { chunk, rounds: rounds as u32 })
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
                        assert!(blocks_at_once(kind, members) * element > DESK_BODY_BYTES);
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

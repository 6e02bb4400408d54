// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a publication says of the call that it belongs to: one word, compared by everybody who
//! reads it, so that calls that do not fit each other are named instead of mixed up.

use crate::error::{MpiError, advise, class};
use crate::object::comm::Comm;
use strait_collectives::kind::Kind;
use strait_collectives::reduce::Op;

/// Kind 5 bits, operation 6, root 11, bytes 42.
const BYTES_BITS: u32 = 42;
const ROOT_BITS: u32 = 11;
const OP_BITS: u32 = 6;

/// Codes of operations that users made: handles differ from process to process.
pub const USER: u32 = 1;
/// ... and that do not commute.
pub const USER_ORDERED: u32 = 2;

/// The word of a call. `bytes`: what all ranks know of its size.
#[inline]
pub fn word(kind: Kind, op: u32, root: u32, bytes: usize) -> u64 {
    let op = u64::from(op) & ((1 << OP_BITS) - 1);
    let root = u64::from(root) & ((1 << ROOT_BITS) - 1);
    let head = (kind as u64 + 1) << OP_BITS | op;
    (head << ROOT_BITS | root) << BYTES_BITS | (bytes as u64 & ((1 << BYTES_BITS) - 1))
}

struct Parts {
    kind: Option<Kind>,
    op: u32,
    root: u32,
    bytes: u64,
}

fn parts(word: u64) -> Parts {
    let head = word >> (BYTES_BITS + ROOT_BITS);
    let kind = (head >> OP_BITS).checked_sub(1);
    Parts {
        kind: kind.and_then(|kind| Kind::ALL.get(kind as usize).copied()),
        op: head as u32 & ((1 << OP_BITS) - 1),
        root: (word >> BYTES_BITS) as u32 & ((1 << ROOT_BITS) - 1),
        bytes: word & ((1 << BYTES_BITS) - 1),
    }
}

fn describe(parts: &Parts) -> String {
    let Some(kind) = parts.kind else { return "something unknown".into() };
    let mut text = format!("{} of {} bytes", kind.name(), parts.bytes);
    if kind == Kind::Barrier {
        text = kind.name().into();
    }
    if kind.is_rooted() {
        text += &format!(" with root {}", parts.root);
    }
    if kind.reduces() {
        let op = match parts.op {
            USER => "an operation of the program",
            USER_ORDERED => "an operation of the program that does not commute",
            code => Op::from_code(code).map_or("an unknown operation", Op::name),
        };
        text += &format!(" by {op}");
    }
    text
}

/// The error of a member that made another call: `theirs` is what it published; `None` if it is in
/// a later call already.
#[cold]
pub fn mismatch(comm: &Comm, rank: u32, ours: u64, theirs: Option<u64>) -> Box<MpiError> {
    let (mine, place) = (parts(ours), comm.describe());
    let Some(theirs) = theirs.map(parts) else {
        let text = format!(
            "collective calls on {place} do not match: rank {rank} has left the call that this \
             rank's {} would belong to",
            describe(&mine)
        );
        return advise(class::OTHER, text, "all ranks must make the same calls in the same order");
    };
    let code = match () {
        () if mine.kind != theirs.kind => class::OTHER,
        () if mine.root != theirs.root => class::ROOT,
        () if mine.op != theirs.op => class::OP,
        () => class::TRUNCATE,
    };
    let text = format!(
        "collective calls on {place} do not match: this rank calls {}, rank {rank} {}",
        describe(&mine),
        describe(&theirs)
    );
    advise(
        code,
        text,
        "all ranks must make the same calls in the same order, with the same root and operation, \
         and with counts and datatypes that describe the same amount of data",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_tells_the_call() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            let found = parts(word(kind, 0x39, 1023, 1 << 40));
            assert_eq!(found.kind, Some(kind));
            assert_eq!((found.op, found.root, found.bytes), (0x39, 1023, 1 << 40));
        }
        let text = describe(&parts(word(Kind::Reduce, 0x21, 3, 8)));
        assert_eq!(text, "reduce of 8 bytes with root 3 by MPI_SUM");
        assert_eq!(describe(&parts(word(Kind::Barrier, 0, 0, 0))), "barrier");
    }
}

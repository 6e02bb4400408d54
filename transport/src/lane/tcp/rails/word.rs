// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the two ends of a pair with rails say about the rails: frames of 32 bytes without a body.
#![forbid(unsafe_code)]

use super::RAILS_MAX;
use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header};

/// A word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RailWord {
    /// The first on each connection: so many data frames were sent on this rail before.
    Open { count: u32 },
    /// The ordered frames that follow on this connection begin at this offset of their stream.
    Resume { offset: u64 },
    /// All before this offset of the ordered stream was delivered, and so many data frames came by
    /// each rail since the pair exists.
    Acknowledge { offset: u64, counts: [u32; RAILS_MAX] },
    /// The connection of this name, on this rail, is given up.
    Down { rail: u32, name: u64 },
    /// The last ordered frame: goodbye, after so many data frames since the pair exists.
    Last { chunks: u64 },
}

/// The kinds, the first of which is 0xf3.
const OPEN: u8 = 0xf3;
const RESUME: u8 = 0xf4;
const ACKNOWLEDGE: u8 = 0xf5;
const DOWN: u8 = 0xf6;
const LAST: u8 = 0xf7;

impl RailWord {
    /// The frame as it travels.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let nothing = Header::default();
        codec::encode(&match self {
            RailWord::Open { count } => Header { kind: OPEN, token: count.into(), ..nothing },
            RailWord::Resume { offset } => Header { kind: RESUME, token: offset, ..nothing },
            RailWord::Acknowledge { offset, counts: [context, source, tag, extra] } => {
                Header { kind: ACKNOWLEDGE, token: offset, context, source, tag, extra, ..nothing }
            }
            RailWord::Down { rail, name } => {
                Header { kind: DOWN, token: name, extra: rail, ..nothing }
            }
            RailWord::Last { chunks } => Header { kind: LAST, token: chunks, ..nothing },
        })
    }

    /// The word in these bytes, if it is one and nothing else.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<RailWord> {
        let word =
            |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        let token = u64::from(word(24)) | u64::from(word(28)) << 32;
        let found = match bytes[0] {
            OPEN => RailWord::Open { count: token as u32 },
            RESUME => RailWord::Resume { offset: token },
            ACKNOWLEDGE => {
                let counts = [word(8), word(12), word(16), word(20)];
                RailWord::Acknowledge { offset: token, counts }
            }
            DOWN => RailWord::Down { rail: word(20), name: token },
            LAST => RailWord::Last { chunks: token },
            _ => return None,
        };
        (found.encode() == *bytes).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_trip_and_nothing_else_is_one() {
        let words = [
            RailWord::Open { count: 7 },
            RailWord::Resume { offset: 1 << 40 },
            RailWord::Acknowledge { offset: 5, counts: [1, 2, 3, u32::MAX] },
            RailWord::Down { rail: 3, name: 1 << 33 },
            RailWord::Last { chunks: 9 },
        ];
        for word in words {
            let bytes = word.encode();
            assert_eq!(RailWord::decode(&bytes), Some(word));
            for at in [1, 2, 4] {
                let mut wrong = bytes;
                wrong[at] = 1;
                assert_eq!(RailWord::decode(&wrong), None, "{word:?}, byte {at}");
            }
        }
        assert_eq!(RailWord::decode(&[0xf8; HEADER_BYTES]), None);
    }
}

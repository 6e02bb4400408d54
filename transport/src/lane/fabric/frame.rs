// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What travels in a message of a fabric's library.
//!
//! An endpoint takes messages from anybody who can reach it and does not say from whom. So
//! each begins with its sender's rank and a tag that only holders of the job's key can make: the
//! tag of a pair, the same for all its messages. It keeps strangers and other jobs out; it does not
//! protect against who can read the network, as little as the fabric itself does.
#![forbid(unsafe_code)]

use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes before the header.
pub const PREFIX_BYTES: usize = 20;
/// Bytes before the body.
pub const HEAD_BYTES: usize = PREFIX_BYTES + HEADER_BYTES;
/// Changes with everything that is said here.
const VERSION: u8 = 2;

/// What a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// A message of the protocol: header and body follow.
    Message = 1,
    /// The sender finalizes: nothing follows, and its end will be no loss.
    Goodbye = 2,
    /// A goodbye was read, and with it all that came before.
    Farewell = 3,
    /// Says how many messages have come, and nothing else.
    Count = 4,
}

/// The tag of all messages from one rank to another.
pub fn tag(key: &[u8; 32], job: &[u8; 16], from: u32, to: u32) -> u64 {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(b"strait fabric message");
    mac.update(job);
    mac.update(&from.to_le_bytes());
    mac.update(&to.to_le_bytes());
    let code = mac.finalize().into_bytes();
    u64::from_le_bytes(*code.first_chunk().expect("an HMAC has 32 bytes"))
}

/// The prefix of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// Who says to have sent it.
    pub from: u32,
    /// What it is for.
    pub kind: FrameKind,
    /// Messages that its sender has had from us, modulo 65536.
    pub seen: u16,
    /// Its place among all frames of its pair and direction, modulo 2^32.
    pub place: u32,
    /// What proves the sender.
    pub tag: u64,
}

impl Prefix {
    /// As it travels.
    #[inline]
    pub fn write(&self, into: &mut [u8]) {
        let [low, high] = self.seen.to_le_bytes();
        into[..4].copy_from_slice(&self.from.to_le_bytes());
        into[4..8].copy_from_slice(&[self.kind as u8, VERSION, low, high]);
        into[8..12].copy_from_slice(&self.place.to_le_bytes());
        into[12..PREFIX_BYTES].copy_from_slice(&self.tag.to_le_bytes());
    }

    #[inline]
    fn read(bytes: &[u8; PREFIX_BYTES]) -> Option<Prefix> {
        let (from, more) = bytes.split_first_chunk::<4>()?;
        let (what, more) = more.split_first_chunk::<4>()?;
        let (place, tag) = more.split_first_chunk::<4>()?;
        let [kind, version, low, high] = *what;
        let kind = match kind {
            1 => FrameKind::Message,
            2 => FrameKind::Goodbye,
            3 => FrameKind::Farewell,
            4 => FrameKind::Count,
            _ => return None,
        };
        if version != VERSION {
            return None;
        }
        Some(Prefix {
            from: u32::from_le_bytes(*from),
            kind,
            seen: u16::from_le_bytes([low, high]),
            place: u32::from_le_bytes(*place),
            tag: u64::from_le_bytes(*tag.first_chunk()?),
        })
    }
}

/// A frame that has arrived: in one piece, or cut behind the first header or the first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its beginning.
    pub prefix: Prefix,
    /// What follows the prefix in the first piece.
    first: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    /// From the bytes of a frame; `None` for anything else.
    #[inline]
    pub fn read(head: &'a [u8], rest: &'a [u8]) -> Option<Frame<'a>> {
        let (prefix, first) = head.split_first_chunk::<PREFIX_BYTES>()?;
        Some(Frame { prefix: Prefix::read(prefix)?, first, rest })
    }

    /// What follows the prefix, in one piece.
    pub fn copy_messages(&self) -> Vec<u8> {
        [self.first, self.rest].concat()
    }

    /// Its first message: header, body, and the messages behind it.
    #[inline]
    pub fn first_message(&self) -> Option<(Header, &'a [u8], &'a [u8])> {
        match self.first.len() {
            0 => next_message(self.rest),
            HEADER_BYTES => {
                let header = codec::decode(self.first.first_chunk()?).ok()?;
                let (body, more) = self.rest.split_at_checked(header.body as usize)?;
                Some((header, body, more))
            }
            _ => next_message(self.first),
        }
    }
}

/// The first of messages that follow each other: header, body, and the others. `None`: there is
/// none, or it makes no sense.
#[inline]
pub fn next_message(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let header = codec::decode(head).ok()?;
    let (body, more) = rest.split_at_checked(header.body as usize)?;
    Some((header, body, more))
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::MessageKind;

    #[test]
    fn a_frame_survives_the_trip_and_nothing_else_is_one() {
        let header = Header { body: 3, ..Header::with_token(MessageKind::Fin, 7) };
        let sent =
            Prefix { from: 9, kind: FrameKind::Message, seen: 0x1234, place: 77, tag: 0xfeed };
        let mut bytes = vec![0; HEAD_BYTES];
        sent.write(&mut bytes);
        bytes[PREFIX_BYTES..].copy_from_slice(&codec::encode(&header));
        bytes.extend(b"abc");
        // However it is cut, and with a second message behind the first or without.
        for cut in [PREFIX_BYTES, HEAD_BYTES, bytes.len()] {
            let (head, rest) = bytes.split_at(cut);
            let frame = Frame::read(head, rest).expect("a frame");
            assert_eq!(frame.prefix, sent);
            assert_eq!(frame.first_message(), Some((header, &b"abc"[..], &b""[..])), "{cut}");
            assert_eq!(frame.copy_messages(), bytes[PREFIX_BYTES..]);
        }
        let both = [&bytes[..], &bytes[PREFIX_BYTES..]].concat();
        for cut in [PREFIX_BYTES, HEAD_BYTES] {
            let frame = Frame::read(&both[..cut], &both[cut..]).expect("a frame");
            let (_, _, more) = frame.first_message().expect("the first");
            assert_eq!(next_message(more), Some((header, &b"abc"[..], &b""[..])), "{cut}");
        }
        let short = Frame::read(&bytes[..PREFIX_BYTES], &bytes[PREFIX_BYTES..bytes.len() - 1]);
        assert_eq!(short.expect("a frame").first_message(), None);
        for length in 0..PREFIX_BYTES {
            assert_eq!(Frame::read(&bytes[..length], &[]), None);
        }
        for (at, value) in [(4, 0), (4, 5), (5, 0), (5, 1)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(Frame::read(&wrong, &[]), None, "byte {at} is {value}");
        }
    }

    #[test]
    fn a_tag_is_of_one_pair_and_one_direction_and_one_job() {
        let tags = [
            tag(&[1; 32], &[2; 16], 0, 1),
            tag(&[1; 32], &[2; 16], 1, 0),
            tag(&[1; 32], &[2; 16], 0, 2),
            tag(&[1; 32], &[3; 16], 0, 1),
            tag(&[4; 32], &[2; 16], 0, 1),
        ];
        for (at, one) in tags.iter().enumerate() {
            assert!(!tags[at + 1..].contains(one));
        }
        assert_eq!(tags[0], tag(&[1; 32], &[2; 16], 0, 1));
    }
}

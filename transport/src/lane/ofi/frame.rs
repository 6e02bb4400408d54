// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What travels in a message of libfabric, and what a rank publishes of its endpoint.
//!
//! A reliable endpoint takes messages from anybody who can reach it and does not say from whom. So
//! each begins with its sender's rank and a tag that only holders of the job's key can make: the
//! tag of a pair, the same for all its messages. It keeps strangers and other jobs out; it does not
//! protect against who can read the network, as little as the fabric itself does.
#![forbid(unsafe_code)]

use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes before the header.
pub const PREFIX_BYTES: usize = 16;
/// Bytes before the body.
pub const HEAD_BYTES: usize = PREFIX_BYTES + HEADER_BYTES;
/// Longest message ...
const FRAME_BYTES: usize = 64 * 1024 + 64;
/// ... and where one provider lies above another, or cuts messages itself: below the 16 KiB up to
/// which `ofi_rxm` sends at once, its own headers included.
const FRAME_BYTES_LAYERED: usize = 16 * 1024 - 128;

/// Longest message over this provider.
pub fn frame_bytes_max(provider: &str) -> usize {
    let layered = provider.contains(';') || provider == "shm";
    if layered { FRAME_BYTES_LAYERED } else { FRAME_BYTES }
}
/// Changes with everything that is said here.
const VERSION: u8 = 1;

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
    mac.update(b"strait ofi message");
    mac.update(job);
    mac.update(&from.to_le_bytes());
    mac.update(&to.to_le_bytes());
    let code = mac.finalize().into_bytes();
    u64::from_le_bytes(*code.first_chunk().expect("an HMAC has 32 bytes"))
}

/// Writes the prefix. `seen` counts the messages that have come from the target so far.
#[inline]
pub fn write_prefix(into: &mut [u8], kind: FrameKind, from: u32, seen: u16, tag: u64) {
    let [low, high] = seen.to_le_bytes();
    into[..4].copy_from_slice(&from.to_le_bytes());
    into[4..8].copy_from_slice(&[kind as u8, VERSION, low, high]);
    into[8..16].copy_from_slice(&tag.to_le_bytes());
}

/// A message that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Who says to have sent it.
    pub from: u32,
    /// What proves it.
    pub tag: u64,
    /// What it is for.
    pub kind: FrameKind,
    /// Messages that its sender has had from us, modulo 65536.
    pub seen: u16,
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    /// From the bytes of a message; `None` for anything else.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
        let (from, more) = prefix.split_first_chunk::<4>()?;
        let (what, tag) = more.split_first_chunk::<4>()?;
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
        let seen = u16::from_le_bytes([low, high]);
        let tag = u64::from_le_bytes(*tag.first_chunk()?);
        Some(Frame { from: u32::from_le_bytes(*from), tag, kind, seen, rest })
    }

    /// Header and body of the message at this place of the frame, and the place of the next one.
    /// `None`: the frame ends there, or makes no sense from there on.
    #[inline]
    pub fn message(&self, at: usize) -> Option<(Header, &'a [u8], usize)> {
        let (head, rest) = self.rest.get(at..)?.split_first_chunk::<HEADER_BYTES>()?;
        let header = codec::decode(head).ok()?;
        let body = rest.get(..header.body as usize)?;
        Some((header, body, at + HEADER_BYTES + body.len()))
    }
}

/// First byte of a blob.
const FAMILY_OFI: u8 = b'o';
/// Bytes of a blob before the endpoint's name.
const BLOB_HEAD_BYTES: usize = 4;

/// What a rank publishes: provider (as a number made of its name) and name of the endpoint.
pub fn encode_blob(provider: &str, name: &[u8]) -> Vec<u8> {
    let [low, high] = number_of(provider).to_le_bytes();
    let mut blob = vec![FAMILY_OFI, 0, low, high];
    blob.extend_from_slice(name);
    blob
}

/// The name in a blob.
///
/// # Errors
/// It was written by another lane, or for another provider.
pub fn decode_blob<'a>(blob: &'a [u8], provider: &str) -> Result<&'a [u8], String> {
    let advice = "all ranks need the same STRAIT_LANES and STRAIT_OFI_PROVIDER, and hosts alike";
    let Some((&[FAMILY_OFI, 0, low, high], name)) = blob.split_first_chunk::<BLOB_HEAD_BYTES>()
    else {
        return Err(format!("it does not use libfabric, as this rank does; {advice}"));
    };
    if u16::from_le_bytes([low, high]) != number_of(provider) || name.is_empty() {
        return Err(format!("it uses another libfabric provider than {provider}; {advice}"));
    }
    Ok(name)
}

/// FNV-1a of the name, folded.
fn number_of(provider: &str) -> u16 {
    let hash = provider
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ hash >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::MessageKind;

    #[test]
    fn a_frame_survives_the_trip_and_nothing_else_is_one() {
        let header = Header { body: 3, ..Header::with_token(MessageKind::Fin, 7) };
        let mut bytes = vec![0; HEAD_BYTES];
        write_prefix(&mut bytes, FrameKind::Message, 9, 0x1234, 0xfeed);
        bytes[PREFIX_BYTES..].copy_from_slice(&codec::encode(&header));
        bytes.extend(b"abc");
        let frame = Frame::read(&bytes).expect("a frame");
        assert_eq!((frame.from, frame.tag, frame.kind), (9, 0xfeed, FrameKind::Message));
        assert_eq!(frame.seen, 0x1234);
        assert_eq!(frame.message(0), Some((header, &b"abc"[..], 35)));
        assert_eq!(frame.message(35), None);
        assert_eq!(Frame::read(&bytes[..bytes.len() - 1]).and_then(|f| f.message(0)), None);
        // A second one behind it.
        let second = bytes[PREFIX_BYTES..].to_vec();
        let both = [bytes.clone(), second].concat();
        let frame = Frame::read(&both).expect("a frame");
        assert_eq!(frame.message(35), Some((header, &b"abc"[..], 70)));
        for length in 0..PREFIX_BYTES {
            assert_eq!(Frame::read(&bytes[..length]), None);
        }
        for (at, value) in [(4, 0), (4, 5), (5, 0), (5, 2)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(Frame::read(&wrong), None, "byte {at} is {value}");
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

    #[test]
    fn blobs_of_others_are_refused_in_words() {
        let blob = encode_blob("tcp;ofi_rxm", &[5; 16]);
        assert_eq!(decode_blob(&blob, "tcp;ofi_rxm"), Ok(&[5; 16][..]));
        let other = decode_blob(&blob, "efa").expect_err("another provider");
        assert!(other.contains("than efa") && other.contains("STRAIT_OFI_PROVIDER"), "{other}");
        let tcp = decode_blob(&[4; 24], "efa").expect_err("another lane");
        assert!(tcp.contains("does not use libfabric"), "{tcp}");
    }
}

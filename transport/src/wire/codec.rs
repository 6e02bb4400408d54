// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes to headers and back, little-endian. Rejects what makes no sense; never panics.
#![forbid(unsafe_code)]

use super::header::{HEADER_BYTES, Header, MessageKind};
use crate::error::{Error, Kind, Result};

/// The header as it travels.
#[inline]
pub fn encode(header: &Header) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[0] = header.kind;
    bytes[1] = header.flags;
    bytes[2..4].copy_from_slice(&header.reserved.to_le_bytes());
    bytes[4..8].copy_from_slice(&header.body.to_le_bytes());
    bytes[8..12].copy_from_slice(&header.context.to_le_bytes());
    bytes[12..16].copy_from_slice(&header.source.to_le_bytes());
    bytes[16..20].copy_from_slice(&header.tag.to_le_bytes());
    bytes[20..24].copy_from_slice(&header.extra.to_le_bytes());
    bytes[24..32].copy_from_slice(&header.token.to_le_bytes());
    bytes
}

/// The header in these bytes.
///
/// # Errors
/// An unknown kind, or a reserved field that is not zero.
#[inline]
pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header> {
    let word = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    let header = Header {
        kind: bytes[0],
        flags: bytes[1],
        reserved: u16::from_le_bytes([bytes[2], bytes[3]]),
        body: word(4),
        context: word(8),
        source: word(12),
        tag: word(16),
        extra: word(20),
        token: u64::from(word(24)) | u64::from(word(28)) << 32,
    };
    if MessageKind::from_byte(header.kind).is_none() || header.reserved != 0 {
        return Err(senseless(&header));
    }
    Ok(header)
}

#[cold]
#[inline(never)]
fn senseless(header: &Header) -> Error {
    let text = format!("a message header makes no sense: kind {}", header.kind);
    Error::new(Kind::Protocol(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_round_trip(
            kind in 1u8..=11, flags: u8, body: u32, context: u32, source: u32, tag: u32,
            extra: u32, token: u64,
        ) {
            let header =
                Header { kind, flags, reserved: 0, body, context, source, tag, extra, token };
            prop_assert_eq!(decode(&encode(&header)).expect("it is sound"), header);
        }

        #[test]
        fn any_bytes_are_answered(bytes: [u8; HEADER_BYTES]) {
            if let Ok(header) = decode(&bytes) {
                prop_assert_eq!(encode(&header), bytes);
            }
        }

        #[test]
        fn offsets_round_trip(token: u64, offset: u64) {
            prop_assert_eq!(Header::data(token, offset, 1).data_offset(), offset);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a rank publishes of its worker.
#![forbid(unsafe_code)]

/// First byte of a blob.
const FAMILY_UCX: u8 = b'u';
/// Bytes of a blob before UCX's address.
pub const HEAD_BYTES: usize = 2;

/// From the address of a worker.
pub fn encode(address: &[u8]) -> Vec<u8> {
    let mut blob = vec![FAMILY_UCX, 0];
    blob.extend_from_slice(address);
    blob
}

/// The address in a blob.
///
/// # Errors
/// It was written by another lane.
pub fn decode(blob: &[u8]) -> Result<&[u8], String> {
    match blob.split_first_chunk::<HEAD_BYTES>() {
        Some((&[FAMILY_UCX, 0], address)) if !address.is_empty() => Ok(address),
        _ => Err("it does not use UCX, as this rank does; all ranks need the same STRAIT_LANES, \
                  and hosts alike"
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_of_others_are_refused_in_words() {
        assert_eq!(decode(&encode(&[5; 200])), Ok(&[5; 200][..]));
        for other in [&[4; 24][..], &[b'u', 0], &[b'u', 1, 1], &[]] {
            let why = decode(other).expect_err("another lane");
            assert!(why.contains("does not use UCX") && why.contains("STRAIT_LANES"), "{why}");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a rank publishes of its endpoint.
#![forbid(unsafe_code)]

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

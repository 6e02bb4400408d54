// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sizes as people write them: `64K`, `8,1M`, `8..64M`.
#![forbid(unsafe_code)]

/// The largest size: 64 GiB.
const SIZE_MAX: u64 = 1 << 36;

/// The sizes of a list; a range means its powers of two, both ends included.
pub fn sizes(text: &str) -> Result<Vec<u64>, String> {
    let mut sizes = Vec::new();
    for part in text.split(',') {
        match part.split_once("..") {
            None => sizes.push(size(part)?),
            Some((from, to)) => {
                let (from, to) = (size(from)?, size(to)?);
                if from == 0 || from > to {
                    return Err(format!("'{part}' is an empty range of sizes"));
                }
                let doubled = std::iter::successors(Some(from), |size| size.checked_mul(2));
                sizes.extend(doubled.take_while(|size| *size <= to));
            }
        }
    }
    Ok(sizes)
}

/// One size.
pub fn size(text: &str) -> Result<u64, String> {
    let refused = || format!("'{text}' is not a size: write 8, 64K, 1M or 2G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(refused()),
    };
    let number: u64 = digits.parse().map_err(|_| refused())?;
    match number.checked_mul(1 << shift) {
        Some(size) if size <= SIZE_MAX => Ok(size),
        _ => Err(format!("'{text}' is more than 64 GiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(sizes("8..64").unwrap(), [8, 16, 32, 64]);
        assert_eq!(sizes("0,3K,1MiB").unwrap(), [0, 3072, 1 << 20]);
        assert_eq!(sizes("8..64M").unwrap().len(), 24);
        for bad in ["", "x", "-1", "8..", "64..8", "0..8", "12Q", "999G"] {
            assert!(sizes(bad).is_err(), "{bad}");
        }
    }
}

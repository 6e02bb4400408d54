// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that starts at a page, and bytes that can be recomputed at the other side.
#![forbid(unsafe_code)]

const PAGE: usize = 4096;

/// Bytes whose first lies at the start of a page.
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    size: usize,
}

impl Buffer {
    /// `size` bytes, all touched.
    pub fn new(size: usize) -> Buffer {
        let memory = vec![1_u8; size + PAGE];
        let start = memory.as_ptr().align_offset(PAGE);
        assert!(start < PAGE, "a byte pointer can always be aligned");
        Buffer { memory, start, size }
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.size]
    }
}

/// Fills with what `seed` and the place say.
pub fn fill(bytes: &mut [u8], seed: u64) {
    bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = byte_of(seed, at));
}

/// Holds every byte what `fill` would have written?
pub fn holds(bytes: &[u8], seed: u64) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| *byte == byte_of(seed, at))
}

fn byte_of(seed: u64, at: usize) -> u8 {
    let mixed = (seed.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at as u64;
    (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_is_seen() {
        let mut buffer = Buffer::new(10_000);
        assert_eq!(buffer.bytes().as_ptr() as usize % PAGE, 0);
        fill(buffer.bytes(), 7);
        assert!(holds(buffer.bytes(), 7));
        assert!(!holds(buffer.bytes(), 8));
        buffer.bytes()[9_999] ^= 1;
        assert!(!holds(buffer.bytes(), 7));
    }
}

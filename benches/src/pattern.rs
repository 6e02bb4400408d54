// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes that can be recomputed at the other side: validation knows every byte that should have
//! come, and a byte of an earlier round, of another rank or of another place is wrong.
//!
//! What is only moved is filled with mixed bits. What is summed is filled with small whole
//! numbers, so that sums are exact, also in MPI_FLOAT and in any order.
#![forbid(unsafe_code)]

use crate::datatype::Type;

/// Names the contents of a buffer: which round, who wrote it, for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed {
    pub round: u64,
    pub from: usize,
    pub to: usize,
}

impl Seed {
    pub fn new(round: u64, from: usize, to: usize) -> Seed {
        Seed { round, from, to }
    }

    fn mixed(self) -> u64 {
        let of_ranks = ((self.from as u64) << 32) ^ self.to as u64;
        mix(self.round.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ mix(of_ranks))
    }
}

/// Spreads the differences of its argument over all bits.
fn mix(value: u64) -> u64 {
    let value = (value ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 29)
}

fn word(seed: u64, at: usize) -> [u8; 8] {
    mix(seed.wrapping_add(at as u64)).to_le_bytes()
}

/// Fills with what the seed and the place say.
pub fn fill(bytes: &mut [u8], seed: Seed) {
    let seed = seed.mixed();
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&word(seed, at)[..chunk.len()]);
    }
}

/// Holds every byte what [`fill`] would have written?
pub fn holds(bytes: &[u8], seed: Seed) -> bool {
    let seed = seed.mixed();
    let right = |(at, chunk): (usize, &[u8])| *chunk == word(seed, at)[..chunk.len()];
    bytes.chunks(8).enumerate().all(right)
}

/// The summand of one rank at one element: 0 to 127, so that a million ranks stay exact.
fn number(seed: u64, at: usize) -> u32 {
    (mix(seed.wrapping_add(at as u64)) >> 57) as u32
}

fn encode(value: u32, datatype: Type) -> [u8; 4] {
    match datatype {
        Type::Char => [value as u8, 0, 0, 0],
        Type::Int => (value as i32).to_ne_bytes(),
        Type::Float => (value as f32).to_ne_bytes(),
    }
}

/// Fills with the summands of rank `from`.
pub fn fill_numbers(bytes: &mut [u8], datatype: Type, round: u64, from: usize) {
    let seed = Seed::new(round, from, 0).mixed();
    let size = datatype.size();
    for (at, element) in bytes.chunks_exact_mut(size).enumerate() {
        element.copy_from_slice(&encode(number(seed, at), datatype)[..size]);
    }
}

/// Are these the sums over all ranks of their elements from `first` on?
pub fn holds_sums(bytes: &[u8], datatype: Type, round: u64, ranks: usize, first: usize) -> bool {
    let seeds: Vec<u64> = (0..ranks).map(|from| Seed::new(round, from, 0).mixed()).collect();
    let size = datatype.size();
    let right = |(at, element): (usize, &[u8])| {
        let sum = seeds.iter().map(|seed| number(*seed, first + at)).sum();
        *element == encode(sum, datatype)[..size]
    };
    bytes.chunks_exact(size).enumerate().all(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_is_seen() {
        let mut bytes = vec![0; 10_001];
        let seed = Seed::new(7, 1, 0);
        fill(&mut bytes, seed);
        assert!(holds(&bytes, seed));
        for at in [0, 1, 8, 4096, 9_999, 10_000] {
            bytes[at] ^= 1;
            assert!(!holds(&bytes, seed), "byte {at}");
            bytes[at] ^= 1;
        }
        assert!(holds(&bytes, seed));
    }

    #[test]
    fn another_round_rank_or_place_is_wrong() {
        let mut bytes = vec![0; 64];
        fill(&mut bytes, Seed::new(7, 1, 0));
        for other in [Seed::new(8, 1, 0), Seed::new(7, 2, 0), Seed::new(7, 0, 1)] {
            assert!(!holds(&bytes, other), "{other:?}");
        }
        bytes.rotate_left(8);
        assert!(!holds(&bytes, Seed::new(7, 1, 0)));
        assert!(!holds(&[0; 16], Seed::new(7, 1, 0)));
    }

    #[test]
    fn sums_are_exact_and_a_wrong_one_is_seen() {
        for datatype in [Type::Int, Type::Float] {
            let mut all: Vec<Vec<u8>> = vec![vec![0; 400]; 3];
            let filled = all.iter_mut().enumerate();
            filled.for_each(|(rank, bytes)| fill_numbers(bytes, datatype, 5, rank));
            let mut sums = vec![0; 400];
            for (at, sum) in sums.chunks_exact_mut(4).enumerate() {
                let bytes = |rank: usize| all[rank][at * 4..][..4].try_into().unwrap();
                match datatype {
                    Type::Int => {
                        let total: i32 = (0..3).map(|r| i32::from_ne_bytes(bytes(r))).sum();
                        sum.copy_from_slice(&total.to_ne_bytes());
                    }
                    _ => {
                        let total: f32 = (0..3).map(|r| f32::from_ne_bytes(bytes(r))).sum();
                        sum.copy_from_slice(&total.to_ne_bytes());
                    }
                }
            }
            assert!(holds_sums(&sums, datatype, 5, 3, 0));
            assert!(holds_sums(&sums[40..], datatype, 5, 3, 10));
            assert!(!holds_sums(&sums, datatype, 6, 3, 0));
            assert!(!holds_sums(&sums, datatype, 5, 2, 0));
            sums[399] ^= 1;
            assert!(!holds_sums(&sums, datatype, 5, 3, 0));
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a lane knows of the peers that talk, by rank.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by rank.
pub type ByRank<T> = HashMap<u32, T, BuildHasherDefault<RankHasher>>;

/// Ranks are small numbers that nobody can choose to our harm: one multiplication spreads them.
#[derive(Default)]
pub struct RankHasher(u64);

impl Hasher for RankHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, rank: u32) {
        self.0 = (self.0 ^ u64::from(rank)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

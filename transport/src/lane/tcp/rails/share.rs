// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How fast rails are beside each other, learnt without a clock from what is acknowledged while all
//! of them are busy; and on which a frame would arrive first.
//!
//! A rail that has nothing under way while others bring something is given half of what they bring:
//! so one that was once slow is tried again. None gets less than an eighth.
#![forbid(unsafe_code)]

use super::RAILS_MAX;

/// What all shares of one pair are together, about.
const WHOLE: u64 = 1 << 16;
/// The least share of a rail.
const LEAST: u64 = WHOLE / 8;
/// Acknowledged bytes after which shares are computed anew.
const LEARN_BYTES: u64 = 1024 * 1024;

/// The shares of a pair's rails.
pub struct Shares {
    shares: [u64; RAILS_MAX],
    seen: [u64; RAILS_MAX],
}

impl Default for Shares {
    fn default() -> Shares {
        Shares { shares: [WHOLE / 2; RAILS_MAX], seen: [0; RAILS_MAX] }
    }
}

impl Shares {
    /// When so many bytes, more than are under way on this rail, would have arrived there; only for
    /// comparisons.
    pub fn arrival(&self, rail: usize, bytes: usize) -> u64 {
        bytes as u64 * WHOLE / self.shares[rail]
    }

    /// So many bytes were acknowledged of each rail; `busy` tells which open rails had some under
    /// way (`None`: it is not open).
    pub fn learn(&mut self, acked: [usize; RAILS_MAX], busy: [Option<bool>; RAILS_MAX]) {
        let most = acked.into_iter().max().unwrap_or(0) as u64;
        for rail in 0..RAILS_MAX {
            self.seen[rail] += match busy[rail] {
                Some(true) => acked[rail] as u64,
                Some(false) => most / 2,
                None => 0,
            };
        }
        let sum: u64 = self.seen.iter().sum();
        if sum < LEARN_BYTES {
            return;
        }
        for rail in (0..RAILS_MAX).filter(|rail| busy[*rail].is_some()) {
            let now = self.seen[rail] * WHOLE / sum;
            self.shares[rail] = ((self.shares[rail] + now) / 2).max(LEAST);
        }
        self.seen = [0; RAILS_MAX];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 128 * 1024;
    const BUSY: [Option<bool>; RAILS_MAX] = [Some(true), Some(true), None, None];

    #[test]
    fn a_slow_rail_gets_less_and_is_tried_again() {
        let mut shares = Shares::default();
        assert_eq!(shares.arrival(0, CHUNK), shares.arrival(1, CHUNK));
        for _ in 0..10 {
            shares.learn([5 * CHUNK, CHUNK, 0, 0], BUSY);
            shares.learn([5 * CHUNK, CHUNK, 0, 0], BUSY);
        }
        // Four frames on the fast one are there before one on the slow one, six are not.
        assert!(shares.arrival(0, 4 * CHUNK) < shares.arrival(1, CHUNK));
        assert!(shares.arrival(0, 6 * CHUNK) > shares.arrival(1, CHUNK));
        // It has nothing to do: little by little it gets more.
        for _ in 0..40 {
            shares.learn([5 * CHUNK, 0, 0, 0], [Some(true), Some(false), None, None]);
        }
        assert!(shares.arrival(0, 3 * CHUNK) > shares.arrival(1, CHUNK));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Buffers for unexpected bodies, in size classes, counted to the byte.
//!
//! A class is a power of two or one of the three steps between two of them, so a buffer is at most
//! a quarter larger than its content. How many buffers are out is bounded by credit, not here. Of
//! those that came back at most [`KEPT_BYTES`] are kept for the next message, the rest goes back
//! to the allocator: in steady state nothing is allocated, after a burst nothing is hoarded.
#![forbid(unsafe_code)]

/// Smallest class.
const CLASS_MIN: usize = 16;
/// Classes up to 2^26 bytes: four to each of the 22 doublings from 16, and the last.
const CLASSES: usize = 22 * 4 + 1;
/// Unused bytes that are kept: sixteen of the largest eager messages.
pub const KEPT_BYTES: usize = 1 << 20;

/// Bytes of the class that holds `bytes`.
#[inline]
pub const fn class_bytes(bytes: usize) -> usize {
    if bytes <= CLASS_MIN {
        return CLASS_MIN;
    }
    let step = 1 << (usize::BITS - (bytes - 1).leading_zeros()).saturating_sub(3);
    (bytes + step - 1) & !(step - 1)
}

/// Index of a class by its bytes.
#[inline]
fn class_index(class: usize) -> usize {
    let doubling = class.ilog2() as usize;
    (doubling - 4) * 4 + (class >> (doubling - 2)) - 4
}

/// The buffers.
pub struct Pool {
    free: Vec<Vec<Box<[u8]>>>,
    kept_bytes: usize,
    held_bytes: usize,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new()
    }
}

impl Pool {
    /// No buffers yet.
    pub fn new() -> Pool {
        Pool { free: (0..CLASSES).map(|_| Vec::new()).collect(), kept_bytes: 0, held_bytes: 0 }
    }

    /// A buffer of at least `bytes`; what it contains is of no meaning.
    #[inline]
    pub fn take(&mut self, bytes: usize) -> Box<[u8]> {
        let class = class_bytes(bytes);
        self.held_bytes += class;
        match self.free.get_mut(class_index(class)).and_then(Vec::pop) {
            Some(buffer) => {
                self.kept_bytes -= class;
                buffer
            }
            None => vec![0; class].into_boxed_slice(),
        }
    }

    /// Takes a buffer of [`Pool::take`] back.
    #[inline]
    pub fn put(&mut self, buffer: Box<[u8]>) {
        let class = buffer.len();
        self.held_bytes -= class;
        if self.kept_bytes + class <= KEPT_BYTES
            && let Some(free) = self.free.get_mut(class_index(class))
        {
            self.kept_bytes += class;
            free.push(buffer);
        }
    }

    /// Bytes that are out.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes that came back and are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_tight_and_numbered_in_order() {
        let mut last = 0;
        for bytes in 0..100_000 {
            let class = class_bytes(bytes);
            assert!(class >= bytes && (class <= CLASS_MIN || class * 4 <= bytes * 5 + 12));
            assert_eq!(class_bytes(class), class);
            let index = class_index(class);
            assert!(index == last || index == last + 1, "{bytes}");
            last = index;
        }
        assert!(class_index(1 << 26) < CLASSES);
    }

    #[test]
    fn buffers_come_back() {
        let mut pool = Pool::new();
        let buffers: Vec<_> = (0..40).map(|i| pool.take(i * 3000)).collect();
        assert!(pool.held_bytes() >= 39 * 40 / 2 * 3000);
        buffers.into_iter().for_each(|buffer| pool.put(buffer));
        assert_eq!(pool.held_bytes(), 0);
        assert!(pool.kept_bytes() <= KEPT_BYTES);
        let huge = pool.take(1 << 28);
        pool.put(huge);
        assert_eq!(pool.held_bytes(), 0);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes that a socket did not take yet: contiguous, first in first out.
//!
//! One piece of memory with a head that moves; what is left is pulled to the front only when that
//! at least halves it, so a byte is moved about once. It is never split, therefore one `send` takes
//! all of it and a body can be packed straight into it. Empty queues own at most [`KEPT_BYTES`].
//!
//! Not here: the bound (connection.rs refuses before it appends).
#![forbid(unsafe_code)]

/// Memory an empty queue keeps: enough for the usual burst of short messages.
const KEPT_BYTES: usize = 16 * 1024;

/// The queue.
#[derive(Default)]
pub struct SendQueue {
    bytes: Vec<u8>,
    head: usize,
}

impl SendQueue {
    /// Bytes that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that waits, oldest first.
    #[inline]
    pub fn front(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// Appends a copy of `bytes`.
    pub fn append(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends `count` bytes and hands them out to be written.
    pub fn reserve(&mut self, count: usize) -> &mut [u8] {
        self.make_room(count);
        let start = self.bytes.len();
        self.bytes.resize(start + count, 0);
        &mut self.bytes[start..]
    }

    /// Removes `count` bytes from the front.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "more was sent than was queued");
        self.head += count;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.head = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// Gives memory back of which most is not used, though not all is gone.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() >= 32 * KEPT_BYTES && self.len() <= 4 * KEPT_BYTES {
            self.bytes = self.front().to_vec();
            self.head = 0;
        }
    }

    fn make_room(&mut self, count: usize) {
        let full = self.bytes.capacity() - self.bytes.len() < count;
        if full && self.head >= self.bytes.len() - self.head {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn behaves_like_a_deque_of_bytes() {
        let mut queue = SendQueue::default();
        let mut model = VecDeque::new();
        let mut state = 0x9e37_79b9_u64;
        for round in 0..20_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let count = (state >> 40) as usize % 300;
            let piece: Vec<u8> = (0..count).map(|i| (round as usize + i) as u8).collect();
            match (state >> 33) % 3 {
                0 => queue.append(&piece),
                1 => queue.reserve(count).copy_from_slice(&piece),
                _ => {
                    let count = (count * 2).min(queue.len());
                    queue.consume(count);
                    model.drain(..count);
                    continue;
                }
            }
            model.extend(piece);
            assert_eq!(queue.len(), model.len());
            if round % 64 == 0 {
                assert!(model.iter().eq(queue.front()));
            }
        }
        assert!(model.iter().eq(queue.front()));
    }

    #[test]
    fn an_almost_empty_queue_gives_memory_back_on_demand() {
        let mut queue = SendQueue::default();
        queue.reserve(1 << 20);
        queue.append(b"rest");
        queue.consume(1 << 20);
        queue.shrink();
        assert!(queue.front() == b"rest" && queue.bytes.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn an_empty_queue_gives_large_memory_back() {
        let mut queue = SendQueue::default();
        queue.reserve(1 << 20);
        queue.consume(1 << 20);
        assert!(queue.is_empty() && queue.bytes.capacity() <= KEPT_BYTES);
    }
}

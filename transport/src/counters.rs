// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Plain per-worker counters. Nothing here is atomic: the worker has one user at a time.
#![forbid(unsafe_code)]

/// What a worker has done, and what it holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Eager messages sent, short ones included.
    pub eager_sent: u64,
    /// Messages announced.
    pub announced_sent: u64,
    /// Of these: announced only because the credit was used up.
    pub announced_for_credit: u64,
    /// Eager messages that arrived before their receive.
    pub unexpected: u64,
    /// Messages fetched from the sender's memory.
    pub fetched: u64,
    /// Of these: messages of which the sender wrote a part.
    pub shared: u64,
    /// Receives that were offered to their senders.
    pub offers: u64,
    /// Offers of peers that a send of ours accepted.
    pub offers_accepted: u64,
    /// Fetches that were refused, so that the pipeline was used.
    pub fetch_refused: u64,
    /// Writes to memory that peers exposed.
    pub remote_writes: u64,
    /// Reads of such memory.
    pub remote_reads: u64,
    /// Data fragments sent.
    pub fragments_sent: u64,
    /// Times that a lane had no room.
    pub full: u64,
    /// Messages that made no sense (a mad peer).
    pub senseless: u64,
    /// Requests that exist.
    pub requests: usize,
    /// Receives that wait for a message.
    pub posted: usize,
    /// Messages that wait for a receive.
    pub unexpected_now: usize,
    /// Eager bodies that are parked here.
    pub parked: usize,
    /// Bytes of their buffers.
    pub parked_bytes: usize,
    /// The most of `parked_bytes` plus the queue entries of parked bodies that there ever was:
    /// what credit bounds.
    pub parked_bytes_most: usize,
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Handles of work in flight, and their terminal records.

use crate::error::Error;

/// A request of one worker: slab index and generation; a stale one is detected until the
/// generation wraps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId {
    /// Slab index.
    pub index: u32,
    /// Generation of the slab entry.
    pub generation: u32,
}

/// The terminal record of a request.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Source of the message (receives; for sends the sender's own envelope source).
    pub source: u32,
    /// Tag of the message.
    pub tag: u32,
    /// Packed bytes that were delivered (receives) or sent.
    pub bytes: usize,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As asked.
    Done,
    /// The message was longer than the buffer: `sent` bytes came, `Completion::bytes` were kept.
    Truncated { sent: usize },
    /// Cancelled before it matched.
    Cancelled,
    /// It cannot end: the peer is lost, or the transfer failed.
    Failed(Error),
}

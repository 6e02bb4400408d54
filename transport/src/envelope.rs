// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a message says of itself and what a receive accepts: 32 bits each for context, source, tag.
#![forbid(unsafe_code)]

/// Index of a peer (another process's worker) in a worker's endpoint table.
/// The peers `0..size` are the processes of the job in world order; more may be added later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Peer(pub u32);

/// What a message says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Envelope {
    /// Communication context: messages never match across contexts.
    pub context: u32,
    /// The sender as the receiver knows it (its rank in the group of the context).
    pub source: u32,
    /// User's tag.
    pub tag: u32,
}

/// In a [`Pattern`]: any source, or any tag. No envelope may carry this value.
pub const ANY: u32 = u32::MAX;

/// What a receive accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pattern {
    /// The context, always exact.
    pub context: u32,
    /// A source, or [`ANY`].
    pub source: u32,
    /// A tag, or [`ANY`].
    pub tag: u32,
}

impl Pattern {
    /// Whether a message with this envelope may be received by this pattern.
    #[inline]
    pub fn accepts(&self, envelope: &Envelope) -> bool {
        self.context == envelope.context
            && (self.source == ANY || self.source == envelope.source)
            && (self.tag == ANY || self.tag == envelope.tag)
    }
}

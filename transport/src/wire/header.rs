// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one header of all protocol messages: 32 bytes, little-endian, explicit widths.
//!
//! What `extra` and `token` mean depends on the kind; the table is in docs/protocol.md. The body
//! (`body` bytes, possibly none) follows the header in whatever way the lane carries it.
#![forbid(unsafe_code)]

/// Kinds of protocol messages. Zero is not a kind, so that zeroed memory is never a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MessageKind {
    /// A whole message: envelope and body.
    Eager = 1,
    /// First fragment of an eager message of several: body starts with its total length.
    EagerFirst = 2,
    /// A later fragment: `token` names the message, `extra` numbers the fragment.
    EagerMore = 3,
    /// Ready to send: envelope; body is length, address and rendezvous token of the sender.
    Rts = 4,
    /// Clear to send: the receiver asks for the data by fragments.
    Cts = 5,
    /// A fragment of rendezvous data: `token` is the receiver's, body starts with the offset.
    Data = 6,
    /// The transfer is over: the sender's request is done.
    Fin = 7,
    /// A synchronous eager send was matched.
    Ack = 8,
    /// The receiver grants more eager bytes.
    Credit = 9,
    /// The sender wants an announced message back.
    Cancel = 10,
    /// The answer: `extra` is 1 if the message was still unmatched and is gone.
    CancelReply = 11,
}

/// Flag: the sender waits for an [`MessageKind::Ack`] (synchronous mode).
pub const FLAG_SYNCHRONOUS: u8 = 1;
/// Flag of an RTS: the sender's memory is one contiguous range that may be fetched.
pub const FLAG_FETCHABLE: u8 = 2;

/// The header. `kind` is kept as a byte so that a mad peer cannot make an invalid enum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Header {
    /// A [`MessageKind`].
    pub kind: u8,
    /// Flags of the kind.
    pub flags: u8,
    /// Zero.
    pub reserved: u16,
    /// Bytes of the body.
    pub body: u32,
    /// Envelope: context.
    pub context: u32,
    /// Envelope: source.
    pub source: u32,
    /// Envelope: tag.
    pub tag: u32,
    /// See docs/protocol.md.
    pub extra: u32,
    /// See docs/protocol.md.
    pub token: u64,
}

/// Bytes of a header on the wire.
pub const HEADER_BYTES: usize = 32;
const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

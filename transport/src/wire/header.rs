// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one header of all protocol messages: 32 bytes, little-endian, explicit widths.
//!
//! What `extra` and `token` mean depends on the kind; the table is in docs/protocol.md. The body
//! (`body` bytes, possibly none) follows the header in whatever way the lane carries it.
#![forbid(unsafe_code)]

use crate::envelope::Envelope;

/// Kinds of protocol messages. Zero is not a kind, so that zeroed memory is never a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MessageKind {
    /// A whole message: envelope and body. `token` is the sender's if it waits for an Ack.
    Eager = 1,
    /// First fragment of an eager message of several: body starts with its total length (u64).
    EagerFirst = 2,
    /// A later fragment of the same message: `extra` numbers the fragment, from 1.
    EagerMore = 3,
    /// Ready to send: envelope; `token` is the sender's; body is length and address (u64 each).
    Rts = 4,
    /// Clear to send: `token` is the sender's; body is the receiver's token and the bytes that it
    /// wants (u64 each).
    Cts = 5,
    /// A fragment of rendezvous data: `token` is the receiver's, `extra` and `tag` are the low and
    /// the high half of the offset.
    Data = 6,
    /// The transfer is over: the sender's request `token` is done.
    Fin = 7,
    /// The synchronous eager send `token` was matched.
    Ack = 8,
    /// The receiver grants `token` more eager bytes.
    Credit = 9,
    /// The sender wants the message `token` back; the envelope says where to look for it.
    Cancel = 10,
    /// The answer: `extra` is 1 if the message was still unmatched and is gone.
    CancelReply = 11,
    /// The receiver of the announced message `token` copies it, and its sender may help: `extra`
    /// names the cell; the body is the receiver's token and the bytes that it wants (u64 each).
    Join = 12,
    /// All bytes of the receive `token` are in place, the sender wrote the last; it is done.
    Joined = 13,
}

impl MessageKind {
    /// The kind with this number.
    #[inline]
    pub fn from_byte(byte: u8) -> Option<MessageKind> {
        Some(match byte {
            1 => MessageKind::Eager,
            2 => MessageKind::EagerFirst,
            3 => MessageKind::EagerMore,
            4 => MessageKind::Rts,
            5 => MessageKind::Cts,
            6 => MessageKind::Data,
            7 => MessageKind::Fin,
            8 => MessageKind::Ack,
            9 => MessageKind::Credit,
            10 => MessageKind::Cancel,
            11 => MessageKind::CancelReply,
            12 => MessageKind::Join,
            13 => MessageKind::Joined,
            _ => return None,
        })
    }
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

impl Header {
    /// A header that carries an envelope.
    #[inline]
    pub fn with_envelope(kind: MessageKind, envelope: Envelope, body: usize) -> Header {
        Header {
            kind: kind as u8,
            body: body as u32,
            context: envelope.context,
            source: envelope.source,
            tag: envelope.tag,
            ..Header::default()
        }
    }

    /// A header that only names a request of its target, or a number of bytes.
    #[inline]
    pub fn with_token(kind: MessageKind, token: u64) -> Header {
        Header { kind: kind as u8, token, ..Header::default() }
    }

    /// The header of rendezvous data at `offset` of the message.
    #[inline]
    pub fn data(token: u64, offset: u64, body: usize) -> Header {
        Header {
            kind: MessageKind::Data as u8,
            body: body as u32,
            extra: offset as u32,
            tag: (offset >> 32) as u32,
            token,
            ..Header::default()
        }
    }

    /// The offset that [`Header::data`] wrote.
    #[inline]
    pub fn data_offset(&self) -> u64 {
        u64::from(self.tag) << 32 | u64::from(self.extra)
    }

    /// Whether a lane may deliver the body in pieces of any size, each as a message of its own.
    #[inline]
    pub fn comes_in_pieces(&self) -> bool {
        self.kind == MessageKind::Data as u8 || self.kind == MessageKind::EagerMore as u8
    }

    /// The header of the first `bytes` of the body of a message that comes in pieces.
    #[inline]
    pub fn piece(&self, bytes: usize) -> Header {
        Header { body: bytes as u32, ..*self }
    }

    /// The header of what follows that piece.
    #[inline]
    pub fn after_piece(&self, bytes: usize) -> Header {
        let mut rest = self.piece(self.body as usize - bytes);
        if self.kind == MessageKind::Data as u8 {
            // The offset is the peer's word, which the protocol checks.
            let offset = self.data_offset().wrapping_add(bytes as u64);
            (rest.extra, rest.tag) = (offset as u32, (offset >> 32) as u32);
        }
        rest
    }

    /// The envelope.
    #[inline]
    pub fn envelope(&self) -> Envelope {
        Envelope { context: self.context, source: self.source, tag: self.tag }
    }
}

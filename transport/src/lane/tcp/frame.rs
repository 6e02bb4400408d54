// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames of an authenticated connection, taken from a stream that arrives in arbitrary pieces.
//!
//! A frame is a header of 32 bytes, whose `body` field is the length of the rest, and the body.
//! Kinds from [`CONTROL_FIRST`] up are the lane's own and have no body.
//!
//! Invariants:
//! 1. A length is checked against its limit before any memory is reserved for it.
//! 2. A frame that lies wholly in the input is handed out as a slice of the input. One that is
//!    split is handed out piece by piece if its kind allows that ([`Header::comes_in_pieces`]),
//!    and else collected in `partial`.
//! 3. `next` either takes at least one byte, or hands out a frame, or the input was empty.
//! 4. After an error the stream has no meaning any more, and every later call answers the same.
//!
//! Not here: input and output, and who may send (auth.rs). Fuzzed by fuzz/frame.
#![forbid(unsafe_code)]

use super::rails::word::RailWord;
use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header, MessageKind};

/// Longest body of a frame: a fragment.
pub const BODY_BYTES_MAX: usize = super::FRAGMENT_BYTES_MAX;

/// Longest body of a frame that comes in pieces, for which no memory is reserved.
pub const BULK_BYTES_MAX: usize = super::BULK_BYTES_MAX;

/// First of the kinds that belong to the lane.
pub const CONTROL_FIRST: u8 = 0xf0;

/// Memory that a decoder keeps when no frame is split: a few short messages.
const KEPT_BYTES: usize = 4 * 1024;

/// Frames that the lanes of two processes exchange among themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// The acceptor to the initiator: this is the connection of our pair.
    Welcome,
    /// The acceptor to the initiator: another connection will be, or is, the one of our pair.
    Decline,
    /// The last frame: an orderly end, nothing follows.
    Goodbye,
    /// Where a pair has several connections: about these.
    Rail(RailWord),
}

impl Control {
    /// The frame as it travels.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let kind = match self {
            Control::Welcome => 0xf0,
            Control::Decline => 0xf1,
            Control::Goodbye => 0xf2,
            Control::Rail(word) => return word.encode(),
        };
        codec::encode(&Header { kind, ..Header::default() })
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Control, FrameError> {
        let control = match bytes[0] {
            0xf0 => Control::Welcome,
            0xf1 => Control::Decline,
            0xf2 => Control::Goodbye,
            0xf3..=0xf7 => {
                let word = RailWord::decode(bytes).ok_or(FrameError::Control(bytes[0]))?;
                return Ok(Control::Rail(word));
            }
            other => return Err(FrameError::Header(other)),
        };
        if bytes[1..].iter().any(|&byte| byte != 0) {
            return Err(FrameError::Control(bytes[0]));
        }
        Ok(control)
    }
}

/// A frame. The body borrows from the input or from the decoder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// A protocol message.
    Message(Header, &'a [u8]),
    /// A word between lanes.
    Control(Control),
}

/// Why a stream is not a sequence of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The header is none; its first byte.
    #[error("it sent a header that makes no sense (kind {0})")]
    Header(u8),
    /// The body would be longer than any sender of this version makes it.
    #[error("it announced a body of {0} bytes; at most {1} are allowed")]
    Length(u32, u32),
    /// A control frame with something in it that does not belong there.
    #[error("it sent a control frame {0:#x} that holds what it may not hold")]
    Control(u8),
}

/// What a header says of its frame.
enum Head {
    Control(Control),
    Message(Header),
}

impl Head {
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Head, FrameError> {
        if bytes[0] >= CONTROL_FIRST {
            return Control::decode(bytes).map(Head::Control);
        }
        let header = codec::decode(bytes).map_err(|_| FrameError::Header(bytes[0]))?;
        let most = if header.comes_in_pieces() { BULK_BYTES_MAX } else { BODY_BYTES_MAX };
        if header.body as usize > most {
            return Err(FrameError::Length(header.body, most as u32));
        }
        Ok(Head::Message(header))
    }

    /// What is still to come of a frame that comes in pieces, after its header.
    fn pieces(&self) -> Option<Header> {
        match self {
            Head::Message(header) if header.comes_in_pieces() && header.body > 0 => Some(*header),
            _ => None,
        }
    }

    fn expects_pieces(&self) -> bool {
        match self {
            Head::Message(header) => {
                header.comes_in_pieces() || header.kind == MessageKind::Rts as u8
            }
            Head::Control(_) => false,
        }
    }

    fn frame_bytes(&self) -> usize {
        match self {
            Head::Control(_) => HEADER_BYTES,
            Head::Message(header) => HEADER_BYTES + header.body as usize,
        }
    }

    /// The frame with this head; `bytes` are all of its bytes.
    fn frame(self, bytes: &[u8]) -> Frame<'_> {
        match self {
            Head::Control(control) => Frame::Control(control),
            Head::Message(header) => Frame::Message(header, &bytes[HEADER_BYTES..]),
        }
    }
}

/// The decoder of one connection.
#[derive(Default)]
pub struct FrameDecoder {
    /// The beginning of a frame whose end has not arrived, or (if `spent`) the frame handed out.
    partial: Vec<u8>,
    spent: bool,
    /// What is still to come of a frame that is handed out in pieces.
    rest: Option<Header>,
    /// The last frame came in pieces, or announced one that will: another may be next.
    expects_pieces: bool,
    failed: Option<FrameError>,
}

impl FrameDecoder {
    /// The next frame of `input`, which is advanced past it. `None`: all of `input` was taken and
    /// more is needed.
    ///
    /// # Errors
    /// The bytes are no frame; the connection cannot be used any more.
    #[inline]
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<Frame<'a>>, FrameError> {
        if self.rest.is_some() {
            return Ok(self.next_piece(input));
        }
        if self.spent || !self.partial.is_empty() || self.failed.is_some() {
            return self.next_split(input);
        }
        let Some(bytes) = input.first_chunk::<HEADER_BYTES>() else {
            return self.next_split(input);
        };
        let head = match Head::decode(bytes) {
            Ok(head) => head,
            Err(error) => return self.fail(error),
        };
        self.expects_pieces = head.expects_pieces();
        match input.split_at_checked(head.frame_bytes()) {
            Some((frame, rest)) => {
                *input = rest;
                Ok(Some(head.frame(frame)))
            }
            None if head.pieces().is_some() => {
                *input = &input[HEADER_BYTES..];
                self.rest = head.pieces();
                Ok(self.next_piece(input))
            }
            None => self.next_split(input),
        }
    }

    /// Whether a frame that comes in pieces is likely to be next.
    #[inline]
    pub fn expects_pieces(&self) -> bool {
        self.expects_pieces
    }

    /// The header of what must come next, if that is the rest of a frame that comes in pieces.
    pub fn awaited(&self) -> Option<Header> {
        self.rest
    }

    /// So many bytes of it came, and not through `next`; the header of that piece.
    pub fn landed(&mut self, bytes: usize) -> Option<Header> {
        let rest = self.rest?;
        self.rest = (bytes < rest.body as usize).then(|| rest.after_piece(bytes));
        Some(rest.piece(bytes))
    }

    /// Whether a frame has begun and not ended.
    pub fn is_amid(&self) -> bool {
        self.rest.is_some() || (!self.spent && !self.partial.is_empty())
    }

    fn next_piece<'a, 'b: 'a>(&mut self, input: &mut &'b [u8]) -> Option<Frame<'a>> {
        let rest = self.rest?;
        let (piece, tail) = input.split_at(input.len().min(rest.body as usize));
        if piece.is_empty() {
            return None;
        }
        *input = tail;
        self.landed(piece.len()).map(|header| Frame::Message(header, piece))
    }

    /// Gives memory back that only large split frames need.
    pub fn release(&mut self) {
        let idle = self.spent || self.partial.is_empty();
        if idle && self.partial.capacity() > KEPT_BYTES {
            self.partial = Vec::new();
            self.spent = false;
        }
    }

    /// As `next`, for a frame that lies in several pieces.
    #[inline(never)]
    fn next_split<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<Frame<'a>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.spent {
            self.partial.clear();
            self.spent = false;
            if !input.is_empty() {
                return self.next(input);
            }
        }
        self.take_up_to(HEADER_BYTES, input);
        let Some(bytes) = self.partial.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let head = match Head::decode(bytes) {
            Ok(head) => head,
            Err(error) => return self.fail(error),
        };
        self.expects_pieces = head.expects_pieces();
        if head.pieces().is_some() {
            self.partial.clear();
            self.rest = head.pieces();
            return Ok(self.next_piece(input));
        }
        self.take_up_to(head.frame_bytes(), input);
        if self.partial.len() < head.frame_bytes() {
            return Ok(None);
        }
        self.spent = true;
        Ok(Some(head.frame(&self.partial)))
    }

    /// Moves bytes from the input until `partial` has `count`.
    fn take_up_to(&mut self, count: usize, input: &mut &[u8]) {
        let missing = count.saturating_sub(self.partial.len());
        self.partial.reserve_exact(missing);
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(taken);
        *input = rest;
    }

    #[cold]
    fn fail(&mut self, error: FrameError) -> Result<Option<Frame<'_>>, FrameError> {
        self.failed = Some(error);
        self.partial = Vec::new();
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> Vec<u8> {
        let header = Header { kind: 1, body: body.len() as u32, token: 7, ..Header::default() };
        [&codec::encode(&header)[..], body].concat()
    }

    fn decode(decoder: &mut FrameDecoder, mut piece: &[u8]) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        while let Some(frame) = decoder.next(&mut piece).expect("well-formed") {
            match frame {
                Frame::Message(header, body) => {
                    assert_eq!((header.token, header.body as usize), (7, body.len()));
                    bodies.push(body.to_vec());
                }
                Frame::Control(control) => bodies.push(control.encode()[..1].to_vec()),
            }
        }
        assert!(piece.is_empty());
        bodies
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same_frames() {
        let mut stream = Vec::new();
        for body in [&b""[..], b"a", b"hello", &[9; 70]] {
            stream.extend(message(body));
        }
        stream.extend(Control::Goodbye.encode());
        let whole = decode(&mut FrameDecoder::default(), &stream);
        assert_eq!(whole.len(), 5);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut decoder = FrameDecoder::default();
                let mut got = decode(&mut decoder, &stream[..first]);
                got.extend(decode(&mut decoder, &stream[first..second]));
                got.extend(decode(&mut decoder, &stream[second..]));
                assert_eq!(got, whole, "split at {first} and {second}");
                assert!(!decoder.is_amid());
            }
        }
    }

    /// Bodies of kinds that come in pieces: however they are cut, the pieces are the body, their
    /// offsets follow each other, and nothing of them is kept.
    #[test]
    fn every_split_of_a_long_body_gives_its_pieces() {
        let data = Header::data(7, 1 << 33, 50);
        let more = Header { body: 40, ..Header::with_token(MessageKind::EagerMore, 7) };
        let body: Vec<u8> = (0..90).collect();
        let mut stream = message(b"before");
        stream.extend([&codec::encode(&data)[..], &body[..50]].concat());
        stream.extend([&codec::encode(&more)[..], &body[50..]].concat());
        stream.extend(message(b"after"));
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut decoder = FrameDecoder::default();
                let (mut got, mut offset) = (Vec::new(), 1 << 33);
                for mut input in [&stream[..first], &stream[first..second], &stream[second..]] {
                    while let Some(frame) = decoder.next(&mut input).expect("well-formed") {
                        let Frame::Message(header, piece) = frame else { panic!() };
                        assert_eq!(header.body as usize, piece.len());
                        if header.kind == MessageKind::Data as u8 {
                            assert_eq!(header.data_offset(), offset);
                            offset += piece.len() as u64;
                        }
                        got.extend_from_slice(piece);
                    }
                    assert!(input.is_empty());
                    assert!(decoder.partial.len() < HEADER_BYTES + 6, "bodies are not kept");
                }
                assert_eq!(got, [b"before", &body[..], b"after"].concat());
                assert!(!decoder.is_amid());
            }
        }
    }

    /// The bytes that land elsewhere than in the decoder's input count like those in it.
    #[test]
    fn what_lands_elsewhere_is_counted() {
        let head = codec::encode(&Header::data(7, 5, 1000));
        let mut decoder = FrameDecoder::default();
        assert_eq!(decoder.next(&mut &head[..]), Ok(None));
        assert_eq!(decoder.awaited(), Some(Header::data(7, 5, 1000)));
        assert_eq!(decoder.landed(400), Some(Header::data(7, 5, 400)));
        assert!(decoder.is_amid());
        let mut input = &[1; 100][..];
        let frame = decoder.next(&mut input).expect("sound");
        assert_eq!(frame, Some(Frame::Message(Header::data(7, 405, 100), &[1; 100])));
        assert_eq!(decoder.landed(500), Some(Header::data(7, 505, 500)));
        assert!(!decoder.is_amid() && decoder.awaited().is_none() && decoder.landed(1).is_none());
    }

    #[test]
    fn a_whole_frame_is_not_copied() {
        let stream = message(b"payload");
        let mut input = &stream[..];
        let mut decoder = FrameDecoder::default();
        let Ok(Some(Frame::Message(_, body))) = decoder.next(&mut input) else { panic!() };
        assert_eq!(body.as_ptr(), stream[HEADER_BYTES..].as_ptr());
    }

    #[test]
    fn a_length_beyond_the_limit_reserves_nothing_and_stays_an_error() {
        let mut stream = message(b"");
        stream[4..8].copy_from_slice(&(BODY_BYTES_MAX as u32 + 1).to_le_bytes());
        for split in [HEADER_BYTES, 10] {
            let mut decoder = FrameDecoder::default();
            let (mut first, mut second) = stream.split_at(split);
            let answer = match decoder.next(&mut first).map(|frame| frame.is_none()) {
                Ok(none) => {
                    assert!(none);
                    decoder.next(&mut second).map(|_| ())
                }
                Err(error) => Err(error),
            };
            let most = BODY_BYTES_MAX as u32;
            assert_eq!(answer, Err(FrameError::Length(most + 1, most)));
            assert_eq!(decoder.partial.capacity(), 0);
            assert!(decoder.next(&mut &message(b"")[..]).is_err());
        }
    }

    #[test]
    fn control_frames_are_empty() {
        let mut bytes = Control::Welcome.encode();
        bytes[4] = 1;
        let mut decoder = FrameDecoder::default();
        assert_eq!(decoder.next(&mut &bytes[..]), Err(FrameError::Control(0xf0)));
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 0xf8;
        let mut decoder = FrameDecoder::default();
        assert!(decoder.next(&mut &bytes[..]).is_err());
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the fuzz targets and the smoke test call: one function per parser of foreign bytes. Each
//! takes any bytes, and panics if the parser breaks one of its promises (or itself panics).
//!
//! Not part of the public interface. Not here: where the bytes come from (fuzz/, fuzz_smoke.rs).
#![forbid(unsafe_code)]

use crate::lane::tcp::address::Address;
use crate::lane::tcp::auth::{
    Acceptor, CHALLENGE_BYTES, HELLO_BYTES, Identity, Initiator, PROOF_BYTES, WIRE_VERSION,
};
use crate::lane::tcp::frame::{Control, Frame, FrameDecoder, FrameError};
use crate::wire::codec;
use crate::wire::header::{HEADER_BYTES, Header};

/// Headers: what is accepted is what `encode` would have written, and nothing is lost.
pub fn header(data: &[u8]) {
    for bytes in data.as_chunks::<HEADER_BYTES>().0 {
        if let Ok(header) = codec::decode(bytes) {
            assert_eq!(codec::encode(&header), *bytes);
        }
        // The same fields, made acceptable, survive the trip.
        let mut sound = *bytes;
        sound[0] = sound[0] % 11 + 1;
        sound[2..4].fill(0);
        let header = codec::decode(&sound).expect("a known kind and nothing reserved");
        assert_eq!(codec::decode(&codec::encode(&header)).expect("encoded"), header);
    }
}

/// A frame as a value.
#[derive(PartialEq, Debug)]
enum Owned {
    Message(Header, Vec<u8>),
    Control(Control),
}

/// Frames: the first 16 bytes say in which pieces the rest arrives. However it is split, the frames
/// and the error are the same, and the frames are exactly the bytes that were sent.
pub fn frame(data: &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(16));
    let (whole, error) = decode(&mut stream.chunks(stream.len().max(1)));
    let mut encoded = Vec::new();
    for frame in &whole {
        match frame {
            Owned::Message(header, body) => {
                encoded.extend(codec::encode(header));
                encoded.extend(body);
            }
            Owned::Control(control) => encoded.extend(control.encode()),
        }
    }
    assert!(stream.starts_with(&encoded), "frames are the bytes of the stream, in order");
    let mut rest = stream;
    let mut sizes = cuts.iter().cycle().map(|cut| 1 + usize::from(*cut));
    let mut pieces = std::iter::from_fn(|| {
        let size = sizes.next()?.min(rest.len());
        let (piece, tail) = rest.split_at(size);
        rest = tail;
        (size > 0).then_some(piece)
    });
    assert_eq!(decode(&mut pieces), (whole, error), "pieces make no difference");
}

fn decode(pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<Owned>, Option<FrameError>) {
    let mut decoder = FrameDecoder::default();
    let mut frames = Vec::new();
    for mut piece in pieces {
        loop {
            let before = decoder.awaited();
            match decoder.next(&mut piece) {
                Ok(Some(Frame::Message(header, body))) => {
                    assert_eq!(header.body as usize, body.len());
                    let body = body.to_vec();
                    add(&mut frames, before, header, &body, decoder.awaited());
                }
                Ok(Some(Frame::Control(control))) => frames.push(Owned::Control(control)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next(&mut piece), Err(error), "an error stays");
                    return (frames, Some(error));
                }
            }
        }
        assert!(piece.is_empty(), "no frame means that all was taken");
    }
    (frames, None)
}

/// Adds what the decoder handed out: a frame, or a piece of one. `before` and `after` are what was
/// awaited of a frame that comes in pieces, which is put together again here.
fn add(
    frames: &mut Vec<Owned>,
    before: Option<Header>,
    header: Header,
    body: &[u8],
    after: Option<Header>,
) {
    let left = after.map_or(0, |rest| rest.body);
    if let Some(before) = before {
        assert_eq!(before.piece(body.len()), header, "a piece of what was awaited");
        assert_eq!(before.body, header.body + left);
        if let Some(Owned::Message(first, bytes)) = frames.last_mut()
            && bytes.len() < first.body as usize
        {
            assert_eq!(first.after_piece(bytes.len()), before, "pieces follow each other");
            bytes.extend_from_slice(body);
            return;
        }
        // Of this frame only the header has come so far.
        frames.push(Owned::Message(before, body.to_vec()));
        return;
    }
    let whole = Header { body: header.body + left, ..header };
    frames.push(Owned::Message(whole, body.to_vec()));
}

/// Handshakes: the bytes are first messages of their own, and then changes to real ones. What
/// differs from what the other side said in a single bit is refused; what does not is accepted.
pub fn handshake(data: &[u8]) {
    let (low, high) = (identity(1), identity(6));
    let listener = [4; 16];
    if let Some(hello) = data.first_chunk::<HELLO_BYTES>()
        && let Ok(acceptor) = Acceptor::new(&low, &listener, hello, [9; 16])
    {
        // A fuzzer that watches comparisons finds out tags. Then the rest is sound, too.
        assert_eq!(*hello, *call_again(hello, acceptor.from(), &listener).hello());
    }
    if let Some(address) = Address::decode(data) {
        assert_eq!(address.encode(), data);
    }
    let initiator = Initiator::new(&high, 1, 1, &listener, [8; 16]);
    let hello = changed(initiator.hello(), data);
    let accepted = Acceptor::new(&low, &listener, &hello, [9; 16]);
    assert_eq!(accepted.is_ok(), hello == *initiator.hello());

    let acceptor = Acceptor::new(&low, &listener, initiator.hello(), [9; 16]).expect("real");
    let challenge: [u8; CHALLENGE_BYTES] = changed(acceptor.challenge(), data);
    let answer = initiator.answer(&high, &challenge);
    assert_eq!(answer.is_ok(), challenge == *acceptor.challenge());

    let (proof, _) = initiator.answer(&high, acceptor.challenge()).expect("real");
    let sent: [u8; PROOF_BYTES] = changed(&proof, data);
    assert_eq!(acceptor.check(&low, &sent).is_ok(), sent == proof);
}

/// The call that this hello says it is, made by a member of the job.
fn call_again(hello: &[u8; HELLO_BYTES], from: u32, listener: &[u8; 16]) -> Initiator {
    let word = |i: usize| u32::from_le_bytes([hello[i], hello[i + 1], hello[i + 2], hello[i + 3]]);
    let build = u64::from(word(24)) | u64::from(word(28)) << 32;
    let caller = Identity { version: word(8), build, ..identity(from) };
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&hello[32..48]);
    Initiator::new(&caller, 1, word(20), listener, nonce)
}

/// A rank of the job that is fuzzed.
fn identity(rank: u32) -> Identity {
    Identity { job: [1; 16], key: [2; 32], rank, size: 8, build: 3, version: WIRE_VERSION }
}

/// `real` with pairs of (place, bits) applied.
fn changed<const N: usize>(real: &[u8; N], changes: &[u8]) -> [u8; N] {
    let mut bytes = *real;
    for [place, bits] in changes.as_chunks::<2>().0 {
        bytes[usize::from(*place) % N] ^= bits;
    }
    bytes
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is at the other end: a mutual proof that both hold the job's key, before anything else of
//! a connection is looked at.
//!
//! ```text
//! initiator                                             acceptor
//!   hello: magic version from to attempt build nonce tag  -->       64 bytes
//!   <--  challenge: magic version from to attempt build nonce proof 80 bytes
//!   proof                                                 -->       32 bytes
//! ```
//!
//! Invariants:
//! 1. Every proof is an HMAC-SHA256 under the job key over a label that names its role, the job,
//!    and all bytes said before, so over both ranks, both nonces, both versions and both builds.
//!    A proof of one role, pair or connection is none for another.
//! 2. The hello's tag binds it to one listener (its published random id) of one job. With the
//!    attempt number, which the lane lets only grow, a recorded hello is worth nothing. The tag
//!    tells a member that is merely slow from a stranger; trust needs the proof.
//! 3. Comparison takes constant time, and a refusal says nothing to the other side.
//! 4. The layout of these three messages never changes; versions and builds are compared only
//!    after their sender has proved itself, so that a stranger cannot cause a report of one.
//!
//! No encryption: the bytes that follow are neither secret nor protected against who can forge
//! segments on the path. Not here: sockets and timeouts (listen.rs). Fuzzed by fuzz/handshake.
#![forbid(unsafe_code)]

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of the initiator's first message.
pub const HELLO_BYTES: usize = 64;
/// Bytes of the acceptor's answer.
pub const CHALLENGE_BYTES: usize = 80;
/// Bytes of the initiator's proof.
pub const PROOF_BYTES: usize = 32;
/// What a stranger can make an acceptor read: 96 bytes.
pub const UNPROVED_BYTES_MAX: usize = HELLO_BYTES + PROOF_BYTES;
/// Version of the frames that follow. One process of a job cannot speak another one.
pub const WIRE_VERSION: u32 = 1;

/// The first bytes in both directions.
const MAGIC: [u8; 8] = *b"STRAITc\n";
/// Bytes that hello and challenge share: all up to tag or proof.
const OPENING_BYTES: usize = 48;
const LABEL_HELLO: &[u8] = b"strait tcp 1 hello";
const LABEL_ACCEPTOR: &[u8] = b"strait tcp 1 acceptor";
const LABEL_INITIATOR: &[u8] = b"strait tcp 1 initiator";

/// Random bytes used once.
pub type Nonce = [u8; 16];
/// Random name of a listener, published with its address.
pub type ListenerId = [u8; 16];

/// What a process says and proves of itself.
#[derive(Clone)]
pub struct Identity {
    /// The job.
    pub job: [u8; 16],
    /// Its key.
    pub key: [u8; 32],
    /// This process.
    pub rank: u32,
    /// Processes in the job.
    pub size: u32,
    /// The build of this library.
    pub build: u64,
    /// Wire version; another value than [`WIRE_VERSION`] only in tests.
    pub version: u32,
}

/// Why the other end is not the peer it should be. None of these blames the job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Not our protocol at all.
    #[error("it does not speak this protocol")]
    Foreign,
    /// Another job, another key, a forgery, a recording.
    #[error("it is not of this job")]
    NotOfThisJob,
}

/// The other end has proved itself, and yet cannot be talked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Its wire version.
    pub version: u32,
    /// Its build.
    pub build: u64,
}

/// The common beginning of hello and challenge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Opening {
    version: u32,
    from: u32,
    to: u32,
    attempt: u32,
    build: u64,
    nonce: Nonce,
}

impl Opening {
    fn encode(&self) -> [u8; OPENING_BYTES] {
        let mut bytes = [0; OPENING_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.from.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.to.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.build.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.nonce);
        bytes
    }

    fn decode(bytes: &[u8; OPENING_BYTES]) -> Result<Opening, Refusal> {
        if bytes[..8] != MAGIC {
            return Err(Refusal::Foreign);
        }
        let word =
            |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&bytes[32..48]);
        Ok(Opening {
            version: word(8),
            from: word(12),
            to: word(16),
            attempt: word(20),
            build: u64::from(word(24)) | u64::from(word(28)) << 32,
            nonce,
        })
    }

    fn mismatch(&self, me: &Identity) -> Option<Mismatch> {
        let differs = self.version != me.version || self.build != me.build;
        differs.then_some(Mismatch { version: self.version, build: self.build })
    }
}

/// Whether what has arrived can still become a hello or a challenge: a stranger's first byte is
/// usually enough to say no.
pub fn may_begin(bytes: &[u8]) -> bool {
    bytes.iter().zip(MAGIC).all(|(byte, expected)| *byte == expected)
}

/// The side that connected.
pub struct Initiator {
    hello: [u8; HELLO_BYTES],
    to: u32,
    attempt: u32,
}

impl Initiator {
    /// Begins to talk to the listener `listener` of rank `to`. `attempt` is larger than that of
    /// every earlier hello of this process to that rank.
    pub fn new(me: &Identity, to: u32, attempt: u32, listener: &ListenerId, nonce: Nonce) -> Self {
        let (version, build) = (me.version, me.build);
        let opening = Opening { version, from: me.rank, to, attempt, build, nonce }.encode();
        let mut hello = [0; HELLO_BYTES];
        hello[..OPENING_BYTES].copy_from_slice(&opening);
        let tag = mac(me, LABEL_HELLO, &[listener, &opening]).finalize().into_bytes();
        hello[OPENING_BYTES..].copy_from_slice(&tag[..HELLO_BYTES - OPENING_BYTES]);
        Initiator { hello, to, attempt }
    }

    /// The first message.
    pub fn hello(&self) -> &[u8; HELLO_BYTES] {
        &self.hello
    }

    /// Checks the acceptor's proof; the answer is our own.
    ///
    /// # Errors
    /// The other end does not hold the job's key, or is not the rank that was called.
    pub fn answer(
        &self,
        me: &Identity,
        challenge: &[u8; CHALLENGE_BYTES],
    ) -> Result<([u8; PROOF_BYTES], Option<Mismatch>), Refusal> {
        let Some((said, proof)) = challenge.split_first_chunk::<OPENING_BYTES>() else {
            return Err(Refusal::Foreign);
        };
        let opening = Opening::decode(said)?;
        let expected = mac(me, LABEL_ACCEPTOR, &[&self.hello, said]);
        expected.verify_slice(proof).map_err(|_| Refusal::NotOfThisJob)?;
        if (opening.from, opening.to, opening.attempt) != (self.to, me.rank, self.attempt) {
            return Err(Refusal::NotOfThisJob);
        }
        let proof = mac(me, LABEL_INITIATOR, &[&self.hello, challenge]).finalize().into_bytes();
        Ok((proof.into(), opening.mismatch(me)))
    }
}

/// The side that accepted, after a hello with a good tag.
pub struct Acceptor {
    hello: [u8; HELLO_BYTES],
    challenge: [u8; CHALLENGE_BYTES],
    opening: Opening,
}

impl Acceptor {
    /// Reads a hello.
    ///
    /// # Errors
    /// It is none, or not for this listener from another process of this job.
    pub fn new(
        me: &Identity,
        listener: &ListenerId,
        hello: &[u8; HELLO_BYTES],
        nonce: Nonce,
    ) -> Result<Acceptor, Refusal> {
        let Some((said, tag)) = hello.split_first_chunk::<OPENING_BYTES>() else {
            return Err(Refusal::Foreign);
        };
        let opening = Opening::decode(said)?;
        let expected = mac(me, LABEL_HELLO, &[listener, said]);
        expected.verify_truncated_left(tag).map_err(|_| Refusal::NotOfThisJob)?;
        if opening.to != me.rank || opening.from >= me.size || opening.from == me.rank {
            return Err(Refusal::NotOfThisJob);
        }
        let (version, build, attempt) = (me.version, me.build, opening.attempt);
        let answer = Opening { version, from: me.rank, to: opening.from, attempt, build, nonce };
        let mut challenge = [0; CHALLENGE_BYTES];
        challenge[..OPENING_BYTES].copy_from_slice(&answer.encode());
        let proof = mac(me, LABEL_ACCEPTOR, &[hello, &challenge[..OPENING_BYTES]]);
        challenge[OPENING_BYTES..].copy_from_slice(&proof.finalize().into_bytes());
        Ok(Acceptor { hello: *hello, challenge, opening })
    }

    /// The rank that the initiator says it is; true once [`Acceptor::check`] agreed.
    pub fn from(&self) -> u32 {
        self.opening.from
    }

    /// Which attempt of that rank this is.
    pub fn attempt(&self) -> u32 {
        self.opening.attempt
    }

    /// The answer to the hello.
    pub fn challenge(&self) -> &[u8; CHALLENGE_BYTES] {
        &self.challenge
    }

    /// Checks the initiator's proof.
    ///
    /// # Errors
    /// It does not hold the job's key.
    pub fn check(
        &self,
        me: &Identity,
        proof: &[u8; PROOF_BYTES],
    ) -> Result<Option<Mismatch>, Refusal> {
        let expected = mac(me, LABEL_INITIATOR, &[&self.hello, &self.challenge]);
        expected.verify_slice(proof).map_err(|_| Refusal::NotOfThisJob)?;
        Ok(self.opening.mismatch(me))
    }
}

/// HMAC over a label, the job, and parts of fixed lengths (so that no two lists are one string).
fn mac(me: &Identity, label: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&me.key).expect("HMAC takes keys of any length");
    mac.update(label);
    mac.update(&me.job);
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: ListenerId = [5; 16];

    fn identity(rank: u32) -> Identity {
        Identity { job: [1; 16], key: [2; 32], rank, size: 4, build: 77, version: WIRE_VERSION }
    }

    #[test]
    fn both_sides_are_convinced() {
        let (low, high) = (identity(0), identity(3));
        let initiator = Initiator::new(&high, 0, 1, &LISTENER, [8; 16]);
        let acceptor = Acceptor::new(&low, &LISTENER, initiator.hello(), [9; 16]).expect("hello");
        assert_eq!((acceptor.from(), acceptor.attempt()), (3, 1));
        let (proof, mismatch) = initiator.answer(&high, acceptor.challenge()).expect("challenge");
        assert_eq!((mismatch, acceptor.check(&low, &proof)), (None, Ok(None)));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (low, high) = (identity(0), identity(3));
        let initiator = Initiator::new(&high, 0, 1, &LISTENER, [8; 16]);
        for bit in 0..HELLO_BYTES * 8 {
            let mut hello = *initiator.hello();
            hello[bit / 8] ^= 1 << (bit % 8);
            assert!(Acceptor::new(&low, &LISTENER, &hello, [9; 16]).is_err(), "hello bit {bit}");
        }
        let acceptor = Acceptor::new(&low, &LISTENER, initiator.hello(), [9; 16]).expect("hello");
        for bit in 0..CHALLENGE_BYTES * 8 {
            let mut challenge = *acceptor.challenge();
            challenge[bit / 8] ^= 1 << (bit % 8);
            assert!(initiator.answer(&high, &challenge).is_err(), "challenge bit {bit}");
        }
        let (proof, _) = initiator.answer(&high, acceptor.challenge()).expect("challenge");
        for bit in 0..PROOF_BYTES * 8 {
            let mut proof = proof;
            proof[bit / 8] ^= 1 << (bit % 8);
            assert!(acceptor.check(&low, &proof).is_err(), "proof bit {bit}");
        }
    }

    #[test]
    fn other_jobs_keys_listeners_and_ranks_are_refused() {
        let me = identity(0);
        let listens = |hello: &Initiator| Acceptor::new(&me, &LISTENER, hello.hello(), [9; 16]);
        let call = |from: &Identity, to, listener| Initiator::new(from, to, 1, listener, [8; 16]);
        assert!(listens(&call(&identity(1), 0, &LISTENER)).is_ok());
        assert!(listens(&call(&Identity { key: [3; 32], ..identity(1) }, 0, &LISTENER)).is_err());
        assert!(listens(&call(&Identity { job: [3; 16], ..identity(1) }, 0, &LISTENER)).is_err());
        assert!(listens(&call(&identity(1), 0, &[6; 16])).is_err());
        assert!(listens(&call(&identity(1), 2, &LISTENER)).is_err());
        assert!(listens(&call(&identity(0), 0, &LISTENER)).is_err());
        assert!(listens(&call(&identity(4), 0, &LISTENER)).is_err());
    }

    #[test]
    fn roles_and_nonces_are_part_of_a_proof() {
        let (low, high) = (identity(0), identity(3));
        let initiator = Initiator::new(&high, 0, 1, &LISTENER, [8; 16]);
        let acceptor = Acceptor::new(&low, &LISTENER, initiator.hello(), [9; 16]).expect("hello");
        // The acceptor's own proof, sent back to it.
        let mut reflected = [0; PROOF_BYTES];
        reflected.copy_from_slice(&acceptor.challenge()[OPENING_BYTES..]);
        assert_eq!(acceptor.check(&low, &reflected), Err(Refusal::NotOfThisJob));
        // A proof recorded from an earlier connection.
        let (proof, _) = initiator.answer(&high, acceptor.challenge()).expect("challenge");
        let again = Acceptor::new(&low, &LISTENER, initiator.hello(), [10; 16]).expect("hello");
        assert_eq!(again.check(&low, &proof), Err(Refusal::NotOfThisJob));
    }

    #[test]
    fn another_build_is_named_by_both_sides() {
        let (low, high) = (identity(0), Identity { build: 78, version: 2, ..identity(3) });
        let initiator = Initiator::new(&high, 0, 1, &LISTENER, [8; 16]);
        let acceptor = Acceptor::new(&low, &LISTENER, initiator.hello(), [9; 16]).expect("hello");
        let (proof, mismatch) = initiator.answer(&high, acceptor.challenge()).expect("challenge");
        assert_eq!(mismatch, Some(Mismatch { version: WIRE_VERSION, build: 77 }));
        let seen = acceptor.check(&low, &proof).expect("proof");
        assert_eq!(seen, Some(Mismatch { version: 2, build: 78 }));
    }
}

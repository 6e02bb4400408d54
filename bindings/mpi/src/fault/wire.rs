// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What members agree on, and the bytes of messages about failures. What comes from elsewhere is
//! checked; what makes no sense is dropped.
#![forbid(unsafe_code)]

use super::consensus::{Message, Value};

/// A set of members, as bits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members(Vec<u8>);

impl Members {
    /// Nobody of so many.
    pub fn none(count: usize) -> Members {
        Members(vec![0; count.div_ceil(8)])
    }

    /// Adds one.
    pub fn insert(&mut self, member: u32) {
        self.0[member as usize / 8] |= 1 << (member % 8);
    }

    /// Whether it is in.
    pub fn contains(&self, member: u32) -> bool {
        self.0.get(member as usize / 8).is_some_and(|byte| byte & 1 << (member % 8) != 0)
    }

    /// Whether all of these are in `others`.
    pub fn are_in(&self, others: &Members) -> bool {
        self.0.iter().zip(&others.0).all(|(own, other)| own & !other == 0)
    }
}

/// What an agreement decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// All bits that all members of the first, and of the second group set.
    pub flags: [u32; 2],
    /// A context that nobody else uses.
    pub context: u32,
    /// Members that are gone, as far as anybody knew.
    pub failed: Members,
    /// Members whose loss everybody had acknowledged.
    pub acknowledged: Members,
}

impl Value for Verdict {
    fn combine(&mut self, other: &Verdict) {
        for (own, other) in self.flags.iter_mut().zip(other.flags) {
            *own &= other;
        }
        for (own, other) in self.failed.0.iter_mut().zip(&other.failed.0) {
            *own |= other;
        }
        for (own, other) in self.acknowledged.0.iter_mut().zip(&other.acknowledged.0) {
            *own &= other;
        }
    }

    fn leave_out(&mut self, member: u32) {
        self.failed.insert(member);
    }
}

/// A message of one agreement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// The communicator.
    pub context: u32,
    /// Which of its agreements.
    pub number: u32,
    /// What is said.
    pub message: Message<Verdict>,
}

/// A message about failures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// The communicator of this context is revoked.
    Revoke(u32),
    /// Of an agreement.
    Agree(Agreement),
}

const REVOKE: u32 = 0;
const STATE: u32 = 1;
const STATE_ADOPTED: u32 = 2;
const PROPOSE: u32 = 3;
const ACK: u32 = 4;
const DECIDED: u32 = 5;

impl Note {
    /// As it travels: words, then the sets.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (context, number, kind) = match self {
            Note::Revoke(context) => (*context, 0, REVOKE),
            Note::Agree(Agreement { context, number, message }) => {
                let kind = match message {
                    Message::State { adopted: None, .. } => STATE,
                    Message::State { adopted: Some(_), .. } => STATE_ADOPTED,
                    Message::Propose(_) => PROPOSE,
                    Message::Ack => ACK,
                    Message::Decided(_) => DECIDED,
                };
                (*context, *number, kind)
            }
        };
        let mut bytes = Vec::new();
        [kind, context, number].iter().for_each(|word| put_word(&mut bytes, *word));
        if let Note::Agree(agreement) = self {
            match &agreement.message {
                Message::State { own, adopted } => {
                    put_verdict(&mut bytes, own);
                    if let Some((round, value)) = adopted {
                        put_word(&mut bytes, *round);
                        put_verdict(&mut bytes, value);
                    }
                }
                Message::Propose(value) | Message::Decided(value) => put_verdict(&mut bytes, value),
                Message::Ack => {}
            }
        }
        bytes
    }

    /// Back again; `None` for what is no such message.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Note> {
        let from = &mut bytes;
        let (kind, context, number) = (word(from)?, word(from)?, word(from)?);
        let message = match kind {
            REVOKE => return from.is_empty().then_some(Note::Revoke(context)),
            STATE => Message::State { own: verdict(from)?, adopted: None },
            STATE_ADOPTED => {
                let own = verdict(from)?;
                Message::State { own, adopted: Some((word(from)?, verdict(from)?)) }
            }
            PROPOSE => Message::Propose(verdict(from)?),
            ACK => Message::Ack,
            DECIDED => Message::Decided(verdict(from)?),
            _ => return None,
        };
        from.is_empty().then_some(Note::Agree(Agreement { context, number, message }))
    }
}

fn put_word(into: &mut Vec<u8>, word: u32) {
    into.extend_from_slice(&word.to_le_bytes());
}

fn put_verdict(into: &mut Vec<u8>, verdict: &Verdict) {
    let [first, second] = verdict.flags;
    let length = verdict.failed.0.len() as u32;
    [first, second, verdict.context, length].iter().for_each(|word| put_word(into, *word));
    into.extend_from_slice(&verdict.failed.0);
    into.extend_from_slice(&verdict.acknowledged.0);
}

fn word(from: &mut &[u8]) -> Option<u32> {
    let (word, rest) = from.split_first_chunk::<4>()?;
    *from = rest;
    Some(u32::from_le_bytes(*word))
}

fn members(from: &mut &[u8], length: usize) -> Option<Members> {
    let (bits, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(Members(bits.to_vec()))
}

fn verdict(from: &mut &[u8]) -> Option<Verdict> {
    let flags = [word(from)?, word(from)?];
    let (context, length) = (word(from)?, word(from)? as usize);
    let (failed, acknowledged) = (members(from, length)?, members(from, length)?);
    Some(Verdict { flags, context, failed, acknowledged })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(flag: u32, failed: &[u32], acknowledged: &[u32]) -> Verdict {
        let mut value = Verdict {
            flags: [flag, !0],
            context: 40,
            failed: Members::none(11),
            acknowledged: Members::none(11),
        };
        failed.iter().for_each(|member| value.failed.insert(*member));
        acknowledged.iter().for_each(|member| value.acknowledged.insert(*member));
        value
    }

    #[test]
    fn values_combine_in_any_order() {
        let (a, b) = (verdict_of(0b110, &[2], &[2, 9]), verdict_of(0b011, &[9], &[9]));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.combine(&b);
        ba.combine(&a);
        assert_eq!(ab, ba);
        assert_eq!(ab, verdict_of(0b010, &[2, 9], &[9]));
        assert!(!ab.failed.are_in(&ab.acknowledged) && ab.acknowledged.are_in(&ab.failed));
        ab.leave_out(10);
        assert!(ab.failed.contains(10) && !ab.failed.contains(3) && !ab.failed.contains(99));
    }

    #[test]
    fn notes_come_back_and_torn_ones_are_nothing() {
        let (own, value) = (verdict_of(7, &[1], &[]), verdict_of(3, &[1, 10], &[1]));
        let messages = [
            Message::State { own: own.clone(), adopted: None },
            Message::State { own, adopted: Some((4, value.clone())) },
            Message::Propose(value.clone()),
            Message::Ack,
            Message::Decided(value),
        ];
        let agreement = |message| Note::Agree(Agreement { context: 12, number: 3, message });
        let notes: Vec<Note> =
            messages.into_iter().map(agreement).chain([Note::Revoke(8)]).collect();
        for note in notes {
            let bytes = note.to_bytes();
            assert_eq!(Note::from_bytes(&bytes), Some(note));
            for cut in 0..bytes.len() {
                assert_eq!(Note::from_bytes(&bytes[..cut]), None);
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Note::from_bytes(&longer), None);
        }
    }
}

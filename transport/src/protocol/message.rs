// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of a message that has arrived, or was announced, before its receive: the entry of
//! the unexpected queue, and the record that keeps an eager body.
//!
//! Invariants:
//! 1. An entry is 64 bytes, links and key included, whatever the size of the message: that is all
//!    that an announced message costs its receiver.
//! 2. A record is owned by one entry, and by the assembly of its endpoint until it is whole.
#![forbid(unsafe_code)]

use super::credit;
use super::matching::Matching;
use crate::memory::pool::Pool;

/// An unexpected message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    /// Its body is parked here, in the record of this index.
    Parked { peer: u32, synchronous: bool, record: u32, bytes: u64 },
    /// Its body is at the sender: at `address`, under `key`, if it is fetchable.
    Announced { peer: u32, fetchable: bool, bytes: Word48, address: Word48, key: u32, token: u64 },
}

/// A length or an address that a process can have, in six bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word48([u16; 3]);

impl Word48 {
    /// `None` if it is longer.
    pub(crate) fn new(word: u64) -> Option<Word48> {
        let part = |at: u32| (word >> (16 * at)) as u16;
        (word >> 48 == 0).then_some(Word48([part(0), part(1), part(2)]))
    }

    /// The number.
    pub(crate) fn get(self) -> u64 {
        let [low, middle, high] = self.0.map(u64::from);
        high << 32 | middle << 16 | low
    }
}

const _: () = assert!(Matching::<Message>::UNEXPECTED_BYTES <= credit::ENTRY_BYTES);

impl Message {
    /// Who sent it.
    pub(crate) fn peer(&self) -> u32 {
        match self {
            Message::Parked { peer, .. } | Message::Announced { peer, .. } => *peer,
        }
    }

    /// Its packed bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Message::Parked { bytes, .. } => *bytes,
            Message::Announced { bytes, .. } => bytes.get(),
        }
    }
}

/// A parked body.
pub(crate) struct Record {
    pub(crate) body: Box<[u8]>,
    /// Bytes of the message.
    pub(crate) bytes: u64,
    /// Bytes of it that are here.
    pub(crate) arrived: u64,
    /// The sender's token, if it waits for an Ack.
    pub(crate) token: u64,
    /// The sender was lost before the rest came.
    pub(crate) broken: bool,
    next_free: u32,
}

const _: () = assert!(size_of::<Record>() <= credit::RECORD_BYTES);

const NONE: u32 = u32::MAX;

/// All parked bodies of a worker.
pub(crate) struct Records {
    records: Vec<Record>,
    free: u32,
    count: usize,
    pool: Pool,
}

impl Records {
    pub(crate) fn new() -> Records {
        Records { records: Vec::new(), free: NONE, count: 0, pool: Pool::new() }
    }

    /// A record with room for `bytes`; `body` is its beginning. Its buffer is charged together with
    /// the record: the class of both, as credit counts it.
    pub(crate) fn park(&mut self, bytes: usize, token: u64, body: &[u8]) -> u32 {
        let mut buffer = self.pool.take(credit::RECORD_BYTES + bytes);
        buffer[..body.len()].copy_from_slice(body);
        self.count += 1;
        let arrived = body.len() as u64;
        let bytes = bytes as u64;
        let record = Record { body: buffer, bytes, arrived, token, broken: false, next_free: NONE };
        match self.free {
            NONE => {
                self.records.push(record);
                (self.records.len() - 1) as u32
            }
            index => {
                self.free = self.records[index as usize].next_free;
                self.records[index as usize] = record;
                index
            }
        }
    }

    pub(crate) fn at(&mut self, index: u32) -> &mut Record {
        &mut self.records[index as usize]
    }

    /// The token of a record.
    pub(crate) fn token(&self, index: u32) -> u64 {
        self.records[index as usize].token
    }

    /// Frees a record.
    pub(crate) fn free(&mut self, index: u32) {
        let record = &mut self.records[index as usize];
        self.pool.put(std::mem::take(&mut record.body));
        record.next_free = self.free;
        self.free = index;
        self.count -= 1;
    }

    /// Bodies that are parked.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of their buffers.
    pub(crate) fn held_bytes(&self) -> usize {
        self.pool.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_six_bytes_keep_what_they_are_given() {
        for word in [0, 1, 0xffff, 0x1_0000, 0x7fff_dead_beef, (1 << 48) - 1] {
            assert_eq!(Word48::new(word).map(Word48::get), Some(word));
        }
        assert_eq!(Word48::new(1 << 48), None);
        assert_eq!(Word48::new(u64::MAX), None);
    }
}

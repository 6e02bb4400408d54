// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What tools may want to know of messages, kept until somebody asks; nothing unless one listens.
#![forbid(unsafe_code)]

use super::{Core, Worker};
use crate::envelope::Envelope;

/// Notes that are kept at most; later ones are counted and dropped.
const NOTES_MAX: usize = 4096;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    /// An eager message arrived before its receive was posted.
    Unexpected,
    /// A message was announced to its receiver: the start of a rendezvous.
    Announced,
}

/// Something that happened to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    /// What.
    pub happening: Happening,
    /// The other process.
    pub peer: u32,
    /// The message.
    pub envelope: Envelope,
    /// Its packed bytes.
    pub bytes: u64,
}

/// The notes of a worker.
#[derive(Default)]
pub(super) struct Notes {
    kept: Vec<Note>,
    dropped: u64,
}

impl Worker {
    /// Begins to keep notes, or ends it and forgets them.
    pub fn keep_notes(&mut self, keep: bool) {
        self.core.notes = keep.then(|| self.core.notes.take().unwrap_or_default());
    }

    /// The notes since the last call, and how many had no room.
    pub fn take_notes(&mut self) -> (Vec<Note>, u64) {
        match &mut self.core.notes {
            None => (Vec::new(), 0),
            Some(notes) => (std::mem::take(&mut notes.kept), std::mem::take(&mut notes.dropped)),
        }
    }
}

impl Core {
    /// Keeps a note, if somebody listens.
    #[inline]
    pub(super) fn note(&mut self, happening: Happening, peer: u32, envelope: Envelope, bytes: u64) {
        if let Some(notes) = &mut self.notes {
            match notes.kept.len() < NOTES_MAX {
                true => notes.kept.push(Note { happening, peer, envelope, bytes }),
                false => notes.dropped += 1,
            }
        }
    }
}

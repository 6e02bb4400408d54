// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one process sends to a peer over several rails: what is kept until the peer has it, what
//! goes next to which rail, and what goes again when one breaks. No input and no output.
//!
//! Two streams. The ordered one (all but rendezvous data) goes over one rail at a time, the
//! *primary*. Data frames are numbered, and go to the rail on which they would arrive first
//! (share.rs).
//!
//! Invariants:
//! 1. What was accepted is kept until the peer's acknowledgement of it came: frames of the ordered
//!    stream by their offset in it, data frames by their place among those of their rail.
//! 2. A frame that has begun on a connection is finished there, or the connection is closed.
//! 3. On one connection ordered frames follow each other without a gap from the offset of the last
//!    `Resume` on, which is at most what the peer has: it skips what it has, and misses nothing.
//! 4. When a rail closes, its data frames that are not acknowledged are unsent again.
//! 5. Bytes that are kept, and numbered frames, are bounded; beyond it nothing is accepted.
//!
//! Not here: sockets (traffic.rs), and what the peer does with it (incoming.rs).
#![forbid(unsafe_code)]

use super::super::send_queue::SendQueue;
use super::share::Shares;
use super::word::RailWord;
use super::{
    CHUNKS_MAX, DATA_BYTES_MAX, ORDERED_BYTES_MAX, RAIL_BYTES_MAX, RAILS_MAX, REMAINDER_BYTES,
    SPARE_MAX,
};
use std::collections::VecDeque;

/// What a rail is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Writing {
    #[default]
    Nothing,
    Words,
    Ordered,
    /// The data frame of this number, of which so many bytes left.
    Chunk(u64, usize),
}

#[derive(Default)]
struct Rail {
    open: bool,
    /// The socket has no room.
    stalled: bool,
    words: SendQueue,
    writing: Writing,
    /// Data frames that were begun here and are not acknowledged.
    flight: VecDeque<u64>,
    flight_bytes: usize,
    /// Data frames that were begun here since the pair exists, and those that are no concern any
    /// more: acknowledged, or to be sent again.
    sent: u32,
    settled: u32,
}

/// The sender's side.
pub struct Outgoing {
    /// The ordered stream from `acked` to `end`, and where its frames end.
    frames: SendQueue,
    ends: VecDeque<u64>,
    acked: u64,
    end: u64,
    /// The highest offset that was acknowledged: `acked` follows between frames.
    heard: u64,
    /// How far the primary is.
    written: u64,
    primary: Option<usize>,
    /// Rails, the best first.
    preference: Vec<u8>,
    /// Data frames from number `first` on; those that the peer has are gone.
    chunks: VecDeque<Option<Vec<u8>>>,
    first: u64,
    unsent: VecDeque<u64>,
    chunk_bytes: usize,
    spare: Vec<Vec<u8>>,
    rails: [Rail; RAILS_MAX],
    shares: Shares,
}

impl Outgoing {
    /// Nothing yet, over rails of which none is open; the best comes first.
    pub fn new(preference: Vec<u8>) -> Outgoing {
        Outgoing {
            frames: SendQueue::default(),
            ends: VecDeque::new(),
            acked: 0,
            end: 0,
            heard: 0,
            written: 0,
            primary: None,
            preference,
            chunks: VecDeque::new(),
            first: 0,
            unsent: VecDeque::new(),
            chunk_bytes: 0,
            spare: Vec::new(),
            rails: Default::default(),
            shares: Shares::default(),
        }
    }

    /// The rail that carries the ordered stream.
    pub fn primary(&self) -> Option<usize> {
        self.primary
    }

    /// Accepts an ordered frame of `bytes` that `fill` writes, if there is room for it.
    pub fn accept(&mut self, bytes: usize, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        if self.frames.len() + bytes > ORDERED_BYTES_MAX {
            return false;
        }
        fill(self.frames.reserve(bytes));
        self.end += bytes as u64;
        self.ends.push_back(self.end);
        true
    }

    /// Accepts a frame of the lane's own, which no bound applies to.
    pub fn accept_control(&mut self, frame: &[u8]) {
        self.frames.append(frame);
        self.end += frame.len() as u64;
        self.ends.push_back(self.end);
    }

    /// Accepts a data frame; `fill` is told its number.
    pub fn accept_chunk(&mut self, bytes: usize, fill: &mut dyn FnMut(u64, &mut [u8])) -> bool {
        if self.chunk_bytes + bytes > DATA_BYTES_MAX || self.chunks.len() >= CHUNKS_MAX {
            return false;
        }
        let number = self.first + self.chunks.len() as u64;
        let mut chunk = self.spare.pop().unwrap_or_default();
        chunk.resize(bytes, 0);
        fill(number, &mut chunk);
        self.chunk_bytes += bytes;
        self.chunks.push_back(Some(chunk));
        self.unsent.push_back(number);
        true
    }

    /// Data frames that were accepted since the pair exists.
    pub fn chunks_accepted(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// A rail has a connection: what is said first is said now.
    pub fn opened(&mut self, rail: usize) {
        self.closed(rail);
        let this = &mut self.rails[rail];
        this.open = true;
        let count = this.sent;
        self.say(rail, RailWord::Open { count });
        self.elect();
    }

    /// A rail has lost its connection; what it did not bring goes over others.
    pub fn closed(&mut self, rail: usize) {
        let this = &mut self.rails[rail];
        let settled = this.sent;
        let old = std::mem::replace(this, Rail { sent: settled, settled, ..Rail::default() });
        if !old.flight.is_empty() {
            self.unsent.extend(old.flight);
            self.unsent.make_contiguous().sort_unstable();
        }
        if self.primary == Some(rail) {
            self.primary = None;
            self.written = self.acked;
            self.elect();
        }
    }

    /// Gives the ordered stream to the best rail, between frames.
    fn elect(&mut self) {
        let best = self.preference.iter().map(|rail| usize::from(*rail));
        let best = best.into_iter().find(|rail| self.rails[*rail].open);
        if best == self.primary || self.is_amid() {
            return;
        }
        self.release();
        self.primary = best;
        self.written = self.acked;
        if let Some(best) = best {
            self.say(best, RailWord::Resume { offset: self.acked });
        }
    }

    /// Says something on one rail, before any other frame that has not begun.
    pub fn say(&mut self, rail: usize, word: RailWord) {
        if self.rails[rail].open {
            self.rails[rail].words.append(&word.encode());
        }
    }

    /// The socket of a rail has no room, or has some again.
    pub fn set_stalled(&mut self, rail: usize, stalled: bool) {
        self.rails[rail].stalled = stalled;
    }

    /// What goes to this rail next; nothing if it is empty. [`Outgoing::wrote`] must follow.
    pub fn next(&mut self, rail: usize) -> &[u8] {
        if self.rails[rail].writing == Writing::Nothing {
            self.rails[rail].writing = self.choose(rail);
        }
        match self.rails[rail].writing {
            Writing::Nothing => &[],
            Writing::Words => self.rails[rail].words.front(),
            Writing::Ordered => &self.frames.front()[(self.written - self.acked) as usize..],
            Writing::Chunk(number, at) => self.chunk(number).map_or(&[], |chunk| &chunk[at..]),
        }
    }

    fn choose(&mut self, rail: usize) -> Writing {
        let this = &self.rails[rail];
        if !this.open {
            return Writing::Nothing;
        }
        if !this.words.is_empty() {
            return Writing::Words;
        }
        if self.primary == Some(rail) && self.written < self.end {
            return Writing::Ordered;
        }
        let Some(&number) = self.unsent.front() else { return Writing::Nothing };
        let bytes = self.chunk(number).map_or(0, <[u8]>::len);
        let arrival =
            |(at, rail): (usize, &Rail)| self.shares.arrival(at, rail.flight_bytes + bytes);
        let usable = self.rails.iter().enumerate().filter(|(_, rail)| rail.open && !rail.stalled);
        let is_first = usable.map(arrival).min() >= Some(arrival((rail, this)));
        let this = &mut self.rails[rail];
        let has_room = this.flight_bytes == 0 || this.flight_bytes + bytes <= RAIL_BYTES_MAX;
        if this.stalled || !has_room || !is_first {
            return Writing::Nothing;
        }
        self.unsent.pop_front();
        this.flight.push_back(number);
        this.flight_bytes += bytes;
        this.sent = this.sent.wrapping_add(1);
        Writing::Chunk(number, 0)
    }

    fn chunk(&self, number: u64) -> Option<&[u8]> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.chunks.get(at)?.as_deref()
    }

    /// So many bytes of what [`Outgoing::next`] gave left, perhaps none.
    pub fn wrote(&mut self, rail: usize, bytes: usize) {
        let this = &mut self.rails[rail];
        match this.writing {
            Writing::Nothing => {}
            Writing::Words => {
                this.words.consume(bytes);
                if this.words.len().is_multiple_of(crate::wire::header::HEADER_BYTES) {
                    this.writing = Writing::Nothing;
                }
            }
            Writing::Ordered => {
                self.written += bytes as u64;
                if !self.is_amid() {
                    self.rails[rail].writing = Writing::Nothing;
                    self.release();
                    self.elect();
                }
            }
            // It did not begin: another rail may have it.
            Writing::Chunk(number, 0) if bytes == 0 => {
                this.writing = Writing::Nothing;
                this.flight.pop_back();
                this.sent = this.sent.wrapping_sub(1);
                self.unsent.push_front(number);
                let bytes = self.chunk(number).map_or(0, <[u8]>::len);
                self.rails[rail].flight_bytes -= bytes;
            }
            Writing::Chunk(number, at) => {
                let at = at + bytes;
                let all = self.chunk(number).is_none_or(|chunk| at >= chunk.len());
                self.rails[rail].writing =
                    if all { Writing::Nothing } else { Writing::Chunk(number, at) };
            }
        }
    }

    /// The primary is within a frame.
    fn is_amid(&self) -> bool {
        self.written != self.acked && self.ends.binary_search(&self.written).is_err()
    }

    /// Forgets the frames of the ordered stream that the peer has, but for one that is being
    /// written. What the peer has and was not written again is skipped.
    fn release(&mut self) {
        let mut to = self.heard;
        if self.is_amid() {
            let begun = self.ends.partition_point(|end| *end <= self.written);
            let start = begun.checked_sub(1).map_or(self.acked, |before| self.ends[before]);
            to = to.min(start);
        }
        if to <= self.acked {
            return;
        }
        while self.ends.front().is_some_and(|end| *end <= to) {
            self.ends.pop_front();
        }
        self.frames.consume((to - self.acked) as usize);
        self.frames.shrink();
        self.acked = to;
        if self.written < to {
            self.written = to;
            if let Some(primary) = self.primary {
                self.say(primary, RailWord::Resume { offset: to });
            }
        }
    }

    /// The peer has all before `offset` of the ordered stream, and so many data frames of each
    /// rail. Acknowledgements of different rails may overtake each other.
    ///
    /// # Errors
    /// It acknowledges what was never sent.
    pub fn acknowledged(
        &mut self,
        offset: u64,
        counts: [u32; RAILS_MAX],
    ) -> Result<(), &'static str> {
        const UNSENT: &str = "it acknowledged what was never sent to it";
        if offset > self.heard {
            if self.ends.binary_search(&offset).is_err() {
                return Err(UNSENT);
            }
            self.heard = offset;
            self.release();
        }
        let before = std::array::from_fn(|rail| self.rails[rail].flight_bytes);
        for (rail, count) in counts.into_iter().enumerate() {
            let this = &mut self.rails[rail];
            let new = count.wrapping_sub(this.settled);
            if new == 0 || new > u32::MAX / 2 {
                continue;
            }
            let amid = u32::from(matches!(this.writing, Writing::Chunk(..)));
            if new > this.flight.len() as u32 - amid {
                return Err(UNSENT);
            }
            this.settled = count;
            for _ in 0..new {
                if let Some(number) = self.rails[rail].flight.pop_front() {
                    self.forget(rail, number);
                }
            }
        }
        while matches!(self.chunks.front(), Some(None)) {
            self.chunks.pop_front();
            self.first += 1;
        }
        self.learn(before);
        if self.chunk_bytes <= REMAINDER_BYTES {
            self.spare = Vec::new();
        }
        Ok(())
    }

    /// Learns how fast rails are from what was acknowledged; `before` was under way.
    fn learn(&mut self, before: [usize; RAILS_MAX]) {
        let acked: [usize; RAILS_MAX] =
            std::array::from_fn(|rail| before[rail] - self.rails[rail].flight_bytes);
        let busy = std::array::from_fn(|rail| self.rails[rail].open.then_some(before[rail] > 0));
        if acked.iter().any(|bytes| *bytes > 0) {
            self.shares.learn(acked, busy);
        }
    }

    fn forget(&mut self, rail: usize, number: u64) {
        let at = number.wrapping_sub(self.first) as usize;
        let Some(mut chunk) = self.chunks.get_mut(at).and_then(Option::take) else { return };
        self.rails[rail].flight_bytes -= chunk.len();
        self.chunk_bytes -= chunk.len();
        if self.spare.len() < SPARE_MAX {
            chunk.clear();
            self.spare.push(chunk);
        }
    }

    /// Everything that was accepted is with the sockets.
    pub fn is_written(&self) -> bool {
        let done = |rail: &Rail| rail.words.is_empty() && rail.writing == Writing::Nothing;
        self.written == self.end && self.unsent.is_empty() && self.rails.iter().all(done)
    }

    /// The peer has everything.
    pub fn is_acknowledged(&self) -> bool {
        self.heard == self.end && self.chunks.is_empty()
    }

    /// Something waits for a rail's socket to have room, as far as this rail is concerned.
    pub fn waits_for_room(&self, rail: usize) -> bool {
        self.rails[rail].stalled
    }
}

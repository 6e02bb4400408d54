// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one process receives from a peer over several rails: each frame is delivered once, and
//! those of a stream in their order, whatever comes twice. No input and no output.
//!
//! Invariants:
//! 1. Each byte of a stream is delivered once and in order. Of the next frame of a stream it is
//!    known how much was delivered; when it comes again its beginning is skipped.
//! 2. Data frames that come before their turn are kept until it is theirs, and delivered whole. An
//!    ordered frame cannot come before its turn.
//! 3. What is kept is bounded by what the sender may have under way; a frame outside that ends the
//!    connection.
//! 4. A frame is acknowledged when it is whole.
//!
//! Not here: sockets (traffic.rs), what the sender keeps (outgoing.rs).
#![forbid(unsafe_code)]

use super::super::frame::{Control, Frame, FrameDecoder};
use super::word::RailWord;
use super::{
    ACKNOWLEDGE_BYTES, ACKNOWLEDGE_FRAMES, CHUNK_BYTES_MAX, CHUNKS_MAX, RAILS_MAX, REMAINDER_BYTES,
};
use crate::envelope::Peer;
use crate::lane::Inbox;
use crate::wire::header::{HEADER_BYTES, Header, MessageKind};
use std::collections::BTreeMap;

/// A frame of which a part is here.
struct Partial {
    /// That of the whole frame, as the peer's worker wrote it.
    header: Header,
    /// Its number, if it is a data frame.
    number: Option<u64>,
    got: usize,
    /// Its bytes, if it came before its turn.
    staged: Option<Vec<u8>>,
}

/// What is to become of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// It is the next one.
    Now,
    /// Others come before it.
    Later,
    /// It was here before.
    Again,
}

#[derive(Default)]
struct Rail {
    /// Offset of the next ordered frame of this connection.
    at: Option<u64>,
    /// Data frames that came by this rail.
    count: u32,
    partial: Option<Partial>,
}

/// What a rail brought besides messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// All bytes were taken.
    Nothing,
    /// The budget is used up.
    Budget,
    /// Something about the rails; bytes may be left.
    Word(RailWord),
}

/// The receiver's side.
#[derive(Default)]
pub struct Incoming {
    /// Offset of the next frame of the ordered stream, and how much of its body was delivered.
    delivered: u64,
    ordered_part: usize,
    /// Number of the next data frame, how much of it was delivered, and those that are here before.
    next: u64,
    data_part: usize,
    /// The peer said goodbye, after so many data frames.
    last: Option<u64>,
    held: BTreeMap<u64, (Header, Vec<u8>)>,
    rails: [Rail; RAILS_MAX],
    /// What came since the last acknowledgement.
    owed_bytes: usize,
    owed_frames: usize,
}

/// The peer's frames make no sense, and why.
type Mad = String;

impl Incoming {
    /// A rail has a new connection, or none: what was incomplete comes again.
    pub fn restart(&mut self, rail: usize) {
        let this = &mut self.rails[rail];
        this.at = None;
        this.partial = None;
    }

    /// Data frames that wait for their turn.
    #[cfg(test)]
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Whether the peer said goodbye, and everything that it sent before that was delivered.
    pub fn is_over(&self) -> bool {
        self.last.is_some_and(|chunks| self.next >= chunks)
    }

    /// Whether the peer should hear of what came; `is_quiet`: nothing more comes now.
    pub fn owes(&self, is_quiet: bool) -> bool {
        self.owed_bytes >= if is_quiet { REMAINDER_BYTES } else { ACKNOWLEDGE_BYTES }
            || self.owed_frames >= ACKNOWLEDGE_FRAMES
    }

    /// What to tell it.
    pub fn acknowledgement(&mut self) -> RailWord {
        (self.owed_bytes, self.owed_frames) = (0, 0);
        let counts = std::array::from_fn(|rail| self.rails[rail].count);
        RailWord::Acknowledge { offset: self.delivered, counts }
    }

    /// Takes frames out of `input`, and delivers at most `budget` messages; returns how many, and
    /// why it stopped.
    ///
    /// # Errors
    /// What the peer sent makes no sense.
    pub fn take<I: Inbox>(
        &mut self,
        (peer, rail): (Peer, usize),
        decoder: &mut FrameDecoder,
        input: &mut &[u8],
        inbox: &mut I,
        budget: usize,
    ) -> Result<(usize, Heard), Mad> {
        let mut delivered = 0;
        while delivered < budget {
            match decoder.next(input).map_err(|error| error.to_string())? {
                None => return Ok((delivered, Heard::Nothing)),
                Some(Frame::Message(header, body)) if header.comes_in_pieces() => {
                    delivered += self.piece((peer, rail), &header, body, inbox)?;
                }
                Some(Frame::Message(header, body)) => {
                    if self.is_next(rail, HEADER_BYTES + body.len())? {
                        inbox.message(peer, &header, body);
                        delivered += 1;
                    }
                }
                Some(Frame::Control(Control::Rail(RailWord::Last { chunks }))) => {
                    if self.is_next(rail, HEADER_BYTES)? {
                        self.last = Some(chunks);
                    }
                }
                Some(Frame::Control(Control::Rail(word))) => {
                    self.hear(rail, word)?;
                    return Ok((delivered, Heard::Word(word)));
                }
                Some(Frame::Control(other)) => {
                    return Err(format!("it sent {other:?} on an open connection"));
                }
            }
        }
        let all = input.is_empty();
        Ok((delivered, if all { Heard::Nothing } else { Heard::Budget }))
    }

    fn hear(&mut self, rail: usize, word: RailWord) -> Result<(), Mad> {
        let this = &mut self.rails[rail];
        match word {
            RailWord::Open { count } => this.count = count,
            RailWord::Resume { offset } if offset <= self.delivered => this.at = Some(offset),
            RailWord::Resume { .. } => return Err("it left a gap between its messages".into()),
            RailWord::Acknowledge { .. } | RailWord::Down { .. } | RailWord::Last { .. } => {}
        }
        Ok(())
    }

    /// Counts an ordered frame of so many bytes; whether it is to be delivered.
    fn is_next(&mut self, rail: usize, bytes: usize) -> Result<bool, Mad> {
        let turn = self.turn(rail, None)?;
        self.rails[rail].at = self.rails[rail].at.map(|at| at + bytes as u64);
        self.owed_bytes += bytes;
        self.owed_frames += 1;
        if turn == Turn::Now {
            self.delivered += bytes as u64;
        }
        Ok(turn == Turn::Now)
    }

    fn turn(&self, rail: usize, number: Option<u64>) -> Result<Turn, Mad> {
        let Some(number) = number else {
            return match self.rails[rail].at {
                Some(at) if at == self.delivered => Ok(Turn::Now),
                Some(at) if at < self.delivered => Ok(Turn::Again),
                _ => Err("it sent a message outside of the order".into()),
            };
        };
        Ok(if number < self.next || self.held.contains_key(&number) {
            Turn::Again
        } else if number == self.next {
            Turn::Now
        } else {
            Turn::Later
        })
    }

    /// The number with these low bits that is nearest to the next one.
    fn number(&self, low: u32) -> u64 {
        let ahead = low.wrapping_sub(self.next as u32).cast_signed();
        self.next.wrapping_add_signed(i64::from(ahead))
    }

    /// Begins a frame that comes in pieces, if `header` is that of its first.
    fn begin(&mut self, rail: usize, header: &Header) -> Result<(), Mad> {
        if self.rails[rail].partial.is_some() {
            return Ok(());
        }
        let whole = header.source;
        if whole as usize > CHUNK_BYTES_MAX || header.body > whole {
            return Err(format!("it announced a data frame of {whole} bytes"));
        }
        let is_data = header.kind == MessageKind::Data as u8;
        let number = is_data.then(|| self.number(header.context));
        if number.is_some_and(|number| number >= self.next + CHUNKS_MAX as u64) {
            return Err("it sent a data frame far before its turn".into());
        }
        let header = Header { context: 0, source: 0, body: whole, ..*header };
        self.rails[rail].partial = Some(Partial { header, number, got: 0, staged: None });
        Ok(())
    }

    /// How much of the next frame of a stream was delivered.
    fn part(&mut self, is_data: bool) -> &mut usize {
        if is_data { &mut self.data_part } else { &mut self.ordered_part }
    }

    /// Where the bytes that must come next on this rail can be received, header excluded: where
    /// they belong, or, if it is not their turn, beside it. `None`: bring them to `take`.
    ///
    /// # Errors
    /// What the peer sent makes no sense.
    pub fn place<'a, I: Inbox>(
        &'a mut self,
        (peer, rail): (Peer, usize),
        awaited: &Header,
        inbox: &'a mut I,
    ) -> Result<Option<&'a mut [u8]>, Mad> {
        self.begin(rail, awaited)?;
        let missing = awaited.body as usize;
        let Some(Partial { number, got, .. }) = self.rails[rail].partial else { return Ok(None) };
        let turn = self.turn(rail, number)?;
        let is_due = turn == Turn::Now && *self.part(number.is_some()) == got;
        let Some(partial) = &mut self.rails[rail].partial else { return Ok(None) };
        if turn == Turn::Later && partial.staged.is_none() {
            partial.staged = Some(vec![0; partial.header.body as usize]);
        }
        let room = match &mut partial.staged {
            Some(staged) => staged.get_mut(got..),
            None if is_due => inbox.place(peer, &partial.header.after_piece(got)),
            None => None,
        };
        Ok(room.filter(|room| room.len() == missing))
    }

    /// So many bytes were received there; returns how many messages that delivered.
    ///
    /// # Errors
    /// What the peer sent makes no sense.
    pub fn landed<I: Inbox>(
        &mut self,
        (peer, rail): (Peer, usize),
        bytes: usize,
        inbox: &mut I,
    ) -> Result<usize, Mad> {
        let Some(partial) = &mut self.rails[rail].partial else { return Ok(0) };
        let mut delivered = 0;
        if partial.staged.is_none() {
            let header = partial.header.after_piece(partial.got).piece(bytes);
            let is_data = partial.number.is_some();
            inbox.placed(peer, &header);
            delivered = 1;
            *self.part(is_data) += bytes;
        }
        if let Some(partial) = &mut self.rails[rail].partial {
            partial.got += bytes;
        }
        Ok(delivered + self.finish((peer, rail), inbox)?)
    }

    /// A piece of a frame that is in the input.
    fn piece<I: Inbox>(
        &mut self,
        (peer, rail): (Peer, usize),
        header: &Header,
        body: &[u8],
        inbox: &mut I,
    ) -> Result<usize, Mad> {
        const BEYOND: &str = "it sent more than it announced";
        self.begin(rail, header)?;
        let Some(Partial { number, got, .. }) = self.rails[rail].partial else { return Ok(0) };
        let turn = self.turn(rail, number)?;
        let part = *self.part(number.is_some());
        let mut delivered = 0;
        let Some(partial) = &mut self.rails[rail].partial else { return Ok(0) };
        let whole = partial.header.body as usize;
        if body.len() > whole - got {
            return Err(BEYOND.into());
        }
        partial.got += body.len();
        match (turn, &mut partial.staged) {
            (Turn::Again, _) => {}
            (_, Some(staged)) => staged[got..got + body.len()].copy_from_slice(body),
            (Turn::Later, None) => {
                let mut staged = vec![0; whole];
                staged[got..got + body.len()].copy_from_slice(body);
                partial.staged = Some(staged);
            }
            (Turn::Now, None) => {
                // What was delivered already, by a connection that broke, is skipped.
                let new = body.get(part.saturating_sub(got)..).unwrap_or_default();
                if !new.is_empty() || whole == 0 {
                    let header = partial.header.after_piece(part).piece(new.len());
                    inbox.message(peer, &header, new);
                    delivered = 1;
                    *self.part(number.is_some()) += new.len();
                }
            }
        }
        Ok(delivered + self.finish((peer, rail), inbox)?)
    }

    /// If the frame is whole, it counts.
    fn finish<I: Inbox>(
        &mut self,
        (peer, rail): (Peer, usize),
        inbox: &mut I,
    ) -> Result<usize, Mad> {
        let this = &mut self.rails[rail];
        let Some(partial) = this.partial.take_if(|p| p.got >= p.header.body as usize) else {
            return Ok(0);
        };
        let (header, staged) = (partial.header, partial.staged);
        let Some(number) = partial.number else {
            if self.is_next(rail, HEADER_BYTES + header.body as usize)? {
                self.ordered_part = 0;
            }
            return Ok(0);
        };
        let turn = self.turn(rail, Some(number))?;
        self.rails[rail].count = self.rails[rail].count.wrapping_add(1);
        self.owed_bytes += header.body as usize;
        self.owed_frames += 1;
        match (turn, staged) {
            (Turn::Again, _) => Ok(0),
            (Turn::Later, staged) => {
                self.held.insert(number, (header, staged.unwrap_or_default()));
                Ok(0)
            }
            (Turn::Now, staged) => {
                let mut delivered = 0;
                if let Some(body) = staged {
                    delivered += self.deliver(peer, &header, &body, inbox);
                }
                self.data_part = 0;
                self.next += 1;
                while let Some((header, body)) = self.held.remove(&self.next) {
                    delivered += self.deliver(peer, &header, &body, inbox);
                    self.next += 1;
                }
                Ok(delivered)
            }
        }
    }

    /// Delivers what was not delivered of the next data frame, which is whole.
    fn deliver<I: Inbox>(
        &mut self,
        peer: Peer,
        header: &Header,
        body: &[u8],
        inbox: &mut I,
    ) -> usize {
        let part = std::mem::take(&mut self.data_part);
        let rest = body.get(part..).unwrap_or_default();
        let is_new = !rest.is_empty();
        if is_new {
            inbox.message(peer, &header.after_piece(part), rest);
        }
        usize::from(is_new)
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Partitioned communication: what the two sides of a channel know (MPI-5.0 chapter 4).
//!
//! A channel is a Psend_init and the Precv_init that it met. The sender cuts its buffer into
//! messages of one partition each (of several, beyond [`MESSAGES_MAX`] of them) and says so once,
//! in a [`Plan`] that leaves with Psend_init. In each round a message leaves when the last of its
//! partitions is ready. The receiver posts a receive for each message into its own buffer, so the
//! partitions of both sides need not agree: a partition has arrived when all messages that have a
//! byte of it have.
//!
//! All of it travels in the communicator's collective context, above the tags of collective calls
//! and of calls that a user's tag names: plans with [`PLAN_TAG`], the messages of a channel with
//! tags of their own, so that they may overtake each other.

use crate::datatype::Type;
use crate::error::MpiError;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use strait_transport::envelope::Peer;
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;

/// Tag of plans.
pub const PLAN_TAG: u32 = 0x8000_0000;
/// Tags of the messages of channels: from here on, below the wildcard (all ones).
const DATA_TAGS: Range<u32> = PLAN_TAG + 1..u32::MAX;
/// Most messages of one channel and round. Each takes a request at either side (about 200 bytes),
/// and more pieces of one transfer fill no more of a link.
const MESSAGES_MAX: usize = 1024;
/// Bytes of a plan.
pub const PLAN_BYTES: usize = 32;

/// How a sender cuts its buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The user's tag.
    pub tag: u32,
    /// Tag of the first message; the others follow.
    pub first: u32,
    /// Messages of a round.
    pub messages: u32,
    /// Packed bytes of each message but the last.
    pub step: u64,
    /// Packed bytes of all.
    pub bytes: u64,
}

impl Plan {
    /// As it travels: little-endian, four bytes of zeros last.
    pub fn to_bytes(self) -> [u8; PLAN_BYTES] {
        let mut bytes = [0; PLAN_BYTES];
        for (at, word) in [self.tag, self.first, self.messages].into_iter().enumerate() {
            bytes[4 * at..][..4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[12..20].copy_from_slice(&self.step.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// Back; `None` for what no sender of ours would say.
    pub fn from_bytes(bytes: &[u8; PLAN_BYTES]) -> Option<Plan> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let (tag, first, messages) = (word(0), word(4), word(8));
        let plan = Plan { tag, first, messages, step: long(12), bytes: long(20) };
        first.checked_add(messages)?;
        let sane = messages as usize <= MESSAGES_MAX
            && (messages == 0 || DATA_TAGS.start <= first)
            && usize::try_from(plan.bytes).is_ok()
            && plan.step.checked_mul(u64::from(messages)).is_some_and(|all| all >= plan.bytes);
        sane.then_some(plan)
    }

    /// The bytes of a message.
    pub fn range(&self, message: usize) -> Range<usize> {
        let start = (message as u64 * self.step).min(self.bytes);
        start as usize..(start + self.step).min(self.bytes) as usize
    }

    /// The messages that carry a byte of a range.
    pub fn messages_of(&self, bytes: &Range<usize>) -> Range<usize> {
        let end = bytes.end.min(self.bytes as usize);
        if bytes.start >= end || self.step == 0 {
            return 0..0;
        }
        let step = self.step as usize;
        bytes.start / step..end.div_ceil(step)
    }
}

/// A buffer of equal partitions.
pub struct Buffer {
    /// Where.
    pub base: *mut u8,
    /// How many partitions.
    pub partitions: usize,
    /// Elements of each.
    pub count: i64,
    /// Of this type.
    pub ty: Arc<Type>,
}

impl Buffer {
    /// Packed bytes of a partition.
    pub fn step(&self) -> usize {
        self.count as usize * self.ty.size() as usize
    }

    /// Elements `elements.0` to `elements.1`.
    fn elements(&self, (start, end): (i64, i64)) -> Payload {
        let offset = (start * self.ty.extent()) as isize;
        self.ty.payload(self.base.wrapping_offset(offset), end - start)
    }

    /// Some partitions.
    pub fn partitions(&self, range: Range<usize>) -> Payload {
        self.elements((range.start as i64 * self.count, range.end as i64 * self.count))
    }

    /// The whole.
    pub fn whole(&self) -> Payload {
        self.partitions(0..self.partitions)
    }

    /// A range of the packed bytes, as far as the buffer reaches; `None` if it begins or ends amid
    /// an element with gaps.
    pub fn bytes(&self, range: &Range<usize>) -> Option<Payload> {
        let all = self.step() * self.partitions;
        let (start, end) = (range.start.min(all), range.end.min(all));
        if let Payload::Contiguous { base, .. } = self.whole() {
            return Some(Payload::Contiguous {
                base: base.wrapping_add(start),
                bytes: end - start,
            });
        }
        let size = self.ty.size() as usize;
        let whole = start.is_multiple_of(size) && end.is_multiple_of(size);
        whole.then(|| self.elements(((start / size) as i64, (end / size) as i64)))
    }
}

/// The sending side.
pub struct Sending {
    /// To whom; `None`: MPI_PROC_NULL.
    pub peer: Option<Peer>,
    /// What.
    pub buffer: Buffer,
    /// How it is cut.
    pub plan: Plan,
    /// Partitions of a message (fewer in the last).
    pub group: usize,
    /// Which partitions are ready.
    pub ready: Vec<bool>,
    /// Of each message: partitions that are not ready.
    pub missing: Vec<usize>,
    /// Messages that have not left.
    pub unsent: usize,
    /// Messages under way.
    pub flying: Vec<RequestId>,
    /// What went wrong first.
    pub error: Option<Box<MpiError>>,
}

impl Sending {
    /// A side that has not begun; its plan takes its tags from `tags`.
    pub fn new(peer: Option<Peer>, buffer: Buffer, tag: u32, tags: &mut Channels) -> Sending {
        let group = buffer.partitions.div_ceil(MESSAGES_MAX).max(1);
        let messages = buffer.partitions.div_ceil(group) as u32;
        let first = tags.take(messages);
        let step = (buffer.step() * group) as u64;
        let bytes = (buffer.step() * buffer.partitions) as u64;
        let plan = Plan { tag, first, messages, step, bytes };
        Sending {
            peer,
            buffer,
            plan,
            group,
            ready: Vec::new(),
            missing: Vec::new(),
            unsent: 0,
            flying: Vec::new(),
            error: None,
        }
    }

    /// The partitions of a message.
    pub fn partitions_of(&self, message: usize) -> Range<usize> {
        let start = message * self.group;
        start..(start + self.group).min(self.buffer.partitions)
    }

    /// Before each round: nothing is ready.
    pub fn begin(&mut self) {
        self.ready = vec![false; self.buffer.partitions];
        self.missing =
            (0..self.plan.messages as usize).map(|m| self.partitions_of(m).len()).collect();
        self.unsent = self.missing.len();
        self.error = None;
    }
}

/// A receive of one message of a round: its number, and where its bytes wait if they have no place
/// of their own in the buffer.
pub struct Piece {
    /// The transport's request.
    pub id: RequestId,
    /// Which message.
    pub message: usize,
    /// Unpacked when it is there.
    pub staged: Option<Box<[u8]>>,
}

/// The receiving side.
pub struct Receiving {
    /// From whom; `None`: MPI_PROC_NULL.
    pub peer: Option<Peer>,
    /// Its rank.
    pub source: u32,
    /// The user's tag.
    pub tag: u32,
    /// Where to.
    pub buffer: Buffer,
    /// What the sender said, or why it will say nothing.
    pub plan: Option<Result<Plan, Box<MpiError>>>,
    /// Whether this round's receives are posted.
    pub posted: bool,
    /// Receives under way.
    pub open: Vec<Piece>,
    /// Which messages of this round are there.
    pub arrived: Vec<bool>,
    /// What went wrong first in this round.
    pub error: Option<Box<MpiError>>,
}

impl Receiving {
    /// Whether a partition of this round is there.
    pub fn has(&self, partition: usize) -> bool {
        let Some(Ok(plan)) = &self.plan else { return false };
        let step = self.buffer.step();
        self.posted
            && match step {
                0 => self.open.is_empty(),
                _ => {
                    let bytes = partition * step..(partition + 1) * step;
                    self.arrived[plan.messages_of(&bytes)].iter().all(|there| *there)
                }
            }
    }
}

/// A side as its request and its work share it.
pub type SendingRef = Rc<RefCell<Sending>>;
/// The other.
pub type ReceivingRef = Rc<RefCell<Receiving>>;

/// What a persistent request is the handle of.
pub enum Side {
    /// MPI_Psend_init
    Send(SendingRef),
    /// MPI_Precv_init
    Receive(ReceivingRef),
}

/// The channels of a communicator that are being matched, in the order of the calls.
#[derive(Default)]
pub struct Channels {
    /// Tags that were given out, counted from the first data tag.
    used: u32,
    /// Receiving sides without a plan.
    pub waiting: Vec<ReceivingRef>,
    /// Plans without a receiving side, with their source.
    pub unclaimed: VecDeque<(u32, Plan)>,
}

impl Channels {
    /// The first of `messages` tags. They come back after two thousand million, which two channels
    /// of one communicator that live at once would have to be apart to share one.
    fn take(&mut self, messages: u32) -> u32 {
        if self.used > DATA_TAGS.end - DATA_TAGS.start - messages {
            self.used = 0;
        }
        let first = DATA_TAGS.start + self.used;
        self.used += messages;
        first
    }

    /// The oldest plan from `source` with this tag.
    pub fn claim(&mut self, source: u32, tag: u32) -> Option<Plan> {
        let at = self.unclaimed.iter().position(|(s, plan)| (*s, plan.tag) == (source, tag))?;
        self.unclaimed.remove(at).map(|(_, plan)| plan)
    }

    /// A plan has come: for the oldest side that waits for it, or for later.
    pub fn deliver(&mut self, source: u32, plan: Plan) {
        let fits = |side: &ReceivingRef| {
            let side = side.borrow();
            (side.source, side.tag) == (source, plan.tag)
        };
        match self.waiting.iter().position(fits) {
            Some(at) => self.waiting.remove(at).borrow_mut().plan = Some(Ok(plan)),
            None => self.unclaimed.push_back((source, plan)),
        }
    }

    /// No plan will come from `source` any more.
    pub fn fail(&mut self, source: u32, error: &MpiError) {
        self.waiting.retain(|side| {
            let hit = side.borrow().source == source;
            if hit {
                side.borrow_mut().plan = Some(Err(Box::new(error.clone())));
            }
            !hit
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_travel_and_nonsense_does_not() {
        let plan = Plan { tag: 7, first: DATA_TAGS.start, messages: 3, step: 40, bytes: 100 };
        assert_eq!(Plan::from_bytes(&plan.to_bytes()), Some(plan));
        for bad in [
            Plan { first: 5, ..plan },
            Plan { messages: 2, ..plan },
            Plan { messages: u32::MAX, ..plan },
            Plan { first: u32::MAX - 1, ..plan },
        ] {
            assert_eq!(Plan::from_bytes(&bad.to_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn messages_cover_their_bytes_once() {
        let plan = Plan { tag: 0, first: DATA_TAGS.start, messages: 3, step: 40, bytes: 100 };
        let ranges: Vec<_> = (0..3).map(|m| plan.range(m)).collect();
        assert_eq!(ranges, [0..40, 40..80, 80..100]);
        for start in 0..100 {
            for end in start + 1..=120 {
                let wanted: Vec<usize> =
                    (0..3).filter(|&m| ranges[m].start < end && start < ranges[m].end).collect();
                assert_eq!(plan.messages_of(&(start..end)).collect::<Vec<_>>(), wanted);
            }
        }
        assert_eq!(plan.messages_of(&(100..120)), 0..0);
    }
}

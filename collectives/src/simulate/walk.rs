// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One pass over the outline of one rank: when each of its messages goes, given when the others'
//! arrive.
//!
//! Time here is two counts. Messages go in slots: a rank sends one message per slot, and what
//! depends on a message of slot `s` goes in `s + 1` at the earliest. Chains count only messages of
//! which each waited for the one before, so they are shorter where a rank sends several messages
//! that do not depend on each other. What slots and chains cost is counted elsewhere: counts settle
//! after a pass or two where ranks are in step, times would need a pass for each round.
//!
//! Dependencies follow from the blocks that the steps touch, as in the builder, but kept by ranges
//! of blocks, so that the cost is that of the steps, not of the blocks.
#![forbid(unsafe_code)]

use crate::schedule::{Blocks, Buffer, Outline, Step};
use crate::shape::Rank;
use std::collections::HashMap;

/// When something is over.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct At {
    /// The slot of the latest message that it follows; 0: it follows none.
    pub slot: u32,
    /// Messages of which each waited for the one before.
    pub chain: u32,
}

impl At {
    pub(super) fn max(self, other: At) -> At {
        At { slot: self.slot.max(other.slot), chain: self.chain.max(other.chain) }
    }
}

/// A message on its way: the `nth` (from 0) between its two ranks in this direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub to: Rank,
    pub nth: u32,
    pub blocks: u32,
    /// Its slot, and its place in the longest chain.
    pub at: At,
}

/// Blocks of one buffer that were touched by the same steps.
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    end: u32,
    wrote: At,
    read: At,
}

/// What a walk found beside the messages.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Summary {
    /// When the last step is over.
    pub end: At,
    /// Blocks combined and copied.
    pub reduced: u64,
    pub copied: u64,
    /// Cells of the node published and awaited.
    pub cells: u64,
}

/// Memory for walks, used again.
#[derive(Default)]
pub(super) struct Walker {
    spans: Vec<Vec<Span>>,
    to: Counts,
    from: Counts,
    ends: Vec<At>,
}

impl Walker {
    /// Walks. `arrival` says when the nth message of a rank arrives, if that is known: else it
    /// comes as if its sender were in step with this rank.
    pub(super) fn walk(
        &mut self,
        outline: &Outline,
        mut arrival: impl FnMut(Rank, u32) -> Option<At>,
        mut sent: impl FnMut(Sent),
    ) -> Summary {
        self.spans.iter_mut().for_each(Vec::clear);
        self.to.clear();
        self.from.clear();
        self.ends.clear();
        let mut said = outline.said.iter().peekable();
        let mut summary = Summary::default();
        let mut port = At::default();
        for (index, step) in outline.steps.iter().enumerate() {
            let mut ready = At::default();
            while let Some((_, earlier)) = said.next_if(|(step, _)| step.0 as usize == index) {
                ready = ready.max(self.ends[earlier.0 as usize]);
            }
            step.reads().for_each(|blocks| ready = ready.max(self.look(blocks, false)));
            step.writes().iter().for_each(|blocks| ready = ready.max(self.look(*blocks, true)));
            let end = match *step {
                Step::Send { to, what } | Step::Put { to, what, .. } => {
                    port = At { slot: ready.max(port).slot + 1, chain: ready.chain + 1 };
                    sent(Sent { to, nth: self.to.next(to), blocks: what.count, at: port });
                    At { slot: port.slot, ..ready }
                }
                Step::Recv { from, .. } | Step::Get { from, .. } => {
                    let nth = self.from.next(from);
                    // Not known: the receive is posted just before the send of its round.
                    let guess = ready.max(port);
                    ready.max(
                        arrival(from, nth)
                            .unwrap_or(At { slot: guess.slot + 1, chain: guess.chain + 1 }),
                    )
                }
                Step::Copy { what, .. } => {
                    summary.copied += u64::from(what.count);
                    ready
                }
                Step::Reduce { into, .. } => {
                    summary.reduced += u64::from(into.count);
                    ready
                }
                Step::Publish { .. } | Step::Await { .. } => {
                    summary.cells += 1;
                    ready
                }
            };
            step.reads().for_each(|blocks| self.mark_read(blocks, end));
            step.writes().iter().for_each(|blocks| self.mark_written(*blocks, end));
            self.ends.push(end);
            summary.end = summary.end.max(end);
        }
        summary
    }

    /// The latest writer of some blocks, or the latest who touched them at all.
    fn look(&self, blocks: Blocks, readers_too: bool) -> At {
        let Some(spans) = self.spans.get(place(blocks.buffer)) else { return At::default() };
        let range = blocks.range();
        let from = spans.partition_point(|span| span.end <= range.start);
        spans[from..].iter().take_while(|span| span.first < range.end).fold(
            At::default(),
            |at, span| {
                let at = at.max(span.wrote);
                if readers_too { at.max(span.read) } else { at }
            },
        )
    }

    fn of(&mut self, buffer: Buffer) -> &mut Vec<Span> {
        let place = place(buffer);
        if self.spans.len() <= place {
            self.spans.resize_with(place + 1, Vec::new);
        }
        &mut self.spans[place]
    }

    fn mark_read(&mut self, blocks: Blocks, end: At) {
        // Nobody writes the input: its readers matter to nobody.
        if blocks.buffer == Buffer::Input || blocks.count == 0 {
            return;
        }
        let spans = self.of(blocks.buffer);
        let (from, to) = cut(spans, blocks);
        spans[from..to].iter_mut().for_each(|span| span.read = span.read.max(end));
    }

    fn mark_written(&mut self, blocks: Blocks, end: At) {
        if blocks.count == 0 {
            return;
        }
        let range = blocks.range();
        let span = Span { first: range.start, end: range.end, wrote: end, read: At::default() };
        let spans = self.of(blocks.buffer);
        let (from, to) = cut(spans, blocks);
        if from < to {
            spans[from] = span;
            spans.drain(from + 1..to);
        } else {
            spans.insert(from, span);
        }
    }
}

/// Cuts the spans at the ends of some blocks; the spans within. Blocks that no span holds have
/// not been touched, and get none.
fn cut(spans: &mut Vec<Span>, blocks: Blocks) -> (usize, usize) {
    let range = blocks.range();
    for edge in [range.start, range.end] {
        let index = spans.partition_point(|span| span.end <= edge);
        if let Some(span) = spans.get_mut(index)
            && span.first < edge
        {
            let tail = Span { first: edge, ..*span };
            span.end = edge;
            spans.insert(index + 1, tail);
        }
    }
    let from = spans.partition_point(|span| span.end <= range.start);
    (from, spans.partition_point(|span| span.first < range.end))
}

/// Where a buffer is in the list of all.
fn place(buffer: Buffer) -> usize {
    match buffer {
        Buffer::Input => 0,
        Buffer::Output => 1,
        Buffer::Scratch(index) => 2 + usize::from(index),
    }
}

/// So many ranks are counted in a list; more in a map.
const FEW: usize = 32;

/// How many messages each rank had.
#[derive(Default)]
struct Counts {
    few: Vec<(Rank, u32)>,
    many: HashMap<Rank, u32>,
}

impl Counts {
    fn clear(&mut self) {
        self.few.clear();
        self.many.clear();
    }

    /// Counts one more; how many there were before.
    fn next(&mut self, rank: Rank) -> u32 {
        let known = self.few.iter().position(|(known, _)| *known == rank);
        let count = match known {
            Some(index) => &mut self.few[index].1,
            None if self.few.len() < FEW => {
                self.few.push((rank, 1));
                return 0;
            }
            None => self.many.entry(rank).or_insert(0),
        };
        *count += 1;
        *count - 1
    }
}

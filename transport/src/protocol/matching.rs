// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Matching: receives that wait for messages (posted) and messages that wait for receives
//! (unexpected), by context, source and tag, in MPI's non-overtaking order.
//!
//! Invariants:
//! 1. No posted pattern accepts any unexpected envelope: an arrival looks at the posted receives
//!    first, a receive at the unexpected messages first.
//! 2. A message goes to the earliest posted receive that accepts it; a receive takes the earliest
//!    arrived message that it accepts.
//! 3. The posted receives of a context are either all in a plain list (posted.rs) or all in the
//!    shelf. In the shelf an entry is linked in the order list of its context, and while that is
//!    long also in the bin of its exact key. A pattern with wildcards is a key like any other, so
//!    that an arrival asks at most four bins, and sequence numbers arbitrate between them.
//!
//! Posted receives move to the shelf when a search walked past [`LIST_MAX`] of them in vain, and
//! stay there until the context has none: messages that come in the order of their receives never
//! pay for a hash. Unexpected messages are a plain list while they are few; beyond [`LIST_MAX`]
//! they are hashed until there are none. A wildcard receive walks the arrivals of its own context
//! only. All lists are doubly linked indices in slabs: nothing is allocated in steady state.
//!
//! Not here: bodies, buffers, requests; entries carry what the caller gives them.
#![forbid(unsafe_code)]

use super::posted::{Found, Posted};
use super::shelf::Shelf;
use crate::envelope::{ANY, Envelope, Pattern};
use std::collections::HashMap;

pub use super::shelf::LIST_MAX;

/// A receive that waits in the shelf.
#[derive(Clone, Copy, Debug)]
struct Shelved {
    sequence: u64,
    request: u32,
}

/// Names a posted receive, for [`Matching::withdraw`]: its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PostedId(u32);

/// Names an unexpected message, for [`Matching::message`] and [`Matching::remove`]; valid until the
/// next change of the unexpected queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnexpectedId(u32);

/// Both queues. `M` is what is known of an unexpected message.
pub struct Matching<M> {
    contexts: Contexts,
    posted: Posted,
    shelved: Shelf<Shelved>,
    unexpected: Shelf<M>,
    next_sequence: u64,
}

impl<M> Default for Matching<M> {
    fn default() -> Matching<M> {
        Matching::new()
    }
}

impl<M> Matching<M> {
    /// Bytes of one unexpected entry.
    pub const UNEXPECTED_BYTES: usize = Shelf::<M>::NODE_BYTES;

    /// Empty queues.
    pub fn new() -> Matching<M> {
        Matching {
            contexts: Contexts::default(),
            posted: Posted::new(),
            shelved: Shelf::new(),
            unexpected: Shelf::new(),
            next_sequence: 0,
        }
    }

    /// Posts the receive of a request, which has none posted yet. Requests are numbered densely:
    /// memory grows with the largest number. The caller has seen that no unexpected message is
    /// accepted.
    #[inline]
    pub fn post(&mut self, pattern: Pattern, request: u32) -> PostedId {
        let context = self.context(pattern.context);
        if self.shelved.queue(context).count == 0 {
            self.posted.push(context, pattern.source, pattern.tag, request);
        } else {
            self.shelve(context, pattern.source, pattern.tag, request);
        }
        PostedId(request)
    }

    #[inline(never)]
    fn shelve(&mut self, context: u32, source: u32, tag: u32, request: u32) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let id = self.shelved.push(context, source, tag, Shelved { sequence, request });
        self.posted.shelve(request, id);
    }

    /// A search walked far: the receives of this context move to the shelf, in their order.
    #[cold]
    #[inline(never)]
    fn shelve_all(&mut self, context: u32) {
        while let Some((source, tag, request)) = self.posted.pop(context) {
            self.shelve(context, source, tag, request);
        }
    }

    /// Takes the posted receive that this arrival belongs to: its request.
    #[inline]
    pub fn arrive(&mut self, envelope: Envelope) -> Option<u32> {
        let context = self.context(envelope.context);
        let (source, tag) = (envelope.source, envelope.tag);
        match self.posted.find(context, source, tag) {
            Found::Request(request) => {
                self.posted.remove(request);
                return Some(request);
            }
            Found::None if self.shelved.queue(context).count == 0 => return None,
            Found::None => {}
            Found::Far => self.shelve_all(context),
        }
        self.arrive_at_shelf(context, source, tag)
    }

    #[inline(never)]
    fn arrive_at_shelf(&mut self, context: u32, source: u32, tag: u32) -> Option<u32> {
        let queue = self.shelved.queue(context);
        let id = if queue.hashed {
            self.earliest_of_bins(context, source, tag, queue.wild > 0)?
        } else {
            self.shelved
                .first_where(context, |s, t| (s == source || s == ANY) && (t == tag || t == ANY))?
        };
        Some(self.unshelve(id))
    }

    fn unshelve(&mut self, id: u32) -> u32 {
        let request = self.shelved.remove(id).request;
        self.posted.unshelve(request);
        request
    }

    fn earliest_of_bins(&self, context: u32, source: u32, tag: u32, wild: bool) -> Option<u32> {
        let mut best = self.shelved.bin_first(context, source, tag);
        if !wild {
            return best;
        }
        for (source, tag) in [(ANY, tag), (source, ANY), (ANY, ANY)] {
            let other = self.shelved.bin_first(context, source, tag);
            best = match (best, other) {
                (Some(a), Some(b)) => {
                    let earlier = self.shelved.body(a).sequence < self.shelved.body(b).sequence;
                    Some(if earlier { a } else { b })
                }
                (a, b) => a.or(b),
            };
        }
        best
    }

    /// The posted receive that a message with this envelope would go to; `None` also where that is
    /// not found quickly.
    pub fn earliest(&mut self, envelope: Envelope) -> Option<u32> {
        let context = self.context(envelope.context);
        match self.posted.find(context, envelope.source, envelope.tag) {
            Found::Request(request) if self.shelved.queue(context).count == 0 => Some(request),
            _ => None,
        }
    }

    /// Takes a posted receive back (cancel, loss of its peer).
    pub fn withdraw(&mut self, id: PostedId) {
        match self.posted.shelved(id.0) {
            Some(at) => {
                self.unshelve(at);
            }
            None => self.posted.remove(id.0),
        }
    }

    /// Adds a message that no posted receive accepts.
    #[inline]
    pub fn add(&mut self, envelope: Envelope, message: M) {
        let context = self.context(envelope.context);
        self.unexpected.push(context, envelope.source, envelope.tag, message);
    }

    /// The earliest unexpected message that the pattern accepts.
    #[inline]
    pub fn find(&mut self, pattern: Pattern) -> Option<UnexpectedId> {
        let context = self.context(pattern.context);
        let (source, tag) = (pattern.source, pattern.tag);
        let queue = self.unexpected.queue(context);
        if queue.count == 0 {
            return None;
        }
        let id = if queue.hashed && source != ANY && tag != ANY {
            self.unexpected.bin_first(context, source, tag)
        } else {
            self.unexpected.first_where(context, |s, t| {
                (s == source || source == ANY) && (t == tag || tag == ANY)
            })
        };
        id.map(UnexpectedId)
    }

    /// The earliest unexpected message of a context for which `test` holds.
    pub fn find_where(&mut self, context: u32, test: impl Fn(&M) -> bool) -> Option<UnexpectedId> {
        let context = self.context(context);
        self.unexpected.first_body_where(context, test).map(UnexpectedId)
    }

    /// The latest unexpected message with exactly this envelope for which `test` holds.
    pub fn find_latest(
        &mut self,
        envelope: Envelope,
        test: impl Fn(&M) -> bool,
    ) -> Option<UnexpectedId> {
        let context = self.context(envelope.context);
        self.unexpected.last_where(context, envelope.source, envelope.tag, test).map(UnexpectedId)
    }

    /// Envelope and content of an unexpected message.
    #[inline]
    pub fn message(&self, id: UnexpectedId) -> (Envelope, &M) {
        let (context, source, tag) = self.unexpected.key(id.0);
        let context = self.contexts.names[context as usize];
        (Envelope { context, source, tag }, self.unexpected.body(id.0))
    }

    /// Takes an unexpected message out.
    #[inline]
    pub fn remove(&mut self, id: UnexpectedId) -> (Envelope, M) {
        let (context, source, tag) = self.unexpected.key(id.0);
        let context = self.contexts.names[context as usize];
        (Envelope { context, source, tag }, self.unexpected.remove(id.0))
    }

    /// Posted receives.
    pub fn posted_count(&self) -> usize {
        self.posted.count() + self.shelved.count()
    }

    /// Whether no receive is posted and no message waits for one.
    #[inline(always)]
    pub fn is_idle(&self) -> bool {
        self.posted.count() | self.shelved.count() | self.unexpected.count() == 0
    }

    /// Unexpected messages.
    pub fn unexpected_count(&self) -> usize {
        self.unexpected.count()
    }

    /// Contexts that are remembered.
    pub fn context_count(&self) -> usize {
        self.contexts.names.len()
    }

    #[inline]
    fn context(&mut self, context: u32) -> u32 {
        let line = self.contexts.recent[context as usize % RECENT];
        if line.0 == context && line.1 != u32::MAX {
            return line.1;
        }
        self.look_up(context)
    }

    #[cold]
    #[inline(never)]
    fn look_up(&mut self, context: u32) -> u32 {
        let index = match self.contexts.indices.get(&context) {
            Some(&index) => index,
            None => self.add_context(context),
        };
        self.contexts.recent[context as usize % RECENT] = (context, index);
        index
    }

    fn add_context(&mut self, context: u32) -> u32 {
        if self.contexts.indices.len() >= self.contexts.sweep_at {
            self.sweep_contexts();
        }
        let contexts = &mut self.contexts;
        let index = match contexts.free.pop() {
            Some(index) => {
                contexts.names[index as usize] = context;
                index
            }
            None => {
                contexts.names.push(context);
                self.posted.add_list();
                self.shelved.add_queue();
                self.unexpected.add_queue();
                (contexts.names.len() - 1) as u32
            }
        };
        contexts.indices.insert(context, index);
        index
    }

    /// Forgets the contexts in which nothing waits: communicators come and go.
    fn sweep_contexts(&mut self) {
        let contexts = &mut self.contexts;
        let (posted, shelved) = (&self.posted, &self.shelved);
        let unexpected = &self.unexpected;
        contexts.indices.retain(|_, index| {
            let used = !posted.is_empty(*index)
                || shelved.queue(*index).count > 0
                || unexpected.queue(*index).count > 0;
            if !used {
                contexts.free.push(*index);
            }
            used
        });
        contexts.recent = [(0, u32::MAX); RECENT];
        contexts.sweep_at = SWEEP_MIN.max(2 * contexts.indices.len());
    }
}

/// Lines of the direct-mapped cache from context to queue index.
const RECENT: usize = 64;
/// Contexts from which on unused ones are looked for.
const SWEEP_MIN: usize = 256;

/// Contexts and the index of their queues. When there are twice as many as were in use at the last
/// look, those without entries are forgotten, so a look is paid for by as many new contexts.
struct Contexts {
    names: Vec<u32>,
    free: Vec<u32>,
    indices: HashMap<u32, u32>,
    recent: [(u32, u32); RECENT],
    sweep_at: usize,
}

impl Default for Contexts {
    fn default() -> Contexts {
        Contexts {
            names: Vec::new(),
            free: Vec::new(),
            indices: HashMap::new(),
            recent: [(0, u32::MAX); RECENT],
            sweep_at: SWEEP_MIN,
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Posted receives that wait in plain lists: one per context, in the order of their posting.
//!
//! An entry lies at the index of its request, so posting allocates nothing and looks for nothing,
//! and a withdrawal finds its entry at once. A list is searched from its oldest entry; messages
//! that come in the order of their receives are found at its head, however long it is.
//!
//! Invariants:
//! 1. A linked entry is in the list of its context, which is in the order of posting.
//! 2. An entry that is not linked has context [`NONE`], or [`SHELVED`] if its receive waits in the
//!    hashed shelf, and then `next` says where.
//!
//! Not here: queues in which searches walk far (matching.rs moves them to that shelf).
#![forbid(unsafe_code)]

use crate::envelope::ANY;

const NONE: u32 = u32::MAX;
const SHELVED: u32 = u32::MAX - 1;

/// Most entries that a search looks at before the list should be hashed.
pub(super) const WALK_MAX: u32 = super::shelf::LIST_MAX;

#[derive(Clone, Copy)]
struct Entry {
    context: u32,
    source: u32,
    tag: u32,
    previous: u32,
    next: u32,
}

const UNLINKED: Entry = Entry { context: NONE, source: 0, tag: 0, previous: NONE, next: NONE };

#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

/// What a search of a list finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// The request of the oldest entry that accepts the message.
    Request(u32),
    /// None does.
    None,
    /// Not among the first [`WALK_MAX`]; there are more.
    Far,
}

/// The lists.
pub(super) struct Posted {
    entries: Vec<Entry>,
    lists: Vec<List>,
    count: usize,
}

impl Posted {
    pub(super) fn new() -> Posted {
        Posted { entries: Vec::new(), lists: Vec::new(), count: 0 }
    }

    /// A list for the next context index.
    pub(super) fn add_list(&mut self) {
        self.lists.push(List { first: NONE, last: NONE });
    }

    /// Entries in all lists.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self, context: u32) -> bool {
        self.lists[context as usize].first == NONE
    }

    /// Appends the receive of a request, which has no entry.
    #[inline]
    pub(super) fn push(&mut self, context: u32, source: u32, tag: u32, request: u32) {
        if request as usize >= self.entries.len() {
            self.entries.resize(request as usize + 1, UNLINKED);
        }
        let list = &mut self.lists[context as usize];
        let last = std::mem::replace(&mut list.last, request);
        if last == NONE {
            list.first = request;
        } else {
            self.entries[last as usize].next = request;
        }
        self.entries[request as usize] = Entry { context, source, tag, previous: last, next: NONE };
        self.count += 1;
    }

    /// The oldest entry that accepts a message from `source` with `tag`; it is not taken out.
    #[inline]
    pub(super) fn find(&self, context: u32, source: u32, tag: u32) -> Found {
        let mut at = self.lists[context as usize].first;
        let mut walked = 0;
        while at != NONE {
            let entry = &self.entries[at as usize];
            let accepts = (entry.source == source || entry.source == ANY)
                && (entry.tag == tag || entry.tag == ANY);
            if accepts {
                return Found::Request(at);
            }
            at = entry.next;
            walked += 1;
            if walked > WALK_MAX && at != NONE {
                return Found::Far;
            }
        }
        Found::None
    }

    /// Remembers that the receive of a request waits in the shelf, at `id` there.
    pub(super) fn shelve(&mut self, request: u32, id: u32) {
        if request as usize >= self.entries.len() {
            self.entries.resize(request as usize + 1, UNLINKED);
        }
        self.entries[request as usize] = Entry { context: SHELVED, next: id, ..UNLINKED };
    }

    /// The receive of a request has left the shelf.
    pub(super) fn unshelve(&mut self, request: u32) {
        self.entries[request as usize] = UNLINKED;
    }

    /// Where in the shelf the receive of a request waits, if it does.
    pub(super) fn shelved(&self, request: u32) -> Option<u32> {
        let entry = &self.entries[request as usize];
        (entry.context == SHELVED).then_some(entry.next)
    }

    /// Takes the entry of a request out.
    #[inline]
    pub(super) fn remove(&mut self, request: u32) {
        let Entry { context, previous, next, .. } =
            std::mem::replace(&mut self.entries[request as usize], UNLINKED);
        let list = &mut self.lists[context as usize];
        if previous == NONE {
            list.first = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next == NONE {
            list.last = previous;
        } else {
            self.entries[next as usize].previous = previous;
        }
        self.count -= 1;
    }

    /// Takes the oldest entry of a context out: source, tag, request.
    pub(super) fn pop(&mut self, context: u32) -> Option<(u32, u32, u32)> {
        let request = self.lists[context as usize].first;
        let entry = *self.entries.get(request as usize)?;
        self.remove(request);
        Some((entry.source, entry.tag, request))
    }
}

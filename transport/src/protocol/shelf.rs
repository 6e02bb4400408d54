// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The store below matching: entries in one order list per context, and by exact key in hashed bins
//! while the list is long.
//!
//! Invariants:
//! 1. A live node is in the order list of its context, in order of arrival.
//! 2. If the queue is hashed, the node is also in the bin of its key, in order of arrival.
//! 3. A bin in the table is not empty. Free nodes and free bins are chained through `next`.
//!
//! Not here: what a wildcard means (matching.rs).
#![forbid(unsafe_code)]

use crate::envelope::ANY;

/// Longest queue of a context that is searched as a list. Sixteen entries are a few cache lines;
/// beyond that a hash and three loads are cheaper than the walk.
pub const LIST_MAX: u32 = 16;
/// Buckets of the first table.
const BUCKETS_MIN: usize = 64;
/// An empty shelf gives its memory back if it had more nodes than this (4 MiB of them).
const NODES_KEPT: usize = 1 << 16;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Links {
    previous: u32,
    next: u32,
}

const UNLINKED: Links = Links { previous: NONE, next: NONE };

struct Node<B> {
    context: u32,
    source: u32,
    tag: u32,
    bin: u32,
    order: Links,
    in_bin: Links,
    body: Option<B>,
}

/// One context's entries.
#[derive(Clone, Copy)]
pub(super) struct Queue {
    first: u32,
    last: u32,
    pub(super) count: u32,
    /// Entries whose key has a wildcard.
    pub(super) wild: u32,
    pub(super) hashed: bool,
}

struct Bin {
    context: u32,
    source: u32,
    tag: u32,
    first: u32,
    last: u32,
    /// Next bin of the bucket, or of the free list.
    next: u32,
}

pub(super) struct Shelf<B> {
    nodes: Vec<Node<B>>,
    free_node: u32,
    count: usize,
    queues: Vec<Queue>,
    bins: Vec<Bin>,
    free_bin: u32,
    bin_count: usize,
    buckets: Vec<u32>,
}

impl<B> Shelf<B> {
    pub(super) const NODE_BYTES: usize = size_of::<Node<B>>();

    pub(super) fn new() -> Shelf<B> {
        Shelf {
            nodes: Vec::new(),
            free_node: NONE,
            count: 0,
            queues: Vec::new(),
            bins: Vec::new(),
            free_bin: NONE,
            bin_count: 0,
            buckets: Vec::new(),
        }
    }

    /// A queue for the next context index.
    pub(super) fn add_queue(&mut self) {
        self.queues.push(Queue { first: NONE, last: NONE, count: 0, wild: 0, hashed: false });
    }

    #[inline]
    pub(super) fn queue(&self, context: u32) -> Queue {
        self.queues[context as usize]
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn key(&self, id: u32) -> (u32, u32, u32) {
        let node = &self.nodes[id as usize];
        (node.context, node.source, node.tag)
    }

    #[inline]
    pub(super) fn body(&self, id: u32) -> &B {
        self.nodes[id as usize].body.as_ref().expect("the node is live")
    }

    /// Appends an entry.
    #[inline]
    pub(super) fn push(&mut self, context: u32, source: u32, tag: u32, body: B) -> u32 {
        let queue = &mut self.queues[context as usize];
        let order = Links { previous: queue.last, next: NONE };
        let node =
            Node { context, source, tag, bin: NONE, order, in_bin: UNLINKED, body: Some(body) };
        let id = self.free_node;
        let id = if id == NONE {
            let id = u32::try_from(self.nodes.len()).ok().filter(|&id| id != NONE);
            let id = id.expect("fewer than 2^32 - 1 entries wait");
            self.nodes.push(node);
            id
        } else {
            self.free_node = self.nodes[id as usize].order.next;
            self.nodes[id as usize] = node;
            id
        };
        match queue.last {
            NONE => queue.first = id,
            last => self.nodes[last as usize].order.next = id,
        }
        queue.last = id;
        queue.count += 1;
        queue.wild += u32::from(source == ANY || tag == ANY);
        self.count += 1;
        let (hashed, count) = (queue.hashed, queue.count);
        if hashed {
            self.bin_in(id);
        } else if count > LIST_MAX {
            self.hash_queue(context);
        }
        id
    }

    /// Takes an entry out, wherever it stands.
    #[inline]
    pub(super) fn remove(&mut self, id: u32) -> B {
        if self.nodes[id as usize].bin != NONE {
            self.bin_out(id);
        }
        let node = &mut self.nodes[id as usize];
        let body = node.body.take().expect("the node is live");
        let (context, order) = (node.context, node.order);
        let wild = node.source == ANY || node.tag == ANY;
        node.order.next = self.free_node;
        self.free_node = id;
        let queue = &mut self.queues[context as usize];
        match order.previous {
            NONE => queue.first = order.next,
            previous => self.nodes[previous as usize].order.next = order.next,
        }
        match order.next {
            NONE => queue.last = order.previous,
            next => self.nodes[next as usize].order.previous = order.previous,
        }
        queue.count -= 1;
        queue.wild -= u32::from(wild);
        queue.hashed &= queue.count != 0;
        self.count -= 1;
        if self.count == 0 && self.nodes.len() > NODES_KEPT {
            self.give_back();
        }
        body
    }

    /// The first entry of a context, in order, whose (source, tag) passes.
    #[inline]
    pub(super) fn first_where(&self, context: u32, test: impl Fn(u32, u32) -> bool) -> Option<u32> {
        let mut id = self.queues[context as usize].first;
        while id != NONE {
            let node = &self.nodes[id as usize];
            if test(node.source, node.tag) {
                return Some(id);
            }
            id = node.order.next;
        }
        None
    }

    /// The first entry of a context, in order, whose body passes.
    pub(super) fn first_body_where(&self, context: u32, test: impl Fn(&B) -> bool) -> Option<u32> {
        let mut id = self.queues[context as usize].first;
        while id != NONE {
            let node = &self.nodes[id as usize];
            if node.body.as_ref().is_some_and(&test) {
                return Some(id);
            }
            id = node.order.next;
        }
        None
    }

    /// The last entry with this key whose body passes.
    pub(super) fn last_where(
        &self,
        context: u32,
        source: u32,
        tag: u32,
        test: impl Fn(&B) -> bool,
    ) -> Option<u32> {
        let queue = &self.queues[context as usize];
        let hashed = queue.hashed;
        let mut id = if hashed {
            self.bin_of(context, source, tag).map_or(NONE, |bin| self.bins[bin as usize].last)
        } else {
            queue.last
        };
        while id != NONE {
            let node = &self.nodes[id as usize];
            let same = node.source == source && node.tag == tag;
            if same && node.body.as_ref().is_some_and(&test) {
                return Some(id);
            }
            id = if hashed { node.in_bin.previous } else { node.order.previous };
        }
        None
    }

    /// The first entry of a bin (hashed queues only).
    #[inline]
    pub(super) fn bin_first(&self, context: u32, source: u32, tag: u32) -> Option<u32> {
        self.bin_of(context, source, tag).map(|bin| self.bins[bin as usize].first)
    }

    #[inline]
    fn bin_of(&self, context: u32, source: u32, tag: u32) -> Option<u32> {
        if self.buckets.is_empty() {
            return None;
        }
        let mut id = self.buckets[self.bucket(context, source, tag)];
        while id != NONE {
            let bin = &self.bins[id as usize];
            if bin.context == context && bin.source == source && bin.tag == tag {
                return Some(id);
            }
            id = bin.next;
        }
        None
    }

    /// Bucket of a key: the table's length is a power of two.
    #[inline]
    fn bucket(&self, context: u32, source: u32, tag: u32) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let low = (u64::from(source) << 32 | u64::from(tag)).wrapping_mul(MIX);
        let mixed = (low ^ low >> 29 ^ u64::from(context)).wrapping_mul(MIX);
        (mixed >> 32) as usize & (self.buckets.len() - 1)
    }

    #[cold]
    #[inline(never)]
    fn hash_queue(&mut self, context: u32) {
        self.queues[context as usize].hashed = true;
        let mut id = self.queues[context as usize].first;
        while id != NONE {
            self.bin_in(id);
            id = self.nodes[id as usize].order.next;
        }
    }

    fn bin_in(&mut self, id: u32) {
        let (context, source, tag) = self.key(id);
        let bin = match self.bin_of(context, source, tag) {
            Some(bin) => bin,
            None => self.add_bin(context, source, tag),
        };
        let last = self.bins[bin as usize].last;
        match last {
            NONE => self.bins[bin as usize].first = id,
            last => self.nodes[last as usize].in_bin.next = id,
        }
        self.bins[bin as usize].last = id;
        let node = &mut self.nodes[id as usize];
        node.bin = bin;
        node.in_bin = Links { previous: last, next: NONE };
    }

    fn bin_out(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        let (bin_id, links) = (node.bin, node.in_bin);
        node.bin = NONE;
        let bin = &mut self.bins[bin_id as usize];
        match links.previous {
            NONE => bin.first = links.next,
            previous => self.nodes[previous as usize].in_bin.next = links.next,
        }
        match links.next {
            NONE => bin.last = links.previous,
            next => self.nodes[next as usize].in_bin.previous = links.previous,
        }
        if bin.first == NONE {
            self.drop_bin(bin_id);
        }
    }

    fn add_bin(&mut self, context: u32, source: u32, tag: u32) -> u32 {
        if self.bin_count >= self.buckets.len() {
            self.grow_table();
        }
        let bucket = self.bucket(context, source, tag);
        let next = self.buckets[bucket];
        let bin = Bin { context, source, tag, first: NONE, last: NONE, next };
        let id = match self.free_bin {
            NONE => {
                self.bins.push(bin);
                (self.bins.len() - 1) as u32
            }
            id => {
                self.free_bin = self.bins[id as usize].next;
                self.bins[id as usize] = bin;
                id
            }
        };
        self.buckets[bucket] = id;
        self.bin_count += 1;
        id
    }

    fn drop_bin(&mut self, id: u32) {
        let bin = &self.bins[id as usize];
        let next = bin.next;
        let bucket = self.bucket(bin.context, bin.source, bin.tag);
        if self.buckets[bucket] == id {
            self.buckets[bucket] = next;
        } else {
            let mut before = self.buckets[bucket];
            while self.bins[before as usize].next != id {
                before = self.bins[before as usize].next;
            }
            self.bins[before as usize].next = next;
        }
        self.bins[id as usize].next = self.free_bin;
        self.free_bin = id;
        self.bin_count -= 1;
    }

    #[cold]
    #[inline(never)]
    fn grow_table(&mut self) {
        let length = (self.buckets.len() * 2).max(BUCKETS_MIN);
        let old = std::mem::replace(&mut self.buckets, vec![NONE; length]);
        for mut id in old {
            while id != NONE {
                let bin = &self.bins[id as usize];
                let next = bin.next;
                let bucket = self.bucket(bin.context, bin.source, bin.tag);
                self.bins[id as usize].next = self.buckets[bucket];
                self.buckets[bucket] = id;
                id = next;
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back(&mut self) {
        self.nodes = Vec::new();
        self.free_node = NONE;
        self.bins = Vec::new();
        self.free_bin = NONE;
        self.buckets = Vec::new();
    }
}

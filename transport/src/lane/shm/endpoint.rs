// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One peer of the node as this process sees it, and the slab memory of any rank.

use super::bell;
use super::cells::{MappedRing, Rest};
use super::pairs::Pair;
use super::peer_copy;
use super::ring::Producer;
use super::slab::{ChunkList, give_back};
use crate::node::{
    CHUNK_COUNT, LARGE_CHUNK_BYTES, LARGE_CHUNK_COUNT, Node, RankState, SLAB_HEAD_BYTES,
    SMALL_CHUNK_BYTES, SMALL_CHUNK_COUNT,
};
use crate::sync::register_membarrier;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Whether reads of the peer's memory work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Untried,
    Work,
    Refused,
}

/// One peer.
pub(super) struct Endpoint {
    pub(super) ring: Producer<MappedRing>,
    pub(super) slab: SlabMemory,
    bell: *const AtomicU32,
    local_rank: u32,
    /// Publications to this peer need a full fence before the look at its bell: until it is seen
    /// running and says otherwise.
    full_fence: bool,
    /// It was seen running.
    is_met: bool,
    pub(super) is_lost: bool,
    reads: Reads,
    /// Writes to the peer's memory were refused though reads work.
    no_writes: bool,
    /// A filled message that found its ring full.
    pub(super) pending: Option<Box<(u64, Rest)>>,
    /// Rings of our own with it, or how far we are from one.
    pub(super) pair: Pair,
}

// SAFETY: the bell pointer leads into the node's mapping, which `ring` keeps; it is an atomic.
unsafe impl Send for Endpoint {}

impl Endpoint {
    pub(super) fn new(node: &Arc<Node>, local_rank: u32, may_read: bool) -> Endpoint {
        Endpoint {
            ring: Producer::new(MappedRing::of(node, local_rank)),
            slab: SlabMemory::of(node, local_rank),
            bell: node.record(local_rank).bell(),
            local_rank,
            full_fence: true,
            is_met: false,
            is_lost: false,
            reads: if may_read { Reads::Untried } else { Reads::Refused },
            no_writes: false,
            pending: None,
            pair: Pair::new(),
        }
    }

    /// The publisher's look at the peer's bell, with the fence that it needs.
    #[inline]
    pub(super) fn is_asleep(&self) -> bool {
        // SAFETY: the record lies in the node's mapping, which `ring` keeps alive.
        bell::is_armed(unsafe { &*self.bell }, self.full_fence)
    }

    /// Whether a send to this peer must look closer first.
    #[inline]
    pub(super) fn needs_attention(&self) -> bool {
        !self.is_met | self.is_lost | self.pending.is_some()
    }

    /// Once the peer runs, its record says whether we must fence for it.
    pub(super) fn meet(&mut self, node: &Node) {
        let record = node.record(self.local_rank);
        if !self.is_met && record.state() != RankState::Absent {
            self.is_met = true;
            self.full_fence = record.needs_fence() || !register_membarrier();
        }
    }

    /// Whether reads of the peer's memory work: tried once it runs.
    pub(super) fn can_get(&mut self, node: &Node) -> bool {
        if self.reads == Reads::Untried {
            let record = node.record(self.local_rank);
            if record.state() == RankState::Running {
                self.reads = if peer_copy::probe(record) { Reads::Work } else { Reads::Refused };
            }
        }
        self.reads == Reads::Work && !self.is_lost
    }

    /// As [`Endpoint::can_get`], and `true` as long as it could not be tried because the peer does
    /// not run yet: nearly everywhere it works, and a plan that is made at the first message must
    /// not depend on who came first.
    pub(super) fn may_get(&mut self, node: &Node) -> bool {
        self.can_get(node) || (self.reads == Reads::Untried && !self.is_lost)
    }

    /// Whether there is room for any one message now.
    pub(super) fn has_room(&mut self) -> bool {
        self.pair.has_room().unwrap_or_else(|| self.ring.has_room())
    }

    pub(super) fn refuse_get(&mut self) {
        self.reads = Reads::Refused;
    }

    /// Whether writes to the peer's memory may work: the kernel asks for the same permission as for
    /// reads, but a filter of system calls may know only one of the two.
    pub(super) fn can_put(&mut self, node: &Node) -> bool {
        self.can_get(node) && !self.no_writes
    }

    pub(super) fn refuse_put(&mut self) {
        self.no_writes = true;
    }

    /// We are done with a chunk of this peer; it may sleep for one.
    #[inline]
    pub(super) fn give_back(&self, node: &Node, chunk: u16) {
        give_back(self.slab.state(chunk));
        // SYNC(slab.sleep): FREE before the look at the wish; the sender's side is its wish before
        // its look at the states, with the heavy fence of `bell::announce` between.
        crate::sync::light_fence(self.full_fence);
        // SYNC(slab.wish): pairs with `ShmLane::wish`: who wished has armed its bell.
        let wanted = self.slab.wanted();
        if wanted.load(Relaxed) != 0 && wanted.swap(0, Acquire) != 0 {
            bell::ring(node, self.local_rank);
        }
    }
}

/// Size of a chunk; `None` for a number that is none.
pub(super) fn chunk_bytes(chunk: u16) -> Option<usize> {
    match usize::from(chunk) {
        number if number < SMALL_CHUNK_COUNT => Some(SMALL_CHUNK_BYTES),
        number if number < CHUNK_COUNT => Some(LARGE_CHUNK_BYTES),
        _ => None,
    }
}

/// The slab of one rank in the node memory: a line per chunk state, a line for the wish for room,
/// then the small and the large chunks.
pub(super) struct SlabMemory {
    base: *mut u8,
    /// Keeps the mapping.
    _node: Arc<Node>,
}

// SAFETY: the pointer leads into the node's mapping; what it leads to are atomics, and chunks whose
// use the slab's protocol orders.
unsafe impl Send for SlabMemory {}

const LINE_BYTES: usize = 128;

impl SlabMemory {
    pub(super) fn of(node: &Arc<Node>, local_rank: u32) -> SlabMemory {
        let base = node.slab_base(local_rank).cast_mut();
        SlabMemory { base, _node: Arc::clone(node) }
    }

    /// State word of a chunk.
    #[inline]
    pub(super) fn state(&self, chunk: u16) -> &AtomicU32 {
        assert!(usize::from(chunk) < CHUNK_COUNT);
        // SAFETY: the slab's head has a line for each chunk number; atomics accept any bytes.
        unsafe { &*self.base.add(usize::from(chunk) * LINE_BYTES).cast() }
    }

    /// 1: the owner sleeps until a chunk is free.
    #[inline]
    pub(super) fn wanted(&self) -> &AtomicU32 {
        // SAFETY: the line after those of the chunks, inside the slab's head.
        unsafe { &*self.base.add(CHUNK_COUNT * LINE_BYTES).cast() }
    }

    fn at(&self, chunk: u16, bytes: usize) -> *mut u8 {
        let room = chunk_bytes(chunk).expect("a chunk of the slab");
        assert!(bytes <= room, "a body fits its chunk");
        let number = usize::from(chunk);
        let small = number.min(SMALL_CHUNK_COUNT) * SMALL_CHUNK_BYTES;
        let large = number.saturating_sub(SMALL_CHUNK_COUNT) * LARGE_CHUNK_BYTES;
        // SAFETY: the layout places the chunks one after the other behind the head.
        unsafe { self.base.add(SLAB_HEAD_BYTES + small + large) }
    }

    /// A chunk's bytes, to be written.
    ///
    /// # Safety
    /// The chunk is allocated to the caller, who has no other borrow of it.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn bytes_mut(&self, chunk: u16, bytes: usize) -> &mut [u8] {
        let start = self.at(chunk, bytes);
        // SAFETY: `at` checked the range; the caller owns the chunk; any bytes are valid.
        unsafe { std::slice::from_raw_parts_mut(start, bytes) }
    }

    /// A chunk's bytes, to be read.
    ///
    /// # Safety
    /// The caller was told of the chunk and has not given it back.
    pub(super) unsafe fn bytes(&self, chunk: u16, bytes: usize) -> &[u8] {
        let start = self.at(chunk, bytes);
        // SAFETY: `at` checked the range; the sender does not write while the chunk is ours.
        unsafe { std::slice::from_raw_parts(start, bytes) }
    }
}

/// The chunks of this process.
pub(super) struct OutChunks {
    pub(super) memory: SlabMemory,
    small: ChunkList,
    large: ChunkList,
    /// Sizes that were refused since the last look: small, large.
    wanted: [bool; 2],
}

impl OutChunks {
    pub(super) fn new(node: &Arc<Node>, local_rank: u32) -> OutChunks {
        OutChunks {
            memory: SlabMemory::of(node, local_rank),
            small: ChunkList::new(0, SMALL_CHUNK_COUNT as u16),
            large: ChunkList::new(SMALL_CHUNK_COUNT as u16, LARGE_CHUNK_COUNT as u16),
            wanted: [false; 2],
        }
    }

    /// A chunk for so many bytes. A small body does not take a large chunk: bursts of small
    /// messages must not starve the pipelined copies.
    #[inline]
    pub(super) fn allocate(&mut self, bytes: usize) -> Option<u16> {
        let memory = &self.memory;
        let is_small = bytes <= SMALL_CHUNK_BYTES;
        let list = if is_small { &mut self.small } else { &mut self.large };
        let chunk = list.allocate(|chunk| memory.state(chunk));
        if chunk.is_none() {
            self.wanted[usize::from(!is_small)] = true;
        }
        chunk
    }

    /// Whether a chunk of a size that was refused is free; then it does not count as refused any
    /// more.
    pub(super) fn has_room(&mut self) -> bool {
        let memory = &self.memory;
        let mut any = false;
        for (wanted, list) in self.wanted.iter_mut().zip([&self.small, &self.large]) {
            let room = *wanted && list.has_room(|chunk| memory.state(chunk));
            *wanted &= !room;
            any |= room;
        }
        any
    }
}

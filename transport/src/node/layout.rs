// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What lies where in the node memory: a header page, the table of call names, a page for each
//! rank's record, then each rank's ring, slab, cells and rings of pairs, then the desks of boards,
//! then, in a job of several hosts, the addresses of all ranks as far as somebody here asked, then
//! the order of the ranks, where it is not that of the processes.
//!
//! Invariants:
//! 1. Everything is found by offsets computed from the plan; no pointer is ever stored.
//! 2. All-zero bytes are the valid initial state of everything after the header, so that nobody
//!    initialises and untouched pages cost nothing.
//! 3. What different processes write lies on different 128-byte lines (two cache lines: the
//!    adjacent-line prefetcher couples them), and each rank's record, ring, slab and cells start on
//!    a page of their own, so that the owner's first touch places them in its NUMA domain.
//! 4. Field widths are explicit and independent of build flags; another build is refused anyway.
//!
//! Not here: the mapping (memory.rs), what rings and slabs contain (lane::shm).

use super::NodePlan;
use crate::error::{Error, Kind, Result};
use crate::protocol::share::{CELL_COUNT, Cell};
use crate::topology::CORE_WORDS;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// "STRAITND", little-endian.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"STRAITND");
/// Version of the layout.
pub(crate) const VERSION: u32 = 8;
/// Bytes of a build name in the header.
pub(crate) const BUILD_BYTES: usize = 64;
/// Version and hash of this crate's sources.
pub(crate) const BUILD: &str = env!("STRAIT_BUILD_ID");
const _: () = assert!(BUILD.len() <= BUILD_BYTES);

/// Pages of the layout; a host with larger pages only loses some laziness.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Longest report text of a rank.
pub const REPORT_BYTES_MAX: usize = 2048;
/// Longest address a rank can put on its board.
pub const ADDRESS_BYTES_MAX: usize = 1020;
/// Bytes of a call name, with the closing zero byte.
pub(crate) const CALL_NAME_BYTES: usize = 48;
/// Entries of the table of call names. MPI 5 has about 660 functions.
pub(crate) const CALL_NAME_COUNT: usize = 2048;
/// Most ranks of one node: the ring's bitmap of waiting senders has this many bits.
pub const LOCAL_SIZE_MAX: u32 = 1024;

/// Bytes of a ring slot.
pub const SLOT_BYTES: usize = 128;
/// Bytes before the slots of a ring: producers' line, consumer's line, room line, bitmap.
pub(crate) const RING_HEAD_BYTES: usize = PAGE_BYTES;
/// Slots of a ring on a node of up to 256 ranks (64 KiB a rank), and beyond that (16 KiB).
const SLOT_COUNT: u32 = 512;
const SLOT_COUNT_CROWDED: u32 = 128;

/// Small chunks of a slab: enough for a burst of messages of up to 1 KiB to many receivers.
pub const SMALL_CHUNK_COUNT: usize = 64;
/// Bytes of a small chunk.
pub const SMALL_CHUNK_BYTES: usize = 1024;
/// Large chunks of a slab: 32 x 16 KiB = 512 KiB in flight, what a pipelined copy needs.
pub const LARGE_CHUNK_COUNT: usize = 32;
/// Bytes of a large chunk.
pub const LARGE_CHUNK_BYTES: usize = 16 * 1024;
/// Chunks of a slab.
pub const CHUNK_COUNT: usize = SMALL_CHUNK_COUNT + LARGE_CHUNK_COUNT;
/// Bytes before the chunks of a slab: one line for each chunk's state, one for the wish for room.
pub(crate) const SLAB_HEAD_BYTES: usize = 4 * PAGE_BYTES;
const _: () = assert!((CHUNK_COUNT + 1) * 128 <= SLAB_HEAD_BYTES);
/// Bytes of a slab.
pub(crate) const SLAB_BYTES: usize =
    SLAB_HEAD_BYTES + SMALL_CHUNK_COUNT * SMALL_CHUNK_BYTES + LARGE_CHUNK_COUNT * LARGE_CHUNK_BYTES;

/// Bytes of a rank's cells for shared transfers (protocol::share).
pub(crate) const CELLS_BYTES: usize = (CELL_COUNT * size_of::<Cell>()).next_multiple_of(PAGE_BYTES);

/// Most rings of pairs of one receiver: as many senders can have one of their own with it.
pub const PAIR_COUNT_MAX: u32 = 16;
/// Slots of a pair's ring: a window of 64 messages, the unit of the bandwidth benchmarks.
pub const PAIR_SLOT_COUNT: u32 = 64;
/// Bytes of a pair's run: sixteen bodies of the longest kind. What the receiver has just read is
/// far from what is written next, whose lines can be fetched meanwhile (docs/performance.md).
pub const PAIR_RUN_BYTES: usize = 16 * LARGE_CHUNK_BYTES;
/// Of these the first are for bodies of up to 2 KiB.
pub const PAIR_NEAR_BYTES: usize = 4 * LARGE_CHUNK_BYTES;
/// Before a receiver's rings of pairs: a line of claims, then a line for the head of each.
pub(crate) const PAIR_HEAD_BYTES: usize = PAGE_BYTES;
const _: () = assert!((1 + PAIR_COUNT_MAX as usize) * 128 <= PAIR_HEAD_BYTES);
/// Bytes of one ring of a pair.
pub(crate) const PAIR_BYTES: usize = PAIR_SLOT_COUNT as usize * SLOT_BYTES + PAIR_RUN_BYTES;

/// Offsets of the parts of one ring of a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairOffsets {
    pub(crate) owner: usize,
    pub(crate) head: usize,
    pub(crate) slots: usize,
    pub(crate) run: usize,
}

/// Desks of boards (lane::shm::desk) for each rank of a node of more than one: so many
/// communicators of all ranks can have a board at a time, or more smaller ones.
const DESKS_PER_RANK: usize = 8;
/// ... and beyond 256 ranks.
const DESKS_PER_RANK_CROWDED: usize = 2;
/// Slots of a desk: a member may be so many publications ahead of the slowest reader.
pub const DESK_SLOT_COUNT: u32 = 4;
/// Bytes that one publication can carry.
pub const DESK_BODY_BYTES: usize = 16 * 1024;
/// Before the bodies of a desk: its lines.
pub(crate) const DESK_HEAD_BYTES: usize = PAGE_BYTES;
/// Bytes of a desk.
pub(crate) const DESK_BYTES: usize = DESK_HEAD_BYTES + DESK_SLOT_COUNT as usize * DESK_BODY_BYTES;

/// Longest address in the table of the ranks of other hosts.
pub const FAR_ADDRESS_BYTES_MAX: usize = ADDRESS_BYTES_MAX;

/// An entry of that table.
#[repr(C)]
pub(crate) struct FarAddress {
    /// Bytes of the address, 0 while there is none.
    pub(crate) bytes: AtomicU32,
    pub(crate) address: [AtomicU8; FAR_ADDRESS_BYTES_MAX],
}

/// A line that one side writes.
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// The first page.
#[repr(C)]
pub(crate) struct HeaderPage {
    /// Written once by the creator, before anybody else can see it.
    pub(crate) facts: Line<Facts>,
    /// Set by whoever aborts first.
    pub(crate) abort: Line<AtomicU64>,
    /// How many ranks were declared lost (written by the launcher).
    pub(crate) losses: Line<AtomicU32>,
    /// 0 nobody, 1 somebody is writing, 2 the names are there.
    pub(crate) names_state: Line<AtomicU32>,
}

/// The unchanging part of the header.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) magic: u64,
    pub(crate) version: u32,
    pub(crate) size: u32,
    pub(crate) build: [u8; BUILD_BYTES],
    pub(crate) total_bytes: u64,
    pub(crate) first_local_rank: u32,
    pub(crate) local_size: u32,
    pub(crate) job: [u8; 16],
    pub(crate) key: [u8; 32],
    /// 1: the table of ranks and processes is there.
    pub(crate) ordered: u64,
}

/// A rank's page.
#[repr(C)]
pub(crate) struct RankPage {
    /// Who the rank is; written by its owner at attach and finalize.
    pub(crate) identity: Line<Identity>,
    /// The call the rank is in; written by its owner on every call.
    pub(crate) call: Line<CallSlot>,
    /// 0 awake; else how to wake the rank. See lane::shm::bell.
    pub(crate) bell: Line<AtomicU32>,
    /// Where the rank can be reached, beyond shared memory.
    pub(crate) board: Line<Board>,
    /// 1: the launcher saw the process die.
    pub(crate) lost: Line<AtomicU32>,
    /// The cores the rank may use.
    pub(crate) cores: Line<Cores>,
    /// A text for the launcher.
    pub(crate) report: Line<Report>,
}

#[repr(C)]
pub(crate) struct Identity {
    pub(crate) state: AtomicU32,
    pub(crate) pid: AtomicU32,
    /// Start time of the process in clock ticks after boot: tells it from a later one with its pid.
    pub(crate) started: AtomicU64,
    /// Where the owner keeps `probe_magic` in its own memory.
    pub(crate) probe_address: AtomicU64,
    pub(crate) probe_magic: AtomicU64,
    /// 1: a publisher must fence before it looks at the bell (see sync::light_fence).
    pub(crate) needs_fence: AtomicU32,
}

#[repr(C)]
pub(crate) struct CallSlot {
    pub(crate) call: AtomicU32,
    pub(crate) count: AtomicU32,
    /// The first call that ended because a peer is lost.
    pub(crate) lost_in: AtomicU32,
}

#[repr(C)]
pub(crate) struct Cores {
    pub(crate) words: [AtomicU64; CORE_WORDS],
}

#[repr(C)]
pub(crate) struct Board {
    /// Bytes of the address, 0 while there is none.
    pub(crate) bytes: AtomicU32,
    pub(crate) address: [AtomicU8; ADDRESS_BYTES_MAX],
}

#[repr(C)]
pub(crate) struct Report {
    /// 0 none, 1 being written, 2 complete.
    pub(crate) state: AtomicU32,
    pub(crate) bytes: AtomicU32,
    pub(crate) text: [AtomicU8; REPORT_BYTES_MAX],
}

const _: () = assert!(size_of::<HeaderPage>() <= PAGE_BYTES);
const _: () = assert!(size_of::<RankPage>() <= PAGE_BYTES);
const _: () = assert!(size_of::<Line<Identity>>() == 128);

/// Offsets and sizes of one node's memory, from the number of its ranks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeLayout {
    local_size: u32,
    slot_count: u32,
    /// Ranks of the job, if it spans several hosts, else 0.
    far_count: u32,
    /// Ranks of the job, if they are numbered otherwise than its processes, else 0.
    order_count: u32,
    size: u32,
}

impl NodeLayout {
    /// The layout for this many ranks, which are all of their job.
    pub fn of(local_size: u32) -> NodeLayout {
        NodeLayout::of_part(local_size, local_size)
    }

    /// The layout for so many ranks of a job of `size`.
    pub fn of_part(local_size: u32, size: u32) -> NodeLayout {
        let crowded = local_size > 256;
        NodeLayout {
            local_size,
            slot_count: if crowded { SLOT_COUNT_CROWDED } else { SLOT_COUNT },
            far_count: if size > local_size { size } else { 0 },
            order_count: 0,
            size,
        }
    }

    /// The same with a table of ranks and processes, or without one.
    pub(crate) fn ordered(self, is_ordered: bool) -> NodeLayout {
        NodeLayout { order_count: if is_ordered { self.size } else { 0 }, ..self }
    }

    /// Entries of that table, in each direction.
    pub(crate) fn order_count(&self) -> u32 {
        self.order_count
    }

    pub(crate) fn order_offset(&self) -> usize {
        self.far_offset(self.far_count).next_multiple_of(PAGE_BYTES)
    }

    /// Words of a bitmap of all ranks; there are three of them: those whose address is wanted,
    /// those of other hosts that are lost, those of other hosts that have ended.
    pub(crate) fn wanted_words(&self) -> usize {
        (self.far_count as usize).div_ceil(64)
    }

    pub(crate) fn wanted_offset(&self) -> usize {
        self.desk_offset(self.desk_count())
    }

    /// Entries of the table of addresses.
    pub(crate) fn far_count(&self) -> u32 {
        self.far_count
    }

    pub(crate) fn far_offset(&self, rank: u32) -> usize {
        let table = 3 * self.wanted_words() * size_of::<u64>();
        let table = table.next_multiple_of(PAGE_BYTES);
        self.wanted_offset() + table + rank as usize * size_of::<FarAddress>()
    }

    /// Slots of each ring, a power of two.
    pub fn slot_count(&self) -> u32 {
        self.slot_count
    }

    pub(crate) fn names_offset(&self) -> usize {
        PAGE_BYTES
    }

    pub(crate) fn record_offset(&self, local_rank: u32) -> usize {
        self.names_offset() + CALL_NAME_COUNT * CALL_NAME_BYTES + local_rank as usize * PAGE_BYTES
    }

    pub(crate) fn ring_bytes(&self) -> usize {
        RING_HEAD_BYTES + self.slot_count as usize * SLOT_BYTES
    }

    pub(crate) fn ring_offset(&self, local_rank: u32) -> usize {
        let each = self.ring_bytes() + SLAB_BYTES + CELLS_BYTES + self.pairs_bytes();
        self.record_offset(self.local_size) + local_rank as usize * each
    }

    /// Rings of pairs of each receiver.
    pub(crate) fn pair_count(&self) -> u32 {
        PAIR_COUNT_MAX.min(self.local_size - 1)
    }

    fn pairs_bytes(&self) -> usize {
        match self.pair_count() {
            0 => 0,
            count => PAIR_HEAD_BYTES + count as usize * PAIR_BYTES,
        }
    }

    pub(crate) fn pair_offsets(&self, local_rank: u32, index: u32) -> PairOffsets {
        assert!(index < self.pair_count(), "a ring of a pair");
        let base = self.cells_offset(local_rank) + CELLS_BYTES;
        let index = index as usize;
        let slots = base + PAIR_HEAD_BYTES + index * PAIR_BYTES;
        PairOffsets {
            owner: base + index * size_of::<AtomicU32>(),
            head: base + (1 + index) * 128,
            slots,
            run: slots + PAIR_SLOT_COUNT as usize * SLOT_BYTES,
        }
    }

    pub(crate) fn slab_offset(&self, local_rank: u32) -> usize {
        self.ring_offset(local_rank) + self.ring_bytes()
    }

    pub(crate) fn cells_offset(&self, local_rank: u32) -> usize {
        self.slab_offset(local_rank) + SLAB_BYTES
    }

    /// Desks for the boards of communicators.
    pub fn desk_count(&self) -> u32 {
        let each = match self.local_size {
            1 => 0,
            2..=256 => DESKS_PER_RANK,
            _ => DESKS_PER_RANK_CROWDED,
        };
        self.local_size * each as u32
    }

    pub(crate) fn desk_offset(&self, index: u32) -> usize {
        self.ring_offset(self.local_size) + index as usize * DESK_BYTES
    }

    /// Bytes of the whole memory.
    pub fn total_bytes(&self) -> usize {
        let order = 2 * self.order_count as usize * size_of::<AtomicU32>();
        (self.order_offset() + order).next_multiple_of(PAGE_BYTES)
    }

    /// The budget in words: what is reserved, and what a rank can touch at most.
    pub fn describe(&self) -> String {
        let kib = |bytes: usize| bytes.div_ceil(1024);
        let mine = PAGE_BYTES + self.ring_bytes() + SLAB_BYTES + CELLS_BYTES + self.pairs_bytes();
        format!(
            "node memory for {} ranks: {} KiB reserved, touched on use; each rank {} KiB at most \
             (record {} KiB, ring of {} slots {} KiB, slab {} KiB: {} chunks of {} bytes and {} of \
             {} KiB, shared transfers {} KiB, {} rings of pairs {} KiB); {} desks of boards {} \
             KiB; header and call names {} KiB",
            self.local_size,
            kib(self.total_bytes()),
            kib(mine),
            kib(PAGE_BYTES),
            self.slot_count,
            kib(self.ring_bytes()),
            kib(SLAB_BYTES),
            SMALL_CHUNK_COUNT,
            SMALL_CHUNK_BYTES,
            LARGE_CHUNK_COUNT,
            kib(LARGE_CHUNK_BYTES),
            kib(CELLS_BYTES),
            self.pair_count(),
            kib(self.pairs_bytes()),
            self.desk_count(),
            kib(self.desk_count() as usize * DESK_BYTES),
            kib(self.record_offset(0)),
        )
    }
}

impl Facts {
    /// What the creator of this plan writes.
    pub(crate) fn of(plan: &NodePlan, layout: &NodeLayout) -> Facts {
        let mut build = [0; BUILD_BYTES];
        build[..BUILD.len()].copy_from_slice(BUILD.as_bytes());
        Facts {
            magic: MAGIC,
            version: VERSION,
            size: plan.size,
            build,
            total_bytes: layout.total_bytes() as u64,
            first_local_rank: plan.first_local_rank,
            local_size: plan.local_size,
            job: plan.job,
            key: plan.key,
            ordered: u64::from(layout.order_count > 0),
        }
    }

    /// Checks all that can be checked; the plan, and where things lie.
    pub(crate) fn check(&self, mapped_bytes: u64) -> Result<(NodePlan, NodeLayout)> {
        let refuse = |text: String| Err(Error::new(Kind::Bootstrap(text)));
        if self.magic != MAGIC {
            return refuse("the node memory is not Strait's: its first bytes are wrong".to_owned());
        }
        let end = self.build.iter().position(|byte| *byte == 0).unwrap_or(BUILD_BYTES);
        let theirs = String::from_utf8_lossy(&self.build[..end]);
        if self.version != VERSION || theirs != BUILD {
            return refuse(format!(
                "two builds of Strait in one job: mpiexec is build {theirs} (layout {}), this \
                 program's MPI library is build {BUILD} (layout {VERSION}). Use mpiexec and the \
                 library from the same installation",
                self.version
            ));
        }
        let plan = NodePlan {
            job: self.job,
            key: self.key,
            size: self.size,
            first_local_rank: self.first_local_rank,
            local_size: self.local_size,
        };
        plan.check()?;
        let layout = NodeLayout::of_part(plan.local_size, plan.size).ordered(self.ordered != 0);
        let expected = layout.total_bytes() as u64;
        if self.total_bytes != expected || mapped_bytes < expected {
            return refuse(format!(
                "the node memory has {mapped_bytes} bytes and says {}, but {expected} belong to {} \
                 ranks",
                self.total_bytes, plan.local_size
            ));
        }
        Ok((plan, layout))
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The memory that the processes of one host share: one memfd, a header, a record per local rank,
//! then the rings and slabs of lane::shm. The launcher creates it; processes open it.
//!
//! Invariants:
//! 1. A record's identity, call and board are written by its owner only, after it won the
//!    compare-and-swap on the record's pid ([`Record::claim`]).
//! 2. What is found here was written by another process: it is copied out once and checked.
//! 3. Nothing here blocks, and nothing but `create`, `open` and the process look-ups makes a
//!    system call.
//!
//! Not here: what rings and slabs contain (lane::shm), who calls whom (bootstrap).

mod desks;
mod far;
mod layout;
mod memory;
mod order;
mod process;

pub use layout::{
    ADDRESS_BYTES_MAX, CHUNK_COUNT, DESK_BODY_BYTES, DESK_SLOT_COUNT, FAR_ADDRESS_BYTES_MAX,
    LARGE_CHUNK_BYTES, LARGE_CHUNK_COUNT, LOCAL_SIZE_MAX, NodeLayout, PAIR_NEAR_BYTES,
    PAIR_RUN_BYTES, PAIR_SLOT_COUNT, REPORT_BYTES_MAX, SLOT_BYTES, SMALL_CHUNK_BYTES,
    SMALL_CHUNK_COUNT,
};
pub(crate) use layout::{DESK_BYTES, DESK_HEAD_BYTES, RING_HEAD_BYTES, SLAB_HEAD_BYTES};
pub use order::RankOrder;
pub(crate) use order::name_peers;
pub use process::is_forked_child;
pub(crate) use process::{is_alive, watch_forks};

use crate::error::{Error, Kind, Result};
use crate::protocol::share::{CELL_COUNT, Cell};
use crate::topology::CoreSet;
use layout::{CALL_NAME_BYTES, CALL_NAME_COUNT, Facts, HeaderPage, RankPage};
use memory::Memory;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// The build: version and a hash over the sources of this crate. Two builds do not share memory.
pub const BUILD_ID: &str = layout::BUILD;

/// What the creator knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Job identity.
    pub job: [u8; 16],
    /// Job key.
    pub key: [u8; 32],
    /// Processes in the job.
    pub size: u32,
    /// Rank of local rank 0.
    pub first_local_rank: u32,
    /// Processes on this host.
    pub local_size: u32,
}

impl NodePlan {
    fn check(&self) -> Result<()> {
        let end = self.first_local_rank.checked_add(self.local_size);
        if self.local_size == 0 || end.is_none_or(|end| end > self.size) {
            return Err(Error::new(Kind::Bootstrap(format!(
                "a node of {} ranks from rank {} does not fit a job of {}",
                self.local_size, self.first_local_rank, self.size
            ))));
        }
        if self.local_size > LOCAL_SIZE_MAX {
            return Err(Error::new(Kind::Bootstrap(format!(
                "{} ranks on one host: at most {LOCAL_SIZE_MAX} are supported",
                self.local_size
            ))));
        }
        Ok(())
    }
}

/// The mapped node memory.
pub struct Node {
    memory: Memory,
    layout: NodeLayout,
    /// A copy: the header in the memory is not asked again.
    plan: NodePlan,
}

/// A ring of a pair in the mapping: claim word, head line, slots, run.
pub(crate) struct PairPlace {
    pub(crate) owner: *const u8,
    pub(crate) head: *const u8,
    pub(crate) slots: *const u8,
    pub(crate) run: *const u8,
}

/// What a rank of the node is doing, as the launcher and the others see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum RankState {
    /// Never reported.
    Absent = 0,
    /// Has joined; between MPI_Init and MPI_Finalize.
    Running = 1,
    /// MPI_Finalize is over.
    Finalized = 2,
}

/// A look at the current-call slot of a rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallSample {
    /// Call id, 0 outside MPI (the table of names is strait-mpi's; it also writes the names of the
    /// ids into the node memory once, so that the launcher needs no table).
    pub call: u32,
    /// Counts calls: the same number twice means the same call still.
    pub count: u32,
}

/// How [`Record::claim`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The record is ours.
    Won,
    /// It belongs to this very process already.
    Ours,
    /// It belongs to a process that lives.
    Taken { pid: u32 },
    /// It belonged to a process that is gone, and that had reached this state.
    Used { pid: u32, state: RankState },
}

const ABORT_SET: u64 = 1 << 63;

impl Node {
    /// Creates the memory (memfd, else an unlinked file), lazily populated.
    pub fn create(plan: &NodePlan) -> Result<Node> {
        Node::create_ordered(plan, &RankOrder::default())
    }

    /// The same for a job whose ranks lie on its hosts in this order.
    pub fn create_ordered(plan: &NodePlan, order: &RankOrder) -> Result<Node> {
        plan.check()?;
        let layout = NodeLayout::of_part(plan.local_size, plan.size).ordered(!order.is_same());
        let memory = Memory::create(layout.total_bytes())?;
        memory.keep_from_children(layout.ring_offset(0));
        let node = Node { memory, layout, plan: plan.clone() };
        // SAFETY: the header page is mapped, aligned, and nobody else knows this memory yet.
        unsafe {
            let facts = node.at::<HeaderPage>(0).cast::<Facts>().cast_mut();
            facts.write(Facts::of(plan, &layout));
        }
        node.write_order(order);
        Ok(node)
    }

    /// The descriptor, to be inherited or passed.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.descriptor().as_fd()
    }

    /// Maps and checks: magic, version, build, sizes.
    pub fn open(descriptor: OwnedFd) -> Result<Node> {
        let facts = Node::read_facts(descriptor.as_fd())?;
        let (plan, layout) = facts.check(memory::file_bytes(&descriptor)?)?;
        let memory = Memory::map(descriptor, layout.total_bytes())?;
        memory.keep_from_children(layout.ring_offset(0));
        Ok(Node { memory, layout, plan })
    }

    /// Whether a descriptor (of whatever kind) is the node memory of this job, of any build.
    pub(crate) fn is_memory_of(descriptor: BorrowedFd<'_>, job: &[u8; 16]) -> bool {
        Node::read_facts(descriptor)
            .is_ok_and(|facts| facts.magic == layout::MAGIC && facts.job == *job)
    }

    fn read_facts(descriptor: BorrowedFd<'_>) -> Result<Facts> {
        let mut bytes = [0; size_of::<Facts>()];
        let got = rustix::io::pread(descriptor, &mut bytes, 0).map_err(|errno| {
            Error::system("cannot read the node memory's header", errno.raw_os_error())
        })?;
        if got != bytes.len() {
            let text = format!("the node memory is cut short: {got} bytes");
            return Err(Error::new(Kind::Bootstrap(text)));
        }
        // SAFETY: the bytes are as many as Facts has, and any bytes are valid integers and arrays.
        Ok(unsafe { bytes.as_ptr().cast::<Facts>().read_unaligned() })
    }

    /// The plan it was created with.
    pub fn plan(&self) -> NodePlan {
        self.plan.clone()
    }

    /// The plan, lent.
    pub fn plan_ref(&self) -> &NodePlan {
        &self.plan
    }

    /// Where things lie.
    pub fn layout(&self) -> NodeLayout {
        self.layout
    }

    /// The record of a local rank.
    pub fn record(&self, local_rank: u32) -> Record<'_> {
        assert!(local_rank < self.plan.local_size, "a rank of this node");
        // SAFETY: the layout places a page at this offset inside the mapping, page-aligned; all its
        // fields are atomics, for which any bytes are valid; the mapping lives as long as self.
        let page = unsafe { &*self.at::<RankPage>(self.layout.record_offset(local_rank)) };
        Record { page }
    }

    /// MPI_Abort: the first caller wins (one compare-and-swap); `true` for the winner.
    pub fn request_abort(&self, rank: u32, code: i32) -> bool {
        let word = ABORT_SET | u64::from(rank & 0x7fff_ffff) << 32 | u64::from(code as u32);
        self.header().abort.0.compare_exchange(0, word, Relaxed, Relaxed).is_ok()
    }

    /// Who asked to abort, with which code.
    pub fn abort_requested(&self) -> Option<(u32, i32)> {
        let word = self.header().abort.0.load(Relaxed);
        (word & ABORT_SET != 0).then_some(((word >> 32) as u32 & 0x7fff_ffff, word as u32 as i32))
    }

    /// Name of a call id, as some rank registered it.
    pub fn call_name(&self, call: u32) -> Option<String> {
        // SYNC(node.names): sees the names that `register_call_names` released.
        if self.header().names_state.0.load(Acquire) != 2 {
            return None;
        }
        let cells = self.name_cells(call)?;
        let mut bytes = [0; CALL_NAME_BYTES];
        load_bytes(cells, &mut bytes);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
        (end > 0).then(|| String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Registers the names of the call ids 1.. (each at most 47 bytes); idempotent.
    pub fn register_call_names(&self, names: &[&str]) {
        let state = &self.header().names_state.0;
        if state.compare_exchange(0, 1, Relaxed, Relaxed).is_err() {
            return;
        }
        for (index, name) in names.iter().enumerate() {
            let Some(cells) = self.name_cells(index as u32 + 1) else { break };
            let bytes = name.as_bytes();
            store_bytes(cells, &bytes[..bytes.len().min(CALL_NAME_BYTES - 1)]);
        }
        // SYNC(node.names): releases the names to `call_name`.
        state.store(2, Release);
    }

    /// The launcher saw the process of this local rank die. The others hear of it at their next
    /// look, and sleepers are woken for it.
    pub fn announce_loss(&self, local_rank: u32) {
        // SYNC(node.lost): releases the mark to `Record::is_lost` of whoever saw the count.
        self.record(local_rank).page.lost.0.store(1, Release);
        self.tell_of_ends();
    }

    /// Processes have ended, in order or not: the others look again, and sleepers are woken for it.
    pub fn tell_of_ends(&self) {
        // SYNC(node.losses): releases the marks of who is gone to whoever acquires the count.
        self.header().losses.0.fetch_add(1, Release);
        // SYNC(bell.sleep): the count before the looks at the bells; pairs with `bell::announce`.
        crate::sync::full_fence();
        for other in 0..self.plan.local_size {
            crate::lane::shm::bell::ring(self, other);
        }
    }

    /// How many times ends were announced: one load of a line that is hardly ever written.
    #[inline]
    pub fn losses(&self) -> u32 {
        // SYNC(node.losses): sees the marks behind the count.
        self.header().losses.0.load(Acquire)
    }

    pub(crate) fn ring_base(&self, local_rank: u32) -> *const u8 {
        assert!(local_rank < self.plan.local_size, "a rank of this node");
        self.at(self.layout.ring_offset(local_rank))
    }

    pub(crate) fn slab_base(&self, local_rank: u32) -> *const u8 {
        assert!(local_rank < self.plan.local_size, "a rank of this node");
        self.at(self.layout.slab_offset(local_rank))
    }

    /// Where a ring of a pair lies.
    ///
    /// # Panics
    /// If there is no such ring.
    pub(crate) fn pair_place(&self, receiver: u32, index: u32) -> PairPlace {
        assert!(receiver < self.plan.local_size, "a rank of this node");
        let offsets = self.layout.pair_offsets(receiver, index);
        PairPlace {
            owner: self.at(offsets.owner),
            head: self.at(offsets.head),
            slots: self.at(offsets.slots),
            run: self.at(offsets.run),
        }
    }

    /// The cells of a rank's shared transfers.
    pub(crate) fn cells(&self, local_rank: u32) -> &[Cell] {
        assert!(local_rank < self.plan.local_size, "a rank of this node");
        let cells = self.at::<[Cell; CELL_COUNT]>(self.layout.cells_offset(local_rank));
        // SAFETY: the layout gives each rank so many cells, on a page border; they hold atomics
        // only, which accept any bytes.
        unsafe { &*cells }
    }

    fn at<T>(&self, offset: usize) -> *const T {
        assert!(offset + size_of::<T>() <= self.memory.bytes(), "inside the node memory");
        // SAFETY: the offset was just checked to lie in the mapping.
        unsafe { self.memory.base().as_ptr().add(offset).cast::<T>().cast_const() }
    }

    fn header(&self) -> &HeaderPage {
        // SAFETY: the first page is mapped and aligned; what changes in it are atomics, and the
        // facts are never read through this reference.
        unsafe { &*self.at::<HeaderPage>(0) }
    }

    fn name_cells(&self, call: u32) -> Option<&[AtomicU8; CALL_NAME_BYTES]> {
        let index = (call as usize).checked_sub(1).filter(|index| *index < CALL_NAME_COUNT)?;
        let offset = self.layout.names_offset() + index * CALL_NAME_BYTES;
        // SAFETY: the table has this entry, bytes have no alignment, and atomics accept any value.
        Some(unsafe { &*self.at::<[AtomicU8; CALL_NAME_BYTES]>(offset) })
    }
}

/// One rank's record.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    page: &'a RankPage,
}

impl<'a> Record<'a> {
    /// Its state.
    pub fn state(&self) -> RankState {
        // SYNC(node.state): sees what the owner wrote into the record before it changed state.
        match self.page.identity.0.state.load(Acquire) {
            1 => RankState::Running,
            2 => RankState::Finalized,
            _ => RankState::Absent,
        }
    }

    /// Sets the state (owner only).
    pub fn set_state(&self, state: RankState) {
        // SYNC(node.state): releases the owner's fields to whoever acquires the state.
        self.page.identity.0.state.store(state as u32, Release);
    }

    /// Process id of the owner, 0 while absent.
    pub fn pid(&self) -> u32 {
        self.page.identity.0.pid.load(Relaxed)
    }

    /// Start time of the owner (ticks since boot), 0 while unknown.
    pub fn started(&self) -> u64 {
        self.page.identity.0.started.load(Relaxed)
    }

    /// Makes this process the owner, if nobody was before.
    pub fn claim(&self) -> Claim {
        let identity = &self.page.identity.0;
        let me = std::process::id();
        match identity.pid.compare_exchange(0, me, Relaxed, Relaxed) {
            Ok(_) => {
                identity.started.store(process::started(me).unwrap_or(0), Relaxed);
                Claim::Won
            }
            Err(pid) if pid == me && is_alive(pid, self.started()) => Claim::Ours,
            Err(pid) if is_alive(pid, self.started()) => Claim::Taken { pid },
            Err(pid) => Claim::Used { pid, state: self.state() },
        }
    }

    /// Whether the owner claimed the record and its process is gone (two system calls).
    pub fn is_owner_gone(&self) -> bool {
        let pid = self.pid();
        pid != 0 && !is_alive(pid, self.started())
    }

    /// Whether the launcher announced the loss of this rank.
    pub fn is_lost(&self) -> bool {
        // SYNC(node.lost): pairs with the release in `Node::announce_loss`.
        self.page.lost.0.load(Acquire) != 0
    }

    /// Publishes the current call: two plain stores (owner only). 0 when leaving MPI.
    #[inline]
    pub fn publish_call(&self, call: u32) {
        let slot = &self.page.call.0;
        slot.call.store(call, Relaxed);
        slot.count.store(slot.count.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Samples the current call.
    pub fn call(&self) -> CallSample {
        let slot = &self.page.call.0;
        CallSample { call: slot.call.load(Relaxed), count: slot.count.load(Relaxed) }
    }

    /// The call that the rank is in ends because it lost a peer (owner only): whoever reports what
    /// ranks were waiting in finds it here after they have left it. The first one stays.
    pub fn note_loss_in(&self, call: u32) {
        let _ = self.page.call.0.lost_in.compare_exchange(0, call, Relaxed, Relaxed);
    }

    /// The first call that ended because a peer is lost; 0 if none did.
    pub fn lost_in(&self) -> u32 {
        self.page.call.0.lost_in.load(Relaxed)
    }

    /// Leaves a text for the launcher's report (a fatal error, a panic); the first one stays, at
    /// most 2 KiB are kept. Async-signal-safe, allocates nothing.
    pub fn leave_report(&self, text: &str) {
        let report = &self.page.report.0;
        if report.state.compare_exchange(0, 1, Relaxed, Relaxed).is_err() {
            return;
        }
        let mut end = text.len().min(REPORT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        store_bytes(&report.text, &text.as_bytes()[..end]);
        report.bytes.store(end as u32, Relaxed);
        // SYNC(node.report): releases the text to `report`.
        report.state.store(2, Release);
    }

    /// The text.
    pub fn report(&self) -> Option<String> {
        let report = &self.page.report.0;
        // SYNC(node.report): sees the text that `leave_report` released.
        if report.state.load(Acquire) != 2 {
            return None;
        }
        let mut bytes = [0; REPORT_BYTES_MAX];
        let end = (report.bytes.load(Relaxed) as usize).min(REPORT_BYTES_MAX);
        load_bytes(&report.text, &mut bytes[..end]);
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Puts the owner's address on its board (owner only, once; at most
    /// [`ADDRESS_BYTES_MAX`] bytes, not empty).
    pub fn publish_address(&self, address: &[u8]) {
        assert!((1..=ADDRESS_BYTES_MAX).contains(&address.len()), "an address fits the board");
        let board = &self.page.board.0;
        store_bytes(&board.address, address);
        // SYNC(node.board): releases the address to `address`.
        board.bytes.store(address.len() as u32, Release);
    }

    /// The owner's address, once it is there.
    pub fn address(&self) -> Option<Vec<u8>> {
        let board = &self.page.board.0;
        // SYNC(node.board): sees the address that `publish_address` released.
        let end = (board.bytes.load(Acquire) as usize).min(ADDRESS_BYTES_MAX);
        let mut bytes = vec![0; end];
        load_bytes(&board.address, &mut bytes);
        (end > 0).then_some(bytes)
    }

    /// Tells others where a magic word lies in the owner's memory, so that they can try to read it
    /// (owner only, before it is Running).
    pub(crate) fn publish_probe(&self, address: u64, magic: u64) {
        self.page.identity.0.probe_magic.store(magic, Relaxed);
        self.page.identity.0.probe_address.store(address, Relaxed);
    }

    /// Address and value of the owner's magic word; address 0 while there is none.
    pub(crate) fn probe(&self) -> (u64, u64) {
        let identity = &self.page.identity.0;
        (identity.probe_address.load(Relaxed), identity.probe_magic.load(Relaxed))
    }

    /// Says which cores the owner may use (owner only; before it runs, a launcher that binds it).
    pub fn publish_cores(&self, cores: &CoreSet) {
        for (cell, word) in self.page.cores.0.words.iter().zip(cores.0) {
            cell.store(word, Relaxed);
        }
    }

    /// The cores the owner may use; `None` before it has said so. A set that is read while it is
    /// written may lack cores; it only serves an estimate.
    pub(crate) fn cores(&self) -> Option<CoreSet> {
        let mut cores = CoreSet::default();
        for (word, cell) in cores.0.iter_mut().zip(&self.page.cores.0.words) {
            *word = cell.load(Relaxed);
        }
        (cores.count() > 0).then_some(cores)
    }

    /// Says that publishers must fence before they look at the bell (before Running).
    pub(crate) fn set_needs_fence(&self, needs: bool) {
        self.page.identity.0.needs_fence.store(u32::from(needs), Relaxed);
    }

    /// Whether publishers must fence. Only meaningful once the state is past Absent.
    pub(crate) fn needs_fence(&self) -> bool {
        self.page.identity.0.needs_fence.load(Relaxed) != 0
    }

    /// The bell word.
    pub(crate) fn bell(&self) -> &'a AtomicU32 {
        &self.page.bell.0
    }
}

fn store_bytes(cells: &[AtomicU8], bytes: &[u8]) {
    for (cell, byte) in cells.iter().zip(bytes) {
        cell.store(*byte, Relaxed);
    }
}

fn load_bytes(cells: &[AtomicU8], bytes: &mut [u8]) {
    for (cell, byte) in cells.iter().zip(bytes) {
        *byte = cell.load(Relaxed);
    }
}

const _: () = assert!(size_of::<AtomicU64>() == 8);

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What members publish and read in the rounds of each kind of call.
//!
//! One text for all sizes: a small call has one round. In longer ones a member that both publishes
//! and reads publishes ahead, so that nobody waits for a round trip with each round.

use super::direct;
use super::fold::Fold;
use super::meta;
use super::plan::{self, Plan};
use super::table::Table;
use crate::collective::area::{self, Area};
use crate::collective::{Call, set_aside};
use crate::entry::Entry;
use crate::error::Result;
use crate::object::comm::Comm;
use strait_collectives::kind::Kind;
use strait_transport::payload::Payload;

/// Rounds that a member publishes ahead of its reading: with four slots nobody waits for room
/// before the others are two rounds behind.
const AHEAD: u32 = 2;

/// A buffer of a call, in blocks.
#[derive(Clone, Copy)]
pub enum Side<'a> {
    /// Bytes one after another, so many in each block.
    Run { base: *mut u8, block_bytes: usize },
    /// Anything.
    Area(&'a Area),
}

impl Side<'_> {
    /// No memory.
    pub const NONE: Side<'static> = Side::Run { base: std::ptr::null_mut(), block_bytes: 0 };

    #[inline]
    pub(super) fn payload(&self, block: u32) -> Payload {
        match *self {
            Side::Run { base, block_bytes } => Payload::Contiguous {
                base: base.wrapping_add(block as usize * block_bytes),
                bytes: block_bytes,
            },
            Side::Area(area) => area.payload(block, 1),
        }
    }
}

/// What is to be done at the board.
pub struct Job<'a> {
    /// Which collective.
    pub kind: Kind,
    /// The root, where there is one.
    pub root: u32,
    /// What this member brings.
    pub input: Side<'a>,
    /// What it gets.
    pub output: Side<'a>,
    /// How operands are combined.
    pub fold: Fold<'a>,
    /// Whether members read each other's memory, if they can.
    pub direct: bool,
    /// The rounds, otherwise; `None`: by messages.
    pub plan: Option<Plan>,
    /// What is brought lies in what is got.
    pub in_place: bool,
    /// Bytes of a block, or of the vector; the longest, if blocks differ.
    pub bytes: usize,
}

/// What the word of a call says of its operation.
fn op_code(call: &Call) -> u32 {
    match &call.operation {
        None => 0,
        Some(operation) => match operation.predefined() {
            Some((op, _)) => op.code(),
            None if operation.commutes => meta::USER,
            None => meta::USER_ORDERED,
        },
    }
}

/// Runs a call of the communicator's number over its board; `None`: it goes by messages.
pub fn run(entry: &mut Entry, comm: &Comm, number: u64, call: &Call) -> Result<Option<()>> {
    let kind = call.shape.kind;
    let needs_sizes =
        matches!(kind, Kind::Gather | Kind::Scatter | Kind::Allgather | Kind::Alltoall);
    // Neighbours are few, and exchange by messages.
    if call.is_absent || kind.has_neighbors() || (needs_sizes && !call.shape.regular) {
        return Ok(None);
    }
    let fold = match &call.operation {
        None => Fold::None,
        Some(operation) => match operation.predefined() {
            Some((op, basic)) if basic.element.packed_bytes() == basic.bytes() => {
                Fold::Plain(op, basic)
            }
            _ => Fold::Typed(operation, call.input.ty()),
        },
    };
    let members = comm.group.size() as u32;
    let bytes = match kind {
        Kind::ReduceScatter => {
            let blocks = (0..members).map(|block| call.input.payload(block, 1).bytes());
            blocks.max().unwrap_or(0)
        }
        _ => call.bytes,
    };
    let plan = plan::plan(kind, members, bytes, fold.element_bytes());
    let direct = plan::is_direct(kind, members, bytes, matches!(fold, Fold::Plain(..)));
    if plan.is_none() && !direct {
        return Ok(None);
    }
    let meta = meta::word(kind, op_code(call), call.shape.root, call.bytes);
    let Some(mut table) = Table::of(entry, comm, number, meta)? else { return Ok(None) };
    let direct = direct && table.can_read()?;
    let mut memory = Vec::new();
    let mut input = call.input.clone();
    let in_place = call.shape.in_place;
    let is_cut = plan.is_some_and(|plan| plan.rounds > 1);
    if kind == Kind::ReduceScatter && in_place && is_cut && !direct {
        // The result of a round would overwrite what a later one publishes.
        input = set_aside(&call.shape, table.me(), call, &call.input, &mut memory);
    }
    let (input, output) = (Side::Area(&input), Side::Area(&call.output));
    let root = call.shape.root;
    let job = Job { kind, root, input, output, fold, direct, plan, in_place, bytes };
    // SAFETY: the user's buffers are the caller's promise until the call returns.
    unsafe { job.run(&mut table) }
}

impl Job<'_> {
    /// To the end; `None`: it goes by messages, and nothing was done.
    ///
    /// # Safety
    /// The buffers are readable and writable as the call says.
    #[inline]
    pub unsafe fn run(&self, table: &mut Table<'_>) -> Result<Option<()>> {
        // SAFETY: the caller's promise.
        let result = unsafe { self.run_some_way(table) };
        if result.is_err() {
            table.abandon();
        }
        if table.entry.worker.is_holding() {
            table.entry.worker.release();
        }
        result
    }

    #[inline]
    unsafe fn run_some_way(&self, table: &mut Table<'_>) -> Result<Option<()>> {
        if self.direct && table.can_read()? {
            // SAFETY: the caller's promise; all can read.
            return unsafe { direct::run(self, table) }.map(Some);
        }
        let Some(plan) = self.plan else { return Ok(None) };
        let is_counted = matches!(self.kind, Kind::Barrier | Kind::Allreduce) && plan.rounds == 1;
        match is_counted && table.counts() {
            // SAFETY: the caller's promise.
            true => unsafe { self.run_counted(table)? },
            // SAFETY: as above.
            false => unsafe { self.run_rounds(plan, table)? },
        }
        Ok(Some(()))
    }

    /// One round in which the member that arrives last does the work of all.
    ///
    /// # Safety
    /// As [`Job::run`].
    unsafe fn run_counted(&self, table: &mut Table<'_>) -> Result {
        let (members, bytes) = (table.size(), self.bytes);
        table.is_counted = true;
        let input = self.input.payload(0);
        // SAFETY: the caller's promise.
        table.publish(0, bytes, |slot| unsafe { input.pack(0, slot) })?;
        // SAFETY: it is used before the end of the round.
        let view = unsafe { table.view(0, bytes) };
        // SAFETY: used for members that were seen, or combined.
        let data = |member: u32| unsafe { view.of(member) };
        let output = self.output.payload(0);
        if table.arrive() {
            table.see_all(0, 0)?;
            if bytes > 0 {
                // SAFETY: the caller's promise.
                unsafe { self.combine(table, members, &data, &output, 0) };
                // SAFETY: we are the last one; the output was just written.
                unsafe { table.rewrite(0, bytes, |slot| output.pack(0, slot)) };
            }
            table.show_combined(0);
        } else {
            let combiner = table.await_combined(0)?;
            // SAFETY: the caller's promise.
            unsafe { output.unpack(0, data(combiner)) };
        }
        table.finish(0);
        Ok(())
    }

    #[inline]
    unsafe fn run_rounds(&self, plan: Plan, table: &mut Table<'_>) -> Result {
        let is_root = table.me() == self.root;
        let (publishes, reads) = match self.kind {
            Kind::Bcast | Kind::Scatter => (is_root, !is_root),
            Kind::Gather | Kind::Reduce => (true, is_root),
            _ => (true, true),
        };
        let rounds = plan.rounds;
        let ahead = if publishes && reads { AHEAD.min(rounds - 1) } else { 0 };
        for round in 0..rounds + ahead {
            if publishes && round < rounds {
                // SAFETY: the caller's promise.
                unsafe { self.publish(plan, table, round)? };
            }
            let Some(round) = round.checked_sub(ahead) else { continue };
            if reads {
                // SAFETY: the caller's promise.
                unsafe { self.read(plan, table, (round, ahead))? };
            }
            table.finish(round);
        }
        if self.in_place {
            return Ok(());
        }
        let (from, to) = match self.kind {
            Kind::Scatter if is_root => (self.root, 0),
            Kind::Alltoall => (table.me(), table.me()),
            _ => return Ok(()),
        };
        // SAFETY: as above.
        unsafe { area::copy(&self.input.payload(from), &self.output.payload(to)) };
        Ok(())
    }

    /// Bytes of a publication in this round.
    #[inline]
    fn published_bytes(&self, plan: Plan, members: u32, round: u32) -> usize {
        match self.has_blocks() {
            false => plan.part(round, self.bytes).1,
            true => plan::blocks_at_once(self.kind, members) * plan.chunk.min(self.bytes),
        }
    }

    /// Whether a publication holds a block for each of several members.
    #[inline]
    fn has_blocks(&self) -> bool {
        matches!(self.kind, Kind::Scatter | Kind::Alltoall | Kind::ReduceScatter)
    }

    /// Where the block for a member lies among those that another one publishes: nobody publishes
    /// a block for itself, but where all are combined.
    #[inline]
    fn place_of(&self, block: u32, publisher: u32) -> usize {
        let is_behind = self.kind != Kind::ReduceScatter && block > publisher;
        (block - u32::from(is_behind)) as usize
    }

    /// # Safety
    /// The input is readable.
    #[inline]
    unsafe fn publish(&self, plan: Plan, table: &mut Table<'_>, round: u32) -> Result {
        let members = table.size();
        let bytes = self.published_bytes(plan, members, round);
        if !self.has_blocks() {
            let (from, _) = plan.part(round, self.bytes);
            let input = self.input.payload(0);
            // SAFETY: the caller's promise.
            return table.publish(round, bytes, |slot| unsafe { input.pack(from, slot) });
        }
        let stride = plan.chunk.min(self.bytes);
        let me = table.me();
        table.publish(round, bytes, |slot| {
            let for_itself = self.kind == Kind::ReduceScatter;
            for block in (0..members).filter(|block| for_itself || *block != me) {
                let slot = &mut slot[self.place_of(block, me) * stride..];
                let input = self.input.payload(block);
                let (from, count) = plan.part(round, input.bytes());
                // SAFETY: the caller's promise.
                unsafe { input.pack(from, &mut slot[..count]) };
            }
        })
    }

    /// # Safety
    /// The output is writable.
    #[inline]
    unsafe fn read(&self, plan: Plan, table: &mut Table<'_>, (round, ahead): (u32, u32)) -> Result {
        let (members, me) = (table.size(), table.me());
        let bytes = self.published_bytes(plan, members, round);
        let (from, count) = plan.part(round, self.bytes);
        let stride = plan.chunk.min(self.bytes);
        match self.kind {
            Kind::Bcast | Kind::Scatter => table.see(self.root, round)?,
            Kind::Scan => (0..me).try_for_each(|member| table.see(member, round))?,
            Kind::Exscan => (0..me).try_for_each(|member| table.see(member, round))?,
            _ => table.see_all(round, ahead)?,
        }
        // SAFETY: it is used in this function only, before `finish`.
        let view = unsafe { table.view(round, bytes) };
        // SAFETY: seen, or our own.
        let data = |member: u32| unsafe { view.of(member) };
        match self.kind {
            Kind::Barrier | Kind::NeighborAllgather | Kind::NeighborAlltoall => {}
            // SAFETY: the caller's promise, here and below.
            Kind::Bcast => unsafe { self.output.payload(0).unpack(from, data(self.root)) },
            Kind::Scatter => {
                let mine = &data(self.root)[self.place_of(me, self.root) * stride..][..count];
                // SAFETY: as above.
                unsafe { self.output.payload(0).unpack(from, mine) }
            }
            Kind::Gather | Kind::Allgather => {
                for member in 0..members {
                    // SAFETY: as above.
                    unsafe { self.output.payload(member).unpack(from, data(member)) }
                }
            }
            Kind::Alltoall => {
                for member in (0..members).filter(|member| *member != me) {
                    let block = &data(member)[self.place_of(me, member) * stride..][..count];
                    // SAFETY: as above.
                    unsafe { self.output.payload(member).unpack(from, block) }
                }
            }
            Kind::ReduceScatter => {
                let output = self.output.payload(0);
                let (from, count) = plan.part(round, output.bytes());
                let part = |member: u32| &data(member)[me as usize * stride..][..count];
                // SAFETY: as above.
                unsafe { self.combine(table, members, &part, &output, from) }
            }
            Kind::Reduce | Kind::Allreduce => {
                // SAFETY: as above.
                unsafe { self.combine(table, members, &data, &self.output.payload(0), from) }
            }
            Kind::Scan => {
                // SAFETY: as above.
                unsafe { self.combine(table, me + 1, &data, &self.output.payload(0), from) }
            }
            Kind::Exscan if me == 0 => {}
            Kind::Exscan => {
                // SAFETY: as above.
                unsafe { self.combine(table, me, &data, &self.output.payload(0), from) }
            }
        }
        Ok(())
    }

    /// # Safety
    /// As [`Fold::combine`].
    #[inline]
    unsafe fn combine<'o>(
        &self,
        table: &mut Table<'_>,
        count: u32,
        operand: &dyn Fn(u32) -> &'o [u8],
        into: &Payload,
        offset: usize,
    ) {
        // SAFETY: the caller's promise.
        let combine = || unsafe { self.fold.combine(count, operand, into, offset) };
        match self.fold.is_user() {
            true => table.entry.outside(combine),
            false => combine(),
        }
    }
}

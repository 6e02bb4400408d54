// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What members publish and read in the rounds of each kind of call.
//!
//! One text for all sizes: a small call has one round. In longer ones a member that both publishes
//! and reads publishes ahead, so that nobody waits for a round trip with each round.

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
    fn payload(&self, block: u32) -> Payload {
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
    /// The rounds.
    pub plan: Plan,
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
    if call.is_absent || (needs_sizes && !call.shape.regular) {
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
    let Some(plan) = plan::plan(kind, members, bytes, fold.element_bytes()) else {
        return Ok(None);
    };
    let meta = meta::word(kind, op_code(call), call.shape.root, call.bytes);
    let Some(mut table) = Table::of(entry, comm, number, meta)? else { return Ok(None) };
    let mut memory = Vec::new();
    let mut input = call.input.clone();
    if kind == Kind::ReduceScatter && call.shape.in_place && plan.rounds > 1 {
        // The result of a round would overwrite what a later one publishes.
        input = set_aside(&call.shape, table.me(), call, &call.input, &mut memory);
    }
    let (input, output) = (Side::Area(&input), Side::Area(&call.output));
    let root = call.shape.root;
    let job = Job { kind, root, input, output, fold, plan, bytes };
    // SAFETY: the user's buffers are the caller's promise until the call returns.
    unsafe { job.run(&mut table)? };
    Ok(Some(()))
}

impl Job<'_> {
    /// To the end.
    ///
    /// # Safety
    /// The buffers are readable and writable as the call says.
    #[inline]
    pub unsafe fn run(&self, table: &mut Table<'_>) -> Result {
        // SAFETY: the caller's promise.
        let result = unsafe { self.run_rounds(table) };
        if result.is_err() {
            table.abandon();
        }
        if table.entry.worker.is_holding() {
            table.entry.worker.release();
        }
        result
    }

    #[inline]
    unsafe fn run_rounds(&self, table: &mut Table<'_>) -> Result {
        let is_root = table.me() == self.root;
        let (publishes, reads) = match self.kind {
            Kind::Bcast | Kind::Scatter => (is_root, !is_root),
            Kind::Gather | Kind::Reduce => (true, is_root),
            _ => (true, true),
        };
        let rounds = self.plan.rounds;
        let ahead = if publishes && reads { AHEAD.min(rounds - 1) } else { 0 };
        for round in 0..rounds + ahead {
            if publishes && round < rounds {
                // SAFETY: the caller's promise.
                unsafe { self.publish(table, round)? };
            }
            let Some(round) = round.checked_sub(ahead) else { continue };
            if reads {
                // SAFETY: the caller's promise.
                unsafe { self.read(table, round, ahead)? };
            }
            table.finish(round);
        }
        if self.kind == Kind::Scatter && is_root {
            // SAFETY: as above; in place both are the same memory.
            unsafe { area::copy(&self.input.payload(self.root), &self.output.payload(0)) };
        }
        Ok(())
    }

    /// Bytes of a publication in this round.
    #[inline]
    fn published_bytes(&self, members: u32, round: u32) -> usize {
        match plan::blocks_at_once(self.kind, members) {
            1 => self.plan.part(round, self.bytes).1,
            blocks => blocks * self.plan.chunk.min(self.bytes),
        }
    }

    /// # Safety
    /// The input is readable.
    #[inline]
    unsafe fn publish(&self, table: &mut Table<'_>, round: u32) -> Result {
        let members = table.size();
        let bytes = self.published_bytes(members, round);
        if plan::blocks_at_once(self.kind, members) == 1 {
            let (from, _) = self.plan.part(round, self.bytes);
            let input = self.input.payload(0);
            // SAFETY: the caller's promise.
            return table.publish(round, bytes, |slot| unsafe { input.pack(from, slot) });
        }
        let stride = self.plan.chunk.min(self.bytes);
        table.publish(round, bytes, |slot| {
            for (block, slot) in slot.chunks_exact_mut(stride).enumerate() {
                let input = self.input.payload(block as u32);
                let (from, count) = self.plan.part(round, input.bytes());
                // SAFETY: the caller's promise.
                unsafe { input.pack(from, &mut slot[..count]) };
            }
        })
    }

    /// # Safety
    /// The output is writable.
    #[inline]
    unsafe fn read(&self, table: &mut Table<'_>, round: u32, ahead: u32) -> Result {
        let (members, me) = (table.size(), table.me());
        let bytes = self.published_bytes(members, round);
        let (from, count) = self.plan.part(round, self.bytes);
        let stride = self.plan.chunk.min(self.bytes);
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
            Kind::Barrier => {}
            // SAFETY: the caller's promise, here and below.
            Kind::Bcast => unsafe { self.output.payload(0).unpack(from, data(self.root)) },
            Kind::Scatter => {
                let mine = &data(self.root)[me as usize * stride..][..count];
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
                for member in 0..members {
                    let block = &data(member)[me as usize * stride..][..count];
                    // SAFETY: as above.
                    unsafe { self.output.payload(member).unpack(from, block) }
                }
            }
            Kind::ReduceScatter => {
                let output = self.output.payload(0);
                let (from, count) = self.plan.part(round, output.bytes());
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

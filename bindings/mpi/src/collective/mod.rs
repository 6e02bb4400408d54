// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the arguments of a collective call to an execution, blocking or behind a request.
//!
//! `api/collective*.rs` turn arguments into a [`Call`]: shape, areas, operation. A call is only a
//! description, so that a persistent request can start it again and again. [`Running`] is one
//! execution of it.

pub mod area;
pub mod bind;
pub mod board;
pub mod build;
pub mod neighborhood;
pub mod operation;
pub mod reduction;
pub mod reproducible;

use crate::abi::Status;
use crate::entry::Entry;
use crate::error::{MpiError, Result, class, make};
use crate::object::comm::{Comm, CommRef};
use crate::object::request::{Finished, Work};
use crate::tool::event;
use area::{Area, Memory, Piece, byte};
use bind::{CallBinding, Sizes};
use operation::Operation;
use strait_collectives::execute::{Execution, Failure, Group, Progress};
use strait_collectives::kind::{self, Kind};
use strait_collectives::schedule::Buffer;
use strait_collectives::select::{self, Circumstances, Hosts, Plan};
use strait_collectives::shape::Shape;
use strait_transport::payload::Payload;
use strait_transport::peers::Peers;

/// A checked collective call of this process.
#[derive(Clone)]
pub struct Call {
    /// Kind, root, and what else all ranks agree on.
    pub shape: Shape,
    /// What all ranks know of its size, for the choice of the algorithm.
    pub bytes: usize,
    /// What this process brings; under MPI_IN_PLACE a part of the output.
    pub input: Area,
    /// What it gets.
    pub output: Area,
    /// Sizes of scratch blocks.
    pub sizes: Sizes,
    /// How to combine.
    pub operation: Option<Operation>,
    /// The output is kept aside, and block 0 of `input`'s partition that begins at this element
    /// goes to this piece in the end (reduce_scatter between groups).
    pub slice: Option<(i64, Piece)>,
    /// This process has no part in it (MPI_PROC_NULL as the root).
    pub is_absent: bool,
}

impl Call {
    /// A call without buffers.
    pub fn new(shape: Shape) -> Call {
        Call {
            shape,
            bytes: 0,
            input: Area::none(),
            output: Area::none(),
            sizes: Sizes::Regular(0),
            operation: None,
            slice: None,
            is_absent: false,
        }
    }
}

/// The rank of this process among all of the communicator: of both groups, the first one first.
pub fn my_rank(comm: &Comm) -> u32 {
    match &comm.remote {
        Some(remote) if !comm.local_first => remote.size() as u32 + comm.rank,
        _ => comm.rank,
    }
}

/// The rank of a remote process among all of the communicator.
pub fn remote_rank(comm: &Comm, rank: u32) -> u32 {
    if comm.local_first { comm.group.size() as u32 + rank } else { rank }
}

/// The shape of a call on a communicator, without root.
pub fn shape(comm: &Comm, kind: Kind) -> Shape {
    let local = comm.group.size() as u32;
    match &comm.remote {
        None => Shape::new(kind, local),
        Some(remote) if comm.local_first => Shape::between(kind, local, remote.size() as u32),
        Some(remote) => Shape::between(kind, remote.size() as u32, local),
    }
}

/// All of a communicator: its group, or both of an intercommunicator, the first one first.
pub fn group(comm: &Comm) -> Group {
    let peers: Peers = match &comm.remote {
        None => comm.group.members.clone(),
        Some(remote) => {
            let (first, second) = match comm.local_first {
                true => (&comm.group.members, &remote.members),
                false => (&remote.members, &comm.group.members),
            };
            first.iter().chain(second.iter()).collect()
        }
    };
    Group { peers, me: my_rank(comm) }
}

/// One execution of a call.
pub struct Running {
    execution: Execution,
    /// What to copy at the end: from, to.
    last: Option<(Payload, Payload)>,
    /// And then what to round.
    rounding: Option<reproducible::Rounding>,
    comm: CommRef,
    /// The operation is a function of the user's.
    is_user: bool,
    /// The call, if a tool wants to hear of its end.
    pub name: Option<&'static str>,
}

impl Running {
    /// Sets it up; nothing is sent yet. `None` if this process has no part in it.
    pub fn new(
        entry: &mut Entry,
        comm: &CommRef,
        tag: u32,
        call: &Call,
    ) -> Result<Option<Running>> {
        if call.is_absent {
            return Ok(None);
        }
        let mut lifted = reproducible::lift(comm, call)?;
        let rounding = lifted.as_mut().and_then(reproducible::Lifted::rounding);
        let call = lifted.as_ref().map_or(call, |lifted| &lifted.call);
        let commutes = call.operation.as_ref().is_none_or(|operation| operation.commutes);
        let plan = plan(entry, comm, call, commutes);
        let rank = my_rank(comm);
        let schedule = entry
            .schedules
            .schedule(&plan, rank)
            .map_err(|refused| make(class::INTERN, refused.to_string()))?;
        let parts = plan.shape.blocks;
        let (mut input, mut output) =
            (call.input.clone().cut(parts), call.output.clone().cut(parts));
        let mut memory = Vec::new();
        if call.shape.in_place && !plan.shape.in_place {
            input = set_aside(&plan.shape, rank, call, &input, &mut memory);
        }
        let last = call.slice.as_ref().map(|(first, to)| {
            let (own, area) = Memory::of_elements(input.ty(), &[input.count(0)]);
            memory.push(own);
            let mut from = area.piece(0);
            let offset = first * input.ty().extent();
            from.base = from.base.wrapping_offset(offset as isize);
            from.count = to.count;
            output = area;
            (from.payload(), to.payload())
        });
        let sizes = call.sizes.clone();
        let operation = call.operation.clone();
        memory.extend(lifted.map(|lifted| lifted.memory).into_iter().flatten());
        let is_user = operation.as_ref().is_some_and(|operation| operation.is_user());
        let binding = CallBinding::new(&schedule, (input, output), &sizes, operation, memory);
        let context = comm.collective_context();
        let execution = Execution::new(schedule, group(comm), context, tag, Box::new(binding));
        Ok(Some(Running { execution, last, rounding, comm: comm.clone(), is_user, name: None }))
    }

    /// To the end.
    pub fn finish(mut self, entry: &mut Entry) -> Result {
        self.execution.attend();
        loop {
            let mut answer = Progress::Pending;
            entry.wait_until(|runtime| {
                // SAFETY: the user's buffers are the caller's promise until the call returns.
                answer = unsafe { self.execution.advance(&mut runtime.worker) };
                if matches!(answer, Progress::Pending) && self.comm.is_revoked() {
                    runtime.end_revoked(self.comm.context);
                }
                !matches!(answer, Progress::Pending)
            });
            match answer {
                // SAFETY: as above.
                Progress::Compute => entry.outside(|| unsafe { self.execution.compute() }),
                Progress::Failed(failure) => {
                    self.await_idle(entry);
                    return Err(error_of(&self.comm, failure));
                }
                Progress::Done | Progress::Pending => {
                    self.copy_last();
                    return entry.let_messages_leave();
                }
            }
        }
    }

    /// Where the program goes on after a failure, nobody writes to its buffers any more then.
    #[cold]
    fn await_idle(&mut self, entry: &mut Entry) {
        if crate::fault::keeps_going() || self.comm.is_revoked() {
            entry.wait_until(|runtime| self.execution.settle(&mut runtime.worker));
        }
    }

    fn copy_last(&mut self) {
        if let Some((from, to)) = self.last.take() {
            // SAFETY: nothing is in flight; `from` is memory of the binding, `to` the user's.
            unsafe { area::copy(&from, &to) };
        }
        if let Some(rounding) = self.rounding.take() {
            // SAFETY: the execution, which keeps the accumulators, is done.
            unsafe { rounding.round() };
        }
    }
}

impl Work for Running {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        loop {
            // SAFETY: the user's buffers are the caller's promise until the request is complete.
            match unsafe { self.execution.advance(&mut entry.worker) } {
                Progress::Pending => {
                    if self.comm.is_revoked() {
                        entry.end_revoked(self.comm.context);
                    }
                    return None;
                }
                // SAFETY: as above.
                Progress::Compute => entry.outside(|| unsafe { self.execution.compute() }),
                Progress::Done => {
                    self.copy_last();
                    if let Some(name) = self.name {
                        event::collective(event::COLLECTIVE_END, name, &self.comm);
                    }
                    return Some(Finished::EMPTY);
                }
                Progress::Failed(failure) => {
                    let must_settle = crate::fault::keeps_going() || self.comm.is_revoked();
                    if must_settle && !self.execution.settle(&mut entry.worker) {
                        return None;
                    }
                    let error = Some(error_of(&self.comm, failure));
                    return Some(Finished { status: Status::EMPTY, error });
                }
            }
        }
    }

    fn comm(&self) -> Option<CommRef> {
        Some(self.comm.clone())
    }

    fn runs_user_code(&self) -> bool {
        self.is_user
    }
}

/// Which algorithm: the one that the communicator's hint names, else what the table says.
fn plan(entry: &Entry, comm: &Comm, call: &Call, commutes: bool) -> Plan {
    let asked = comm.algorithm.get().filter(|asked| asked.algorithm.kind == call.shape.kind);
    let forced = asked
        .and_then(|asked| select::force(asked.algorithm, asked.parameters, &call.shape, commutes));
    forced.unwrap_or_else(|| {
        let hosts = hosts(entry, comm);
        select::choose(&call.shape, Circumstances { bytes: call.bytes, commutes, hosts })
    })
}

/// Where the members are, for the tuning table.
pub fn hosts(entry: &Entry, comm: &Comm) -> Hosts {
    *comm.hosts.get_or_init(|| match is_on_one_host(entry, comm) {
        true => Hosts::One,
        false => Hosts::Several,
    })
}

/// Whether all members share this host's memory; all come to the same answer.
pub fn is_on_one_host(entry: &Entry, comm: &Comm) -> bool {
    let me = entry.me();
    let is_near = |peer| peer == me || entry.worker.shares_memory_with(peer);
    !comm.is_inter() && comm.group.members.iter().all(is_near)
}

/// A copy of the input, for algorithms that cannot work in place.
fn set_aside(
    shape: &Shape,
    rank: u32,
    call: &Call,
    input: &Area,
    memory: &mut Vec<Memory>,
) -> Area {
    let blocks = kind::blocks(shape, rank, Buffer::Input);
    let (own, copy) = if call.operation.is_some() {
        let counts: Vec<i64> = (0..blocks).map(|block| input.count(block)).collect();
        Memory::of_elements(input.ty(), &counts)
    } else {
        let bytes = |block| input.payload(block, 1).bytes() as i64;
        Memory::of_elements(byte(), &(0..blocks).map(bytes).collect::<Vec<_>>())
    };
    for block in 0..blocks {
        // SAFETY: the user's input is readable, says the caller of the call; the copy is ours.
        unsafe { area::copy(&input.payload(block, 1), &copy.payload(block, 1)) };
    }
    memory.push(own);
    copy
}

#[cold]
fn error_of(comm: &CommRef, failure: Failure) -> Box<MpiError> {
    match failure {
        Failure::Transfer { error, .. } => error.into(),
        Failure::Truncated { .. } => {
            let mut error = make(class::TRUNCATE, format!("{failure}, on {}", comm.describe()));
            error.help = "counts and datatypes of all ranks must describe the same amount of data";
            error
        }
        Failure::NotBuilt(_) => make(class::INTERN, failure.to_string()),
    }
}

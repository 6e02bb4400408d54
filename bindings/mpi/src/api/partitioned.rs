// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Partitioned point to point (MPI-5.0 chapter 4). object/partitioned.rs says how it travels.

use crate::abi::{Abi, Code, HandleKind, Status};
use crate::api::arguments::{ANY_TAG, committed_type, destination, out, pattern, send_tag};
use crate::api::point_to_point_persistent::persistent_side;
use crate::entry::{Entry, on_comm, on_requests};
use crate::error::{MpiError, Result, class, error, make};
use crate::object::comm::CommRef;
use crate::object::partitioned::{
    Buffer, PLAN_BYTES, PLAN_TAG, Piece, Plan, Receiving, ReceivingRef, Sending, SendingRef, Side,
};
use crate::object::request::{Finished, Request, Work, finished};
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::worker::{SendMode, Sent};

/// The partitions of a user's buffer, checked.
fn buffer<A: Abi>(
    entry: &Entry,
    base: *const c_void,
    partitions: c_int,
    (count, datatype): (i64, A::Handle),
) -> Result<Buffer> {
    let Ok(number) = usize::try_from(partitions) else {
        return error(class::COUNT, format!("the number of partitions is {partitions}"));
    };
    if count < 0 {
        return error(class::COUNT, format!("the count is {count}; it must not be negative"));
    }
    let ty = committed_type::<A>(entry, datatype)?.clone();
    let bytes = count.checked_mul(ty.size()).and_then(|b| b.checked_mul(i64::from(partitions)));
    match bytes {
        None => error(class::COUNT, "the partitions have more bytes than 64 bits can count"),
        Some(bytes) if bytes > 0 && base.is_null() && ty.is_predefined() => {
            error(class::BUFFER, format!("the buffer is NULL but has {bytes} bytes"))
        }
        Some(_) => Ok(Buffer { base: base.cast_mut().cast(), partitions: number, count, ty }),
    }
}

fn envelope(comm: &CommRef, tag: u32) -> Envelope {
    Envelope { context: comm.collective_context(), source: comm.rank, tag }
}

/// Work that no handle names: it is dropped when it has ended.
fn go_on(entry: &mut Entry, work: impl Work + 'static) -> Result {
    let Some(code) = entry.requests.insert(Request::Work(Box::new(work))) else {
        return error(class::OTHER, "no request handle is left: too many are alive at once");
    };
    entry.active.push(code);
    entry.orphans.push(code);
    Ok(())
}

/// A plan on its way to the receiver.
struct PlanSend {
    comm: CommRef,
    id: RequestId,
    _plan: Box<[u8; PLAN_BYTES]>,
}

impl Work for PlanSend {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        // A receiver that is lost is told of by the messages that follow.
        entry.worker.take(self.id).map(|_| Finished::EMPTY)
    }

    fn comm(&self) -> Option<CommRef> {
        Some(self.comm.clone())
    }
}

fn send_plan(entry: &mut Entry, comm: &CommRef, peer: Peer, plan: Plan) -> Result {
    let mut plan = Box::new(plan.to_bytes());
    let payload = Payload::Contiguous { base: plan.as_mut_ptr(), bytes: PLAN_BYTES };
    let envelope = envelope(comm, PLAN_TAG);
    // SAFETY: the work below keeps the bytes until the send has ended.
    let sent = unsafe { entry.worker.send(peer, envelope, payload, SendMode::Standard) };
    match sent {
        Sent::Done => Ok(()),
        Sent::Pending(id) => go_on(entry, PlanSend { comm: comm.clone(), id, _plan: plan }),
    }
}

/// A plan awaited: one for each Precv_init, given to the oldest side that it fits.
struct PlanReceive {
    comm: CommRef,
    source: u32,
    id: RequestId,
    plan: Box<[u8; PLAN_BYTES]>,
}

impl Work for PlanReceive {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        let ended = finished(entry.worker.take(self.id)?, true);
        let mut channels = self.comm.channels.borrow_mut();
        let plan = (ended.status.bytes == PLAN_BYTES as u64).then(|| Plan::from_bytes(&self.plan));
        match (ended.error, plan.flatten()) {
            (Some(error), _) => channels.fail(self.source, &error),
            (None, Some(plan)) => channels.deliver(self.source, plan),
            (None, None) => {
                let text = format!("rank {} sent a partitioned plan without sense", self.source);
                channels.fail(self.source, &make(class::INTERN, text));
            }
        }
        Some(Finished::EMPTY)
    }

    fn comm(&self) -> Option<CommRef> {
        Some(self.comm.clone())
    }
}

fn await_plan(entry: &mut Entry, comm: &CommRef, peer: Peer, source: u32) -> Result {
    let mut plan = Box::new([0; PLAN_BYTES]);
    let payload = Payload::Contiguous { base: plan.as_mut_ptr(), bytes: PLAN_BYTES };
    let pattern = Pattern { context: comm.collective_context(), source, tag: PLAN_TAG };
    // SAFETY: the work below keeps the bytes until the receive has ended.
    let id = unsafe { entry.worker.receive(Some(peer), pattern, payload) };
    go_on(entry, PlanReceive { comm: comm.clone(), source, id, plan })
}

/// One round of the sending side: ends when all messages have left and are complete.
struct SendRound {
    comm: CommRef,
    side: SendingRef,
}

impl Work for SendRound {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        let side = &mut *self.side.borrow_mut();
        let error = &mut side.error;
        side.flying.retain(|id| match entry.worker.take(*id) {
            None => true,
            Some(completion) => {
                *error = error.take().or(finished(completion, false).error);
                false
            }
        });
        let ended = side.unsent == 0 && side.flying.is_empty();
        ended.then(|| Finished { status: Status::EMPTY, error: side.error.take() })
    }

    fn comm(&self) -> Option<CommRef> {
        Some(self.comm.clone())
    }
}

/// Sends message `message` of the round.
fn send_message(entry: &mut Entry, comm: &CommRef, side: &mut Sending, message: usize) {
    side.unsent -= 1;
    let Some(peer) = side.peer else { return };
    let payload = side.buffer.partitions(side.partitions_of(message));
    let envelope = envelope(comm, side.plan.first + message as u32);
    // SAFETY: the partitions are ready: readable and untouched until the request is complete.
    let sent = unsafe { entry.worker.send(peer, envelope, payload, SendMode::Standard) };
    if let Sent::Pending(id) = sent {
        side.flying.push(id);
    }
}

/// Posts this round's receives, if the plan is known and they are not posted.
fn post(entry: &mut Entry, comm: &CommRef, side: &mut Receiving) {
    let (Some(Ok(plan)), false) = (&side.plan, side.posted) else { return };
    let context = comm.collective_context();
    for message in 0..plan.messages as usize {
        let range = plan.range(message);
        let (payload, staged) = match side.buffer.bytes(&range) {
            Some(payload) => (payload, None),
            None => {
                let mut bytes = vec![0; range.len()].into_boxed_slice();
                let base = bytes.as_mut_ptr();
                (Payload::Contiguous { base, bytes: bytes.len() }, Some(bytes))
            }
        };
        let tag = plan.first + message as u32;
        let wanted = Pattern { context, source: side.source, tag };
        // SAFETY: the buffer is the caller's promise until the round ends; staged bytes are kept in
        // `open` until their receive has ended.
        let id = unsafe { entry.worker.receive(side.peer, wanted, payload) };
        side.open.push(Piece { id, message, staged });
    }
    side.arrived = vec![false; plan.messages as usize];
    side.posted = true;
}

/// One round of the receiving side: ends when all messages are there.
struct ReceiveRound {
    comm: CommRef,
    side: ReceivingRef,
}

impl Work for ReceiveRound {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        let side = &mut *self.side.borrow_mut();
        let plan = match &side.plan {
            None => return None,
            Some(Ok(plan)) => *plan,
            Some(Err(error)) => {
                let error = Some(error.clone());
                return Some(Finished { status: Status::EMPTY, error });
            }
        };
        post(entry, &self.comm, side);
        let (whole, room) = (side.buffer.whole(), side.buffer.step() * side.buffer.partitions);
        let (arrived, error) = (&mut side.arrived, &mut side.error);
        side.open.retain(|piece| {
            let Some(completion) = entry.worker.take(piece.id) else { return true };
            let ended = finished(completion, true);
            *error = error.take().or(ended.error);
            if let Some(bytes) = &piece.staged {
                let at = plan.range(piece.message).start.min(room);
                let fits = bytes.len().min(room - at);
                // SAFETY: within the buffer, which the caller leaves to us until the round ends.
                unsafe { whole.unpack(at, &bytes[..fits]) };
            }
            arrived[piece.message] = true;
            false
        });
        if !side.open.is_empty() {
            return None;
        }
        Some(self.outcome(plan.bytes as usize, room, side.error.take(), (side.source, side.tag)))
    }

    fn comm(&self) -> Option<CommRef> {
        Some(self.comm.clone())
    }
}

impl ReceiveRound {
    fn outcome(
        &self,
        sent: usize,
        room: usize,
        error: Option<Box<MpiError>>,
        (source, tag): (u32, u32),
    ) -> Finished {
        let status = Status {
            source: source as c_int,
            tag: tag as c_int,
            error: 0,
            bytes: sent.min(room) as u64,
            cancelled: false,
        };
        let error = match error {
            Some(error) if error.code != class::TRUNCATE => Some(error),
            _ if sent > room => {
                let text = format!(
                    "partitioned message truncated: rank {source} sends {sent} bytes with tag \
                     {tag}, the partitions of the receive hold {room} bytes"
                );
                Some(make(class::TRUNCATE, text))
            }
            other => other,
        };
        Finished { status, error }
    }
}

pub unsafe fn MPI_Psend_init<A: Abi>(
    buf: *const c_void,
    partitions: c_int,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Psend_init", comm, |entry, comm| {
        let place = out(request, "request")?;
        let tag = send_tag::<A>(tag)?;
        let peer = destination::<A>(comm, dest)?;
        let buffer = buffer::<A>(entry, buf, partitions, (count, datatype))?;
        let side = Sending::new(peer, buffer, tag, &mut comm.channels.borrow_mut());
        if let Some(peer) = peer {
            send_plan(entry, comm, peer, side.plan)?;
        }
        let side = Rc::new(RefCell::new(side));
        let (round, owner) = (side.clone(), comm.clone());
        let start = move |_: &mut Entry| {
            round.borrow_mut().begin();
            let (comm, side) = (owner.clone(), round.clone());
            Ok(Request::Work(Box::new(SendRound { comm, side })))
        };
        // SAFETY: this function's own conditions.
        unsafe { persistent_side::<A>(entry, comm, start, Some(Side::Send(side)), place) }
    })
}

pub unsafe fn MPI_Precv_init<A: Abi>(
    buf: *mut c_void,
    partitions: c_int,
    count: i64,
    datatype: A::Handle,
    dest: c_int,
    tag: c_int,
    comm: A::Handle,
    _info: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Precv_init", comm, |entry, comm| {
        let place = out(request, "request")?;
        if A::tag_in(tag) == ANY_TAG {
            return error(class::TAG, "the tag is MPI_ANY_TAG; partitioned receives name theirs");
        }
        let wanted = pattern::<A>(comm, dest, tag)?;
        let buffer = buffer::<A>(entry, buf, partitions, (count, datatype))?;
        let Some((peer, pattern)) = wanted else {
            let start = |_: &mut Entry| Ok(Request::Done(Finished::PROC_NULL));
            let side = receiving(None, (0, 0), buffer);
            // SAFETY: this function's own conditions.
            return unsafe {
                persistent_side::<A>(entry, comm, start, Some(Side::Receive(side)), place)
            };
        };
        let (Some(peer), false) = (peer, pattern.source == ANY) else {
            let text = "the source is MPI_ANY_SOURCE; partitioned receives name theirs";
            return error(class::RANK, text);
        };
        let side = receiving(Some(peer), (pattern.source, pattern.tag), buffer);
        {
            let mut channels = comm.channels.borrow_mut();
            match channels.claim(pattern.source, pattern.tag) {
                Some(plan) => side.borrow_mut().plan = Some(Ok(plan)),
                None => channels.waiting.push(side.clone()),
            }
        }
        await_plan(entry, comm, peer, pattern.source)?;
        let (round, owner) = (side.clone(), comm.clone());
        let start = move |entry: &mut Entry| {
            round.borrow_mut().posted = false;
            round.borrow_mut().error = None;
            post(entry, &owner, &mut round.borrow_mut());
            let (comm, side) = (owner.clone(), round.clone());
            Ok(Request::Work(Box::new(ReceiveRound { comm, side })))
        };
        // SAFETY: this function's own conditions.
        unsafe { persistent_side::<A>(entry, comm, start, Some(Side::Receive(side)), place) }
    })
}

fn receiving(peer: Option<Peer>, (source, tag): (u32, u32), buffer: Buffer) -> ReceivingRef {
    Rc::new(RefCell::new(Receiving {
        peer,
        source,
        tag,
        buffer,
        plan: None,
        posted: false,
        open: Vec::new(),
        arrived: Vec::new(),
        error: None,
    }))
}

/// The active sending side behind a handle; its communicator goes to the slot for error handlers.
fn sending(entry: &Entry, code: Code, comm: &mut Option<CommRef>) -> Result<(CommRef, SendingRef)> {
    let Some(Request::Persistent(request)) = entry.requests.get(code) else {
        return error(class::REQUEST, format!("{code:#x} is not a partitioned request"));
    };
    *comm = Some(request.comm.clone());
    match (&request.side, &request.active) {
        (Some(Side::Send(side)), Some(_)) => Ok((request.comm.clone(), side.clone())),
        (Some(Side::Send(_)), None) => {
            error(class::REQUEST, "the partitioned send is not active: call MPI_Start first")
        }
        (Some(Side::Receive(_)), _) => {
            error(class::REQUEST, "this is a partitioned receive; only sends have Pready")
        }
        (None, _) => error(class::REQUEST, "the request is not partitioned"),
    }
}

/// Marks partitions ready and sends the messages that became whole. All are checked first.
fn make_ready<A: Abi>(
    name: &'static str,
    request: A::Handle,
    partitions: impl Iterator<Item = c_int> + Clone,
) -> c_int {
    on_requests::<A>(name, |entry, comm| {
        let code = A::handle_in(HandleKind::Request, request);
        let (owner, side) = sending(entry, code, comm)?;
        let side = &mut *side.borrow_mut();
        for partition in partitions.clone() {
            let known = usize::try_from(partition).ok().and_then(|p| side.ready.get(p));
            match known {
                Some(false) => {}
                Some(true) => {
                    let text = format!("partition {partition} is ready already in this round");
                    return error(class::ARG, text);
                }
                None => return no_partition(partition, side.buffer.partitions),
            }
        }
        for partition in partitions {
            let partition = partition as usize;
            if std::mem::replace(&mut side.ready[partition], true) {
                let text = format!("partition {partition} stands twice in the list");
                return error(class::ARG, text);
            }
            let message = partition / side.group;
            side.missing[message] -= 1;
            if side.missing[message] == 0 {
                send_message(entry, &owner, side, message);
            }
        }
        Ok(())
    })
}

#[cold]
fn no_partition<T>(partition: c_int, partitions: usize) -> Result<T> {
    let text = format!("there is no partition {partition}: the request has {partitions}");
    error(class::ARG, text)
}

pub unsafe fn MPI_Pready<A: Abi>(partition: c_int, request: A::Handle) -> c_int {
    make_ready::<A>("MPI_Pready", request, std::iter::once(partition))
}

pub unsafe fn MPI_Pready_range<A: Abi>(
    partition_low: c_int,
    partition_high: c_int,
    request: A::Handle,
) -> c_int {
    // A range the wrong way round is refused for its ends, not taken for an empty one.
    let ends = [partition_low, partition_high];
    let backwards = ends.into_iter().filter(move |_| partition_low > partition_high);
    let refused = backwards.map(|_| -1);
    make_ready::<A>("MPI_Pready_range", request, refused.chain(partition_low..=partition_high))
}

pub unsafe fn MPI_Pready_list<A: Abi>(
    length: c_int,
    array_of_partitions: *const c_int,
    request: A::Handle,
) -> c_int {
    let length = if array_of_partitions.is_null() { 0 } else { length.max(0) };
    // SAFETY: the array has `length` elements, says the caller.
    let list = (0..length as usize).map(|i| unsafe { *array_of_partitions.add(i) });
    make_ready::<A>("MPI_Pready_list", request, list)
}

pub unsafe fn MPI_Parrived<A: Abi>(
    request: A::Handle,
    partition: c_int,
    flag: *mut c_int,
) -> c_int {
    on_requests::<A>("MPI_Parrived", |entry, comm| {
        let code = A::handle_in(HandleKind::Request, request);
        let place = out(flag, "flag")?;
        let Some(Request::Persistent(persistent)) = entry.requests.get(code) else {
            return error(class::REQUEST, format!("{code:#x} is not a partitioned request"));
        };
        *comm = Some(persistent.comm.clone());
        let Some(Side::Receive(side)) = &persistent.side else {
            return error(class::REQUEST, "the request is not a partitioned receive");
        };
        let (side, active) = (side.clone(), persistent.active.is_some());
        let partitions = side.borrow().buffer.partitions;
        if !usize::try_from(partition).is_ok_and(|p| p < partitions) {
            return no_partition(partition, partitions);
        }
        // Inactive, or nobody sends: all that will come is there.
        let there = |side: &ReceivingRef| {
            let side = side.borrow();
            !active || side.peer.is_none() || side.has(partition as usize)
        };
        if !there(&side) {
            entry.progress();
        }
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *place = c_int::from(there(&side)) };
        Ok(())
    })
}

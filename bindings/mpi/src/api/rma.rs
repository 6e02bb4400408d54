// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One-sided accesses (MPI-5.0 section 12.3). `rma/` says how they reach their targets.

use crate::abi::{Abi, HandleKind};
use crate::api::arguments::{PROC_NULL, committed_type, handle, operation, out, payload};
use crate::entry::{Entry, on_win};
use crate::error::{Result, class, error};
use crate::object::comm::CommRef;
use crate::object::op::OpRef;
use crate::object::request::{Finished, Request, Work};
use crate::object::window::{Flavor, Win, WinRef};
use crate::rma::Combine;
use crate::rma::access::{self, Remote};
use crate::rma::origin::{self, Batch};
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use strait_collectives::reduce::{Group, Op};
use strait_transport::payload::Payload;

/// The target of an access: rank, displacement, count, datatype.
type Target<A> = (c_int, isize, i64, <A as Abi>::Handle);
/// A buffer: address, count, datatype.
type Buffer<A> = (*const c_void, i64, <A as Abi>::Handle);

/// A target rank; `None`: MPI_PROC_NULL.
#[inline]
pub(super) fn target_rank<A: Abi>(win: &Win, rank: c_int) -> Result<Option<u32>> {
    match usize::try_from(rank) {
        Ok(found) if found < win.regions.len() => Ok(Some(rank as u32)),
        _ if A::rank_in(rank) == PROC_NULL => Ok(None),
        _ => {
            let last = win.regions.len() - 1;
            let text = format!("the rank is {rank}, but {} has ranks 0 to {last}", win.describe());
            error(class::RANK, text)
        }
    }
}

/// The memory of a target, checked; `None`: the target is MPI_PROC_NULL.
#[inline(always)]
fn remote<A: Abi>(
    entry: &Entry,
    win: &Win,
    (rank, disp, count, datatype): Target<A>,
) -> Result<Option<Remote>> {
    let Some(rank) = target_rank::<A>(win, rank)? else { return Ok(None) };
    if count < 0 {
        return error(class::COUNT, format!("target_count is {count}; it must not be negative"));
    }
    let ty = committed_type::<A>(entry, datatype)?;
    win.epochs.borrow().check_access(rank)?;
    let region = &win.regions[rank as usize];
    if ty.size().checked_mul(count).is_none() {
        return error(
            class::COUNT,
            format!("{count} elements have more bytes than can be counted"),
        );
    }
    if win.flavor == Flavor::Dynamic {
        if rank == win.comm.rank && ty.size() * count > 0 {
            let range = span(disp as i64, (ty.true_lb(), ty.true_ub()), ty.extent(), count);
            if !range.is_some_and(|(from, to)| win.exposes(from, to)) {
                let text = format!("the memory at {disp:#x} is not attached to {}", win.describe());
                return error(class::RMA_RANGE, text);
            }
        }
        return Ok(Some(Remote::new(rank, disp as i64, ty, count)));
    }
    let at = region.unit.checked_mul(disp as i64).filter(|at| *at >= 0);
    let Some(at) = at else {
        return error(class::DISP, format!("target_disp is {disp}; it must not be negative"));
    };
    if count > 0 && ty.size() > 0 {
        let range = span(at, (ty.true_lb(), ty.true_ub()), ty.extent(), count);
        if !range.is_some_and(|(from, to)| from >= 0 && to <= region.bytes as i64) {
            return out_of_range(win, rank, range);
        }
    }
    Ok(Some(Remote::new(rank, at, ty, count)))
}

/// First and last byte of `count` elements at `at`; `None`: that is more than can be addressed.
#[inline]
fn span(at: i64, (lb, ub): (i64, i64), extent: i64, count: i64) -> Option<(i64, i64)> {
    let last = extent.checked_mul(count - 1)?;
    let from = at.checked_add(lb)?.checked_add(last.min(0))?;
    Some((from, at.checked_add(ub)?.checked_add(last.max(0))?))
}

#[cold]
fn out_of_range<T>(win: &Win, rank: u32, range: Option<(i64, i64)>) -> Result<T> {
    let bytes = win.regions[rank as usize].bytes;
    let what = match range {
        Some((from, to)) => format!("the access covers bytes {from} to {to}"),
        None => "the access covers more than can be addressed".to_string(),
    };
    let text = format!("{what}, but rank {rank} exposes {bytes} bytes in {}", win.describe());
    error(class::RMA_RANGE, text)
}

/// Both sides must have as many bytes.
#[inline]
fn same_bytes(origin: usize, remote: &Remote, what: &str) -> Result {
    if origin == remote.bytes {
        return Ok(());
    }
    let text = format!("the {what} has {origin} bytes of data, the target {}", remote.bytes);
    error(class::TYPE, text)
}

/// A request of the user for accesses.
struct Pending {
    win: WinRef,
    batch: Rc<Batch>,
}

impl Work for Pending {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        origin::poll(entry, &self.win);
        let ended = self.batch.ended()?;
        Some(Finished { error: ended.err(), ..Finished::EMPTY })
    }

    fn comm(&self) -> Option<CommRef> {
        None
    }
}

/// Writes the handle of a request that ends with `batch`, or has ended already.
unsafe fn give_request<A: Abi>(
    entry: &mut Entry,
    win: &WinRef,
    batch: Rc<Batch>,
    place: *mut A::Handle,
) -> Result {
    let ended = batch.ended();
    let is_over = ended.is_some();
    let request = match ended {
        Some(result) => {
            result?;
            Request::Done(Finished::EMPTY)
        }
        None => Request::Work(Box::new(Pending { win: win.clone(), batch })),
    };
    let code = entry.requests.insert(request);
    if let (false, Some(code)) = (is_over, code) {
        entry.active.push(code);
    }
    // SAFETY: writable, says the caller.
    unsafe { *place = handle::<A>(HandleKind::Request, code)? };
    Ok(())
}

/// The body of a call and of its twin that gives a request: `request` is null for the former.
#[inline(always)]
unsafe fn accessing<A: Abi>(
    name: &'static str,
    win: A::Handle,
    request: Option<*mut A::Handle>,
    body: impl FnOnce(&mut Entry, &WinRef, Option<&Rc<Batch>>) -> Result,
) -> c_int {
    on_win::<A>(name, win, |entry, win| match request {
        None => body(entry, win, None),
        Some(place) => {
            let place = out(place, "request")?;
            let batch = Rc::default();
            body(entry, win, Some(&batch))?;
            // SAFETY: checked not to be null; writable, says the caller.
            unsafe { give_request::<A>(entry, win, batch, place) }
        }
    })
}

#[inline]
fn put<A: Abi>(
    entry: &mut Entry,
    win: &WinRef,
    origin: Buffer<A>,
    target: Target<A>,
    batch: Option<&Rc<Batch>>,
) -> Result {
    let Some(remote) = remote::<A>(entry, win, target)? else { return Ok(()) };
    let origin = payload::<A>(entry, origin.0, origin.1, origin.2)?;
    same_bytes(origin.bytes(), &remote, "origin")?;
    // SAFETY: the buffer is readable until the access is complete, says the user; the target was
    // checked.
    unsafe { access::put(entry, win, &origin, &remote, batch) }
}

#[inline]
fn get<A: Abi>(
    entry: &mut Entry,
    win: &WinRef,
    into: Buffer<A>,
    target: Target<A>,
    batch: Option<&Rc<Batch>>,
) -> Result {
    let Some(remote) = remote::<A>(entry, win, target)? else { return Ok(()) };
    let into = payload::<A>(entry, into.0, into.1, into.2)?;
    same_bytes(into.bytes(), &remote, "origin")?;
    // SAFETY: the buffer is writable until the access is complete, says the user.
    unsafe { access::get(entry, win, &into, &remote, batch) }
}

#[inline]
fn accumulate_op<A: Abi>(entry: &Entry, op: A::Handle) -> Result<Op> {
    // No reference count is touched for a predefined one.
    if let Some(op) = Op::from_code(A::handle_in(HandleKind::Op, op)) {
        return Ok(op);
    }
    match operation::<A>(entry, op)? {
        OpRef::Predefined(code) => match Op::from_code(code) {
            Some(op) => Ok(op),
            None => error(class::OP, format!("{code:#x} is not an operation")),
        },
        OpRef::User(_) => {
            error(class::OP, "users' operations cannot be used to accumulate into windows")
        }
    }
}

fn accumulate<A: Abi>(
    entry: &mut Entry,
    win: &WinRef,
    (origin, result): (Buffer<A>, Option<Buffer<A>>),
    target: Target<A>,
    op: A::Handle,
    batch: Option<&Rc<Batch>>,
) -> Result {
    let op = accumulate_op::<A>(entry, op)?;
    let Some(remote) = remote::<A>(entry, win, target)? else { return Ok(()) };
    let combine = match remote.bytes {
        // Nothing is combined, with whatever operation.
        0 => None,
        _ => Some(Combine::new(op, committed_type::<A>(entry, target.3)?)?),
    };
    let fetched = match result {
        None => None,
        Some((address, count, datatype)) => {
            let fetched = payload::<A>(entry, address, count, datatype)?;
            same_bytes(fetched.bytes(), &remote, "result")?;
            Some(fetched)
        }
    };
    let origin = match op {
        // Nothing is looked at.
        Op::NoOp => Payload::EMPTY,
        _ => {
            let given = payload::<A>(entry, origin.0, origin.1, origin.2)?;
            same_bytes(given.bytes(), &remote, "origin")?;
            let basic =
                |datatype| -> Result<_> { Ok(committed_type::<A>(entry, datatype)?.basic()) };
            if origin.1 > 0 && basic(origin.2)? != basic(target.3)? {
                let text = "origin and target are not made of the same predefined datatype";
                return error(class::TYPE, text);
            }
            given
        }
    };
    let Some(combine) = combine.filter(|_| op != Op::NoOp || fetched.is_some()) else {
        return Ok(());
    };
    let operands = (&origin, fetched.as_ref());
    // SAFETY: the buffers are the user's promise; the target was checked.
    unsafe { access::accumulate(entry, win, operands, combine, &remote, batch) }
}

pub unsafe fn MPI_Put<A: Abi>(
    origin_addr: *const c_void,
    origin_count: i64,
    origin_datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    target_count: i64,
    target_datatype: A::Handle,
    win: A::Handle,
) -> c_int {
    let origin = (origin_addr, origin_count, origin_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    on_win::<A>("MPI_Put", win, |entry, win| put::<A>(entry, win, origin, target, None))
}

pub unsafe fn MPI_Rput<A: Abi>(
    origin_addr: *const c_void,
    origin_count: i64,
    origin_datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    target_count: i64,
    target_datatype: A::Handle,
    win: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let origin = (origin_addr, origin_count, origin_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    let body = |entry: &mut Entry, win: &WinRef, batch: Option<&Rc<Batch>>| {
        put::<A>(entry, win, origin, target, batch)
    };
    // SAFETY: this function's own conditions.
    unsafe { accessing::<A>("MPI_Rput", win, Some(request), body) }
}

pub unsafe fn MPI_Get<A: Abi>(
    origin_addr: *mut c_void,
    origin_count: i64,
    origin_datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    target_count: i64,
    target_datatype: A::Handle,
    win: A::Handle,
) -> c_int {
    let into = (origin_addr.cast_const(), origin_count, origin_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    on_win::<A>("MPI_Get", win, |entry, win| get::<A>(entry, win, into, target, None))
}

pub unsafe fn MPI_Rget<A: Abi>(
    origin_addr: *mut c_void,
    origin_count: i64,
    origin_datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    target_count: i64,
    target_datatype: A::Handle,
    win: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let into = (origin_addr.cast_const(), origin_count, origin_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    let body = |entry: &mut Entry, win: &WinRef, batch: Option<&Rc<Batch>>| {
        get::<A>(entry, win, into, target, batch)
    };
    // SAFETY: this function's own conditions.
    unsafe { accessing::<A>("MPI_Rget", win, Some(request), body) }
}

/// The four accumulates.
unsafe fn accumulating<A: Abi>(
    name: &'static str,
    operands: (Buffer<A>, Option<Buffer<A>>),
    target: Target<A>,
    op: A::Handle,
    win: A::Handle,
    request: Option<*mut A::Handle>,
) -> c_int {
    let body = |entry: &mut Entry, win: &WinRef, batch: Option<&Rc<Batch>>| {
        accumulate::<A>(entry, win, operands, target, op, batch)
    };
    // SAFETY: this function's own conditions.
    unsafe { accessing::<A>(name, win, request, body) }
}

pub unsafe fn MPI_Accumulate<A: Abi>(
    origin_addr: *const c_void,
    origin_count: i64,
    origin_datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    target_count: i64,
    target_datatype: A::Handle,
    op: A::Handle,
    win: A::Handle,
) -> c_int {
    let origin = (origin_addr, origin_count, origin_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    // SAFETY: this function's own conditions.
    unsafe { accumulating::<A>("MPI_Accumulate", (origin, None), target, op, win, None) }
}

pub unsafe fn MPI_Raccumulate<A: Abi>(
    origin_addr: *const c_void,
    origin_count: i64,
    origin_datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    target_count: i64,
    target_datatype: A::Handle,
    op: A::Handle,
    win: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let origin = (origin_addr, origin_count, origin_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    let name = "MPI_Raccumulate";
    // SAFETY: this function's own conditions.
    unsafe { accumulating::<A>(name, (origin, None), target, op, win, Some(request)) }
}

pub unsafe fn MPI_Get_accumulate<A: Abi>(
    origin_addr: *const c_void,
    origin_count: i64,
    origin_datatype: A::Handle,
    result_addr: *mut c_void,
    result_count: i64,
    result_datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    target_count: i64,
    target_datatype: A::Handle,
    op: A::Handle,
    win: A::Handle,
) -> c_int {
    let origin = (origin_addr, origin_count, origin_datatype);
    let result = (result_addr.cast_const(), result_count, result_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    let name = "MPI_Get_accumulate";
    // SAFETY: this function's own conditions.
    unsafe { accumulating::<A>(name, (origin, Some(result)), target, op, win, None) }
}

pub unsafe fn MPI_Rget_accumulate<A: Abi>(
    origin_addr: *const c_void,
    origin_count: i64,
    origin_datatype: A::Handle,
    result_addr: *mut c_void,
    result_count: i64,
    result_datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    target_count: i64,
    target_datatype: A::Handle,
    op: A::Handle,
    win: A::Handle,
    request: *mut A::Handle,
) -> c_int {
    let origin = (origin_addr, origin_count, origin_datatype);
    let result = (result_addr.cast_const(), result_count, result_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    let name = "MPI_Rget_accumulate";
    // SAFETY: this function's own conditions.
    unsafe { accumulating::<A>(name, (origin, Some(result)), target, op, win, Some(request)) }
}

pub unsafe fn MPI_Fetch_and_op<A: Abi>(
    origin_addr: *const c_void,
    result_addr: *mut c_void,
    datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    op: A::Handle,
    win: A::Handle,
) -> c_int {
    on_win::<A>("MPI_Fetch_and_op", win, |entry, win| {
        let ty = committed_type::<A>(entry, datatype)?;
        if !ty.is_predefined() {
            return error(class::TYPE, "MPI_Fetch_and_op needs a predefined datatype");
        }
        let op = accumulate_op::<A>(entry, op)?;
        let combine = Combine::new(op, ty)?;
        let fetched = out(result_addr.cast(), "result_addr")?;
        let fetched = ty.payload(fetched, 1);
        let origin = match op {
            // Nothing is looked at.
            Op::NoOp => Payload::EMPTY,
            _ => ty.payload(out(origin_addr.cast_mut().cast(), "origin_addr")?, 1),
        };
        let target = (target_rank, target_disp, 1, datatype);
        let Some(remote) = remote::<A>(entry, win, target)? else { return Ok(()) };
        let operands = (&origin, Some(&fetched));
        // SAFETY: the buffers are the user's promise; the target was checked.
        unsafe { access::accumulate(entry, win, operands, combine, &remote, None) }
    })
}

pub unsafe fn MPI_Compare_and_swap<A: Abi>(
    origin_addr: *const c_void,
    compare_addr: *const c_void,
    result_addr: *mut c_void,
    datatype: A::Handle,
    target_rank: c_int,
    target_disp: isize,
    win: A::Handle,
) -> c_int {
    on_win::<A>("MPI_Compare_and_swap", win, |entry, win| {
        let ty = committed_type::<A>(entry, datatype)?;
        let group = ty.basic().filter(|_| ty.is_predefined()).map(|basic| basic.group);
        let is_allowed = matches!(
            group,
            Some(
                Group::CInteger
                    | Group::FortranInteger
                    | Group::Logical
                    | Group::MultiLanguage
                    | Group::Byte
            )
        );
        if !is_allowed {
            let text = format!("MPI_Compare_and_swap is not defined for the datatype {ty:?}");
            return error(class::TYPE, text);
        }
        let target = (target_rank, target_disp, 1, datatype);
        let Some(remote) = remote::<A>(entry, win, target)? else { return Ok(()) };
        let element = |address: *const c_void, name| -> Result<&[u8]> {
            let address = out(address.cast_mut(), name)?.cast_const().cast();
            // SAFETY: not null; one element, says the user.
            Ok(unsafe { std::slice::from_raw_parts(address, remote.bytes) })
        };
        let new = element(origin_addr, "origin_addr")?;
        let expected = element(compare_addr, "compare_addr")?;
        let fetched = out(result_addr, "result_addr")?.cast();
        // SAFETY: the buffers are the user's promise; the target was checked.
        unsafe { access::swap(entry, win, (expected, new), fetched, &remote) }
    })
}

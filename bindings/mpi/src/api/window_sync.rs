// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Epochs of one-sided communication (MPI-5.0 section 12.5): fence, post and start, locks, flush.
//!
//! Loads and stores of shared memory are ordered by the fences here and by what the calls wait for.

use crate::abi::{Abi, Family};
use crate::agreement::Circle;
use crate::api::arguments::out;
use crate::api::group::group_of;
use crate::api::rma::target_rank;
use crate::entry::{Awaited, Entry, on_win};
use crate::error::{MpiError, Result, class, error};
use crate::object::request::finished;
use crate::object::window::{Win, WinRef};
use crate::rma::epoch::Held;
use crate::rma::origin;
use crate::rma::wire::Kind;
use crate::runtime::Runtime;
use std::ffi::c_int;
use strait_transport::envelope::{Envelope, Pattern};
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::sync::full_fence;
use strait_transport::worker::{SendMode, Sent, Waiter};

/// Canonical MPI_MODE_NOCHECK.
const NO_CHECK: c_int = 1024;
/// Canonical MPI_MODE_NOSUCCEED.
const NO_SUCCEED: c_int = 16384;
/// All of MPI_MODE_* that windows have.
const KNOWN: c_int = 1024 | 2048 | 4096 | 8192 | 16384;

/// Tags of the messages of MPI_Win_post and MPI_Win_complete, above those of replies.
const POST_TAG: u32 = 0x7000_0000;
const COMPLETE_TAG: u32 = 0x7000_0001;

/// Calls that found nothing to do before one of them makes progress: they may be all that a
/// program makes while it waits for what another rank stores.
const IDLE_CALLS: u32 = 32;

/// Stores of this process before, and loads after, in the order of the program for all others.
#[inline]
fn order() {
    // Pairs with the same fence of every other member; between them lie the messages or locks of
    // the call.
    full_fence();
}

/// The assertion, in canonical numbers.
fn assertion<A: Abi>(assert: c_int) -> Result<c_int> {
    let known = A::constant_in(Family::WinAssert, assert);
    match known & !KNOWN {
        0 => Ok(known),
        _ => error(class::ASSERT, format!("{assert} is no sum of MPI_MODE_*")),
    }
}

/// A call that may be one of many in a loop: others get their turn.
#[inline]
fn idle(entry: &mut Entry, win: &Win) {
    let calls = win.idle_calls.get() + 1;
    win.idle_calls.set(calls % IDLE_CALLS);
    if calls == IDLE_CALLS {
        entry.progress();
        if !Waiter::new().is_spinning() {
            entry.outside(std::thread::yield_now);
        }
    }
}

pub unsafe fn MPI_Win_fence<A: Abi>(assert: c_int, win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_fence", win, |entry, win| {
        let assert = assertion::<A>(assert)?;
        win.epochs.borrow().check_closed()?;
        // What failed here is told after the others were met.
        let flushed = origin::flush(entry, win, None);
        order();
        Circle::of_comm(&win.comm).barrier(entry)?;
        order();
        win.epochs.borrow_mut().fence = assert & NO_SUCCEED == 0;
        flushed
    })
}

/// The window's ranks of a group.
fn ranks<A: Abi>(entry: &Entry, win: &Win, group: A::Handle) -> Result<Vec<u32>> {
    let group = group_of::<A>(entry, group)?;
    let known = win.comm.group.ranks();
    let rank = |peer| match known.get(&peer) {
        Some(rank) => Ok(*rank),
        None => {
            error(class::GROUP, format!("the group has a rank that {} has not", win.describe()))
        }
    };
    group.members.iter().map(rank).collect()
}

/// Sends a message that carries nothing but its tag.
fn tell(entry: &mut Entry, win: &Win, to: u32, tag: u32) {
    let envelope = Envelope { context: win.reply_context(), source: win.comm.rank, tag };
    let peer = win.peer(to);
    // SAFETY: there is no memory to be kept.
    let sent = unsafe { entry.worker.send(peer, envelope, Payload::EMPTY, SendMode::Standard) };
    if let Sent::Pending(id) = sent {
        entry.worker.detach(id);
    }
}

/// Awaits such a message.
fn hear(entry: &mut Entry, win: &Win, from: u32, tag: u32) -> RequestId {
    let pattern = Pattern { context: win.reply_context(), source: from, tag };
    let peer = win.peer(from);
    // SAFETY: there is no memory to be written.
    unsafe { entry.worker.receive(Some(peer), pattern, Payload::EMPTY) }
}

/// Waits for such messages; the first failure.
fn await_all(entry: &mut Entry, ids: Vec<RequestId>) -> Result {
    let mut result = Ok(());
    for id in ids {
        entry.wait_until(|runtime| runtime.worker.is_complete(id));
        let completion = entry.worker.take(id).expect("a complete request");
        if let Some(error) = finished(completion, true).error {
            result = result.and(Err(error));
        }
    }
    result
}

pub unsafe fn MPI_Win_post<A: Abi>(group: A::Handle, assert: c_int, win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_post", win, |entry, win| {
        let assert = assertion::<A>(assert)?;
        if win.epochs.borrow().exposed.is_some() {
            return error(class::RMA_SYNC, "an epoch of MPI_Win_post is open already");
        }
        let origins = ranks::<A>(entry, win, group)?;
        order();
        let mut awaited = Vec::with_capacity(origins.len());
        for origin in origins {
            awaited.push(hear(entry, win, origin, COMPLETE_TAG));
            if assert & NO_CHECK == 0 {
                tell(entry, win, origin, POST_TAG);
            }
        }
        win.epochs.borrow_mut().exposed = Some(awaited);
        entry.let_messages_leave()
    })
}

pub unsafe fn MPI_Win_start<A: Abi>(group: A::Handle, assert: c_int, win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_start", win, |entry, win| {
        let assert = assertion::<A>(assert)?;
        win.epochs.borrow().check_start()?;
        let targets = ranks::<A>(entry, win, group)?;
        if assert & NO_CHECK == 0 {
            let posts = targets.iter().map(|target| hear(entry, win, *target, POST_TAG)).collect();
            await_all(entry, posts)?;
        }
        order();
        let mut epochs = win.epochs.borrow_mut();
        epochs.started = Some(targets);
        epochs.fence = false;
        Ok(())
    })
}

pub unsafe fn MPI_Win_complete<A: Abi>(win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_complete", win, |entry, win| {
        let Some(targets) = win.epochs.borrow_mut().started.take() else {
            return error(class::RMA_SYNC, "no epoch of MPI_Win_start is open");
        };
        let flushed = origin::flush(entry, win, None);
        order();
        for target in targets {
            tell(entry, win, target, COMPLETE_TAG);
        }
        flushed.and(entry.let_messages_leave())
    })
}

pub unsafe fn MPI_Win_wait<A: Abi>(win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_wait", win, |entry, win| {
        let Some(awaited) = win.epochs.borrow_mut().exposed.take() else {
            return error(class::RMA_SYNC, "no epoch of MPI_Win_post is open");
        };
        let result = await_all(entry, awaited);
        order();
        result
    })
}

pub unsafe fn MPI_Win_test<A: Abi>(win: A::Handle, flag: *mut c_int) -> c_int {
    on_win::<A>("MPI_Win_test", win, |entry, win| {
        let flag = out(flag, "flag")?;
        entry.progress();
        let is_over = match &win.epochs.borrow().exposed {
            None => return error(class::RMA_SYNC, "no epoch of MPI_Win_post is open"),
            Some(awaited) => awaited.iter().all(|id| entry.worker.is_complete(*id)),
        };
        // SAFETY: writable, says the caller.
        unsafe { *flag = is_over.into() };
        if !is_over {
            return Ok(());
        }
        let awaited = win.epochs.borrow_mut().exposed.take();
        let result = await_all(entry, awaited.unwrap_or_default());
        order();
        result
    })
}

/// A wait for a lock word of this host.
struct LockWait<'a> {
    win: &'a Win,
    place: usize,
    alone: bool,
    failure: Option<Box<MpiError>>,
}

impl Awaited for LockWait<'_> {
    fn is_done(&mut self, runtime: &mut Runtime) -> bool {
        if self.win.control.try_lock(self.place, self.alone) {
            return true;
        }
        // The holder may be gone.
        let lost = runtime.worker.loss_among(self.win.comm.group.members.iter());
        self.failure = lost.map(Into::into);
        self.failure.is_some()
    }

    fn announce_sleep(&mut self) {
        self.win.control.fall_asleep();
    }

    fn withdraw_sleep(&mut self) {
        self.win.control.wake_up();
    }
}

/// Takes the locks of targets.
fn lock(entry: &mut Entry, win: &Win, targets: &[u32], alone: bool) -> Result {
    let mut far = Vec::new();
    for (index, &target) in targets.iter().enumerate() {
        let Some(place) = win.place(target) else {
            far.push(target);
            continue;
        };
        if win.control.try_lock(place, alone) {
            continue;
        }
        let mut wait = LockWait { win, place, alone, failure: None };
        entry.wait_long(&mut wait);
        if let Some(error) = wait.failure {
            for had in targets[..index].iter().filter_map(|target| win.place(*target)) {
                win.control.unlock(had, alone);
            }
            return Err(error);
        }
    }
    if !far.is_empty() {
        origin::ask(entry, win, &far, Kind::Lock, alone)?;
    }
    Ok(())
}

/// Completes accesses to targets and lets their locks go.
fn unlock(entry: &mut Entry, win: &Win, targets: &[u32], alone: bool) -> Result {
    // Near targets may have been reached by messages, too, whose end the lock must await.
    let mut result = Ok(());
    let (near, far): (Vec<u32>, Vec<u32>) =
        targets.iter().partition(|target| win.place(**target).is_some());
    if win.is_origin.get() {
        for target in &near {
            result = result.and(origin::flush(entry, win, Some(*target)));
        }
    }
    if !far.is_empty() {
        result = result.and(origin::ask(entry, win, &far, Kind::Unlock, alone));
    }
    for place in near.iter().filter_map(|target| win.place(*target)) {
        win.control.unlock(place, alone);
    }
    // Others may wait for our own lock, which we give them.
    if win.target.borrow().has_waiting() {
        entry.progress();
    }
    idle(entry, win);
    result
}

pub unsafe fn MPI_Win_lock<A: Abi>(
    lock_type: c_int,
    rank: c_int,
    assert: c_int,
    win: A::Handle,
) -> c_int {
    on_win::<A>("MPI_Win_lock", win, |entry, win| {
        let alone = match A::constant_in(Family::LockType, lock_type) {
            301 => true,
            302 => false,
            _ => {
                let text = format!("{lock_type} is neither MPI_LOCK_EXCLUSIVE nor MPI_LOCK_SHARED");
                return error(class::LOCKTYPE, text);
            }
        };
        let assert = assertion::<A>(assert)?;
        let Some(target) = target_rank::<A>(win, rank)? else { return Ok(()) };
        win.epochs.borrow().check_lock(Some(target))?;
        let held = match (assert & NO_CHECK, alone) {
            (0, true) => Held::Alone,
            (0, false) => Held::Shared,
            _ => Held::Unchecked,
        };
        if held != Held::Unchecked {
            lock(entry, win, &[target], alone)?;
        }
        order();
        let mut epochs = win.epochs.borrow_mut();
        epochs.locked.push((target, held));
        epochs.fence = false;
        Ok(())
    })
}

pub unsafe fn MPI_Win_unlock<A: Abi>(rank: c_int, win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_unlock", win, |entry, win| {
        let Some(target) = target_rank::<A>(win, rank)? else { return Ok(()) };
        let Some(held) = win.epochs.borrow().held(target) else {
            return error(class::RMA_SYNC, format!("rank {target} is not locked by this process"));
        };
        order();
        win.epochs.borrow_mut().locked.retain(|(rank, _)| *rank != target);
        match held {
            Held::Unchecked => origin::flush(entry, win, Some(target)),
            held => unlock(entry, win, &[target], held == Held::Alone),
        }
    })
}

pub unsafe fn MPI_Win_lock_all<A: Abi>(assert: c_int, win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_lock_all", win, |entry, win| {
        let assert = assertion::<A>(assert)?;
        win.epochs.borrow().check_lock(None)?;
        let is_checked = assert & NO_CHECK == 0;
        if is_checked {
            let all: Vec<u32> = (0..win.regions.len() as u32).collect();
            lock(entry, win, &all, false)?;
        }
        order();
        let mut epochs = win.epochs.borrow_mut();
        epochs.all = Some(if is_checked { Held::Shared } else { Held::Unchecked });
        epochs.fence = false;
        Ok(())
    })
}

pub unsafe fn MPI_Win_unlock_all<A: Abi>(win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_unlock_all", win, |entry, win| {
        let Some(held) = win.epochs.borrow_mut().all.take() else {
            return error(class::RMA_SYNC, "MPI_Win_lock_all was not called");
        };
        order();
        if held == Held::Unchecked {
            return origin::flush(entry, win, None);
        }
        let all: Vec<u32> = (0..win.regions.len() as u32).collect();
        unlock(entry, win, &all, false)
    })
}

/// The four flushes: of a target or of all, at the target or only here.
fn flush<A: Abi>(
    name: &'static str,
    win: A::Handle,
    rank: Option<c_int>,
    complete: fn(&mut Entry, &Win, Option<u32>) -> Result,
) -> c_int {
    on_win::<A>(name, win, |entry, win: &WinRef| {
        let target = match rank {
            None => {
                win.epochs.borrow().check_any_passive()?;
                None
            }
            Some(rank) => {
                let Some(target) = target_rank::<A>(win, rank)? else { return Ok(()) };
                win.epochs.borrow().check_passive(target)?;
                Some(target)
            }
        };
        let result = complete(entry, win, target);
        order();
        idle(entry, win);
        result
    })
}

pub unsafe fn MPI_Win_flush<A: Abi>(rank: c_int, win: A::Handle) -> c_int {
    flush::<A>("MPI_Win_flush", win, Some(rank), origin::flush)
}

pub unsafe fn MPI_Win_flush_all<A: Abi>(win: A::Handle) -> c_int {
    flush::<A>("MPI_Win_flush_all", win, None, origin::flush)
}

pub unsafe fn MPI_Win_flush_local<A: Abi>(rank: c_int, win: A::Handle) -> c_int {
    flush::<A>("MPI_Win_flush_local", win, Some(rank), origin::await_replies)
}

pub unsafe fn MPI_Win_flush_local_all<A: Abi>(win: A::Handle) -> c_int {
    flush::<A>("MPI_Win_flush_local_all", win, None, origin::await_replies)
}

pub unsafe fn MPI_Win_sync<A: Abi>(win: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_sync", win, |entry, win| {
        order();
        idle(entry, win);
        Ok(())
    })
}

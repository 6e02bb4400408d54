// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fault tolerance: MPIX_Comm_revoke, shrink, agree and their like (docs/fault-tolerance.md).
//!
//! Agreements work on revoked communicators, and whoever dies meanwhile: they go by messages of
//! their own (`crate::fault`).

use crate::abi::{Abi, HandleKind, Status};
use crate::api::arguments::{handle, out};
use crate::api::communicator::{give_comm, give_group, local_context};
use crate::collective::{group, my_rank};
use crate::entry::{Entry, on_comm};
use crate::error::{Result, class, error};
use crate::fault::wire::{Members, Verdict};
use crate::fault::{AgreementId, class_of_loss};
use crate::object::comm::{Comm, CommRef};
use crate::object::group::Group;
use crate::object::request::{Finished, Request, Work};
use std::ffi::c_int;
use strait_transport::envelope::Peer;
use strait_transport::error::IS_LOST;

pub unsafe fn MPIX_Comm_revoke<A: Abi>(comm: A::Handle) -> c_int {
    on_comm::<A>("MPIX_Comm_revoke", comm, |entry, comm| {
        entry.revoke(comm);
        // Threads of this process that wait in a call of this communicator.
        entry.sleeper.wake_all();
        entry.let_messages_leave()
    })
}

pub unsafe fn MPIX_Comm_is_revoked<A: Abi>(comm: A::Handle, flag: *mut c_int) -> c_int {
    on_comm::<A>("MPIX_Comm_is_revoked", comm, |entry, comm| {
        entry.progress();
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(flag, "flag")? = c_int::from(comm.is_revoked()) };
        Ok(())
    })
}

/// The members that are known to be lost, the first `limit` of them.
fn failed_group(entry: &mut Entry, comm: &Comm, limit: usize) -> Group {
    entry.lost();
    let failed: Vec<Peer> = entry.failed_in(comm).take(limit).collect();
    let me = entry.me();
    Group::new(failed, me)
}

pub unsafe fn MPIX_Comm_get_failed<A: Abi>(comm: A::Handle, failedgrp: *mut A::Handle) -> c_int {
    on_comm::<A>("MPIX_Comm_get_failed", comm, |entry, comm| {
        entry.progress();
        let failed = failed_group(entry, comm, usize::MAX);
        // SAFETY: this function's own conditions.
        unsafe { give_group::<A>(entry, failed, failedgrp) }
    })
}

pub unsafe fn MPIX_Comm_ack_failed<A: Abi>(
    comm: A::Handle,
    num_to_ack: c_int,
    num_acked: *mut c_int,
) -> c_int {
    on_comm::<A>("MPIX_Comm_ack_failed", comm, |entry, comm| {
        if num_to_ack < 0 {
            return error(class::ARG, format!("num_to_ack is {num_to_ack}, which is negative"));
        }
        entry.lost();
        let known = entry.failed_in(comm).count();
        let wanted = (num_to_ack as usize).min(known);
        comm.acknowledged.set(comm.acknowledged.get().max(wanted));
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(num_acked, "num_acked")? = comm.acknowledged.get() as c_int };
        Ok(())
    })
}

pub unsafe fn MPIX_Comm_failure_ack<A: Abi>(comm: A::Handle) -> c_int {
    on_comm::<A>("MPIX_Comm_failure_ack", comm, |entry, comm| {
        entry.progress();
        entry.lost();
        comm.acknowledged.set(entry.failed_in(comm).count());
        Ok(())
    })
}

pub unsafe fn MPIX_Comm_failure_get_acked<A: Abi>(
    comm: A::Handle,
    failedgrp: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPIX_Comm_failure_get_acked", comm, |entry, comm| {
        let failed = failed_group(entry, comm, comm.acknowledged.get());
        // SAFETY: this function's own conditions.
        unsafe { give_group::<A>(entry, failed, failedgrp) }
    })
}

/// Which of the two groups of a communicator this process is in.
fn own_side(comm: &Comm) -> usize {
    usize::from(comm.is_inter() && !comm.local_first)
}

/// What this process brings to an agreement.
///
/// # Errors
/// Some members are of another job: nobody tells all of them who of the others is lost, so an
/// agreement might never end.
fn contribution(entry: &mut Entry, comm: &Comm, flag: u32, context: u32) -> Result<Verdict> {
    let all = group(comm).peers;
    if all.iter().any(|peer| entry.is_outsider(peer)) {
        let text = format!(
            "{}: {} has members of several jobs; agreements are implemented within one job",
            entry.name,
            comm.describe()
        );
        return error(class::UNSUPPORTED_OPERATION, text);
    }
    let mut flags = [!0; 2];
    flags[own_side(comm)] = flag;
    let none = Members::none(all.len());
    let mut own = Verdict { flags, context, failed: none.clone(), acknowledged: none };
    entry.lost();
    for (place, peer) in entry.failed_in(comm).enumerate() {
        let Some(member) = all.position(peer) else { continue };
        own.failed.insert(member as u32);
        if place < comm.acknowledged.get() {
            own.acknowledged.insert(member as u32);
        }
    }
    Ok(own)
}

/// Takes part in the next agreement of the communicator.
fn start(entry: &mut Entry, comm: &Comm, own: Verdict) -> AgreementId {
    let mut id = None;
    entry.wait_until(|runtime| {
        id = id.or_else(|| runtime.start_agreement(comm, own.clone()));
        id.is_some()
    });
    id.expect("it was waited for")
}

fn decide(entry: &mut Entry, comm: &Comm, own: Verdict) -> Result<Verdict> {
    let id = start(entry, comm, own);
    entry.wait_until(|runtime| {
        runtime.look_for_ends();
        runtime.is_decided(id)
    });
    let verdict = entry.take_decision(id).expect("it is decided");
    entry.let_messages_leave()?;
    accept(entry, comm, verdict)
}

/// The others may have taken this process for lost: then it is, or they and it would go on
/// differently.
fn accept(entry: &mut Entry, comm: &Comm, verdict: Verdict) -> Result<Verdict> {
    if verdict.failed.contains(my_rank(comm)) {
        let text = format!(
            "error[S0110]: rank {} ends itself in {}: the others of {} take it for lost (its \
             connection to one of them broke)",
            entry.job.world_rank,
            entry.name,
            comm.describe()
        );
        crate::entry::die(entry, 1, &text);
    }
    Ok(verdict)
}

/// The value of an agreement: of an intercommunicator that of the remote group.
fn agreed(comm: &Comm, verdict: &Verdict, flag: *mut c_int) -> Result {
    let side = if comm.is_inter() { 1 - own_side(comm) } else { 0 };
    // SAFETY: the caller of MPIX_Comm_agree says that it is writable (of iagree: until the request
    // is complete); it was checked not to be null.
    unsafe { *flag = verdict.flags[side] as c_int };
    if verdict.failed.are_in(&verdict.acknowledged) {
        return Ok(());
    }
    let all = group(comm).peers;
    let is_new =
        |member: &u32| verdict.failed.contains(*member) && !verdict.acknowledged.contains(*member);
    let member = (0..all.len() as u32).find(is_new).unwrap_or(0);
    error(
        class_of_loss(),
        format!(
            "peer {}{IS_LOST}not all members of {} had acknowledged it",
            all.at(member as usize),
            comm.describe()
        ),
    )
}

pub unsafe fn MPIX_Comm_agree<A: Abi>(comm: A::Handle, flag: *mut c_int) -> c_int {
    on_comm::<A>("MPIX_Comm_agree", comm, |entry, comm| {
        let flag = out(flag, "flag")?;
        // SAFETY: checked not to be null; readable, says the caller.
        let own = contribution(entry, comm, unsafe { *flag } as u32, 0)?;
        let verdict = decide(entry, comm, own)?;
        agreed(comm, &verdict, flag)
    })
}

/// The communicator of those who are left.
fn shrunk(entry: &Entry, comm: &Comm, verdict: &Verdict) -> Comm {
    let me = entry.me();
    let all = group(comm).peers;
    let is_left = |peer: &Peer| {
        all.position(*peer).is_some_and(|member| !verdict.failed.contains(member as u32))
    };
    let rest =
        |group: &Group| Group::new(group.members.iter().filter(is_left).collect::<Vec<_>>(), me);
    let handler = comm.errhandler.borrow().clone();
    let remote = comm.remote.as_ref().map(rest);
    let mut new = Comm::new(verdict.context, rest(&comm.group), remote, handler);
    new.local_first = comm.local_first;
    new.local_context = local_context(verdict.context, comm.local_first);
    new
}

pub unsafe fn MPIX_Comm_shrink<A: Abi>(comm: A::Handle, newcomm: *mut A::Handle) -> c_int {
    on_comm::<A>("MPIX_Comm_shrink", comm, |entry, comm| {
        out(newcomm, "newcomm")?;
        let context = entry.propose_context()?;
        let own = contribution(entry, comm, !0, context)?;
        let verdict = decide(entry, comm, own)?;
        let new = shrunk(entry, comm, &verdict);
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, Some(new), newcomm)? };
        Ok(())
    })
}

/// What is done with a decision.
type Conclusion = Box<dyn FnOnce(&mut Entry, &Comm, &Verdict) -> Result>;

/// An agreement behind a request.
struct Agreeing {
    comm: CommRef,
    id: AgreementId,
    conclude: Option<Conclusion>,
}

impl Work for Agreeing {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        entry.look_for_ends();
        let verdict = entry.take_decision(self.id)?;
        let conclude = self.conclude.take().expect("it is decided once");
        let ended = accept(entry, &self.comm, verdict)
            .and_then(|verdict| conclude(entry, &self.comm, &verdict));
        Some(Finished { status: Status::EMPTY, error: ended.err() })
    }

    fn comm(&self) -> Option<CommRef> {
        Some(self.comm.clone())
    }
}

/// Takes part in an agreement, and leaves the rest to a request.
unsafe fn begin<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    own: Verdict,
    conclude: Conclusion,
    request: *mut A::Handle,
) -> Result {
    let id = start(entry, comm, own);
    let mut work = Agreeing { comm: comm.clone(), id, conclude: Some(conclude) };
    let active = match work.advance(entry) {
        Some(finished) => Request::ended(&work, finished),
        None => Request::Work(Box::new(work)),
    };
    let is_active = matches!(active, Request::Work(_));
    let code = entry.requests.insert(active);
    entry.active.extend(code.filter(|_| is_active));
    // SAFETY: checked not to be null by the caller; writable, says the program.
    unsafe { *request = handle::<A>(HandleKind::Request, code)? };
    Ok(())
}

pub unsafe fn MPIX_Comm_iagree<A: Abi>(
    comm: A::Handle,
    flag: *mut c_int,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPIX_Comm_iagree", comm, |entry, comm| {
        let (flag, request) = (out(flag, "flag")?, out(request, "request")?);
        // SAFETY: checked not to be null; readable, says the caller.
        let own = contribution(entry, comm, unsafe { *flag } as u32, 0)?;
        let conclude: Conclusion = Box::new(move |_, comm, verdict| agreed(comm, verdict, flag));
        // SAFETY: this function's own conditions.
        unsafe { begin::<A>(entry, comm, own, conclude, request) }
    })
}

pub unsafe fn MPIX_Comm_ishrink<A: Abi>(
    comm: A::Handle,
    newcomm: *mut A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPIX_Comm_ishrink", comm, |entry, comm| {
        let (newcomm, request) = (out(newcomm, "newcomm")?, out(request, "request")?);
        let context = entry.propose_context()?;
        let own = contribution(entry, comm, !0, context)?;
        let conclude: Conclusion = Box::new(move |entry, comm, verdict| {
            let new = shrunk(entry, comm, verdict);
            // SAFETY: writable until the request is complete, says the caller.
            unsafe { give_comm::<A>(entry, Some(new), newcomm).map(drop) }
        });
        // SAFETY: this function's own conditions.
        unsafe { begin::<A>(entry, comm, own, conclude, request) }
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Communicators: making, freeing, naming, comparing (MPI-5.0 sections 7.4 and 7.8).

use crate::abi::{Abi, Family, HandleKind};
use crate::agreement::{Circle, USER_TAG_BASE};
use crate::api::arguments::{handle, out, put_string, string};
use crate::api::attribute::{copy_all, delete_all};
use crate::entry::{Entry, on_comm, on_process};
use crate::error::{Result, class, error, make};
use crate::handle::REQUEST_DONE;
use crate::object::comm::{
    ALGORITHM_HINT, COMM_NULL, COMM_SELF, COMM_WORLD, Comm, CommRef, HOSTS_HINT,
};
use crate::object::group::{Comparison, Group};
use crate::object::info::InfoData;
use crate::object::request::{Finished, Request, Work};
use crate::universe::{agree_outside, random_context};
use std::ffi::{c_char, c_int};
use std::rc::Rc;
use strait_collectives::select::Named;
use strait_transport::request::RequestId;

pub unsafe fn MPI_Comm_size<A: Abi>(comm: A::Handle, size: *mut c_int) -> c_int {
    on_comm::<A>("MPI_Comm_size", comm, |_, comm| {
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(size, "size")? = comm.group.size() as c_int };
        Ok(())
    })
}

pub unsafe fn MPI_Comm_rank<A: Abi>(comm: A::Handle, rank: *mut c_int) -> c_int {
    on_comm::<A>("MPI_Comm_rank", comm, |_, comm| {
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(rank, "rank")? = comm.rank as c_int };
        Ok(())
    })
}

pub unsafe fn MPI_Comm_test_inter<A: Abi>(comm: A::Handle, flag: *mut c_int) -> c_int {
    on_comm::<A>("MPI_Comm_test_inter", comm, |_, comm| {
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(flag, "flag")? = c_int::from(comm.is_inter()) };
        Ok(())
    })
}

/// Puts a group behind a handle.
pub(crate) unsafe fn give_group<A: Abi>(
    entry: &mut Entry,
    group: Group,
    newgroup: *mut A::Handle,
) -> Result {
    let code = match group.size() {
        0 => Some(crate::api::group::GROUP_EMPTY),
        _ => entry.groups.insert(group),
    };
    // SAFETY: checked not to be null; writable, says the caller.
    unsafe { *out(newgroup, "newgroup")? = handle::<A>(HandleKind::Group, code)? };
    Ok(())
}

pub unsafe fn MPI_Comm_group<A: Abi>(comm: A::Handle, group: *mut A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_group", comm, |entry, comm| {
        // SAFETY: this function's own conditions.
        unsafe { give_group::<A>(entry, comm.group.clone(), group) }
    })
}

pub unsafe fn MPI_Comm_remote_group<A: Abi>(comm: A::Handle, group: *mut A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_remote_group", comm, |entry, comm| match &comm.remote {
        // SAFETY: this function's own conditions.
        Some(remote) => unsafe { give_group::<A>(entry, remote.clone(), group) },
        None => not_inter(comm),
    })
}

pub(crate) fn not_inter<T>(comm: &Comm) -> Result<T> {
    error(class::COMM, format!("{} is not an intercommunicator", comm.describe()))
}

pub unsafe fn MPI_Comm_remote_size<A: Abi>(comm: A::Handle, size: *mut c_int) -> c_int {
    on_comm::<A>("MPI_Comm_remote_size", comm, |_, comm| match &comm.remote {
        Some(remote) => {
            // SAFETY: checked not to be null; writable, says the caller.
            unsafe { *out(size, "size")? = remote.size() as c_int };
            Ok(())
        }
        None => not_inter(comm),
    })
}

pub unsafe fn MPI_Comm_compare<A: Abi>(
    comm1: A::Handle,
    comm2: A::Handle,
    result: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Comm_compare", comm1, |entry, one| {
        let code = A::handle_in(HandleKind::Comm, comm2);
        let Some(two) = entry.comm(code) else {
            return error(class::COMM, format!("{code:#x} is not a communicator"));
        };
        let groups = one.group.compare(&two.group);
        let found = match (&one.remote, &two.remote) {
            _ if one.code.get() == two.code.get() => Comparison::Ident,
            (None, None) => congruent(groups),
            (Some(a), Some(b)) => {
                let worst = (groups as i32).max(a.compare(b) as i32);
                match worst {
                    w if w == Comparison::Ident as i32 => Comparison::Congruent,
                    w if w == Comparison::Similar as i32 => Comparison::Similar,
                    _ => Comparison::Unequal,
                }
            }
            _ => Comparison::Unequal,
        };
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(result, "result")? = A::constant_out(Family::Comparison, found as i32) };
        Ok(())
    })
}

fn congruent(groups: Comparison) -> Comparison {
    if groups == Comparison::Ident { Comparison::Congruent } else { groups }
}

/// Gives a new communicator a handle; messages about failures can name it from now on.
pub(crate) fn enter(entry: &mut Entry, comm: Comm) -> Result<CommRef> {
    let comm = Rc::new(comm);
    let Some(code) = entry.comms.insert(comm.clone()) else {
        return error(class::OTHER, "no communicator handle is left: free some");
    };
    comm.code.set(code);
    entry.register_comm(&comm);
    Ok(comm)
}

/// Registers a new communicator and writes its handle.
pub(crate) unsafe fn give_comm<A: Abi>(
    entry: &mut Entry,
    comm: Option<Comm>,
    newcomm: *mut A::Handle,
) -> Result<Option<CommRef>> {
    let (code, comm) = match comm {
        None => (COMM_NULL, None),
        Some(comm) => {
            let comm = enter(entry, comm)?;
            (comm.code.get(), Some(comm))
        }
    };
    // SAFETY: checked not to be null; writable, says the caller.
    unsafe { *out(newcomm, "newcomm")? = A::handle_out(HandleKind::Comm, code) };
    Ok(comm)
}

/// A copy of `comm` on another context: groups and topology, without what users hung on it.
pub(crate) fn same_groups(comm: &Comm, context: u32) -> Comm {
    let handler = comm.errhandler.borrow().clone();
    let mut copy = Comm::new(context, comm.group.clone(), comm.remote.clone(), handler);
    copy.local_first = comm.local_first;
    copy.local_context = local_context(context, comm.local_first);
    copy.topology.replace(comm.topology.borrow().clone());
    copy
}

/// The private contexts of the two local groups of an intercommunicator.
pub(crate) fn local_context(context: u32, local_first: bool) -> u32 {
    context + 2 + u32::from(!local_first)
}

/// The context that the first member proposes.
pub(crate) fn agree(entry: &mut Entry, circle: &Circle) -> Result<u32> {
    if entry.has_outsiders(&circle.members) {
        return agree_outside(entry, circle);
    }
    let mut bytes = [0; 4];
    if circle.me == 0 {
        bytes = entry.propose_context()?.to_le_bytes();
    }
    circle.bcast(entry, 0, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

unsafe fn duplicate<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    info: InfoData,
    newcomm: *mut A::Handle,
) -> Result {
    let context = agree(entry, &Circle::of_comm(comm))?;
    let copy = same_groups(comm, context);
    *copy.info.borrow_mut() = info;
    copy_all::<A>(entry, HandleKind::Comm, comm.code.get(), &comm.attributes, &copy.attributes)?;
    // SAFETY: this function's own conditions.
    unsafe { give_comm::<A>(entry, Some(copy), newcomm)? };
    Ok(())
}

pub unsafe fn MPI_Comm_dup<A: Abi>(comm: A::Handle, newcomm: *mut A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_dup", comm, |entry, comm| {
        let info = comm.info.borrow().clone();
        // SAFETY: this function's own conditions.
        unsafe { duplicate::<A>(entry, comm, info, newcomm) }
    })
}

/// The hints of an info handle; MPI_INFO_NULL has none.
pub(crate) fn info_of<A: Abi>(entry: &Entry, info: A::Handle) -> Result<InfoData> {
    const INFO_NULL: u32 = 0x130;
    let code = A::handle_in(HandleKind::Info, info);
    match (code, entry.infos.get(code)) {
        (INFO_NULL, _) => Ok(InfoData::default()),
        (_, Some(info)) => Ok(info.clone()),
        _ => error(class::INFO, format!("{code:#x} is not an info object")),
    }
}

pub unsafe fn MPI_Comm_dup_with_info<A: Abi>(
    comm: A::Handle,
    info: A::Handle,
    newcomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_dup_with_info", comm, |entry, comm| {
        let info = info_of::<A>(entry, info)?;
        // SAFETY: this function's own conditions.
        unsafe { duplicate::<A>(entry, comm, info, newcomm) }
    })
}

/// An immediate dup: the first member sends the context, the others wait for it.
struct Duplication<A: Abi> {
    comm: CommRef,
    circle: Circle,
    requests: Vec<RequestId>,
    context: Box<[u8; 4]>,
    copy: Option<(Comm, *mut A::Handle)>,
}

impl<A: Abi> Work for Duplication<A> {
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished> {
        if !self.requests.iter().all(|&id| entry.worker.is_complete(id)) {
            return None;
        }
        let ended = self.circle.finish(entry, &std::mem::take(&mut self.requests));
        let (mut copy, newcomm) = self.copy.take().expect("advances once to its end");
        let made = ended.and_then(|()| {
            copy.context = u32::from_le_bytes(*self.context);
            copy.local_context = local_context(copy.context, copy.local_first);
            // SAFETY: `newcomm` is writable until the request is complete, says the caller.
            unsafe { give_comm::<A>(entry, Some(copy), newcomm) }
        });
        Some(Finished { error: made.err(), ..Finished::EMPTY })
    }

    fn comm(&self) -> Option<CommRef> {
        Some(self.comm.clone())
    }
}

unsafe fn start_dup<A: Abi>(
    entry: &mut Entry,
    comm: &CommRef,
    info: InfoData,
    newcomm: *mut A::Handle,
    request: *mut A::Handle,
) -> Result {
    let circle = Circle::of_comm(comm);
    let copy = same_groups(comm, 0);
    *copy.info.borrow_mut() = info;
    copy_all::<A>(entry, HandleKind::Comm, comm.code.get(), &comm.attributes, &copy.attributes)?;
    let mut context = Box::new([0; 4]);
    let mut requests = Vec::new();
    if circle.me == 0 {
        // One that is agreed would have to wait. A random one is in use with some member once in
        // 2^29 by the number of communicators there.
        let proposal = match entry.has_outsiders(&circle.members) {
            true => random_context()?,
            false => entry.propose_context()?,
        };
        *context = proposal.to_le_bytes();
        for to in 1..circle.members.len() {
            requests.extend(circle.post_send(entry, to, &*context));
        }
    } else {
        requests.push(circle.post_receive(entry, 0, &mut *context));
    }
    let mut work = Duplication::<A> {
        comm: comm.clone(),
        circle,
        requests,
        context,
        copy: Some((copy, newcomm)),
    };
    let code = match work.advance(entry) {
        Some(Finished { error: Some(error), .. }) => return Err(error),
        Some(_) => Some(REQUEST_DONE),
        None => {
            let code = entry.requests.insert(Request::Work(Box::new(work)));
            entry.active.extend(code);
            code
        }
    };
    // SAFETY: checked not to be null; writable, says the caller.
    unsafe { *out(request, "request")? = handle::<A>(HandleKind::Request, code)? };
    Ok(())
}

pub unsafe fn MPI_Comm_idup<A: Abi>(
    comm: A::Handle,
    newcomm: *mut A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_idup", comm, |entry, comm| {
        let info = comm.info.borrow().clone();
        // SAFETY: this function's own conditions.
        unsafe { start_dup::<A>(entry, comm, info, newcomm, request) }
    })
}

pub unsafe fn MPI_Comm_idup_with_info<A: Abi>(
    comm: A::Handle,
    info: A::Handle,
    newcomm: *mut A::Handle,
    request: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_idup_with_info", comm, |entry, comm| {
        let info = info_of::<A>(entry, info)?;
        // SAFETY: this function's own conditions.
        unsafe { start_dup::<A>(entry, comm, info, newcomm, request) }
    })
}

pub unsafe fn MPI_Comm_create_group<A: Abi>(
    comm: A::Handle,
    group: A::Handle,
    tag: c_int,
    newcomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_create_group", comm, |entry, comm| {
        if comm.is_inter() {
            return error(class::COMM, "MPI_Comm_create_group needs an intracommunicator");
        }
        let tag = crate::api::arguments::send_tag::<A>(tag)?;
        let group = crate::api::group::group_of::<A>(entry, group)?;
        let members = comm.group.ranks();
        if group.members.iter().any(|p| !members.contains_key(&p)) {
            return error(class::GROUP, "the group has members that are not in the communicator");
        }
        let new = match group.rank {
            None => None,
            Some(rank) => {
                let context = comm.collective_context();
                let tag = user_tag(tag);
                let peers = group.members.to_vec();
                let circle = Circle::new(peers, rank as usize, context, tag);
                let context = agree(entry, &circle)?;
                let handler = comm.errhandler.borrow().clone();
                let group = group.derived_from(&comm.group);
                Some(Comm::new(context, group, None, handler))
            }
        };
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, newcomm)? };
        Ok(())
    })
}

/// A tag in the collective context that a user's tag names. Two user tags that differ only in bit
/// 30 share one, which matters only if both are in use at once between the same processes.
pub(crate) fn user_tag(tag: u32) -> u32 {
    USER_TAG_BASE | (tag & (USER_TAG_BASE - 1))
}

unsafe fn free<A: Abi>(entry: &mut Entry, comm: &CommRef, handle: *mut A::Handle) -> Result {
    if matches!(comm.code.get(), COMM_WORLD | COMM_SELF) {
        return error(class::COMM, format!("{} cannot be freed", comm.describe()));
    }
    delete_all::<A>(entry, HandleKind::Comm, comm.code.get(), &comm.attributes)?;
    // Requests in flight hold their own reference.
    entry.comms.remove(comm.code.get());
    // SAFETY: the caller passed a writable handle.
    unsafe { *handle = A::handle_out(HandleKind::Comm, COMM_NULL) };
    Ok(())
}

pub unsafe fn MPI_Comm_free<A: Abi>(comm: *mut A::Handle) -> c_int {
    // SAFETY: readable, says the caller.
    on_comm::<A>("MPI_Comm_free", unsafe { *comm }, |entry, object| {
        // SAFETY: this function's own conditions.
        unsafe { free::<A>(entry, object, comm) }
    })
}

pub unsafe fn MPI_Comm_disconnect<A: Abi>(comm: *mut A::Handle) -> c_int {
    // SAFETY: readable, says the caller.
    on_comm::<A>("MPI_Comm_disconnect", unsafe { *comm }, |entry, object| {
        if matches!(object.code.get(), COMM_WORLD | COMM_SELF) {
            return error(class::COMM, format!("{} cannot be freed", object.describe()));
        }
        // Waits for all pending communication: everybody has come this far.
        Circle::of_comm(object).barrier(entry)?;
        // SAFETY: this function's own conditions.
        unsafe { free::<A>(entry, object, comm) }
    })
}

pub unsafe fn MPI_Comm_set_name<A: Abi>(comm: A::Handle, comm_name: *const c_char) -> c_int {
    on_comm::<A>("MPI_Comm_set_name", comm, |_, comm| {
        // SAFETY: a C string, says the caller.
        *comm.name.borrow_mut() = unsafe { string(comm_name)? };
        Ok(())
    })
}

/// MPI_MAX_OBJECT_NAME of both ABIs.
pub(crate) const MAX_OBJECT_NAME: usize = 128;

pub unsafe fn MPI_Comm_get_name<A: Abi>(
    comm: A::Handle,
    comm_name: *mut c_char,
    resultlen: *mut c_int,
) -> c_int {
    if A::handle_in(HandleKind::Comm, comm) == COMM_NULL {
        return on_process::<A>("MPI_Comm_get_name", |_| {
            let name = out(comm_name, "comm_name")?;
            // SAFETY: the array has MPI_MAX_OBJECT_NAME bytes, says the caller.
            let length = unsafe { put_string("MPI_COMM_NULL", name, MAX_OBJECT_NAME) };
            // SAFETY: checked not to be null; writable, says the caller.
            unsafe { *out(resultlen, "resultlen")? = length };
            Ok(())
        });
    }
    on_comm::<A>("MPI_Comm_get_name", comm, |_, comm| {
        // SAFETY: the array has MPI_MAX_OBJECT_NAME bytes, says the caller.
        unsafe {
            *out(resultlen, "resultlen")? =
                put_string(&comm.name.borrow(), out(comm_name, "comm_name")?, MAX_OBJECT_NAME);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Comm_set_info<A: Abi>(comm: A::Handle, info: A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_set_info", comm, |entry, comm| {
        let hints = info_of::<A>(entry, info)?;
        for (key, value) in hints.iter() {
            if key == ALGORITHM_HINT {
                let named = value.parse::<Named>().map_err(|what| make(class::INFO_VALUE, what))?;
                comm.algorithm.set(Some(named));
            }
            comm.info.borrow_mut().set(key, value);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Comm_get_info<A: Abi>(comm: A::Handle, info_used: *mut A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_get_info", comm, |entry, comm| {
        let mut hints = comm.info.borrow().clone();
        if comm.algorithm.get().is_some() {
            hints.set(HOSTS_HINT, crate::collective::hosts(entry, comm).name());
        }
        let code = entry.infos.insert(hints);
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(info_used, "info_used")? = handle::<A>(HandleKind::Info, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_Comm_get_parent<A: Abi>(parent: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Comm_get_parent", |entry| {
        // Who has freed it, or disconnected, has none any more.
        let code = entry.parent.filter(|code| entry.comms.get(*code).is_some());
        let code = code.unwrap_or(COMM_NULL);
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(parent, "parent")? = A::handle_out(HandleKind::Comm, code) };
        Ok(())
    })
}

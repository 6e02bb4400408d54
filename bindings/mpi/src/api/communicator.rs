// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Communicators: making, freeing, naming, comparing (MPI-5.0 sections 7.4 and 7.8).

use crate::abi::{Abi, Family, HandleKind};
use crate::agreement::{Circle, USER_TAG_BASE};
use crate::api::arguments::{UNDEFINED, handle, out, put_string, string};
use crate::api::attribute::{copy_all, delete_all};
use crate::entry::{Entry, on_comm, on_process};
use crate::error::{Result, class, error};
use crate::handle::REQUEST_DONE;
use crate::object::comm::{COMM_NULL, COMM_SELF, COMM_WORLD, Comm, CommRef};
use crate::object::group::{Comparison, Group};
use crate::object::info::InfoData;
use crate::object::request::{Finished, Request, Work};
use std::ffi::{c_char, c_int};
use std::rc::Rc;
use strait_transport::envelope::Peer;
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

/// Registers a new communicator and writes its handle.
pub(crate) unsafe fn give_comm<A: Abi>(
    entry: &mut Entry,
    comm: Option<Comm>,
    newcomm: *mut A::Handle,
) -> Result<Option<CommRef>> {
    let (code, comm) = match comm {
        None => (COMM_NULL, None),
        Some(comm) => {
            let comm = Rc::new(comm);
            let Some(code) = entry.comms.insert(comm.clone()) else {
                return error(class::OTHER, "no communicator handle is left: free some");
            };
            comm.code.set(code);
            entry.register_comm(&comm);
            (code, Some(comm))
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
        *context = entry.propose_context()?.to_le_bytes();
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

/// One member's part in making new groups out of a circle.
#[derive(Clone, Copy, Debug)]
struct Choice {
    color: i32,
    key: i32,
    context: u32,
}

/// Everybody's choices, by index in the circle.
fn choices(entry: &mut Entry, circle: &Circle, color: i32, key: i32) -> Result<Vec<Choice>> {
    let context = if color == UNDEFINED { 0 } else { entry.propose_context()? };
    let mut mine = Vec::with_capacity(12);
    for word in [color as u32, key as u32, context] {
        mine.extend_from_slice(&word.to_le_bytes());
    }
    let all = circle.allgather(entry, &mine)?;
    let word = |b: &[u8]| u32::from_le_bytes(b.try_into().expect("four bytes"));
    Ok(all
        .chunks(12)
        .map(|c| Choice {
            color: word(&c[0..4]) as i32,
            key: word(&c[4..8]) as i32,
            context: word(&c[8..12]),
        })
        .collect())
}

/// The members of a range of the circle that chose `color`, by key, then by old order.
fn chosen(choices: &[Choice], range: std::ops::Range<usize>, color: i32) -> Vec<usize> {
    let mut members: Vec<usize> = range.filter(|&i| choices[i].color == color).collect();
    members.sort_by_key(|&i| choices[i].key);
    members
}

pub(crate) fn split(
    entry: &mut Entry,
    comm: &CommRef,
    color: i32,
    key: i32,
) -> Result<Option<Comm>> {
    let circle = Circle::of_comm(comm);
    let choices = choices(entry, &circle, color, key)?;
    if color == UNDEFINED {
        return Ok(None);
    }
    let all = circle.members.len();
    let local = comm.group.size();
    let (mine, others) = match (comm.is_inter(), comm.local_first) {
        (false, _) => (0..all, 0..0),
        (true, true) => (0..local, local..all),
        (true, false) => (all - local..all, 0..all - local),
    };
    let peers =
        |members: &[usize]| -> Vec<Peer> { members.iter().map(|&i| circle.members[i]).collect() };
    let near = chosen(&choices, mine, color);
    let far = chosen(&choices, others, color);
    let me = entry.me();
    let handler = comm.errhandler.borrow().clone();
    if !comm.is_inter() {
        let group = Group::new(peers(&near), me).derived_from(&comm.group);
        return Ok(Some(Comm::new(choices[near[0]].context, group, None, handler)));
    }
    if far.is_empty() {
        return Ok(None);
    }
    let first = if comm.local_first { near[0] } else { far[0] };
    let near = Group::new(peers(&near), me).derived_from(&comm.group);
    let groups = (near, Group::new(peers(&far), me));
    let mut new = Comm::new(choices[first].context, groups.0, Some(groups.1), handler);
    new.local_first = comm.local_first;
    new.local_context = local_context(new.context, new.local_first);
    Ok(Some(new))
}

pub unsafe fn MPI_Comm_split<A: Abi>(
    comm: A::Handle,
    color: c_int,
    key: c_int,
    newcomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_split", comm, |entry, comm| {
        if color < 0 && color != UNDEFINED {
            return error(class::ARG, format!("the color is {color}; it must not be negative"));
        }
        let new = split(entry, comm, color, key)?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, newcomm)? };
        Ok(())
    })
}

/// Canonical MPI_COMM_TYPE_*.
const TYPE_SHARED: i32 = 221;
const TYPE_HW_UNGUIDED: i32 = 222;
const TYPE_HW_GUIDED: i32 = 223;
const TYPE_RESOURCE_GUIDED: i32 = 224;

pub unsafe fn MPI_Comm_split_type<A: Abi>(
    comm: A::Handle,
    split_type: c_int,
    key: c_int,
    info: A::Handle,
    newcomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_split_type", comm, |entry, comm| {
        let hints = info_of::<A>(entry, info)?;
        let by_memory = |key: &str| hints.get(key) == Some("mpi_shared_memory");
        // The processes that share memory are those of this host, named by its first rank.
        let host = entry.job.first_local_rank as i32;
        let color = match A::constant_in(Family::SplitType, split_type) {
            UNDEFINED => UNDEFINED,
            TYPE_SHARED => host,
            TYPE_HW_GUIDED | TYPE_RESOURCE_GUIDED if by_memory("mpi_hw_resource_type") => host,
            // No finer level is known yet: nobody is in a proper part of the group.
            TYPE_HW_UNGUIDED | TYPE_HW_GUIDED | TYPE_RESOURCE_GUIDED => UNDEFINED,
            other => return error(class::ARG, format!("{other} is not a split type")),
        };
        let new = split(entry, comm, color, key)?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, newcomm)? };
        Ok(())
    })
}

pub unsafe fn MPI_Comm_create<A: Abi>(
    comm: A::Handle,
    group: A::Handle,
    newcomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Comm_create", comm, |entry, comm| {
        let group = crate::api::group::group_of::<A>(entry, group)?;
        let members = comm.group.ranks();
        if group.members.iter().any(|p| !members.contains_key(&p)) {
            return error(class::GROUP, "the group has members that are not in the communicator");
        }
        // Disjoint groups may be made in one call: the color is the first member's peer.
        let color = match group.rank {
            Some(_) if comm.is_inter() => 0,
            Some(_) => group.members.at(0).0 as i32,
            None => UNDEFINED,
        };
        let new = split(entry, comm, color, group.rank.unwrap_or(0) as i32)?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, newcomm)? };
        Ok(())
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
            comm.info.borrow_mut().set(key, value);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Comm_get_info<A: Abi>(comm: A::Handle, info_used: *mut A::Handle) -> c_int {
    on_comm::<A>("MPI_Comm_get_info", comm, |entry, comm| {
        let hints = comm.info.borrow().clone();
        let code = entry.infos.insert(hints);
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(info_used, "info_used")? = handle::<A>(HandleKind::Info, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_Comm_get_parent<A: Abi>(parent: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Comm_get_parent", |_| {
        // No process is spawned yet: none has a parent.
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(parent, "parent")? = A::handle_out(HandleKind::Comm, COMM_NULL) };
        Ok(())
    })
}

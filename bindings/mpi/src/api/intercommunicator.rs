// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Intercommunicators: creation and merge (MPI-5.0 section 7.6); communicators made from groups
//! alone (section 7.4.2).

use crate::abi::{Abi, HandleKind};
use crate::agreement::Circle;
use crate::api::arguments::{send_tag, string};
use crate::api::communicator::{agree, give_comm, info_of, not_inter, user_tag};
use crate::api::errhandler::acquire;
use crate::api::group::group_of;
use crate::entry::{Entry, on_comm, on_process};
use crate::error::{Result, class, error};
use crate::meeting::{Party, establish};
use crate::object::comm::Comm;
use crate::object::group::Group;
use crate::universe::agree_outside;
use std::ffi::{c_char, c_int};

/// The way to the remote leader through a peer communicator.
fn bridge_of<A: Abi>(
    entry: &Entry,
    peer_comm: A::Handle,
    remote_leader: c_int,
    tag: c_int,
) -> Result<Circle> {
    let code = A::handle_in(HandleKind::Comm, peer_comm);
    let Some(bridge) = entry.comm(code) else {
        return error(class::COMM, format!("the peer communicator {code:#x} is none"));
    };
    let Some(peer) = bridge.peer(remote_leader) else {
        return error(class::RANK, format!("the remote leader is {remote_leader}"));
    };
    let tag = user_tag(send_tag::<A>(tag)?);
    let sources = (bridge.rank, remote_leader as u32);
    Ok(Circle::pair((entry.me(), peer), sources, bridge.collective_context(), tag))
}

pub unsafe fn MPI_Intercomm_create<A: Abi>(
    local_comm: A::Handle,
    local_leader: c_int,
    peer_comm: A::Handle,
    remote_leader: c_int,
    tag: c_int,
    newintercomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Intercomm_create", local_comm, |entry, comm| {
        if comm.is_inter() {
            return error(class::COMM, "the local communicator must be an intracommunicator");
        }
        let leader = leader_of(&comm.group, local_leader)?;
        let circle = Circle::of_local_group(comm);
        let bridge = bridge_of::<A>(entry, peer_comm, remote_leader, tag);
        let handler = comm.errhandler.borrow().clone();
        let party = Party { group: &comm.group, leader, circle: &circle };
        let new = establish(entry, &party, bridge, handler)?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, Some(new), newintercomm)? };
        Ok(())
    })
}

fn leader_of(group: &Group, leader: c_int) -> Result<usize> {
    match usize::try_from(leader) {
        Ok(leader) if leader < group.size() => Ok(leader),
        _ => error(
            class::RANK,
            format!("the local leader is {leader}, but its group has {} members", group.size()),
        ),
    }
}

/// Context of exchanges that know only a group (MPI_Comm_create_from_group): between those of the
/// predefined communicators and the dynamic ones.
const GROUP_CONTEXT: u32 = 6;

/// A tag that a string stands for. Two strings may share one; then their calls must not overlap.
unsafe fn string_tag(text: *const c_char, salt: u32) -> Result<u32> {
    // SAFETY: a C string, says the caller.
    let text = unsafe { string(text)? };
    let hash =
        text.bytes().fold(0x811c_9dc5 ^ salt, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    Ok(hash & 0x7FFF_FFFF)
}

/// A group that this process is in, and the exchange among its members.
fn circle_of_group(group: &Group, tag: u32) -> Result<Circle> {
    match group.rank {
        Some(rank) => Ok(Circle::new(group.members.to_vec(), rank as usize, GROUP_CONTEXT, tag)),
        None => error(class::GROUP, "this process is not in the group"),
    }
}

pub unsafe fn MPI_Comm_create_from_group<A: Abi>(
    group: A::Handle,
    stringtag: *const c_char,
    info: A::Handle,
    errhandler: A::Handle,
    newcomm: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Comm_create_from_group", |entry| {
        let group = group_of::<A>(entry, group)?;
        let hints = info_of::<A>(entry, info)?;
        let handler = acquire::<A>(entry, HandleKind::Comm, errhandler)?;
        let new = if group.size() == 0 {
            None
        } else {
            // SAFETY: a C string, says the caller.
            let circle = circle_of_group(&group, unsafe { string_tag(stringtag, 0)? })?;
            let context = agree(entry, &circle)?;
            let new = Comm::new(context, group, None, handler);
            *new.info.borrow_mut() = hints;
            Some(new)
        };
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, newcomm)? };
        Ok(())
    })
}

pub unsafe fn MPI_Intercomm_create_from_groups<A: Abi>(
    local_group: A::Handle,
    local_leader: c_int,
    remote_group: A::Handle,
    remote_leader: c_int,
    stringtag: *const c_char,
    info: A::Handle,
    errhandler: A::Handle,
    newintercomm: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Intercomm_create_from_groups", |entry| {
        let local = group_of::<A>(entry, local_group)?;
        let local_leader = leader_of(&local, local_leader)?;
        let hints = info_of::<A>(entry, info)?;
        let handler = acquire::<A>(entry, HandleKind::Comm, errhandler)?;
        // SAFETY: a C string, says the caller.
        let (near, far) = unsafe { (string_tag(stringtag, 1)?, string_tag(stringtag, 2)?) };
        let circle = circle_of_group(&local, near)?;
        let bridge = group_of::<A>(entry, remote_group).and_then(|remote| {
            let leader = leader_of(&remote, remote_leader)?;
            let (me, other) = (entry.me(), remote.members.at(leader));
            // Of one job the numbers of processes tell more pairs apart than ranks.
            let sources = match (entry.is_outsider(other), local.rank) {
                (true, Some(rank)) => (rank, leader as u32),
                _ => (me.0, other.0),
            };
            Ok(Circle::pair((me, other), sources, GROUP_CONTEXT, far))
        });
        let party = Party { group: &local, leader: local_leader, circle: &circle };
        let new = establish(entry, &party, bridge, handler)?;
        *new.info.borrow_mut() = hints;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, Some(new), newintercomm)? };
        Ok(())
    })
}

pub unsafe fn MPI_Intercomm_merge<A: Abi>(
    intercomm: A::Handle,
    high: c_int,
    newintracomm: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Intercomm_merge", intercomm, |entry, comm| {
        let Some(remote) = &comm.remote else {
            return not_inter(comm);
        };
        let circle = Circle::of_comm(comm);
        let context = entry.propose_context()?;
        let mut mine = context.to_le_bytes().to_vec();
        mine.push(u8::from(high != 0));
        let all = circle.allgather(entry, &mine)?;
        let context = match entry.has_outsiders(&circle.members) {
            true => agree_outside(entry, &circle)?,
            false => u32::from_le_bytes(all[..4].try_into().expect("four bytes")),
        };
        let local = comm.group.size();
        let split = if comm.local_first { local } else { remote.size() };
        let high_of = |member: usize| all[member * 5 + 4] != 0;
        // The low group first; if both say the same, the first group of the union.
        let swap = high_of(0) && !high_of(split);
        let (first, second) = circle.members.split_at(split);
        let members = if swap { [second, first].concat() } else { circle.members.clone() };
        let me = entry.me();
        let handler = comm.errhandler.borrow().clone();
        let group = Group::new(members, me).derived_from(&comm.group);
        let new = Comm::new(context, group, None, handler);
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, Some(new), newintracomm)? };
        Ok(())
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Communicators out of one: split by colours, by hosts, by groups (MPI-5.0 section 7.4.2).

use crate::abi::{Abi, Family};
use crate::agreement::Circle;
use crate::api::arguments::UNDEFINED;
use crate::api::communicator::{give_comm, info_of, local_context};
use crate::entry::{Entry, on_comm};
use crate::error::{Result, class, error};
use crate::object::comm::{Comm, CommRef};
use crate::object::group::Group;
use crate::universe::agree_outside;
use std::ffi::c_int;
use strait_transport::envelope::Peer;

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

/// The context of a part of a circle: the proposal of its first, or where that one's job does not
/// speak for all, one that they agree on now, under this tag.
fn settle_context(
    entry: &mut Entry,
    circle: &Circle,
    part: &[usize],
    proposal: u32,
    tag: Option<u32>,
) -> Result<u32> {
    let members: Vec<Peer> = part.iter().map(|&i| circle.members[i]).collect();
    match (tag, part.iter().position(|&i| i == circle.me)) {
        (Some(tag), Some(me)) if entry.has_outsiders(&members) => {
            agree_outside(entry, &Circle::new(members, me, circle.context, tag))
        }
        _ => Ok(proposal),
    }
}

pub(crate) fn split(
    entry: &mut Entry,
    comm: &CommRef,
    color: i32,
    key: i32,
) -> Result<Option<Comm>> {
    let circle = Circle::of_comm(comm);
    let choices = choices(entry, &circle, color, key)?;
    let outer_tag = entry.has_outsiders(&circle.members).then(|| comm.next_collective_tag());
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
        let proposal = choices[near[0]].context;
        let context = settle_context(entry, &circle, &near, proposal, outer_tag)?;
        return Ok(Some(Comm::new(context, group, None, handler)));
    }
    if far.is_empty() {
        return Ok(None);
    }
    let both = if comm.local_first { [&near[..], &far] } else { [&far[..], &near] }.concat();
    let proposal = choices[both[0]].context;
    let context = settle_context(entry, &circle, &both, proposal, outer_tag)?;
    let near = Group::new(peers(&near), me).derived_from(&comm.group);
    let groups = (near, Group::new(peers(&far), me));
    let mut new = Comm::new(context, groups.0, Some(groups.1), handler);
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
        let host = entry.host_word(&comm.group.members.to_vec()) as i32;
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
        // Disjoint groups may be made in one call: the color is the first member's rank.
        let color = match group.rank {
            Some(_) if comm.is_inter() => 0,
            Some(_) => members[&group.members.at(0)] as i32,
            None => UNDEFINED,
        };
        let new = split(entry, comm, color, group.rank.unwrap_or(0) as i32)?;
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, new, newcomm)? };
        Ok(())
    })
}

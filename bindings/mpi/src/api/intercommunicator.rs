// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Intercommunicators: creation and merge (MPI-5.0 section 7.6); communicators made from groups
//! alone (section 7.4.2).

use crate::abi::{Abi, HandleKind};
use crate::agreement::Circle;
use crate::api::arguments::{send_tag, string};
use crate::api::communicator::{agree, give_comm, info_of, local_context, not_inter, user_tag};
use crate::api::errhandler::acquire;
use crate::api::group::group_of;
use crate::entry::{Entry, on_comm, on_process};
use crate::error::{Result, class, error};
use crate::object::comm::Comm;
use crate::object::errhandler::ErrhandlerRef;
use crate::object::group::Group;
use std::ffi::{c_char, c_int};
use strait_transport::envelope::Peer;

/// What one side tells the other: its context proposal and its members.
struct Side {
    context: u32,
    members: Vec<Peer>,
}

impl Side {
    fn encode(&self) -> Vec<u8> {
        let words = std::iter::once(self.context).chain(self.members.iter().map(|p| p.0));
        words.flat_map(u32::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Side {
        let word = |c: &[u8]| u32::from_le_bytes(c.try_into().expect("four bytes"));
        let mut words = bytes.chunks_exact(4).map(word);
        let context = words.next().unwrap_or(0);
        Side { context, members: words.map(Peer).collect() }
    }
}

/// The leaders swap byte strings: lengths first.
fn swap(entry: &mut Entry, circle: &Circle, mine: &[u8]) -> Result<Vec<u8>> {
    let mut length = [0; 8];
    let my_length = (mine.len() as u64).to_le_bytes();
    let mut requests = vec![circle.post_receive(entry, 1, &mut length)];
    requests.extend(circle.post_send(entry, 1, &my_length));
    circle.finish(entry, &requests)?;
    let mut theirs = vec![0; u64::from_le_bytes(length) as usize];
    let mut requests = vec![circle.post_receive(entry, 1, &mut theirs)];
    requests.extend(circle.post_send(entry, 1, mine));
    circle.finish(entry, &requests)?;
    Ok(theirs)
}

/// The leader's bytes for its local group: lengths first; an empty string says that it failed.
fn spread(entry: &mut Entry, circle: &Circle, leader: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut length = (bytes.len() as u64).to_le_bytes();
    circle.bcast(entry, leader, &mut length)?;
    let mut bytes = bytes;
    bytes.resize(u64::from_le_bytes(length) as usize, 0);
    circle.bcast(entry, leader, &mut bytes)?;
    Ok(bytes)
}

/// What the leader learns from the other leader: its own proposal, then the other side.
fn meet(entry: &mut Entry, local: &Group, bridge: Result<Circle>) -> Result<Vec<u8>> {
    let bridge = bridge?;
    let context = entry.propose_context()?;
    let side = Side { context, members: local.members.to_vec() };
    let mut message = context.to_le_bytes().to_vec();
    message.extend(swap(entry, &bridge, &side.encode())?);
    Ok(message)
}

/// Makes the intercommunicator. `circle` is the local group; `bridge` leads to the other leader,
/// and matters at the leader only.
fn establish(
    entry: &mut Entry,
    (local, leader): (&Group, usize),
    circle: &Circle,
    bridge: Result<Circle>,
    handler: ErrhandlerRef,
) -> Result<Comm> {
    let (mut failed, mut message) = (None, Vec::new());
    if circle.me == leader {
        match meet(entry, local, bridge) {
            Ok(bytes) => message = bytes,
            // The group must learn of it, or it would wait for ever.
            Err(error) => failed = Some(error),
        }
    }
    let message = spread(entry, circle, leader, message)?;
    if let Some(error) = failed {
        return Err(error);
    }
    if message.is_empty() {
        return error(class::OTHER, "the local leader could not reach the remote leader");
    }
    let mine = u32::from_le_bytes(message[..4].try_into().expect("four bytes"));
    let theirs = Side::decode(&message[4..]);
    let remote = Group::new(theirs.members, entry.me());
    if remote.rank.is_some() {
        return error(class::COMM, "the two groups of an intercommunicator overlap");
    }
    let local_first = local.members.at(0) < remote.members.at(0);
    let context = if local_first { mine } else { theirs.context };
    let mut new = Comm::new(context, local.clone(), Some(remote), handler);
    new.local_first = local_first;
    new.local_context = local_context(context, local_first);
    Ok(new)
}

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
    Ok(Circle::pair(entry.me(), peer, bridge.collective_context(), tag))
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
        let new = establish(entry, (&comm.group, leader), &circle, bridge, handler)?;
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
        let leader = leader_of(&local, local_leader)?;
        let hints = info_of::<A>(entry, info)?;
        let handler = acquire::<A>(entry, HandleKind::Comm, errhandler)?;
        // SAFETY: a C string, says the caller.
        let (near, far) = unsafe { (string_tag(stringtag, 1)?, string_tag(stringtag, 2)?) };
        let circle = circle_of_group(&local, near)?;
        let bridge = group_of::<A>(entry, remote_group).and_then(|remote| {
            let leader = leader_of(&remote, remote_leader)?;
            Ok(Circle::pair(entry.me(), remote.members.at(leader), GROUP_CONTEXT, far))
        });
        let new = establish(entry, (&local, leader), &circle, bridge, handler)?;
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
        let context = u32::from_le_bytes(all[..4].try_into().expect("four bytes"));
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

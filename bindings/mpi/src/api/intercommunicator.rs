// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Intercommunicators: creation and merge (MPI-5.0 section 7.6).

use crate::abi::{Abi, HandleKind};
use crate::agreement::Circle;
use crate::api::arguments::send_tag;
use crate::api::communicator::{give_comm, local_context, not_inter, user_tag};
use crate::entry::{Entry, on_comm};
use crate::error::{Result, class, error};
use crate::object::comm::{Comm, CommRef};
use crate::object::group::Group;
use std::ffi::c_int;
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
fn spread(entry: &mut Entry, comm: &Comm, leader: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let circle = Circle::of_local_group(comm);
    let mut length = (bytes.len() as u64).to_le_bytes();
    circle.bcast(entry, leader, &mut length)?;
    let mut bytes = bytes;
    bytes.resize(u64::from_le_bytes(length) as usize, 0);
    circle.bcast(entry, leader, &mut bytes)?;
    Ok(bytes)
}

/// What the leader learns from the other leader.
fn meet<A: Abi>(
    entry: &mut Entry,
    local: &CommRef,
    peer_comm: A::Handle,
    remote_leader: c_int,
    tag: c_int,
) -> Result<(u32, Vec<u8>)> {
    let code = A::handle_in(HandleKind::Comm, peer_comm);
    let Some(bridge) = entry.comm(code).cloned() else {
        return error(class::COMM, format!("the peer communicator {code:#x} is none"));
    };
    let Some(peer) = bridge.peer(remote_leader) else {
        return error(class::RANK, format!("the remote leader is {remote_leader}"));
    };
    let tag = user_tag(send_tag::<A>(tag)?);
    let context = entry.propose_context()?;
    let side = Side { context, members: local.group.members.to_vec() };
    // A circle of two, each the first in its own eyes: sources are translated by hand.
    let circle = Circle::pair(entry.me(), peer, bridge.collective_context(), tag);
    Ok((context, swap(entry, &circle, &side.encode())?))
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
        let leader = crate::api::arguments::root(comm, local_leader)
            .map_err(|e| crate::error::make(class::RANK, e.text))? as usize;
        let mut failed = None;
        let mut message = Vec::new();
        if comm.rank as usize == leader {
            match meet::<A>(entry, comm, peer_comm, remote_leader, tag) {
                Ok((context, theirs)) => {
                    message.extend_from_slice(&context.to_le_bytes());
                    message.extend_from_slice(&theirs);
                }
                // The group must learn of it, or it would wait for ever.
                Err(error) => failed = Some(error),
            }
        }
        let message = spread(entry, comm, leader, message)?;
        if let Some(error) = failed {
            return Err(error);
        }
        if message.is_empty() {
            return error(class::OTHER, "the local leader could not reach the remote leader");
        }
        let mine = u32::from_le_bytes(message[..4].try_into().expect("four bytes"));
        let theirs = Side::decode(&message[4..]);
        let me = entry.me();
        let remote = Group::new(theirs.members, me);
        if remote.rank.is_some() {
            return error(class::COMM, "the two groups of an intercommunicator overlap");
        }
        let local_first = comm.group.members[0] < remote.members[0];
        let context = if local_first { mine } else { theirs.context };
        let handler = comm.errhandler.borrow().clone();
        let mut new = Comm::new(context, comm.group.clone(), Some(remote), handler);
        new.local_first = local_first;
        new.local_context = local_context(context, local_first);
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
        let new = Comm::new(context, Group::new(members, me), None, handler);
        // SAFETY: this function's own conditions.
        unsafe { give_comm::<A>(entry, Some(new), newintracomm)? };
        Ok(())
    })
}

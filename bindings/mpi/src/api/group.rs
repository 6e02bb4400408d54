// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Groups (MPI-5.0 section 7.3).

use crate::abi::{Abi, Code, Family, HandleKind};
use crate::api::arguments::{PROC_NULL, UNDEFINED, out};
use crate::api::communicator::give_group;
use crate::entry::{Entry, on_process};
use crate::error::{Result, class, error};
use crate::object::group::Group;
use std::ffi::c_int;
use strait_transport::envelope::Peer;

/// Code of MPI_GROUP_NULL.
pub const GROUP_NULL: Code = 0x108;
/// Code of MPI_GROUP_EMPTY.
pub const GROUP_EMPTY: Code = 0x109;

/// The group of a handle.
pub(crate) fn group_of<A: Abi>(entry: &Entry, handle: A::Handle) -> Result<Group> {
    match A::handle_in(HandleKind::Group, handle) {
        GROUP_EMPTY => Ok(Group { members: Vec::new().into(), rank: None, session: None }),
        GROUP_NULL => error(class::GROUP, "the group is MPI_GROUP_NULL"),
        code => match entry.groups.get(code) {
            Some(group) => Ok(group.clone()),
            None => error(class::GROUP, format!("{code:#x} is not a group")),
        },
    }
}

pub unsafe fn MPI_Group_size<A: Abi>(group: A::Handle, size: *mut c_int) -> c_int {
    on_process::<A>("MPI_Group_size", |entry| {
        let found = group_of::<A>(entry, group)?.size();
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(size, "size")? = found as c_int };
        Ok(())
    })
}

pub unsafe fn MPI_Group_rank<A: Abi>(group: A::Handle, rank: *mut c_int) -> c_int {
    on_process::<A>("MPI_Group_rank", |entry| {
        let found = group_of::<A>(entry, group)?.rank;
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(rank, "rank")? = found.map_or(UNDEFINED, |r| r as c_int) };
        Ok(())
    })
}

pub unsafe fn MPI_Group_translate_ranks<A: Abi>(
    group1: A::Handle,
    n: c_int,
    ranks1: *const c_int,
    group2: A::Handle,
    ranks2: *mut c_int,
) -> c_int {
    on_process::<A>("MPI_Group_translate_ranks", |entry| {
        let (one, two) = (group_of::<A>(entry, group1)?, group_of::<A>(entry, group2)?);
        if n < 0 {
            return error(class::ARG, format!("n is {n}; it must not be negative"));
        }
        let ranks = two.ranks();
        for i in 0..n as usize {
            // SAFETY: both arrays have n elements, says the caller.
            let given = unsafe { *ranks1.add(i) };
            let found = match usize::try_from(given).ok().and_then(|r| one.members.get(r)) {
                Some(peer) => ranks.get(&peer).map_or(UNDEFINED, |&r| r as c_int),
                None if A::rank_in(given) == PROC_NULL => A::rank_out(PROC_NULL),
                None => return bad_rank(&one, given),
            };
            // SAFETY: as above.
            unsafe { *ranks2.add(i) = found };
        }
        Ok(())
    })
}

fn bad_rank<T>(group: &Group, rank: c_int) -> Result<T> {
    error(class::RANK, format!("rank {rank} is not in a group of {}", group.size()))
}

pub unsafe fn MPI_Group_compare<A: Abi>(
    group1: A::Handle,
    group2: A::Handle,
    result: *mut c_int,
) -> c_int {
    on_process::<A>("MPI_Group_compare", |entry| {
        let found = group_of::<A>(entry, group1)?.compare(&group_of::<A>(entry, group2)?);
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe { *out(result, "result")? = A::constant_out(Family::Comparison, found as i32) };
        Ok(())
    })
}

unsafe fn combine<A: Abi>(
    name: &'static str,
    (group1, group2): (A::Handle, A::Handle),
    newgroup: *mut A::Handle,
    combine: impl FnOnce(&Group, &Group, Peer) -> Group,
) -> c_int {
    on_process::<A>(name, |entry| {
        let (one, two) = (group_of::<A>(entry, group1)?, group_of::<A>(entry, group2)?);
        let new = combine(&one, &two, entry.me());
        // SAFETY: this function's own conditions.
        unsafe { give_group::<A>(entry, new, newgroup) }
    })
}

pub unsafe fn MPI_Group_union<A: Abi>(
    group1: A::Handle,
    group2: A::Handle,
    newgroup: *mut A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { combine::<A>("MPI_Group_union", (group1, group2), newgroup, Group::union) }
}

pub unsafe fn MPI_Group_intersection<A: Abi>(
    group1: A::Handle,
    group2: A::Handle,
    newgroup: *mut A::Handle,
) -> c_int {
    let name = "MPI_Group_intersection";
    // SAFETY: this function's own conditions.
    unsafe { combine::<A>(name, (group1, group2), newgroup, Group::intersection) }
}

pub unsafe fn MPI_Group_difference<A: Abi>(
    group1: A::Handle,
    group2: A::Handle,
    newgroup: *mut A::Handle,
) -> c_int {
    let name = "MPI_Group_difference";
    // SAFETY: this function's own conditions.
    unsafe { combine::<A>(name, (group1, group2), newgroup, Group::difference) }
}

/// The ranks of a list, each at most once and in the group.
fn checked_ranks(group: &Group, ranks: impl Iterator<Item = c_int>) -> Result<Vec<usize>> {
    let mut seen = vec![false; group.size()];
    ranks
        .map(|rank| match usize::try_from(rank) {
            Ok(r) if r < seen.len() && !std::mem::replace(&mut seen[r], true) => Ok(r),
            Ok(r) if r < group.size() => {
                error(class::RANK, format!("rank {rank} stands twice in the list"))
            }
            _ => bad_rank(group, rank),
        })
        .collect()
}

unsafe fn choose<A: Abi>(
    name: &'static str,
    group: A::Handle,
    newgroup: *mut A::Handle,
    include: bool,
    ranks: impl FnOnce() -> Result<Vec<c_int>>,
) -> c_int {
    on_process::<A>(name, |entry| {
        let old = group_of::<A>(entry, group)?;
        let listed = checked_ranks(&old, ranks()?.into_iter())?;
        let members: Vec<Peer> = if include {
            listed.iter().map(|&r| old.members.at(r)).collect()
        } else {
            let mut keep = vec![true; old.size()];
            listed.iter().for_each(|&r| keep[r] = false);
            (0..old.size()).filter(|&r| keep[r]).map(|r| old.members.at(r)).collect()
        };
        let me = entry.me();
        // SAFETY: this function's own conditions.
        unsafe { give_group::<A>(entry, Group::new(members, me).derived_from(&old), newgroup) }
    })
}

unsafe fn list(n: c_int, ranks: *const c_int) -> Result<Vec<c_int>> {
    match usize::try_from(n) {
        // SAFETY: the array has n elements, says the caller.
        Ok(n) => Ok((0..n).map(|i| unsafe { *ranks.add(i) }).collect()),
        Err(_) => error(class::ARG, format!("n is {n}; it must not be negative")),
    }
}

/// The ranks that (first, last, stride) triplets name.
unsafe fn ranges(n: c_int, ranges: *const [c_int; 3]) -> Result<Vec<c_int>> {
    let Ok(n) = usize::try_from(n) else {
        return error(class::ARG, format!("n is {n}; it must not be negative"));
    };
    let mut ranks = Vec::new();
    for i in 0..n {
        // SAFETY: the array has n elements, says the caller.
        let [first, last, stride] = unsafe { *ranges.add(i) };
        if stride == 0 {
            return error(class::ARG, format!("the stride of range {i} is 0"));
        }
        let mut rank = first;
        while (stride > 0 && rank <= last) || (stride < 0 && rank >= last) {
            ranks.push(rank);
            rank += stride;
        }
    }
    Ok(ranks)
}

pub unsafe fn MPI_Group_incl<A: Abi>(
    group: A::Handle,
    n: c_int,
    ranks: *const c_int,
    newgroup: *mut A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { choose::<A>("MPI_Group_incl", group, newgroup, true, || list(n, ranks)) }
}

pub unsafe fn MPI_Group_excl<A: Abi>(
    group: A::Handle,
    n: c_int,
    ranks: *const c_int,
    newgroup: *mut A::Handle,
) -> c_int {
    // SAFETY: this function's own conditions.
    unsafe { choose::<A>("MPI_Group_excl", group, newgroup, false, || list(n, ranks)) }
}

pub unsafe fn MPI_Group_range_incl<A: Abi>(
    group: A::Handle,
    n: c_int,
    array_of_ranges: *const [c_int; 3],
    newgroup: *mut A::Handle,
) -> c_int {
    let name = "MPI_Group_range_incl";
    // SAFETY: this function's own conditions.
    unsafe { choose::<A>(name, group, newgroup, true, || ranges(n, array_of_ranges)) }
}

pub unsafe fn MPI_Group_range_excl<A: Abi>(
    group: A::Handle,
    n: c_int,
    array_of_ranges: *const [c_int; 3],
    newgroup: *mut A::Handle,
) -> c_int {
    let name = "MPI_Group_range_excl";
    // SAFETY: this function's own conditions.
    unsafe { choose::<A>(name, group, newgroup, false, || ranges(n, array_of_ranges)) }
}

pub unsafe fn MPI_Group_free<A: Abi>(group: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Group_free", |entry| {
        // SAFETY: readable, says the caller.
        let code = A::handle_in(HandleKind::Group, unsafe { *group });
        if code != GROUP_EMPTY && entry.groups.remove(code).is_none() {
            return error(class::GROUP, format!("{code:#x} is not a group"));
        }
        // SAFETY: writable, says the caller.
        unsafe { *group = A::handle_out(HandleKind::Group, GROUP_NULL) };
        Ok(())
    })
}

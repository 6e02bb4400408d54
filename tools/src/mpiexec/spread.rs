// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which ranks each host gets.
//!
//! The map says how many each host gets and in which order they are dealt; `-rank-by` may number
//! them anew. The processes of a job are numbered host by host, those of a host in the order of
//! their ranks; where ranks lie on the hosts otherwise, an order says which process each of them is
//! (docs/decisions/0009-rank-order.md).
#![forbid(unsafe_code)]

use super::binding::{Mapping, Unit};
use super::failure::Failure;
use super::hosts::Host;
use std::ops::Range;
use strait_transport::node::RankOrder;

/// The processes of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The host.
    pub host: String,
    /// Its first process.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Part {
    /// Its processes.
    pub fn processes(&self) -> Range<u32> {
        self.first..self.first + self.count
    }

    /// Their ranks, in ascending order.
    pub fn ranks(&self, order: &RankOrder) -> Vec<u32> {
        self.processes().map(|process| order.rank_of(process)).collect()
    }
}

/// A job, laid on its hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The hosts that get ranks.
    pub parts: Vec<Part>,
    /// Which rank each process is.
    pub order: RankOrder,
}

impl Spread {
    /// From the host of each rank, as an index of `names`.
    fn of(names: &[&str], host_of: &[usize]) -> Spread {
        let mut ranks = Vec::with_capacity(host_of.len());
        let mut parts = Vec::new();
        let mut ranks_of = vec![Vec::new(); names.len()];
        for (host, rank) in host_of.iter().zip(0..) {
            ranks_of[*host].push(rank);
        }
        for (name, here) in names.iter().zip(ranks_of).filter(|(_, here)| !here.is_empty()) {
            let (first, count) = (ranks.len() as u32, here.len() as u32);
            parts.push(Part { host: (*name).to_owned(), first, count });
            ranks.extend(here);
        }
        let order = RankOrder::new(ranks).expect("each rank has one host");
        Spread { parts, order }
    }

    /// The part of each rank, by its index.
    pub fn parts_of_ranks(&self) -> Vec<u32> {
        let size = self.parts.last().map_or(0, |part| part.processes().end);
        let mut places = vec![0; size as usize];
        for (part, index) in self.parts.iter().zip(0..) {
            part.ranks(&self.order).into_iter().for_each(|rank| places[rank as usize] = index);
        }
        places
    }
}

/// Lays `size` ranks on the hosts.
///
/// # Errors
/// No room for all; a map that names a host which is not there.
pub fn spread(
    hosts: &[Host],
    per_host: Option<u32>,
    map: &Mapping,
    size: u32,
) -> Result<Spread, Failure> {
    let merged = merged(hosts);
    let names: Vec<&str> = merged.iter().map(|host| host.name.as_str()).collect();
    let index_of = |host: &Host| names.iter().position(|name| *name == host.name).unwrap_or(0);
    let in_blocks = |hosts: &[Host], each: Option<u32>| -> Vec<usize> {
        let counts = blocks(hosts, each, size);
        let times =
            |(host, count): (&Host, u32)| std::iter::repeat_n(index_of(host), count as usize);
        hosts.iter().zip(counts).flat_map(times).collect()
    };
    let is_by_host = map.by == Some(Unit::Host) && names.len() > 1;
    let mut host_of = if let Some(vector) = &map.vector {
        of_vector(vector, names.len(), size)?
    } else if map.is_sequence {
        of_sequence(hosts.iter().map(|host| (index_of(host), host.slots)), size)?
    } else if let (true, Some(each)) = (is_by_host, map.per_unit) {
        // Answers which host each rank gets, or that there is no room.
        map.deal(size, names.len() as u32).map_err(Failure::usage)?;
        in_blocks(&merged, Some(each))
    } else if is_by_host {
        let room = |host: &Host| per_host.or(host.slots).unwrap_or(u32::MAX);
        in_turn(&merged.iter().map(room).collect::<Vec<_>>(), size)
    } else if per_host.is_some() {
        in_blocks(&merged, per_host)
    } else {
        in_blocks(hosts, None)
    };
    match map.rank_by {
        Some(Unit::Host) => {
            let mut counts = vec![0_u32; names.len()];
            host_of.iter().for_each(|host| counts[*host] += 1);
            host_of = in_turn(&counts, size);
        }
        // Host by host; what is inside of one is its own business.
        Some(_) => host_of.sort_unstable(),
        None if map.fill => host_of.sort_unstable(),
        None => {}
    }
    Ok(Spread::of(&names, &host_of))
}

/// Each host once, with all its slots, in the order in which they are first named.
pub fn merged(hosts: &[Host]) -> Vec<Host> {
    let mut all: Vec<Host> = Vec::new();
    for host in hosts {
        match all.iter_mut().find(|one| one.name == host.name) {
            Some(one) => one.slots = Some(one.slots.unwrap_or(1) + host.slots.unwrap_or(1)),
            None => all.push(host.clone()),
        }
    }
    all
}

/// How many ranks each entry gets: as many as its slots or `each`; if the ranks are more, all get
/// proportionally more.
fn blocks(hosts: &[Host], each: Option<u32>, size: u32) -> Vec<u32> {
    let has_slots = each.is_some() || hosts.iter().any(|host| host.slots.is_some());
    let capacity = |host: &Host| match (each, has_slots) {
        (Some(count), _) => count,
        (None, true) => host.slots.unwrap_or(1),
        (None, false) => 1,
    };
    let total: u64 = hosts.iter().map(|host| u64::from(capacity(host))).sum();
    let (mut first, mut before) = (0, 0_u64);
    let mut count = |host: &Host| {
        let share = capacity(host);
        let end = if has_slots && u64::from(size) <= total {
            (first + share).min(size)
        } else {
            // Block borders at the host's share of all ranks.
            before += u64::from(share);
            (u64::from(size) * before).div_ceil(total) as u32
        };
        let count = end - first;
        first = end;
        count
    };
    hosts.iter().map(&mut count).collect()
}

/// A rank for each host that has room, round by round; then regardless of room.
fn in_turn(room: &[u32], size: u32) -> Vec<usize> {
    let mut counts = vec![0_u32; room.len()];
    let mut host_of = Vec::with_capacity(size as usize);
    while host_of.len() < size as usize {
        let is_full = counts.iter().zip(room).all(|(count, room)| count >= room);
        for (host, count) in counts.iter_mut().enumerate() {
            if host_of.len() < size as usize && (is_full || *count < room[host]) {
                *count += 1;
                host_of.push(host);
            }
        }
    }
    host_of
}

/// The entries of the list one after the other, each for as many ranks as its slots.
fn of_sequence(
    entries: impl Iterator<Item = (usize, Option<u32>)>,
    size: u32,
) -> Result<Vec<usize>, Failure> {
    let times = |(host, slots): (usize, Option<u32>)| {
        std::iter::repeat_n(host, slots.unwrap_or(1) as usize)
    };
    let host_of: Vec<usize> = entries.flat_map(times).take(size as usize).collect();
    if host_of.len() < size as usize && !host_of.is_empty() {
        return Err(Failure::usage(format!(
            "-map-by seq: the list of hosts has {} places, for {size} ranks",
            host_of.len()
        ))
        .help("name a host once for each of its ranks, or with a number: a,b:2,a"));
    }
    Ok(host_of)
}

/// PMI's vector: blocks of (first host, number of hosts, ranks of each), over and over again.
fn of_vector(vector: &[[u32; 3]], hosts: usize, size: u32) -> Result<Vec<usize>, Failure> {
    if let Some([first, count, _]) =
        vector.iter().find(|[first, count, _]| *first as usize + *count as usize > hosts.max(1))
    {
        return Err(Failure::usage(format!(
            "-rankmap: ({first},{count},...) names host number {}, and there are {}",
            u64::from(*first) + u64::from(*count) - 1,
            hosts.max(1)
        ))
        .help("hosts count from 0 in the order of -hosts"));
    }
    if hosts == 0 {
        return Ok(Vec::new());
    }
    let one_round = || {
        vector.iter().flat_map(|[first, count, each]| {
            let (first, count, each) = (*first as usize, *count as usize, *each as usize);
            (first..first + count).flat_map(move |host| std::iter::repeat_n(host, each))
        })
    };
    Ok(std::iter::repeat_with(one_round).flatten().take(size as usize).collect())
}

/// An order in a few numbers, for the wire: runs of a first rank, a step, and how many.
pub fn runs(order: &RankOrder) -> Vec<[u32; 3]> {
    let mut runs: Vec<[u32; 3]> = Vec::new();
    for rank in order.ranks() {
        match runs.last_mut() {
            Some([first, step, count @ 1]) => (*step, *count) = (rank.wrapping_sub(*first), 2),
            Some([first, step, count])
                if *rank == first.wrapping_add(step.wrapping_mul(*count)) =>
            {
                *count += 1;
            }
            _ => runs.push([*rank, 1, 1]),
        }
    }
    runs
}

/// The order of these runs, for so many ranks; `None` if it is none.
pub fn of_runs(runs: &[[u32; 3]], size: u32) -> Option<RankOrder> {
    if runs.is_empty() {
        return Some(RankOrder::default());
    }
    let all: u64 = runs.iter().map(|[_, _, count]| u64::from(*count)).sum();
    if all != u64::from(size) {
        return None;
    }
    let ranks = |[first, step, count]: &[u32; 3]| {
        let (first, step) = (*first, *step);
        (0..*count).map(move |at| first.wrapping_add(step.wrapping_mul(at)))
    };
    RankOrder::new(runs.iter().flat_map(ranks).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpiexec::hosts::add_list;

    fn hosts(list: &str) -> Vec<Host> {
        let mut hosts = Vec::new();
        add_list("-hosts", list, &mut hosts).expect(list);
        hosts
    }

    fn spread_of(list: &str, per_host: Option<u32>, map: &Mapping, size: u32) -> Spread {
        spread(&hosts(list), per_host, map, size).expect("room")
    }

    /// `a0,1 b2`: the ranks of each host.
    fn words(spread: &Spread) -> String {
        let part = |part: &Part| {
            let ranks: Vec<String> = part.ranks(&spread.order).iter().map(u32::to_string).collect();
            format!("{}{}", part.host, ranks.join(","))
        };
        spread.parts.iter().map(part).collect::<Vec<_>>().join(" ")
    }

    fn placed(list: &str, per_host: Option<u32>, size: u32) -> String {
        words(&spread_of(list, per_host, &Mapping::default(), size))
    }

    fn mapped(list: &str, size: u32, change: impl FnOnce(&mut Mapping)) -> String {
        let mut map = Mapping::default();
        change(&mut map);
        words(&spread_of(list, None, &map, size))
    }

    #[test]
    fn in_blocks() {
        assert_eq!(placed("a,b", None, 4), "a0,1 b2,3");
        assert_eq!(placed("a,b", None, 3), "a0,1 b2");
        assert_eq!(placed("a,b", None, 1), "a0");
        assert_eq!(placed("a:2,b:2", None, 3), "a0,1 b2");
        assert_eq!(placed("a:2,b:1", None, 6), "a0,1,2,3 b4,5");
        assert_eq!(placed("a,b,c", Some(2), 4), "a0,1 b2,3");
        for size in 1..40 {
            let spread = spread_of("a:3,b,c:5", None, &Mapping::default(), size);
            assert_eq!(spread.parts.iter().map(|part| part.count).sum::<u32>(), size);
            assert!(spread.order.is_same());
        }
    }

    #[test]
    fn a_host_that_is_named_again_gets_ranks_again() {
        assert_eq!(placed("a,b,a", None, 3), "a0,2 b1");
        assert_eq!(placed("a,b,a", None, 6), "a0,1,4,5 b2,3");
        assert_eq!(placed("a:1,b:2,a:3", None, 6), "a0,3,4,5 b1,2");
        assert_eq!(placed("a,a,b", None, 3), "a0,1 b2");
        assert_eq!(placed("a,b,a", Some(1), 2), "a0 b1");
        assert_eq!(mapped("a,b,a", 6, |map| map.fill = true), "a0,1,2,3 b4,5");
    }

    #[test]
    fn by_node_in_turn() {
        let by_node = |map: &mut Mapping| map.by = Some(Unit::Host);
        assert_eq!(mapped("a,b", 4, by_node), "a0,2 b1,3");
        assert_eq!(mapped("a,b,c", 4, by_node), "a0,3 b1 c2");
        assert_eq!(mapped("a:1,b:3", 4, by_node), "a0 b1,2,3");
        assert_eq!(mapped("a:1,b:2", 6, by_node), "a0,3,5 b1,2,4");
        let filled = |map: &mut Mapping| (map.by, map.fill) = (Some(Unit::Host), true);
        assert_eq!(mapped("a,b", 4, filled), "a0,1 b2,3");
        let each = |map: &mut Mapping| (map.by, map.per_unit) = (Some(Unit::Host), Some(2));
        assert_eq!(mapped("a,b", 4, each), "a0,1 b2,3");
        let in_turn = |map: &mut Mapping| {
            each(map);
            map.rank_by = Some(Unit::Host);
        };
        assert_eq!(mapped("a,b", 4, in_turn), "a0,2 b1,3");
        assert_eq!(mapped("a,b", 3, |map| map.rank_by = Some(Unit::Host)), "a0,2 b1");
        // Units of a host order what is inside of it.
        let by_core = |map: &mut Mapping| {
            by_node(map);
            map.rank_by = Some(Unit::Core);
        };
        assert_eq!(mapped("a,b", 4, by_core), "a0,1 b2,3");
    }

    #[test]
    fn sequences_and_vectors() {
        let seq = |map: &mut Mapping| map.is_sequence = true;
        assert_eq!(mapped("b,a,b:2,a", 5, seq), "b0,2,3 a1,4");
        assert_eq!(mapped("b,a,b", 2, seq), "b0 a1");
        let mut map = Mapping { is_sequence: true, ..Mapping::default() };
        let error = spread(&hosts("a,b,a"), None, &map, 4).expect_err("no room");
        assert!(error.text.contains("3 places, for 4 ranks"), "{}", error.text);
        let vector =
            |list: &'static [[u32; 3]]| move |map: &mut Mapping| map.vector = Some(list.to_vec());
        assert_eq!(mapped("a,b", 4, vector(&[[0, 2, 1]])), "a0,2 b1,3");
        assert_eq!(mapped("a,b", 5, vector(&[[1, 1, 2], [0, 1, 1]])), "a2 b0,1,3,4");
        map.vector = Some(vec![[1, 2, 1]]);
        let error = spread(&hosts("a,b"), None, &map, 4).expect_err("no such host");
        assert!(error.text.contains("host number 2, and there are 2"), "{}", error.text);
    }

    #[test]
    fn orders_travel_in_few_numbers() {
        let by_node = Mapping { by: Some(Unit::Host), ..Mapping::default() };
        let spread = spread_of("n[1-100]", None, &by_node, 800);
        let sent = runs(&spread.order);
        assert_eq!((sent.len(), sent[0], sent[99]), (100, [0, 100, 8], [99, 100, 8]));
        assert_eq!(of_runs(&sent, 800).as_ref(), Some(&spread.order));
        for list in ["a,b,a", "a,b,a,c,a,b", "c:3,a,b:2,c"] {
            let spread = spread_of(list, None, &Mapping::default(), 23);
            assert_eq!(of_runs(&runs(&spread.order), 23).as_ref(), Some(&spread.order), "{list}");
        }
        assert_eq!(of_runs(&[], 9), Some(RankOrder::default()));
        assert_eq!(of_runs(&[[0, 1, u32::MAX]], 9), None);
        assert_eq!(of_runs(&[[0, 2, 9]], 9), None);
    }

    #[test]
    fn ranks_know_their_part() {
        let spread = spread_of("a,b,a", None, &Mapping::default(), 6);
        assert_eq!(spread.parts_of_ranks(), [0, 0, 1, 1, 0, 0]);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait tune --check`: what a collective may not cost, measured against others in one run.
//!
//! Both sides of a guideline are measured in turn, block by block, so that a change of the machine
//! meets both. It is broken where even the low end of the left interval is above the high end of
//! the right one, allowance included: noise breaks none.

use super::field::{Field, Team, call, operation, timed};
use crate::collective::call::Call;
use crate::collective::{Operation, operations};
use crate::mpi::raw::REQUEST_NULL;
use crate::mpi::{self};
use crate::statistics::{median, median_interval};
use std::time::Instant;
use strait_collectives::kind::Kind;
use strait_collectives::select::tuning::Request;

/// How a collective is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Blocking,
    Immediate,
    Persistent,
}

/// A collective and by how much its size is multiplied; a size of 0 with a fixed number instead.
#[derive(Clone, Copy, Debug)]
struct Term {
    kind: Kind,
    way: Way,
    scale: Scale,
}

#[derive(Clone, Copy, Debug)]
enum Scale {
    Times(usize),
    /// One rank's share of the size.
    Share,
    Fixed(usize),
}

/// `left` may not take longer than all of `right` one after the other, and the allowance.
struct Guideline {
    name: String,
    left: Term,
    right: Vec<Term>,
    /// As a share of the right side.
    allowance: f64,
}

/// What a composition is allowed: measurements this near to each other are equal.
const ALLOWANCE: f64 = 0.10;
/// What a nonblocking or persistent call may cost more: a request is made and waited for. Within a
/// host the blocking call goes through shared memory and these by messages (docs/collectives.md).
const ALLOWANCE_OF_REQUESTS: f64 = 1.0;
const BLOCKS: usize = 6;
const BLOCK_SAMPLES: usize = 10;
const BLOCK_WARMUP: usize = 2;

fn guidelines() -> Vec<Guideline> {
    use Kind::*;
    let one = |kind, scale| Term { kind, way: Way::Blocking, scale };
    let whole = |kind| one(kind, Scale::Times(1));
    let share = |kind| one(kind, Scale::Share);
    let rule = |name: &str, left, right: &[Term]| Guideline {
        name: name.into(),
        left,
        right: right.to_vec(),
        allowance: ALLOWANCE,
    };
    let mut all = vec![
        rule("allreduce <= reduce + bcast", whole(Allreduce), &[whole(Reduce), whole(Bcast)]),
        rule(
            "allreduce <= reduce_scatter + allgather",
            whole(Allreduce),
            &[share(ReduceScatter), share(Allgather)],
        ),
        rule("allgather <= gather + bcast", share(Allgather), &[share(Gather), whole(Bcast)]),
        rule("bcast <= scatter + allgather", whole(Bcast), &[share(Scatter), share(Allgather)]),
        rule(
            "reduce_scatter <= reduce + scatter",
            share(ReduceScatter),
            &[whole(Reduce), share(Scatter)],
        ),
        rule("reduce <= allreduce", whole(Reduce), &[whole(Allreduce)]),
        rule("gather <= allgather", share(Gather), &[share(Allgather)]),
        rule("scatter <= bcast", share(Scatter), &[whole(Bcast)]),
        rule("allreduce(n) <= allreduce(2n)", whole(Allreduce), &[one(Allreduce, Scale::Times(2))]),
        rule("bcast(n) <= bcast(2n)", whole(Bcast), &[one(Bcast, Scale::Times(2))]),
        rule("barrier <= allreduce(8)", whole(Barrier), &[one(Allreduce, Scale::Fixed(8))]),
    ];
    for operation in operations() {
        let kind = Kind::by_name(operation.name).expect("names are those of the table");
        for (way, word) in [(Way::Immediate, "i"), (Way::Persistent, "persistent ")] {
            let name = operation.name;
            all.push(Guideline {
                name: format!("{word}{name} <= {name}"),
                left: Term { way, ..whole(kind) },
                right: vec![whole(kind)],
                allowance: ALLOWANCE_OF_REQUESTS,
            });
        }
    }
    all
}

/// Median and interval.
#[derive(Clone, Copy)]
struct Side {
    us: f64,
    low: f64,
    high: f64,
}

impl Side {
    fn of(samples: &[f64]) -> Option<Side> {
        let (us, (low, high)) = median(samples).zip(median_interval(samples))?;
        Some(Side { us, low, high })
    }
}

fn is_broken(left: Side, right: Side, allowance: f64) -> bool {
    left.low > right.high * (1.0 + allowance)
}

/// All guidelines at all sizes; the exit code of this rank.
pub fn run(field: &Field, request: &Request) -> u8 {
    let began = Instant::now();
    let (mut looked, mut broken, mut left_out) = (0, Vec::new(), 0);
    let wanted = |rule: &Guideline| {
        request.collectives.is_empty()
            || request.collectives.iter().any(|name| name == rule.left.kind.name())
    };
    for team in &field.teams {
        for rule in guidelines().iter().filter(|rule| wanted(rule)) {
            let is_sized = rule.left.kind != Kind::Barrier;
            let sizes = if is_sized { &request.bytes[..] } else { &[8] };
            for bytes in sizes {
                // Shares are of whole elements.
                if is_sized && !bytes.is_multiple_of(4 * team.ranks) {
                    left_out += 1;
                    continue;
                }
                let is_late = looked > 0 && began.elapsed().as_secs_f64() > request.budget;
                if field.world.share(f64::from(u8::from(is_late))) == 1.0 {
                    left_out += 1;
                    continue;
                }
                looked += 1;
                if field.world.rank < team.ranks
                    && let Some((left, right)) = measure(team, rule, *bytes)
                    && is_broken(left, right, rule.allowance)
                {
                    broken.push(row(team, rule, *bytes, left, right));
                }
            }
        }
    }
    if !field.world.is_first() {
        return 0;
    }
    println!("{looked} guidelines measured, {} broken, {left_out} left out", broken.len());
    if broken.is_empty() {
        return 0;
    }
    println!(
        "{:<44} {:>5} {:>9} {:>26} {:>26} {:>6} {:>7}",
        "guideline", "ranks", "bytes", "left us", "right us", "ratio", "allowed"
    );
    broken.iter().for_each(|row| println!("{row}"));
    super::CODE_FOUND
}

fn row(team: &Team, rule: &Guideline, bytes: usize, left: Side, right: Side) -> String {
    let spoken = |side: Side| format!("{:.2} ({:.2} to {:.2})", side.us, side.low, side.high);
    let (name, ranks, allowed) = (&rule.name, team.ranks, 1.0 + rule.allowance);
    let ratio = left.us / right.us;
    let (left, right) = (spoken(left), spoken(right));
    format!("{name:<44} {ranks:>5} {bytes:>9} {left:>26} {right:>26} {ratio:>6.2} {allowed:>7.2}")
}

/// Both sides; times at rank 0 of the team only.
fn measure(team: &Team, rule: &Guideline, bytes: usize) -> Option<(Side, Side)> {
    let mut left = Prepared::new(team, rule.left, bytes);
    let mut right: Vec<Prepared> =
        rule.right.iter().map(|term| Prepared::new(team, *term, bytes)).collect();
    let (mut lefts, mut rights) = (Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        lefts.extend(timed(&team.kept, BLOCK_WARMUP, BLOCK_SAMPLES, || left.act()));
        rights.extend(timed(&team.kept, BLOCK_WARMUP, BLOCK_SAMPLES, || {
            right.iter_mut().for_each(Prepared::act);
        }));
    }
    left.release();
    right.iter_mut().for_each(Prepared::release);
    team.kept.is_first().then(|| Side::of(&lefts).zip(Side::of(&rights)))?
}

/// A call that is ready to be made again and again.
struct Prepared {
    operation: Operation,
    way: Way,
    call: Call,
    request: mpi::raw::Request,
}

impl Prepared {
    /// On the communicator that makes what calls of users make: no algorithm is asked for.
    fn new(team: &Team, term: Term, bytes: usize) -> Prepared {
        let bytes = match term.scale {
            Scale::Times(factor) => bytes * factor,
            Scale::Share => bytes / team.ranks,
            Scale::Fixed(bytes) => bytes,
        };
        let operation = operation(term.kind);
        // A share of a sum is counted as the table counts it: by the block.
        let whole = term.kind == Kind::ReduceScatter && matches!(term.scale, Scale::Times(_));
        let bytes = if whole { bytes / team.ranks } else { bytes };
        let call = call(&team.kept, operation, bytes);
        let mut request = REQUEST_NULL;
        if term.way == Way::Persistent {
            // SAFETY: the call was made for this operation, all ranks of it are here, and it
            // outlives the request, which `release` frees.
            unsafe { (operation.persistent)(&call, &mut request) };
        }
        Prepared { operation, way: term.way, call, request }
    }

    fn act(&mut self) {
        match self.way {
            // SAFETY: the call was made for this operation, and all ranks of it are here.
            Way::Blocking => unsafe { (self.operation.blocking)(&self.call) },
            Way::Immediate => {
                // SAFETY: as above; the request is waited for at once.
                unsafe { (self.operation.immediate)(&self.call, &mut self.request) };
                mpi::wait(&mut self.request);
            }
            Way::Persistent => {
                // SAFETY: the request is inactive: it was waited for.
                unsafe { mpi::start(&mut self.request) };
                mpi::wait(&mut self.request);
            }
        }
    }

    fn release(&mut self) {
        if self.way == Way::Persistent {
            mpi::free(&mut self.request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_clearly_slower_breaks_a_guideline() {
        let side = |low, us, high| Side { us, low, high };
        let right = side(9.0, 10.0, 11.0);
        assert!(is_broken(side(12.2, 13.0, 14.0), right, 0.1));
        assert!(!is_broken(side(12.0, 13.0, 14.0), right, 0.1), "within 11 and a tenth");
        assert!(!is_broken(side(12.2, 13.0, 14.0), right, 1.0));
        assert!(Side::of(&[1.0; 5]).is_none(), "five samples have no interval");
    }

    #[test]
    fn guidelines_have_names_of_their_own_and_terms_that_exist() {
        let all = guidelines();
        assert!(all.len() > 25);
        for (index, rule) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.name != rule.name), "{}", rule.name);
            assert_eq!(operation(rule.left.kind).name, rule.left.kind.name());
            assert!(!rule.right.is_empty());
        }
    }
}

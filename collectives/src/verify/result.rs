// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Symbolic execution: blocks hold sequences of contributions instead of bytes, and in the end
//! every output must hold what `kind` defines, each contribution once.
//!
//! Beside the sequence a value carries a fingerprint of its expression tree: all ranks of an
//! allreduce must have computed the same expression, or floating point differs between them.
//! A barrier has no blocks; there the steps carry the set of ranks that had entered.
#![forbid(unsafe_code)]

use super::Flaw;
use super::deadlock::Event;
use crate::kind::{self, Atom, Kind};
use crate::schedule::{Blocks, Buffer, Places, Schedule, Step};
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone)]
struct Value {
    atoms: Vec<Atom>,
    tree: u64,
}

impl Value {
    fn input(atom: Atom) -> Value {
        Value { atoms: vec![atom], tree: fingerprint(atom) }
    }

    fn reduce(left: &Value, right: &Value) -> Value {
        let atoms = left.atoms.iter().chain(&right.atoms).copied().collect();
        Value { atoms, tree: fingerprint((left.tree, right.tree)) }
    }
}

fn fingerprint(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The memory of one rank.
struct Memory<'s> {
    schedule: &'s Schedule,
    places: Places,
    values: Vec<Option<Value>>,
}

impl<'s> Memory<'s> {
    fn new(schedule: &'s Schedule) -> Memory<'s> {
        let places = Places::of(schedule);
        let mut values = vec![None; places.len()];
        let rank = schedule.rank();
        for block in 0..kind::blocks(schedule.shape(), rank, Buffer::Input) {
            let number = places.number(Buffer::Input, block) as usize;
            values[number] = Some(Value::input(Atom { rank, block }));
        }
        Memory { schedule, places, values }
    }

    fn read(&self, blocks: Blocks, step: usize) -> Result<Vec<Value>, Flaw> {
        let values = self.places.numbers(blocks).map(|number| self.values[number as usize].clone());
        values.collect::<Option<_>>().ok_or_else(|| {
            let what = format!("`{}` reads what nobody wrote", self.schedule.steps()[step]);
            Flaw::new(self.schedule.rank() as usize, Some(step), what)
        })
    }

    fn write(&mut self, blocks: Blocks, values: Vec<Value>) {
        for (number, value) in self.places.numbers(blocks).zip(values) {
            self.values[number as usize] = Some(value);
        }
    }

    fn run(&mut self, index: usize) -> Result<(), Flaw> {
        match self.schedule.steps()[index] {
            Step::Copy { what, into } => {
                let values = self.read(what, index)?;
                self.write(into, values);
            }
            Step::Reduce { left, right, into } => {
                let (left, right) = (self.read(left, index)?, self.read(right, index)?);
                let values = left.iter().zip(&right).map(|(l, r)| Value::reduce(l, r)).collect();
                self.write(into, values);
            }
            _ => {}
        }
        Ok(())
    }
}

pub(super) fn check(schedules: &[Schedule], events: &[Event], ordered: bool) -> Result<(), Flaw> {
    if schedules[0].shape().kind == Kind::Barrier {
        return check_barrier(schedules, events);
    }
    let mut memories: Vec<_> = schedules.iter().map(Memory::new).collect();
    for event in events {
        match *event {
            Event::Local { rank, step } => memories[rank].run(step)?,
            Event::Message { source, send, target, receive } => {
                let what = schedules[source].steps()[send].reads().next().expect("a send reads");
                let into = schedules[target].steps()[receive].writes().expect("receives write");
                let values = memories[source].read(what, send)?;
                memories[target].write(into, values);
            }
        }
    }
    for memory in &memories {
        check_output(memory, ordered)?;
    }
    check_same_expression(&memories)
}

fn check_output(memory: &Memory<'_>, ordered: bool) -> Result<(), Flaw> {
    let (shape, rank) = (memory.schedule.shape(), memory.schedule.rank());
    for block in 0..kind::blocks(shape, rank, Buffer::Output) {
        let expected = kind::expected(shape, rank, block);
        let number = memory.places.number(Buffer::Output, block) as usize;
        let mut found = memory.values[number].as_ref().map(|v| v.atoms.clone()).unwrap_or_default();
        if !ordered {
            found.sort_unstable();
        }
        if found != expected {
            let what = format!("output block {block} holds {found:?}, not {expected:?}");
            return Err(Flaw::new(rank as usize, None, what));
        }
    }
    Ok(())
}

/// Ranks whose outputs are made of the same contributions have the same expression.
fn check_same_expression(memories: &[Memory<'_>]) -> Result<(), Flaw> {
    let shape = memories[0].schedule.shape();
    if shape.kind != Kind::Allreduce {
        return Ok(());
    }
    let tree = |memory: &Memory<'_>, block| {
        let number = memory.places.number(Buffer::Output, block) as usize;
        memory.values[number].as_ref().map(|value| value.tree)
    };
    for (rank, memory) in memories.iter().enumerate() {
        let leader = shape.group_of(rank as u32).start as usize;
        for block in 0..shape.blocks {
            if tree(memory, block) != tree(&memories[leader], block) {
                let what = format!("combines block {block} otherwise than rank {leader}");
                return Err(Flaw::new(rank, None, what));
            }
        }
    }
    Ok(())
}

/// Every rank that leaves has heard, through its steps, of every rank.
fn check_barrier(schedules: &[Schedule], events: &[Event]) -> Result<(), Flaw> {
    let ranks = schedules.len();
    let words = ranks.div_ceil(64);
    let own = |rank: usize| {
        let mut set = vec![0u64; words];
        set[rank / 64] |= 1 << (rank % 64);
        set
    };
    let join = |to: &mut Vec<u64>, from: &[u64]| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to |= from);
    };
    // What is known when a step is done; events come in an order in which this can be computed.
    let mut known: Vec<Vec<Vec<u64>>> =
        schedules.iter().map(|schedule| vec![Vec::new(); schedule.steps().len()]).collect();
    let at_post = |known: &[Vec<Vec<u64>>], rank: usize, step: usize| {
        let mut set = own(rank);
        for earlier in schedules[rank].after(step) {
            join(&mut set, &known[rank][earlier.0 as usize]);
        }
        set
    };
    for event in events {
        match *event {
            Event::Local { rank, step } => known[rank][step] = at_post(&known, rank, step),
            Event::Message { source, send, target, receive } => {
                let sent = at_post(&known, source, send);
                let mut received = at_post(&known, target, receive);
                join(&mut received, &sent);
                known[source][send] = sent;
                known[target][receive] = received;
            }
        }
    }
    for (rank, steps) in known.iter().enumerate() {
        let mut all = own(rank);
        steps.iter().for_each(|set| join(&mut all, set));
        if let Some(missing) = (0..ranks).find(|other| all[other / 64] >> (other % 64) & 1 == 0) {
            return Err(Flaw::new(rank, None, format!("leaves before rank {missing} has come")));
        }
    }
    Ok(())
}

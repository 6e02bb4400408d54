// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All ranks, slot by slot, with the load of every link.
//!
//! The outline of a rank is made, walked and dropped. What stays is when each message arrives
//! (20 bytes a message) and, per slot and link, messages and blocks: numbers without bytes,
//! so that one structure serves every size. Since a walk needs the arrivals of others, all ranks
//! are walked again until nothing changes, up and down in turn: once or twice where ranks are in
//! step, a few times for trees. Messages have no cycle, so it ends.
//!
//! Time = for each place in the longest chain, the largest latency of its messages + processor time
//! of the messages that no chain counts + for each slot, what its fullest link takes + combining
//! and copying of the busiest rank + rendezvous.
#![forbid(unsafe_code)]

use super::walk::{At, Summary, Walker};
use super::{Failure, Job};
use crate::schedule::Step;
use crate::shape::Rank;

/// Slots times links that may be held: 12 bytes each, 1.5 GiB.
const LOADS_MAX: usize = 1 << 27;
/// Messages that may be held: 20 bytes each, 1.25 GiB.
const MESSAGES_MAX: usize = 1 << 26;

/// What one slot does to the links.
#[derive(Clone, Default)]
struct Slot {
    messages: Vec<u32>,
    blocks: Vec<f64>,
    /// Blocks copied within each node.
    node_blocks: Vec<f64>,
    /// The largest message within a node, and of the network.
    largest: [f64; 2],
    /// Whether there is any.
    has: [bool; 2],
}

/// Everything about a job but the size.
pub struct Structure<'a> {
    job: Job<'a>,
    slots: Vec<Slot>,
    end: At,
    /// For each place in a chain, the largest latency of a message there.
    latencies_us: Vec<f64>,
    busiest: Summary,
    messages: u64,
    sweeps: u32,
}

/// When a message arrives.
#[derive(Clone, Copy)]
struct Arrival {
    from: Rank,
    nth: u32,
    at: At,
    is_known: bool,
}

/// Looks at a job; `tick` is told how many of how many walks are done, as far as is known.
pub fn structural<'a>(
    job: &Job<'a>,
    tick: &mut dyn FnMut(u64, u64),
) -> Result<Structure<'a>, Failure> {
    let ranks = job.shape.ranks;
    let mut structure = Structure {
        job: job.clone(),
        slots: Vec::new(),
        end: At::default(),
        latencies_us: Vec::new(),
        busiest: Summary::default(),
        messages: 0,
        sweeps: 0,
    };
    let mut inboxes = inboxes(job, tick)?;
    structure.messages = inboxes.iter().map(|inbox| inbox.len() as u64).sum();
    let mut walker = Walker::default();
    loop {
        structure.sweeps += 1;
        structure.slots.clear();
        structure.end = At::default();
        structure.latencies_us.clear();
        structure.busiest = Summary::default();
        let mut changed = false;
        for index in 0..ranks {
            let rank = if structure.sweeps % 2 == 1 { index } else { ranks - 1 - index };
            changed |= structure.visit(&mut walker, &mut inboxes, rank)?;
            if index % 4096 == 0 {
                let done = u64::from(structure.sweeps) * u64::from(ranks) + u64::from(index);
                tick(done, u64::from(ranks) * 3);
            }
        }
        if !changed {
            return Ok(structure);
        }
    }
}

/// What each rank will receive, in the order of source and count, nothing known yet.
fn inboxes(job: &Job, tick: &mut dyn FnMut(u64, u64)) -> Result<Vec<Box<[Arrival]>>, Failure> {
    let ranks = job.shape.ranks;
    let mut messages = 0;
    let mut inboxes = Vec::with_capacity(ranks as usize);
    for rank in 0..ranks {
        let outline = job.algorithm.outline(&job.shape, job.parameters, rank)?;
        let mut inbox: Vec<Arrival> = Vec::new();
        for step in &outline.steps {
            if let Step::Recv { from, .. } | Step::Get { from, .. } = *step {
                inbox.push(Arrival { from, nth: 0, at: At::default(), is_known: false });
            }
        }
        inbox.sort_by_key(|arrival| arrival.from);
        for index in 1..inbox.len() {
            if inbox[index].from == inbox[index - 1].from {
                inbox[index].nth = inbox[index - 1].nth + 1;
            }
        }
        messages += inbox.len();
        if rank == 0 && messages.saturating_mul(ranks as usize) > 64 * MESSAGES_MAX
            || messages > MESSAGES_MAX
        {
            return Err(Failure::TooLarge(format!(
                "{} over {ranks} ranks has more than {MESSAGES_MAX} messages: use analytic mode",
                job.algorithm.name
            )));
        }
        inboxes.push(inbox.into_boxed_slice());
        if rank % 4096 == 0 {
            tick(u64::from(rank), u64::from(ranks) * 3);
        }
    }
    Ok(inboxes)
}

fn find(inbox: &[Arrival], from: Rank, nth: u32) -> Option<usize> {
    inbox.binary_search_by_key(&(from, nth), |arrival| (arrival.from, arrival.nth)).ok()
}

impl Structure<'_> {
    /// Walks a rank; whether a message of its changed.
    fn visit(
        &mut self,
        walker: &mut Walker,
        inboxes: &mut [Box<[Arrival]>],
        rank: Rank,
    ) -> Result<bool, Failure> {
        let job = &self.job;
        let outline = job.algorithm.outline(&job.shape, job.parameters, rank)?;
        let own = std::mem::take(&mut inboxes[rank as usize]);
        let (mut changed, mut failure) = (false, None);
        let slots = &mut self.slots;
        let arrival = |from, nth| {
            let arrival = &own[find(&own, from, nth)?];
            arrival.is_known.then_some(arrival.at)
        };
        let latencies = &mut self.latencies_us;
        let summary = walker.walk(&outline, arrival, |sent| {
            let place = sent.at.chain as usize;
            if latencies.len() < place {
                latencies.resize(place, 0.0);
            }
            latencies[place - 1] = latencies[place - 1].max(job.latency(rank, sent.to).0);
            let inbox = &mut inboxes[sent.to as usize];
            match find(inbox, rank, sent.nth) {
                Some(index) => {
                    let arrival = &mut inbox[index];
                    changed |= !arrival.is_known || arrival.at != sent.at;
                    (arrival.at, arrival.is_known) = (sent.at, true);
                }
                None => failure = Some(Failure::Stuck { rank: sent.to }),
            }
            if let Err(large) = charge(job, slots, rank, sent.to, sent.at.slot, sent.blocks) {
                failure.get_or_insert(large);
            }
        });
        inboxes[rank as usize] = own;
        self.note(&summary);
        failure.map_or(Ok(changed), Err)
    }

    fn note(&mut self, summary: &Summary) {
        self.end = self.end.max(summary.end);
        let busiest = &mut self.busiest;
        busiest.reduced = busiest.reduced.max(summary.reduced);
        busiest.copied = busiest.copied.max(summary.copied);
        busiest.cells = busiest.cells.max(summary.cells);
    }

    /// The time for a call of so many bytes.
    pub fn time_us(&self, bytes: f64) -> f64 {
        let (job, model) = (&self.job, self.job.model);
        let block = job.block_bytes(bytes);
        let links: f64 = self.slots.iter().map(|slot| slot.time_us(job, block)).sum();
        let busiest = &self.busiest;
        let local = block * busiest.reduced as f64 / model.reduce_rate
            + block * busiest.copied as f64 / model.copy_rate
            + busiest.cells as f64 * model.cell_us;
        let unchained = (self.slots.len() as f64 - f64::from(self.end.chain)).max(0.0);
        let delay = self.latencies_us.iter().sum::<f64>() + unchained * model.network.overhead_us;
        let asking: f64 = self.slots.iter().map(|slot| slot.handshake_us(job, block)).sum();
        let asking = asking * f64::from(self.end.chain) / (self.slots.len().max(1) as f64);
        delay + links + local + asking
    }

    /// Slots, messages that wait for each other, all messages, and passes that it took.
    pub fn counts(&self) -> (u64, u64, u64, u32) {
        (self.slots.len() as u64, u64::from(self.end.chain), self.messages, self.sweeps)
    }

    /// Blocks over each link, all slots together.
    pub fn loads(&self) -> Vec<f64> {
        let mut loads = vec![0.0; self.job.topology.links()];
        for slot in &self.slots {
            loads.iter_mut().zip(&slot.blocks).for_each(|(all, blocks)| *all += blocks);
        }
        loads
    }

    /// Blocks copied within nodes, all slots together.
    pub fn node_blocks(&self) -> f64 {
        self.slots.iter().flat_map(|slot| &slot.node_blocks).sum()
    }
}

/// Puts a message on its links.
fn charge(
    job: &Job,
    slots: &mut Vec<Slot>,
    from: Rank,
    to: Rank,
    slot: u32,
    blocks: u32,
) -> Result<(), Failure> {
    let (links, nodes) = (job.topology.links(), job.topology.nodes() as usize);
    if slot as usize * links > LOADS_MAX {
        return Err(Failure::TooLarge(format!(
            "{} has more rounds than can be held with {links} links: use the analytic mode",
            job.algorithm.name
        )));
    }
    if slots.len() < slot as usize {
        slots.resize_with(slot as usize, Slot::default);
    }
    let slot = &mut slots[slot as usize - 1];
    let (source, target) = (job.node(from), job.node(to));
    let way = usize::from(source != target);
    let blocks = f64::from(blocks);
    slot.largest[way] = slot.largest[way].max(blocks);
    slot.has[way] = true;
    if source == target {
        slot.node_blocks.resize(nodes, 0.0);
        slot.node_blocks[source as usize] += blocks;
        return Ok(());
    }
    if slot.messages.is_empty() {
        slot.messages.resize(links, 0);
        slot.blocks.resize(links, 0.0);
    }
    job.topology.route(source, target, |link| {
        slot.messages[link] += 1;
        slot.blocks[link] += blocks;
    });
    Ok(())
}

impl Slot {
    fn time_us(&self, job: &Job, block: f64) -> f64 {
        let (model, topology) = (job.model, job.topology);
        let node = self.node_blocks.iter().copied().fold(0.0, f64::max) / model.memory_rate;
        let mut time = (node * block).max(self.largest[0] * block / model.node.rate);
        let adapters = 2 * topology.nodes() as usize;
        let detours = topology.detours().unwrap_or(0..0);
        for (link, (&messages, &blocks)) in self.messages.iter().zip(&self.blocks).enumerate() {
            if messages == 0 || detours.contains(&link) {
                continue;
            }
            let gap = if link < adapters { model.adapter_gap_us } else { 0.0 };
            let rate = model.network.rate * topology.width(link);
            time = time.max(f64::from(messages - 1) * gap + blocks * block / rate);
        }
        if !self.blocks.is_empty() && !detours.is_empty() {
            let width = topology.width(detours.start);
            time = time.max(levelled(&self.blocks[detours]) * block / model.network.rate / width);
        }
        time
    }

    fn handshake_us(&self, job: &Job, block: f64) -> f64 {
        let ways = [&job.model.node, &job.model.network];
        let asks = (0..2)
            .filter(|way| self.has[*way] && self.largest[*way] * block > ways[*way].eager_bytes);
        asks.map(|way| ways[way].handshake_us).fold(0.0, f64::max)
    }
}

/// The load of the fullest global link when what is above the level goes by a third group, which
/// loads two links for one: the least level at which all fits.
fn levelled(loads: &[f64]) -> f64 {
    let all: f64 = loads.iter().sum();
    let (mut low, mut high) = (all / loads.len() as f64, loads.iter().copied().fold(0.0, f64::max));
    for _ in 0..40 {
        let level = (low + high) / 2.0;
        let above: f64 = loads.iter().map(|load| (load - level).max(0.0)).sum();
        let room: f64 = loads.iter().map(|load| (level - load).max(0.0)).sum();
        if 2.0 * above <= room { high = level } else { low = level }
    }
    high
}

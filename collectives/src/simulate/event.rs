// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every step under a virtual clock.
//!
//! Each rank runs its schedule by the executor's own [`Front`]: what may begin, and in which order
//! messages are posted, is decided by the same code as in a real run. Beside it a rank has one
//! processor, which sends, receives, combines and copies one thing at a time. A message takes its
//! links in the order in which messages begin, each link for as long as its bytes need; it goes
//! through all of them at once, at the rate of the narrowest. Beyond the eager limit it asks first,
//! and goes when its receive is posted.
//!
//! Equal seeds give equal runs.
#![forbid(unsafe_code)]

use super::{Failure, Job};
use crate::schedule::{Blocks, Front, Schedule, Step};
use crate::shape::Rank;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// Steps of all ranks together that are held: about 200 bytes each.
const STEPS_MAX: usize = 1 << 23;

/// What disturbs a run.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Disturbance {
    /// Ranks begin within this time, evenly spread.
    pub skew_us: f64,
    /// Mean of what each action of a processor takes longer, exponentially spread.
    pub noise_us: f64,
    /// Of the random numbers.
    pub seed: u64,
}

/// What a run came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// From the beginning of the last rank to the end of the last.
    pub time_us: f64,
    /// The mean over ranks of what each spent in it.
    pub mean_us: f64,
    /// Messages that ended.
    pub messages: u64,
    /// Bytes that left and that came, over all ranks.
    pub sent_bytes: f64,
    /// See `sent_bytes`.
    pub received_bytes: f64,
    /// The most messages that waited for their receives at one rank.
    pub unexpected_max: u32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum What {
    /// The rank begins.
    Begin,
    /// A message leaves: its processor is done with it.
    Leave { step: u32 },
    /// A message, or the question for it, has come.
    Come { from: Rank, step: u32 },
    /// All bytes of a message are there.
    Land { from: Rank, send: u32, step: u32 },
    /// A step ends.
    End { step: u32 },
}

#[derive(Clone, Copy, PartialEq)]
struct Event {
    time_us: f64,
    number: u64,
    rank: Rank,
    what: What,
}

impl Eq for Event {}

impl Ord for Event {
    fn cmp(&self, other: &Event) -> Ordering {
        // The heap gives its greatest: the earliest.
        other.time_us.total_cmp(&self.time_us).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One rank.
struct Process {
    schedule: Schedule,
    front: Front,
    began_us: f64,
    ended_us: f64,
    /// When its processor is free.
    free_us: f64,
    /// Receives that were posted, sends that came: by source, in order.
    posted: HashMap<Rank, std::collections::VecDeque<u32>>,
    came: HashMap<Rank, std::collections::VecDeque<u32>>,
    unexpected: u32,
    /// For each posted step of a message: its place in the order (tests compare it).
    order: Vec<u32>,
}

struct Run<'a> {
    job: &'a Job<'a>,
    block: f64,
    disturbance: Disturbance,
    random: u64,
    queue: BinaryHeap<Event>,
    number: u64,
    processes: Vec<Process>,
    links: Vec<f64>,
    memory: Vec<f64>,
    outcome: Outcome,
}

/// Runs a job once.
pub fn event(
    job: &Job,
    bytes: f64,
    disturbance: Disturbance,
    tick: &mut dyn FnMut(u64, u64),
) -> Result<Outcome, Failure> {
    run(job, bytes, disturbance, tick).map(|run| run.outcome)
}

/// The order in which each rank posted its messages, for comparison with the executor.
#[cfg(test)]
pub(super) fn orders(job: &Job, bytes: f64) -> Vec<Vec<u32>> {
    let run = run(job, bytes, Disturbance::default(), &mut |_, _| {}).expect("a good schedule");
    run.processes.into_iter().map(|process| process.order).collect()
}

fn run<'a>(
    job: &'a Job<'a>,
    bytes: f64,
    disturbance: Disturbance,
    tick: &mut dyn FnMut(u64, u64),
) -> Result<Run<'a>, Failure> {
    let ranks = job.shape.ranks;
    let mut run = Run {
        job,
        block: job.block_bytes(bytes),
        disturbance,
        random: disturbance.seed,
        queue: BinaryHeap::new(),
        number: 0,
        processes: Vec::with_capacity(ranks as usize),
        links: vec![0.0; job.topology.links()],
        memory: vec![0.0; job.topology.nodes() as usize],
        outcome: Outcome {
            time_us: 0.0,
            mean_us: 0.0,
            messages: 0,
            sent_bytes: 0.0,
            received_bytes: 0.0,
            unexpected_max: 0,
        },
    };
    let mut steps = 0;
    for rank in 0..ranks {
        let schedule = job.algorithm.schedule(&job.shape, job.parameters, rank)?;
        steps += schedule.steps().len();
        if steps > STEPS_MAX {
            return Err(Failure::TooLarge(format!(
                "{} over {ranks} ranks has more than {STEPS_MAX} steps: use the structural mode",
                job.algorithm.name
            )));
        }
        let began_us = run.uniform() * disturbance.skew_us;
        let front = Front::new(&schedule);
        run.processes.push(Process {
            schedule,
            front,
            began_us,
            ended_us: began_us,
            free_us: began_us,
            posted: HashMap::new(),
            came: HashMap::new(),
            unexpected: 0,
            order: Vec::new(),
        });
        run.at(began_us, rank, What::Begin);
    }
    let mut events = 0u64;
    while let Some(event) = run.queue.pop() {
        run.handle(event);
        events += 1;
        if events.is_multiple_of(65_536) {
            tick(events, steps as u64 * 2);
        }
    }
    run.judge()
}

impl<'a> Run<'a> {
    fn judge(mut self) -> Result<Run<'a>, Failure> {
        if let Some(rank) = self.processes.iter().position(|process| !process.front.is_done()) {
            return Err(Failure::Stuck { rank: rank as Rank });
        }
        let processes = &self.processes;
        let most = |part: fn(&Process) -> f64| processes.iter().map(part).fold(0.0, f64::max);
        self.outcome.time_us = most(|p| p.ended_us) - most(|p| p.began_us);
        let spent: f64 = processes.iter().map(|p| p.ended_us - p.began_us).sum();
        self.outcome.mean_us = spent / processes.len() as f64;
        Ok(self)
    }

    fn at(&mut self, time_us: f64, rank: Rank, what: What) {
        self.number += 1;
        self.queue.push(Event { time_us, number: self.number, rank, what });
    }

    fn handle(&mut self, event: Event) {
        let Event { time_us: now, rank, .. } = event;
        match event.what {
            What::Begin => {}
            What::Leave { step } => self.leave(now, rank, step),
            What::Come { from, step } => {
                let process = &mut self.processes[rank as usize];
                match process.posted.get_mut(&from).and_then(|posted| posted.pop_front()) {
                    Some(receive) => self.meet(now, rank, receive, from, step),
                    None => {
                        process.came.entry(from).or_default().push_back(step);
                        process.unexpected += 1;
                        let most = &mut self.outcome.unexpected_max;
                        *most = (*most).max(process.unexpected);
                    }
                }
                return;
            }
            What::Land { from, send, step } => {
                let way = self.job.model.way(self.job.node(from) == self.job.node(rank));
                let overhead = way.overhead_us;
                if self.asks(from, send) {
                    self.at(now, from, What::End { step: send });
                }
                let end = self.work(now, rank, overhead);
                self.at(end, rank, What::End { step });
                return;
            }
            What::End { step } => self.end(now, rank, step),
        }
        self.advance(now, rank);
    }

    fn end(&mut self, now: f64, rank: Rank, step: u32) {
        let bytes = self.bytes(rank, step);
        let process = &mut self.processes[rank as usize];
        process.ended_us = process.ended_us.max(now);
        process.front.finish(&process.schedule, step);
        match process.schedule.steps()[step as usize] {
            Step::Send { .. } => self.outcome.sent_bytes += bytes,
            Step::Recv { .. } => {
                self.outcome.received_bytes += bytes;
                self.outcome.messages += 1;
            }
            _ => {}
        }
    }

    /// Begins what may begin, as the executor does: messages first, then local work.
    fn advance(&mut self, now: f64, rank: Rank) {
        loop {
            let process = &mut self.processes[rank as usize];
            if let Some(step) = process.front.next_message() {
                process.order.push(step);
                process.front.posted(&process.schedule, step);
                match process.schedule.steps()[step as usize] {
                    Step::Recv { from, .. } => {
                        let came = process.came.get_mut(&from).and_then(|came| came.pop_front());
                        match came {
                            Some(send) => {
                                process.unexpected -= 1;
                                self.meet(now, rank, step, from, send);
                            }
                            None => process.posted.entry(from).or_default().push_back(step),
                        }
                    }
                    Step::Send { to, .. } => {
                        let same = self.job.node(to) == self.job.node(rank);
                        let overhead = self.job.model.way(same).overhead_us;
                        let left = self.work(now, rank, overhead);
                        self.at(left, rank, What::Leave { step });
                    }
                    _ => unreachable!("only messages are in these lists"),
                }
                continue;
            }
            let model = self.job.model;
            if let Some(step) = process.front.next_local() {
                let rate = match process.schedule.steps()[step as usize] {
                    Step::Reduce { .. } => model.reduce_rate,
                    _ => model.copy_rate,
                };
                let takes = self.bytes(rank, step) / rate;
                let end = self.work(now, rank, takes);
                self.at(end, rank, What::End { step });
                continue;
            }
            let Some(step) = process.front.next_other() else { return };
            let end = self.work(now, rank, model.cell_us);
            self.at(end, rank, What::End { step });
        }
    }

    /// A message's processor is done: it goes, or asks.
    fn leave(&mut self, now: f64, rank: Rank, step: u32) {
        let Step::Send { to, .. } = self.processes[rank as usize].schedule.steps()[step as usize]
        else {
            unreachable!("only sends leave")
        };
        let flight = self.flight_us(rank, to);
        if self.asks(rank, step) {
            self.at(now + flight, to, What::Come { from: rank, step });
        } else {
            let arrival = self.pass(now, rank, to, self.bytes(rank, step)) + flight;
            self.at(arrival, to, What::Come { from: rank, step });
            self.end(now, rank, step);
        }
    }

    /// A receive and its message, or the question for it, are both there.
    fn meet(&mut self, now: f64, rank: Rank, receive: u32, from: Rank, send: u32) {
        let landed = if self.asks(from, send) {
            let way = self.job.model.way(self.job.node(from) == self.job.node(rank));
            self.pass(now + way.handshake_us, from, rank, self.bytes(from, send))
        } else {
            now
        };
        self.at(landed, rank, What::Land { from, send, step: receive });
    }

    /// Takes the links for some bytes; when the last of them leaves the narrowest.
    fn pass(&mut self, now: f64, from: Rank, to: Rank, bytes: f64) -> f64 {
        let (model, topology) = (self.job.model, self.job.topology);
        let (source, target) = (self.job.node(from), self.job.node(to));
        if source == target {
            let busy = &mut self.memory[source as usize];
            let start = busy.max(now);
            *busy = start + bytes / model.memory_rate;
            return start + bytes / model.node.rate.min(model.memory_rate);
        }
        let (mut start, mut rate) = (now, model.network.rate);
        topology.route(source, target, |link| {
            start = start.max(self.links[link]);
            rate = rate.min(model.network.rate * topology.width(link));
        });
        let adapters = 2 * topology.nodes() as usize;
        topology.route(source, target, |link| {
            let gap = if link < adapters { model.adapter_gap_us } else { 0.0 };
            let takes = bytes / (model.network.rate * topology.width(link));
            self.links[link] = start + takes.max(gap);
        });
        start + bytes / rate
    }

    /// The flight of a message alone: its latency without the processors' time at both ends.
    fn flight_us(&self, from: Rank, to: Rank) -> f64 {
        let (latency, same_node) = self.job.latency(from, to);
        (latency - 2.0 * self.job.model.way(same_node).overhead_us).max(0.0)
    }

    /// Whether a send is so long that it asks first.
    fn asks(&self, rank: Rank, step: u32) -> bool {
        let to = self.processes[rank as usize].schedule.steps()[step as usize].peer();
        let same = to.is_some_and(|to| self.job.node(to) == self.job.node(rank));
        self.bytes(rank, step) > self.job.model.way(same).eager_bytes
    }

    fn bytes(&self, rank: Rank, step: u32) -> f64 {
        let step = self.processes[rank as usize].schedule.steps()[step as usize];
        let blocks: Option<Blocks> = step.writes().or_else(|| step.reads().next());
        blocks.map_or(0.0, |blocks| f64::from(blocks.count) * self.block)
    }

    /// Gives the processor some work; when it is done.
    fn work(&mut self, now: f64, rank: Rank, takes_us: f64) -> f64 {
        let noise = match self.disturbance.noise_us {
            mean if mean > 0.0 => -mean * (1.0 - self.uniform()).ln(),
            _ => 0.0,
        };
        let free = &mut self.processes[rank as usize].free_us;
        *free = free.max(now) + takes_us + noise;
        *free
    }

    /// Evenly spread over `0 .. 1` (splitmix64).
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

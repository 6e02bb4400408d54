// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The interpreter: a state machine that never blocks.
//!
//! Invariants:
//! 1. A step starts when the [`Front`] says so, and only once.
//! 2. Messages between two ranks are posted in list order (the front keeps it).
//! 3. A payload in flight belongs to a step that has not ended; steps that touch its blocks wait
//!    for that end, so the binding may touch what no such step does.
//! 4. After a failure nothing is posted any more; what is in flight still ends.
//!
//! A truncated message does not stop the schedule: the other ranks count on our messages. The
//! failure is told when all is done. A lost peer stops it at once.

use super::{Binding, Group};
use crate::schedule::{Front, Schedule, Step};
use crate::shape::Rank;
use std::sync::Arc;
use strait_transport::envelope::{Envelope, Pattern, Peer};
use strait_transport::error::Error;
use strait_transport::request::{Outcome, RequestId};
use strait_transport::worker::{SendMode, Sent, Worker};

/// How far an execution is.
#[derive(Clone, Debug)]
#[must_use]
pub enum Progress {
    /// Something is in flight, or waits for what is.
    Pending,
    /// The next step runs code of the user: call [`Execution::compute`] without the worker.
    Compute,
    /// Ended well. Nothing is in flight.
    Done,
    /// Ended badly. Something may still be in flight ([`Execution::is_idle`]).
    Failed(Failure),
}

/// Why an execution cannot end well.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// A message to or from a rank failed.
    #[error("rank {rank} of the collective call: {error}")]
    Transfer {
        /// The other rank.
        rank: Rank,
        /// Its peer.
        peer: Peer,
        /// What happened.
        error: Error,
    },
    /// A rank sent more than this one expected.
    #[error("message truncated: rank {rank} sent {sent} bytes where {kept} bytes were expected")]
    Truncated {
        /// The other rank.
        rank: Rank,
        /// Its bytes.
        sent: usize,
        /// Ours.
        kept: usize,
    },
    /// A step that this build has no execution for.
    #[error("the step `{0}` is not built in this version")]
    NotBuilt(String),
}

/// A schedule on its way.
pub struct Execution {
    schedule: Arc<Schedule>,
    group: Group,
    context: u32,
    tag: u32,
    /// Taken only on drop, where it may have to be leaked.
    binding: Option<Box<dyn Binding>>,
    front: Front,
    in_flight: Vec<(u32, RequestId)>,
    failure: Option<Failure>,
    /// The failure stops the schedule.
    is_stopped: bool,
    /// A thread waits for this operation alone.
    is_attended: bool,
}

impl Execution {
    /// Ready to start; nothing happens before `advance`. The tag tells calls on one context apart.
    pub fn new(
        schedule: Arc<Schedule>,
        group: Group,
        context: u32,
        tag: u32,
        binding: Box<dyn Binding>,
    ) -> Execution {
        debug_assert_eq!(schedule.shape().ranks as usize, group.peers.len());
        debug_assert_eq!(schedule.rank(), group.me);
        let front = Front::new(&schedule);
        let mut execution = Execution {
            schedule,
            group,
            context,
            tag,
            binding: Some(binding),
            front,
            in_flight: Vec::new(),
            failure: None,
            is_stopped: false,
            is_attended: false,
        };
        execution.refuse_unbuilt();
        execution
    }

    /// Looks what has ended, posts what is ready, computes what is ready (unless that is the
    /// user's code). Never blocks; makes no progress of the worker by itself.
    ///
    /// # Safety
    /// The memory behind the binding stays valid, and is touched by nobody else, until this says
    /// `Done`, or `Failed` and [`Execution::is_idle`]. Always the same worker.
    pub unsafe fn advance(&mut self, worker: &mut Worker) -> Progress {
        loop {
            self.collect(worker);
            if self.is_stopped {
                return self.failed();
            }
            // SAFETY: the caller's promise.
            let posted = unsafe { self.post(worker) };
            if self.is_stopped {
                break;
            }
            if !self.front.has_local() {
                // A receive may have ended as it was posted, and no progress will say so: who
                // goes to sleep after `Pending` must have nothing left to collect.
                if posted {
                    continue;
                }
                break;
            }
            if self.binding.as_ref().is_some_and(|binding| binding.calls_user_code()) {
                return Progress::Compute;
            }
            // SAFETY: the caller's promise.
            unsafe { self.compute() };
        }
        if self.is_stopped {
            return self.failed();
        }
        match (self.front.is_done(), &self.failure) {
            (false, _) => Progress::Pending,
            (true, Some(_)) => self.failed(),
            (true, None) => Progress::Done,
        }
    }

    /// Runs the copies and reductions that are ready. Needs no worker; call `advance` afterwards.
    ///
    /// # Safety
    /// As [`Execution::advance`].
    pub unsafe fn compute(&mut self) {
        while let Some(step) = self.front.next_local() {
            let binding = self.binding.as_mut().expect("it is there until drop");
            match self.schedule.steps()[step as usize] {
                // SAFETY: invariant 3: nothing in flight conflicts with a step that is ready.
                Step::Copy { what, into } => unsafe { binding.copy(what, into) },
                // SAFETY: as above.
                Step::Reduce { left, right, into } => unsafe { binding.reduce(left, right, into) },
                _ => unreachable!("only local steps are in this list"),
            }
            self.finish(step);
        }
    }

    /// From now on a thread waits for this operation and has nothing else to do: it may help with
    /// the copies of its sends.
    pub fn attend(&mut self) {
        self.is_attended = true;
    }

    /// Whether nothing is in flight, so that the memory behind the binding may go.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// After a failure: takes what has ended; whether nothing is in flight any more.
    pub fn settle(&mut self, worker: &mut Worker) -> bool {
        self.collect(worker);
        self.is_idle()
    }

    /// The binding, for who wants to look at the results.
    pub fn binding(&self) -> &dyn Binding {
        self.binding.as_deref().expect("it is there until drop")
    }

    fn failed(&self) -> Progress {
        Progress::Failed(self.failure.clone().expect("a failure was kept"))
    }

    /// Stops at steps that have no execution.
    fn refuse_unbuilt(&mut self) {
        if let Some(step) = self.front.next_other() {
            let step = self.schedule.steps()[step as usize].to_string();
            self.failure.get_or_insert(Failure::NotBuilt(step));
            self.is_stopped = true;
        }
    }

    fn finish(&mut self, step: u32) {
        self.front.finish(&self.schedule, step);
        self.refuse_unbuilt();
    }

    /// Takes the requests that have ended.
    fn collect(&mut self, worker: &mut Worker) {
        let mut index = 0;
        while index < self.in_flight.len() {
            let (step, request) = self.in_flight[index];
            let Some(completion) = worker.take(request) else {
                index += 1;
                continue;
            };
            self.in_flight.swap_remove(index);
            let rank = self.schedule.steps()[step as usize].peer().expect("a message");
            let failure = match completion.outcome {
                Outcome::Done => None,
                Outcome::Truncated { sent } => {
                    Some(Failure::Truncated { rank, sent, kept: completion.bytes })
                }
                // Only we cancel, and only after a failure.
                Outcome::Cancelled => None,
                Outcome::Failed(error) => {
                    let peer = self.group.peer(rank);
                    self.is_stopped = true;
                    Some(Failure::Transfer { rank, peer, error })
                }
            };
            if let Some(failure) = failure {
                self.failure.get_or_insert(failure);
            }
            if self.is_stopped {
                self.in_flight.iter().for_each(|(_, request)| worker.cancel(*request));
            } else {
                self.finish(step);
            }
        }
    }

    /// Posts the messages that are ready, receives first; whether there were any.
    ///
    /// # Safety
    /// As [`Execution::advance`].
    unsafe fn post(&mut self, worker: &mut Worker) -> bool {
        let mut posted = false;
        loop {
            if self.is_stopped {
                return posted;
            }
            let Some(step) = self.front.next_message() else { return posted };
            posted = true;
            let binding = self.binding.as_ref().expect("it is there until drop");
            match self.schedule.steps()[step as usize] {
                Step::Send { to, what } => {
                    let envelope =
                        Envelope { context: self.context, source: self.group.me, tag: self.tag };
                    let (peer, payload) = (self.group.peer(to), binding.payload(what));
                    // SAFETY: the caller's promise, and invariant 3: nobody writes these blocks.
                    let sent = unsafe { worker.send(peer, envelope, payload, SendMode::Standard) };
                    match sent {
                        Sent::Done => self.finish(step),
                        Sent::Pending(request) => {
                            if self.is_attended {
                                worker.attend(request);
                            }
                            self.in_flight.push((step, request));
                        }
                    }
                }
                Step::Recv { from, into } => {
                    let pattern = Pattern { context: self.context, source: from, tag: self.tag };
                    let (peer, payload) = (self.group.peer(from), binding.payload(into));
                    // SAFETY: the caller's promise, and invariant 3: nobody touches these blocks.
                    let request = unsafe { worker.receive(Some(peer), pattern, payload) };
                    self.in_flight.push((step, request));
                }
                _ => unreachable!("only messages are in these lists"),
            }
            self.front.posted(&self.schedule, step);
            self.refuse_unbuilt();
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        // The transport may still read or write what the binding owns: better to leak it. Memory
        // that the binding only borrows is the owner's care, as `advance` says.
        if !self.is_idle() {
            std::mem::forget(self.binding.take());
        }
    }
}

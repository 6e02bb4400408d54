// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One thread's progress engine: owns lanes, queues, requests.

use crate::bootstrap::Job;
use crate::envelope::{Envelope, Pattern, Peer};
use crate::error::{Error, Result};
use crate::payload::Payload;
use crate::request::{Completion, RequestId};
use std::time::Duration;

/// When a send is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendMode {
    /// When the buffer may be used again.
    Standard,
    /// When moreover the receiver has begun to receive.
    Synchronous,
}

/// The answer to a send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Sent {
    /// Already complete; the buffer is free.
    Done,
    /// In flight.
    Pending(RequestId),
}

/// A message that has arrived (or was announced) and is not yet received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its envelope.
    pub envelope: Envelope,
    /// Its packed bytes.
    pub bytes: usize,
}

/// A message claimed by a matched probe: only [`Worker::receive_claimed`] can receive it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageId(pub RequestId);

/// The engine. `&mut self` everywhere: the caller holds the one lock.
pub struct Worker {}

impl Worker {
    /// A worker for this process of the job, with the lanes that `STRAIT_LANES` allows.
    pub fn new(_job: &Job) -> Result<Worker> {
        unimplemented!()
    }

    /// This process.
    pub fn me(&self) -> Peer {
        unimplemented!()
    }

    /// Starts to send. `Done` for what could be copied at once.
    ///
    /// # Safety
    /// The payload's memory is readable and unchanged until completion.
    pub unsafe fn send(
        &mut self,
        _to: Peer,
        _envelope: Envelope,
        _payload: Payload,
        _mode: SendMode,
    ) -> Sent {
        unimplemented!()
    }

    /// Starts to receive. `from` is the peer that the pattern's source stands for, if it is exact
    /// (so that the loss of that peer fails the request).
    ///
    /// # Safety
    /// The payload's memory is writable and otherwise untouched until completion.
    pub unsafe fn receive(
        &mut self,
        _from: Option<Peer>,
        _pattern: Pattern,
        _payload: Payload,
    ) -> RequestId {
        unimplemented!()
    }

    /// The first unreceived message that the pattern accepts. Makes no progress by itself.
    pub fn probe(&mut self, _pattern: Pattern) -> Option<Arrival> {
        unimplemented!()
    }

    /// As [`Worker::probe`], and takes the message out of matching.
    pub fn claim(&mut self, _pattern: Pattern) -> Option<(MessageId, Arrival)> {
        unimplemented!()
    }

    /// Receives a claimed message.
    ///
    /// # Safety
    /// As [`Worker::receive`].
    pub unsafe fn receive_claimed(&mut self, _message: MessageId, _payload: Payload) -> RequestId {
        unimplemented!()
    }

    /// Whether the request has ended. A stale id counts as ended.
    pub fn is_complete(&self, _request: RequestId) -> bool {
        unimplemented!()
    }

    /// The terminal record, and frees the request; `None` while in flight.
    pub fn take(&mut self, _request: RequestId) -> Option<Completion> {
        unimplemented!()
    }

    /// Nobody will ask for this request again: it is freed when it ends.
    pub fn detach(&mut self, _request: RequestId) {
        unimplemented!()
    }

    /// Asks for cancellation. The request still ends through [`Worker::take`], with
    /// `Outcome::Cancelled` or as if nothing had happened.
    pub fn cancel(&mut self, _request: RequestId) {
        unimplemented!()
    }

    /// Bounded non-blocking work; returns how much it did.
    pub fn progress(&mut self) -> usize {
        unimplemented!()
    }

    /// Peers that were lost since the last call.
    pub fn lost(&mut self) -> Vec<(Peer, Error)> {
        unimplemented!()
    }

    /// Whether all that was accepted has left this process (Finalize waits for it).
    pub fn is_flushed(&self) -> bool {
        unimplemented!()
    }

    /// Announces sleep on every lane, then looks once more. `false`: there was work, do not sleep.
    pub fn arm(&mut self) -> bool {
        unimplemented!()
    }

    /// Takes the announcement back. Call it when the last sleeping thread is awake.
    pub fn disarm(&mut self) {
        unimplemented!()
    }

    /// What a thread sleeps on without holding the worker.
    pub fn sleeper(&self) -> Sleeper {
        unimplemented!()
    }
}

/// Sleeps until a peer rings, without holding the worker. Cheap to clone.
#[derive(Clone)]
pub struct Sleeper {}

impl Sleeper {
    /// Sleeps until rung, or until the time is over. Returns at once if rung since `arm`.
    pub fn sleep(&self, _timeout: Option<Duration>) {
        unimplemented!()
    }

    /// Wakes all threads of this process that sleep here.
    pub fn wake_all(&self) {
        unimplemented!()
    }
}

/// What a thread does between two looks: spin, yield, then sleep, by the number of runnable ranks
/// per allowed core.
pub struct Waiter {}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Look again (the pause has been made).
    Look,
    /// Long enough: arm and sleep.
    Sleep,
}

impl Waiter {
    /// A fresh wait under the policy of this process.
    pub fn new() -> Waiter {
        Waiter {}
    }

    /// Pauses or yields as the ladder says.
    #[inline]
    pub fn pause(&mut self) -> Next {
        unimplemented!()
    }
}

impl Default for Waiter {
    fn default() -> Waiter {
        Waiter::new()
    }
}

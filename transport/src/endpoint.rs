// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A peer seen from a worker: its lane, thresholds, credit, and what waits for room on the lane.
//!
//! Invariants:
//! 1. Messages that are matched (eager, RTS) leave in the order of their sends: as long as `sends`
//!    is not empty, every later one goes to its end.
//! 2. Control messages wait in `control`, which is emptied first; they may overtake sends, because
//!    each of them concerns only messages that have left or arrived already.
//! 3. `ready_below` says that a short send may go straight to the lane.
//! 4. At most one eager message of several fragments is on its way from a peer: `assembly`.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::lane::any::LaneKind;
use crate::protocol::credit::Credit;
use crate::protocol::plan::Thresholds;
use crate::request::{NO_REQUEST, RequestId, Requests};
use crate::wire::header::Header;
use std::collections::VecDeque;

/// A control message that waits for room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) header: Header,
    pub(crate) body: [u8; 16],
}

/// Where the next fragment of the peer's eager message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Assembly {
    /// No message is incomplete.
    None,
    /// Into the buffer of this receive.
    Into(RequestId),
    /// Into this record of the parked bodies.
    Parked(u32),
}

/// One peer.
pub(crate) struct Endpoint {
    /// A standard send of fewer bytes may go straight to the lane: zero, or one more than what is
    /// short if the lane is connected, the peer not lost, and nothing queued.
    pub(crate) ready_below: u32,
    /// The lane was asked what it can do.
    pub(crate) connected: bool,
    /// It was asked again about fetching, after the peer was seen running.
    pub(crate) fetch_settled: bool,
    /// It is in the worker's list of endpoints with something to push.
    pub(crate) active: bool,
    pub(crate) lane: LaneKind,
    pub(crate) thresholds: Thresholds,
    pub(crate) credit: Credit,
    pub(crate) sends: List,
    pub(crate) streams: List,
    pub(crate) assembly: Assembly,
    pub(crate) control: VecDeque<Control>,
    /// Why the peer is lost.
    pub(crate) lost: Option<Error>,
}

// 1000 peers are 128 KB.
const _: () = assert!(size_of::<Endpoint>() <= 128);

impl Endpoint {
    pub(crate) fn new(lane: LaneKind, grant: usize) -> Endpoint {
        Endpoint {
            ready_below: 0,
            connected: false,
            fetch_settled: false,
            active: false,
            lane,
            thresholds: Thresholds::default(),
            credit: Credit::new(grant),
            sends: List::EMPTY,
            streams: List::EMPTY,
            assembly: Assembly::None,
            control: VecDeque::new(),
            lost: None,
        }
    }

    /// Nothing waits for room.
    pub(crate) fn is_idle(&self) -> bool {
        self.control.is_empty() && self.sends.is_empty() && self.streams.is_empty()
    }

    /// Recomputes `ready_below`.
    pub(crate) fn update_ready(&mut self) {
        let ready = self.connected
            && self.lost.is_none()
            && self.control.is_empty()
            && self.sends.is_empty();
        self.ready_below = if ready { self.thresholds.short_bytes_max + 1 } else { 0 };
    }
}

/// A list of requests, linked through their slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct List {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl List {
    pub(crate) const EMPTY: List = List { first: NO_REQUEST, last: NO_REQUEST };

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NO_REQUEST
    }

    /// Appends a request that is in no list.
    pub(crate) fn push(&mut self, requests: &mut Requests, index: u32) {
        let slot = requests.at(index);
        slot.previous = self.last;
        slot.next = NO_REQUEST;
        match self.last {
            NO_REQUEST => self.first = index,
            last => requests.at(last).next = index,
        }
        self.last = index;
    }

    /// Takes a request of this list out.
    pub(crate) fn remove(&mut self, requests: &mut Requests, index: u32) {
        let slot = requests.at(index);
        let (previous, next) = (slot.previous, slot.next);
        slot.previous = NO_REQUEST;
        slot.next = NO_REQUEST;
        match previous {
            NO_REQUEST => self.first = next,
            previous => requests.at(previous).next = next,
        }
        match next {
            NO_REQUEST => self.last = previous,
            next => requests.at(next).previous = previous,
        }
    }
}

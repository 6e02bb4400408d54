// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What callers ask of the lanes that are networks: is something connecting, or held back, and may
//! the progress thread leave them alone.

use super::Worker;
use crate::error::Result;
use std::os::fd::BorrowedFd;

impl Worker {
    /// Whether some peer is reached by a network. If not, nothing is ever connecting or held.
    #[inline]
    pub fn has_network(&self) -> bool {
        self.lanes.has_network()
    }

    /// What becomes readable when networks have something to do, once
    /// [`Worker::may_leave_networks`] said that they have nothing.
    pub fn network_descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.lanes.network_descriptors()
    }

    /// What becomes readable when a peer of this host rings, once [`Worker::may_leave_host`] said
    /// that nothing of them is here.
    ///
    /// # Errors
    /// The system refuses a descriptor.
    ///
    /// # Panics
    /// If this is a simulated worker.
    pub fn door(&self) -> Result<BorrowedFd<'_>> {
        self.sleepers.as_ref().expect("a simulated worker does not sleep").door()
    }

    /// Whether the peers of this host have sent nothing, and ring at the door when they do.
    /// `is_alone`: no thread sleeps on an announcement, so rings of before mean nothing any more.
    pub fn may_leave_host(&mut self, is_alone: bool) -> bool {
        if is_alone && let Some(sleepers) = &self.sleepers {
            sleepers.empty_door();
        }
        self.arm()
    }

    /// Whether a look of the thread beside the program's own: it copies short pieces, so that the
    /// program never waits long for it.
    pub fn stand_aside(&mut self, is_aside: bool) {
        self.core.is_aside = is_aside;
    }

    /// The next progress leaves no network out.
    pub fn look_at_networks(&mut self) {
        self.lanes.look_at_networks();
    }

    /// Whether networks have nothing to do before one of their descriptors is readable. Unlike
    /// [`Worker::arm`] this announces nothing to the peers of this host.
    pub fn may_leave_networks(&mut self) -> bool {
        self.core.actions.is_empty() && self.lanes.may_leave_networks()
    }

    /// Whether accepted messages wait for a connection that is being made: that takes progress on
    /// both sides, so a blocking send stays until it is over.
    #[inline]
    pub fn is_connecting(&self) -> bool {
        self.lanes.is_connecting()
    }

    /// Whether short messages are held back until the next progress. A call after which this
    /// process may compute for long must let them go, unless it only starts something.
    #[inline]
    pub fn is_holding(&self) -> bool {
        self.lanes.is_holding()
    }

    /// Sends what is held back.
    #[cold]
    pub fn release(&mut self) {
        self.lanes.release();
    }
}

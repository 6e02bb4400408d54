// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The memory that the processes of one host share: one memfd, a header, a record per local rank,
//! then the rings and slabs of lane::shm. The launcher creates it; processes open it.

use crate::error::Result;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What the creator knows.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Job identity.
    pub job: [u8; 16],
    /// Job key.
    pub key: [u8; 32],
    /// Processes in the job.
    pub size: u32,
    /// Rank of local rank 0.
    pub first_local_rank: u32,
    /// Processes on this host.
    pub local_size: u32,
}

/// The mapped node memory.
pub struct Node {}

/// What a rank of the node is doing, as the launcher and the others see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum RankState {
    /// Never reported.
    Absent = 0,
    /// Has joined; between MPI_Init and MPI_Finalize.
    Running = 1,
    /// MPI_Finalize is over.
    Finalized = 2,
}

/// A look at the current-call slot of a rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallSample {
    /// Call id, 0 outside MPI (the table of names is strait-mpi's; it also writes the names of the
    /// ids into the node memory once, so that the launcher needs no table).
    pub call: u32,
    /// Counts calls: the same number twice means the same call still.
    pub count: u32,
}

impl Node {
    /// Creates the memory (memfd, else an unlinked file), lazily populated.
    pub fn create(_plan: &NodePlan) -> Result<Node> {
        unimplemented!()
    }
    /// The descriptor, to be inherited or passed.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        unimplemented!()
    }
    /// Maps and checks: magic, version, build, sizes.
    pub fn open(_descriptor: OwnedFd) -> Result<Node> {
        unimplemented!()
    }
    /// The plan it was created with.
    pub fn plan(&self) -> NodePlan {
        unimplemented!()
    }
    /// The record of a local rank.
    pub fn record(&self, _local_rank: u32) -> Record<'_> {
        unimplemented!()
    }
    /// MPI_Abort: the first caller wins (one compare-and-swap); `true` for the winner.
    pub fn request_abort(&self, _rank: u32, _code: i32) -> bool {
        unimplemented!()
    }
    /// Who asked to abort, with which code.
    pub fn abort_requested(&self) -> Option<(u32, i32)> {
        unimplemented!()
    }
    /// Name of a call id, as some rank registered it.
    pub fn call_name(&self, _call: u32) -> Option<String> {
        unimplemented!()
    }
    /// Registers the names of the call ids 1.. (each at most 47 bytes); idempotent.
    pub fn register_call_names(&self, _names: &[&str]) {
        unimplemented!()
    }
}

/// One rank's record.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    _node: &'a Node,
}

impl Record<'_> {
    /// Its state.
    pub fn state(&self) -> RankState {
        unimplemented!()
    }
    /// Sets the state (owner only).
    pub fn set_state(&self, _state: RankState) {
        unimplemented!()
    }
    /// Process id of the owner, 0 while absent.
    pub fn pid(&self) -> u32 {
        unimplemented!()
    }
    /// Publishes the current call: two plain stores (owner only). 0 when leaving MPI.
    #[inline]
    pub fn publish_call(&self, _call: u32) {
        unimplemented!()
    }
    /// Samples the current call.
    pub fn call(&self) -> CallSample {
        unimplemented!()
    }
    /// Leaves a text for the launcher's report (a fatal error, a panic); the first one stays, at
    /// most 2 KiB are kept. Async-signal-safe, allocates nothing.
    pub fn leave_report(&self, _text: &str) {
        unimplemented!()
    }
    /// The text.
    pub fn report(&self) -> Option<String> {
        unimplemented!()
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One-sided communication (MPI-5.0 chapter 12): how accesses reach the memory of another rank.
//!
//! There are three ways, chosen for each target (`Reach`): load and store, where the window is one
//! mapping or the target is this process; reads and writes through the kernel, for private memory
//! of another process of the host; messages, which the target serves (`serve`) whenever it waits
//! in a call, and over a network whatever it does (progress_thread.rs). The first two need nothing
//! of the target, not even that it calls MPI. Beside messages, puts and gets go by a fabric's own
//! writes and reads where it has them (`network`).
//!
//! The parts: `control` (locks that the ranks of a host share), `epoch` (which accesses are
//! allowed now), `combine` (accumulation), `near` (the first two ways), `wire` (what messages
//! say), `origin` and `target` (their two sides), `access` (one access, whichever way it goes).
//!
//! Invariants:
//! 1. Accumulates take the target's update lock, whichever way they come. So all of them are atomic
//!    to each other, in every mix of ways, types and operations.
//! 2. The lock of a target (MPI_Win_lock) is one word; ranks of its host change it themselves, the
//!    target does it for all others.
//! 3. A target handles the messages of one origin in their order: so the answer to a flush means
//!    that all before it is done, and accumulates are ordered.
//! 4. Requests and replies have different contexts, and replies are received where they go: who
//!    waits for a reply still serves requests, so that no two ranks wait for each other.
//! 5. What is sent is copied: puts and accumulates by messages are complete at the origin when they
//!    return.

pub mod access;
mod combine;
pub mod control;
pub mod epoch;
mod near;
pub mod network;
pub mod origin;
pub mod target;
pub mod wire;

pub use combine::Combine;
pub use target::serve;

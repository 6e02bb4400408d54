// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Moves bytes between the peers of a job. Knows peers, contexts, tags; no ranks, no communicators.
//!
//! A [`worker::Worker`] owns lanes, queues and requests; [`worker::Worker::progress`] moves them.
//! [`bootstrap::attach`] tells a process who it is and gives it the memory its node shares.

pub mod bootstrap;
pub mod config;
pub mod counters;
mod endpoint;
mod endpoints;
pub mod envelope;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod lane;
pub mod memory;
pub mod node;
mod opened;
pub mod outside;
pub mod payload;
pub mod peers;
pub mod protocol;
pub mod request;
pub mod sync;
pub mod topology;
pub mod wait;
pub mod wire;
pub mod worker;

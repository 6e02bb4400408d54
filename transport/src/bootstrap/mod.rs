// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a process learns who it is: an inherited descriptor, else an abstract socket named in the
//! environment, else nothing (a job of one).

pub mod contract;

use crate::error::Result;
use crate::node::Node;
use std::sync::Arc;

/// How this process came to its job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Started by our mpiexec.
    Launched,
    /// A job of one. The reason is set when the environment suggested something else (a stale or
    /// nested environment), and is worth one line to the user.
    Singleton { reason: Option<String> },
}

/// Who this process is and what it shares with the others.
pub struct Job {
    /// Index of this process in the job.
    pub rank: u32,
    /// Processes in the job.
    pub size: u32,
    /// Index among the processes of this host.
    pub local_rank: u32,
    /// Processes of the job on this host. Local ranks are the ranks `first_local_rank ..`.
    pub local_size: u32,
    /// Rank of local rank 0 (one host: 0).
    pub first_local_rank: u32,
    /// 256-bit job key: authenticates every connection of the job.
    pub key: [u8; 32],
    /// Name of this host, without a look-up.
    pub host: String,
    /// How it was started.
    pub origin: Origin,
    /// The node's shared memory; a private one for a job of one.
    pub node: Arc<Node>,
}

/// Joins the job that started this process, or makes a job of one.
///
/// # Errors
/// A named error when the environment says that this process is one of several and it cannot join
/// them: a foreign launcher, another build, a refused socket. Never N silent jobs of one.
pub fn attach() -> Result<Job> {
    unimplemented!("bootstrap::attach")
}

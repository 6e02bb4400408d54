// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a job ends before its ranks end by themselves: why, and in which steps.
//!
//! ```text
//! GRACE --time, or a second signal--> TERM sent --time, or a third--> KILL sent
//! ```
//!
//! In GRACE the ranks go on: they may fail for the same reason and say so, or handle the signal
//! that they got. The first cause stays; later ones only hasten the steps.
#![forbid(unsafe_code)]

use super::waiting::{Doing, Look};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Why a job is ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Cause {
    /// This rank failed while others ran.
    Failed(u32),
    /// This rank called MPI_Abort with this code.
    Abort(u32, i32),
    /// mpiexec got this signal.
    Signal(i32),
    /// The time limit.
    Timeout(Duration),
    /// Ranks use another MPI library; the text says which.
    Foreign(String),
    /// Nobody reads our standard output any more.
    OutputGone,
    /// A host is gone; the text says which and how.
    HostLost(String),
    /// A job that ranks had spawned failed with this code, and ranks of this one lost it.
    Spawned(u8),
    /// The part of the job on this host is ended because of what happened on another one.
    Elsewhere(Box<Cause>),
}

/// The steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// The ranks go on for a moment.
    Grace,
    /// SIGTERM was sent.
    Terminated,
    /// SIGKILL was sent.
    Killed,
}

/// How long ranks may handle a ^C before they get SIGTERM.
const INTERRUPT_TIME: Duration = Duration::from_secs(5);
/// When ranks that sit in an MPI call after a ^C get SIGTERM: they cannot handle anything there.
pub const INTERRUPT_LOOK: Duration = Duration::from_secs(1);
/// From SIGTERM to SIGKILL after a signal from outside.
const TERM_TIME_SIGNAL: Duration = Duration::from_secs(5);
/// From SIGTERM to SIGKILL after a failure: the job ends within a second.
const TERM_TIME_FAILURE: Duration = Duration::from_millis(250);
/// Between two looks at the calls, where nothing else gives the ranks time.
const LOOK_TIME: Duration = Duration::from_millis(50);

/// A job on its way to its end.
pub struct Ending {
    /// Why.
    pub cause: Cause,
    /// How far.
    pub stage: Stage,
    /// When the next step is due.
    pub next: Instant,
    /// Since when.
    pub begun: Instant,
    /// The first look at the calls.
    pub look: Look,
    /// What the ranks were found to do just before SIGTERM.
    pub doings: BTreeMap<u32, (Doing, Duration)>,
    /// Ranks that were alive when SIGTERM was sent.
    pub ended_by_us: Vec<u32>,
}

impl Ending {
    /// Begins. `grace` is the user's.
    pub fn new(cause: Cause, grace: Duration, look: Look) -> Ending {
        let begun = Instant::now();
        let inner = match &cause {
            Cause::Elsewhere(inner) => inner,
            own => own,
        };
        let first = match inner {
            Cause::Failed(_) => grace,
            Cause::Abort(..) | Cause::Timeout(_) => LOOK_TIME,
            Cause::HostLost(_) | Cause::Spawned(_) => LOOK_TIME,
            Cause::Signal(libc::SIGTERM | libc::SIGHUP) => TERM_TIME_SIGNAL,
            Cause::Signal(_) => INTERRUPT_TIME,
            Cause::Foreign(_) | Cause::OutputGone | Cause::Elsewhere(_) => Duration::ZERO,
        };
        // The signal itself is the first step; the ranks get it from its sender or from us.
        let stage = match cause {
            Cause::Signal(libc::SIGTERM | libc::SIGHUP) => Stage::Terminated,
            _ => Stage::Grace,
        };
        Ending {
            cause,
            stage,
            next: begun + first,
            begun,
            look,
            doings: BTreeMap::new(),
            ended_by_us: Vec::new(),
        }
    }

    /// From SIGTERM to SIGKILL.
    pub fn term_time(&self) -> Duration {
        match self.cause {
            Cause::Signal(_) => TERM_TIME_SIGNAL,
            _ => TERM_TIME_FAILURE,
        }
    }

    /// The next step is due now.
    pub fn hasten(&mut self) {
        self.next = Instant::now();
    }
}

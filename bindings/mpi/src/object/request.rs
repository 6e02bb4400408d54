// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a request handle stands for.
//!
//! ```text
//! Transfer    one send or receive of the transport
//! Work        several steps: collectives, Isendrecv
//! Generalized the user completes it
//! Failed      ended badly: with the communicator whose error handler is to hear of it
//! Done        ended, its status not yet asked for
//! Persistent  inactive, or one of the above while active
//! ```

use crate::abi::{Code, Status};
use crate::entry::Entry;
use crate::error::{MpiError, Result, class, make};
use crate::object::comm::CommRef;
use crate::object::partitioned::Side;
use std::ffi::c_void;
use strait_transport::request::{Completion, Outcome, RequestId};

/// Code of MPI_REQUEST_NULL.
pub const REQUEST_NULL: Code = 0x180;
/// Code of MPI_MESSAGE_NULL.
pub const MESSAGE_NULL: Code = 0x128;
/// Code of MPI_MESSAGE_NO_PROC.
pub const MESSAGE_NO_PROC: Code = 0x129;

/// A request.
pub enum Request {
    /// One send or receive.
    Transfer(Transfer),
    /// Several steps.
    Work(Box<dyn Work>),
    /// Several steps, which some thread is just now letting advance.
    Advancing,
    /// Ended.
    Done(Finished),
    /// Ended with an error, on this communicator.
    Failed(Box<(Finished, CommRef)>),
    /// Generalized.
    Generalized(Box<Generalized>),
    /// Persistent.
    Persistent(Box<Persistent>),
}

impl Request {
    /// Work that has ended.
    pub fn ended(work: &dyn Work, finished: Finished) -> Request {
        match work.comm() {
            Some(comm) if finished.error.is_some() => Request::Failed(Box::new((finished, comm))),
            _ => Request::Done(finished),
        }
    }
}

/// One send or receive of the transport.
pub struct Transfer {
    /// The transport's request.
    pub id: RequestId,
    /// For the error handler, and to keep the communicator alive.
    pub comm: CommRef,
    /// A receive.
    pub receive: bool,
}

/// How something ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its status; the error field is set from `error` by who writes it out.
    pub status: Status,
    /// Its error.
    pub error: Option<Box<MpiError>>,
}

impl Finished {
    /// Ended well, with nothing to tell.
    pub const EMPTY: Finished = Finished { status: Status::EMPTY, error: None };
    /// A transfer with MPI_PROC_NULL.
    pub const PROC_NULL: Finished = Finished { status: Status::PROC_NULL, error: None };
}

/// Work of several steps behind one request. It is taken out of its request while it advances, so
/// that it may release the entry lock (user callbacks run outside it).
pub trait Work {
    /// Does what can be done without blocking; `Some` when it has ended.
    fn advance(&mut self, entry: &mut Entry) -> Option<Finished>;

    /// The communicator whose error handler serves it.
    fn comm(&self) -> Option<CommRef>;

    /// Whether to advance may run a function of the user's, which only the user's threads do.
    fn runs_user_code(&self) -> bool {
        false
    }
}

/// A generalized request (MPI-5.0 section 13.2): the user says when it is complete.
pub struct Generalized {
    /// `int (*)(void *, MPI_Status *)`
    pub query: *const c_void,
    /// `int (*)(void *)`
    pub free: *const c_void,
    /// `int (*)(void *, int)`
    pub cancel: *const c_void,
    /// Passed to all.
    pub extra_state: *mut c_void,
    /// MPI_Grequest_complete was called.
    pub complete: bool,
    /// How the callbacks' error codes are read.
    pub error_in: fn(std::ffi::c_int) -> std::ffi::c_int,
}

/// Starts a persistent request once more.
pub type Start = Box<dyn FnMut(&mut Entry) -> Result<Request>>;

/// A persistent request: how to start it, and its active part.
pub struct Persistent {
    /// Starts it once more.
    pub start: Start,
    /// The active part; `None` while inactive.
    pub active: Option<Request>,
    /// For error handlers.
    pub comm: CommRef,
    /// Of a partitioned one: which side it is.
    pub side: Option<Side>,
}

/// A buffer for buffered sends: only its size is used, messages are kept in memory of ours.
#[derive(Debug)]
pub struct BsendBuffer {
    /// What detach gives back.
    pub address: *mut c_void,
    /// Bytes that the user attached; `None`: automatic, no limit.
    pub bytes: Option<usize>,
    /// Bytes in use, overhead included.
    pub used: usize,
    /// Sends in flight with their copies.
    pub pending: Vec<(RequestId, Box<[u8]>, usize)>,
}

/// The status and error of a transport completion, as a receive or a send on `comm` reports them.
pub fn finished(completion: Completion, receive: bool) -> Finished {
    let mut status = if receive {
        Status {
            source: completion.source as i32,
            tag: completion.tag as i32,
            error: 0,
            bytes: completion.bytes as u64,
            cancelled: false,
        }
    } else {
        Status::EMPTY
    };
    let error = match completion.outcome {
        Outcome::Done => None,
        Outcome::Cancelled => {
            status = Status { cancelled: true, ..Status::EMPTY };
            None
        }
        Outcome::Truncated { sent } => {
            let mut error = make(
                class::TRUNCATE,
                format!(
                    "message truncated: rank {} sent {sent} bytes with tag {}, the receive buffer \
                     holds {} bytes",
                    completion.source, completion.tag, completion.bytes
                ),
            );
            error.help = "receive with a larger count, or use MPI_Probe and MPI_Get_count first";
            Some(error)
        }
        Outcome::Failed(error) => Some(error.into()),
    };
    Finished { status, error }
}

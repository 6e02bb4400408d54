// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Errors as MPI sees them: a canonical class and a sentence. Classes exist only in bindings.

use std::cell::RefCell;
use strait_transport::error as transport;

/// Canonical error classes: the numbers of the standard ABI.
pub mod class {
    #![allow(missing_docs)]
    pub const SUCCESS: i32 = 0;
    pub const BUFFER: i32 = 1;
    pub const COUNT: i32 = 2;
    pub const TYPE: i32 = 3;
    pub const TAG: i32 = 4;
    pub const COMM: i32 = 5;
    pub const RANK: i32 = 6;
    pub const REQUEST: i32 = 7;
    pub const ROOT: i32 = 8;
    pub const GROUP: i32 = 9;
    pub const OP: i32 = 10;
    pub const TOPOLOGY: i32 = 11;
    pub const DIMS: i32 = 12;
    pub const ARG: i32 = 13;
    pub const UNKNOWN: i32 = 14;
    pub const TRUNCATE: i32 = 15;
    pub const OTHER: i32 = 16;
    pub const INTERN: i32 = 17;
    pub const PENDING: i32 = 18;
    pub const IN_STATUS: i32 = 19;
    pub const ACCESS: i32 = 20;
    pub const AMODE: i32 = 21;
    pub const ASSERT: i32 = 22;
    pub const BAD_FILE: i32 = 23;
    pub const BASE: i32 = 24;
    pub const DISP: i32 = 26;
    pub const FILE_EXISTS: i32 = 28;
    pub const FILE_IN_USE: i32 = 29;
    pub const FILE: i32 = 30;
    pub const INFO_KEY: i32 = 31;
    pub const INFO_NOKEY: i32 = 32;
    pub const INFO_VALUE: i32 = 33;
    pub const INFO: i32 = 34;
    pub const IO: i32 = 35;
    pub const KEYVAL: i32 = 36;
    pub const LOCKTYPE: i32 = 37;
    pub const NAME: i32 = 38;
    pub const NO_MEM: i32 = 39;
    pub const NOT_SAME: i32 = 40;
    pub const NO_SPACE: i32 = 41;
    pub const NO_SUCH_FILE: i32 = 42;
    pub const PORT: i32 = 43;
    pub const QUOTA: i32 = 44;
    pub const READ_ONLY: i32 = 45;
    pub const RMA_ATTACH: i32 = 46;
    pub const RMA_RANGE: i32 = 48;
    pub const RMA_SHARED: i32 = 49;
    pub const RMA_SYNC: i32 = 50;
    pub const SERVICE: i32 = 51;
    pub const SIZE: i32 = 52;
    pub const SPAWN: i32 = 53;
    pub const CONVERSION: i32 = 25;
    pub const DUP_DATAREP: i32 = 27;
    pub const UNSUPPORTED_DATAREP: i32 = 54;
    pub const UNSUPPORTED_OPERATION: i32 = 55;
    pub const WIN: i32 = 56;
    pub const RMA_FLAVOR: i32 = 57;
    pub const PROC_ABORTED: i32 = 58;
    pub const VALUE_TOO_LARGE: i32 = 59;
    pub const SESSION: i32 = 60;
    pub const ERRHANDLER: i32 = 61;
    pub const ABI: i32 = 62;
    // Of fault tolerance: what MPICH's mpi.h says, which the standard ABI has left free.
    pub const PROC_FAILED: i32 = 101;
    pub const PROC_FAILED_PENDING: i32 = 102;
    pub const REVOKED: i32 = 103;
    pub const LASTCODE: i32 = 16383;
}

/// What an MPI call failed with: a class (or a code that a user added), what happened, and what to
/// do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpiError {
    /// Canonical class or a user's code.
    pub code: i32,
    /// What happened, with the values that matter; one or two sentences.
    pub text: String,
    /// What to do; may be empty.
    pub help: &'static str,
}

/// Result of the inside of a call. Boxed: the happy path stays one word.
pub type Result<T = ()> = std::result::Result<T, Box<MpiError>>;

/// An error of a class.
#[cold]
pub fn error<T>(code: i32, text: impl Into<String>) -> Result<T> {
    Err(make(code, text))
}

/// The same, unwrapped.
#[cold]
pub fn make(code: i32, text: impl Into<String>) -> Box<MpiError> {
    Box::new(MpiError { code, text: text.into(), help: "" })
}

/// An error with advice.
#[cold]
pub fn advise(code: i32, text: impl Into<String>, help: &'static str) -> Box<MpiError> {
    Box::new(MpiError { code, text: text.into(), help })
}

/// What to do about an error whose place has no better advice, by class.
const ADVICE: &[(i32, &str)] = &[
    (class::BUFFER, "pass memory for as many elements as the count says"),
    (class::COUNT, "look at how the count is computed: all ranks must agree on what is sent"),
    (class::TYPE, "pass a predefined datatype, or one that was made, committed and not yet freed"),
    (class::TAG, "use tags from 0 to the attribute MPI_TAG_UB; MPI_ANY_TAG is for receives only"),
    (
        class::COMM,
        "pass MPI_COMM_WORLD, or a communicator that this rank is in and has not freed \
         (MPI_Comm_split gives MPI_COMM_NULL to ranks of colour MPI_UNDEFINED)",
    ),
    (
        class::RANK,
        "ranks count from 0 to the size of the communicator minus 1: does the program expect more \
         ranks than mpiexec -n started?",
    ),
    (class::REQUEST, "pass a request that a call returned and that was not completed or freed yet"),
    (
        class::ROOT,
        "pass the same root on all ranks, from 0 to the size of the communicator minus 1",
    ),
    (class::GROUP, "pass a group that was made from a communicator or a group, and not freed"),
    (class::OP, "pass a predefined operation that fits the datatype, or one of MPI_Op_create"),
    (class::ARG, "compare the argument with the description of the function in the MPI standard"),
    (class::WIN, "pass a window that was created and not freed"),
    (class::FILE, "pass a file that MPI_File_open opened and that is not closed"),
    (class::INFO, "pass MPI_INFO_NULL, or an info object that was created and not freed"),
    (class::KEYVAL, "pass a key of the matching MPI_*_create_keyval that was not freed"),
    (
        class::REVOKED,
        "agree with the others on what to do; MPIX_Comm_shrink makes a communicator of those who \
         are left",
    ),
    (class::ERRHANDLER, "pass MPI_ERRORS_RETURN, or a handler made for this kind of object"),
];

/// What to do about an error of a class; empty where only its text can tell.
pub fn advice(code: i32) -> &'static str {
    ADVICE.iter().find(|(class, _)| *class == code).map_or("", |(_, text)| text)
}

thread_local! {
    /// The last error that a call of this thread returned: its code and what happened.
    static LAST: RefCell<Option<(i32, String)>> = const { RefCell::new(None) };
}

/// An error is about to be returned by a call of this thread.
#[cold]
pub fn remember(error: &MpiError) {
    // A thread that is ending has no last error any more, and nobody left to ask for it.
    let _ = LAST.try_with(|last| *last.borrow_mut() = Some((error.code, error.text.clone())));
}

/// What happened, if the last error that a call of this thread returned has this code.
pub fn remembered(code: i32) -> Option<String> {
    LAST.try_with(|last| {
        let last = last.borrow();
        last.as_ref().filter(|(last, _)| *last == code).map(|(_, text)| text.clone())
    })
    .ok()
    .flatten()
}

impl From<transport::Error> for Box<MpiError> {
    #[cold]
    fn from(error: transport::Error) -> Box<MpiError> {
        let code = match &*error.0 {
            transport::Kind::Revoked => {
                return make(class::REVOKED, "the communicator was revoked");
            }
            transport::Kind::PeerLost { .. } => crate::fault::class_of_loss(),
            transport::Kind::Bootstrap(_) | transport::Kind::Config(_) => class::OTHER,
            _ => class::INTERN,
        };
        make(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_this_thread_is_remembered_by_its_code() {
        assert_eq!(remembered(class::RANK), None);
        remember(&make(class::RANK, "the destination is 9"));
        assert_eq!(remembered(class::RANK).as_deref(), Some("the destination is 9"));
        assert_eq!(remembered(class::TAG), None);
        let elsewhere = std::thread::spawn(|| remembered(class::RANK));
        assert_eq!(elsewhere.join().unwrap(), None);
        remember(&make(class::TAG, "the tag is -5"));
        assert_eq!(remembered(class::RANK), None);
    }

    #[test]
    fn advice_is_given_once_per_class() {
        let mut classes: Vec<i32> = ADVICE.iter().map(|(class, _)| *class).collect();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), ADVICE.len());
        assert!(advice(class::RANK).contains("mpiexec -n") && advice(class::INTERN).is_empty());
    }
}

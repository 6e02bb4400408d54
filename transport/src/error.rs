// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operating errors, and back-pressure, which is not one.
#![forbid(unsafe_code)]

use crate::envelope::Peer;

/// The answer of a lane to an attempt to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Submit {
    /// The bytes were taken; the caller's memory is free again.
    Sent,
    /// No room now: try again after progress. A normal answer, never an error.
    Full,
    /// The peer is gone: [`Kind::PeerLost`] has been or will be reported through the inbox.
    Lost,
}

/// What went wrong, one word wide; the detail is boxed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub Box<Kind>);

/// How every [`Kind::PeerLost`] goes on after the name of the peer: by these words the launcher
/// tells a rank that lost another one from the rank that failed first.
pub const IS_LOST: &str = " is lost: ";

/// Kinds of operating errors. Each message says what happened, with whom, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Kind {
    /// A peer died or its connection broke.
    #[error("peer {peer}{IS_LOST}{reason}")]
    PeerLost { peer: Peer, reason: String },
    /// Somebody revoked the context of the message.
    #[error("communication in this context was revoked")]
    Revoked,
    /// A system call failed.
    #[error("{what}: {source_text} (errno {errno})")]
    System { what: String, errno: i32, source_text: String },
    /// Two builds, a foreign file, a stale environment: the job cannot be joined.
    #[error("{0}")]
    Bootstrap(String),
    /// Bytes from elsewhere that make no sense.
    #[error("{0}")]
    Protocol(String),
    /// A knob has a value that it cannot have.
    #[error("{0}")]
    Config(String),
}

impl Error {
    /// Wraps a kind.
    #[cold]
    pub fn new(kind: Kind) -> Error {
        Error(Box::new(kind))
    }

    /// A failed system call: what was attempted, and the errno.
    #[cold]
    pub fn system(what: impl Into<String>, errno: i32) -> Error {
        let source_text = std::io::Error::from_raw_os_error(errno).to_string();
        Error::new(Kind::System { what: what.into(), errno, source_text })
    }
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

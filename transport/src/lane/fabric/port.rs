// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the lane needs of a library of fabrics.

use super::frame::HEAD_BYTES;
use crate::envelope::Peer;
use crate::error::Result;
use crate::lane::remote::{Access, Exposed};
use crate::lane::{Get, Loan, RemoteRange};
use std::os::fd::BorrowedFd;

/// Estimates from which the protocol's thresholds are made; see `lane::Capabilities`.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Latency of a short message, nanoseconds.
    pub latency_ns: u32,
    /// Bandwidth of fragments, bytes per microsecond.
    pub fragment_bytes_per_us: u32,
    /// Fixed cost of a get, nanoseconds.
    pub get_ns: u32,
    /// Bandwidth of a get, bytes per microsecond.
    pub get_bytes_per_us: u32,
}

/// What the library can do with the device that was chosen.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Library and provider or transports, for messages to people: `libfabric's efa`.
    pub name: String,
    /// Device or interface.
    pub device: String,
    /// Data is moved by hardware.
    pub hardware: bool,
    /// Frames up to here, prefix included, may be sent by [`Port::inject`].
    pub inject_bytes: usize,
    /// Longest frame.
    pub frame_bytes: usize,
    /// Memory of a peer can be read.
    pub reads: bool,
    /// Memory that a peer has exposed can be read and written, which is worth it from so many bytes
    /// on.
    pub access_bytes_min: Option<usize>,
    /// Lost packets are sent again by whoever polls: a process with unanswered sends may not sleep.
    pub needs_polls: bool,
    /// How fast it probably is.
    pub speed: Speed,
}

/// The answer to a post.
pub enum Posted {
    /// It is under way.
    Yes,
    /// Try again after a look.
    Again,
    /// Not in this way: send a filled frame.
    Longer,
    /// It cannot be.
    No(String),
}

/// Who hears what a look finds.
pub trait Sink {
    /// A frame has come. `head` is its prefix, or prefix and first header, or these and the body of
    /// the first message; `rest` is what follows.
    fn frame(&mut self, head: &[u8], rest: &[u8]);

    /// As `frame`, for one message that came with memory on loan. Answers from whom it is and
    /// its token, by which the memory is named later; `None`: nobody will ask for it.
    fn lent(&mut self, head: &[u8]) -> Option<(Peer, u64)>;

    /// No more frames are wanted now. Those that come all the same are kept.
    fn is_full(&self) -> bool;

    /// A frame has left, or something else that somebody may wait for has changed.
    fn settled(&mut self);

    /// A get, an access or a confirmation that had begun is over.
    fn fetched(&mut self, token: u64, end: Get);

    /// A frame to this peer could not be sent.
    fn failed(&mut self, peer: Peer, reason: String);

    /// Nothing works any more.
    fn broken(&mut self, reason: String);
}

/// The library, one endpoint of it, and the memory that it works on.
///
/// Frames of a pair may overtake each other; none is lost or comes twice, unless the peer is lost.
pub trait Port {
    /// What it can do.
    fn facts(&self) -> &Facts;

    /// What peers need to reach this process.
    fn address(&self) -> &[u8];

    /// Enters a peer's address; its number for the calls below.
    ///
    /// # Errors
    /// In words that follow "rank 3 is lost: ".
    fn enter(&mut self, peer: Peer, address: &[u8]) -> std::result::Result<u64, String>;

    /// Sends a frame of one message at once, copying it.
    fn inject(&mut self, to: u64, head: &[u8; HEAD_BYTES], body: &[u8]) -> Posted;

    /// Takes a frame that is not under way.
    fn take_frame(&mut self) -> Option<usize>;

    /// Gives one back that was not posted.
    fn put_frame(&mut self, number: usize);

    /// Frames taken and not yet free again.
    fn frames_out(&self) -> usize;

    /// Whether an answer of a peer's library is awaited, for which somebody may have to poll.
    fn is_awaiting(&self) -> bool {
        self.frames_out() > 0
    }

    /// A frame that was taken.
    fn frame(&mut self, number: usize) -> &mut [u8];

    /// Posts so many bytes of a frame, which is free again when they have left.
    fn send(&mut self, peer: Peer, to: u64, number: usize, bytes: usize) -> Posted;

    /// As [`crate::lane::Lane::lend`].
    fn lend(&mut self, token: u64, base: *const u8, bytes: usize) -> Option<Loan>;

    /// Whether this loan has to travel with its announcement, by [`Port::send_lent`].
    fn travels(&self, _token: u64) -> bool {
        false
    }

    /// Sends the announcement of a loan, a frame of one message, copying it.
    fn send_lent(&mut self, _peer: Peer, _to: u64, _head: &[u8], _token: u64) -> Posted {
        Posted::Longer
    }

    /// As [`crate::lane::Lane::take_back`].
    fn take_back(&mut self, token: u64);

    /// The memory that a peer lent under its token is not fetched (any more).
    fn decline(&mut self, _peer: Peer, _token: u64) {}

    /// Begins to fetch from a peer.
    ///
    /// # Safety
    /// As [`crate::lane::Lane::get`].
    unsafe fn get(
        &mut self,
        peer: Peer,
        to: u64,
        from: RemoteRange,
        into: *mut u8,
        token: u64,
    ) -> Get;

    /// As [`crate::lane::remote::RemoteMemory::expose`].
    ///
    /// # Safety
    /// As there.
    unsafe fn expose(&mut self, _base: *mut u8, _bytes: usize) -> Option<Exposed> {
        None
    }

    /// As [`crate::lane::remote::RemoteMemory::conceal`].
    fn conceal(&mut self, _number: u64) {}

    /// As [`crate::lane::remote::RemoteMemory::enter_memory`].
    fn enter_memory(&mut self, _peer: Peer, _to: u64, _name: &[u8]) -> Option<u64> {
        None
    }

    /// As [`crate::lane::remote::RemoteMemory::leave_memory`].
    fn leave_memory(&mut self, _number: u64) {}

    /// As [`crate::lane::remote::RemoteMemory::access`].
    ///
    /// # Safety
    /// As there.
    unsafe fn access(&mut self, _peer: Peer, _to: u64, _access: Access, _token: u64) -> Get {
        Get::Refused
    }

    /// As [`crate::lane::remote::RemoteMemory::confirm`].
    fn confirm(&mut self, _peer: Peer, _to: u64, _token: u64) -> Get {
        Get::Done
    }

    /// A peer is lost: nobody waits for what was being fetched from it, or hears of frames to it.
    /// Answers the tokens of those gets, accesses and confirmations that had begun.
    fn abandon(&mut self, peer: Peer) -> Vec<u64>;

    /// Progress: hands on what has happened.
    fn look(&mut self, sink: &mut dyn Sink);

    /// What to sleep on, if there is such a thing.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether a thread may sleep on it now.
    fn may_sleep(&mut self) -> bool;

    /// Whether everything of loans has left this process (asked at its end).
    fn is_flushed(&self) -> bool {
        true
    }
}

/// A port that is opened for a job.
pub trait Open: Port + Sized {
    /// `STRAIT_LANES`' name of it.
    const NAME: &str;

    /// Opens it. With `hardware` only what needs no processor to move data will do, and the answer
    /// is `None` if there is no such device.
    ///
    /// # Errors
    /// The library cannot be used; the message says why, and what to do.
    fn open(job: &crate::bootstrap::Job, hardware: bool) -> Result<Option<Self>>;
}

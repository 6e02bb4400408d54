// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One path to a peer. A new lane is a module, a variant of the worker's lane set and a run of the
//! conformance suite; if it needs an `if` elsewhere, this trait is wrong.

mod allowed;
pub mod any;
mod by_rank;
mod choice;
pub mod directory;
pub mod fabric;
pub mod loopback;
pub mod ofi;
pub mod remote;
pub mod shm;
pub mod sim;
pub mod tcp;
pub mod ucx;

use crate::envelope::Peer;
use crate::error::{Error, Submit};
use crate::protocol::share::{Cell, Unit};
use crate::wire::header::{Header, MessageKind};

/// What a lane can do with one peer: numbers, fixed at connect, that `protocol::plan` reads.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Capabilities {
    /// Largest body of [`Lane::short`].
    pub short_bytes_max: usize,
    /// Largest body of [`Lane::fragment`].
    pub fragment_bytes_max: usize,
    /// Body of the pieces in which an eager message of several is sent: at most
    /// `fragment_bytes_max`, less where the receiver can copy one piece while the next is written.
    pub piece_bytes_max: usize,
    /// Largest body of [`Lane::bulk`]; zero if the lane has no such way.
    pub bulk_bytes_max: usize,
    /// [`Lane::get`] works with this peer (it was tried).
    pub get: bool,
    /// ... and only begins then: the inbox hears of its end ([`Inbox::fetched`]).
    pub get_later: bool,
    /// Estimated one-way latency of a short message, nanoseconds.
    pub latency_ns: u32,
    /// Estimated bandwidth of the fragment path, bytes per microsecond.
    pub fragment_bytes_per_us: u32,
    /// Fixed cost of one get, nanoseconds.
    pub get_ns: u32,
    /// Estimated bandwidth of get, bytes per microsecond.
    pub get_bytes_per_us: u32,
    /// The same, of memory that its owner has just written, which lies in the cache of a core far
    /// from the reader's; 0: no difference.
    pub get_written_bytes_per_us: u32,
    /// In which units both sides of a get copy ([`Lane::cells`]).
    pub share: Unit,
}

/// Where a lane delivers what arrived. The body is only valid during the call.
pub trait Inbox {
    /// A message from `from`; its body is `body`.
    fn message(&mut self, from: Peer, header: &Header, body: &[u8]);
    /// The peer is gone. Delivered once a peer; nothing comes from it afterwards.
    fn lost(&mut self, peer: Peer, error: Error);

    /// Where the body of this message, which has not arrived, may be written: all of its
    /// `header.body` bytes. Asked for messages that come in pieces
    /// ([`Header::comes_in_pieces`]) only. `None`: bring the bytes as a message.
    fn place(&mut self, _from: Peer, _header: &Header) -> Option<&mut [u8]> {
        None
    }

    /// The first `header.body` bytes of the place just given were written: as `message`.
    fn placed(&mut self, _from: Peer, _header: &Header) {}

    /// A get, an access or a confirmation that had begun under this token is over. Said once.
    fn fetched(&mut self, _token: u64, _end: Get) {}
}

/// Memory of another process, as its owner names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoteRange {
    /// Address in the owner's address space.
    pub address: u64,
    /// Bytes.
    pub bytes: usize,
    /// Registration key (fabrics); zero in a node.
    pub key: u32,
}

/// Memory of ours that a peer may fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loan {
    /// As the peer is to name it.
    pub range: RemoteRange,
    /// The lane wants it back ([`Lane::take_back`]) before the memory is used otherwise.
    pub must_end: bool,
}

/// How a get ended.
#[derive(Debug)]
pub enum Get {
    /// All bytes are here.
    Done,
    /// They are on their way, until the inbox hears of the end.
    Begun,
    /// Not possible with this peer (any more): use another protocol.
    Refused,
    /// The peer is gone.
    Lost(Error),
}

/// What became of a long body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Bulk {
    /// The message has begun, and so many bytes of the body left (perhaps none yet).
    Took(usize),
    /// Nothing happened.
    Full,
    /// The peer is gone.
    Lost,
}

/// The operations of a path.
pub trait Lane {
    /// What works with this peer. May connect lazily; cheap after that.
    fn capabilities(&mut self, peer: Peer) -> Capabilities;

    /// Sends header and body (at most `short_bytes_max`), copying them before it returns.
    fn short(&mut self, peer: Peer, header: &Header, body: &[u8]) -> Submit;

    /// Sends header and a body of `bytes` (at most `fragment_bytes_max`) that `fill` writes, once,
    /// wholly, into the lane's own buffer. On `Full` or `Lost`, `fill` was not called.
    fn fragment(
        &mut self,
        peer: Peer,
        header: &Header,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit;

    /// Sends a message that comes in pieces straight from `body` (at most `bulk_bytes_max`), as far
    /// as there is room; `lead` is a short message that goes right before it. Once the message has
    /// begun, the caller brings the rest in later calls, with a header of the same kind and token
    /// and without a lead, until all is taken; what other calls submit waits behind it.
    fn bulk(
        &mut self,
        _peer: Peer,
        _lead: Option<(&Header, &[u8])>,
        _header: &Header,
        _body: &[u8],
    ) -> Bulk {
        Bulk::Full
    }

    /// Reads the peer's memory into `into` (same length in total). Blocking, but bounded by bytes;
    /// or only begun, and then the inbox hears of the end under this token.
    ///
    /// # Safety
    /// `into` is writable and not otherwise used during the call, or until that end.
    unsafe fn get(&mut self, peer: Peer, from: RemoteRange, into: *mut u8, token: u64) -> Get;

    /// Makes memory of ours ready to be fetched by one peer, under the token of its message;
    /// `None`: not possible. Asked again under the same token, the answer is the same.
    fn lend(&mut self, _token: u64, base: *const u8, bytes: usize) -> Option<Loan> {
        let address = base.expose_provenance() as u64;
        Some(Loan { range: RemoteRange { address, bytes, key: 0 }, must_end: false })
    }

    /// The message of a loan that must end is over.
    fn take_back(&mut self, _token: u64) {}

    /// Writes `to.bytes` bytes into the peer's memory: the counterpart of [`Lane::get`], for lanes
    /// that have cells.
    ///
    /// # Safety
    /// `from` has that many readable bytes; the peer lent the range to us.
    unsafe fn put(&mut self, _peer: Peer, _from: *const u8, _to: RemoteRange) -> Get {
        Get::Refused
    }

    /// The cells of a process (perhaps this one) through which transfers are shared; `None` where
    /// the receiver copies alone.
    fn cells(&self, _owner: Peer) -> Option<&[Cell]> {
        None
    }

    /// A long transfer uses this memory of ours: the lane may make the next ones cheaper.
    fn used(&mut self, _base: *const u8, _bytes: usize) {}

    /// Delivers up to `budget` messages; returns how many, losses counted. Never blocks. Also
    /// pushes out what was queued (sockets).
    fn poll<I: Inbox>(&mut self, inbox: &mut I, budget: usize) -> usize;

    /// Whether everything that `short` and `fragment` accepted has left this process.
    fn is_flushed(&self) -> bool;
}

/// Whether nobody waits for the message at the target: it says what is over or free again. A peer
/// that has finalized needs none of these, and is not lost because one was left over for it.
fn is_answer(header: &Header) -> bool {
    use MessageKind::{Ack, CancelReply, Credit, Fin};
    matches!(MessageKind::from_byte(header.kind), Some(Ack | CancelReply | Credit | Fin))
}

/// Why a message to a peer that said goodbye is refused.
const FINALIZED: &str = "it has finalized and receives no more messages";

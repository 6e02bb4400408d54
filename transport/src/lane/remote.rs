// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that is accessed without its owner: what windows are made of, over fabrics that have
//! reads and writes of remote memory.

use super::Get;
use crate::envelope::Peer;

/// Longest name of exposed memory.
pub const MEMORY_NAME_BYTES_MAX: usize = 1024;

/// Memory of ours that peers may access.
#[derive(Debug)]
pub struct Exposed {
    /// Its number, for [`RemoteMemory::conceal`].
    pub number: u64,
    /// What peers enter to reach it.
    pub name: Vec<u8>,
}

/// In which direction bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the peer's memory.
    Write,
    /// From there.
    Read,
}

/// An access to memory that a peer has exposed.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Number of the memory, as [`RemoteMemory::enter_memory`] answered.
    pub memory: u64,
    /// Where in it the bytes are.
    pub offset: u64,
    /// Where they are here.
    pub local: *mut u8,
    /// How many.
    pub bytes: usize,
    /// Which way they go.
    pub way: Way,
}

/// What a lane can do whose peers' memory is reached by the network alone.
///
/// Accesses are in no order. The inbox hears of the end of what has begun
/// ([`super::Inbox::fetched`]) under its token: of a read the bytes are here then, of a write the
/// memory here is free again.
pub trait RemoteMemory {
    /// From so many bytes on an access is better than a message; `None`: there is none.
    fn access_bytes_min(&self) -> Option<usize>;

    /// Lets peers access memory of ours; `None`: not this, or not now.
    ///
    /// # Safety
    /// The memory stays until it is concealed, and may be read and written meanwhile.
    unsafe fn expose(&mut self, base: *mut u8, bytes: usize) -> Option<Exposed>;

    /// Ends that. Peers have ended their accesses before.
    fn conceal(&mut self, number: u64);

    /// Enters memory that a peer exposes; its number. `None`: it cannot be reached from here.
    fn enter_memory(&mut self, peer: Peer, name: &[u8]) -> Option<u64>;

    /// It is not accessed any more.
    fn leave_memory(&mut self, number: u64);

    /// Begins an access.
    ///
    /// # Safety
    /// The memory here has so many bytes, which are readable (a write) or writable (a read) and not
    /// changed by others until the end; those there lie in what the peer exposes.
    unsafe fn access(&mut self, peer: Peer, access: Access, token: u64) -> Get;

    /// Begins to wait until all writes to a peer that were begun before are in its memory. `Done`:
    /// they are.
    fn confirm(&mut self, peer: Peer, token: u64) -> Get;
}

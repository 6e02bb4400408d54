// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A peer as the lane sees it: whether there is a connection, and what waits for one.
#![forbid(unsafe_code)]

use super::connections::ConnectionId;
use super::send_queue::SendQueue;
use crate::lane::by_rank::ByRank;

/// Where the pair is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkState {
    /// Nothing was done yet, or the peer's own call is awaited.
    #[default]
    Idle,
    /// A message waits; the peer's address is not published yet.
    Unaddressed,
    /// We are connecting.
    Dialing(ConnectionId),
    /// Ours was declined: the peer's is under way.
    Awaiting,
    /// The connection of the pair.
    Open(ConnectionId),
    /// The pair has several (rails/).
    Railed,
    /// The peer said goodbye.
    Departed,
    /// The peer is gone, and that has been or will be reported.
    Lost,
}

/// One peer.
#[derive(Default)]
pub struct Link {
    /// Where the pair is.
    pub state: LinkState,
    /// Messages that were accepted before there was a connection.
    pub waiting: SendQueue,
    /// Our call, as long as it is open: also one that lost against the peer's.
    pub dial: Option<ConnectionId>,
    /// The peer's call, until it proved itself.
    pub incoming: Option<ConnectionId>,
    /// Our hellos so far.
    pub attempts: u32,
    /// The highest attempt of the peer that was heard: a recorded hello is not higher.
    pub heard: u32,
}

/// The peers with which there was any contact, by rank.
pub type Links = ByRank<Link>;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blocking collectives over the board of a communicator: members on one host show each other
//! their data in shared lines, without messages (transport's lane/shm/board.rs has the protocol).
//!
//! A communicator settles with its first blocking collective whether it has a board: rank 0 takes
//! desks and tells the others by a message. Without one, between hosts, and for calls that are not
//! blocking, schedules over messages do the same work.
//!
//! Invariants:
//! 1. Whether a call goes over the board depends only on what all members know ([`plan`]).
//! 2. The word of a round is the number of the call on its communicator and the number of the round
//!    in the call. So a call that fails on one member before its first round shifts nothing.
//! 3. Who leaves a call, by success or by an error, is done with all its rounds.

mod direct;
pub mod fold;
mod meta;
pub mod plan;
pub mod quick;
mod rounds;
mod table;

use crate::agreement::Circle;
use crate::collective::is_on_one_host;
use crate::entry::Entry;
use crate::error::Result;
use crate::object::comm::Comm;
use std::cell::RefCell;
use std::sync::OnceLock;
use strait_transport::lane::shm::desk::{Board, MappedDesks};
use strait_transport::worker::Waiter;

pub use rounds::run;
pub use table::Table;

/// What rank 0 tells where there is no room for a board.
const NO_BOARD: u32 = u32::MAX;

/// Up to so many members each looks at all others, if each has a core: one trip of a line.
const FLAT_MAX: u32 = 16;
/// From so many members on they count their arrivals when they outnumber cores: then the work that
/// each would do for itself is done once.
const COUNTED_MIN: u32 = 4;

/// Settles whether the communicator has a board: part of its first blocking collective call.
#[inline]
pub fn settle(entry: &mut Entry, comm: &Comm) -> Result {
    match comm.board.get() {
        Some(_) => Ok(()),
        None => settle_now(entry, comm),
    }
}

#[cold]
fn settle_now(entry: &mut Entry, comm: &Comm) -> Result {
    let mut board = None;
    if is_possible(entry, comm)? {
        let count = comm.group.size() as u32;
        let mut told = NO_BOARD.to_le_bytes();
        if comm.rank == 0
            && let Some(first) = MappedDesks::claim(&entry.job.node, count)
        {
            let is_crowded = !Waiter::new().is_spinning();
            let counts = count > FLAT_MAX || (is_crowded && count >= COUNTED_MIN);
            told = (first << 1 | u32::from(counts)).to_le_bytes();
        }
        Circle::of_comm(comm).bcast(entry, 0, &mut told)?;
        let told = u32::from_le_bytes(told);
        if told != NO_BOARD {
            let (first, counts) = (told >> 1, told & 1 != 0);
            let base = entry.job.first_local_rank;
            let local_ranks = comm.group.members.iter().map(|peer| peer.0 - base).collect();
            board = Some(Board::new(&entry.job.node, first, counts, local_ranks, comm.rank));
        }
    }
    // Another thread may have come here meanwhile, against the rules; the first one counts.
    let _ = comm.board.set(board.map(RefCell::new));
    Ok(())
}

/// A call of this number failed here before it began: others need not wait for us in it.
#[cold]
pub fn pass(entry: &mut Entry, comm: &Comm, number: u64) {
    if let Ok(Some(mut table)) = Table::of(entry, comm, number, 0) {
        table.abandon();
    }
}

/// Whether all members share this host's memory, and nobody asked for messages; all come to the
/// same answer.
fn is_possible(entry: &Entry, comm: &Comm) -> Result<bool> {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let allowed = match ALLOWED.get() {
        Some(allowed) => *allowed,
        None => {
            let allowed = strait_transport::config::switch("BOARDS")?.unwrap_or(true);
            *ALLOWED.get_or_init(|| allowed)
        }
    };
    let goes_by_messages = !allowed || comm.algorithm.get().is_some();
    Ok(!goes_by_messages && comm.group.size() > 1 && is_on_one_host(entry, comm))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waking a sleeping rank without losing a message and without a system call when it is awake.
//!
//! A rank's bell word is 0 while somebody there looks at the queues, else how to wake it (low two
//! bits) and a generation that tells one announcement of sleep from the next.
//!
//! ```text
//! publisher                               sleeper
//! 1. publish a message (Release)          1. bell = armed; wishes
//! 2. light fence                          2. heavy fence
//! 3. look at the bell                     3. look at the queues once more
//! 4. armed: swap(0), wake                 4. nothing: sleep while the bell is still armed
//! ```
//!
//! Invariants:
//! 1. At least one of the two looks (3) sees the other's store (1); see sync.rs for the fences.
//! 2. Who swaps an armed word for 0 wakes everybody who sleeps on it. A sleeper whose announcement
//!    was taken, or replaced by a later one, does not fall asleep: the futex compares the word, and
//!    before an epoll wait the datagram is already there.
//! 3. What a sleeper wishes for, and a publisher takes back as it rings (room), is said after the
//!    bell is armed. Said before, it could be taken while the bell is not armed yet: by a publisher
//!    that rings, late, for room which the sleeper has found and used up meanwhile.
//! 4. Words change from armed to another way of waking only by the owner, who then wakes those who
//!    sleep in the old way (wait.rs).
//!
//! Not here: the sleeping itself (wait.rs).

use crate::node::Node;
use crate::sync::{Word, heavy_fence, light_fence};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// How a sleeper is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By the futex of the bell word itself.
    Futex,
    /// By a datagram to the rank's door, for sleepers in epoll.
    Door,
}

/// The word of a rank that is awake.
pub const AWAKE: u32 = 0;
const WAY_BITS: u32 = 3;

/// Announces sleep; the caller looks at all queues after this, and sleeps only if they are empty.
/// Returns the armed word. `everywhere`: publishers do not fence for us; `wish` says (by release)
/// what is wished for (invariant 3).
pub fn announce(
    bell: &impl Word<u32>,
    way: Way,
    generation: u32,
    everywhere: bool,
    wish: impl FnOnce(),
) -> u32 {
    let armed = match way {
        Way::Futex => 1,
        Way::Door => 2,
    } | generation << 2;
    bell.store(armed, Relaxed);
    wish();
    // SYNC(bell.sleep): store of the bell before the last look at the queues; pairs with the fence
    // in `is_armed` between publication and look at the bell.
    heavy_fence(everywhere);
    armed
}

/// The publisher's look, after its publication. `full`: see [`light_fence`].
#[inline]
pub fn is_armed(bell: &impl Word<u32>, full: bool) -> bool {
    // SYNC(bell.sleep): publication before the look at the bell; pairs with `announce`.
    light_fence(full);
    bell.load(Relaxed) != AWAKE
}

/// Takes an armed bell: who gets `Some` must wake in that way.
pub fn take(bell: &impl Word<u32>) -> Option<Way> {
    // SYNC(bell.taken): a sleeper that acquires the new word sees what was published before.
    match bell.swap(AWAKE, AcqRel) & WAY_BITS {
        1 => Some(Way::Futex),
        2 => Some(Way::Door),
        _ => None,
    }
}

/// Whether an announcement still stands: nobody rang, nobody announced anew.
pub fn is_standing(bell: &impl Word<u32>, armed: u32) -> bool {
    // SYNC(bell.taken): sees what was published before the bell was taken.
    bell.load(Acquire) == armed
}

/// Wakes a local rank if it sleeps.
#[cold]
pub fn ring(node: &Node, local_rank: u32) {
    let bell = node.record(local_rank).bell();
    match take(bell) {
        None => {}
        Some(Way::Futex) => wake_futex(bell),
        Some(Way::Door) => knock(node, local_rank),
    }
}

/// Wakes all who sleep on a word that processes share.
pub(crate) fn wake_futex(word: &AtomicU32) {
    let _ =
        rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), i32::MAX as u32);
}

/// Name of a rank's door.
pub(crate) fn door(node: &Node, local_rank: u32) -> rustix::io::Result<SocketAddrUnix> {
    let plan = node.plan_ref();
    let job: String = plan.job.iter().map(|byte| format!("{byte:02x}")).collect();
    SocketAddrUnix::new_abstract_name(
        format!("strait-{job}-{}", plan.first_local_rank + local_rank).as_bytes(),
    )
}

/// One byte to a rank's door. A full door is rung already, a missing one has no sleeper behind it.
fn knock(node: &Node, local_rank: u32) {
    static SENDER: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let sender = SENDER
        .get_or_init(|| socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).ok());
    if let (Some(sender), Ok(door)) = (sender, door(node, local_rank)) {
        let _ = sendto(sender, &[1], SendFlags::NOSIGNAL | SendFlags::DONTWAIT, &door);
    }
}

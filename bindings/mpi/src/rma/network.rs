// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Puts and gets by the network's own writes and reads, where the lane of a target has them: no
//! code of the target takes part, beyond what its library needs.
//!
//! Invariants:
//! 1. An origin asks for the name of a target's memory with its first access that could use it.
//!    Until the answer is there, and where there is no name, accesses go by messages.
//! 2. Memory of the user takes part as it is: a put is locally complete when it has ended, as a
//!    get.
//! 3. Before anything tells a target that accesses are complete, their writes are confirmed.
//! 4. What the network refuses is done again by a message, and nothing more is asked of it there.
//! 5. Only elements that lie side by side at the target go this way, and no accumulate does: the
//!    processor of the target combines, and nothing makes the two atomic to each other.

use super::access::Remote;
use super::origin::{self, Batch, Origin};
use super::wire::{Head, Kind, Run};
use crate::entry::Entry;
use crate::error::{MpiError, class, make};
use crate::object::request::finished;
use crate::object::window::{Flavor, Win, WinRef};
use crate::runtime::Runtime;
use std::collections::HashMap;
use std::rc::Rc;
use strait_transport::envelope::Peer;
use strait_transport::lane::remote::{Access, Exposed, Way};
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::worker::Worker;

/// Accesses of one window that may be under way before a call waits for earlier ones.
const ACCESSES_MAX: usize = 1024;

/// What is known of a target's memory.
enum Name {
    /// It was asked for.
    Asked,
    /// Its number.
    Known(u64),
    /// It is not reached so.
    None,
}

/// What stands for elements that do not lie side by side here, and where a get puts them.
type Staged = (Box<[u8]>, Payload);

/// An access that has begun.
struct Flying {
    id: RequestId,
    target: u32,
    access: Access,
    staged: Option<Staged>,
    batch: Option<Rc<Batch>>,
}

/// The origin's side of a window.
#[derive(Default)]
pub struct Network {
    names: HashMap<u32, Name>,
    flying: Vec<Flying>,
    /// Targets with writes that nobody has asked to be confirmed.
    unconfirmed: Vec<u32>,
    confirming: Vec<(RequestId, u32)>,
    /// A target whose writes the network could not confirm.
    doubtful: Option<u32>,
}

impl Network {
    /// Whether an access to this target (to any) is under way.
    pub fn awaits(&self, target: Option<u32>) -> bool {
        let is_it = |other: u32| target.is_none_or(|target| target == other);
        self.flying.iter().any(|flying| is_it(flying.target))
            || self.confirming.iter().any(|(_, other)| is_it(*other))
    }

    /// What remains to be told after the target was asked: it answers, and yet its network had lost
    /// writes. A target that is lost itself has told that by now.
    pub fn doubt(&mut self) -> Option<Box<MpiError>> {
        let target = self.doubtful.take()?;
        let text = format!("the network lost writes to rank {target} of a window");
        Some(make(class::OTHER, text))
    }

    /// The name of a target's memory has come: nothing, if there is none.
    pub fn named(&mut self, runtime: &mut Runtime, peer: Peer, target: u32, name: &[u8]) {
        let number = match name {
            [] => None,
            name => runtime.worker.enter_memory(peer, name),
        };
        self.names.insert(target, number.map_or(Name::None, Name::Known));
    }
}

/// The number of a target's memory, if the network's own access to it is there and is best.
pub fn reach(entry: &mut Entry, win: &Win, remote: &Remote) -> Option<u64> {
    let bytes = remote.run_bytes().filter(|bytes| *bytes > 0)?;
    if win.flavor == Flavor::Dynamic {
        return None;
    }
    let least = entry.worker.access_bytes_min(win.peer(remote.rank))?;
    if bytes < least {
        return None;
    }
    match win.origin.borrow().network.names.get(&remote.rank) {
        Some(Name::Known(number)) => return Some(*number),
        Some(Name::Asked | Name::None) => return None,
        None => {}
    }
    win.origin.borrow_mut().network.names.insert(remote.rank, Name::Asked);
    origin::ask_name(entry, win, remote.rank);
    None
}

/// # Safety
/// `from` is readable until the access is locally complete, of as many bytes as `remote`, which was
/// checked.
pub unsafe fn put(
    entry: &mut Entry,
    win: &WinRef,
    from: &Payload,
    remote: &Remote,
    memory: u64,
    batch: Option<&Rc<Batch>>,
) {
    let staged = match from {
        Payload::Contiguous { .. } => None,
        typed => {
            let mut bytes = vec![0; remote.bytes].into_boxed_slice();
            // SAFETY: the caller's promise.
            unsafe { typed.pack(0, &mut bytes) };
            Some((bytes, Payload::EMPTY))
        }
    };
    // SAFETY: as above.
    unsafe { begin(entry, win, from, staged, remote, (memory, Way::Write), batch) };
}

/// # Safety
/// As [`put`], and `into` is writable.
pub unsafe fn get(
    entry: &mut Entry,
    win: &WinRef,
    into: &Payload,
    remote: &Remote,
    memory: u64,
    batch: Option<&Rc<Batch>>,
) {
    let staged = match into {
        Payload::Contiguous { .. } => None,
        typed => Some((vec![0; remote.bytes].into_boxed_slice(), typed.clone())),
    };
    // SAFETY: the caller's promise.
    unsafe { begin(entry, win, into, staged, remote, (memory, Way::Read), batch) };
}

/// # Safety
/// As [`put`] and [`get`].
unsafe fn begin(
    entry: &mut Entry,
    win: &WinRef,
    payload: &Payload,
    mut staged: Option<Staged>,
    remote: &Remote,
    (memory, way): (u64, Way),
    batch: Option<&Rc<Batch>>,
) {
    make_room(entry, win);
    let local = match (&mut staged, payload) {
        (Some((bytes, _)), _) => bytes.as_mut_ptr(),
        (None, Payload::Contiguous { base, .. }) => *base,
        (None, Payload::Typed { .. }) => unreachable!("typed elements are staged"),
    };
    let offset = u64::try_from(remote.at).expect("checked to lie in the region");
    let access = Access { memory, offset, local, bytes: remote.bytes, way };
    // SAFETY: memory here is the caller's promise or ours until the end; that there was checked to
    // lie in what the target exposes.
    let id = unsafe { entry.worker.access(win.peer(remote.rank), access) };
    win.is_origin.set(true);
    if let Some(batch) = batch {
        batch.add();
    }
    let network = &mut win.origin.borrow_mut().network;
    if way == Way::Write && !network.unconfirmed.contains(&remote.rank) {
        network.unconfirmed.push(remote.rank);
    }
    let (target, batch) = (remote.rank, batch.cloned());
    network.flying.push(Flying { id, target, access, staged, batch });
}

/// Waits until fewer accesses are under way than a window may have.
fn make_room(entry: &mut Entry, win: &Win) {
    if win.origin.borrow().network.flying.len() < ACCESSES_MAX {
        return;
    }
    entry.wait_until(|runtime| {
        origin::poll(runtime, win);
        win.origin.borrow().network.flying.len() < ACCESSES_MAX / 2
    });
}

/// Looks at what is under way; whether anything ended.
pub fn poll(runtime: &mut Runtime, win: &Win) -> bool {
    let origin = &mut *win.origin.borrow_mut();
    let Origin { network, failure, .. } = origin;
    if network.flying.is_empty() && network.confirming.is_empty() {
        return false;
    }
    let before = network.flying.len() + network.confirming.len();
    let mut refused = Vec::new();
    let mut at = 0;
    while at < network.flying.len() {
        let Some(completion) = runtime.worker.take(network.flying[at].id) else {
            at += 1;
            continue;
        };
        let flying = network.flying.swap_remove(at);
        if Worker::was_refused(&completion.outcome) {
            network.names.insert(flying.target, Name::None);
            refused.push(flying);
            continue;
        }
        let error = finished(completion, false).error;
        flying.end(error, failure);
    }
    let doubtful = &mut network.doubtful;
    network.confirming.retain(|(id, target)| match runtime.worker.take(*id) {
        None => true,
        Some(completion) => {
            if Worker::was_refused(&completion.outcome) {
                *doubtful = Some(*target);
            } else if let Some(error) = finished(completion, false).error {
                failure.get_or_insert(error);
            }
            false
        }
    });
    let ended = before != network.flying.len() + network.confirming.len();
    for flying in refused {
        flying.do_again(runtime, win, origin);
    }
    if let Some(target) = origin.network.doubtful {
        origin.must_ask(win, target);
    }
    ended
}

impl Flying {
    /// It is over; who asked for it, or else the window, hears of a failure.
    fn end(self, error: Option<Box<MpiError>>, failure: &mut Option<Box<MpiError>>) {
        if let (None, Way::Read, Some((bytes, into))) = (&error, self.access.way, &self.staged) {
            // SAFETY: who asked for the get promised that its elements are writable until now.
            unsafe { into.unpack(0, bytes) };
        }
        match (self.batch, error) {
            (Some(batch), error) => batch.end(error),
            (None, Some(error)) => {
                failure.get_or_insert(error);
            }
            (None, None) => {}
        }
    }

    /// The network refused it: by a message, then.
    #[cold]
    fn do_again(self, runtime: &mut Runtime, win: &Win, origin: &mut Origin) {
        let Access { offset, local, bytes, way, .. } = self.access;
        let at = i64::try_from(offset).expect("it was one");
        let runs = [Run { at, bytes: bytes as u64, count: 1, stride: 0 }];
        match way {
            Way::Write => {
                let fill = |data: &mut [u8]| {
                    // SAFETY: the memory of a put is readable until its end, which is now.
                    unsafe { data.as_mut_ptr().copy_from_nonoverlapping(local, bytes) };
                };
                let head = Head::new(Kind::Put, 0);
                origin.send_now(runtime, win, self.target, head, &runs, bytes, fill);
                self.end(None, &mut origin.failure);
            }
            Way::Read => {
                let batch = self.batch.as_ref();
                let staged = self.staged.map(|(bytes, into)| (bytes, into, 0));
                let place = (local, bytes);
                let reply = origin.expect_now(runtime, win, self.target, place, staged, batch);
                let head = Head::new(Kind::Get, reply);
                origin.send_now(runtime, win, self.target, head, &runs, 0, |_| {});
                if let Some(batch) = batch {
                    batch.end(None);
                }
            }
        }
    }
}

/// Completes all accesses to a target (to all), there and here.
pub fn complete(entry: &mut Entry, win: &Win, target: Option<u32>) {
    let asked = {
        let network = &mut win.origin.borrow_mut().network;
        if network.unconfirmed.is_empty() && !network.awaits(target) {
            return;
        }
        let is_it = |other: &mut u32| target.is_none_or(|target| target == *other);
        network.unconfirmed.extract_if(.., is_it).collect::<Vec<_>>()
    };
    for target in asked {
        let id = entry.worker.confirm(win.peer(target));
        win.origin.borrow_mut().network.confirming.push((id, target));
    }
    entry.wait_until(|runtime| {
        origin::poll(runtime, win);
        !win.origin.borrow().network.awaits(target)
    });
}

/// The end of a window, after all have ended their accesses.
pub fn end(runtime: &mut Runtime, win: &Win) {
    for (target, name) in win.origin.borrow_mut().network.names.drain() {
        if let Name::Known(number) = name {
            runtime.worker.leave_memory(win.peer(target), number);
        }
    }
    if let Some((exposed, to)) = win.exposed.borrow_mut().take() {
        runtime.worker.conceal(to, exposed.number);
    }
}

/// The name of this process's memory for an origin; nothing, if it is not reached so.
pub fn name_for(runtime: &mut Runtime, win: &Win, source: u32) -> Box<[u8]> {
    let to = win.peer(source);
    let exposed = &mut *win.exposed.borrow_mut();
    if exposed.is_none() && win.flavor != Flavor::Dynamic {
        let bytes = win.regions[win.comm.rank as usize].bytes;
        // SAFETY: the memory of a window stays until it is freed, and is made to be accessed.
        let made = unsafe { runtime.worker.expose(to, win.base.cast(), bytes) };
        *exposed = made.map(|exposed| (exposed, to));
    }
    exposed.as_ref().map_or_else(Box::default, |(exposed, _)| exposed.name.as_slice().into())
}

/// What a process exposes of a window, and by the lane of whom.
pub type ExposedTo = Option<(Exposed, Peer)>;

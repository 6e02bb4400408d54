// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The origin's side of accesses by messages: what is on its way, and what is awaited.

use super::network::{self, Network};
use super::wire::{self, Head, Kind, Run};
use crate::entry::Entry;
use crate::error::{MpiError, Result, class, error};
use crate::object::request::finished;
use crate::object::window::Win;
use crate::runtime::Runtime;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use strait_transport::envelope::{Envelope, Pattern};
use strait_transport::lane::remote::MEMORY_NAME_BYTES_MAX;
use strait_transport::payload::Payload;
use strait_transport::request::RequestId;
use strait_transport::worker::{SendMode, Sent};

/// Bytes of requests and awaited replies of one window before a call waits for earlier ones.
const FLYING_MAX: usize = 8 << 20;
/// Tags of replies; those above are of MPI_Win_post and its like.
const REPLY_TAGS: u32 = 1 << 30;
/// What a flush and its like are answered with.
const CODE_BYTES: usize = 4;

/// Accesses that one request of the user stands for.
#[derive(Default)]
pub struct Batch {
    left: Cell<usize>,
    error: RefCell<Option<Box<MpiError>>>,
}

impl Batch {
    /// One more is under way.
    pub fn add(&self) {
        self.left.set(self.left.get() + 1);
    }

    /// One has ended.
    pub fn end(&self, error: Option<Box<MpiError>>) {
        self.left.set(self.left.get() - 1);
        if let Some(error) = error {
            self.error.borrow_mut().get_or_insert(error);
        }
    }

    /// Whether all have ended, and how.
    pub fn ended(&self) -> Option<Result> {
        (self.left.get() == 0).then(|| self.error.borrow_mut().take().map_or(Ok(()), Err))
    }
}

/// Where a reply goes.
enum Into {
    /// Where it was received.
    Place,
    /// Here, and from here to elements that do not lie side by side.
    Staged(Box<[u8]>, Payload, usize),
    /// Here: a class of errors.
    Code(Box<[u8; CODE_BYTES]>),
    /// Here: what the target's memory is called by the network.
    Name(Box<[u8]>),
}

/// A reply that is awaited.
struct Awaited {
    id: RequestId,
    target: u32,
    bytes: usize,
    into: Into,
    batch: Option<Rc<Batch>>,
}

/// The origin's side of a window.
#[derive(Default)]
pub struct Origin {
    sends: Vec<(RequestId, Box<[u8]>)>,
    awaited: Vec<Awaited>,
    /// Bytes of both.
    flying: usize,
    next_reply: u32,
    /// Accesses by the network itself.
    pub network: Network,
    /// Targets with requests that no flush has confirmed.
    used: Vec<bool>,
    /// The first failure that no call has told.
    pub failure: Option<Box<MpiError>>,
}

impl Origin {
    /// Whether a reply of this target (of any) is awaited.
    fn awaits(&self, target: Option<u32>) -> bool {
        let is_it = |reply: &Awaited| target.is_none_or(|target| target == reply.target);
        self.network.awaits(target) || self.awaited.iter().any(is_it)
    }

    /// Targets that a flush must ask.
    pub fn used(&self) -> Vec<u32> {
        (0..self.used.len() as u32).filter(|rank| self.used[*rank as usize]).collect()
    }
}

/// Looks at what is under way; whether anything ended.
pub fn poll(runtime: &mut Runtime, win: &Win) -> bool {
    let ended = network::poll(runtime, win);
    let origin = &mut *win.origin.borrow_mut();
    let before = origin.sends.len() + origin.awaited.len();
    let (flying, failure) = (&mut origin.flying, &mut origin.failure);
    origin.sends.retain(|(id, bytes)| match runtime.worker.take(*id) {
        None => true,
        Some(completion) => {
            *flying -= bytes.len();
            if let Some(error) = finished(completion, false).error {
                failure.get_or_insert(error);
            }
            false
        }
    });
    let mut at = 0;
    while at < origin.awaited.len() {
        let Some(completion) = runtime.worker.take(origin.awaited[at].id) else {
            at += 1;
            continue;
        };
        let reply = origin.awaited.remove(at);
        origin.flying -= reply.bytes;
        let ended = finished(completion, true);
        let arrived = ended.status.bytes as usize;
        if let Into::Name(name) = &reply.into {
            let name = if ended.error.is_some() { &[] } else { &name[..arrived] };
            let peer = win.peer(reply.target);
            origin.network.named(runtime, peer, reply.target, name);
        }
        let result = match ended.error {
            Some(error) => Err(error),
            None => reply.take(win, arrived),
        };
        if let Some(batch) = &reply.batch {
            batch.end(result.err());
        } else if let Err(error) = result {
            origin.failure.get_or_insert(error);
        }
    }
    ended || before != origin.sends.len() + origin.awaited.len()
}

impl Awaited {
    /// The reply is there, with so many bytes.
    fn take(&self, win: &Win, arrived: usize) -> Result {
        let refused = |code: i32| {
            let what = match code {
                class::RMA_RANGE => "the memory is not in the window",
                class::PROC_ABORTED | class::PROC_FAILED => {
                    "another rank of its host died amid an update"
                }
                _ => "the request makes no sense to it",
            };
            error(
                code,
                format!("rank {} refused an access to {}: {what}", self.target, win.describe()),
            )
        };
        match &self.into {
            Into::Code(code) => match i32::from_le_bytes(**code) {
                0 if arrived == CODE_BYTES => Ok(()),
                0 => refused(class::INTERN),
                code => refused(code),
            },
            Into::Name(_) => Ok(()),
            // Nothing comes of what may not be read; the next flush says the same.
            _ if arrived != self.bytes => refused(class::RMA_RANGE),
            Into::Place => Ok(()),
            Into::Staged(bytes, into, from) => {
                // SAFETY: who called `expect` promised that the elements are writable until now.
                unsafe { into.unpack(*from, bytes) };
                Ok(())
            }
        }
    }
}

/// Waits until less is under way than a window may have.
fn make_room(entry: &mut Entry, win: &Win) {
    if win.origin.borrow().flying < FLYING_MAX {
        return;
    }
    entry.wait_until(|runtime| {
        poll(runtime, win);
        win.origin.borrow().flying < FLYING_MAX / 2
    });
}

/// Sends a request with data that `fill` writes.
pub fn send(
    entry: &mut Entry,
    win: &Win,
    target: u32,
    head: Head,
    runs: &[Run],
    data: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Result {
    make_room(entry, win);
    win.origin.borrow_mut().send_now(entry, win, target, head, runs, data, fill);
    Ok(())
}

impl Origin {
    /// As [`send`], however much is under way.
    pub fn send_now(
        &mut self,
        runtime: &mut Runtime,
        win: &Win,
        target: u32,
        head: Head,
        runs: &[Run],
        data: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let (mut bytes, start) = wire::message(head, runs, data);
        fill(&mut bytes[start..]);
        let envelope = Envelope { context: win.comm.context, source: win.comm.rank, tag: 0 };
        let peer = win.peer(target);
        let payload = Payload::Contiguous { base: bytes.as_mut_ptr(), bytes: bytes.len() };
        // SAFETY: the bytes are kept until the send has ended.
        let sent = unsafe { runtime.worker.send(peer, envelope, payload, SendMode::Standard) };
        self.must_ask(win, target);
        if let Sent::Pending(id) = sent {
            self.flying += bytes.len();
            self.sends.push((id, bytes));
        }
    }

    /// A flush must ask this target.
    pub fn must_ask(&mut self, win: &Win, target: u32) {
        win.is_origin.set(true);
        if self.used.is_empty() {
            self.used.resize(win.comm.group.size(), false);
        }
        self.used[target as usize] = true;
    }

    /// Posts the receive of a reply; its tag.
    fn post(
        &mut self,
        runtime: &mut Runtime,
        win: &Win,
        target: u32,
        payload: Payload,
        into: Into,
        batch: Option<&Rc<Batch>>,
    ) -> u32 {
        let tag = self.next_reply;
        self.next_reply = (tag + 1) % REPLY_TAGS;
        let peer = win.peer(target);
        let pattern = Pattern { context: win.reply_context(), source: target, tag };
        let bytes = payload.bytes();
        // SAFETY: memory of the user that he left us, or what `into` keeps until the receive ends.
        let id = unsafe { runtime.worker.receive(Some(peer), pattern, payload) };
        if let Some(batch) = batch {
            batch.add();
        }
        self.flying += bytes;
        self.awaited.push(Awaited { id, target, bytes, into, batch: batch.cloned() });
        tag
    }

    /// Awaits bytes of a target at a place, or staged for one; the tag that the reply must have.
    pub fn expect_now(
        &mut self,
        runtime: &mut Runtime,
        win: &Win,
        target: u32,
        (base, bytes): (*mut u8, usize),
        staged: Option<(Box<[u8]>, Payload, usize)>,
        batch: Option<&Rc<Batch>>,
    ) -> u32 {
        let place = Payload::Contiguous { base, bytes };
        let into = match staged {
            None => Into::Place,
            Some((bytes, into, from)) => Into::Staged(bytes, into, from),
        };
        self.post(runtime, win, target, place, into, batch)
    }
}

/// Asks a target what the network calls its memory. The answer ends in [`Network::named`].
pub fn ask_name(entry: &mut Entry, win: &Win, target: u32) {
    let mut name = vec![0; MEMORY_NAME_BYTES_MAX].into_boxed_slice();
    let payload = Payload::Contiguous { base: name.as_mut_ptr(), bytes: name.len() };
    let origin = &mut *win.origin.borrow_mut();
    let reply = origin.post(entry, win, target, payload, Into::Name(name), None);
    origin.send_now(entry, win, target, Head::new(Kind::Name, reply), &[], 0, |_| {});
}

/// Awaits packed bytes `from .. from + bytes` of elements; the tag that the reply must have.
///
/// # Safety
/// The elements are writable until the reply is there.
pub unsafe fn expect(
    entry: &mut Entry,
    win: &Win,
    target: u32,
    (into, from, bytes): (&Payload, usize, usize),
    batch: Option<&Rc<Batch>>,
) -> Result<u32> {
    make_room(entry, win);
    let (place, staged) = match into {
        Payload::Contiguous { base, .. } => (base.wrapping_add(from), None),
        typed => {
            let mut staged = vec![0; bytes].into_boxed_slice();
            (staged.as_mut_ptr(), Some((staged, typed.clone(), from)))
        }
    };
    let origin = &mut *win.origin.borrow_mut();
    Ok(origin.expect_now(entry, win, target, (place, bytes), staged, batch))
}

/// Asks targets for something that they answer with a code, and waits for all answers, and all
/// that was awaited of them before.
pub fn ask(entry: &mut Entry, win: &Win, targets: &[u32], kind: Kind, alone: bool) -> Result {
    if kind != Kind::Lock {
        match targets {
            [target] => network::complete(entry, win, Some(*target)),
            _ => network::complete(entry, win, None),
        }
    }
    for &target in targets {
        let mut code = Box::new([0xff; CODE_BYTES]);
        let payload = Payload::Contiguous { base: code.as_mut_ptr(), bytes: CODE_BYTES };
        let reply =
            win.origin.borrow_mut().post(entry, win, target, payload, Into::Code(code), None);
        send(entry, win, target, Head { alone, ..Head::new(kind, reply) }, &[], 0, |_| {})?;
    }
    entry.wait_until(|runtime| {
        poll(runtime, win);
        let origin = win.origin.borrow();
        !targets.iter().any(|target| origin.awaits(Some(*target)))
    });
    let origin = &mut *win.origin.borrow_mut();
    if kind != Kind::Lock {
        targets.iter().for_each(|target| origin.used[*target as usize] = false);
        let doubt = origin.network.doubt();
        origin.failure = origin.failure.take().or(doubt);
    }
    origin.failure.take().map_or(Ok(()), Err)
}

/// Waits for what was asked of a target (of all), not for its memory.
#[inline]
pub fn await_replies(entry: &mut Entry, win: &Win, target: Option<u32>) -> Result {
    match win.is_origin.get() {
        true => await_replies_now(entry, win, target),
        false => Ok(()),
    }
}

#[cold]
fn await_replies_now(entry: &mut Entry, win: &Win, target: Option<u32>) -> Result {
    if win.origin.borrow().awaits(target) {
        entry.wait_until(|runtime| {
            poll(runtime, win);
            !win.origin.borrow().awaits(target)
        });
    }
    win.origin.borrow_mut().failure.take().map_or(Ok(()), Err)
}

/// Completes all accesses to these targets, of which only used ones are asked.
#[inline]
pub fn flush(entry: &mut Entry, win: &Win, target: Option<u32>) -> Result {
    match win.is_origin.get() {
        true => flush_now(entry, win, target),
        false => Ok(()),
    }
}

#[cold]
fn flush_now(entry: &mut Entry, win: &Win, target: Option<u32>) -> Result {
    network::complete(entry, win, target);
    let mut used = win.origin.borrow().used();
    if let Some(target) = target {
        used.retain(|rank| *rank == target);
    }
    if used.is_empty() {
        return await_replies(entry, win, target);
    }
    ask(entry, win, &used, Kind::Flush, false)
}

/// Before the window goes away: nothing is under way that uses its memory.
pub fn settle(entry: &mut Entry, win: &Win) {
    entry.wait_until(|runtime| {
        poll(runtime, win);
        let origin = win.origin.borrow();
        origin.sends.is_empty() && !origin.awaits(None)
    });
}

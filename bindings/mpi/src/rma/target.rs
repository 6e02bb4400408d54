// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The target's side of accesses by messages: it serves them whenever it waits in a call.

use super::combine::Combine;
use super::near::{self, Memory};
use super::network;
use super::wire::{Kind, Request};
use crate::entry::Entry;
use crate::error::{Result, class, error};
use crate::object::window::{Flavor, Win, WinRef};
use crate::runtime::Runtime;
use std::collections::{HashMap, HashSet, VecDeque};
use strait_collectives::reduce::Op;
use strait_transport::envelope::{ANY, Envelope, Pattern};
use strait_transport::payload::Payload;
use strait_transport::request::{Outcome, RequestId};
use strait_transport::worker::{SendMode, Sent};

/// Requests that are being received at once.
const INCOMING_MAX: usize = 64;
/// Replies that may be under way before more requests are looked at.
const REPLIES_MAX: usize = 256;

/// A request that is being received.
struct Incoming {
    id: RequestId,
    source: u32,
    bytes: Box<[u8]>,
}

/// An origin that waits for the lock of this target.
struct Waiting {
    source: u32,
    reply: u32,
    alone: bool,
}

/// The target's side of a window.
#[derive(Default)]
pub struct Target {
    incoming: VecDeque<Incoming>,
    replies: Vec<(RequestId, Box<[u8]>)>,
    locks: VecDeque<Waiting>,
    /// Whether those who let locks go know that we wait on behalf of others.
    is_listening: bool,
    /// The first error of each origin that no answer has told.
    errors: HashMap<u32, i32>,
}

impl Target {
    /// Whether an origin waits for the lock.
    pub fn has_waiting(&self) -> bool {
        !self.locks.is_empty()
    }

    /// Whether all replies have left.
    pub fn is_quiet(&self) -> bool {
        self.replies.is_empty() && self.incoming.is_empty()
    }
}

/// Serves the windows that have members which send messages; returns how much was done.
#[cold]
#[inline(never)]
pub fn serve(entry: &mut Entry) -> usize {
    let mut done = 0;
    let mut index = 0;
    while let Some(win) = entry.served.get(index).cloned() {
        done += serve_one(entry, &win);
        index += 1;
    }
    done
}

fn serve_one(runtime: &mut Runtime, win: &WinRef) -> usize {
    let target = &mut *win.target.borrow_mut();
    let mut done = 0;
    loop {
        let now = target.claim(runtime, win)
            + target.handle(runtime, win)
            + target.give_locks(runtime, win)
            + target.reap(runtime);
        if now == 0 {
            return done;
        }
        done += now;
    }
}

impl Target {
    /// Begins to receive what has arrived.
    fn claim(&mut self, runtime: &mut Runtime, win: &Win) -> usize {
        let pattern = Pattern { context: win.comm.context, source: ANY, tag: ANY };
        let mut done = 0;
        while self.incoming.len() < INCOMING_MAX && self.replies.len() < REPLIES_MAX {
            let Some((message, arrival)) = runtime.worker.claim(pattern) else { break };
            let mut bytes = vec![0; arrival.bytes].into_boxed_slice();
            let payload = Payload::Contiguous { base: bytes.as_mut_ptr(), bytes: bytes.len() };
            // SAFETY: the bytes are kept until the receive has ended.
            let id = unsafe { runtime.worker.receive_claimed(message, payload) };
            self.incoming.push_back(Incoming { id, source: arrival.envelope.source, bytes });
            done += 1;
        }
        done
    }

    /// Does what is asked, of each origin in its order.
    fn handle(&mut self, runtime: &mut Runtime, win: &Win) -> usize {
        let (mut done, mut index) = (0, 0);
        let mut blocked = HashSet::new();
        while index < self.incoming.len() {
            let source = self.incoming[index].source;
            if blocked.contains(&source) {
                index += 1;
                continue;
            }
            let Some(completion) = runtime.worker.take(self.incoming[index].id) else {
                blocked.insert(source);
                index += 1;
                continue;
            };
            let incoming = self.incoming.remove(index).expect("it was just looked at");
            // Of a lost origin nothing more is done.
            if matches!(completion.outcome, Outcome::Done) {
                self.answer(runtime, win, source, &incoming.bytes);
            }
            done += 1;
        }
        done
    }

    fn answer(&mut self, runtime: &mut Runtime, win: &Win, source: u32, bytes: &[u8]) {
        let Some(request) = Request::parse(bytes) else {
            self.errors.entry(source).or_insert(class::INTERN);
            return;
        };
        let reply = request.head.reply;
        match request.head.kind {
            Kind::Flush => self.confirm(runtime, win, source, reply),
            Kind::Name => {
                let name = network::name_for(runtime, win, source);
                self.send(runtime, win, source, reply, name);
            }
            Kind::Lock => {
                self.locks.push_back(Waiting { source, reply, alone: request.head.alone });
            }
            Kind::Unlock => {
                win.control.unlock(win.control.me(), request.head.alone);
                self.confirm(runtime, win, source, reply);
            }
            kind => {
                let wants = matches!(kind, Kind::Get | Kind::Fetch | Kind::Swap);
                let found = access(runtime, win, &request);
                match found {
                    // Nothing, if it failed: that is shorter than what is awaited.
                    found if wants => {
                        self.send(runtime, win, source, reply, found.unwrap_or_default());
                    }
                    Err(error) => {
                        self.errors.entry(source).or_insert(error.code);
                    }
                    Ok(_) => {}
                }
            }
        }
    }

    fn confirm(&mut self, runtime: &mut Runtime, win: &Win, source: u32, reply: u32) {
        let code = self.errors.remove(&source).unwrap_or(0);
        self.send(runtime, win, source, reply, code.to_le_bytes().into());
    }

    fn send(&mut self, runtime: &mut Runtime, win: &Win, to: u32, tag: u32, mut bytes: Box<[u8]>) {
        let envelope = Envelope { context: win.reply_context(), source: win.comm.rank, tag };
        let payload = Payload::Contiguous { base: bytes.as_mut_ptr(), bytes: bytes.len() };
        let peer = win.peer(to);
        // SAFETY: the bytes are kept until the send has ended.
        let sent = unsafe { runtime.worker.send(peer, envelope, payload, SendMode::Standard) };
        if let Sent::Pending(id) = sent {
            self.replies.push((id, bytes));
        }
    }

    /// Gives the lock to those who wait for it, in their order.
    fn give_locks(&mut self, runtime: &mut Runtime, win: &Win) -> usize {
        let mut done = self.give_locks_now(runtime, win);
        if !self.locks.is_empty() && !self.is_listening {
            self.is_listening = true;
            win.control.fall_asleep();
            // SYNC(window.sleep): it may have been let go before we listened; pairs with the fence
            // of who lets a lock go.
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            done += self.give_locks_now(runtime, win);
        }
        if self.locks.is_empty() && self.is_listening {
            self.is_listening = false;
            win.control.wake_up();
        }
        done
    }

    fn give_locks_now(&mut self, runtime: &mut Runtime, win: &Win) -> usize {
        let mut done = 0;
        while let Some(first) = self.locks.front() {
            if !win.control.try_lock(win.control.me(), first.alone) {
                break;
            }
            let (source, reply) = (first.source, first.reply);
            self.locks.pop_front();
            self.confirm(runtime, win, source, reply);
            done += 1;
        }
        done
    }

    fn reap(&mut self, runtime: &mut Runtime) -> usize {
        let before = self.replies.len();
        self.replies.retain(|(id, _)| runtime.worker.take(*id).is_none());
        before - self.replies.len()
    }
}

/// Reads or changes memory of this process; what was there before, where that is wanted.
fn access(runtime: &mut Runtime, win: &Win, request: &Request<'_>) -> Result<Box<[u8]>> {
    check(win, request)?;
    let base = match win.flavor {
        Flavor::Dynamic => std::ptr::null_mut(),
        _ => win.base.cast(),
    };
    let memory = Memory::Here(base);
    let mut runs = Vec::new();
    request.each(|at, packed| runs.push((at, packed.len())));
    let total = request.total;
    let me = win.comm.rank;
    let senseless = || error(class::INTERN, "a request that makes no sense");
    let mut old = Vec::new();
    match request.head.kind {
        Kind::Put if request.data.len() == total => {
            // SAFETY: `check` found the runs in memory that the user exposes.
            unsafe { near::scatter(runtime, memory, &runs, request.data)? };
        }
        Kind::Get => {
            old.resize(total, 0);
            // SAFETY: as above.
            unsafe { near::gather(runtime, memory, &runs, &mut old)? };
        }
        Kind::Accumulate | Kind::Fetch => {
            let Some(combine) = Combine::from_words(request.head.combine) else {
                return senseless();
            };
            let carried = if combine.op() == Op::NoOp { 0 } else { total };
            if request.data.len() != carried || !total.is_multiple_of(combine.element_bytes()) {
                return senseless();
            }
            old.resize(total, 0);
            let mut new = Vec::new();
            near::update(runtime, win, me, |runtime| {
                // SAFETY: as above.
                unsafe { near::gather(runtime, memory, &runs, &mut old)? };
                if combine.op() == Op::NoOp {
                    return Ok(());
                }
                new.extend_from_slice(&old);
                combine.onto_packed(&mut new, request.data);
                // SAFETY: as above.
                unsafe { near::scatter(runtime, memory, &runs, &new) }
            })?;
        }
        Kind::Swap if request.data.len() == 2 * total => {
            let (expected, new) = request.data.split_at(total);
            old.resize(total, 0);
            near::update(runtime, win, me, |runtime| {
                // SAFETY: as above.
                unsafe { near::gather(runtime, memory, &runs, &mut old)? };
                if old != expected {
                    return Ok(());
                }
                // SAFETY: as above.
                unsafe { near::scatter(runtime, memory, &runs, new) }
            })?;
        }
        _ => return senseless(),
    }
    Ok(old.into())
}

/// Whether all runs lie in what this process exposes.
fn check(win: &Win, request: &Request<'_>) -> Result {
    for run in &request.runs {
        let is_inside = run.span().is_some_and(|(from, to)| win.exposes(from, to));
        if !is_inside {
            return error(class::RMA_RANGE, "the memory is not in the window");
        }
    }
    Ok(())
}

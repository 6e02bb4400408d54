// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One socket: its phase, its send queue, what it has received and not yet delivered.
//!
//! ```text
//! ACCEPTED --hello--> CHALLENGED --proof--> OPEN
//! DIALING --challenge--> PROVED --welcome--> OPEN --goodbye--> LEAVING
//!                          '----decline----> closed
//! ```
//!
//! Invariants:
//! 1. Before OPEN no message is written, so that giving a connection up loses none.
//! 2. Before CHALLENGED and PROVED exactly the bytes of the handshake are read, never more.
//! 3. A message is written whole, in order: it goes to the socket only when the queue is empty.
//! 4. The queue holds at most `QUEUE_BYTES_MAX` bytes of messages.
//! 5. After a failed write only reading goes on, because what the peer said before it died, perhaps
//!    a goodbye, may still lie in the kernel; reading finds the end.
//!
//! Not here: which connection serves a pair, and what its end means (listen.rs, mod.rs).
#![forbid(unsafe_code)]

use super::auth::{Acceptor, CHALLENGE_BYTES, HELLO_BYTES, Initiator, PROOF_BYTES};
use super::frame::{Control, Frame, FrameDecoder, FrameError};
use super::poll::Poller;
use super::send_queue::SendQueue;
use super::{FRAGMENT_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::envelope::Peer;
use crate::error::Submit;
use crate::lane::Inbox;
use crate::wire::header::HEADER_BYTES;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use std::io::IoSlice;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};

/// Names a connection; stale names find nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionId {
    index: u32,
    generation: u32,
}

impl ConnectionId {
    /// As a token of the poller.
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// From a token.
    pub fn from_token(token: u64) -> ConnectionId {
        ConnectionId { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// All connections of a lane.
#[derive(Default)]
pub struct Connections {
    slots: Vec<(u32, Option<Connection>)>,
    free: Vec<u32>,
}

impl Connections {
    /// Adds one.
    pub fn insert(&mut self, make: impl FnOnce(ConnectionId) -> Connection) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        // The lane's own tokens have all bits of the generation set: it stays below.
        slot.0 = (slot.0 + 1) % (u32::MAX - 1);
        let id = ConnectionId { index, generation: slot.0 };
        slot.1 = Some(make(id));
        id
    }

    /// Finds one.
    #[inline]
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        match self.slots.get_mut(id.index as usize) {
            Some((generation, connection)) if *generation == id.generation => connection.as_mut(),
            _ => None,
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let removed = match self.slots.get_mut(id.index as usize) {
            Some((generation, connection)) if *generation == id.generation => connection.take(),
            _ => None,
        };
        if removed.is_some() {
            self.free.push(id.index);
        }
        removed
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(|(_, connection)| connection.as_ref())
    }

    /// The names of all of them.
    pub fn ids(&self) -> Vec<ConnectionId> {
        self.iter().map(|connection| connection.id).collect()
    }
}

/// Where a connection is in its life.
pub enum Phase {
    /// Somebody connected. The hello is awaited, for a limited time.
    Accepted,
    /// A fresh hello with a good tag came; the proof is awaited.
    Challenged(Box<Acceptor>),
    /// We connect and said hello; the challenge is awaited.
    Dialing(Box<Initiator>),
    /// We proved ourselves; welcome or decline is awaited.
    Proved,
    /// The connection of its pair.
    Open,
    /// Declined or at its end: what is queued goes out, what comes in is discarded.
    Leaving,
}

/// What became of an attempt to read a piece of the handshake.
pub enum Intake {
    /// It is complete.
    Complete,
    /// More must come.
    Waiting,
    /// These bytes can become no handshake.
    Foreign,
    /// Nothing will come any more.
    Ended(Option<Errno>),
}

/// Why delivering stopped.
pub enum Drained {
    /// All bytes were taken.
    Empty,
    /// The budget is used up; bytes are left.
    Budget,
    /// A control frame; bytes may be left.
    Control(Control),
    /// Bytes that are no frames.
    Broken(FrameError),
}

/// One socket.
pub struct Connection {
    pub id: ConnectionId,
    pub socket: OwnedFd,
    /// The other end.
    pub address: SocketAddrV4,
    /// The peer, as far as it is known: called, claimed, or (from PROVED and OPEN on) proved.
    pub peer: Option<Peer>,
    pub phase: Phase,
    /// The peer said goodbye.
    pub goodbye_heard: bool,
    /// We said goodbye.
    pub goodbye_said: bool,
    /// The error of a write.
    pub write_error: Option<Errno>,
    /// A message was refused as lost: the end must be reported, goodbye or not.
    pub refused: bool,
    queue: SendQueue,
    write_interest: bool,
    shut: bool,
    decoder: FrameDecoder,
    /// Received bytes for which there was no budget.
    backlog: Vec<u8>,
    handshake: [u8; CHALLENGE_BYTES],
    handshake_bytes: usize,
}

impl Connection {
    /// A connection over a non-blocking socket that is in the poller, without write interest.
    pub fn new(id: ConnectionId, socket: OwnedFd, address: SocketAddrV4, phase: Phase) -> Self {
        Connection {
            id,
            socket,
            address,
            peer: None,
            phase,
            goodbye_heard: false,
            goodbye_said: false,
            write_error: None,
            refused: false,
            queue: SendQueue::default(),
            write_interest: false,
            shut: false,
            decoder: FrameDecoder::default(),
            backlog: Vec::new(),
            handshake: [0; CHALLENGE_BYTES],
            handshake_bytes: 0,
        }
    }

    /// Sends a short message: one system call, nothing copied, if the socket takes it.
    #[inline]
    pub fn short(&mut self, poller: &Poller, head: &[u8; HEADER_BYTES], body: &[u8]) -> Submit {
        if self.write_error.is_some() {
            return Submit::Lost;
        }
        let bytes = HEADER_BYTES + body.len();
        if !self.queue.is_empty() {
            return self.queue_behind(poller, bytes, &mut |into| {
                into[..HEADER_BYTES].copy_from_slice(head);
                into[HEADER_BYTES..].copy_from_slice(body);
            });
        }
        let sent = match self.send_parts(&[IoSlice::new(head), IoSlice::new(body)]) {
            Ok(sent) => sent,
            Err(_) => return Submit::Lost,
        };
        if sent < bytes {
            self.queue.append(&head[sent.min(HEADER_BYTES)..]);
            self.queue.append(&body[sent.saturating_sub(HEADER_BYTES)..]);
            self.update_interest(poller);
        }
        Submit::Sent
    }

    /// Sends a frame of `bytes` that `fill` writes: into `scratch` if the socket may take it now,
    /// else into the queue.
    pub fn fragment(
        &mut self,
        poller: &Poller,
        scratch: &mut Vec<u8>,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        if self.write_error.is_some() {
            return Submit::Lost;
        }
        if !self.queue.is_empty() {
            return self.queue_behind(poller, bytes, fill);
        }
        if scratch.is_empty() {
            // Fresh zeroed memory: the kernel gives it page by page, as it is used.
            *scratch = vec![0; HEADER_BYTES + FRAGMENT_BYTES_MAX];
        }
        let frame = &mut scratch[..bytes];
        fill(frame);
        match self.send_parts(&[IoSlice::new(frame)]) {
            Ok(sent) => self.queue.append(&frame[sent..]),
            // The bytes are gone with the peer; who filled them learns of it as of a later death.
            Err(_) => return Submit::Sent,
        }
        self.update_interest(poller);
        Submit::Sent
    }

    /// The peer does not take a message any more. Only one that nobody waits for is of no concern.
    #[cold]
    pub fn refuse(&mut self, is_answer: bool) -> Submit {
        self.refused |= !is_answer;
        if is_answer { Submit::Sent } else { Submit::Lost }
    }

    /// Queues a frame behind others, if the bound allows it.
    fn queue_behind(
        &mut self,
        poller: &Poller,
        bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Submit {
        if self.queue.len() + bytes > QUEUE_BYTES_MAX {
            self.flush(poller);
            if self.write_error.is_some() {
                return Submit::Lost;
            }
            if self.queue.len() + bytes > QUEUE_BYTES_MAX {
                return Submit::Full;
            }
        }
        fill(self.queue.reserve(bytes));
        self.update_interest(poller);
        Submit::Sent
    }

    /// Queues bytes of the lane's own, which no bound applies to, and tries to send.
    pub fn say(&mut self, poller: &Poller, bytes: &[u8]) {
        if self.write_error.is_none() {
            self.queue.append(bytes);
            self.flush(poller);
        }
    }

    /// Takes over messages that waited for this connection to open.
    pub fn adopt(&mut self, poller: &Poller, waiting: SendQueue) {
        if self.queue.is_empty() {
            self.queue = waiting;
        } else {
            self.queue.append(waiting.front());
        }
        self.flush(poller);
    }

    /// Sends what is queued, as far as the socket takes it.
    pub fn flush(&mut self, poller: &Poller) {
        while !self.queue.is_empty() && self.write_error.is_none() {
            match rustix::net::send(&self.socket, self.queue.front(), SendFlags::NOSIGNAL) {
                Ok(sent) => self.queue.consume(sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => self.break_off(errno),
            }
        }
        self.update_interest(poller);
        if self.goodbye_said && self.queue.is_empty() && !self.shut {
            self.shut = true;
            // It fails only for a connection that is gone already.
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        }
    }

    /// Drops what is queued: nobody will read it.
    pub fn discard_queue(&mut self, poller: &Poller) {
        self.queue.clear();
        self.update_interest(poller);
    }

    /// Nothing waits here to be sent.
    pub fn has_sent_all(&self) -> bool {
        self.queue.is_empty()
    }

    fn send_parts(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut nothing = SendAncillaryBuffer::default();
        match rustix::net::sendmsg(&self.socket, parts, &mut nothing, SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => {
                self.break_off(errno);
                Err(errno)
            }
        }
    }

    #[cold]
    fn break_off(&mut self, errno: Errno) {
        self.write_error = Some(errno);
        self.queue.clear();
    }

    fn update_interest(&mut self, poller: &Poller) {
        let wanted = !self.queue.is_empty();
        if wanted != self.write_interest {
            match poller.change(self.socket.as_fd(), self.id.token(), wanted) {
                Ok(()) => self.write_interest = wanted,
                Err(errno) => self.break_off(errno),
            }
        }
    }

    /// Reads the piece of the handshake that the phase waits for.
    pub fn take_in(&mut self) -> Intake {
        let wanted = match self.phase {
            Phase::Accepted => HELLO_BYTES,
            Phase::Challenged(_) => PROOF_BYTES,
            _ => CHALLENGE_BYTES,
        };
        let opens = !matches!(self.phase, Phase::Challenged(_));
        while self.handshake_bytes < wanted {
            let into = &mut self.handshake[self.handshake_bytes..wanted];
            match rustix::net::recv(&self.socket, into, RecvFlags::empty()) {
                Ok((0, _)) => return Intake::Ended(self.write_error),
                Ok((bytes, _)) => self.handshake_bytes += bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Intake::Waiting,
                Err(errno) => return Intake::Ended(Some(self.write_error.unwrap_or(errno))),
            }
            if opens && !super::auth::may_begin(&self.handshake[..self.handshake_bytes]) {
                return Intake::Foreign;
            }
        }
        self.handshake_bytes = 0;
        Intake::Complete
    }

    /// The piece that [`Connection::take_in`] completed.
    pub fn handshake(&self) -> &[u8; CHALLENGE_BYTES] {
        &self.handshake
    }

    /// Receives into `buffer`: how many bytes, `None` for not now.
    ///
    /// # Errors
    /// The end, with the error that caused it if there was one.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Option<Errno>> {
        match rustix::net::recv(&self.socket, buffer, RecvFlags::empty()) {
            Ok((0, _)) => Err(self.write_error),
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(Some(self.write_error.unwrap_or(errno))),
        }
    }

    /// Delivers the messages of `input`, at most `budget`; returns how many.
    #[inline]
    pub fn drain<I: Inbox>(
        &mut self,
        input: &mut &[u8],
        inbox: &mut I,
        budget: usize,
    ) -> (usize, Drained) {
        let Some(peer) = self.peer else { return (0, Drained::Empty) };
        let mut delivered = 0;
        while delivered < budget {
            match self.decoder.next(input) {
                Ok(Some(Frame::Message(header, body))) => {
                    inbox.message(peer, &header, body);
                    delivered += 1;
                }
                Ok(Some(Frame::Control(control))) => return (delivered, Drained::Control(control)),
                Ok(None) => return (delivered, Drained::Empty),
                Err(error) => return (delivered, Drained::Broken(error)),
            }
        }
        let rest = if input.is_empty() { Drained::Empty } else { Drained::Budget };
        (delivered, rest)
    }

    /// Keeps bytes for which there was no budget.
    pub fn keep(&mut self, rest: &[u8]) {
        self.backlog = rest.to_vec();
    }

    /// Takes the kept bytes out.
    pub fn take_backlog(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.backlog)
    }

    /// Whether bytes are kept.
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether the stream stopped within a message.
    pub fn is_amid_message(&self) -> bool {
        self.decoder.is_amid()
    }

    /// Gives memory back that a burst needed.
    pub fn release_memory(&mut self) {
        self.decoder.release();
    }
}

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
//! 5. While a bulk message is under way, `amid` knows how much of it is missing, and the queue
//!    waits behind it: whoever has the bytes brings the rest.
//! 6. After a failed write only reading goes on, because what the peer said before it died, perhaps
//!    a goodbye, may still lie in the kernel; reading finds the end.
//!
//! Not here: which connection serves a pair, and what its end means (listen.rs, mod.rs).
#![forbid(unsafe_code)]

use super::auth::{Acceptor, CHALLENGE_BYTES, HELLO_BYTES, Initiator, PROOF_BYTES};
use super::connections::ConnectionId;
use super::frame::{Control, Frame, FrameDecoder, FrameError};
use super::poll::Poller;
use super::send_queue::SendQueue;
use super::transmit::{send_bytes, send_parts, send_short};
use super::{FRAGMENT_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::envelope::Peer;
use crate::error::Submit;
use crate::lane::Bulk;
use crate::lane::Inbox;
use crate::wire::header::{HEADER_BYTES, Header};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};

/// Short messages that are written at once between two polls: so many neighbours' worth of traffic
/// is never delayed. What follows them is a burst.
const DIRECT_MAX: u32 = 4;
/// A longer body is written at once: the system call is no longer what costs.
const HELD_BODY_MAX: usize = 8 * 1024;
/// Messages that are held back at most, and bytes: the receiver works on them meanwhile.
const HELD_MAX: u32 = 32;
const HELD_BYTES: usize = 24 * 1024;

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
    /// One of the connections of its pair (rails/).
    Rail,
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

/// A bulk message that has begun.
struct Amid {
    /// Its kind and token, which the next call for it names.
    name: (u8, u64),
    /// Bytes of the body that have not left.
    left: usize,
}

/// One socket.
pub struct Connection {
    pub id: ConnectionId,
    pub socket: OwnedFd,
    /// The other end.
    pub address: SocketAddrV4,
    /// The peer, as far as it is known: called, claimed, or (from PROVED and OPEN on) proved.
    pub peer: Option<Peer>,
    /// The rail of the pair that it is, or wants to be; `None` where a pair has one connection.
    pub rail: Option<u8>,
    /// The introduction under which the other end is known (outside.rs); `None` within the job.
    pub circle: Option<usize>,
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
    /// The bulk message that has begun and not all left.
    amid: Option<Amid>,
    /// What goes before its body, as far as it has not left.
    opening: SendQueue,
    /// The poll of the lane in which a message was last written, and how many were in it.
    burst: (u32, u32),
    /// Messages in the queue that the socket has not refused: the next poll sends them.
    held: u32,
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
            rail: None,
            circle: None,
            phase,
            goodbye_heard: false,
            goodbye_said: false,
            write_error: None,
            refused: false,
            queue: SendQueue::default(),
            amid: None,
            opening: SendQueue::default(),
            burst: (0, 0),
            held: 0,
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
        if self.held > 0 {
            self.flush(poller);
        }
        if self.write_error.is_some() {
            return Submit::Lost;
        }
        let bytes = HEADER_BYTES + body.len();
        if !self.is_free() {
            return self.queue_behind(poller, bytes, &mut |into| {
                into[..HEADER_BYTES].copy_from_slice(head);
                into[HEADER_BYTES..].copy_from_slice(body);
            });
        }
        let sent = match send_short(&self.socket, head, body) {
            Ok(sent) => sent,
            Err(errno) => {
                self.break_off(errno);
                return Submit::Lost;
            }
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
        if self.held > 0 {
            self.flush(poller);
        }
        if self.write_error.is_some() {
            return Submit::Lost;
        }
        if !self.is_free() {
            return self.queue_behind(poller, bytes, fill);
        }
        if scratch.is_empty() {
            // Fresh zeroed memory: the kernel gives it page by page, as it is used.
            *scratch = vec![0; HEADER_BYTES + FRAGMENT_BYTES_MAX];
        }
        let frame = &mut scratch[..bytes];
        fill(frame);
        match send_parts(&self.socket, &[IoSlice::new(frame)]) {
            Ok(sent) => self.queue.append(&frame[sent..]),
            // The bytes are gone with the peer; who filled them learns of it as of a later death.
            Err(errno) => {
                self.break_off(errno);
                return Submit::Sent;
            }
        }
        self.update_interest(poller);
        Submit::Sent
    }

    /// Keeps a short message back if others were written since the lane was last polled (`turn`
    /// counts polls), so that a burst of them leaves in few system calls. `false`: send it.
    #[inline]
    pub fn hold(&mut self, turn: u32, head: &[u8; HEADER_BYTES], body: &[u8]) -> bool {
        if self.burst.0 != turn {
            self.burst = (turn, 0);
        }
        self.burst.1 += 1;
        if self.burst.1 <= DIRECT_MAX || body.len() > HELD_BODY_MAX {
            return false;
        }
        // Behind messages that the socket refused, or within a bulk message, this is no burst.
        if (!self.is_free() && self.held == 0) || self.write_error.is_some() {
            return false;
        }
        self.queue.append(head);
        self.queue.append(body);
        self.held += 1;
        true
    }

    /// Whether the message that is held is the only one.
    #[inline]
    pub fn is_first_held(&self) -> bool {
        self.held == 1
    }

    /// Whether so much is held that it should leave.
    #[inline]
    pub fn holds_enough(&self) -> bool {
        self.held >= HELD_MAX || self.queue.len() >= HELD_BYTES
    }

    /// Sends a bulk message, as far as the socket takes it: nothing of the body is copied.
    pub fn bulk(
        &mut self,
        poller: &Poller,
        name: (u8, u64),
        opening: &[&[u8]],
        body: &[u8],
    ) -> Bulk {
        if self.write_error.is_some() {
            return Bulk::Lost;
        }
        if self.amid.is_none() {
            if !self.queue.is_empty() {
                self.flush(poller);
            }
            if !self.queue.is_empty() {
                return Bulk::Full;
            }
            opening.iter().for_each(|part| self.opening.append(part));
            self.amid = Some(Amid { name, left: body.len() });
        }
        let Some(amid) = &mut self.amid else { return Bulk::Full };
        if amid.name != name {
            return Bulk::Full;
        }
        let body = &body[..body.len().min(amid.left)];
        let parts = [IoSlice::new(self.opening.front()), IoSlice::new(body)];
        let sent = match send_parts(&self.socket, &parts) {
            Ok(sent) => sent,
            Err(errno) => {
                self.break_off(errno);
                return Bulk::Lost;
            }
        };
        let opened = sent.min(self.opening.len());
        self.opening.consume(opened);
        let taken = sent - opened;
        amid.left -= taken;
        if amid.left == 0 && self.opening.is_empty() {
            self.amid = None;
            self.flush(poller);
        } else {
            self.update_interest(poller);
        }
        Bulk::Took(taken)
    }

    /// A message can go to the socket now.
    #[inline]
    fn is_free(&self) -> bool {
        self.queue.is_empty() && self.amid.is_none()
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

    /// Sends what the socket takes of these bytes; after an error, nothing.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        send_bytes(&self.socket, bytes).unwrap_or_else(|errno| {
            self.break_off(errno);
            0
        })
    }

    /// Whether the poller tells when the socket has room.
    pub fn watch_room(&mut self, poller: &Poller, wanted: bool) {
        if wanted != self.write_interest
            && poller.change(self.socket.as_fd(), self.id.token(), wanted).is_ok()
        {
            self.write_interest = wanted;
        }
    }

    /// What takes frames out of the stream.
    pub fn decoder(&mut self) -> &mut FrameDecoder {
        &mut self.decoder
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
    /// Whether something waited and nothing does any more.
    pub fn flush(&mut self, poller: &Poller) -> bool {
        self.held = 0;
        let waited = !self.is_free();
        while !self.queue.is_empty() && self.amid.is_none() && self.write_error.is_none() {
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
        waited && self.is_free()
    }

    /// Drops what is queued: nobody will read it.
    pub fn discard_queue(&mut self, poller: &Poller) {
        self.forget_unsent();
        self.update_interest(poller);
    }

    /// Nothing waits here to be sent.
    pub fn has_sent_all(&self) -> bool {
        self.is_free()
    }

    /// The socket refused bytes that wait here.
    pub fn is_stalled(&self) -> bool {
        self.write_interest
    }

    #[cold]
    fn break_off(&mut self, errno: Errno) {
        self.write_error = Some(errno);
        self.forget_unsent();
    }

    fn forget_unsent(&mut self) {
        self.queue.clear();
        self.opening.clear();
        self.amid = None;
        self.held = 0;
    }

    fn update_interest(&mut self, poller: &Poller) {
        let wanted = !self.is_free();
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

    /// As `receive`, with what must come next: its bytes go to `place`, the others to `buffer`.
    ///
    /// # Errors
    /// As `receive`.
    pub fn receive_in_place(
        &mut self,
        place: &mut [u8],
        buffer: &mut [u8],
    ) -> Result<Option<usize>, Option<Errno>> {
        let mut parts = [IoSliceMut::new(place), IoSliceMut::new(buffer)];
        match rustix::io::readv(&self.socket, &mut parts) {
            Ok(0) => Err(self.write_error),
            Ok(bytes) => Ok(Some(bytes)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(Some(self.write_error.unwrap_or(errno))),
        }
    }

    /// The header of what must come next, if that is the rest of a message in pieces.
    #[inline]
    pub fn awaited(&self) -> Option<(Peer, Header)> {
        Some((self.peer?, self.decoder.awaited()?))
    }

    /// Whether a bulk message is likely to be next.
    #[inline]
    pub fn expects_bulk(&self) -> bool {
        self.decoder.expects_pieces()
    }

    /// So many bytes of it are in place; the header of that piece.
    pub fn landed(&mut self, bytes: usize) -> Option<Header> {
        self.decoder.landed(bytes)
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

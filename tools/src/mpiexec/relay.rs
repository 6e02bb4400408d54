// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the pipes of the ranks to the sinks, line by line.
//!
//! Invariants:
//! 1. A line of a rank reaches its sink whole, in the order the rank wrote it; standard output and
//!    standard error are two streams.
//! 2. Memory is bounded: a stream keeps at most one unfinished line of `LINE_BYTES_MAX` and one
//!    read; a sink above its mark stops the reading of all streams that end in it.
//! 3. A line longer than `LINE_BYTES_MAX` locks its sink: only its stream is read until the line
//!    ends, or until the stream is silent for `LOCK_IDLE`.
//!
//! Two inner epolls hold the pipes, one for standard output and one for standard error; to pause a
//! group is to take its epoll out of the outer one, whatever the number of ranks.

use super::ready::ready;
use super::sink::{Flush, QUEUE_BYTES_HIGH, Sink, StreamIndex};
use super::tree;
use super::wire::Kind;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longest line that is assembled before it is shown.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The same for a line that comes in pieces from another host.
pub const FED_LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of one read: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// How long an unfinished line of the interactive rank waits before it is shown, if that rank
/// sleeps, as it does when it waits for an answer to its prompt. On a busy host a rank may be
/// kept from running between the two writes of a line; such a line is not idle.
const PARTIAL_IDLE: Duration = Duration::from_millis(50);
/// After this time it is shown even if the rank computes: dots of progress.
const PARTIAL_IDLE_MAX: Duration = Duration::from_secs(1);
/// How long a stream that holds the lock may be silent.
const LOCK_IDLE: Duration = Duration::from_secs(1);

/// Standard output or standard error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Standard output.
    Out = 0,
    /// Standard error.
    Err = 1,
}

/// Our standard output, as an index of sinks.
pub const SINK_OUT: usize = 0;

struct Stream {
    pipe: Option<OwnedFd>,
    channel: Channel,
    sink: usize,
    label: Vec<u8>,
    /// `%t` must be written anew for each line.
    label_has_time: bool,
    pending: Vec<u8>,
    interactive: Option<u32>,
    hidden: bool,
}

struct Group {
    epoll: OwnedFd,
    watched: bool,
    open: usize,
}

#[derive(Clone, Copy)]
struct Lock {
    stream: StreamIndex,
    until: Instant,
    watched: bool,
}

/// An unfinished line of the interactive rank.
#[derive(Clone, Copy)]
struct Partial {
    since: Instant,
    look_at: Instant,
}

/// The tokens under which the relay registers itself with the outer epoll.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// The two groups: this one and the next.
    pub groups: u64,
    /// The stream that holds the lock.
    pub locked: u64,
    /// The sinks: this one plus the index.
    pub sinks: u64,
}

/// The streams and the sinks of a job.
pub struct Relay {
    outer: OwnedFd,
    tokens: Tokens,
    groups: [Group; 2],
    sinks: Vec<Sink>,
    armed: Vec<bool>,
    err_sink: usize,
    streams: Vec<Stream>,
    lock: Option<Lock>,
    partial: Option<Partial>,
    scratch: Vec<u8>,
    frames: Option<Rc<RefCell<Sink>>>,
}

/// Where the text of a rank goes.
#[derive(Default)]
pub struct Route {
    /// Index of the sink; see [`Relay::add_file`].
    pub sink: Option<usize>,
    /// What begins each line.
    pub label: Vec<u8>,
    /// The label holds `%t` still.
    pub label_has_time: bool,
    /// Nothing of this is shown.
    pub hidden: bool,
    /// Unfinished lines are shown after a moment; the process that writes them.
    pub interactive: Option<u32>,
}

impl Relay {
    /// A relay to our own standard output and error.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new(outer: OwnedFd, tokens: Tokens) -> rustix::io::Result<Relay> {
        let out = std::io::stdout();
        let err = std::io::stderr();
        let mut sinks = vec![Sink::inherited(out.as_fd())?];
        let mut err_sink = SINK_OUT;
        if !is_same_place(out.as_fd(), err.as_fd()) {
            sinks.push(Sink::inherited(err.as_fd())?);
            err_sink = 1;
        }
        let group = || -> rustix::io::Result<Group> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            Ok(Group { epoll, watched: false, open: 0 })
        };
        let armed = vec![false; sinks.len()];
        let mut relay = Relay {
            outer,
            tokens,
            groups: [group()?, group()?],
            sinks,
            armed,
            err_sink,
            streams: Vec::new(),
            lock: None,
            partial: None,
            scratch: Vec::with_capacity(READ_BYTES),
            frames: None,
        };
        relay.update_watch();
        Ok(relay)
    }

    /// A relay into one stream of frames, for whoever started us on this host.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn framed(outer: OwnedFd, tokens: Tokens) -> rustix::io::Result<Relay> {
        let stream = Rc::new(RefCell::new(Sink::inherited(std::io::stdout().as_fd())?));
        let mut relay = Relay::new(outer, tokens)?;
        relay.sinks = vec![
            Sink::framed(stream.clone(), Kind::Out)?,
            Sink::framed(stream.clone(), Kind::Err)?,
        ];
        relay.armed = vec![false; 2];
        relay.err_sink = 1;
        relay.frames = Some(stream);
        Ok(relay)
    }

    /// Sends a frame behind all text so far, if this relay makes frames.
    pub fn send(&mut self, kind: Kind, body: &[u8]) {
        let Some(stream) = self.frames.clone() else { return };
        self.flush(SINK_OUT);
        self.flush(self.err_sink);
        stream.borrow_mut().put_frame(kind, body);
        self.flush(SINK_OUT);
    }

    /// Adds a stream whose text comes by `feed`; its index.
    pub fn add_fed(&mut self, channel: Channel) -> StreamIndex {
        let sink = if channel == Channel::Out { SINK_OUT } else { self.err_sink };
        self.streams.push(Stream {
            pipe: None,
            channel,
            sink,
            label: Vec::new(),
            label_has_time: false,
            pending: Vec::new(),
            interactive: None,
            hidden: false,
        });
        self.streams.len() - 1
    }

    /// Text of such a stream: whole lines, a prompt, or pieces of a long line. These are kept until
    /// it is whole, within a bound.
    pub fn feed(&mut self, index: StreamIndex, text: &[u8]) {
        let stream = &mut self.streams[index];
        if !stream.hidden {
            stream.pending.extend_from_slice(text);
            let pending = &stream.pending;
            let end = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            let tail = pending.len() - end;
            if (LINE_BYTES_MAX..FED_LINE_BYTES_MAX).contains(&tail) {
                let rest = stream.pending.split_off(end);
                self.emit_pending(index);
                self.streams[index].pending = rest;
            } else {
                self.emit_pending(index);
            }
        }
        self.flush_all();
    }

    /// Shows what is left of such a stream.
    pub fn end_fed(&mut self, index: StreamIndex) {
        self.emit_pending(index);
        self.flush_all();
    }

    /// Whether text can be taken: what waits is within its bound.
    pub fn has_room(&self) -> bool {
        !self.is_over(SINK_OUT) && !self.is_over(self.err_sink)
    }

    /// Adds a file as a sink.
    pub fn add_file(&mut self, file: OwnedFd) -> usize {
        self.sinks.push(Sink::file(file));
        self.armed.push(false);
        self.sinks.len() - 1
    }

    /// Adds a pipe.
    ///
    /// # Errors
    /// The pipe cannot be watched.
    pub fn add(&mut self, pipe: OwnedFd, channel: Channel, route: Route) -> rustix::io::Result<()> {
        let index = self.streams.len();
        let group = &mut self.groups[channel as usize];
        epoll::add(&group.epoll, &pipe, EventData::new_u64(index as u64), EventFlags::IN)?;
        group.open += 1;
        let ours = if channel == Channel::Out { SINK_OUT } else { self.err_sink };
        self.streams.push(Stream {
            pipe: Some(pipe),
            channel,
            sink: route.sink.unwrap_or(ours),
            label: route.label,
            label_has_time: route.label_has_time,
            pending: Vec::new(),
            interactive: route.interactive,
            hidden: route.hidden,
        });
        Ok(())
    }

    /// Says something of our own on standard error.
    pub fn say(&mut self, text: &str) {
        let mut text = text.as_bytes().to_vec();
        text.push(b'\n');
        self.sinks[self.err_sink].put(StreamIndex::MAX, &text, b"");
        self.flush(self.err_sink);
    }

    /// Why our standard output is gone.
    pub fn broken(&self) -> Option<Errno> {
        self.sinks[SINK_OUT].broken()
    }

    /// Why a file is gone.
    pub fn broken_file(&self) -> Option<Errno> {
        self.sinks.iter().skip(self.err_sink + 1).find_map(Sink::broken)
    }

    /// Nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        self.sinks.iter().all(|sink| sink.queued() == 0)
    }

    /// Serves the pipes of a group that are readable.
    pub fn serve_group(&mut self, channel: usize) {
        for token in ready(&self.groups[channel].epoll, Some(&Timespec::default())) {
            let index = token as usize;
            self.read(index);
            if self.lock.is_some() || self.is_over(self.streams[index].sink) {
                break;
            }
        }
        self.flush_all();
    }

    /// Serves the stream that holds the lock.
    pub fn serve_locked(&mut self) {
        if let Some(lock) = self.lock {
            self.read(lock.stream);
            self.flush_all();
        }
    }

    /// A sink takes more.
    pub fn serve_sink(&mut self, sink: usize) {
        self.flush(sink);
        self.update_watch();
    }

    /// When `on_time` wants to be called.
    pub fn next_time(&self) -> Option<Instant> {
        let lock = self.lock.filter(|lock| lock.watched).map(|lock| lock.until);
        [self.partial.map(|partial| partial.look_at), lock].into_iter().flatten().min()
    }

    /// Shows unfinished lines of the interactive rank, and ends a lock whose stream is silent.
    pub fn on_time(&mut self, now: Instant) {
        if self.lock.is_some_and(|lock| now >= lock.until && lock.watched) {
            self.unlock();
        }
        if let Some(partial) = self.partial
            && now >= partial.look_at
        {
            self.look_at_partial(partial, now);
        }
        self.flush_all();
    }

    /// Reads what is left in all pipes without waiting for more, and closes them: all ranks have
    /// ended, and whoever else holds a pipe is not waited for. `true` when nothing is left.
    pub fn drain(&mut self) -> bool {
        if self.lock.is_some() {
            self.unlock();
        }
        for index in 0..self.streams.len() {
            while self.streams[index].pipe.is_some() {
                if self.is_over(self.streams[index].sink) {
                    self.flush_all();
                    if self.is_over(self.streams[index].sink) {
                        return false;
                    }
                }
                if !self.is_readable(index) {
                    self.close(index);
                } else {
                    self.read(index);
                }
            }
        }
        self.flush_all();
        true
    }

    /// Forgets all that ranks still say.
    pub fn hide_all(&mut self) {
        for stream in &mut self.streams {
            stream.hidden = true;
            stream.pending.clear();
        }
    }

    fn is_readable(&self, index: usize) -> bool {
        let Some(pipe) = &self.streams[index].pipe else { return false };
        let mut set = [PollFd::new(pipe, PollFlags::IN)];
        matches!(poll(&mut set, Some(&Timespec::default())), Ok(count) if count > 0)
    }

    fn is_over(&self, sink: usize) -> bool {
        self.sinks[sink].queued() >= QUEUE_BYTES_HIGH
    }

    /// One read of a readable pipe, so it does not block.
    fn read(&mut self, index: usize) {
        let Some(pipe) = &self.streams[index].pipe else { return };
        let mut chunk = std::mem::take(&mut self.scratch);
        chunk.clear();
        match rustix::io::read(pipe, rustix::buffer::spare_capacity(&mut chunk)) {
            Ok(0) => self.close(index),
            Ok(_) => self.take(index, &chunk),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.close(index),
        }
        self.scratch = chunk;
    }

    fn take(&mut self, index: usize, chunk: &[u8]) {
        let stream = &mut self.streams[index];
        if stream.hidden {
            return;
        }
        let whole = chunk.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if whole > 0 {
            stream.pending.extend_from_slice(&chunk[..whole]);
            self.emit_pending(index);
            if self.lock.is_some_and(|lock| lock.stream == index) {
                self.unlock();
            }
        }
        let stream = &mut self.streams[index];
        stream.pending.extend_from_slice(&chunk[whole..]);
        if stream.pending.len() >= LINE_BYTES_MAX || self.lock.is_some() {
            let is_shared = stream.sink <= self.err_sink;
            self.emit_pending(index);
            if is_shared {
                self.lock(index);
            }
        } else if stream.interactive.is_some() && !stream.pending.is_empty() {
            let since = Instant::now();
            self.partial = Some(Partial { since, look_at: since + PARTIAL_IDLE });
        }
    }

    /// Shows what the interactive rank left unfinished, unless more of it is to be expected.
    fn look_at_partial(&mut self, partial: Partial, now: Instant) {
        self.partial = None;
        for index in 0..self.streams.len() {
            let stream = &self.streams[index];
            let Some(pid) = stream.interactive.filter(|_| !stream.pending.is_empty()) else {
                continue;
            };
            let is_old = now.duration_since(partial.since) >= PARTIAL_IDLE_MAX;
            if self.is_readable(index) || (!is_old && tree::is_busy(pid)) {
                self.partial = Some(Partial { look_at: now + PARTIAL_IDLE, ..partial });
            } else {
                self.emit_pending(index);
            }
        }
    }

    fn emit_pending(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let text = std::mem::take(&mut stream.pending);
        let sink = &mut self.sinks[stream.sink];
        if stream.label_has_time {
            let pattern = String::from_utf8_lossy(&stream.label);
            sink.put(index, &text, pattern.replace("%t", &super::label::time_of_day()).as_bytes());
        } else {
            sink.put(index, &text, &stream.label);
        }
        // The buffer goes back, so that a stream of short lines allocates once.
        let mut text = text;
        text.clear();
        if text.capacity() <= LINE_BYTES_MAX {
            self.streams[index].pending = text;
        }
    }

    fn close(&mut self, index: usize) {
        if !self.streams[index].pending.is_empty() {
            self.emit_pending(index);
        }
        if self.lock.is_some_and(|lock| lock.stream == index) {
            self.unlock();
        }
        let stream = &mut self.streams[index];
        if stream.pipe.take().is_some() {
            self.groups[stream.channel as usize].open -= 1;
        }
    }

    fn lock(&mut self, index: usize) {
        let until = Instant::now() + LOCK_IDLE;
        match &mut self.lock {
            Some(lock) => lock.until = until,
            None => self.lock = Some(Lock { stream: index, until, watched: false }),
        }
    }

    fn unlock(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        if lock.watched
            && let Some(pipe) = &self.streams[lock.stream].pipe
        {
            // The pipe was added by `update_watch`; nothing else could be done about a failure.
            let _ = epoll::delete(&self.outer, pipe);
        }
    }

    fn flush_all(&mut self) {
        for sink in 0..self.sinks.len() {
            if self.sinks[sink].queued() > 0 {
                self.flush(sink);
            }
        }
        self.update_watch();
    }

    fn flush(&mut self, sink: usize) {
        let blocked = self.sinks[sink].flush() == Flush::Blocked;
        if blocked == self.armed[sink] {
            return;
        }
        let place = &self.sinks[sink];
        let token = EventData::new_u64(self.tokens.sinks + sink as u64);
        let changed = if blocked {
            epoll::add(&self.outer, place, token, EventFlags::OUT)
        } else {
            epoll::delete(&self.outer, place)
        };
        if changed.is_ok() {
            self.armed[sink] = blocked;
        }
    }

    /// Makes the outer epoll watch what may be read now: the groups whose sink has room, or only
    /// the stream that holds the lock.
    fn update_watch(&mut self) {
        let over = [self.is_over(SINK_OUT), self.is_over(self.err_sink)];
        for (index, over) in over.into_iter().enumerate() {
            let wanted = !over && self.lock.is_none();
            let group = &mut self.groups[index];
            if wanted != group.watched {
                let token = EventData::new_u64(self.tokens.groups + index as u64);
                let changed = if wanted {
                    epoll::add(&self.outer, &group.epoll, token, EventFlags::IN)
                } else {
                    epoll::delete(&self.outer, &group.epoll)
                };
                group.watched = if changed.is_ok() { wanted } else { group.watched };
            }
        }
        let Some(lock) = self.lock else { return };
        let wanted = !self.is_over(self.streams[lock.stream].sink);
        if wanted != lock.watched
            && let Some(pipe) = &self.streams[lock.stream].pipe
        {
            let token = EventData::new_u64(self.tokens.locked);
            let changed = if wanted {
                epoll::add(&self.outer, pipe, token, EventFlags::IN)
            } else {
                epoll::delete(&self.outer, pipe)
            };
            if changed.is_ok() {
                let until = Instant::now() + LOCK_IDLE;
                self.lock = Some(Lock { until, watched: wanted, ..lock });
            }
        }
    }
}

/// Two descriptors of one pipe, terminal or file: lines of both must not meet inside a line.
fn is_same_place(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    match (rustix::fs::fstat(a), rustix::fs::fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A child that leads to one host or to several: a launcher with an agent behind it. What it is
//! told, what it says, and how it ended.
//!
//! Not here: what the frames mean (wire.rs, head.rs, branch.rs).
#![forbid(unsafe_code)]

use super::launch::Started;
use super::signals::{self, Exit};
use super::wire::{self, Kind};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// How long a launcher may take to end after it closed its output.
pub const EXIT_TIME: Duration = Duration::from_millis(500);
/// How long a host may be silent.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a host may take to be ready: ssh gives up before that.
pub const READY_TIME: Duration = Duration::from_secs(60);

/// One of them.
pub struct Port {
    /// What the launcher is called, for people.
    pub launcher: String,
    /// Its process.
    pub pid: u32,
    /// How that ended.
    pub exit: Option<Exit>,
    /// Its output is listened to.
    pub watched: bool,
    /// When it was last heard of.
    pub heard: Instant,
    to: Option<OwnedFd>,
    queue: Vec<u8>,
    armed: bool,
    is_closing: bool,
    from: Option<OwnedFd>,
    reader: wire::Reader,
    /// The epoll that watches, and the tokens of both directions.
    outer: OwnedFd,
    tokens: (u64, u64),
}

impl Port {
    /// A port to what was started; `tokens` are those of what comes from it and of what goes to it.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new(
        started: Started,
        outer: &OwnedFd,
        tokens: (u64, u64),
    ) -> rustix::io::Result<(Port, OwnedFd)> {
        let Started { pid, name, to, from, err } = started;
        let port = Port {
            launcher: name,
            pid,
            exit: None,
            watched: false,
            heard: Instant::now(),
            to: Some(to),
            queue: Vec::new(),
            armed: false,
            is_closing: false,
            from: Some(from),
            reader: wire::Reader::after_preface(),
            outer: rustix::io::fcntl_dupfd_cloexec(outer, 3)?,
            tokens,
        };
        Ok((port, err))
    }

    /// Sends a frame; nothing to one that is closed.
    pub fn send(&mut self, kind: Kind, body: &[u8]) {
        if self.to.is_some() {
            wire::write(&mut self.queue, kind, body);
            self.flush();
        }
    }

    /// Sends a frame to a host behind it, or to all of them.
    pub fn send_via(&mut self, host: u32, kind: Kind, body: &[u8]) {
        if self.to.is_some() {
            wire::via(&mut self.queue, host, kind, body);
            self.flush();
        }
    }

    /// Writes what it takes; if it is gone, its output tells.
    pub fn flush(&mut self) {
        let Some(to) = &self.to else { return };
        let mut start = 0;
        while start < self.queue.len() {
            match rustix::io::write(to, &self.queue[start..]) {
                Ok(count) => start += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => start = self.queue.len(),
            }
        }
        self.queue.drain(..start);
        if self.is_closing && self.queue.is_empty() {
            return self.close();
        }
        let wanted = !self.queue.is_empty();
        if wanted != self.armed {
            let changed = match wanted {
                true => {
                    epoll::add(&self.outer, to, EventData::new_u64(self.tokens.1), EventFlags::OUT)
                }
                false => epoll::delete(&self.outer, to),
            };
            self.armed = if changed.is_ok() { wanted } else { self.armed };
        }
    }

    /// Says no more, once all that was said is written: the other side finds the end of its input.
    pub fn close_soon(&mut self) {
        self.is_closing = true;
        self.flush();
    }

    /// Says no more, at once.
    pub fn close(&mut self) {
        // To close it is to take it out of the epoll, too.
        self.to = None;
        self.armed = false;
    }

    /// Listens, or does not.
    pub fn watch(&mut self, wanted: bool) {
        let Some(from) = &self.from else { return };
        if wanted == self.watched {
            return;
        }
        let changed = match wanted {
            true => {
                epoll::add(&self.outer, from, EventData::new_u64(self.tokens.0), EventFlags::IN)
            }
            false => epoll::delete(&self.outer, from),
        };
        if changed.is_ok() {
            self.watched = wanted;
            // It was not listened to, so it was not silent.
            self.heard = Instant::now();
        }
    }

    /// One read; `false` when it has closed its output.
    pub fn read(&mut self) -> bool {
        let Some(from) = &self.from else { return true };
        let mut bytes = [0; READ_BYTES];
        match rustix::io::read(from, &mut bytes) {
            Ok(count) if count > 0 => {
                self.heard = Instant::now();
                self.reader.push(&bytes[..count]);
                true
            }
            Err(Errno::INTR | Errno::AGAIN) => true,
            Ok(_) | Err(_) => {
                if let Some(from) = self.from.take()
                    && self.watched
                {
                    let _ = epoll::delete(&self.outer, &from);
                }
                false
            }
        }
    }

    /// The next frame of what was read.
    ///
    /// # Errors
    /// The bytes are no frame.
    pub fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, String> {
        self.reader.next()
    }

    /// An agent has answered.
    pub fn has_answered(&self) -> bool {
        self.reader.chatter().is_none()
    }

    /// What it wrote that was no answer.
    pub fn chatter(&self) -> String {
        String::from_utf8_lossy(self.reader.chatter().unwrap_or(&[])).into_owned()
    }

    /// How long it has been silent, while it was listened to. What was said and is not read yet
    /// counts, too: the silence may be our own, as after ^Z and `fg`.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        let from = self.from.as_ref().filter(|_| self.watched)?;
        let silence = now.saturating_duration_since(self.heard);
        (silence < SILENCE_MAX || !is_readable(from)).then_some(silence)
    }

    /// How it ended, in words.
    pub fn end_in_words(&self) -> String {
        match self.exit {
            Some(Exit::Code(code)) => format!("{} ended with exit code {code}", self.launcher),
            Some(Exit::Signal(number)) => {
                format!("{} died by {}", self.launcher, signals::name(number))
            }
            None => format!("{} closed its output", self.launcher),
        }
    }

    /// Ends the launcher.
    pub fn kill(&self) {
        if self.exit.is_none() {
            signals::send(self.pid, libc::SIGKILL);
        }
    }
}

/// Something waits to be read there.
pub fn is_readable(fd: &OwnedFd) -> bool {
    let mut set = [PollFd::new(fd, PollFlags::IN)];
    matches!(poll(&mut set, Some(&Timespec::default())), Ok(count) if count > 0)
}

/// Splits hosts into those that one agent each leads to: all of them where these are few, else as
/// many groups of neighbours, whose first host starts the others. A `fan_out` of 0 has no bound.
pub fn groups<T: Clone>(hosts: &[T], fan_out: usize) -> Vec<Vec<T>> {
    let count = if fan_out == 0 { hosts.len() } else { hosts.len().min(fan_out) };
    let bounds = |group: usize| group * hosts.len() / count;
    (0..count).map(|group| hosts[bounds(group)..bounds(group + 1)].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_few_and_cover_all() {
        for count in 0..100_usize {
            let hosts: Vec<usize> = (0..count).collect();
            for fan_out in [0, 1, 2, 3, 32] {
                let groups = groups(&hosts, fan_out);
                assert_eq!(groups.concat(), hosts);
                assert!(groups.iter().all(|group| !group.is_empty()));
                assert!(fan_out == 0 || groups.len() <= fan_out);
                assert!(count > fan_out && fan_out > 0 || groups.len() == count);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A place where lines end up: our standard output, our standard error, or a file.
//!
//! Invariants:
//! 1. The queue holds whole pieces in the order they were put; nothing is dropped unless the place
//!    is gone (broken pipe, full disk).
//! 2. Text of one stream never begins inside an unfinished line of another: a newline comes first.
//! 3. A flush never blocks on a pipe, a terminal or a socket, so that signals and ends are noticed
//!    while a reader such as `less` does not read. Our standard output may be shared with the
//!    shell, so its O_NONBLOCK flag is never touched: a pipe or terminal is opened anew instead.

use super::wire::{self, Kind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Bytes in the queue above which its streams are no longer read.
pub const QUEUE_BYTES_HIGH: usize = 1 << 20;
/// What a writable pipe takes without blocking, by POSIX.
const PIPE_BYTES_ATOMIC: usize = 4096;

/// Index of a stream of the relay, or of mpiexec itself.
pub type StreamIndex = usize;

/// How to write without blocking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// A regular file: writes do not wait for anybody.
    File,
    /// A descriptor of our own with O_NONBLOCK.
    Nonblocking,
    /// A socket: MSG_DONTWAIT.
    Socket,
    /// Poll, then at most what fits.
    Small,
}

/// After a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// The queue is empty.
    Done,
    /// The place takes no more now.
    Blocked,
    /// The place is gone; what was queued is lost.
    Broken,
}

/// A place for lines.
pub struct Sink {
    fd: OwnedFd,
    way: Way,
    queue: Vec<u8>,
    start: usize,
    open_by: Option<StreamIndex>,
    broken: Option<Errno>,
    frames: Option<(Rc<RefCell<Sink>>, Kind)>,
}

impl Sink {
    /// Our own standard output or error.
    ///
    /// # Errors
    /// The descriptor cannot be duplicated.
    pub fn inherited(fd: BorrowedFd<'_>) -> rustix::io::Result<Sink> {
        let kind = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let way = match kind {
            Ok(FileType::RegularFile) => Way::File,
            Ok(FileType::Socket) => Way::Socket,
            Ok(FileType::CharacterDevice) if !rustix::termios::isatty(fd) => Way::File,
            Ok(FileType::Fifo | FileType::CharacterDevice) => {
                let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                if let Ok(own) = rustix::fs::open(path, flags, Mode::empty()) {
                    return Ok(Sink::new(own, Way::Nonblocking));
                }
                Way::Small
            }
            _ => Way::Small,
        };
        Ok(Sink::new(rustix::io::fcntl_dupfd_cloexec(fd, 3)?, way))
    }

    /// A file of ours.
    pub fn file(fd: OwnedFd) -> Sink {
        Sink::new(fd, Way::File)
    }

    fn new(fd: OwnedFd, way: Way) -> Sink {
        Sink { fd, way, queue: Vec::new(), start: 0, open_by: None, broken: None, frames: None }
    }

    /// Text of this kind, as frames in a stream that other kinds share.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn framed(stream: Rc<RefCell<Sink>>, kind: Kind) -> rustix::io::Result<Sink> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&stream.borrow().fd, 3)?;
        Ok(Sink { frames: Some((stream, kind)), ..Sink::new(fd, Way::Small) })
    }

    /// Queues a frame.
    pub fn put_frame(&mut self, kind: Kind, body: &[u8]) {
        if self.broken.is_none() {
            wire::write(&mut self.queue, kind, body);
        }
    }

    /// Queues frames as they are.
    pub fn put_bytes(&mut self, frames: &[u8]) {
        if self.broken.is_none() {
            self.queue.extend_from_slice(frames);
        }
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        let stream = self.frames.as_ref().map_or(0, |(stream, _)| stream.borrow().queued());
        self.queue.len() - self.start + stream
    }

    /// Why the place is gone.
    pub fn broken(&self) -> Option<Errno> {
        let stream = self.frames.as_ref().and_then(|(stream, _)| stream.borrow().broken);
        self.broken.or(stream)
    }

    /// Queues text of a stream; each line begins with `label`.
    pub fn put(&mut self, from: StreamIndex, text: &[u8], label: &[u8]) {
        if text.is_empty() || self.broken.is_some() {
            return;
        }
        if self.open_by.is_some_and(|other| other != from) {
            self.queue.push(b'\n');
            self.open_by = None;
        }
        if label.is_empty() {
            self.queue.extend_from_slice(text);
        } else {
            let mut fresh = self.open_by.is_none();
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                if fresh {
                    self.queue.extend_from_slice(label);
                }
                self.queue.extend_from_slice(line);
                fresh = true;
            }
        }
        self.open_by = (text.last() != Some(&b'\n')).then_some(from);
    }

    /// Writes as much as the place takes.
    pub fn flush(&mut self) -> Flush {
        if let Some((stream, kind)) = &self.frames {
            let mut stream = stream.borrow_mut();
            for piece in self.queue.chunks(wire::BODY_BYTES_MAX / 2) {
                stream.put_frame(*kind, piece);
            }
            self.queue.clear();
            return stream.flush();
        }
        while self.start < self.queue.len() {
            if self.broken.is_some() {
                break;
            }
            match self.write_some() {
                Ok(count) => self.start += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.forget_written();
                    return Flush::Blocked;
                }
                Err(errno) => self.broken = Some(errno),
            }
        }
        self.queue.clear();
        self.start = 0;
        if self.broken.is_some() { Flush::Broken } else { Flush::Done }
    }

    fn forget_written(&mut self) {
        if self.start > QUEUE_BYTES_HIGH / 2 {
            self.queue.drain(..self.start);
            self.start = 0;
        }
    }

    fn write_some(&self) -> rustix::io::Result<usize> {
        let text = &self.queue[self.start..];
        match self.way {
            Way::File | Way::Nonblocking => rustix::io::write(&self.fd, text),
            Way::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                rustix::net::send(&self.fd, text, flags)
            }
            Way::Small => {
                let mut set = [PollFd::new(&self.fd, PollFlags::OUT)];
                if poll(&mut set, Some(&Timespec::default()))? == 0 {
                    return Err(Errno::AGAIN);
                }
                rustix::io::write(&self.fd, &text[..text.len().min(PIPE_BYTES_ATOMIC)])
            }
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sink: &Sink) -> String {
        String::from_utf8(sink.queue[sink.start..].to_vec()).unwrap()
    }

    fn null() -> Sink {
        Sink::file(std::fs::File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn unfinished_lines_are_closed_before_other_text() {
        let mut sink = null();
        sink.put(0, b"prompt> ", b"");
        sink.put(1, b"other\n", b"");
        sink.put(0, b"more\n", b"");
        assert_eq!(text(&sink), "prompt> \nother\nmore\n");
    }

    #[test]
    fn labels_begin_lines_only() {
        let mut sink = null();
        sink.put(0, b"a\nb", b"[0] ");
        sink.put(0, b"c\n", b"[0] ");
        sink.put(1, b"d\n\n", b"[1] ");
        assert_eq!(text(&sink), "[0] a\n[0] bc\n[1] d\n[1] \n");
    }
}

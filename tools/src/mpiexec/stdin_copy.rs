// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our standard input, copied to several ranks (`-stdin all`). The usual case, one rank, inherits
//! the descriptor itself and never comes here.
//!
//! The next piece is read when the slowest rank has taken the last one, so memory is one piece.
//! A rank that closed its input is left out.
#![forbid(unsafe_code)]

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of one read.
const PIECE_BYTES: usize = 64 * 1024;

struct Reader {
    pipe: OwnedFd,
    /// Bytes of the piece that it has taken.
    taken: usize,
    armed: bool,
}

/// The copier.
pub struct StdinCopy {
    outer: OwnedFd,
    token_source: u64,
    /// Token of the first reader; the others follow.
    token_readers: u64,
    readers: Vec<Option<Reader>>,
    piece: Vec<u8>,
    watching: bool,
    /// The pieces come by `feed`, not from our standard input.
    fed: bool,
    /// A regular file cannot be watched: it is read at once.
    always_readable: bool,
    ended: bool,
}

impl StdinCopy {
    /// Copies to these pipes, whose writing ends do not block.
    pub fn new(outer: OwnedFd, token_source: u64, token_readers: u64, pipes: Vec<OwnedFd>) -> Self {
        let reader = |pipe| Some(Reader { pipe, taken: 0, armed: false });
        let mut copy = StdinCopy {
            outer,
            token_source,
            token_readers,
            readers: pipes.into_iter().map(reader).collect(),
            piece: Vec::with_capacity(PIECE_BYTES),
            watching: false,
            fed: false,
            always_readable: false,
            ended: false,
        };
        copy.watch();
        copy
    }

    /// Copies what `feed` brings.
    pub fn fed(outer: OwnedFd, token_readers: u64, pipes: Vec<OwnedFd>) -> Self {
        let reader = |pipe| Some(Reader { pipe, taken: 0, armed: false });
        StdinCopy {
            outer,
            token_source: 0,
            token_readers,
            readers: pipes.into_iter().map(reader).collect(),
            piece: Vec::new(),
            watching: false,
            fed: true,
            always_readable: false,
            ended: false,
        }
    }

    /// The next piece, after all have taken the last one; an empty one is the end.
    pub fn feed(&mut self, piece: Vec<u8>) {
        if piece.is_empty() || self.ended {
            return self.end();
        }
        self.piece = piece;
        self.hand_out();
    }

    /// All readers have taken all there was.
    pub fn is_hungry(&self) -> bool {
        self.piece.is_empty()
    }

    /// The loop must call `serve_source` without waiting.
    pub fn is_impatient(&self) -> bool {
        self.always_readable && !self.ended && self.piece.is_empty()
    }

    /// Our standard input is readable.
    pub fn serve_source(&mut self) {
        if !self.piece.is_empty() || self.ended {
            return;
        }
        let stdin = std::io::stdin();
        self.piece.clear();
        match rustix::io::read(&stdin, rustix::buffer::spare_capacity(&mut self.piece)) {
            Ok(0) => self.end(),
            Ok(_) => {
                self.unwatch();
                self.hand_out();
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.end(),
        }
    }

    fn hand_out(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            reader.taken = 0;
        }
        for index in 0..self.readers.len() {
            self.serve_reader(index);
        }
    }

    /// A rank's pipe takes more.
    pub fn serve_reader(&mut self, index: usize) {
        let Some(reader) = self.readers.get_mut(index).and_then(Option::as_mut) else { return };
        let mut gone = false;
        while reader.taken < self.piece.len() {
            match rustix::io::write(&reader.pipe, &self.piece[reader.taken..]) {
                Ok(count) => reader.taken += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    gone = true;
                    break;
                }
            }
        }
        let wanted = !gone && reader.taken < self.piece.len();
        if wanted != reader.armed {
            let token = EventData::new_u64(self.token_readers + index as u64);
            let changed = if wanted {
                epoll::add(&self.outer, &reader.pipe, token, EventFlags::OUT)
            } else {
                epoll::delete(&self.outer, &reader.pipe)
            };
            reader.armed = if changed.is_ok() { wanted } else { reader.armed };
        }
        if gone {
            self.readers[index] = None;
        }
        let piece = self.piece.len();
        if self.readers.iter().flatten().all(|reader| reader.taken == piece) {
            self.piece.clear();
            if self.readers.iter().all(Option::is_none) {
                self.end();
            } else {
                self.watch();
            }
        }
    }

    fn end(&mut self) {
        self.unwatch();
        self.ended = true;
        self.piece.clear();
        self.readers.clear();
    }

    fn watch(&mut self) {
        if self.watching || self.always_readable || self.fed {
            return;
        }
        let stdin = std::io::stdin();
        let token = EventData::new_u64(self.token_source);
        match epoll::add(&self.outer, stdin.as_fd(), token, EventFlags::IN) {
            Ok(()) => self.watching = true,
            Err(_) => self.always_readable = true,
        }
    }

    fn unwatch(&mut self) {
        if self.watching {
            let stdin = std::io::stdin();
            self.watching = epoll::delete(&self.outer, stdin.as_fd()).is_err();
        }
    }
}

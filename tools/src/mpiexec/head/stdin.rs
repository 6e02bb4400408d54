// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our standard input, piece by piece to the hosts whose ranks read it. The next piece is read when
//! all of them have taken the last one. A rank on this host inherits the descriptor and needs none
//! of this.
#![forbid(unsafe_code)]

use super::Head;
use crate::mpiexec::job::TOKEN_STDIN;
use crate::mpiexec::wire::Kind;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// Bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Who is fed.
pub struct StdinFeed {
    targets: BTreeSet<usize>,
    /// Those that have not taken the last piece.
    hungry: BTreeSet<usize>,
    started: bool,
    watching: bool,
    /// A regular file cannot be watched: it is read at once.
    always_readable: bool,
    ended: bool,
}

impl StdinFeed {
    /// Feeds these hosts.
    pub fn to(targets: Vec<usize>) -> StdinFeed {
        StdinFeed {
            targets: targets.into_iter().collect(),
            hungry: BTreeSet::new(),
            started: false,
            watching: false,
            always_readable: false,
            ended: false,
        }
    }

    /// The next piece can be read without waiting.
    pub fn is_impatient(&self) -> bool {
        self.started && self.always_readable && !self.ended && self.hungry.is_empty()
    }
}

impl Head<'_> {
    pub(super) fn watch_stdin(&mut self) {
        let Some(feed) = &mut self.stdin else { return };
        feed.started = true;
        if feed.ended || feed.watching || feed.always_readable || !feed.hungry.is_empty() {
            return;
        }
        let stdin = std::io::stdin();
        let token = EventData::new_u64(TOKEN_STDIN);
        match epoll::add(&self.outer, stdin.as_fd(), token, EventFlags::IN) {
            Ok(()) => feed.watching = true,
            Err(_) => feed.always_readable = true,
        }
    }

    fn unwatch_stdin(&mut self) {
        if let Some(feed) = self.stdin.as_mut().filter(|feed| feed.watching) {
            feed.watching = epoll::delete(&self.outer, std::io::stdin().as_fd()).is_err();
        }
    }

    pub(super) fn serve_impatient_stdin(&mut self) {
        if self.stdin.as_ref().is_some_and(StdinFeed::is_impatient) {
            self.serve_stdin();
        }
    }

    pub(super) fn serve_stdin(&mut self) {
        let Some(feed) = &mut self.stdin else { return };
        if feed.ended || !feed.hungry.is_empty() {
            return;
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let stdin = std::io::stdin();
        match rustix::io::read(&stdin, rustix::buffer::spare_capacity(&mut piece)) {
            Err(Errno::INTR | Errno::AGAIN) => return,
            Ok(0) | Err(_) => feed.ended = true,
            Ok(_) => feed.hungry.clone_from(&feed.targets),
        }
        let targets = feed.targets.clone();
        self.unwatch_stdin();
        for target in targets {
            self.send(target, Kind::Stdin, &piece);
        }
    }

    pub(super) fn stdin_taken(&mut self, index: usize) {
        if let Some(feed) = &mut self.stdin {
            feed.hungry.remove(&index);
        }
        self.watch_stdin();
    }

    /// A host reads no more.
    pub(super) fn stdin_left(&mut self, index: usize) {
        let Some(feed) = &mut self.stdin else { return };
        feed.targets.remove(&index);
        feed.hungry.remove(&index);
        if feed.targets.is_empty() {
            feed.ended = true;
            self.unwatch_stdin();
        } else if feed.started {
            self.watch_stdin();
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A window: messages that are in flight at the same time, with their buffers and requests.

use super::exchange::Setting;
use crate::buffer::Buffer;
use crate::mpi::raw::{REQUEST_NULL, Request};
use crate::mpi::{self, Part, World};
use crate::pattern::{Seed, fill, holds};

/// Between the requests of a window no other one touches its memory, and it waits for all
/// requests before anything else may: that is what makes its functions safe.
pub struct Window {
    world: World,
    memory: Buffer,
    size: usize,
    /// One for each message; all the same if the messages share one buffer.
    parts: Vec<Part>,
    requests: Vec<Request>,
    persistent: bool,
}

impl Window {
    pub fn new(setting: &Setting) -> Window {
        let count = setting.window;
        let buffers = if setting.many_buffers { count } else { 1 };
        let memory = Buffer::new(setting.size * buffers);
        let at = |index: usize| if setting.many_buffers { index * setting.size } else { 0 };
        let parts = (0..count)
            .map(|index| memory.part(at(index), setting.size, setting.datatype))
            .collect();
        Window {
            world: setting.world,
            memory,
            size: setting.size,
            parts,
            requests: vec![REQUEST_NULL; count],
            persistent: false,
        }
    }

    /// Posts an immediate send for each message; [`Window::wait`] must follow.
    #[inline]
    pub fn post_sends(&mut self, to: usize, tag: i32) {
        for (part, request) in self.parts.iter().zip(&mut self.requests) {
            // SAFETY: `memory` is owned and unused until `wait` has ended the request.
            unsafe { self.world.post_send(*part, to, tag, request) };
        }
    }

    /// Posts an immediate receive for each message; [`Window::wait`] must follow.
    #[inline]
    pub fn post_receives(&mut self, from: usize, tag: i32) {
        for (part, request) in self.parts.iter().zip(&mut self.requests) {
            // SAFETY: as above. Messages that share one buffer hold plain bytes, of which any
            // mixture is a value.
            unsafe { self.world.post_receive(*part, from, tag, request) };
        }
    }

    /// Makes a persistent send for each message.
    pub fn prepare_sends(&mut self, to: usize, tag: i32) {
        self.persistent = true;
        for (part, request) in self.parts.iter().zip(&mut self.requests) {
            // SAFETY: `memory` lives until `drop` has freed the request.
            unsafe { self.world.prepare_send(*part, to, tag, request) };
        }
    }

    /// Makes a persistent receive for each message.
    pub fn prepare_receives(&mut self, from: usize, tag: i32) {
        self.persistent = true;
        for (part, request) in self.parts.iter().zip(&mut self.requests) {
            // SAFETY: as above.
            unsafe { self.world.prepare_receive(*part, from, tag, request) };
        }
    }

    /// Starts the persistent requests; [`Window::wait`] must follow.
    #[inline]
    pub fn start(&mut self) {
        // SAFETY: `wait` left them inactive; `memory` is owned.
        unsafe { mpi::start_all(&mut self.requests) };
    }

    /// [`Window::start`] of a window of one message, by MPI_Start.
    #[inline]
    pub fn start_one(&mut self) {
        // SAFETY: as above.
        unsafe { mpi::start(&mut self.requests[0]) };
    }

    /// [`Window::wait`] of a window of one message, by MPI_Wait.
    #[inline]
    pub fn wait_one(&mut self) {
        mpi::wait(&mut self.requests[0]);
    }

    #[inline]
    pub fn wait(&mut self) {
        mpi::wait_all(&mut self.requests);
    }

    /// Writes what rank `from` sends in this round.
    pub fn fill(&mut self, round: u64, from: usize) {
        let chunks = self.memory.bytes_mut().chunks_exact_mut(self.size.max(1));
        chunks.enumerate().for_each(|(index, bytes)| fill(bytes, Seed::new(round, from, index)));
    }

    pub fn wipe(&mut self) {
        self.memory.bytes_mut().fill(0);
    }

    /// Is it what rank `from` sent in this round, each message in its place?
    pub fn holds(&self, round: u64, from: usize) -> bool {
        let mut chunks = self.memory.bytes().chunks_exact(self.size.max(1)).enumerate();
        chunks.all(|(index, bytes)| holds(bytes, Seed::new(round, from, index)))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.persistent {
            self.requests.iter_mut().for_each(mpi::free);
        }
    }
}

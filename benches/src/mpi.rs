// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The few MPI functions that the benchmarks call, behind safe ones.
//!
//! Values of handles are those of the standard ABI, which fixes them. Errors are fatal by
//! default, so that a code other than 0 is not seen here; it is asserted all the same.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Handle(usize);

const WORLD: Handle = Handle(0x101);
const CHAR: Handle = Handle(0x243);
const REQUEST_NULL: Handle = Handle(0x180);

unsafe extern "C" {
    fn MPI_Init(argc: *mut c_int, argv: *mut *mut *mut c_char) -> c_int;
    fn MPI_Finalize() -> c_int;
    fn MPI_Comm_rank(comm: Handle, rank: *mut c_int) -> c_int;
    fn MPI_Comm_size(comm: Handle, size: *mut c_int) -> c_int;
    fn MPI_Wtime() -> f64;
    fn MPI_Barrier(comm: Handle) -> c_int;
    fn MPI_Send(b: *const c_void, n: c_int, t: Handle, to: c_int, tag: c_int, c: Handle) -> c_int;
    fn MPI_Recv(
        buffer: *mut c_void,
        count: c_int,
        datatype: Handle,
        from: c_int,
        tag: c_int,
        comm: Handle,
        status: *mut c_void,
    ) -> c_int;
    fn MPI_Isend(
        buffer: *const c_void,
        count: c_int,
        datatype: Handle,
        to: c_int,
        tag: c_int,
        comm: Handle,
        request: *mut Handle,
    ) -> c_int;
    fn MPI_Irecv(
        buffer: *mut c_void,
        count: c_int,
        datatype: Handle,
        from: c_int,
        tag: c_int,
        comm: Handle,
        request: *mut Handle,
    ) -> c_int;
    fn MPI_Waitall(count: c_int, requests: *mut Handle, statuses: *mut c_void) -> c_int;
    fn MPI_Abort(comm: Handle, code: c_int) -> c_int;
}

/// MPI from its start to its end; there is one per process.
pub struct World {
    pub rank: usize,
    pub size: usize,
    requests: Vec<Handle>,
}

impl World {
    /// Starts MPI. To be called once, which `main` does.
    pub fn start() -> World {
        let (mut rank, mut size) = (0, 0);
        // SAFETY: null arguments are allowed, and nothing of MPI was called before.
        check(unsafe { MPI_Init(ptr::null_mut(), ptr::null_mut()) });
        // SAFETY: the pointer is to an int of ours.
        check(unsafe { MPI_Comm_rank(WORLD, &mut rank) });
        // SAFETY: as above.
        check(unsafe { MPI_Comm_size(WORLD, &mut size) });
        World { rank: rank as usize, size: size as usize, requests: Vec::new() }
    }

    /// Ends MPI for everybody.
    pub fn finish(self) {
        // SAFETY: `start` initialised MPI, and `self` is gone: no call follows.
        check(unsafe { MPI_Finalize() });
    }

    /// Ends the job at once.
    pub fn abort(&self, code: i32) {
        // SAFETY: `start` initialised MPI.
        unsafe { MPI_Abort(WORLD, code) };
    }

    /// Seconds since some moment in the past.
    #[inline]
    pub fn now(&self) -> f64 {
        // SAFETY: `start` initialised MPI.
        unsafe { MPI_Wtime() }
    }

    pub fn barrier(&self) {
        // SAFETY: `start` initialised MPI.
        check(unsafe { MPI_Barrier(WORLD) });
    }

    #[inline]
    pub fn send(&self, bytes: &[u8], to: usize, tag: i32) {
        // SAFETY: the buffer is borrowed until the call returns, when MPI has finished with it.
        check(unsafe {
            MPI_Send(bytes.as_ptr().cast(), bytes.len() as c_int, CHAR, to as c_int, tag, WORLD)
        });
    }

    #[inline]
    pub fn receive(&self, bytes: &mut [u8], from: usize, tag: i32) {
        let (start, count) = (bytes.as_mut_ptr().cast(), bytes.len() as c_int);
        // SAFETY: the buffer is ours alone until the call returns; null ignores the status.
        check(unsafe { MPI_Recv(start, count, CHAR, from as c_int, tag, WORLD, ptr::null_mut()) });
    }

    /// Sends every part with an immediate send, then waits for all.
    #[inline]
    pub fn send_window(&mut self, parts: &Window, to: usize, tag: i32) {
        self.requests.resize(parts.count, REQUEST_NULL);
        for (index, request) in self.requests.iter_mut().enumerate() {
            let part = parts.part(index);
            let (start, count) = (part.as_ptr().cast(), part.len() as c_int);
            // SAFETY: `parts` is borrowed until `wait` below, which ends every request.
            check(unsafe { MPI_Isend(start, count, CHAR, to as c_int, tag, WORLD, request) });
        }
        self.wait();
    }

    /// Receives every part with an immediate receive, then waits for all.
    #[inline]
    pub fn receive_window(&mut self, parts: &mut Window, from: usize, tag: i32) {
        self.requests.resize(parts.count, REQUEST_NULL);
        for (index, request) in self.requests.iter_mut().enumerate() {
            let part = parts.part_mut(index);
            let (start, count) = (part.as_mut_ptr().cast(), part.len() as c_int);
            // SAFETY: `parts` is borrowed for us alone until `wait` below ends every request.
            // Parts that share one buffer hold plain bytes, of which any mixture is a value.
            check(unsafe { MPI_Irecv(start, count, CHAR, from as c_int, tag, WORLD, request) });
        }
        self.wait();
    }

    fn wait(&mut self) {
        let count = self.requests.len() as c_int;
        // SAFETY: the requests are ours; null ignores the statuses.
        check(unsafe { MPI_Waitall(count, self.requests.as_mut_ptr(), ptr::null_mut()) });
    }
}

/// The buffers of a window: one for all its messages, or one for each.
pub struct Window<'a> {
    memory: &'a mut [u8],
    size: usize,
    count: usize,
    shared: bool,
}

impl<'a> Window<'a> {
    /// `count` messages of `size` bytes; `shared` lets all of them use the same bytes.
    pub fn new(memory: &'a mut [u8], size: usize, count: usize, shared: bool) -> Window<'a> {
        let needed = if shared { size } else { size * count };
        assert!(memory.len() >= needed, "a window of {needed} bytes in {}", memory.len());
        Window { memory, size, count, shared }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    fn start(&self, index: usize) -> usize {
        if self.shared { 0 } else { index * self.size }
    }

    pub fn part(&self, index: usize) -> &[u8] {
        &self.memory[self.start(index)..][..self.size]
    }

    pub fn part_mut(&mut self, index: usize) -> &mut [u8] {
        let start = self.start(index);
        &mut self.memory[start..][..self.size]
    }
}

#[inline]
fn check(code: c_int) {
    assert!(code == 0, "an MPI call answered {code}");
}

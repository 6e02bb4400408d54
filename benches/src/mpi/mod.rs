// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MPI as the benchmarks use it: one communicator of all ranks, and the calls around the
//! measurement, behind safe functions. What is measured calls [`raw`] or the thin functions of
//! [`World`] that are marked `inline`.
//!
//! Errors are fatal by default in MPI, so that a code other than 0 is not seen here; it is
//! checked all the same.

pub mod raw;

use raw::*;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::Instant;

/// How MPI is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    Plain,
    /// With as many threads in MPI calls as like to.
    Threads,
    /// By a session and its process set of all ranks, without MPI_Init.
    Session,
}

/// All ranks, as seen from this one.
#[derive(Clone, Copy)]
pub struct World {
    pub rank: usize,
    pub size: usize,
    pub comm: Comm,
    /// Seconds that the start of MPI took.
    pub started_in: f64,
    session: Option<Session>,
}

/// Elements in somebody's memory.
#[derive(Clone, Copy)]
pub struct Part {
    pub start: *mut u8,
    pub count: c_int,
    pub datatype: Datatype,
}

impl World {
    /// Starts MPI. To be called once, which the way in does.
    pub fn start(how: Start) -> Result<World, String> {
        let mut session = None;
        let mut comm = WORLD;
        // MPI's own clock may not be read before MPI is there.
        let began = Instant::now();
        match how {
            // SAFETY: null arguments are allowed, and nothing of MPI was called before.
            Start::Plain => check(unsafe { MPI_Init(ptr::null_mut(), ptr::null_mut()) }),
            Start::Threads => {
                let mut provided = 0;
                // SAFETY: as above; `provided` is an int of ours.
                check(unsafe {
                    let null = ptr::null_mut();
                    MPI_Init_thread(null, ptr::null_mut(), THREAD_MULTIPLE, &mut provided)
                });
                if provided != THREAD_MULTIPLE {
                    // SAFETY: MPI was initialised, and no call follows.
                    check(unsafe { MPI_Finalize() });
                    return Err("MPI_Init_thread must return MPI_THREAD_MULTIPLE!".into());
                }
            }
            Start::Session => (session, comm) = by_session(),
        }
        let started_in = began.elapsed().as_secs_f64();
        let (mut rank, mut size) = (0, 0);
        // SAFETY: the pointer is to an int of ours.
        check(unsafe { MPI_Comm_rank(comm, &mut rank) });
        // SAFETY: as above.
        check(unsafe { MPI_Comm_size(comm, &mut size) });
        Ok(World { rank: rank as usize, size: size as usize, comm, started_in, session })
    }

    /// Its numbers alone, for tests that call nothing of MPI.
    #[cfg(test)]
    pub fn unstarted(rank: usize, size: usize) -> World {
        World { rank, size, comm: WORLD, session: None, started_in: 0.0 }
    }

    /// Ends MPI for everybody.
    pub fn finish(mut self) {
        if let Some(mut session) = self.session {
            // SAFETY: the communicator is ours, and nothing uses it any more.
            check(unsafe { MPI_Comm_free(&mut self.comm) });
            // SAFETY: as above for the session.
            check(unsafe { MPI_Session_finalize(&mut session) });
            return;
        }
        // SAFETY: `start` initialised MPI, and no call follows.
        check(unsafe { MPI_Finalize() });
    }

    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Seconds since some moment in the past.
    #[inline]
    pub fn now(&self) -> f64 {
        // SAFETY: `start` initialised MPI.
        unsafe { MPI_Wtime() }
    }

    pub fn barrier(&self) {
        // SAFETY: the communicator is valid.
        check(unsafe { MPI_Barrier(self.comm) });
    }

    /// `values`, each combined over all ranks; rank 0 alone learns the result.
    pub fn reduce(&self, op: Op, values: &mut [f64]) {
        let count = values.len() as c_int;
        let own = values.to_vec();
        let (from, to) = (own.as_ptr().cast(), values.as_mut_ptr().cast());
        // SAFETY: both buffers hold `count` doubles, and do not overlap.
        check(unsafe { MPI_Reduce(from, to, count, DOUBLE, op, 0, self.comm) });
    }

    /// Is it true at every rank? All learn it.
    pub fn all(&self, truth: bool) -> bool {
        let own = [f64::from(u8::from(truth))];
        let mut least = [0.0_f64];
        let (from, to) = (own.as_ptr().cast(), least.as_mut_ptr().cast());
        // SAFETY: both buffers hold one double, and do not overlap.
        check(unsafe { MPI_Allreduce(from, to, 1, DOUBLE, MIN, self.comm) });
        least[0] == 1.0
    }

    /// Numbers of rank 0, for all.
    pub fn tell(&self, words: &mut [f64]) {
        let count = words.len() as c_int;
        // SAFETY: the buffer holds `count` doubles.
        check(unsafe { MPI_Bcast(words.as_mut_ptr().cast(), count, DOUBLE, 0, self.comm) });
    }

    /// The first `count` ranks by themselves; the others get one of their own.
    pub fn first(&self, count: usize) -> World {
        let mut comm = Comm(0);
        let colour = c_int::from(self.rank >= count);
        // SAFETY: all ranks call it; the handle is ours to be set.
        check(unsafe { MPI_Comm_split(self.comm, colour, self.rank as c_int, &mut comm) });
        let (rank, size) = match colour {
            0 => (self.rank, count),
            _ => (self.rank - count, self.size - count),
        };
        World { rank, size, comm, started_in: 0.0, session: None }
    }

    /// Sets a hint of the communicator.
    pub fn hint(&self, key: &CStr, value: &str) {
        let value = CString::new(value).expect("a hint has no zero inside");
        let mut info = Info(0);
        // SAFETY: the handle is ours to be set.
        check(unsafe { MPI_Info_create(&mut info) });
        // SAFETY: the info is ours, both texts are C strings.
        check(unsafe { MPI_Info_set(info, key.as_ptr(), value.as_ptr()) });
        // SAFETY: the communicator is valid; all its ranks call it.
        check(unsafe { MPI_Comm_set_info(self.comm, info) });
        // SAFETY: the info is ours.
        check(unsafe { MPI_Info_free(&mut info) });
    }

    /// What the library says of the communicator under a key.
    pub fn told(&self, key: &CStr) -> Option<String> {
        let mut info = Info(0);
        // SAFETY: the communicator is valid, the handle is ours to be set.
        check(unsafe { MPI_Comm_get_info(self.comm, &mut info) });
        let (mut room, mut length, mut is_there) = ([0_u8; 64], 64, 0);
        let text = room.as_mut_ptr().cast();
        // SAFETY: the buffer has as many bytes as `length` says.
        check(unsafe { MPI_Info_get_string(info, key.as_ptr(), &mut length, text, &mut is_there) });
        // SAFETY: the info is ours.
        check(unsafe { MPI_Info_free(&mut info) });
        let text = CStr::from_bytes_until_nul(&room).ok()?;
        (is_there != 0).then(|| text.to_string_lossy().into_owned())
    }

    /// One number of rank 0, for all.
    pub fn share(&self, value: f64) -> f64 {
        let mut value = [value];
        // SAFETY: the buffer holds one double.
        check(unsafe { MPI_Bcast(value.as_mut_ptr().cast(), 1, DOUBLE, 0, self.comm) });
        value[0]
    }

    /// A short text of each rank, cut to `limit` bytes; rank 0 learns all, the others none.
    pub fn collect(&self, text: &str, limit: usize) -> Vec<String> {
        let mut own = vec![0_u8; limit];
        let length = text.len().min(limit);
        own[..length].copy_from_slice(&text.as_bytes()[..length]);
        let mut all = vec![0_u8; if self.is_first() { limit * self.size } else { 0 }];
        let (from, to) = (own.as_ptr().cast(), all.as_mut_ptr().cast());
        let count = limit as c_int;
        // SAFETY: every rank sends `count` bytes; rank 0 has room for all of them.
        check(unsafe { MPI_Gather(from, count, CHAR, to, count, CHAR, 0, self.comm) });
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(limit);
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        all.chunks_exact(limit.max(1)).map(text).collect()
    }

    /// # Safety
    /// The part lies in living memory.
    #[inline]
    pub unsafe fn send(&self, part: Part, to: usize, tag: i32) {
        let Part { start, count, datatype } = part;
        // SAFETY: the caller answers for the part.
        check(unsafe { MPI_Send(start.cast(), count, datatype, to as c_int, tag, self.comm) });
    }

    /// # Safety
    /// The part lies in living memory that nobody else uses during the call.
    #[inline]
    pub unsafe fn receive(&self, part: Part, from: usize, tag: i32) {
        let Part { start, count, datatype } = part;
        let (from, null) = (from as c_int, ptr::null_mut());
        // SAFETY: the caller answers for the part; null ignores the status.
        check(unsafe { MPI_Recv(start.cast(), count, datatype, from, tag, self.comm, null) });
    }

    /// # Safety
    /// The part lies in memory that lives, and is not written, until the request has ended.
    #[inline]
    pub unsafe fn post_send(&self, part: Part, to: usize, tag: i32, request: &mut Request) {
        let Part { start, count, datatype } = part;
        let to = to as c_int;
        // SAFETY: the caller answers for the part and the request.
        check(unsafe { MPI_Isend(start.cast(), count, datatype, to, tag, self.comm, request) });
    }

    /// # Safety
    /// The part lies in memory that lives, and that only MPI uses, until the request has ended.
    #[inline]
    pub unsafe fn post_receive(&self, part: Part, from: usize, tag: i32, request: &mut Request) {
        let Part { start, count, datatype } = part;
        let from = from as c_int;
        // SAFETY: the caller answers for the part and the request.
        check(unsafe { MPI_Irecv(start.cast(), count, datatype, from, tag, self.comm, request) });
    }

    /// # Safety
    /// As for [`World::post_send`], until the request is freed.
    pub unsafe fn prepare_send(&self, part: Part, to: usize, tag: i32, request: &mut Request) {
        let Part { start, count, datatype } = part;
        let to = to as c_int;
        // SAFETY: the caller answers for the part and the request.
        check(unsafe { MPI_Send_init(start.cast(), count, datatype, to, tag, self.comm, request) });
    }

    /// # Safety
    /// As for [`World::post_receive`], until the request is freed.
    pub unsafe fn prepare_receive(&self, part: Part, from: usize, tag: i32, request: &mut Request) {
        let Part { start, count, datatype } = part;
        let (buffer, from): (*mut c_void, _) = (start.cast(), from as c_int);
        // SAFETY: the caller answers for the part and the request.
        check(unsafe { MPI_Recv_init(buffer, count, datatype, from, tag, self.comm, request) });
    }
}

fn by_session() -> (Option<Session>, Comm) {
    let (mut session, mut group, mut comm) = (Session(0), Group(0), Comm(0));
    // SAFETY: the handle is ours to be set.
    check(unsafe { MPI_Session_init(INFO_NULL, ERRORS_ARE_FATAL, &mut session) });
    let all = c"mpi://WORLD".as_ptr();
    // SAFETY: the session is initialised, the name is a C string.
    check(unsafe { MPI_Group_from_session_pset(session, all, &mut group) });
    let tag = c"org.strait.benches".as_ptr();
    // SAFETY: the group is valid, the tag is a C string; every member calls it.
    check(unsafe {
        MPI_Comm_create_from_group(group, tag, INFO_NULL, ERRORS_ARE_FATAL, &mut comm)
    });
    // SAFETY: the group is ours.
    check(unsafe { MPI_Group_free(&mut group) });
    (Some(session), comm)
}

/// What the library calls itself; may be asked before MPI is started.
pub fn library_version() -> String {
    string(MAX_LIBRARY_VERSION_STRING, |text, length| {
        // SAFETY: the buffer has the room that the ABI prescribes.
        unsafe { MPI_Get_library_version(text, length) }
    })
}

/// The name of this rank's host, as MPI tells it.
pub fn processor_name() -> String {
    string(MAX_PROCESSOR_NAME, |text, length| {
        // SAFETY: the buffer has the room that the ABI prescribes.
        unsafe { MPI_Get_processor_name(text, length) }
    })
}

fn string(room: usize, ask: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    let mut text = vec![0_u8; room];
    let mut length = 0;
    check(ask(text.as_mut_ptr().cast(), &mut length));
    text.truncate(length.max(0) as usize);
    text.retain(|byte| *byte != 0);
    String::from_utf8_lossy(&text).into_owned()
}

/// Waits for one request.
#[inline]
pub fn wait(request: &mut Request) {
    // SAFETY: the request is valid or null; null ignores the status.
    check(unsafe { MPI_Wait(request, ptr::null_mut()) });
}

/// Waits for all requests.
#[inline]
pub fn wait_all(requests: &mut [Request]) {
    let count = requests.len() as c_int;
    // SAFETY: the requests are valid or null; null ignores the statuses.
    check(unsafe { MPI_Waitall(count, requests.as_mut_ptr(), ptr::null_mut()) });
}

/// Lets MPI progress; has the request ended?
#[inline]
pub fn test(request: &mut Request) -> bool {
    let mut flag = 0;
    // SAFETY: the request is valid or null; null ignores the status.
    check(unsafe { MPI_Test(request, &mut flag, ptr::null_mut()) });
    flag != 0
}

/// Starts a persistent request.
///
/// # Safety
/// It is inactive, and its memory is as it was when it was made.
#[inline]
pub unsafe fn start(request: &mut Request) {
    // SAFETY: the caller answers for the request.
    check(unsafe { MPI_Start(request) });
}

/// Starts persistent requests.
///
/// # Safety
/// As for [`start`].
#[inline]
pub unsafe fn start_all(requests: &mut [Request]) {
    let count = requests.len() as c_int;
    // SAFETY: the caller answers for the requests.
    check(unsafe { MPI_Startall(count, requests.as_mut_ptr()) });
}

/// Frees an inactive persistent request.
pub fn free(request: &mut Request) {
    if *request != REQUEST_NULL {
        // SAFETY: the request is valid.
        check(unsafe { MPI_Request_free(request) });
    }
}

#[inline]
pub fn check(code: c_int) {
    assert!(code == 0, "an MPI call answered {code}");
}

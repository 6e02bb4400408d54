// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that the other rank of a pair accesses, and the calls that begin and end epochs.

use crate::buffer::Buffer;
use crate::mpi::raw::*;
use crate::mpi::{Part, World, check};
use crate::options::{Created, Sync};
use crate::point_to_point::exchange::Setting;
use std::ffi::c_int;
use std::ptr;

/// A window of all ranks, each of which exposes as many bytes.
pub struct Window {
    pub win: Win,
    world: World,
    peer: c_int,
    /// The other rank of the pair, as a group.
    group: Group,
    sync: Sync,
    /// Memory of ours, if the window was made of it.
    memory: Option<Buffer>,
    start: *mut u8,
    bytes: usize,
    /// Where the memory of the peer begins.
    pub base: isize,
}

impl Window {
    pub fn new(setting: &Setting, bytes: usize, sync: Sync) -> Window {
        let world = setting.world;
        let peer = setting.peer as c_int;
        let mut win = Win(0);
        let mut memory = None;
        let mut start: *mut u8 = ptr::null_mut();
        let mut base = 0;
        match setting.memory_of {
            Created::Allocate => {
                let place = (&raw mut start).cast();
                // SAFETY: both out-pointers are to locals of ours.
                check(unsafe {
                    MPI_Win_allocate(bytes as isize, 1, INFO_NULL, world.comm, place, &mut win)
                });
            }
            Created::Create => {
                let buffer = memory.insert(Buffer::new(bytes));
                start = buffer.start();
                let (base, size) = (start.cast(), bytes as isize);
                // SAFETY: the memory is ours and lives until the window is freed.
                check(unsafe { MPI_Win_create(base, size, 1, INFO_NULL, world.comm, &mut win) });
            }
            Created::Dynamic => {
                let buffer = memory.insert(Buffer::new(bytes));
                start = buffer.start();
                // SAFETY: the out-pointer is to a local of ours.
                check(unsafe { MPI_Win_create_dynamic(INFO_NULL, world.comm, &mut win) });
                // SAFETY: the memory is ours and lives until the window is freed.
                check(unsafe { MPI_Win_attach(win, start.cast(), bytes as isize) });
                base = addresses(&world, start)[setting.peer];
            }
        }
        let (mut all, mut group) = (Group(0), Group(0));
        // SAFETY: the out-pointer is to a local of ours.
        check(unsafe { MPI_Comm_group(world.comm, &mut all) });
        // SAFETY: as above; the list has one rank.
        check(unsafe { MPI_Group_incl(all, 1, &peer, &mut group) });
        // SAFETY: the group is ours.
        check(unsafe { MPI_Group_free(&mut all) });
        let window = Window { win, world, peer, group, sync, memory, start, bytes, base };
        window.world.barrier();
        // One epoch for all accesses.
        if matches!(sync, Sync::Flush | Sync::FlushLocal) {
            window.lock();
        }
        if sync == Sync::Fence {
            window.fence();
        }
        window
    }

    /// The memory, which the peer does not access now.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: it has so many bytes; the caller has met the peer.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }

    /// The same, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }

    #[inline]
    fn lock(&self) {
        // SAFETY: the window is valid; no epoch is open.
        check(unsafe { MPI_Win_lock(LOCK_SHARED, self.peer, 0, self.win) });
    }

    #[inline]
    fn unlock(&self) {
        // SAFETY: the window is valid and locked.
        check(unsafe { MPI_Win_unlock(self.peer, self.win) });
    }

    #[inline]
    pub fn fence(&self) {
        // SAFETY: the window is valid; all ranks call it.
        check(unsafe { MPI_Win_fence(0, self.win) });
    }

    /// This rank accesses the peer's memory, and that is complete.
    #[inline]
    pub fn origin(&self, accesses: impl FnOnce()) {
        let win = self.win;
        match self.sync {
            Sync::Flush => {
                accesses();
                // SAFETY: the window is valid and locked.
                check(unsafe { MPI_Win_flush(self.peer, win) });
            }
            Sync::FlushLocal => {
                accesses();
                // SAFETY: as above.
                check(unsafe { MPI_Win_flush_local(self.peer, win) });
            }
            Sync::Lock => {
                self.lock();
                accesses();
                self.unlock();
            }
            Sync::LockAll => {
                // SAFETY: the window is valid; no epoch is open.
                check(unsafe { MPI_Win_lock_all(0, win) });
                accesses();
                // SAFETY: as above.
                check(unsafe { MPI_Win_unlock_all(win) });
            }
            Sync::Pscw => {
                // SAFETY: as above; the peer posts.
                check(unsafe { MPI_Win_start(self.group, 0, win) });
                accesses();
                // SAFETY: as above.
                check(unsafe { MPI_Win_complete(win) });
            }
            Sync::Fence => {
                accesses();
                self.fence();
            }
        }
    }

    /// The peer does so; nothing where it does not need us.
    #[inline]
    pub fn target(&self) {
        match self.sync {
            Sync::Pscw => {
                self.post();
                self.wait();
            }
            Sync::Fence => self.fence(),
            _ => {}
        }
    }

    #[inline]
    pub fn post(&self) {
        // SAFETY: the window is valid.
        check(unsafe { MPI_Win_post(self.group, 0, self.win) });
    }

    #[inline]
    pub fn wait(&self) {
        // SAFETY: the window is posted.
        check(unsafe { MPI_Win_wait(self.win) });
    }

    /// Whether both ranks take turns.
    pub fn is_mutual(sync: Sync) -> bool {
        matches!(sync, Sync::Pscw | Sync::Fence)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if matches!(self.sync, Sync::Flush | Sync::FlushLocal) {
            self.unlock();
        }
        self.world.barrier();
        if self.base != 0 {
            // SAFETY: the memory was attached.
            check(unsafe { MPI_Win_detach(self.win, self.start.cast()) });
        }
        // SAFETY: the window and the group are ours, and nothing uses them any more.
        check(unsafe { MPI_Win_free(&mut self.win) });
        // SAFETY: as above.
        check(unsafe { MPI_Group_free(&mut self.group) });
        self.memory = None;
    }
}

/// Where each rank's memory begins.
fn addresses(world: &World, start: *mut u8) -> Vec<isize> {
    let mut own = 0;
    let mut all = vec![0_isize; world.size];
    // SAFETY: the out-pointer is to a local of ours.
    check(unsafe { MPI_Get_address(start.cast(), &mut own) });
    let (from, to) = ((&raw const own).cast(), all.as_mut_ptr().cast());
    // SAFETY: one address from each rank, and room for all.
    check(unsafe { MPI_Allgather(from, 1, AINT, to, 1, AINT, world.comm) });
    all
}

/// A buffer as one element list for an access.
pub fn part(buffer: &Buffer, at: usize, setting: &Setting) -> Part {
    buffer.part(at, setting.size, setting.datatype)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pages under a node: a memfd, or an unlinked file where memfd is refused, mapped once.
//!
//! Invariants:
//! 1. No name is left behind: a memfd has none, a file is unlinked before it is used.
//! 2. No SIGBUS later: a memfd is sealed against shrinking, a file's blocks are allocated at once.
//! 3. The mapping is as long as the size that was checked, and lives as long as [`Memory`].

use super::layout::PAGE_BYTES;
use crate::error::{Error, Result};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

/// A shared mapping and its descriptor.
pub(crate) struct Memory {
    descriptor: OwnedFd,
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; all access to it goes through
// atomics or through the protocols of lane::shm.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

fn system(what: &str, errno: rustix::io::Errno) -> Error {
    Error::system(what, errno.raw_os_error())
}

impl Memory {
    /// Fresh zeroed memory.
    pub(crate) fn create(bytes: usize) -> Result<Memory> {
        let descriptor = match memfd(bytes) {
            Ok(descriptor) => descriptor,
            Err(refused) => unlinked_file(bytes).map_err(|error| {
                let (a, b) = (refused, error.0);
                Error::system(
                    format!("cannot create the node memory ({bytes} bytes; memfd: {a}; file: {b})"),
                    refused.raw_os_error(),
                )
            })?,
        };
        Memory::map(descriptor, bytes)
    }

    /// Maps `bytes` bytes of a descriptor that holds at least so many.
    pub(crate) fn map(descriptor: OwnedFd, bytes: usize) -> Result<Memory> {
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                &descriptor,
                0,
            )
        }
        .map_err(|errno| system("cannot map the node memory", errno))?;
        let base = NonNull::new(base.cast()).expect("mmap never maps at zero on success");
        Ok(Memory { descriptor, base, bytes })
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// The first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the range from `offset` to the end out of forked children: copying page tables costs
    /// time, and a child must not be a second owner of our rings.
    pub(crate) fn keep_from_children(&self, offset: usize) {
        let offset = offset.next_multiple_of(PAGE_BYTES);
        if offset >= self.bytes {
            return;
        }
        // SAFETY: the range lies in our mapping; the advice changes only what fork does. On hosts
        // with larger pages the kernel refuses an odd offset, and then nothing changes.
        let _ = unsafe {
            let start = self.base.as_ptr().add(offset).cast::<c_void>();
            rustix::mm::madvise(start, self.bytes - offset, Advice::LinuxDontFork)
        };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: this is our mapping, and nothing borrows from a Memory that is being dropped.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// Bytes of the file behind a descriptor.
pub(crate) fn file_bytes(descriptor: impl AsFd) -> Result<u64> {
    let stat = rustix::fs::fstat(descriptor)
        .map_err(|errno| system("cannot stat the node memory", errno))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

fn memfd(bytes: usize) -> rustix::io::Result<OwnedFd> {
    let descriptor =
        rustix::fs::memfd_create("strait-node", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&descriptor, bytes as u64)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&descriptor, seals)?;
    Ok(descriptor)
}

/// A file in /dev/shm or the temporary directory, unlinked at once, all its blocks allocated.
fn unlinked_file(bytes: usize) -> Result<OwnedFd> {
    let mut last = Error::system("no directory for the node memory", libc::ENOENT);
    for directory in [std::path::PathBuf::from("/dev/shm"), std::env::temp_dir()] {
        match unlinked_file_in(&directory, bytes) {
            Ok(descriptor) => return Ok(descriptor),
            Err(errno) => {
                last = system(&format!("no node memory in {}", directory.display()), errno);
            }
        }
    }
    Err(last)
}

fn unlinked_file_in(directory: &std::path::Path, bytes: usize) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{FallocateFlags, Mode, OFlags};
    let mode = Mode::RUSR | Mode::WUSR;
    let unnamed = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let descriptor = match rustix::fs::open(directory, unnamed, mode) {
        Ok(descriptor) => descriptor,
        Err(_) => {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|_| rustix::io::Errno::IO)?;
            let name = format!("strait-{:016x}", u64::from_ne_bytes(random));
            let path = directory.join(name);
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let descriptor = rustix::fs::open(&path, flags, mode)?;
            rustix::fs::unlink(&path)?;
            descriptor
        }
    };
    rustix::fs::fallocate(&descriptor, FallocateFlags::empty(), 0, bytes as u64)?;
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_can_stand_in_for_a_memfd() {
        let descriptor = unlinked_file(3 * PAGE_BYTES).unwrap();
        assert_eq!(file_bytes(&descriptor).unwrap(), 3 * PAGE_BYTES as u64);
        assert_eq!(rustix::fs::fstat(&descriptor).unwrap().st_nlink, 0);
        let memory = Memory::map(descriptor, 3 * PAGE_BYTES).unwrap();
        // SAFETY: the last byte of the mapping, which nobody else knows.
        unsafe { memory.base().as_ptr().add(3 * PAGE_BYTES - 1).write(7) };
    }

    #[test]
    fn a_memfd_cannot_shrink() {
        let descriptor = memfd(2 * PAGE_BYTES).unwrap();
        assert!(rustix::fs::ftruncate(&descriptor, 0).is_err());
    }
}

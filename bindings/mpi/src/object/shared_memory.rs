// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that processes of one host share, without a name in any file system: one of them makes a
//! memfd, the others open it below /proc while it is held open, and it lives as long as anybody
//! maps it. A process that dies leaves nothing behind.
//!
//! Who opens checks device and inode: a number below /proc of another pid namespace, or of a
//! process that took over the number, is somebody else's file.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::ptr;

/// Mapped memory, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    base: *mut u8,
    bytes: usize,
}

impl Mapping {
    fn map(bytes: usize, flags: libc::c_int, fd: libc::c_int) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { base: base.cast(), bytes })
    }

    /// Zeroed memory of this process.
    pub fn private(bytes: usize) -> io::Result<Mapping> {
        Mapping::map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// The first bytes of a file, shared with all who map it.
    pub fn shared(file: &File, bytes: usize) -> io::Result<Mapping> {
        Mapping::map(bytes, libc::MAP_SHARED, file.as_raw_fd())
    }

    /// Its first byte.
    pub fn base(&self) -> *mut u8 {
        self.base
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody uses it after its owner.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

/// Zeroed memory as a file without a name.
pub fn create(bytes: usize) -> io::Result<File> {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"strait-window".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and owned by nobody else.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(bytes as u64)?;
    Ok(file)
}

/// How another process of this host finds the file: process, descriptor, device, inode.
pub fn address_of(file: &File) -> io::Result<[i64; 4]> {
    let facts = file.metadata()?;
    let (device, inode) = (facts.dev().cast_signed(), facts.ino().cast_signed());
    Ok([std::process::id().into(), file.as_raw_fd().into(), device, inode])
}

/// Opens the file that a process of this host holds open.
pub fn open([process, descriptor, device, inode]: [i64; 4]) -> io::Result<File> {
    let path = format!("/proc/{process}/fd/{descriptor}");
    let file = File::options().read(true).write(true).open(path)?;
    let facts = file.metadata()?;
    if (facts.dev().cast_signed(), facts.ino().cast_signed()) != (device, inode) {
        return Err(io::Error::from_raw_os_error(libc::ESTALE));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_stores_the_other_loads() {
        let file = create(4096).unwrap();
        let address = address_of(&file).unwrap();
        let mine = Mapping::shared(&file, 4096).unwrap();
        let other = Mapping::shared(&open(address).unwrap(), 4096).unwrap();
        drop(file);
        assert_ne!(mine.base(), other.base());
        // SAFETY: both are live mappings of 4096 bytes.
        unsafe { mine.base().add(4095).write_volatile(7) };
        // SAFETY: as above.
        assert_eq!(unsafe { other.base().add(4095).read_volatile() }, 7);
    }

    #[test]
    fn another_file_at_the_address_is_refused() {
        let file = create(1).unwrap();
        let mut address = address_of(&file).unwrap();
        address[3] += 1;
        assert_eq!(open(address).unwrap_err().raw_os_error(), Some(libc::ESTALE));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading and writing another process's memory through the kernel: one copy, where it is
//! permitted.
//!
//! Permission depends on users, ptrace settings, seccomp and pid namespaces, so it is never
//! guessed: it counts as permitted after a read of the peer's magic word gave the right value.

use crate::envelope::Peer;
use crate::error::{Error, Kind};
use crate::lane::{Get, RemoteRange};
use crate::node::{Record, is_alive};

/// Most bytes of one call: the kernel cuts at 2 GiB less a page.
const PIECE_BYTES_MAX: usize = (2 << 30) - 4096;

/// Lets other processes of the same user read this one, where that is not the default.
pub(super) fn permit() {
    // SAFETY: these commands take integers and change only attributes of this process.
    unsafe {
        // Under Yama only descendants may be read; elsewhere the command is unknown, which is fine.
        libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0);
        // A process that changed its user without exec is not dumpable and so not readable. A
        // set-user-id program stays closed: there the kernel's caution is right.
        let secure = libc::getauxval(libc::AT_SECURE) != 0;
        if !secure && libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 {
            libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        }
    }
}

/// Whether reads from the record's owner work.
pub(super) fn probe(record: Record<'_>) -> bool {
    let (address, magic) = record.probe();
    let mut found = 0_u64;
    let range = RemoteRange { address, bytes: 8, key: 0 };
    // SAFETY: `found` is 8 writable bytes of ours.
    let got = unsafe { read(record.pid(), range, (&raw mut found).cast(), Peer(0)) };
    address != 0 && matches!(got, Get::Done) && found == magic
}

/// Reads the whole range of a process.
///
/// # Safety
/// `into` has `range.bytes` writable bytes that nobody else uses.
pub(super) unsafe fn read(pid: u32, range: RemoteRange, into: *mut u8, peer: Peer) -> Get {
    let mut done = 0;
    while done < range.bytes {
        let piece = (range.bytes - done).min(PIECE_BYTES_MAX);
        let local = libc::iovec {
            // SAFETY: `done` is below the bytes that the caller vouches for.
            iov_base: unsafe { into.add(done) }.cast(),
            iov_len: piece,
        };
        let address = range.address.wrapping_add(done as u64);
        let remote = libc::iovec { iov_base: address as usize as *mut _, iov_len: piece };
        // SAFETY: the kernel writes at most `piece` bytes to `local`, which the caller vouches for;
        // the remote address is checked by the kernel against the other process.
        let got = unsafe {
            libc::process_vm_readv(pid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0)
        };
        if got > 0 {
            done += got as usize;
            continue;
        }
        return failed(pid, peer, if got == 0 { libc::EFAULT } else { errno() });
    }
    Get::Done
}

/// Writes the whole range of a process.
///
/// # Safety
/// `from` has `range.bytes` readable bytes, and the process lent us the range.
pub(super) unsafe fn write(pid: u32, from: *const u8, range: RemoteRange, peer: Peer) -> Get {
    let mut done = 0;
    while done < range.bytes {
        let piece = (range.bytes - done).min(PIECE_BYTES_MAX);
        let local = libc::iovec {
            // SAFETY: `done` is below the bytes that the caller vouches for. The kernel only reads.
            iov_base: unsafe { from.add(done) }.cast_mut().cast(),
            iov_len: piece,
        };
        let address = range.address.wrapping_add(done as u64);
        let remote = libc::iovec { iov_base: address as usize as *mut _, iov_len: piece };
        // SAFETY: the kernel reads at most `piece` bytes of `local`, which the caller vouches for;
        // the remote address is checked by the kernel against the other process, which lent it.
        let put = unsafe {
            libc::process_vm_writev(
                pid as libc::pid_t,
                &raw const local,
                1,
                &raw const remote,
                1,
                0,
            )
        };
        if put > 0 {
            done += put as usize;
            continue;
        }
        return failed(pid, peer, if put == 0 { libc::EFAULT } else { errno() });
    }
    Get::Done
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[cold]
fn failed(pid: u32, peer: Peer, errno: i32) -> Get {
    match errno {
        libc::ESRCH => gone(pid, peer),
        libc::EFAULT => {
            let reason = format!("its process {pid} offered memory that is not there");
            Get::Lost(Error::new(Kind::PeerLost { peer, reason }))
        }
        // Yama, which is asked before the memory, answers so for a process that was just reaped.
        _ if !is_alive(pid, 0) => gone(pid, peer),
        _ => Get::Refused,
    }
}

/// The answer where the peer's process has ended.
#[cold]
pub(super) fn gone(pid: u32, peer: Peer) -> Get {
    let reason = format!("its process {pid} is gone");
    Get::Lost(Error::new(Kind::PeerLost { peer, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_can_be_read_and_odd_ranges_are_answers() {
        let me = std::process::id();
        let source: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
        let mut into = vec![0; source.len()];
        let range = |address, bytes| RemoteRange { address, bytes, key: 0 };
        let whole = range(source.as_ptr() as u64, source.len());
        // SAFETY: `into` is as long as the range.
        assert!(matches!(unsafe { read(me, whole, into.as_mut_ptr(), Peer(1)) }, Get::Done));
        assert_eq!(into, source);
        into.fill(0);
        let whole = range(into.as_mut_ptr() as u64, into.len());
        // SAFETY: both are as long as the range.
        assert!(matches!(unsafe { write(me, source.as_ptr(), whole, Peer(1)) }, Get::Done));
        assert_eq!(into, source);
        // SAFETY: the source has 8 bytes; nothing is mapped at the address.
        let missing = unsafe { write(me, source.as_ptr(), range(8, 8), Peer(1)) };
        assert!(matches!(missing, Get::Lost(_)));
        // SAFETY: `into` has 8 bytes.
        let missing = unsafe { read(me, range(8, 8), into.as_mut_ptr(), Peer(1)) };
        assert!(matches!(missing, Get::Lost(_)));
        // SAFETY: `into` has 8 bytes.
        let gone = unsafe { read(u32::MAX >> 1, range(8, 8), into.as_mut_ptr(), Peer(1)) };
        assert!(matches!(gone, Get::Lost(_)));
        // SAFETY: nothing is written.
        let nothing = unsafe { read(me, range(8, 0), into.as_mut_ptr(), Peer(1)) };
        assert!(matches!(nothing, Get::Done));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one entry lock, biased to the first thread that calls.
//!
//! While only its owner calls, locking is a compare, a store and a load; nothing is fenced. The
//! first other thread ends the bias: it runs `membarrier` (every thread of the process passes a
//! full fence), and waits until the owner is outside. From then on the lock is an ordinary mutex.
//!
//! The progress thread comes now and then, and keeps the owner out only for as long as it stays
//! ([`EntryLock::lock_briefly`]): the owner, refused meanwhile, waits at the mutex, and has its
//! bias again afterwards.
//!
//! Invariants:
//! 1. `owner` changes only from zero to a thread (first call) and to `NOBODY` (the bias is over).
//! 2. Who is not inside by the bias holds the mutex; so does the owner when it was refused.
//!
//! Not here: how owner and others keep each other out (transport's bias.rs, explored by loom).

use parking_lot::lock_api::RawMutex as _;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};
use strait_transport::sync::bias::{Bias, NOBODY};

/// The lock. `const`-constructible, for the one static.
pub struct EntryLock {
    bias: Bias<AtomicU64, AtomicU32>,
    mutex: parking_lot::RawMutex,
}

/// How the lock is held; pass it back to [`EntryLock::unlock`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// By the bias.
    Fast,
    /// By the mutex.
    Mutex,
    /// By the mutex, and the bias comes back with it.
    Brief,
}

/// A number of this thread that costs one instruction: its thread pointer.
#[inline(always)]
fn thread_token() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let token: u64;
        // SAFETY: on x86-64 Linux the first word at the thread pointer is the thread pointer.
        unsafe {
            std::arch::asm!("mov {}, fs:0", out(reg) token,
                options(nostack, preserves_flags, pure, readonly))
        };
        token
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // SAFETY: always callable.
        unsafe { libc::pthread_self() as u64 }
    }
}

impl Default for EntryLock {
    fn default() -> EntryLock {
        EntryLock::new()
    }
}

impl EntryLock {
    /// Free and without an owner.
    pub const fn new() -> EntryLock {
        let (inside, refused) = (AtomicU32::new(0), AtomicU32::new(0));
        let bias = Bias { owner: AtomicU64::new(0), inside, refused };
        EntryLock { bias, mutex: parking_lot::RawMutex::INIT }
    }

    /// Gives the bias to the calling thread, before any other can call (from MPI_Init).
    pub fn bias_to_me(&self) {
        let owner = if register_membarrier() { thread_token() } else { NOBODY };
        self.bias.owner.store(owner, Ordering::Relaxed);
    }

    /// Takes the lock.
    #[inline(always)]
    pub fn lock(&self) -> Held {
        // SYNC(bias.inside): the light fence; `refuse_owner` makes the heavy one.
        match self.bias.enter(thread_token(), || compiler_fence(Ordering::SeqCst)) {
            true => Held::Fast,
            false => self.lock_slow(),
        }
    }

    /// Gives the lock back.
    #[inline(always)]
    pub fn unlock(&self, held: Held) {
        match held {
            Held::Fast => self.bias.leave(),
            Held::Mutex => self.unlock_mutex(),
            Held::Brief => {
                // After the end of the bias the refusal stands: its owner may be on its way in.
                if self.bias.owner() != NOBODY {
                    self.bias.admit();
                }
                self.unlock_mutex();
            }
        }
    }

    #[inline]
    fn unlock_mutex(&self) {
        // SAFETY: only called for who holds the mutex, as its `Held` says.
        unsafe { self.mutex.unlock() }
    }

    /// Takes the lock, and lets the owner have its bias again with the end of that. Not for the
    /// owner.
    #[cold]
    pub fn lock_briefly(&self) -> Held {
        self.mutex.lock();
        if self.bias.owner() != NOBODY {
            self.refuse_owner();
        }
        Held::Brief
    }

    /// Takes the lock again, as it was held before it was given back.
    pub fn lock_again(&self, was: Held) -> Held {
        if was == Held::Brief { self.lock_briefly() } else { self.lock() }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) -> Held {
        self.mutex.lock();
        let owner = self.bias.owner();
        // The owner itself comes here when somebody keeps it out for a moment.
        if owner != NOBODY && owner != thread_token() {
            self.refuse_owner();
            self.bias.end();
        }
        Held::Mutex
    }

    /// With the mutex held: keeps the owner from the fast path, and waits until it has left it.
    fn refuse_owner(&self) {
        let barrier = || {
            // A full fence here, and by membarrier in every other running thread.
            // SYNC(bias.inside): the heavy fence.
            fence(Ordering::SeqCst);
            membarrier();
        };
        self.bias.refuse(barrier, std::thread::yield_now);
    }
}

const MEMBARRIER_PRIVATE_EXPEDITED: libc::c_int = 8;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: libc::c_int = 16;

fn register_membarrier() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 }
}

fn membarrier() {
    // SAFETY: no memory is passed; it cannot fail after registration.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_PRIVATE_EXPEDITED, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::UnsafeCell;
    use std::sync::Arc;

    struct Shared {
        lock: EntryLock,
        value: UnsafeCell<u64>,
    }
    // SAFETY: the value is only touched with the lock held.
    unsafe impl Sync for Shared {}
    // SAFETY: as above.
    unsafe impl Send for Shared {}

    #[test]
    fn nothing_is_lost_when_the_bias_is_revoked_under_load() {
        for round in 0..50 {
            let shared = Arc::new(Shared { lock: EntryLock::new(), value: UnsafeCell::new(0) });
            shared.lock.bias_to_me();
            let other = Arc::clone(&shared);
            let add = |s: &Shared, n: u64| {
                for _ in 0..n {
                    let held = s.lock.lock();
                    // SAFETY: the lock is held.
                    unsafe { *s.value.get() += 1 };
                    s.lock.unlock(held);
                }
            };
            let thread = std::thread::spawn(move || {
                for _ in 0..round * 100 {
                    std::hint::spin_loop();
                }
                add(&other, 10_000)
            });
            add(&shared, 50_000);
            thread.join().unwrap();
            // SAFETY: the other thread has ended.
            assert_eq!(unsafe { *shared.value.get() }, 60_000);
        }
    }

    #[test]
    fn the_owner_has_its_bias_again_after_brief_visits() {
        let shared = Arc::new(Shared { lock: EntryLock::new(), value: UnsafeCell::new(0) });
        shared.lock.bias_to_me();
        let visitor = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for _ in 0..2_000 {
                let held = visitor.lock.lock_briefly();
                assert_eq!(held, Held::Brief);
                // SAFETY: the lock is held.
                unsafe { *visitor.value.get() += 1 };
                visitor.lock.unlock(held);
            }
        });
        let mut fast = 0;
        for _ in 0..100_000 {
            let held = shared.lock.lock();
            fast += u32::from(held == Held::Fast);
            // SAFETY: the lock is held.
            unsafe { *shared.value.get() += 1 };
            shared.lock.unlock(held);
        }
        thread.join().unwrap();
        assert!(fast > 0);
        assert_eq!(shared.lock.lock(), Held::Fast);
        // SAFETY: the lock is held.
        assert_eq!(unsafe { *shared.value.get() }, 102_000);
    }

    #[test]
    fn the_owner_takes_the_fast_path() {
        let lock = EntryLock::new();
        lock.bias_to_me();
        let held = lock.lock();
        assert_eq!(held, Held::Fast);
        lock.unlock(held);
    }
}

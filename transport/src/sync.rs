// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Words that several processes share, as an interface: the atomics of mapped memory, or loom's.
//!
//! Algorithms over shared memory are written against [`Word`], so that the text that runs is the
//! text that loom explores. Mapped memory always holds std's atomics (loom's have no fixed layout);
//! the models bring their own. Fences cannot be passed in, so [`full_fence`] is the one thing that
//! `cfg(loom)` exchanges.
//!
//! # The asymmetric fence
//! Sleep and wake is the store-buffer problem: the publisher stores a message and loads the bell,
//! the sleeper stores the bell and loads the messages, and both must not miss. Either both sides
//! make a full fence between their store and their load, or the rare side (the sleeper) makes one
//! on everybody's behalf: membarrier(GLOBAL_EXPEDITED) runs a full barrier on every core that runs
//! a thread of a process that registered. Then the publisher's fence may be a compiler fence:
//! its store and load are in program order, and the barrier falls before, between or after them.
//! Before: its load comes after the sleeper's store and sees the bell. After or between: its store
//! comes before the barrier's end, and the sleeper's look sees the message.
//!
//! So [`light_fence`] is a compiler fence exactly if this process registered and the sleeper says
//! that it uses membarrier; in all other cases it is a full fence. Loom models the full fences
//! only; it cannot model membarrier (docs/shm.md names the gap).

pub mod bias;

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

/// One shared word.
pub trait Word<T> {
    /// Reads.
    fn load(&self, order: Ordering) -> T;
    /// Writes.
    fn store(&self, value: T, order: Ordering);
    /// Writes, and returns what was there.
    fn swap(&self, value: T, order: Ordering) -> T;
    /// Writes `new` if `current` is there; whether it did. May fail spuriously.
    fn replace_weak(&self, current: T, new: T, order: Ordering) -> bool;
    /// Adds, and returns what was there.
    fn add(&self, value: T, order: Ordering) -> T;
}

macro_rules! implement_word {
    ($($atomic:ty: $value:ty),*) => {$(
        impl Word<$value> for $atomic {
            #[inline]
            fn load(&self, order: Ordering) -> $value {
                <$atomic>::load(self, order)
            }
            #[inline]
            fn store(&self, value: $value, order: Ordering) {
                <$atomic>::store(self, value, order)
            }
            #[inline]
            fn swap(&self, value: $value, order: Ordering) -> $value {
                <$atomic>::swap(self, value, order)
            }
            #[inline]
            fn replace_weak(&self, current: $value, new: $value, order: Ordering) -> bool {
                self.compare_exchange_weak(current, new, order, Ordering::Relaxed).is_ok()
            }
            #[inline]
            fn add(&self, value: $value, order: Ordering) -> $value {
                self.fetch_add(value, order)
            }
        }
    )*};
}

implement_word!(std::sync::atomic::AtomicU32: u32, std::sync::atomic::AtomicU64: u64);
#[cfg(loom)]
implement_word!(loom::sync::atomic::AtomicU32: u32, loom::sync::atomic::AtomicU64: u64);

#[cfg(all(not(loom), not(target_arch = "x86_64")))]
use std::sync::atomic::fence;

#[cfg(loom)]
use loom::sync::atomic::fence;

/// A sequentially consistent fence. Each call says who stands on the other side.
#[inline]
#[cfg(any(loom, not(target_arch = "x86_64")))]
pub fn full_fence() {
    fence(Ordering::SeqCst);
}

/// A sequentially consistent fence. Each call says who stands on the other side.
///
/// A locked instruction orders all loads and stores of ordinary memory, as `mfence` does, at a
/// third of its cost. Stores past the caches are ordered by those who make them (memory/copy.rs).
#[inline]
#[cfg(all(not(loom), target_arch = "x86_64"))]
pub fn full_fence() {
    // SAFETY: it changes nothing: a word of our own stack is combined with zero. Without `nomem`
    // the compiler moves no access across it either.
    unsafe { std::arch::asm!("lock or dword ptr [rsp], 0", options(nostack)) }
}

/// Whether this process registered for other processes' membarriers.
static REGISTERED: OnceLock<bool> = OnceLock::new();

/// Registers this process, once; whether it worked. Sleepers of registered processes can do without
/// their publishers' fences.
pub fn register_membarrier() -> bool {
    use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};
    *REGISTERED.get_or_init(|| {
        let needed = MembarrierQuery::GLOBAL_EXPEDITED | MembarrierQuery::REGISTER_GLOBAL_EXPEDITED;
        cfg!(not(loom))
            && membarrier_query().contains(needed)
            && membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
    })
}

/// The publisher's side: between its store and its look at the bell. `full` when the sleeper needs
/// it; a process that is not registered must always pass `true`.
#[inline]
pub fn light_fence(full: bool) {
    if full {
        full_fence();
    } else {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
}

/// The sleeper's side: between its store to the bell and its last look. `everywhere` when it did
/// not ask its publishers to fence.
#[cold]
pub fn heavy_fence(everywhere: bool) {
    full_fence();
    if everywhere {
        let done = rustix::thread::membarrier(rustix::thread::MembarrierCommand::GlobalExpedited);
        assert!(done.is_ok(), "membarrier worked when it was registered");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Handles that C writes when a request is complete: the communicator of MPI_Comm_idup.
//!
//! C would write twice what Fortran's INTEGER holds, so it gets a cell of ours, and every routine
//! that may have seen a request complete looks whether a cell was filled.
//!
//! Invariant: a cell is freed only after it was seen filled, or when C said at once that nothing
//! will come of it. One whose request fails later stays; that is eight bytes for each failure.

use crate::handle::integer;
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A cell, and where Fortran wants its handle.
struct Waiting {
    cell: Box<AtomicUsize>,
    target: *mut c_int,
}

// SAFETY: the target is only written, by whoever sees the request complete, as the user allowed.
unsafe impl Send for Waiting {}

static WAITING: Mutex<Vec<Waiting>> = Mutex::new(Vec::new());
/// How many there are: usually none, and then nothing is locked.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A place for C to write a handle to, sooner or later.
pub fn place(target: *mut c_int) -> *mut usize {
    let cell = Box::new(AtomicUsize::new(0));
    let place = cell.as_ptr();
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.push(Waiting { cell, target });
    COUNT.store(waiting.len(), Ordering::Relaxed);
    place
}

/// Gives Fortran the handles that came.
#[inline]
pub fn settle() {
    if COUNT.load(Ordering::Relaxed) > 0 {
        keep(|_| true);
    }
}

/// The same after the call that got a place, which is given up if the call failed.
///
/// # Safety
/// The target is the one that a place was made for.
pub unsafe fn settle_now(target: *mut c_int, result: c_int) {
    keep(|waiting| result == 0 || !std::ptr::eq(waiting.target, target));
}

/// Hands out what was filled; of the rest, keeps what is still wanted.
#[cold]
fn keep(is_wanted: impl Fn(&Waiting) -> bool) {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.retain(|one| match one.cell.load(Ordering::Relaxed) {
        0 => is_wanted(one),
        handle => {
            // SAFETY: Fortran keeps the variable until the request is complete, which it is.
            unsafe { *one.target = integer(handle) };
            false
        }
    });
    COUNT.store(waiting.len(), Ordering::Relaxed);
}

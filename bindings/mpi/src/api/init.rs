// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Init, Finalize, Abort, thread levels (MPI-5.0 sections 11.2 to 11.6).

use crate::abi::{Abi, Family, HandleKind};
use crate::api::attribute::delete_all;
use crate::api::buffered::flush_all;
use crate::entry::{Entry, any_time, die, on_process};
use crate::runtime::{self, BEFORE, FINALIZED, FORKED, RUNNING, STATE};
use std::ffi::{c_char, c_int};
use std::sync::atomic::Ordering;

fn init<A: Abi>(name: &str, required: c_int) -> c_int {
    // SYNC(runtime.state): as in Entry::open.
    match STATE.load(Ordering::Acquire) {
        BEFORE => {}
        state => {
            let when = if state == RUNNING { "twice" } else { "after MPI_Finalize" };
            eprintln!("error: {name} was called {when}");
            // SAFETY: the process ends at once; nothing of ours is used afterwards.
            unsafe { libc::_exit(1) }
        }
    }
    match runtime::start::<A>(required) {
        Ok(started) => started.provided,
        Err(error) => {
            let mut text = format!("error: {}\n  --> {name}", error.text);
            if !error.help.is_empty() {
                text += &format!("\n  help: {}", error.help);
            }
            eprintln!("{text}");
            // SAFETY: as above.
            unsafe { libc::_exit(1) }
        }
    }
}

pub unsafe fn MPI_Init<A: Abi>(_argc: *mut c_int, _argv: *mut *mut *mut c_char) -> c_int {
    init::<A>("MPI_Init", 0);
    0
}

pub unsafe fn MPI_Init_thread<A: Abi>(
    _argc: *mut c_int,
    _argv: *mut *mut *mut c_char,
    required: c_int,
    provided: *mut c_int,
) -> c_int {
    let level = init::<A>("MPI_Init_thread", A::constant_in(Family::ThreadLevel, required));
    // SAFETY: writable, says the caller.
    unsafe { *provided = A::constant_out(Family::ThreadLevel, level) };
    0
}

pub unsafe fn MPI_Initialized<A: Abi>(flag: *mut c_int) -> c_int {
    // SYNC(runtime.state): as in Entry::open.
    let state = STATE.load(Ordering::Acquire);
    // SAFETY: writable, says the caller.
    unsafe { *flag = c_int::from(state != BEFORE) };
    0
}

pub unsafe fn MPI_Finalized<A: Abi>(flag: *mut c_int) -> c_int {
    // A forked child has no MPI to finalize: its exit handlers must leave it alone.
    // SYNC(runtime.state): as in Entry::open.
    let state = STATE.load(Ordering::Acquire);
    // SAFETY: writable, says the caller.
    unsafe { *flag = c_int::from(state == FINALIZED || state == FORKED) };
    0
}

pub unsafe fn MPI_Query_thread<A: Abi>(provided: *mut c_int) -> c_int {
    on_process::<A>("MPI_Query_thread", |entry| {
        // SAFETY: writable, says the caller.
        unsafe { *provided = A::constant_out(Family::ThreadLevel, entry.thread_level) };
        Ok(())
    })
}

pub unsafe fn MPI_Is_thread_main<A: Abi>(flag: *mut c_int) -> c_int {
    on_process::<A>("MPI_Is_thread_main", |entry| {
        let main = std::thread::current().id() == entry.main_thread;
        // SAFETY: writable, says the caller.
        unsafe { *flag = c_int::from(main) };
        Ok(())
    })
}

/// Waits until all that this process sent has left, and nobody reads its memory any more. Not for
/// the others: a program that fails runs its exit handlers, and must reach its end for mpiexec to
/// see the failure while the others wait in a receive.
fn quiesce(entry: &mut Entry) {
    flush_all(entry);
    entry.wait_until(|rt| rt.orphans.is_empty() && rt.worker.is_flushed());
    entry.worker.close();
    entry.wait_until(|rt| rt.worker.is_flushed());
}

pub unsafe fn MPI_Finalize<A: Abi>() -> c_int {
    on_process::<A>("MPI_Finalize", |entry| {
        let comm_self = entry.comm_self.clone();
        delete_all::<A>(entry, HandleKind::Comm, comm_self.code.get(), &comm_self.attributes)?;
        quiesce(entry);
        // SAFETY: the lock is held and the entry is not used after this.
        unsafe { runtime::stop() };
        Ok(())
    })
}

pub unsafe fn MPI_Abort<A: Abi>(comm: A::Handle, errorcode: c_int) -> c_int {
    let code = errorcode;
    any_time::<A>("MPI_Abort", |entry| match entry {
        Some(entry) => {
            let place = entry
                .comm(A::handle_in(HandleKind::Comm, comm))
                .map_or_else(|| "an unknown communicator".to_string(), |c| c.describe());
            let note = if code == 0 { " (the job ends with 1: it was aborted)" } else { "" };
            let text = format!(
                "MPI_Abort was called by rank {} on host {}, on {place}, with code {code}{note}",
                entry.job.rank, entry.job.host
            );
            die(entry, code, &text)
        }
        // SAFETY: there is nothing of ours to take down.
        None => unsafe {
            eprintln!("MPI_Abort was called outside MPI, with code {code}");
            libc::_exit(if code == 0 { 1 } else { code & 0xFF })
        },
    })
}

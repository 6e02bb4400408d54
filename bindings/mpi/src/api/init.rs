// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Init, Finalize, Abort, thread levels (MPI-5.0 sections 11.2 to 11.6).

use crate::abi::{Abi, Family, HandleKind};
use crate::api::attribute::delete_all;
use crate::api::buffered::flush_all;
use crate::entry::{Entry, abort, any_time, die, die_outside, on_process, outside_text, remember};
use crate::progress_thread;
use crate::runtime::{self, BEFORE, FINALIZED, FORKED, RUNNING, STATE};
use std::ffi::{c_char, c_int};
use std::sync::atomic::Ordering;
use strait_transport::error::IS_LOST;

fn init<A: Abi>(name: &str, required: c_int) -> c_int {
    // SYNC(runtime.state): as in Entry::open.
    match STATE.load(Ordering::Acquire) {
        BEFORE => {}
        state => {
            let when = if state == RUNNING { "twice" } else { "after MPI_Finalize" };
            let help = "call it once; MPI_Initialized tells whether it was called";
            let text = outside_text(name, when, help);
            match Entry::open("MPI_Init") {
                Some(entry) => die(&entry, 1, &text),
                None => die_outside(1, &text),
            }
        }
    }
    match runtime::start::<A>(required) {
        Ok(started) => {
            find_parents(name);
            started.provided
        }
        Err(error) => {
            let mut text = format!("error[S0110]: {name} failed: {}", error.text);
            if !error.help.is_empty() {
                text += &format!("\n  help: {}", error.help);
            }
            die_outside(1, &text)
        }
    }
}

/// A job that others spawned meets them before MPI_Init is over.
fn find_parents(name: &str) {
    let Some(mut entry) = Entry::open("MPI_Init") else { return };
    if let Err(error) = crate::api::dynamic::meet_parents(&mut entry) {
        let text = format!(
            "error[S0110]: {name} failed: the processes that spawned it cannot be reached: {}",
            error.text
        );
        die(&entry, 1, &text)
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
        progress_thread::end(entry);
        quiesce(entry);
        crate::leaks::tell(entry);
        remember(entry);
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
            let mut text = format!(
                "MPI_Abort was called by rank {} on host {}, on {place}, with code {code}{note}",
                entry.job.world_rank, entry.job.host
            );
            // Who gives up because another one is gone is not the cause.
            if let Some(peer) = entry.any_lost().filter(|_| !crate::fault::keeps_going()) {
                text += &format!("\nnote: rank {peer}{IS_LOST}its end came first");
            }
            abort(entry, code, &text)
        }
        None => {
            let text = format!("MPI_Abort was called outside MPI, with code {code}");
            die_outside(code, &text)
        }
    })
}

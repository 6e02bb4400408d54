// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a process ends by a call: fatal errors, MPI_Abort, calls before Init and after Finalize.
//!
//! Invariants:
//! 1. The text goes to the node memory, where mpiexec finds it and shows it once, whatever number
//!    of ranks fail in the same way. Only a process without mpiexec writes it itself.
//! 2. Who ends because a peer is lost is not the cause: it does not ask for the job's end, stays
//!    in its call until mpiexec ends it, and by its text mpiexec knows it for a victim.
//! 3. Who asks for the job's end calls mpiexec and stays, too: were it gone at once, the others
//!    would hear of a lost peer first, and tell of that.
//! 4. After Finalize, calls that only release something return an error and end nothing:
//!    interpreters collect their garbage at exit.
//!
//! Not here: whose error handler is asked (entry.rs).

use super::{Entry, call_id};
use crate::abi::Abi;
use crate::error::{MpiError, advice, class};
use crate::runtime::{BEFORE, FORKED, STATE};
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use strait_transport::bootstrap::{self, Origin};
use strait_transport::error::IS_LOST;
use strait_transport::node::Node;

/// How long a victim waits for mpiexec to end it. mpiexec needs some milliseconds when the lost
/// peer is its own child; it is not when the connection alone broke.
const VICTIM_TIME: Duration = Duration::from_secs(3);

/// The same where another launcher started the job.
const LAUNCHER_TIME: Duration = Duration::from_millis(300);

/// The code of this process's MPI_Abort, for [`leave`].
static ABORT_CODE: AtomicI32 = AtomicI32::new(0);

/// The record of this process after MPI_Finalize: node, local rank, rank.
static FINALIZED_AS: OnceLock<(Arc<Node>, u32, u32)> = OnceLock::new();

/// What a fatal error says: what, where, what to do.
pub fn fatal_text(entry: &Entry, place: Option<&str>, error: &MpiError) -> String {
    let job = &entry.job;
    let mut text = format!(
        "error[S0110]: rank {} failed in {}: {}\n  --> rank {} of {}, host {}, pid {}",
        job.world_rank,
        entry.name,
        error.text,
        job.world_rank,
        job.size,
        job.host,
        std::process::id()
    );
    if let Some(place) = place {
        text += &format!(", on {place}");
    }
    let help = if error.help.is_empty() { advice(error.code) } else { error.help };
    if !help.is_empty() {
        text += &format!("\n  help: {help}");
    }
    text
}

/// On standard error, in one write: other processes may write there, too.
fn tell(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Ends the job: the first one's text is what mpiexec prints; a job of one prints it itself.
pub fn die(entry: &Entry, code: c_int, text: &str) -> ! {
    end(entry, code, text, false)
}

/// The same for MPI_Abort, which ends the job wherever ranks go on otherwise.
pub fn abort(entry: &Entry, code: c_int, text: &str) -> ! {
    end(entry, code, text, true)
}

fn end(entry: &Entry, code: c_int, text: &str, is_abort: bool) -> ! {
    let job = &entry.job;
    let record = job.node.record(job.local_rank);
    record.leave_report(text);
    if crate::fault::keeps_going() && !is_abort {
        // The others go on; mpiexec shows the text.
        if job.origin != Origin::Launched {
            tell(text);
        }
        exit(code);
    }
    if job.origin == Origin::Foreign {
        // One text of each host; the launcher ends the others.
        // Whose peer is lost lets the launcher see that end first: it has an exit code to tell.
        if text.contains(IS_LOST) {
            std::thread::sleep(LAUNCHER_TIME);
        }
        if job.node.request_abort(job.world_rank, code) {
            tell(text);
        }
        bootstrap::abort_foreign(code);
    } else if job.origin != Origin::Launched {
        tell(text);
    } else if text.contains(IS_LOST) {
        record.publish_call(call_id(entry.name));
        await_the_end(libc::SIG_DFL);
    } else {
        ABORT_CODE.store(code, Ordering::Relaxed);
        if job.node.request_abort(job.world_rank, code) && bootstrap::call_launcher() {
            await_the_end(leave as *const () as libc::sighandler_t);
        }
    }
    exit(code)
}

/// A call lost a peer. If the job is being aborted, that is no news for the program: it would tell
/// of a consequence beside the cause. Then the call stays until mpiexec ends this process.
#[cold]
pub fn yield_to_abort(entry: &Entry) {
    let job = &entry.job;
    let has_launcher = matches!(job.origin, Origin::Launched | Origin::Foreign);
    if has_launcher && job.node.abort_requested().is_some() {
        job.node.record(job.local_rank).publish_call(call_id(entry.name));
        await_the_end(libc::SIG_DFL);
    }
}

/// The same for MPI_Abort of a process that is not between Init and Finalize.
pub fn die_outside(code: c_int, text: &str) -> ! {
    let is_told = match FINALIZED_AS.get() {
        Some((node, local_rank, rank)) => {
            node.record(*local_rank).leave_report(text);
            node.request_abort(*rank, code);
            true
        }
        // SYNC(runtime.state): as in Entry::open.
        None => STATE.load(Ordering::Acquire) == BEFORE && bootstrap::report_unjoined(code, text),
    };
    if !is_told {
        tell(text);
    }
    exit(code)
}

/// MPI_Finalize is about to take the runtime down: what later calls need to report themselves.
pub fn remember(entry: &Entry) {
    let job = &entry.job;
    if job.origin == Origin::Launched {
        let _ = FINALIZED_AS.set((job.node.clone(), job.local_rank, job.world_rank));
    }
}

/// A call before MPI_Init or after MPI_Finalize. Nobody could have changed that errors are fatal
/// then, so the process ends with a sentence; except for releases after Finalize (invariant 4).
#[cold]
#[inline(never)]
pub fn not_running<A: Abi>(name: &'static str) -> c_int {
    // SYNC(runtime.state): as in Entry::open.
    match STATE.load(Ordering::Acquire) {
        BEFORE => {
            let help = "call MPI_Init or MPI_Init_thread first";
            die_outside(1, &outside_text(name, "before MPI_Init", help))
        }
        FORKED => {
            tell(&format!(
                "error: {name} was called in a forked child (pid {}): MPI belongs to its parent\n  \
                 help: start MPI programs with mpiexec, or call MPI only in the parent",
                std::process::id()
            ));
        }
        _ if is_release(name) => {}
        _ => {
            let help = "make MPI_Finalize the last call; MPI_Finalized tells whether it was called";
            die_outside(1, &outside_text(name, "after MPI_Finalize", help))
        }
    }
    A::error_out(class::OTHER)
}

/// What a call at the wrong time says.
pub fn outside_text(name: &str, when: &str, help: &str) -> String {
    format!("error[S0109]: {name} was called {when}\n  help: {help}")
}

/// Calls that only give something back.
fn is_release(name: &str) -> bool {
    let ends = ["_free", "_free_keyval", "_disconnect", "_close", "_detach", "_delete_attr"];
    name == "MPI_Free_mem" || ends.iter().any(|end| name.ends_with(end))
}

/// Waits for the signal of mpiexec, which must reach this process whatever the program did about
/// SIGTERM: nothing of the program runs any more.
fn await_the_end(on_signal: libc::sighandler_t) {
    // SAFETY: signal sets are plain data, filled by sigemptyset; only this process is changed. The
    // handler, if there is one, is async-signal-safe.
    unsafe {
        libc::signal(libc::SIGTERM, on_signal);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        // What the program printed goes first: the signal may come at any time.
        libc::fflush(std::ptr::null_mut());
    }
    let begun = Instant::now();
    while let Some(rest) = VICTIM_TIME.checked_sub(begun.elapsed()) {
        std::thread::sleep(rest);
    }
}

/// Ends who asked for the job's end when mpiexec says so. Async-signal-safe: a load and a call.
extern "C" fn leave(_: c_int) {
    // SAFETY: _exit may be called in a signal handler; it returns never.
    unsafe { libc::_exit(exit_code(ABORT_CODE.load(Ordering::Relaxed))) }
}

fn exit(code: c_int) -> ! {
    // SAFETY: flushes what the program printed through C's streams; then the process ends without
    // running destructors that might call MPI.
    unsafe {
        libc::fflush(std::ptr::null_mut());
        libc::_exit(exit_code(code))
    }
}

/// What the system can say of `code`, but never success.
fn exit_code(code: c_int) -> c_int {
    if code & 0xFF == 0 { 1 } else { code & 0xFF }
}

#[cfg(test)]
mod tests {
    use super::is_release;

    #[test]
    fn releases() {
        for name in ["MPI_Comm_free", "MPI_Type_free_keyval", "MPI_File_close", "MPI_Free_mem"] {
            assert!(is_release(name), "{name}");
        }
        for name in ["MPI_Barrier", "MPI_Finalize", "MPI_Comm_rank"] {
            assert!(!is_release(name), "{name}");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one wrapper around every call: is MPI up? whose error handler? the lock, the wait.
//!
//! A function of MPI is `on_comm` or `on_process` around its body. The body works on an [`Entry`]:
//! the runtime with the lock held. What blocks goes through [`Entry::wait_until`], which releases
//! the lock while it pauses or sleeps; user callbacks go through [`Entry::outside`].

use crate::abi::{Abi, Code, HandleKind};
use crate::error::{MpiError, Result, advise, class, make};
use crate::lock::Held;
use crate::object::comm::{COMM_NULL, CommRef};
use crate::object::errhandler::ErrhandlerRef;
use crate::object::request::Request;
use crate::progress_thread;
use crate::runtime::{
    LOCK, PLACE, RUNNING, Runtime, SLEEPING, STATE, TOOLS, sleepers, tools_listen,
};
use std::ffi::c_int;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use strait_transport::worker::{Next, Waiter};

mod calls;
mod ending;
mod object;
pub use self::calls::BLOCKING_CALLS;
use self::calls::call_id;
pub use self::ending::{abort, die, die_outside, fatal_text, not_running, outside_text, remember};
pub use self::object::{on_default_file, on_file, on_win};

/// Pauses before a waiting call is published: a message that is on its way costs nothing.
const PUBLISH_AFTER: u32 = 64;

/// Close looks that found something, before other things are looked at again.
const WATCHES_MAX: u32 = 32;

/// What a blocking call waits for. A closure will do, where the worker's news are all that counts.
pub trait Awaited {
    /// Whether it is there; called with the lock held.
    fn is_done(&mut self, runtime: &mut Runtime) -> bool;

    /// Looks closely, while a core is ours, for messages of this host as long as they come (a long
    /// message comes in pieces, and the next one is there before anything else can be looked at);
    /// whether it is there now.
    fn watch(&mut self, entry: &mut Entry) -> bool {
        for _ in 0..WATCHES_MAX {
            if !entry.watch() {
                return false;
            }
            if self.is_done(entry) {
                return true;
            }
        }
        false
    }

    /// Before the bell is armed: tells whoever else must know that this process may sleep.
    fn announce_sleep(&mut self) {}

    /// After that: awake.
    fn withdraw_sleep(&mut self) {}
}

impl<F: FnMut(&mut Runtime) -> bool> Awaited for F {
    fn is_done(&mut self, runtime: &mut Runtime) -> bool {
        self(runtime)
    }
}

/// The runtime with the lock held.
pub struct Entry {
    held: Held,
    runtime: *mut Runtime,
    /// The call, as C names it.
    pub name: &'static str,
}

impl Deref for Entry {
    type Target = Runtime;
    #[inline(always)]
    fn deref(&self) -> &Runtime {
        // SAFETY: the lock is held while an Entry exists, except inside `outside` and the pauses of
        // `wait_until`, which borrow the Entry mutably.
        unsafe { &*self.runtime }
    }
}

impl DerefMut for Entry {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Runtime {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.runtime }
    }
}

impl Drop for Entry {
    #[inline(always)]
    fn drop(&mut self) {
        // Another thread of this process sleeps: what this call left behind (a message to
        // ourselves, a completed request) may be what it waits for.
        if SLEEPING.load(Ordering::Relaxed) > 0 {
            self.look_for_sleepers();
        }
        LOCK.unlock(self.held);
    }
}

impl Entry {
    /// Takes the lock, if MPI is up.
    #[inline(always)]
    pub fn open(name: &'static str) -> Option<Entry> {
        Entry::open_with(name, || LOCK.lock())
    }

    /// As [`Entry::open`], for the progress thread: whose bias it was has it again afterwards.
    pub fn open_briefly(name: &'static str) -> Option<Entry> {
        Entry::open_with(name, || LOCK.lock_briefly())
    }

    #[inline(always)]
    fn open_with(name: &'static str, lock: impl FnOnce() -> Held) -> Option<Entry> {
        // SYNC(runtime.state): pairs with the Release store that publishes the runtime.
        if STATE.load(Ordering::Acquire) != RUNNING {
            return None;
        }
        let held = lock();
        // SAFETY: the lock is held.
        let runtime = unsafe { PLACE.pointer() };
        if runtime.is_null() {
            LOCK.unlock(held);
            return None;
        }
        Some(Entry { held, runtime, name })
    }

    /// Whether only this thread has called MPI so far, so that nobody waits for the lock.
    #[inline(always)]
    pub fn is_sole(&self) -> bool {
        self.held == Held::Fast
    }

    /// Runs a user's function (or anything slow) without the lock.
    pub fn outside<R>(&mut self, f: impl FnOnce() -> R) -> R {
        LOCK.unlock(self.held);
        let result = f();
        self.held = LOCK.lock_again(self.held);
        result
    }

    /// Bounded work: the transport, then active requests. Wakes other threads of this process that
    /// sleep, since what ended may be theirs.
    #[inline]
    pub fn progress(&mut self) -> usize {
        self.progress_with(true)
    }

    /// What [`Entry::progress`] does, for the progress thread: networks are looked at, and what may
    /// run code of the user's stays for the threads of the user.
    pub fn progress_aside(&mut self) -> usize {
        self.worker.look_at_networks();
        self.worker.stand_aside(true);
        let done = self.progress_with(false);
        self.worker.stand_aside(false);
        done
    }

    #[inline]
    fn progress_with(&mut self, may_run_user_code: bool) -> usize {
        let mut done = self.worker.progress() + self.serve_faults();
        if !self.active.is_empty() {
            done += self.advance_active(may_run_user_code);
        }
        if !self.served.is_empty() {
            done += crate::rma::serve(self);
        }
        if SLEEPING.load(Ordering::Relaxed) > 0 {
            self.tell_others(done);
        }
        done
    }

    /// Other threads of this process sleep, or a tool listens.
    #[cold]
    #[inline(never)]
    fn tell_others(&mut self, done: usize) {
        if done > 0 && sleepers() > 0 {
            self.sleeper.wake_all();
        }
        if tools_listen() {
            crate::tool::event::collect(self);
        }
    }

    #[cold]
    #[inline(never)]
    fn look_for_sleepers(&mut self) {
        if !self.runtime.is_null() && STATE.load(Ordering::Relaxed) == RUNNING {
            self.progress();
            if tools_listen() {
                crate::tool::event::deliver(self);
            }
        }
    }

    /// Lets the works of active requests advance; each is out of its place meanwhile.
    #[cold]
    fn advance_active(&mut self, may_run_user_code: bool) -> usize {
        let mut ended = 0;
        for code in std::mem::take(&mut self.active) {
            match self.advance_one(code, may_run_user_code) {
                Some(true) => ended += 1,
                Some(false) => self.active.push(code),
                None => {}
            }
        }
        ended
    }

    /// `Some(true)`: ended now; `None`: nothing to advance any more.
    fn advance_one(&mut self, code: Code, may_run_user_code: bool) -> Option<bool> {
        let slot = |entry: &mut Entry| -> Option<*mut Request> {
            let request = entry.requests.get_mut(code)?;
            match request {
                Request::Persistent(p) => p.active.as_mut().map(|r| &raw mut *r),
                other => Some(&raw mut *other),
            }
        };
        let place = slot(self)?;
        // SAFETY: the pointer was just made from a live entry; nothing ran in between.
        let taken = unsafe { std::mem::replace(&mut *place, Request::Advancing) };
        let Request::Work(mut work) = taken else {
            // SAFETY: as above.
            unsafe { *place = taken };
            return None;
        };
        let may_advance = may_run_user_code || !work.runs_user_code();
        let ended = if may_advance { work.advance(self) } else { None };
        if ended.is_none()
            && let Some(comm) = work.comm().filter(|comm| comm.is_revoked())
        {
            // It may have posted more since the communicator was revoked.
            self.end_revoked(comm.context);
        }
        // The work may have released the lock: look the place up again. If the user freed the
        // request meanwhile, the place is gone and the work goes with it once it has ended.
        let place = slot(self)?;
        let (request, done) = match ended {
            Some(finished) => (Request::ended(&*work, finished), true),
            None => (Request::Work(work), false),
        };
        // SAFETY: just looked up, and nothing ran in between.
        unsafe { *place = request };
        if done && let Some(at) = self.orphans.iter().position(|&o| o == code) {
            self.orphans.swap_remove(at);
            self.requests.remove(code);
        }
        Some(done)
    }

    /// Makes progress until `done` says so: spins, yields, sleeps. Other threads may enter between
    /// two looks.
    #[inline]
    pub fn wait_until(&mut self, mut done: impl FnMut(&mut Runtime) -> bool) {
        if done(self) {
            if self.worker.is_holding() {
                self.worker.release();
            }
            return;
        }
        self.progress();
        if done(self) {
            return;
        }
        self.wait_long(&mut done)
    }

    /// At the end of a blocking call that sent: what it sent is under way, not waiting here for a
    /// first contact with its peer, which would last until this process calls MPI again.
    ///
    /// # Errors
    /// The peer turned out to be out of reach: what waited for it is gone.
    #[inline]
    pub fn let_messages_leave(&mut self) -> Result {
        if self.worker.has_network() { self.let_network_messages_leave() } else { Ok(()) }
    }

    #[inline(never)]
    fn let_network_messages_leave(&mut self) -> Result {
        if self.worker.is_holding() {
            self.worker.release();
        }
        if self.worker.is_connecting() {
            let (before, _) = self.worker.losses();
            self.wait_until(|runtime| !runtime.worker.is_connecting());
            if let (after, Some(error)) = self.worker.losses()
                && after != before
                // Where ranks go on, a loss concerns those calls only that need the lost one.
                && !crate::fault::keeps_going()
            {
                return Err(error.clone().into());
            }
        }
        Ok(())
    }

    /// Whether no other thread has ever called: close looks may keep the lock.
    #[inline]
    pub fn is_alone(&self) -> bool {
        self.held == Held::Fast
    }

    /// Makes progress until it is there: the ladder of [`Entry::wait_until`], without its first
    /// looks.
    #[inline(never)]
    pub fn wait_long(&mut self, wait: &mut dyn Awaited) {
        let _waiting = progress_thread::Waiting::new();
        let mut waiter = Waiter::new();
        let mut looks = 0u32;
        loop {
            // Close looks keep the lock: not where other threads want it.
            let alone = self.held == Held::Fast;
            LOCK.unlock(self.held);
            if !alone {
                std::hint::spin_loop();
            }
            let next = waiter.pause();
            self.held = LOCK.lock();
            if alone && waiter.is_spinning() && wait.watch(self) {
                break;
            }
            if self.progress() > 0 {
                waiter = Waiter::new();
            }
            if wait.is_done(self) {
                break;
            }
            looks += 1;
            if looks == PUBLISH_AFTER || (looks < PUBLISH_AFTER && next == Next::Sleep) {
                looks = PUBLISH_AFTER;
                self.publish_call();
            }
            if next == Next::Sleep {
                wait.announce_sleep();
                let may_sleep = self.worker.arm();
                let is_over = may_sleep && self.sleep_unless_done(wait);
                wait.withdraw_sleep();
                if is_over {
                    break;
                }
                if !may_sleep {
                    // There is work, or nobody would ring: peers get their turns all the same.
                    std::thread::yield_now();
                }
            }
        }
        if looks >= PUBLISH_AFTER {
            self.job.node.record(self.job.local_rank).publish_call(0);
        }
    }

    /// With the bell armed: sleeps, unless what is waited for is there; whether it is.
    #[cold]
    fn sleep_unless_done(&mut self, wait: &mut dyn Awaited) -> bool {
        // The last look of `arm` may have ended what is waited for without an arrival: a connection
        // came to be, the last bytes left. Nobody would ring for that.
        if wait.is_done(self) {
            if sleepers() == 0 {
                self.disarm();
            }
            return true;
        }
        self.sleep();
        wait.is_done(self)
    }

    /// No thread of the program sleeps any more; the progress thread may, on what is taken back.
    fn disarm(&mut self) {
        self.worker.disarm();
        progress_thread::look_again();
    }

    /// Looks closely for messages of this host; whether there was one.
    #[inline]
    fn watch(&mut self) -> bool {
        let any = self.worker.watch() > 0;
        if any && SLEEPING.load(Ordering::Relaxed) > 0 {
            self.tell_others(1);
        }
        any
    }

    /// Shows mpiexec in which call this process waits.
    pub fn publish_call(&mut self) {
        let id = call_id(self.name);
        self.job.node.record(self.job.local_rank).publish_call(id);
    }

    /// The bell is armed: sleeps, and looks once.
    #[cold]
    fn sleep(&mut self) {
        // Taken now: a sleeper knows the announcement that was made just before.
        let sleeper = self.worker.sleeper();
        SLEEPING.fetch_add(1, Ordering::Relaxed);
        LOCK.unlock(self.held);
        sleeper.sleep(None);
        self.held = LOCK.lock();
        if SLEEPING.fetch_sub(1, Ordering::Relaxed) & !TOOLS == 1 {
            self.disarm();
        }
        self.progress();
    }
}

/// Around a call that names a communicator.
#[inline(always)]
pub fn on_comm<A: Abi>(
    name: &'static str,
    comm: A::Handle,
    body: impl FnOnce(&mut Entry, &CommRef) -> Result,
) -> c_int {
    let Some(entry) = Entry::open(name) else {
        return not_running::<A>(name);
    };
    in_comm::<A>(entry, comm, body)
}

/// The rest of [`on_comm`], for who has opened the entry already.
#[inline(always)]
pub fn in_comm<A: Abi>(
    mut entry: Entry,
    comm: A::Handle,
    body: impl FnOnce(&mut Entry, &CommRef) -> Result,
) -> c_int {
    let code = A::handle_in(HandleKind::Comm, comm);
    let Some(comm) = entry.comm(code).cloned() else {
        let error = bad_comm(code);
        return raise::<A>(&mut entry, None, error);
    };
    match body(&mut entry, &comm) {
        Ok(()) => 0,
        Err(error) => raise::<A>(&mut entry, Some(&comm), error),
    }
}

/// Around a call that names none: errors go to the handler of MPI_COMM_SELF (MPI-5.0 section 9.3).
#[inline(always)]
pub fn on_process<A: Abi>(name: &'static str, body: impl FnOnce(&mut Entry) -> Result) -> c_int {
    let Some(mut entry) = Entry::open(name) else {
        return not_running::<A>(name);
    };
    match body(&mut entry) {
        Ok(()) => 0,
        Err(error) => raise::<A>(&mut entry, None, error),
    }
}

/// Around a call that completes requests: `body` puts the communicator of a failed request into
/// the slot, so that its error handler is called.
#[inline(always)]
pub fn on_requests<A: Abi>(
    name: &'static str,
    body: impl FnOnce(&mut Entry, &mut Option<CommRef>) -> Result,
) -> c_int {
    let Some(mut entry) = Entry::open(name) else {
        return not_running::<A>(name);
    };
    let mut comm = None;
    let result = body(&mut entry, &mut comm);
    // A send that is complete for its caller may still be held back for company.
    if entry.worker.is_holding() {
        entry.worker.release();
    }
    match result {
        Ok(()) => 0,
        Err(error) => raise::<A>(&mut entry, comm.as_ref(), error),
    }
}

/// Around a local call that is allowed before MPI_Init and after MPI_Finalize when it needs no
/// runtime: `body` gets an entry if there is one.
#[inline]
pub fn any_time<A: Abi>(
    name: &'static str,
    body: impl FnOnce(Option<&mut Entry>) -> Result,
) -> c_int {
    match Entry::open(name) {
        Some(mut entry) => match body(Some(&mut entry)) {
            Ok(()) => 0,
            Err(error) => raise::<A>(&mut entry, None, error),
        },
        None => match body(None) {
            Ok(()) => 0,
            Err(error) => A::error_out(error.code),
        },
    }
}

#[cold]
fn bad_comm(code: Code) -> Box<MpiError> {
    if code == COMM_NULL {
        make(class::COMM, "the communicator is MPI_COMM_NULL")
    } else {
        advise(
            class::COMM,
            format!("{code:#x} is not a communicator"),
            "it may have been freed, or come from another MPI library's mpi.h",
        )
    }
}

/// Calls the error handler of `comm` (or of MPI_COMM_SELF) and returns the code for the caller.
#[cold]
#[inline(never)]
pub fn raise<A: Abi>(entry: &mut Entry, comm: Option<&CommRef>, error: Box<MpiError>) -> c_int {
    // Where it happened is said only when the call named a communicator that there is.
    let place = comm.map(|comm| comm.describe());
    let comm = comm.cloned().unwrap_or_else(|| entry.comm_self.clone());
    let handler = comm.errhandler.borrow().clone();
    match handler {
        ErrhandlerRef::Return => note_error(entry, &error),
        ErrhandlerRef::Fatal | ErrhandlerRef::Abort => {
            let text = fatal_text(entry, place.as_deref(), &error);
            die(entry, 1, &text)
        }
        ErrhandlerRef::User(_, user) => {
            type Handler<H> = unsafe extern "C" fn(*mut H, *mut c_int, ...);
            // SAFETY: the user passed a function of this type to MPI_Comm_create_errhandler.
            let function = unsafe {
                std::mem::transmute::<*const std::ffi::c_void, Handler<A::Handle>>(user.function)
            };
            let mut handle = A::handle_out(HandleKind::Comm, comm.code.get());
            let mut code = A::error_out(error.code);
            note_error(entry, &error);
            // SAFETY: both pointers are to live locals; the lock is not held.
            entry.outside(|| unsafe { function(&mut handle, &mut code) });
        }
    }
    A::error_out(error.code)
}

/// An error goes back to the program: what MPI_Error_string can say of it, and what mpiexec must
/// know of a rank that lost another one.
#[cold]
pub fn note_error(entry: &Entry, error: &MpiError) {
    if matches!(error.code, class::PROC_ABORTED | class::PROC_FAILED) {
        ending::yield_to_abort(entry);
    }
    // Where ranks go on, a rank that lost a peer is no victim.
    if error.code == class::PROC_ABORTED {
        entry.job.node.record(entry.job.local_rank).note_loss_in(call_id(entry.name));
    }
    crate::error::remember(error);
}

/// What a function that is exported but not built answers: it names itself.
#[cold]
pub fn unsupported<A: Abi>(name: &'static str) -> c_int {
    let text = format!("{name} is not built yet in Strait");
    match Entry::open(name) {
        Some(mut entry) => raise::<A>(
            &mut entry,
            None,
            advise(
                class::UNSUPPORTED_OPERATION,
                text,
                "docs/mpi-coverage.md lists what is implemented",
            ),
        ),
        None => A::error_out(class::UNSUPPORTED_OPERATION),
    }
}

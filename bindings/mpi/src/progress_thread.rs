// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The progress thread: peers are served while the program computes, or is in no call of MPI for
//! any other reason.
//!
//! It is started by what cannot do without it (a window whose members reach it by messages), by
//! the knob `STRAIT_PROGRESS`, or by the first transfer that gains by it if a core is idle. It
//! sleeps on the descriptors of the networks, or looks now and then at one that has none, and on
//! the door at which the peers of this host ring.
//!
//! Invariants:
//! 1. It takes the entry lock briefly, so that calls of the program's one thread cost what they
//!    cost without it (lock.rs).
//! 2. While threads of the program wait in calls, or have done so a moment ago, it stays away: they
//!    make the progress, sooner than two who take turns.
//! 3. It looks at networks and rings with the lock held before it sleeps on their descriptors, so
//!    nothing that came before is missed; what comes later makes them readable. When a thread of
//!    the program takes an announcement of sleep back, it is told to look again.
//! 4. It blocks all signals, runs no function of the user's, and has ended when MPI_Finalize
//!    returns, and while the process forks. A forked child does not have it, and no MPI either.

use crate::entry::Entry;
use crate::error::{Result, advise, class};
use crate::runtime::sleepers;
use parking_lot::Mutex;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32};
use std::thread::JoinHandle;
use std::time::Duration;

/// As mpiexec names a call, in the place of one.
const NAME: &str = "progress thread";
/// Progress that is made before the lock is given back in between.
const ROUNDS_MAX: usize = 16;
/// A program that calls MPI again and again makes its own progress. It is left alone for so long,
/// in which it must not have waited in a call; else for twice as long, up to the most.
const PAUSE: Duration = Duration::from_micros(20);
const PAUSE_MAX: Duration = Duration::from_micros(200);
/// A program that tests in a loop takes what arrives sooner than that.
const PAUSE_IN_VAIN: Duration = Duration::from_micros(5);
/// Between two looks at a network that has nothing to sleep on (libfabric's shm and udp).
const BLIND_PAUSE: Duration = Duration::from_micros(500);

struct Thread {
    /// `None`: it has ended while the process forks.
    thread: Option<JoinHandle<()>>,
    /// Ends its sleep.
    bell: OwnedFd,
    watched: Arc<Watched>,
}

static THREAD: Mutex<Option<Thread>> = Mutex::new(None);
/// The first transfer that can go on without its owner decides whether it is started.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// There is one, so calls that wait are counted.
static IS_THERE: AtomicBool = AtomicBool::new(false);
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// Calls that wait now.
static WAITING: AtomicU32 = AtomicU32::new(0);
/// Calls that waited so far; wraps.
static WAITS: AtomicU32 = AtomicU32::new(0);
/// What ends its sleep, while it serves this host's peers; else -1.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// What ends its sleep, while it sleeps beside networks; else -1. Some networks move only while
/// somebody looks at them, so what a call leaves in flight there must find it awake.
static ASLEEP: AtomicI32 = AtomicI32::new(-1);
/// 1: it sleeps until none waits.
static PARKED: AtomicU32 = AtomicU32::new(0);

/// A call that waits, and makes progress meanwhile.
pub struct Waiting(bool);

impl Waiting {
    /// Counts it, if that matters to anybody.
    #[inline]
    pub fn new() -> Waiting {
        let counts = IS_THERE.load(Relaxed);
        if counts {
            WAITING.fetch_add(1, Relaxed);
            WAITS.fetch_add(1, Relaxed);
        }
        Waiting(counts)
    }
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting::new()
    }
}

impl Drop for Waiting {
    #[inline]
    fn drop(&mut self) {
        // SYNC(progress.parked): the count before the look for a parked one; its side is `park`.
        if self.0 && WAITING.fetch_sub(1, SeqCst) == 1 && PARKED.load(SeqCst) != 0 {
            unpark();
        }
    }
}

#[cold]
fn unpark() {
    PARKED.store(0, Relaxed);
    futex(&PARKED, libc::FUTEX_WAKE, 1);
}

/// Sleeps until no call waits.
fn park() {
    loop {
        // SYNC(progress.parked): the mark before the looks at the count and the end;
        // `Waiting::drop` and `end` have the other order, so one of the two sees the other.
        PARKED.store(1, SeqCst);
        // SYNC(progress.parked): as above.
        if WAITING.load(SeqCst) == 0 || IS_ENDING.load(SeqCst) {
            PARKED.store(0, Relaxed);
            return;
        }
        futex(&PARKED, libc::FUTEX_WAIT, 1);
    }
}

fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let forever = std::ptr::null::<libc::timespec>();
    // SAFETY: the word is a static; a wait without a timeout reads nothing else, a wake nothing.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, forever) };
}

/// What it had announced does not stand any more.
#[inline]
pub fn look_again() {
    let bell = BELL.load(Relaxed);
    if bell >= 0 {
        ring(bell);
    }
}

#[cold]
fn ring(bell: RawFd) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the eight bytes are readable; the descriptor is open while it is named in `BELL`,
    // which changes with the entry lock held, as its readers hold it.
    unsafe { libc::write(bell, one.as_ptr().cast(), one.len()) };
}

/// What it sleeps on.
struct Watched {
    /// Of the networks.
    networks: Vec<RawFd>,
    /// There is a network without one.
    is_blind: bool,
    /// Where the peers of this host ring.
    door: Option<RawFd>,
}

/// `STRAIT_PROGRESS` says nothing: [`wanted`] decides.
pub fn leave_open() {
    IS_OPEN.store(true, Relaxed);
}

/// Something was left in flight that can go on while the program computes: starts the thread if the
/// ranks of this host leave a core idle, and nobody has decided otherwise; wakes it if it is there.
#[inline]
pub fn wanted(entry: &mut Entry) {
    if IS_OPEN.load(Relaxed) {
        decide(entry);
    }
    // It went to sleep with the lock held that our caller holds now.
    if ASLEEP.load(Relaxed) >= 0 {
        let bell = ASLEEP.swap(-1, Relaxed);
        if bell >= 0 {
            ring(bell);
        }
    }
}

#[cold]
fn decide(entry: &mut Entry) {
    IS_OPEN.store(false, Relaxed);
    if strait_transport::wait::has_idle_core(&entry.job.node, entry.job.local_rank) {
        // Nobody asked for it: where the system refuses it, all is as without.
        let _ = start(entry);
    }
}

/// Starts it, if there are peers and it is not there yet.
///
/// # Errors
/// The system refuses a thread or a descriptor.
pub fn start(entry: &mut Entry) -> Result {
    let mut place = THREAD.lock();
    let has_network = entry.worker.has_network();
    let has_host = entry.job.node.plan_ref().local_size > 1;
    if place.is_some() || !(has_network || has_host) {
        return Ok(());
    }
    let networks = entry.worker.network_descriptors();
    let networks: Vec<RawFd> = networks.iter().map(AsRawFd::as_raw_fd).collect();
    let is_blind = has_network && networks.is_empty();
    let door = match has_host {
        true => Some(entry.worker.door()?.as_raw_fd()),
        false => None,
    };
    let watched = Arc::new(Watched { networks, is_blind, door });
    let refused = |error: std::io::Error| {
        let text = format!("the progress thread cannot be started: {error}");
        advise(class::OTHER, text, "raise the limits of threads and descriptors (ulimit -u, -n)")
    };
    // SAFETY: it makes a descriptor, which becomes ours.
    let bell = match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } {
        -1 => return Err(refused(std::io::Error::last_os_error())),
        // SAFETY: just made, and nobody else's.
        bell => unsafe { OwnedFd::from_raw_fd(bell) },
    };
    let thread = spawn(&watched, bell.as_raw_fd()).map_err(refused)?;
    *place = Some(Thread { thread: Some(thread), bell, watched });
    Ok(())
}

fn spawn(watched: &Arc<Watched>, bell: RawFd) -> std::io::Result<JoinHandle<()>> {
    IS_ENDING.store(false, Relaxed);
    IS_THERE.store(true, Relaxed);
    let for_thread = Arc::clone(watched);
    let run = move || run(&for_thread, bell);
    let builder = std::thread::Builder::new().name("strait-progress".into());
    let thread = without_signals(|| builder.stack_size(256 << 10).spawn(run));
    match thread {
        Ok(_) => BELL.store(if watched.door.is_some() { bell } else { -1 }, Relaxed),
        Err(_) => IS_THERE.store(false, Relaxed),
    }
    thread
}

/// There is a network more than before: a thread that is there watches it, too.
pub fn renew(entry: &mut Entry) -> Result {
    let is_there = THREAD.lock().is_some();
    if is_there {
        end(entry);
        start(entry)?;
    }
    Ok(())
}

/// Ends it. The lock is not held meanwhile.
pub fn end(entry: &mut Entry) {
    IS_OPEN.store(false, Relaxed);
    let Some(Thread { thread, bell, .. }) = THREAD.lock().take() else { return };
    entry.outside(|| stop(thread, &bell));
}

fn stop(thread: Option<JoinHandle<()>>, bell: &OwnedFd) {
    // SYNC(progress.parked): before `unpark` wakes who is parked; pairs with `park`.
    IS_ENDING.store(true, SeqCst);
    unpark();
    BELL.store(-1, Relaxed);
    ring(bell.as_raw_fd());
    if let Some(thread) = thread {
        // It has no way to panic but by a bug, which the panic hook has told.
        let _ = thread.join();
    }
    IS_THERE.store(false, Relaxed);
}

/// The process is about to fork: the thread ends, so that nobody forks beside threads who has not
/// made them (Python warns of that).
pub extern "C" fn before_fork() {
    if let Some(Thread { thread, bell, .. }) = &mut *THREAD.lock() {
        stop(thread.take(), bell);
    }
}

/// The process has forked, and is the parent: the thread comes back.
pub extern "C" fn after_fork() {
    if let Some(Thread { thread, bell, watched }) = &mut *THREAD.lock() {
        *thread = spawn(watched, bell.as_raw_fd()).ok();
    }
}

/// What a new thread inherits: no signal is for it.
fn without_signals<R>(spawn: impl FnOnce() -> R) -> R {
    // SAFETY: both sets are local, and written before they are read.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = spawn();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}

fn run(watched: &Watched, bell: RawFd) {
    // SAFETY: no memory is passed. Else the kernel makes 70 us of 20.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters are a local. Who wakes under this policy takes an idle core, or waits
    // for the end of a turn, but takes the core from nobody who computes or waits closely. Where
    // it is refused, that is all that is lost.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters) };
    let mut all = watched.networks.clone();
    all.extend(watched.door);
    let mut seen = WAITS.load(Relaxed);
    let mut in_vain = false;
    loop {
        if WAITS.load(Relaxed) != seen || WAITING.load(Relaxed) != 0 {
            seen = leave_alone(bell, PAUSE);
        } else if in_vain {
            seen = leave_alone(bell, PAUSE_IN_VAIN);
        }
        // Relaxed: whoever ends it makes the bell readable afterwards, which stays so.
        if IS_ENDING.load(Relaxed) {
            return;
        }
        let Some(mut entry) = Entry::open_briefly(NAME) else { return };
        let mut rounds = 0;
        while rounds < ROUNDS_MAX && entry.progress_aside() > 0 {
            rounds += 1;
        }
        let may_sleep = rounds < ROUNDS_MAX && watched.may_sleep(&mut entry);
        if may_sleep && !watched.networks.is_empty() {
            ASLEEP.store(bell, Relaxed);
        }
        drop(entry);
        // Nothing was there: the program looks by itself, if not in calls that wait.
        in_vain = rounds == 0;
        if watched.is_blind {
            sleep_on(&all, bell, Some(BLIND_PAUSE));
        } else if may_sleep {
            sleep_on(&all, bell, None);
            ASLEEP.store(-1, Relaxed);
        } else {
            std::thread::yield_now();
        }
    }
}

impl Watched {
    /// Whether nothing is to be done before one of the descriptors is readable.
    fn may_sleep(&self, entry: &mut Entry) -> bool {
        entry.worker.may_leave_networks()
            && (self.door.is_none() || entry.worker.may_leave_host(sleepers() == 0))
    }
}

/// Stays away until the program has not waited in a call for a while. Returns how many calls have
/// waited by then.
fn leave_alone(bell: RawFd, mut pause: Duration) -> u32 {
    loop {
        let before = WAITS.load(Relaxed);
        sleep_on(&[], bell, Some(pause));
        let is_same = WAITS.load(Relaxed) == before;
        if IS_ENDING.load(Relaxed) || (is_same && WAITING.load(Relaxed) == 0) {
            return before;
        }
        if is_same {
            // One call, which may last.
            park();
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Sleeps until one of the descriptors or the bell is readable, or the time is over.
fn sleep_on(descriptors: &[RawFd], bell: RawFd, time: Option<Duration>) {
    let watched = |fd: &RawFd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 };
    let mut watched: Vec<libc::pollfd> = descriptors.iter().chain([&bell]).map(watched).collect();
    let time = time.map(|time| libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = watched.len() as libc::nfds_t;
    // SAFETY: the array has `count` elements; the time is null or valid; no signal mask is given.
    unsafe { libc::ppoll(watched.as_mut_ptr(), count, time, std::ptr::null()) };
    if watched.last().is_some_and(|bell| bell.revents != 0) && !IS_ENDING.load(Relaxed) {
        let mut count = [0_u8; 8];
        // SAFETY: eight writable bytes; the descriptor does not block.
        unsafe { libc::read(bell, count.as_mut_ptr().cast(), count.len()) };
    }
}

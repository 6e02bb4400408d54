// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waiting: spin, then yield, then sleep in the kernel until a peer rings.
//!
//! How long to spin and yield follows from the number of runnable ranks per core that they may use
//! ([`is_crowded`]): with a core each, spinning costs nobody anything and answers fastest; with
//! fewer, each turn of the wait hands the core to a peer, who may be the one that is waited for.
//!
//! Invariants of sleep:
//! 1. A thread sleeps only on an announcement that stands: the bell word compares equal to what was
//!    armed under the worker's lock, and no `wake_all` came since.
//! 2. Nothing wakes periodically. Who publishes rings; who dies is announced by the launcher, who
//!    rings, or makes a watched descriptor readable.
//! 3. Where descriptors matter, one thread (the watcher) waits in epoll and the others of the
//!    process wait for the watcher, because the datagram that rings can be read only once.
//!
//! Not here: the bell word's protocol (lane/shm/bell.rs), what is looked at before sleep (worker).

mod crowd;

pub use self::crowd::{has_idle_core, is_crowded};
pub(crate) use self::crowd::{may_spin, turn_ns};

use self::crowd::{RANKS_PER_CORE, ranks_per_core};
use crate::bootstrap::Job;
use crate::error::{Error, Result};
use crate::lane::shm::bell::{self, AWAKE, Way};
use crate::node::Node;
use crate::sync::full_fence;
use crate::topology::CoreSet;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use rustix::thread::futex;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// With a core for each rank: a wake-up from sleep costs 20 to 50 us, so spinning as long as that
/// at most doubles the wait. Knob SPIN_US.
const SPIN_US: u32 = 50;
/// After that, while nobody else needs the core, yields are still cheaper than a wake-up.
const YIELD: Duration = Duration::from_micros(150);
/// With more ranks than cores: a hand-over costs 2 us, and this many bring everybody's turn many
/// times over. They cost a rank that only waits 0.3 ms of its core, once: 128 of them, 40 ms. With
/// fewer a rank falls asleep over an odd turn of the scheduler, and to wake it costs 20 to 50 us.
const CROWDED_YIELDS: u32 = 400;
/// ... but no longer than this: who waits for a rank that computes is better asleep.
const CROWDED_YIELD: Duration = Duration::from_millis(20);
/// A turn that came back so late was taken by who computes, a rank or a stranger: against them a
/// yield loses a slice of the scheduler each time, while who is woken from sleep runs at once.
const LONG_TURN: Duration = Duration::from_millis(1);
/// Turns between two looks at the clock.
const TURNS_PER_CLOCK: u32 = 8;

/// How long to spin, from the knob.
static SPIN: AtomicU32 = AtomicU32::new(SPIN_US);

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Look again (the pause has been made).
    Look,
    /// Long enough: arm and sleep.
    Sleep,
}

/// What a thread does between two looks: spin, yield, then sleep, by the number of runnable ranks
/// per allowed core.
pub struct Waiter {
    turns: u32,
    since: Option<Instant>,
    /// How long we had waited before the last turn.
    waited: Duration,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Spin,
    Yield,
    HandOver,
    Over,
}

impl Waiter {
    /// A fresh wait under the policy of this process.
    #[inline]
    pub fn new() -> Waiter {
        let stage = if RANKS_PER_CORE.load(Relaxed) > 1 { Stage::HandOver } else { Stage::Spin };
        Waiter { turns: 0, since: None, waited: Duration::ZERO, stage }
    }

    /// Pauses or yields as the ladder says.
    #[inline]
    pub fn pause(&mut self) -> Next {
        self.turns = self.turns.wrapping_add(1);
        if matches!(self.stage, Stage::Spin) && !self.turns.is_multiple_of(TURNS_PER_CLOCK) {
            return Next::Look;
        }
        self.climb()
    }

    /// Whether a core is ours to spin on: looks at what may arrive may follow each other closely.
    #[inline]
    pub fn is_spinning(&self) -> bool {
        matches!(self.stage, Stage::Spin)
    }

    #[cold]
    fn climb(&mut self) -> Next {
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        let turn = waited - std::mem::replace(&mut self.waited, waited);
        let spin = Duration::from_micros(u64::from(SPIN.load(Relaxed)));
        match self.stage {
            Stage::Spin if waited >= spin => self.stage = Stage::Yield,
            Stage::Yield if waited >= spin + YIELD => self.stage = Stage::Over,
            Stage::HandOver
                if self.turns > CROWDED_YIELDS || waited >= CROWDED_YIELD || turn >= LONG_TURN =>
            {
                self.stage = Stage::Over;
            }
            _ => {}
        }
        match self.stage {
            Stage::Spin => std::hint::spin_loop(),
            Stage::Yield | Stage::HandOver => rustix::thread::sched_yield(),
            Stage::Over => return Next::Sleep,
        }
        Next::Look
    }
}

impl Default for Waiter {
    fn default() -> Waiter {
        Waiter::new()
    }
}

/// Before the record is shown: says our cores, sets the policy, and decides by it whether
/// publishers fence for us. Crowded ranks sleep all the time, and then a membarrier (an interrupt
/// to every core that runs a rank) costs more than everybody's fences.
///
/// # Errors
/// The knob SPIN_US is no number.
pub(crate) fn settle_policy(node: &Node, local_rank: u32) -> Result<()> {
    if let Some(spin) = crate::config::number("SPIN_US")? {
        SPIN.store(u32::try_from(spin).unwrap_or(u32::MAX), Relaxed);
    }
    let record = node.record(local_rank);
    record.publish_cores(&CoreSet::allowed());
    let ranks = ranks_per_core(node, local_rank);
    RANKS_PER_CORE.store(ranks, Relaxed);
    let crowded = ranks > 1;
    let alone = node.plan_ref().local_size == 1;
    record.set_needs_fence(alone || crowded || !crate::sync::register_membarrier());
    Ok(())
}

/// Where the threads of this process sleep. The worker owns it; threads take [`Sleeper`]s.
pub struct Sleepers {
    place: Arc<Place>,
    generation: u32,
    armed: u32,
    way: Way,
    /// How many ranks of the node had said their cores when the policy was last settled.
    settled_ranks: u32,
}

/// What sleepers share.
struct Place {
    node: Arc<Node>,
    local_rank: u32,
    /// Publishers do not fence for us: we must do it everywhere.
    everywhere: bool,
    descriptors: OnceLock<Descriptors>,
    /// Counts local wake-ups; threads that are not the watcher sleep on it.
    wakes: AtomicU32,
    /// 1: a thread is (about to be) in epoll.
    watcher: AtomicU32,
}

/// What the watcher waits for.
struct Descriptors {
    epoll: OwnedFd,
    /// Peers ring here when the bell says so.
    door: OwnedFd,
    /// Our own threads wake the watcher here.
    local: OwnedFd,
}

const FOREIGN: u64 = 0;
const DOOR: u64 = 1;
const LOCAL: u64 = 2;

impl Sleepers {
    /// The place of this process.
    pub fn new(job: &Job) -> Sleepers {
        let node = Arc::clone(&job.node);
        let place = Place {
            everywhere: !node.record(job.local_rank).needs_fence(),
            local_rank: job.local_rank,
            descriptors: OnceLock::new(),
            wakes: AtomicU32::new(0),
            watcher: AtomicU32::new(0),
            node,
        };
        let place = Arc::new(place);
        Sleepers { place, generation: 0, armed: AWAKE, way: Way::Futex, settled_ranks: 0 }
    }

    /// A descriptor matters from now on: sleepers wake when it is readable (it may be an epoll
    /// descriptor of many). Close it, or empty it, to make an end of that.
    pub fn watch(&self, descriptor: BorrowedFd<'_>) -> Result<()> {
        let descriptors = self.place.descriptors()?;
        add(&descriptors.epoll, descriptor, FOREIGN)
    }

    /// Announces sleep. The caller looks at everything once more after this, and sleeps only if
    /// there is nothing. `wish` says what is wished for of others ([`bell::announce`]).
    pub fn arm(&mut self, wish: impl FnOnce()) {
        if self.settled_ranks < self.place.node.plan_ref().local_size {
            self.settle();
        }
        self.generation = self.generation.wrapping_add(1);
        let way = if self.place.descriptors.get().is_some() { Way::Door } else { Way::Futex };
        let bell = self.place.bell();
        if way != self.way {
            // Those who sleep in the old way would not hear the new one.
            self.way = way;
            bell::wake_futex(bell);
        }
        self.armed = bell::announce(bell, way, self.generation, self.place.everywhere, wish);
    }

    /// From now on peers ring at a door, which becomes readable then: for a thread that waits for
    /// more than this. It must not empty the door while others sleep here.
    ///
    /// # Errors
    /// The system refuses a descriptor.
    pub fn door(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.place.descriptors()?.door.as_fd())
    }

    /// Takes rings that nobody sleeps for any more.
    pub fn empty_door(&self) {
        if let Some(descriptors) = self.place.descriptors.get() {
            descriptors.empty_door();
        }
    }

    /// Takes the announcement back. Call it when the last sleeping thread is awake.
    pub fn disarm(&mut self) {
        self.armed = AWAKE;
        self.place.bell().store(AWAKE, Relaxed);
    }

    /// What a thread sleeps on without holding the worker; take it after [`Sleepers::arm`].
    pub fn sleeper(&self) -> Sleeper {
        let place = Arc::clone(&self.place);
        // SYNC(wait.wakes): the count before the caller's last look; a later one ends the sleep.
        let wakes = place.wakes.load(Acquire);
        Sleeper { place, armed: self.armed, way: self.way, wakes }
    }

    /// The ranks that came since may have brought cores of their own.
    #[cold]
    fn settle(&mut self) {
        let (node, me) = (&self.place.node, self.place.local_rank);
        let has_said = |rank: &u32| node.record(*rank).cores().is_some();
        let known = (0..node.plan_ref().local_size).filter(has_said).count() as u32;
        if known != self.settled_ranks {
            self.settled_ranks = known;
            RANKS_PER_CORE.store(ranks_per_core(node, me), Relaxed);
        }
    }
}

impl Place {
    fn bell(&self) -> &AtomicU32 {
        self.node.record(self.local_rank).bell()
    }

    fn descriptors(&self) -> Result<&Descriptors> {
        if let Some(descriptors) = self.descriptors.get() {
            return Ok(descriptors);
        }
        let made = Descriptors::new(&self.node, self.local_rank)?;
        // The worker's lock keeps others from making a second set.
        Ok(self.descriptors.get_or_init(|| made))
    }
}

impl Descriptors {
    #[cold]
    fn new(node: &Node, local_rank: u32) -> Result<Descriptors> {
        let system =
            |what: &'static str| move |errno: Errno| Error::system(what, errno.raw_os_error());
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(system("cannot create an epoll set to sleep in"))?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let door = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
            .map_err(system("cannot create the socket that peers ring at"))?;
        let name = bell::door(node, local_rank).map_err(system("the name of a door"))?;
        bind(&door, &name).map_err(system("cannot name the socket that peers ring at"))?;
        let local = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(system("cannot create an event to wake our own threads"))?;
        let descriptors = Descriptors { epoll, door, local };
        add(&descriptors.epoll, descriptors.door.as_fd(), DOOR)?;
        add(&descriptors.epoll, descriptors.local.as_fd(), LOCAL)?;
        Ok(descriptors)
    }

    /// Waits, then empties what is only there to wake.
    fn wait(&self, timeout: Option<Duration>) {
        let timeout = timeout.map(timespec);
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(FOREIGN),
        }; 4];
        let _ = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref());
        self.empty_door();
        let mut count = [0_u8; 8];
        let _ = rustix::io::read(&self.local, &mut count[..]);
    }

    fn empty_door(&self) {
        let mut byte = [0_u8; 8];
        while recv(&self.door, &mut byte[..], RecvFlags::DONTWAIT).is_ok() {}
    }
}

fn add(set: &OwnedFd, descriptor: BorrowedFd<'_>, token: u64) -> Result<()> {
    match epoll::add(set, descriptor, epoll::EventData::new_u64(token), epoll::EventFlags::IN) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => {
            Err(Error::system("cannot add a descriptor to the sleepers' set", errno.raw_os_error()))
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Sleeps until a peer rings, without holding the worker. Cheap to clone.
#[derive(Clone)]
pub struct Sleeper {
    place: Arc<Place>,
    armed: u32,
    way: Way,
    wakes: u32,
}

impl Sleeper {
    /// Sleeps until rung, or until the time is over. Returns at once if rung since `arm`. May
    /// return early for no reason.
    pub fn sleep(&self, timeout: Option<Duration>) {
        if !self.is_standing() {
            return;
        }
        match self.way {
            Way::Futex => futex_wait(self.place.bell(), self.armed, timeout),
            Way::Door => self.sleep_at_door(timeout),
        }
    }

    /// Wakes all threads of this process that sleep here.
    pub fn wake_all(&self) {
        let place = &self.place;
        // SYNC(wait.wakes): what this thread did before is seen by the threads it wakes.
        place.wakes.fetch_add(1, AcqRel);
        bell::wake_futex(&place.wakes);
        if bell::take(place.bell()) == Some(Way::Futex) {
            bell::wake_futex(place.bell());
        }
        // SYNC(wait.watcher): count before the look for a watcher; the watcher's side is its mark
        // before its look at the count, in `sleep_at_door`.
        full_fence();
        if let Some(descriptors) = place.descriptors.get()
            && place.watcher.load(Relaxed) != 0
        {
            let _ = rustix::io::write(&descriptors.local, &1_u64.to_ne_bytes());
        }
    }

    fn is_standing(&self) -> bool {
        // SYNC(wait.wakes): sees what was done before `wake_all`.
        self.armed != AWAKE
            && self.place.wakes.load(Acquire) == self.wakes
            && bell::is_standing(self.place.bell(), self.armed)
    }

    fn sleep_at_door(&self, timeout: Option<Duration>) {
        let place = &self.place;
        let Some(descriptors) = place.descriptors.get() else { return };
        if place.watcher.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            futex_wait(&place.wakes, self.wakes, timeout);
            return;
        }
        // SYNC(wait.watcher): mark before the look at the count; pairs with `wake_all`. The former
        // watcher emptied the door before it counted, and counted before it unmarked: if it took
        // our ring, the announcement does not stand.
        full_fence();
        if self.is_standing() {
            descriptors.wait(timeout);
        }
        // SYNC(wait.wakes): whoever sleeps on the count sees why.
        place.wakes.fetch_add(1, AcqRel);
        // SYNC(wait.watcher): the next watcher acquires the mark and sees the count.
        place.watcher.store(0, Release);
        bell::wake_futex(&place.wakes);
    }
}

fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(timespec);
    let _ = futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap;
    use crate::node::{Node, NodePlan};
    use crate::topology::{cgroup, quota_millicores};
    use std::sync::Mutex;
    use std::sync::mpsc;

    fn job(local_size: u32) -> Job {
        let plan = NodePlan {
            job: rand_job(),
            key: [0; 32],
            size: local_size,
            first_local_rank: 0,
            local_size,
        };
        bootstrap::join(Node::create(&plan).unwrap(), 0).unwrap()
    }

    /// Doors have names: tests in one process need jobs of their own.
    fn rand_job() -> [u8; 16] {
        let mut job = [0; 16];
        getrandom::fill(&mut job).unwrap();
        job
    }

    #[test]
    fn the_ladder_ends_in_sleep() {
        for stage in [Stage::Spin, Stage::HandOver] {
            let mut waiter = Waiter { stage, ..Waiter::new() };
            let mut looks = 0_u64;
            while waiter.pause() == Next::Look {
                looks += 1;
            }
            assert!(looks > 0, "it looked before it slept");
            assert_eq!(waiter.pause(), Next::Sleep);
        }
    }

    #[test]
    fn ranks_beyond_the_cores_are_crowded() {
        let cores = CoreSet::allowed().count();
        let job = job(cores + 1);
        assert!(is_crowded(&job.node, 0), "unknown ranks count as sharing our cores");
        // The others say that they have cores of their own.
        let mut elsewhere = CoreSet::default();
        elsewhere.0[15] = 1 << 63;
        for rank in 1..=cores {
            job.node.record(rank).publish_cores(&elsewhere);
        }
        let quota =
            quota_millicores().is_some_and(|quota| cgroup::ranks_per_core(cores + 1, quota) > 1);
        assert_eq!(is_crowded(&job.node, 0), quota);
    }

    /// Threads of one process wait for numbers, one at a time; whoever makes progress wakes all.
    fn threads_hand_on(with_descriptors: bool) {
        const THREADS: u64 = 5;
        const ROUNDS: u64 = 400;
        let job = job(1);
        let sleepers = Sleepers::new(&job);
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        if with_descriptors {
            sleepers.watch(rustix::fd::AsFd::as_fd(&reader)).unwrap();
        }
        // The worker of this test: whose turn it is, and how many threads sleep.
        let state = Arc::new(Mutex::new((0_u64, 0_u32, sleepers)));
        let (done, all_done) = mpsc::channel();
        for me in 0..THREADS {
            let (state, done) = (Arc::clone(&state), done.clone());
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    loop {
                        let mut locked = state.lock().unwrap();
                        if locked.0 == round * THREADS + me {
                            locked.0 += 1;
                            let sleeper = locked.2.sleeper();
                            drop(locked);
                            sleeper.wake_all();
                            break;
                        }
                        locked.1 += 1;
                        locked.2.arm(|| ());
                        let sleeper = locked.2.sleeper();
                        drop(locked);
                        sleeper.sleep(None);
                        let mut locked = state.lock().unwrap();
                        locked.1 -= 1;
                        if locked.1 == 0 {
                            locked.2.disarm();
                        }
                    }
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..THREADS {
            all_done.recv_timeout(Duration::from_secs(60)).expect("no wake-up was lost");
        }
        assert_eq!(state.lock().unwrap().0, THREADS * ROUNDS);
    }

    #[test]
    fn threads_wake_each_other_at_the_futex() {
        threads_hand_on(false);
    }

    #[test]
    fn threads_wake_each_other_at_the_door() {
        threads_hand_on(true);
    }

    #[test]
    fn a_ring_wakes_all_threads_in_either_way_and_a_timeout_ends_sleep() {
        for with_descriptors in [false, true] {
            let job = job(1);
            let mut sleepers = Sleepers::new(&job);
            if with_descriptors {
                sleepers.place.descriptors().unwrap();
            }
            sleepers.arm(|| ());
            sleepers.sleeper().sleep(Some(Duration::from_millis(1)));
            let (done, all_done) = mpsc::channel();
            for _ in 0..3 {
                let (sleeper, done) = (sleepers.sleeper(), done.clone());
                std::thread::spawn(move || {
                    sleeper.sleep(None);
                    done.send(()).unwrap();
                });
            }
            std::thread::sleep(Duration::from_millis(20));
            bell::ring(&job.node, 0);
            for _ in 0..3 {
                all_done.recv_timeout(Duration::from_secs(60)).expect("rung");
            }
            sleepers.sleeper().sleep(None);
        }
    }
}

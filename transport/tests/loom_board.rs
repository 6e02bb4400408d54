// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The board's protocol under loom: no reader sees a slot torn or of another round, no writer
//! waits for somebody who is done, whoever combines a counted round sees all publications, and no
//! sleeper is forgotten. Run with RUSTFLAGS="--cfg loom"; empty otherwise.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Arc, Condvar, Mutex};
use strait_transport::lane::shm::board::{Desks, LAST_ONE, Look, Seat};
use strait_transport::node::DESK_SLOT_COUNT;
use strait_transport::sync::full_fence;

struct Desk {
    words: Vec<AtomicU64>,
    contents: Vec<UnsafeCell<u64>>,
    done: AtomicU64,
    group: AtomicU64,
    awaited: AtomicU32,
}

struct Memory {
    desks: Vec<Desk>,
    groups: AtomicU64,
    combined: AtomicU64,
    combiner: AtomicU32,
    asleep: AtomicU32,
    /// What the kernel's futex does, with one bell for all.
    bell: Mutex<u64>,
    sleepers: Condvar,
}

#[derive(Clone)]
struct Shared(Arc<Memory>);

impl Shared {
    fn new(members: u32) -> Shared {
        let desk = |_| Desk {
            words: (0..DESK_SLOT_COUNT).map(|_| AtomicU64::new(0)).collect(),
            contents: (0..DESK_SLOT_COUNT).map(|_| UnsafeCell::new(0)).collect(),
            done: AtomicU64::new(0),
            group: AtomicU64::new(0),
            awaited: AtomicU32::new(0),
        };
        Shared(Arc::new(Memory {
            desks: (0..members).map(desk).collect(),
            groups: AtomicU64::new(0),
            combined: AtomicU64::new(0),
            combiner: AtomicU32::new(0),
            asleep: AtomicU32::new(0),
            bell: Mutex::new(0),
            sleepers: Condvar::new(),
        }))
    }

    fn seat(&self, me: u32) -> Seat<Shared> {
        Seat::new(self.clone(), me)
    }
}

// SAFETY: desks and slots are distinct elements.
unsafe impl Desks for Shared {
    type Word = AtomicU64;
    type Short = AtomicU32;
    type Place = *mut u64;
    fn member_count(&self) -> u32 {
        self.0.desks.len() as u32
    }
    fn word(&self, member: u32, slot: u32) -> &AtomicU64 {
        &self.0.desks[member as usize].words[slot as usize]
    }
    fn done(&self, member: u32) -> &AtomicU64 {
        &self.0.desks[member as usize].done
    }
    fn group(&self, group: u32) -> &AtomicU64 {
        &self.0.desks[group as usize].group
    }
    fn groups(&self) -> &AtomicU64 {
        &self.0.groups
    }
    fn combined(&self) -> &AtomicU64 {
        &self.0.combined
    }
    fn combiner(&self) -> &AtomicU32 {
        &self.0.combiner
    }
    fn asleep(&self) -> &AtomicU32 {
        &self.0.asleep
    }
    fn awaited(&self, member: u32) -> &AtomicU32 {
        &self.0.desks[member as usize].awaited
    }
    unsafe fn write<R>(&self, member: u32, slot: u32, with: impl FnOnce(*mut u64) -> R) -> R {
        self.0.desks[member as usize].contents[slot as usize].with_mut(with)
    }
    unsafe fn read<R>(&self, member: u32, slot: u32, with: impl FnOnce(*mut u64) -> R) -> R {
        self.0.desks[member as usize].contents[slot as usize].with(|place| with(place.cast_mut()))
    }
}

fn model(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

fn publish(seat: &mut Seat<Shared>, slot: u32, word: u64, value: u64) {
    while seat.room(slot).is_err() {
        loom::thread::yield_now();
    }
    // SAFETY: the slot is lent for writing.
    seat.publish(slot, word, 8, |place| unsafe { *place = value });
}

fn await_value(seat: &Seat<Shared>, member: u32, slot: u32, word: u64) -> u64 {
    loop {
        match seat.look(member, slot, word) {
            Look::Absent => loom::thread::yield_now(),
            // SAFETY: published, and not done with.
            Look::Here => return unsafe { seat.read(member, slot, |place| *place) },
            Look::Passed => panic!("a member has passed a round that we are in"),
        }
    }
}

/// One root publishes in one slot again and again; its reader is as slow as it likes.
#[test]
fn a_slot_is_not_written_while_it_is_read() {
    model(3, || {
        let shared = Shared::new(2);
        let mut root = shared.seat(0);
        let reader = shared.seat(1);
        let thread = loom::thread::spawn(move || {
            for word in 1..=3 {
                assert_eq!(await_value(&reader, 0, 1, word), word * 10);
                reader.finish(word);
            }
        });
        for word in 1..=3 {
            publish(&mut root, 1, word, word * 10);
            root.finish(word);
        }
        thread.join().unwrap();
    });
}

/// All see all, in as many rounds as use a slot twice, without a look at what others are done with.
#[test]
fn publications_tell_what_their_authors_are_done_with() {
    model(2, || {
        let shared = Shared::new(2);
        let run = |mut seat: Seat<Shared>, me: u64| {
            let other = 1 - me as u32;
            for word in 1..=u64::from(DESK_SLOT_COUNT) + 1 {
                let slot = (word % u64::from(DESK_SLOT_COUNT)) as u32;
                publish(&mut seat, slot, word, word * 10 + me);
                let value = await_value(&seat, other, slot, word);
                assert_eq!(value, word * 10 + u64::from(other));
                seat.clear(word - 1);
                seat.finish(word);
            }
        };
        let (first, second) = (shared.seat(0), shared.seat(1));
        let thread = loom::thread::spawn(move || run(second, 1));
        run(first, 0);
        thread.join().unwrap();
    });
}

/// After a round in which all saw all, a member that writes the same slot again waits for those who
/// still read it: their publications say that they are done with earlier rounds, not with this one.
#[test]
fn a_publication_does_not_tell_that_its_own_round_is_over() {
    model(3, || {
        let shared = Shared::new(2);
        let mut root = shared.seat(0);
        let mut reader = shared.seat(1);
        let thread = loom::thread::spawn(move || {
            publish(&mut reader, 1, 1, 11);
            assert_eq!(await_value(&reader, 0, 1, 1), 10);
            reader.clear(0);
            reader.finish(1);
            assert_eq!(await_value(&reader, 0, 1, 2), 20);
            reader.finish(2);
        });
        publish(&mut root, 1, 1, 10);
        assert_eq!(await_value(&root, 1, 1, 1), 11);
        root.clear(0);
        root.finish(1);
        publish(&mut root, 1, 2, 20);
        root.finish(2);
        thread.join().unwrap();
    });
}

/// Counted rounds: exactly one member combines, and sees all; who sees it combined sees its result.
#[test]
fn the_last_one_combines() {
    model(3, || {
        const WORD: u64 = 1;
        let shared = Shared::new(3);
        let run = |mut seat: Seat<Shared>| {
            let mine = 1 << seat.me();
            publish(&mut seat, 1, WORD, mine);
            if seat.arrive() {
                let mut sum = 0;
                for member in 0..3 {
                    assert_eq!(seat.look(member, 1, WORD), Look::Here);
                    // SAFETY: all have published, and wait.
                    sum += unsafe { seat.read(member, 1, |place| *place) };
                }
                // SAFETY: we are the last one.
                unsafe { seat.rewrite(1, |place| *place = sum) };
                seat.show_combined(WORD);
            }
            if let Some(combiner) = seat.combined(WORD) {
                // SAFETY: combined, and we are not done with the round.
                assert_eq!(unsafe { seat.read(combiner, 1, |place| *place) }, 0b111);
            }
            seat
        };
        let threads: Vec<_> = (1..3)
            .map(|me| {
                let seat = shared.seat(me);
                loom::thread::spawn(move || drop(run(seat)))
            })
            .collect();
        let mut seat = run(shared.seat(0));
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(seat.combined(WORD).is_some());
    });
}

/// A member that sleeps for another, or for the last one of all, is woken. A lost wake-up leaves it
/// asleep for ever, which loom reports as a deadlock.
#[test]
fn sleepers_are_woken() {
    for whom in [1, LAST_ONE] {
        model(3, move || {
            let shared = Shared::new(2);
            let sleeper = shared.seat(0);
            let mut waker = shared.seat(1);
            let memory = shared.clone();
            let thread = loom::thread::spawn(move || {
                publish(&mut waker, 0, 1, 7);
                if whom == LAST_ONE {
                    waker.show_combined(1);
                }
                if waker.somebody_sleeps()
                    && waker.sleepers(|w| w == whom).any(|member| member == 0)
                {
                    *memory.0.bell.lock().unwrap() += 1;
                    memory.0.sleepers.notify_all();
                }
            });
            let mut sleeper = sleeper;
            let is_there = |seat: &mut Seat<Shared>| match whom {
                LAST_ONE => seat.combined(1).is_some(),
                _ => seat.look(1, 0, 1) == Look::Here,
            };
            if !is_there(&mut sleeper) {
                let before = *shared.0.bell.lock().unwrap();
                sleeper.fall_asleep(whom);
                // The heavy fence of the bell's announcement.
                full_fence();
                if !is_there(&mut sleeper) {
                    let mut bell = shared.0.bell.lock().unwrap();
                    while *bell == before {
                        bell = shared.0.sleepers.wait(bell).unwrap();
                    }
                }
                sleeper.wake_up();
            }
            assert!(is_there(&mut sleeper));
            thread.join().unwrap();
        });
    }
}

/// A member sleeps for room, which two others make: while it falls asleep for the one, that one may
/// be done, and then it sleeps for the other.
#[test]
fn a_sleeper_may_change_whom_it_waits_for() {
    const NEEDED: u64 = 1;
    model(2, || {
        let shared = Shared::new(3);
        let wakers: Vec<_> = (1..3)
            .map(|me| {
                let (waker, memory) = (shared.seat(me), shared.clone());
                loom::thread::spawn(move || {
                    waker.finish(NEEDED);
                    if waker.somebody_sleeps()
                        && waker.sleepers(|w| w == me).any(|member| member == 0)
                    {
                        *memory.0.bell.lock().unwrap() += 1;
                        memory.0.sleepers.notify_all();
                    }
                })
            })
            .collect();
        let sleeper = shared.seat(0);
        let missing = || (1..3).find(|member| !sleeper.is_done(*member, NEEDED));
        while let Some(mut whom) = missing() {
            let before = *shared.0.bell.lock().unwrap();
            sleeper.fall_asleep(whom);
            // The heavy fence of the bell's announcement.
            full_fence();
            let is_over = loop {
                match missing() {
                    None => break true,
                    Some(other) if other != whom => {
                        whom = other;
                        sleeper.sleep_for(whom);
                    }
                    Some(_) => break false,
                }
            };
            if !is_over {
                let mut bell = shared.0.bell.lock().unwrap();
                while *bell == before {
                    bell = shared.0.sleepers.wait(bell).unwrap();
                }
            }
            sleeper.wake_up();
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

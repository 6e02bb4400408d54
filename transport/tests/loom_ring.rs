// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ring under loom: every interleaving (with up to two preemptions) of two senders and the
//! receiver, over loom's own cells. Run with RUSTFLAGS="--cfg loom"; empty otherwise.
//!
//! Loom checks that a slot's bytes are never touched by two sides at once, and these models that
//! each message comes once, whole, and in its sender's order; also from behind holes.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use strait_transport::lane::shm::cells::{INLINE_BYTES, Rest, RingCells};
use strait_transport::lane::shm::ring::{Consumer, Producer};

const NOTHING: Rest =
    Rest { context: 0, source: 0, tag: 0, extra: 0, token: 0, body: [0; INLINE_BYTES] };

struct Memory {
    tail: AtomicU64,
    head: AtomicU64,
    slots: Vec<(AtomicU64, UnsafeCell<Rest>)>,
}

#[derive(Clone)]
struct Cells(Arc<Memory>);

impl Cells {
    fn new(slot_count: usize) -> Cells {
        let slot = || (AtomicU64::new(0), UnsafeCell::new(NOTHING));
        Cells(Arc::new(Memory {
            tail: AtomicU64::new(0),
            head: AtomicU64::new(0),
            slots: (0..slot_count).map(|_| slot()).collect(),
        }))
    }
}

// SAFETY: each index has a slot of its own; loom checks who touches it when.
unsafe impl RingCells for Cells {
    type Word = AtomicU64;
    fn tail(&self) -> &AtomicU64 {
        &self.0.tail
    }
    fn head(&self) -> &AtomicU64 {
        &self.0.head
    }
    fn slot_count(&self) -> u32 {
        self.0.slots.len() as u32
    }
    fn word(&self, index: u32) -> &AtomicU64 {
        &self.0.slots[index as usize].0
    }
    unsafe fn write<R>(&self, index: u32, with: impl FnOnce(*mut Rest) -> R) -> R {
        self.0.slots[index as usize].1.with_mut(with)
    }
    unsafe fn read<R>(&self, index: u32, with: impl FnOnce(*const Rest) -> R) -> R {
        self.0.slots[index as usize].1.with(with)
    }
}

fn push(producer: &mut Producer<Cells>, from: u64, number: u32) -> bool {
    producer.push(from, |rest| {
        // SAFETY: `push` lends the slot.
        unsafe { (*rest).tag = number };
    })
}

/// Sends numbers 0, 1, ... until one finds no room; returns how many were sent.
fn send(cells: Cells, from: u64, count: u32) -> u32 {
    let mut producer = Producer::new(cells);
    (0..count).find(|number| !push(&mut producer, from, *number)).unwrap_or(count)
}

fn poll(consumer: &mut Consumer<Cells>, next: &mut [u32; 2]) -> usize {
    consumer.poll(8, |word, rest| {
        // SAFETY: `poll` lends the slot.
        let number = unsafe { (*rest).tag };
        let next = &mut next[word as usize];
        assert_eq!(number, *next, "sender {word}: order, and each once");
        *next += 1;
    })
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(check);
}

/// Both senders send; the receiver polls at the same time, and the rest after they ended.
fn two_senders(slots: usize, counts: [u32; 2], polls: usize) {
    model(move || {
        let cells = Cells::new(slots);
        let mut consumer = Consumer::new(cells.clone());
        let (a, b) = (cells.clone(), cells);
        let a = loom::thread::spawn(move || send(a, 0, counts[0]));
        let b = loom::thread::spawn(move || send(b, 1, counts[1]));
        let mut next = [0; 2];
        for _ in 0..polls {
            poll(&mut consumer, &mut next);
        }
        let sent = [a.join().unwrap(), b.join().unwrap()];
        while poll(&mut consumer, &mut next) != 0 {}
        assert_eq!(next, sent, "what was sent arrived");
        assert!(consumer.is_empty());
    });
}

#[test]
fn a_ring_of_two_slots_fills_and_wraps() {
    two_senders(2, [2, 1], 2);
}

#[test]
fn holes_do_not_change_a_senders_order() {
    two_senders(4, [2, 2], 2);
}

#[test]
fn the_bitmap_survives_a_wrap() {
    two_senders(4, [3, 1], 2);
}

/// One sender that waits for room: the ring goes round several times.
#[test]
fn one_sender_goes_round() {
    model(|| {
        let cells = Cells::new(2);
        let mut consumer = Consumer::new(cells.clone());
        let sender = loom::thread::spawn(move || {
            let mut producer = Producer::new(cells);
            for number in 0..4 {
                while !push(&mut producer, 0, number) {
                    loom::thread::yield_now();
                }
            }
        });
        let mut next = [0; 2];
        while next[0] < 4 {
            if poll(&mut consumer, &mut next) == 0 {
                loom::thread::yield_now();
            }
        }
        sender.join().unwrap();
    });
}

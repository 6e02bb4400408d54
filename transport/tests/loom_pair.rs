// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ring of a pair under loom: every interleaving (with up to three preemptions) of the sender
//! and the receiver, over loom's own cells. Run with RUSTFLAGS="--cfg loom"; empty otherwise.
//!
//! Loom checks that neither a slot's bytes nor a part of the run is touched by two sides at once,
//! and these models that each message comes once, whole, and in order, that the ring goes round,
//! and that a sender that finds no room finds some once everything was received.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use strait_transport::lane::shm::pair::{Consumer, PairCells, Producer};

/// Bytes of the run that one loom cell stands for: what the ring aligns bodies to.
const PART_BYTES: u32 = 128;

struct Memory {
    head: AtomicU64,
    slots: Vec<(AtomicU64, UnsafeCell<u32>)>,
    run: Vec<UnsafeCell<u8>>,
}

#[derive(Clone)]
struct Cells(Arc<Memory>);

impl Cells {
    fn new(slots: usize, parts: usize) -> Cells {
        Cells(Arc::new(Memory {
            head: AtomicU64::new(0),
            slots: (0..slots).map(|_| (AtomicU64::new(0), UnsafeCell::new(0))).collect(),
            run: (0..parts).map(|_| UnsafeCell::new(0)).collect(),
        }))
    }

    fn parts(&self, at: u32, bytes: u32) -> &[UnsafeCell<u8>] {
        assert!(at.is_multiple_of(PART_BYTES) && at + bytes <= self.run_bytes());
        let parts = at / PART_BYTES..(at + bytes).div_ceil(PART_BYTES);
        &self.0.run[parts.start as usize..parts.end as usize]
    }
}

// SAFETY: each index has a slot of its own; loom checks who touches it when.
unsafe impl PairCells for Cells {
    type Word = AtomicU64;
    type Rest = u32;
    fn head(&self) -> &AtomicU64 {
        &self.0.head
    }
    fn slot_count(&self) -> u32 {
        self.0.slots.len() as u32
    }
    fn word(&self, index: u32) -> &AtomicU64 {
        &self.0.slots[index as usize].0
    }
    unsafe fn write<R>(&self, index: u32, with: impl FnOnce(*mut u32) -> R) -> R {
        self.0.slots[index as usize].1.with_mut(with)
    }
    unsafe fn read<R>(&self, index: u32, with: impl FnOnce(*const u32) -> R) -> R {
        self.0.slots[index as usize].1.with(with)
    }
    fn run_bytes(&self) -> u32 {
        self.0.run.len() as u32 * PART_BYTES
    }
    unsafe fn write_run<R>(&self, at: u32, bytes: u32, with: impl FnOnce(*mut u8) -> R) -> R {
        let mut value = 0;
        let result = with(&mut value);
        for part in self.parts(at, bytes) {
            // SAFETY: loom hands the cell's pointer out, and checks that nobody else has it.
            part.with_mut(|byte| unsafe { *byte = value });
        }
        result
    }
    unsafe fn read_run<R>(&self, at: u32, bytes: u32, with: impl FnOnce(*const u8) -> R) -> R {
        let mut value = None;
        for part in self.parts(at, bytes) {
            // SAFETY: as above.
            let byte = part.with(|byte| unsafe { *byte });
            assert_eq!(*value.get_or_insert(byte), byte, "the body is whole");
        }
        with(&value.unwrap_or(0))
    }
}

/// The word of a message: its number, and the bytes of its body.
fn word(number: u32, bytes: u32) -> u64 {
    u64::from(bytes) | u64::from(number) << 32
}

fn push(producer: &mut Producer<Cells>, number: u32, bytes: u32) -> bool {
    if bytes == 0 {
        // SAFETY: `push` lends the slot.
        return producer.push(word(number, 0), false, |rest| unsafe { *rest = number });
    }
    producer.push_with_body(
        word(number, bytes),
        bytes as usize,
        true,
        // SAFETY: it lends the body, and then the slot.
        |body| unsafe { *body = number as u8 + 1 },
        |rest, at| unsafe { *rest = at },
    )
}

/// Takes what is there; each message must be the next.
fn poll(consumer: &mut Consumer<Cells>, next: &mut u32) -> usize {
    let mut count = 0;
    while let Some(word) = consumer.look() {
        let (number, bytes) = ((word >> 32) as u32, word as u32);
        assert_eq!(number, *next, "order, and each once");
        *next += 1;
        // SAFETY: `take` lends the slot, and the part of the run that it names.
        consumer.take(|rest, cells| unsafe {
            if bytes == 0 {
                assert_eq!(*rest, number);
            } else {
                cells.read_run(*rest, bytes, |body| assert_eq!(*body, number as u8 + 1));
            }
            bytes
        });
        count += 1;
    }
    count
}

/// One side sends messages of these sizes, waiting for room; the other receives them all.
fn exchange(slots: usize, parts: usize, sizes: &'static [u32]) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let cells = Cells::new(slots, parts);
        let mut consumer = Consumer::new(cells.clone());
        let sender = loom::thread::spawn(move || {
            let mut producer = Producer::new(cells);
            for (number, bytes) in sizes.iter().enumerate() {
                while !push(&mut producer, number as u32, *bytes) {
                    loom::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < sizes.len() as u32 {
            if poll(&mut consumer, &mut next) == 0 {
                loom::thread::yield_now();
            }
        }
        sender.join().unwrap();
        assert!(consumer.is_empty());
    });
}

#[test]
fn slots_fill_and_wrap() {
    exchange(2, 4, &[0, 0, 0, 0]);
}

#[test]
fn bodies_fill_and_wrap() {
    exchange(4, 4, &[128, 128, 128, 128, 128]);
}

#[test]
fn bodies_are_not_cut_at_the_end() {
    exchange(4, 8, &[256, 128, 256, 256, 256]);
}

#[test]
fn bodies_between_plain_messages() {
    exchange(2, 4, &[0, 128, 0, 128, 0]);
}

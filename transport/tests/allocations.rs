// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A short send and its receive allocate nothing once everything has its size: posted before or
//! after the message, over loopback and over the simulated network, eager and fetched.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use strait_transport::envelope::{ANY, Envelope, Pattern, Peer};
use strait_transport::lane::sim::{SimNet, SimPlan};
use strait_transport::payload::Payload;
use strait_transport::worker::{SendMode, Sent, Worker};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted per thread.
struct Counting;

// SAFETY: passes everything on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn exchange(workers: &mut [Worker], net: &SimNet, from: usize, data: &mut [u8], posted: bool) {
    let payload = Payload::Contiguous { base: data.as_mut_ptr(), bytes: data.len() };
    let envelope = Envelope { context: 3, source: from as u32, tag: 4 };
    let source = if posted { from as u32 } else { ANY };
    let pattern = Pattern { context: 3, source, tag: 4 };
    let mut into = [0_u8; 4096];
    let into = Payload::Contiguous { base: into.as_mut_ptr(), bytes: into.len() };
    let mut request = None;
    if posted {
        // SAFETY: both payloads live until the end of this function, and so do the requests.
        request = Some(unsafe { workers[1].receive(None, pattern, into.clone()) });
    }
    // SAFETY: as above.
    let sent = unsafe { workers[from].send(Peer(1), envelope, payload, SendMode::Standard) };
    for _ in 0..3 {
        net.advance(1);
        workers.iter_mut().for_each(|worker| _ = worker.progress());
    }
    // SAFETY: as above.
    let request = request.unwrap_or_else(|| unsafe { workers[1].receive(None, pattern, into) });
    // A transfer that both sides copy takes a message each way before it begins and at its end.
    for _ in 0..6 {
        net.advance(1);
        workers.iter_mut().for_each(|worker| _ = worker.progress());
    }
    assert!(workers[1].take(request).is_some());
    if let Sent::Pending(id) = sent {
        assert!(workers[from].take(id).is_some());
    }
}

#[test]
fn steady_state_allocates_nothing() {
    let plan = SimPlan {
        size: 2,
        seed: 1,
        capacity: 64,
        delay_max: 0,
        stall_one_in: 0,
        stall_max: 0,
        full_one_in: 0,
        short_bytes_max: 96,
        fragment_bytes_max: 1024,
        piece_bytes_max: 1024,
        bulk_bytes_max: 0,
        get: true,
        refuse_get: false,
    };
    let net = SimNet::new(plan);
    let mut workers: Vec<Worker> =
        (0..2).map(|me| Worker::for_test(net.lane(Peer(me)), false, 256 << 10)).collect();
    for (from, bytes) in [(0, 8), (1, 8), (0, 0), (0, 96), (0, 700), (0, 4000), (1, 4000)] {
        for posted in [true, false] {
            let mut data = vec![7; bytes];
            let mut round = || {
                for _ in 0..10_000 {
                    exchange(&mut workers, &net, from, &mut data, posted);
                }
            };
            round();
            let before = COUNT.get();
            round();
            let count = COUNT.get() - before;
            assert_eq!(count, 0, "{bytes} bytes from {from}, posted first: {posted}");
        }
    }
    assert!(COUNT.get() > 0, "the first rounds are counted");
}

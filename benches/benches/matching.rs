// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Matching alone: one message posted and matched, behind queues of several lengths, and with
//! wildcards. The unit is one post and one arrival (or one arrival and one receive).

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use strait_transport::envelope::{ANY, Envelope, Pattern};
use strait_transport::protocol::matching::Matching;

/// Entries that are in the way: none, one, a list, the longest list, hashed, very long.
const BEHIND: [u32; 6] = [0, 1, 10, 16, 1_000, 1_000_000];

fn envelope(tag: u32) -> Envelope {
    Envelope { context: 1, source: 2, tag }
}

fn exact(tag: u32) -> Pattern {
    Pattern { context: 1, source: 2, tag }
}

fn expected(c: &mut Criterion) {
    let mut group = c.benchmark_group("posted, then arrives");
    for behind in BEHIND {
        let mut matching: Matching<[u64; 3]> = Matching::new();
        for tag in 0..behind {
            matching.post(exact(tag), tag);
        }
        group.bench_function(BenchmarkId::new("exact", behind), |b| {
            b.iter(|| {
                matching.post(exact(u32::MAX - 1), 7);
                black_box(matching.arrive(black_box(envelope(u32::MAX - 1))))
            });
        });
        let any = Pattern { context: 1, source: ANY, tag: u32::MAX - 1 };
        group.bench_function(BenchmarkId::new("any source", behind), |b| {
            b.iter(|| {
                matching.post(any, 7);
                black_box(matching.arrive(black_box(envelope(u32::MAX - 1))))
            });
        });
    }
    group.finish();
}

fn unexpected(c: &mut Criterion) {
    let mut group = c.benchmark_group("arrives, then received");
    for behind in BEHIND {
        let mut matching: Matching<[u64; 3]> = Matching::new();
        for number in 0..behind {
            matching.add(envelope(0), [u64::from(number); 3]);
        }
        group.bench_function(BenchmarkId::new("exact", behind), |b| {
            b.iter(|| {
                matching.add(envelope(1), [1; 3]);
                let id = matching.find(black_box(exact(1))).expect("it is there");
                black_box(matching.remove(id))
            });
        });
        let any = Pattern { context: 1, source: ANY, tag: ANY };
        group.bench_function(BenchmarkId::new("any", behind), |b| {
            b.iter(|| {
                matching.add(envelope(1), [1; 3]);
                let id = matching.find(black_box(any)).expect("something is there");
                let (envelope, message) = matching.remove(id);
                black_box((envelope, message))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, expected, unexpected);
criterion_main!(benches);

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packing and unpacking of derived datatypes, beside the copy of as many contiguous bytes that
//! bounds them. All data is in the caches.
//!
//! Not here: making and committing types.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use strait_mpi::datatype::{Form, Type, predefined};
use strait_transport::payload::Payload;

/// Packed bytes of each case.
const BYTES: usize = 64 * 1024;
/// MPI_DOUBLE and MPI_INT, by their codes in the standard ABI.
const DOUBLE: u32 = 0x214;
const INT: u32 = 0x209;

/// Name, type, and how many elements make `BYTES`.
fn cases() -> Vec<(&'static str, Arc<Type>, usize)> {
    let double = predefined(DOUBLE).expect("MPI_DOUBLE is there");
    let int = predefined(INT).expect("MPI_INT is there");
    let made = |name, made: Result<Arc<Type>, _>| match made {
        Ok(of) => (name, of.clone(), BYTES / of.size() as usize),
        Err(_) => panic!("{name} cannot be made"),
    };
    // Lists of blocks: every third and fourth of six, as a graph's neighbours lie.
    let at: Vec<i64> = (0..512).map(|i| i * 6 + 2).collect();
    vec![
        ("contiguous", double.clone(), BYTES / 8),
        made("column of a matrix", Type::vector(Form::Int, 1024, 1, 64, double)),
        made("halo of eight doubles", Type::vector(Form::Int, 128, 8, 64, double)),
        made("list of pairs of int", Type::indexed_block(Form::Int, 2, &at, int)),
    ]
}

fn pack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pack");
    group.throughput(Throughput::Bytes(BYTES as u64));
    for (name, of, count) in cases() {
        of.commit();
        let span = of.extent() as usize * count;
        let mut memory = vec![1_u8; span];
        let mut packed = vec![0_u8; BYTES];
        let payload = of.payload(memory.as_mut_ptr(), count as i64);
        assert_eq!(payload.bytes(), BYTES, "{name}");
        group.bench_function(BenchmarkId::new("pack", name), |bench| {
            // SAFETY: the payload lies in `memory`, which lives and nobody else uses.
            bench.iter(|| unsafe { payload.pack(0, black_box(&mut packed)) });
        });
        group.bench_function(BenchmarkId::new("unpack", name), |bench| {
            // SAFETY: as above.
            bench.iter(|| unsafe { payload.unpack(0, black_box(&packed)) });
        });
        drop(payload);
        black_box(&memory);
    }
    let (mut from, mut to) = (vec![1_u8; BYTES], vec![0_u8; BYTES]);
    let whole = Payload::Contiguous { base: from.as_mut_ptr(), bytes: BYTES };
    group.bench_function("copy without a type", |bench| {
        // SAFETY: as above, in `from`.
        bench.iter(|| unsafe { whole.pack(0, black_box(&mut to)) });
    });
    group.finish();
}

criterion_group!(benches, pack);
criterion_main!(benches);

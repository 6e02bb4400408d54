// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The header codec alone: what turning a header into bytes and back adds to a message.
//!
//! Not here: the frames of TCP around it, and any copy of a body.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use strait_transport::wire::codec::{decode, encode};
use strait_transport::wire::header::{Header, MessageKind};

fn header() -> Header {
    Header {
        kind: MessageKind::Eager as u8,
        body: 96,
        context: 1,
        source: 2,
        tag: 3,
        token: 4,
        ..Header::default()
    }
}

fn codec(criterion: &mut Criterion) {
    let header = header();
    let bytes = encode(&header);
    assert_eq!(decode(&bytes).expect("it makes sense").tag, header.tag);
    criterion.bench_function("header to bytes", |bench| {
        bench.iter(|| encode(black_box(&header)));
    });
    criterion.bench_function("bytes to header", |bench| {
        bench.iter(|| decode(black_box(&bytes)).is_ok());
    });
    let mut senseless = bytes;
    senseless[0] = 0xff;
    criterion.bench_function("bytes that make no sense", |bench| {
        bench.iter(|| decode(black_box(&senseless)).is_err());
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);

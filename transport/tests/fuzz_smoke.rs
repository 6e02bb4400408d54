// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fuzz targets' entry functions, fed with seeded noise and with mutated good inputs for a few
//! seconds: what needs neither nightly nor cargo-fuzz. `STRAIT_FUZZ_SEED` repeats or varies a run,
//! `STRAIT_FUZZ_ROUNDS` lengthens it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use strait_transport::fuzzing;
use strait_transport::lane::tcp::frame::Control;
use strait_transport::wire::codec;
use strait_transport::wire::header::Header;

struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, bound: usize) -> usize {
        self.draw() as usize % bound.max(1)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.draw() as u8).collect()
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Feeds `fuzz_one`; a failure prints the line that repeats it.
fn feed(make: impl Fn(&mut Random) -> Vec<u8>, rounds: u64, fuzz_one: fn(&[u8])) {
    let seed = number("STRAIT_FUZZ_SEED", 1);
    for round in 0..number("STRAIT_FUZZ_ROUNDS", rounds) {
        let mut random = Random((seed << 32 ^ round).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let data = make(&mut random);
        if catch_unwind(AssertUnwindSafe(|| fuzz_one(&data))).is_err() {
            panic!("STRAIT_FUZZ_SEED={seed}, round {round}, input {data:02x?}");
        }
    }
}

/// Some frames as a sender would write them.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut bytes = random.bytes(16);
    for _ in 0..random.below(12) {
        if random.below(6) == 0 {
            let controls = [Control::Welcome, Control::Decline, Control::Goodbye];
            bytes.extend(controls[random.below(3)].encode());
            continue;
        }
        let limit = [4, 40, 400, 3000][random.below(4)];
        let body = random.below(limit);
        let header = Header {
            kind: random.below(11) as u8 + 1,
            flags: random.draw() as u8,
            reserved: 0,
            body: body as u32,
            context: random.draw() as u32,
            source: random.draw() as u32,
            tag: random.draw() as u32,
            extra: random.draw() as u32,
            token: random.draw(),
        };
        bytes.extend(codec::encode(&header));
        bytes.extend(random.bytes(body));
    }
    bytes
}

/// Flips, cuts, doubles, removes, or nothing.
fn mutate(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(64)).min(bytes.len());
        match random.below(5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            _ => {
                let noise = random.bytes(end - at);
                bytes[at..end].copy_from_slice(&noise);
            }
        }
    }
    bytes
}

fn noise(random: &mut Random) -> Vec<u8> {
    let count = random.below(300);
    random.bytes(count)
}

#[test]
fn frames() {
    feed(noise, 20_000, fuzzing::frame);
    feed(stream, 2_000, fuzzing::frame);
    feed(
        |random| {
            let bytes = stream(random);
            mutate(random, bytes)
        },
        20_000,
        fuzzing::frame,
    );
}

#[test]
fn headers() {
    feed(noise, 20_000, fuzzing::header);
    feed(
        |random| {
            let bytes = stream(random);
            mutate(random, bytes)
        },
        20_000,
        fuzzing::header,
    );
}

#[test]
fn handshakes() {
    feed(noise, 4_000, fuzzing::handshake);
    // Few and small changes, among them none and such that undo each other.
    feed(
        |random| (0..random.below(6)).map(|_| random.below(3) as u8).collect(),
        4_000,
        fuzzing::handshake,
    );
    feed(
        |random| {
            let mut hello = b"STRAITc\n".to_vec();
            hello.extend(random.bytes(72));
            hello
        },
        4_000,
        fuzzing::handshake,
    );
}

/// What a fuzzer that watches comparisons found: a whole hello with its right tag.
#[test]
fn a_hello_with_a_guessed_tag_is_sound() {
    let hex = "535452414954630a010000000600000001000000010000000300000000000000\
               08080808080808080808080808080808b291fa154eae822c7c10b81a7558a8c9";
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    assert_eq!(bytes.len(), 64);
    fuzzing::handshake(&bytes);
}

/// The checks can fail: a function that panics is reported with its input.
#[test]
#[should_panic(expected = "round 0, input")]
fn a_failure_is_reported() {
    feed(|random| random.bytes(3), 1, |_| panic!("found"));
}

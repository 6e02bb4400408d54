// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every lane must do that reaches exposed memory of peers: every byte of random writes and
//! reads against a model, by an origin whose target only polls.

use crate::suite::World;
use std::time::{Duration, Instant};
use strait_transport::envelope::Peer;
use strait_transport::error::Error;
use strait_transport::lane::remote::{Access, RemoteMemory, Way};
use strait_transport::lane::{Get, Inbox, Lane};
use strait_transport::wire::header::Header;

const BYTES: usize = 1 << 20;

#[derive(Default)]
struct Ends(Vec<(u64, Get)>);

impl Inbox for Ends {
    fn message(&mut self, _from: Peer, _header: &Header, _body: &[u8]) {}
    fn lost(&mut self, peer: Peer, error: Error) {
        panic!("{} is lost: {error}", peer.0);
    }
    fn fetched(&mut self, token: u64, end: Get) {
        self.0.push((token, end));
    }
}

struct Bench<W> {
    world: W,
    ends: [Ends; 2],
}

impl<W: World> Bench<W> {
    fn new() -> Bench<W> {
        Bench { world: W::new(2), ends: [Ends::default(), Ends::default()] }
    }

    /// Peer 1 enters memory of peer 0. The first look for an address may come to nothing.
    fn enter(&mut self, name: &[u8]) -> u64
    where
        W::Lane: RemoteMemory,
    {
        let start = Instant::now();
        loop {
            let origin = self.world.lane(1).expect("alive");
            if let Some(memory) = origin.enter_memory(Peer(0), name) {
                return memory;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "it cannot be entered");
            self.progress();
        }
    }

    fn progress(&mut self) {
        for peer in 0..2 {
            let lane = self.world.lane(peer).expect("alive");
            lane.poll(&mut self.ends[peer as usize], 64);
        }
    }

    /// Waits until the origin, which is peer 1, hears of these tokens.
    fn until_done(&mut self, mut tokens: Vec<u64>) {
        let start = Instant::now();
        while !tokens.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "{} are not over", tokens.len());
            self.progress();
            for (token, end) in self.ends[1].0.drain(..) {
                assert!(matches!(end, Get::Done), "{token}: {end:?}");
                let at = tokens.iter().position(|of| *of == token).expect("said once");
                tokens.swap_remove(at);
            }
        }
    }
}

/// A simple generator: each run is the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % end
    }
}

pub fn exposed_memory_is_written_and_read<W: World>()
where
    W::Lane: RemoteMemory,
{
    let mut bench = Bench::<W>::new();
    let mut there = vec![0_u8; BYTES];
    let mut wanted = there.clone();
    let mut here: Vec<u8> = (0..BYTES).map(|at| (at * 7 + at / 253) as u8).collect();
    let mut back = vec![0_u8; BYTES];
    let target = bench.world.lane(0).expect("alive");
    // SAFETY: `there` stays until it is concealed, and is looked at while nothing is under way.
    let exposed = unsafe { target.expose(there.as_mut_ptr(), BYTES) }.expect("exposed");
    let memory = bench.enter(&exposed.name);
    let mut random = Random(42);
    let mut token = 1_u64;
    for round in 0..40 {
        let way = if round % 2 == 0 { Way::Write } else { Way::Read };
        let longest = [64, 5000, 100_000][round % 3];
        let mut tokens = Vec::new();
        let mut ranges = Vec::new();
        // Ranges of a round do not overlap: accesses are in no order.
        let mut at = random.below(1000);
        while at < BYTES && ranges.len() < 100 {
            let bytes = (1 + random.below(longest)).min(BYTES - at);
            ranges.push((at, bytes));
            at += bytes + random.below(3000);
        }
        for &(offset, bytes) in &ranges {
            let from = random.below(BYTES - bytes + 1);
            let local = match way {
                Way::Write => here[from..].as_mut_ptr(),
                Way::Read => back[offset..].as_mut_ptr(),
            };
            if way == Way::Write {
                wanted[offset..offset + bytes].copy_from_slice(&here[from..from + bytes]);
            }
            token += 1;
            let access = Access { memory, offset: offset as u64, local, bytes, way };
            let origin = bench.world.lane(1).expect("alive");
            // SAFETY: the vectors stay, and are not changed before the end was heard.
            match unsafe { origin.access(Peer(0), access, token) } {
                Get::Done => {}
                Get::Begun => tokens.push(token),
                end => panic!("{end:?}"),
            }
        }
        token += 1;
        match bench.world.lane(1).expect("alive").confirm(Peer(0), token) {
            Get::Done => {}
            Get::Begun => tokens.push(token),
            end => panic!("{end:?}"),
        }
        bench.until_done(tokens);
        assert!(there == wanted, "round {round}: confirmed writes are there, and nothing else");
        if way == Way::Read {
            for (offset, bytes) in ranges {
                let range = offset..offset + bytes;
                assert!(back[range.clone()] == there[range], "round {round}: {bytes} at {offset}");
            }
        }
        here.rotate_left(1);
    }
    bench.world.lane(1).expect("alive").leave_memory(memory);
    bench.world.lane(0).expect("alive").conceal(exposed.number);
}

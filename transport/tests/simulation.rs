// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Seeded simulations: N workers in one thread on a network that delays, fills, stalls and dies.
//!
//! A seed decides everything. A failure prints one line that replays it; `STRAIT_SIM_SEED=n` runs
//! that seed alone, `STRAIT_SIM_COUNT=n` runs more than the normal number.

#[path = "simulation/check.rs"]
mod check;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use strait_transport::worker::Worker;
use world::World;

const SEEDS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// Returns of how many messages both sides copied a part, and how many offers were accepted.
fn run(test: &str, seed: u64, deaths: bool) -> [u64; 2] {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, deaths);
        world.act();
        world.drain();
        check::order(&world);
        check::balance(&mut world);
        let counters = || world.workers.iter().flatten().map(Worker::counters);
        [counters().map(|all| all.shared).sum(), counters().map(|all| all.offers_accepted).sum()]
    }));
    outcome.unwrap_or_else(|panic| {
        eprintln!("replay: STRAIT_SIM_SEED={seed} cargo test -p strait-transport {test}");
        resume_unwind(panic);
    })
}

fn run_all(test: &str, deaths: bool) {
    if let Some(seed) = number("STRAIT_SIM_SEED") {
        run(test, seed, deaths);
        return;
    }
    let count = number("STRAIT_SIM_COUNT").unwrap_or(SEEDS);
    let (mut shared, mut accepted) = (0, 0);
    for seed in 0..count {
        let [seed_shared, seed_accepted] = run(test, seed, deaths);
        shared += seed_shared;
        accepted += seed_accepted;
    }
    assert!(shared > 0 || count < SEEDS, "some message was copied by both sides");
    assert!(accepted > 0 || count < SEEDS, "some offered receive was accepted");
    println!("{shared} shared, {accepted} accepted");
}

#[test]
fn simulation_without_deaths() {
    run_all("simulation_without_deaths", false);
}

#[test]
fn simulation_with_deaths() {
    run_all("simulation_with_deaths", true);
}

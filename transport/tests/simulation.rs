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
use world::World;

const SEEDS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a seed is a number"))
}

/// Returns of how many messages both sides copied a part.
fn run(test: &str, seed: u64, deaths: bool) -> u64 {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, deaths);
        world.act();
        world.drain();
        check::order(&world);
        check::balance(&mut world);
        world.workers.iter().flatten().map(|worker| worker.counters().shared).sum()
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
    let shared: u64 = (0..count).map(|seed| run(test, seed, deaths)).sum();
    assert!(shared > 0 || count < SEEDS, "some message was copied by both sides");
}

#[test]
fn simulation_without_deaths() {
    run_all("simulation_without_deaths", false);
}

#[test]
fn simulation_with_deaths() {
    run_all("simulation_with_deaths", true);
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The three modes against closed forms, against each other, and against the executor.

use super::*;
use crate::algorithm::{ALL, Algorithm, by_name};

fn quiet() -> Model {
    let way = Way {
        latency_us: 1.0,
        rate: 1000.0,
        overhead_us: 0.0,
        eager_bytes: f64::INFINITY,
        handshake_us: 0.0,
    };
    Model {
        name: "quiet",
        origin: "a test",
        node: way,
        network: way,
        hop_us: 0.0,
        memory_rate: f64::INFINITY,
        adapter_gap_us: 0.0,
        reduce_rate: 4000.0,
        copy_rate: f64::INFINITY,
        cell_us: 0.0,
    }
}

fn nothing(_: u64, _: u64) {}

fn all_three(name: &str, kind: Kind, ranks: u32, bytes: f64) -> [f64; 3] {
    let (model, topology) = (quiet(), Topology::Flat { nodes: ranks });
    let job = Job::new(by_name(kind, name).unwrap(), ranks, &model, &topology, 1).unwrap();
    let structure = structural(&job, &mut nothing).unwrap();
    [
        analytic(&job, &[bytes]).unwrap()[0],
        structure.time_us(bytes),
        event(&job, bytes, Disturbance::default(), &mut nothing).unwrap().time_us,
    ]
}

fn close(found: [f64; 3], expected: f64) {
    let far = found.iter().any(|time| (time - expected).abs() > 1e-4 * expected);
    assert!(!far, "{found:?}, not {expected}");
}

/// a = 1 us, b = 1/1000 us per byte, g = 1/4000.
#[test]
fn all_modes_are_the_closed_forms_on_a_flat_network() {
    for q in 1..7 {
        let (p, n, steps) = (1u32 << q, 64_000.0, f64::from(q));
        let vector = n / 1000.0;
        let doubling = all_three("recursive_doubling", Kind::Allreduce, p, n);
        close(doubling, steps * (1.0 + vector + n / 4000.0));
        close(all_three("binomial", Kind::Bcast, p, n), steps * (1.0 + vector));
        close(all_three("dissemination", Kind::Barrier, p, n), steps);
        let part = f64::from(p - 1) / f64::from(p);
        let ring = 2.0 * f64::from(p - 1) + part * (2.0 * vector + n / 4000.0);
        close(all_three("ring", Kind::Allreduce, p, n), ring);
        close(all_three("ring", Kind::Allgather, p, n), f64::from(p - 1) * (1.0 + vector));
    }
}

/// The most ranks up to a number that an algorithm works for.
fn fitting(algorithm: &Algorithm, ranks: u32) -> u32 {
    (1..=ranks).rev().find(|ranks| algorithm.numbers.contain(*ranks)).unwrap()
}

#[test]
fn what_leaves_comes() {
    let model = Model::by_name("cluster").unwrap();
    for topology in ["flat:16", "fattree:4x2x2,taper=2", "dragonfly:4x2x2", "torus:4x4"] {
        let topology: Topology = topology.parse().unwrap();
        for algorithm in ALL.iter().filter(|algorithm| !algorithm.inter) {
            let job = Job::new(algorithm, fitting(algorithm, 61), model, &topology, 4).unwrap();
            let structure = structural(&job, &mut nothing).unwrap();
            let (loads, nodes) = (structure.loads(), topology.nodes() as usize);
            let (out, into) = (&loads[..nodes], &loads[nodes..2 * nodes]);
            let (out, into): (f64, f64) = (out.iter().sum(), into.iter().sum());
            let cost = algorithm.cost(&job.shape, job.parameters);
            let name = algorithm.name;
            assert_eq!(out, into, "{name}");
            assert_eq!(out + structure.node_blocks(), cost.blocks as f64, "{name}");
            assert_eq!(structure.counts().2, cost.messages, "{name}");
            let run = event(&job, 1e5, Disturbance::default(), &mut nothing).unwrap();
            assert_eq!(run.messages, cost.messages);
            assert!((run.sent_bytes - run.received_bytes).abs() <= 1e-6 * run.sent_bytes);
        }
    }
}

/// Over every cut of a network goes what the ranks on its two sides send each other.
#[test]
fn a_cut_carries_what_crosses_it() {
    let model = quiet();
    let topology: Topology = "fattree:4x4".parse().unwrap();
    let algorithm = by_name(Kind::Alltoall, "linear").unwrap();
    let job = Job::new(algorithm, 16, &model, &topology, 1).unwrap();
    let loads = structural(&job, &mut nothing).unwrap().loads();
    // Each leaf's 4 ranks have a block for each of the 12 others.
    assert_eq!(loads[32..], [48.0; 8]);
    let topology: Topology = "dragonfly:4x2x2,global=3,routing=minimal".parse().unwrap();
    let job = Job::new(algorithm, 16, &model, &topology, 1).unwrap();
    let loads = structural(&job, &mut nothing).unwrap().loads();
    let between = |one: usize, two: usize| loads[32 + 4 * 2 * 2 + one * 4 + two];
    for (one, two) in (0..4).flat_map(|one| (0..4).map(move |two| (one, two))) {
        assert_eq!(between(one, two), if one == two { 0.0 } else { 16.0 });
    }
    // A torus: the mean way of a ring of 4 is 1, and of its two directions the upward one takes
    // what is equally far.
    let topology: Topology = "torus:4x4".parse().unwrap();
    let job = Job::new(algorithm, 16, &model, &topology, 1).unwrap();
    let loads = structural(&job, &mut nothing).unwrap().loads();
    assert_eq!(loads[32..].iter().sum::<f64>(), 16.0 * 16.0 * 2.0);
    assert_eq!(loads[32..48], [4.0; 16]);
    assert_eq!(loads[48..64], [12.0; 16]);
}

#[test]
fn every_route_is_connected_and_as_long_as_it_says() {
    for text in ["fattree:3x2x2", "dragonfly:5x3x2", "torus:5x3x2"] {
        let topology: Topology = text.parse().unwrap();
        for (one, two) in (0..30).flat_map(|one| (0..30).map(move |two| (one, two))) {
            if one == two || one.max(two) >= topology.nodes() {
                continue;
            }
            let mut links = Vec::new();
            topology.route(one, two, |link| links.push(link));
            assert!(links.iter().all(|link| *link < topology.links()), "{text}");
            let own = links.len() as u32 - 2;
            let hops = topology.hops(one, two);
            let expected = if text.starts_with("torus") { hops } else { hops - 1 };
            assert_eq!(own, expected, "{text}: {one} to {two}");
            assert_eq!(hops, topology.hops(two, one), "{text}: {one} and {two}");
        }
    }
}

#[test]
fn descriptions_are_refused_with_a_reason() {
    for (text, reason) in [
        ("mesh:4x4", "no such kind"),
        ("fattree", "say its sizes"),
        ("fattree:4x0", "'0' is not a positive number"),
        ("dragonfly:4x4", "say groups"),
        ("dragonfly:4x4x4,routing=best", "minimal or adaptive"),
        ("torus:4x4,taper=2", "a torus has no 'taper'"),
        ("fattree:4x4,taper", "key=value"),
        ("fattree:4x4,taper=-1", "not a positive number"),
        ("torus:99999x99999", "more than 16777216 nodes"),
    ] {
        let refused = text.parse::<Topology>().unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    let (model, topology) = (quiet(), Topology::Flat { nodes: 3 });
    let algorithm = by_name(Kind::Barrier, "dissemination").unwrap();
    let failure = Job::new(algorithm, 16, &model, &topology, 4).map(drop).unwrap_err();
    assert_eq!(failure.to_string(), "16 ranks, 4 per node, need 4 nodes; the topology has 3");
}

#[test]
fn a_full_global_link_is_relieved_by_detours() {
    let algorithm = by_name(Kind::Allreduce, "recursive_doubling").unwrap();
    let model = quiet();
    let time = |text: &str| {
        let topology: Topology = text.parse().unwrap();
        let job = Job::new(algorithm, 128, &model, &topology, 1).unwrap();
        structural(&job, &mut nothing).unwrap().time_us(1e6)
    };
    let minimal = time("dragonfly:8x4x4,routing=minimal");
    let adaptive = time("dragonfly:8x4x4,routing=adaptive");
    assert!(adaptive < minimal, "{adaptive} {minimal}");
    let tapered = time("fattree:16x8,taper=4");
    assert!(time("fattree:16x8") < tapered);
}

#[test]
fn skew_and_noise_cost_time_and_repeat() {
    let model = Model::by_name("cluster").unwrap();
    let topology = Topology::Flat { nodes: 64 };
    let algorithm = by_name(Kind::Allreduce, "recursive_doubling").unwrap();
    let job = Job::new(algorithm, 64, model, &topology, 1).unwrap();
    let run = |disturbance| event(&job, 64.0, disturbance, &mut nothing).unwrap();
    let still = run(Disturbance::default());
    let noisy = Disturbance { noise_us: 1.0, seed: 7, ..Disturbance::default() };
    assert_eq!(run(noisy), run(noisy));
    assert!(run(noisy).time_us > still.time_us);
    let late = Disturbance { skew_us: 50.0, seed: 7, ..Disturbance::default() };
    assert!(run(late).mean_us > still.mean_us);
    assert!(run(late).unexpected_max > 0);
}

/// Ranks post every message once, and those between two ranks in list order: what matching needs.
#[test]
fn messages_are_posted_in_order() {
    let model = Model::by_name("cluster").unwrap();
    let topology = Topology::Flat { nodes: 16 };
    for algorithm in ALL.iter().filter(|algorithm| !algorithm.inter) {
        let job = Job::new(algorithm, fitting(algorithm, 13), model, &topology, 2).unwrap();
        for (rank, order) in event::orders(&job, 1e5).iter().enumerate() {
            let schedule = algorithm.schedule(&job.shape, job.parameters, rank as Rank).unwrap();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            let messages = (0..schedule.steps().len() as u32)
                .filter(|step| schedule.steps()[*step as usize].peer().is_some());
            assert!(sorted.into_iter().eq(messages));
            for (earlier, next) in schedule.links().next_message.iter().enumerate() {
                let place = |step: u32| order.iter().position(|posted| *posted == step);
                if let Some(next) = next {
                    assert!(place(earlier as u32) < place(*next));
                }
            }
        }
    }
}

/// An outline has the steps of the schedule, and a walk finds chains as long as the verifier.
#[test]
fn outlines_are_the_schedules() {
    let (model, topology) = (quiet(), Topology::Flat { nodes: 23 });
    for algorithm in ALL.iter().filter(|algorithm| !algorithm.inter) {
        let fits = |ranks: &u32| algorithm.numbers.contain(*ranks);
        for ranks in [1, 2, 5, 8, 12, 23].into_iter().filter(fits) {
            let job = Job::new(algorithm, ranks, &model, &topology, 1).unwrap();
            for rank in 0..ranks {
                let full = algorithm.schedule(&job.shape, job.parameters, rank).unwrap();
                let outline = algorithm.outline(&job.shape, job.parameters, rank).unwrap();
                assert_eq!(outline.steps, full.steps());
            }
            let structure = structural(&job, &mut nothing).unwrap();
            let rounds = algorithm.cost(&job.shape, job.parameters).rounds;
            assert_eq!(structure.counts().1, rounds, "{} {ranks}", algorithm.name);
        }
    }
}

#[test]
fn a_hundred_thousand_ranks() {
    let model = Model::by_name("cluster").unwrap();
    let topology = Topology::sized("dragonfly", 100_000 / 32).unwrap();
    let algorithm = by_name(Kind::Allreduce, "recursive_doubling").unwrap();
    let job = Job::new(algorithm, 100_000, model, &topology, 32).unwrap();
    let structure = structural(&job, &mut nothing).unwrap();
    let (_, chain, messages, _) = structure.counts();
    let cost = algorithm.cost(&job.shape, job.parameters);
    assert_eq!((chain, messages), (cost.rounds, cost.messages));
    assert!(structure.time_us(8.0) < structure.time_us(1e6));
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every algorithm of the registry, for every number of ranks up to 17, every root and several
//! parameters: verified, and its cost found equal to its formula. Between groups: every pair of
//! sizes up to 6.

mod around;

use strait_collectives::algorithm::{ALL, Algorithm, Cut, Parameters};
use strait_collectives::kind::Kind;
use strait_collectives::schedule::parse;
use strait_collectives::shape::Shape;
use strait_collectives::verify::verify;

const RANKS_MAX: u32 = 17;
/// For the test that is too long for every day.
const MANY_RANKS_MAX: u32 = 64;

fn base_shapes(algorithm: &Algorithm) -> Vec<Shape> {
    let kind = algorithm.kind;
    if algorithm.inter {
        let sizes = (1..=6).flat_map(|one| (1..=6).map(move |two| (one, two)));
        return sizes.map(|(one, two)| Shape::between(kind, one, two)).collect();
    }
    let plain = (1..=RANKS_MAX).map(|ranks| Shape::new(kind, ranks));
    if kind.has_neighbors() {
        return plain
            .flat_map(|s| around::all(s.ranks).map(move |n| s.clone().around(n)))
            .collect();
    }
    plain.collect()
}

fn shapes(algorithm: &Algorithm) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for base in base_shapes(algorithm) {
        let roots = if algorithm.kind.is_rooted() { base.ranks } else { 1 };
        let cuts = match algorithm.cut {
            Cut::PerRank => vec![base.ranks],
            Cut::Segments => vec![1, 2, 5],
            Cut::Exactly(blocks) => vec![blocks],
            Cut::Whole if algorithm.kind.is_partitioned() => vec![1, 3],
            Cut::Whole => vec![1],
        };
        for root in 0..roots {
            for &cut in &cuts {
                let plain = base.clone().root(root).cut(cut);
                shapes.push(plain.clone());
                shapes.push(plain.clone().irregular());
                shapes.push(plain.clone().in_place());
                shapes.push(plain.irregular().in_place());
            }
        }
    }
    shapes.retain(|shape| algorithm.misfit(shape).is_none() && shape.check().is_ok());
    shapes
}

fn parameters() -> Vec<Parameters> {
    let plain = Parameters::default();
    vec![
        plain,
        Parameters { window: 1, ..plain },
        Parameters { window: 3, radix: 3, ..plain },
        Parameters { radix: 4, ..plain },
    ]
}

#[test]
fn every_algorithm_is_right_and_costs_what_it_says() {
    for algorithm in ALL {
        let shapes = shapes(algorithm);
        assert!(!shapes.is_empty());
        for shape in shapes {
            for parameters in parameters() {
                let name = format!("{} {shape:?} {parameters:?}", algorithm.name);
                let schedules: Vec<_> = (0..shape.ranks)
                    .map(|rank| {
                        let built = algorithm.schedule(&shape, parameters, rank);
                        built.unwrap_or_else(|refused| panic!("{name}: rank {rank}: {refused}"))
                    })
                    .collect();
                let found = verify(&schedules, algorithm.ordered)
                    .unwrap_or_else(|flaw| panic!("{name}: {flaw}"));
                let mut cost = algorithm.cost(&shape, parameters);
                if shape.in_place && found.rounds == cost.rounds + 1 {
                    cost.rounds += 1; // A receive waited for a reader of the input.
                }
                assert_eq!(found, cost, "{name}");
            }
        }
    }
}

/// Every number of ranks to 64 and every root, with the parameters that calls use:
/// `cargo test --release -p strait-collectives -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn every_algorithm_is_right_for_many_ranks() {
    for algorithm in ALL.iter().filter(|one| !one.inter && !one.kind.has_neighbors()) {
        let fits = |ranks: &u32| algorithm.numbers.contain(*ranks);
        for ranks in (RANKS_MAX + 1..=MANY_RANKS_MAX).filter(fits) {
            let roots = if algorithm.kind.is_rooted() { ranks } else { 1 };
            for root in 0..roots {
                let parameters = Parameters { segments: 3, ..Parameters::default() };
                let shape = Shape::new(algorithm.kind, ranks).root(root);
                let shape = algorithm.cut(&shape, parameters);
                let name = format!("{} {shape:?}", algorithm.name);
                let schedules: Vec<_> = (0..ranks)
                    .map(|rank| algorithm.schedule(&shape, parameters, rank).unwrap())
                    .collect();
                let found = verify(&schedules, algorithm.ordered);
                let found = found.unwrap_or_else(|flaw| panic!("{name}: {flaw}"));
                assert_eq!(found, algorithm.cost(&shape, parameters), "{name}");
            }
        }
    }
}

#[test]
fn every_schedule_survives_its_text() {
    for algorithm in ALL {
        let small = shapes(algorithm).into_iter().filter(|shape| [1, 5, 6].contains(&shape.ranks));
        for shape in small {
            for rank in 0..shape.ranks {
                let schedule = algorithm.schedule(&shape, Parameters::default(), rank).unwrap();
                assert_eq!(parse(&schedule.to_string()).as_ref(), Ok(&schedule));
            }
        }
    }
}

#[test]
fn every_call_finds_an_algorithm() {
    for kind in Kind::ALL {
        for ordered in [false, true] {
            let fits = |inter: bool| {
                ALL.iter().any(|a| {
                    a.kind == kind && a.inter == inter && a.irregular && (a.ordered || !ordered)
                })
            };
            assert!(fits(false), "{kind:?}");
            assert!(fits(true) || !kind.joins_groups(), "{kind:?} between groups");
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The table: ordered rules, the first that fits serves. All ranks of a call must come to the same
//! answer, so a rule may only look at what all ranks know: never at the counts of an irregular
//! gather, scatter or alltoall.
//!
//! The thresholds are first guesses from the formulas (a ring pays from about ten times the latency
//! bandwidth product on); measurements will replace them.
#![forbid(unsafe_code)]

use crate::algorithm::{Algorithm, Cut, Parameters, by_name};
use crate::kind::Kind;
use crate::shape::Shape;
use std::fmt::Write;

/// A chosen algorithm with its parameters, and the shape with the cut that it wants.
#[derive(Clone)]
pub struct Plan {
    /// The algorithm.
    pub algorithm: &'static Algorithm,
    /// Its parameters.
    pub parameters: Parameters,
    /// The shape to build for.
    pub shape: Shape,
}

/// One row: if all conditions hold, this algorithm.
pub struct Rule {
    /// For which collective.
    pub kind: Kind,
    /// From how many ranks on.
    pub ranks_min: u32,
    /// From how many bytes on (of the whole vector, or of one rank's block).
    pub bytes_min: usize,
    /// Up to how many bytes.
    pub bytes_max: usize,
    /// The name in the registry. An algorithm that does not fit the call is passed over.
    pub algorithm: &'static str,
}

const KIB: usize = 1 << 10;
const ALL: usize = usize::MAX;

const fn rule(kind: Kind, ranks_min: u32, bytes: [usize; 2], algorithm: &'static str) -> Rule {
    Rule { kind, ranks_min, bytes_min: bytes[0], bytes_max: bytes[1], algorithm }
}

/// The rules within one group. Between groups each kind has one algorithm.
pub static RULES: &[Rule] = &[
    rule(Kind::Barrier, 1, [0, ALL], "dissemination"),
    rule(Kind::Bcast, 1, [0, ALL], "binomial"),
    rule(Kind::Gather, 3, [0, 8 * KIB], "binomial"),
    rule(Kind::Gather, 1, [0, ALL], "linear"),
    rule(Kind::Scatter, 3, [0, 8 * KIB], "binomial"),
    rule(Kind::Scatter, 1, [0, ALL], "linear"),
    rule(Kind::Allgather, 3, [0, 4 * KIB], "bruck"),
    rule(Kind::Allgather, 1, [0, ALL], "ring"),
    rule(Kind::Alltoall, 1, [0, ALL], "linear"),
    rule(Kind::Reduce, 1, [0, ALL], "binomial"),
    rule(Kind::Reduce, 1, [0, ALL], "binomial_ordered"),
    rule(Kind::Allreduce, 3, [64 * KIB, ALL], "ring"),
    rule(Kind::Allreduce, 1, [0, ALL], "recursive_doubling"),
    rule(Kind::ReduceScatter, 3, [0, 2 * KIB], "binomial_ordered"),
    rule(Kind::ReduceScatter, 1, [0, ALL], "pairwise"),
    rule(Kind::ReduceScatter, 1, [0, ALL], "pairwise_ordered"),
    rule(Kind::Scan, 1, [0, ALL], "recursive_doubling"),
    rule(Kind::Exscan, 1, [0, ALL], "recursive_doubling"),
    rule(Kind::NeighborAllgather, 1, [0, ALL], "combined"),
    rule(Kind::NeighborAlltoall, 1, [0, ALL], "direct"),
];

/// The plan for a call. `bytes`: what all ranks know of its size (0 where they do not): the whole
/// vector, or one rank's block. `commutes`: operands may change places.
///
/// The plan's shape is not in place if the algorithm cannot be: then the caller copies the input.
pub fn choose(shape: &Shape, bytes: usize, commutes: bool) -> Plan {
    let rules = RULES.iter().filter(|rule| {
        rule.kind == shape.kind
            && shape.ranks >= rule.ranks_min
            && (rule.bytes_min..=rule.bytes_max).contains(&bytes)
    });
    let names = rules.map(|rule| rule.algorithm).chain(["between"]);
    let fits = |algorithm: &&Algorithm| {
        let wanted = wanted(shape, algorithm);
        (commutes || algorithm.ordered || !shape.kind.reduces())
            && algorithm.misfit(&wanted).is_none()
    };
    let algorithm = names
        .filter_map(|name| by_name(shape.kind, name))
        .find(fits)
        .expect("a test shows that every call finds an algorithm");
    let shape = wanted(shape, algorithm);
    Plan { algorithm, parameters: Parameters::default(), shape }
}

/// The shape as the algorithm would be built for.
fn wanted(shape: &Shape, algorithm: &Algorithm) -> Shape {
    let blocks = match algorithm.cut {
        Cut::PerRank if shape.kind.is_partitioned() => shape.ranks,
        _ => 1,
    };
    Shape { blocks, in_place: shape.in_place && algorithm.in_place, ..shape.clone() }
}

/// The table as text.
pub fn describe() -> String {
    let mut text = String::from("collective      ranks       bytes  algorithm\n");
    for rule in RULES {
        let bytes = match (rule.bytes_min, rule.bytes_max) {
            (0, ALL) => "any".to_string(),
            (least, ALL) => format!(">= {least}"),
            (_, most) => format!("<= {most}"),
        };
        let row = (rule.kind.name(), rule.ranks_min, bytes, rule.algorithm);
        writeln!(text, "{:<14} >= {:<5} {:>9}  {}", row.0, row.1, row.2, row.3)
            .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_plan() {
        for kind in Kind::ALL {
            for ranks in 1..10 {
                let intra = Shape::new(kind, ranks);
                let mut shapes = vec![intra.clone(), intra.clone().irregular(), intra.in_place()];
                shapes.retain(|shape| !kind.has_neighbors() || !shape.in_place);
                if kind.joins_groups() {
                    shapes.push(Shape::between(kind, ranks, 3));
                    shapes.push(Shape::between(kind, ranks, 3).irregular());
                }
                for shape in shapes {
                    for bytes in [0, 1, 5000, 1 << 20] {
                        for commutes in [false, true] {
                            let plan = choose(&shape, bytes, commutes);
                            assert_eq!(plan.algorithm.misfit(&plan.shape), None);
                        }
                    }
                }
            }
        }
    }

    /// Only the root of a gather, scatter or reduction may know that the call is in place.
    #[test]
    fn the_choice_does_not_depend_on_in_place() {
        for kind in [Kind::Gather, Kind::Scatter, Kind::Reduce] {
            for bytes in [0, 5000, 1 << 20] {
                for commutes in [false, true] {
                    let name = |shape: Shape| choose(&shape, bytes, commutes).algorithm.name;
                    let shape = Shape::new(kind, 5).root(3);
                    assert_eq!(name(shape.clone()), name(shape.clone().in_place()));
                    let shape = shape.irregular();
                    assert_eq!(name(shape.clone()), name(shape.in_place()));
                }
            }
        }
    }

    #[test]
    fn every_rule_names_an_algorithm_and_prints() {
        for rule in RULES {
            let found = by_name(rule.kind, rule.algorithm);
            assert!(found.is_some(), "{}", rule.algorithm);
            assert!(describe().contains(rule.algorithm));
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Measured points of others: medians from the public PICO result files, one rank per node. They
//! judge the model; nothing is fitted to them and no table is made from them.
//!
//! Each is the best algorithm that was measured there, so it is compared with the best one that
//! the model knows. Since the points name no algorithm, the error includes that of the choice.
#![forbid(unsafe_code)]

use super::tables::{Place, Predictions};
use strait_collectives::kind::Kind;
use strait_collectives::simulate::{Model, Topology};

struct System {
    machine: &'static str,
    topology: &'static str,
    ranks: u32,
    kind: Kind,
    /// Bytes (of an allgather or reduce_scatter: of all ranks together) and microseconds.
    points: &'static [(u64, f64)],
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const SYSTEMS: &[System] = &[
    System {
        machine: "leonardo",
        topology: "dragonfly",
        ranks: 2048,
        kind: Kind::Allreduce,
        points: &[
            (32, 27.7),
            (256, 30.4),
            (2 * KIB, 40.5),
            (16 * KIB, 57.2),
            (128 * KIB, 114.0),
            (MIB, 720.0),
            (8 * MIB, 3687.0),
            (64 * MIB, 36_300.0),
            (512 * MIB, 292_000.0),
        ],
    },
    System {
        machine: "leonardo",
        topology: "dragonfly",
        ranks: 2048,
        kind: Kind::Allgather,
        points: &[
            (16 * KIB, 36.0),
            (MIB, 154.0),
            (8 * MIB, 994.0),
            (64 * MIB, 9_700.0),
            (512 * MIB, 47_700.0),
        ],
    },
    System {
        machine: "lumi",
        topology: "dragonfly",
        ranks: 1000,
        kind: Kind::Allgather,
        points: &[
            (16 * KIB, 56.9),
            (128 * KIB, 92.6),
            (MIB, 240.0),
            (8 * MIB, 1240.0),
            (512 * MIB, 66_900.0),
        ],
    },
    System {
        machine: "lumi",
        topology: "dragonfly",
        ranks: 1000,
        kind: Kind::ReduceScatter,
        points: &[(MIB, 608.0), (8 * MIB, 3818.0), (512 * MIB, 139_000.0)],
    },
    System {
        machine: "fugaku",
        topology: "torus:64x64",
        ranks: 4096,
        kind: Kind::Allreduce,
        points: &[
            (32, 44.8),
            (256, 54.9),
            (2 * KIB, 67.6),
            (16 * KIB, 147.0),
            (128 * KIB, 296.0),
            (MIB, 646.0),
            (8 * MIB, 2043.0),
            (512 * MIB, 65_000.0),
        ],
    },
];

/// The errors of the model.
pub struct Validation {
    /// Predicted over measured.
    pub ratios: Vec<(&'static str, Kind, u64, f64)>,
}

/// Predicts all points.
pub fn validation() -> Result<Validation, String> {
    let mut ratios = Vec::new();
    for system in SYSTEMS {
        let model = Model::by_name(system.machine).ok_or("a machine is gone")?;
        let topology = match Topology::sized(system.topology, system.ranks) {
            Some(topology) => topology,
            None => system.topology.parse().map_err(|bad| format!("{bad}"))?,
        };
        let place = Place { model, topology: &topology, ranks: system.ranks, ranks_per_node: 1 };
        let per_rank = !matches!(system.kind, Kind::Allreduce);
        let share = if per_rank { u64::from(system.ranks) } else { 1 };
        let sizes: Vec<u64> = system.points.iter().map(|(bytes, _)| bytes / share).collect();
        let predictions = Predictions::of(system.kind, &place, &sizes)?;
        for (index, (bytes, measured)) in system.points.iter().enumerate() {
            let (_, predicted) = predictions.best(index).ok_or("no prediction")?;
            ratios.push((system.machine, system.kind, *bytes, predicted / measured));
        }
    }
    Ok(Validation { ratios })
}

impl Validation {
    /// The middle of the absolute relative errors.
    pub fn median_error(&self) -> f64 {
        let mut errors: Vec<f64> =
            self.ratios.iter().map(|(.., ratio)| (ratio - 1.0).abs()).collect();
        errors.sort_by(f64::total_cmp);
        errors.get(errors.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// In a sentence.
    pub fn sentence(&self) -> String {
        let least = self.ratios.iter().map(|(.., ratio)| *ratio).fold(f64::INFINITY, f64::min);
        let most = self.ratios.iter().map(|(.., ratio)| *ratio).fold(0.0, f64::max);
        format!(
            "the model on {} published points it was not fitted to: median error {:.0} %, \
             predicted over measured from {least:.2} to {most:.2}",
            self.ratios.len(),
            100.0 * self.median_error()
        )
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What other libraries choose by default, and the formulas of known algorithms, for those that
//! Strait has not.
//!
//! The choices are those of MPICH's generic table. Open MPI's fixed tables are averages over
//! clusters that nobody published as rules; they are not here.
#![forbid(unsafe_code)]

use super::tables::Place;
use strait_collectives::kind::Kind;

/// A known algorithm: its time is `rounds x latency + moved / rate + reduced / reduce rate`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Formula {
    pub name: &'static str,
    rounds: f64,
    /// Units that the busiest rank moves and combines: vectors, or blocks.
    moved: f64,
    reduced: f64,
    /// Whether all messages go to the next rank.
    is_near: bool,
}

/// The known algorithms of a kind for so many ranks.
pub fn formulas(kind: Kind, ranks: u32) -> Vec<Formula> {
    let p = f64::from(ranks);
    let (q, others) = (p.log2().ceil(), p - 1.0);
    let part = others / p;
    let far =
        |name, rounds, moved, reduced| Formula { name, rounds, moved, reduced, is_near: false };
    let near =
        |name, rounds, moved, reduced| Formula { name, rounds, moved, reduced, is_near: true };
    match kind {
        Kind::Barrier => vec![far("dissemination", q, 0.0, 0.0)],
        Kind::Bcast => vec![
            far("binomial", q, q, 0.0),
            far("scatter_doubling", 2.0 * q, 2.0 * part, 0.0),
            near("scatter_ring", q + others, 2.0 * part, 0.0),
        ],
        Kind::Reduce => {
            vec![far("binomial", q, q, q), far("reduce_scatter_gather", 2.0 * q, 2.0 * part, part)]
        }
        Kind::Allreduce => vec![
            far("recursive_doubling", q, q, q),
            far("rabenseifner", 2.0 * q, 2.0 * part, part),
            near("ring", 2.0 * others, 2.0 * part, part),
        ],
        Kind::Allgather => vec![
            far("recursive_doubling", q, others, 0.0),
            far("bruck", q, others, 0.0),
            near("ring", others, others, 0.0),
        ],
        Kind::Alltoall => vec![
            far("bruck", q, q * p / 2.0, 0.0),
            far("scattered", (others / 32.0).ceil(), others, 0.0),
            far("pairwise", others, others, 0.0),
        ],
        Kind::ReduceScatter => vec![
            far("recursive_halving", q, others, others),
            far("pairwise", others, others, others),
        ],
        _ => Vec::new(),
    }
}

impl Formula {
    /// Its time for units of so many bytes.
    pub fn time_us(&self, place: &Place, unit: f64) -> f64 {
        let (model, per_node) = (place.model, f64::from(place.ranks_per_node));
        let ranks = f64::from(place.ranks);
        // The share of messages that leave the node, and how many ranks share the adapter then.
        let (leaving, sharing) = if self.is_near {
            (1.0 / per_node, 1.0)
        } else {
            (1.0 - per_node.log2() / ranks.log2().max(1.0), per_node)
        };
        let leaving = leaving.clamp(0.0, 1.0);
        let hops = place.mean_hops(self.is_near);
        let network = model.latency_us(false, 1) + (hops - 1.0).max(0.0) * model.hop_us;
        let message = self.moved * unit / self.rounds.max(1.0);
        let asks = |way: &strait_collectives::simulate::Way| {
            if message > way.eager_bytes { way.handshake_us } else { 0.0 }
        };
        let latency = leaving * (network + asks(&model.network))
            + (1.0 - leaving) * (model.node.latency_us + asks(&model.node));
        let [inside, outside] = [1.0 / model.node.rate, sharing / model.network.rate];
        let slowness = if self.is_near && per_node > 1.0 {
            inside.max(outside)
        } else {
            leaving * outside + (1.0 - leaving) * inside
        };
        self.rounds * latency
            + self.moved * unit * slowness
            + self.reduced * unit / model.reduce_rate
    }
}

/// What MPICH's generic table chooses; `bytes` as in our table (a whole vector, or one block).
pub fn mpich(kind: Kind, ranks: u32, bytes: u64) -> Option<&'static str> {
    const KIB: u64 = 1 << 10;
    let (is_power, all) = (ranks.is_power_of_two(), bytes.saturating_mul(u64::from(ranks)));
    Some(match kind {
        Kind::Barrier => "dissemination",
        Kind::Bcast if bytes <= 12 * KIB => "binomial",
        Kind::Bcast if is_power && bytes <= 512 * KIB => "scatter_doubling",
        Kind::Bcast => "scatter_ring",
        Kind::Reduce if bytes <= 2 * KIB => "binomial",
        Kind::Reduce => "reduce_scatter_gather",
        // From as many elements as ranks on, of 8 bytes.
        Kind::Allreduce if bytes <= 8 || bytes / 8 < u64::from(ranks) => "recursive_doubling",
        Kind::Allreduce => "rabenseifner",
        Kind::Allgather if is_power && all < 512 * KIB => "recursive_doubling",
        Kind::Allgather if !is_power && all < 80 * KIB => "bruck",
        Kind::Allgather => "ring",
        Kind::Alltoall if bytes <= 256 => "bruck",
        Kind::Alltoall if bytes <= 32 * KIB => "scattered",
        Kind::Alltoall => "pairwise",
        Kind::ReduceScatter if all < 512 * KIB => "recursive_halving",
        Kind::ReduceScatter => "pairwise",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_of_the_peer_has_a_formula() {
        for kind in Kind::ALL {
            for ranks in [2, 3, 1000, 1 << 20] {
                for shift in 0..27 {
                    if let Some(name) = mpich(kind, ranks, 1 << shift) {
                        let found = formulas(kind, ranks).iter().any(|f| f.name == name);
                        assert!(found, "{kind:?} {name}");
                    }
                }
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our selection beside the best known algorithm and beside the peers' selection, by the analytic
//! model; the model's error on the published points stands beside the claim.
#![forbid(unsafe_code)]

use super::peers::{formulas, mpich};
use super::{aligned, published};
use crate::strait::bench::figures::{bytes as spoken, figure};
use std::collections::BTreeMap;
use strait_collectives::algorithm::ALL;
use strait_collectives::kind::Kind;
use strait_collectives::select::{Circumstances, Hosts, choose};
use strait_collectives::shape::Shape;
use strait_collectives::simulate::{Job, Model, Topology, analytic};

/// Where a call happens.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub model: &'a Model,
    pub topology: &'a Topology,
    pub ranks: u32,
    pub ranks_per_node: u32,
}

impl Place<'_> {
    /// Switches between nodes: of neighbours, or of nodes at all distances of powers of two.
    pub fn mean_hops(&self, is_near: bool) -> f64 {
        let nodes = self.ranks.div_ceil(self.ranks_per_node);
        let all = std::iter::successors(Some(1u32), |step| step.checked_mul(2));
        let steps = all.take_while(|step| *step < nodes && (!is_near || *step == 1));
        let hops: Vec<f64> = steps.map(|step| f64::from(self.topology.hops(0, step))).collect();
        hops.iter().sum::<f64>() / hops.len().max(1) as f64
    }
}

/// The name of what our table selects.
pub fn selected(kind: Kind, ranks: u32, bytes: u64) -> &'static str {
    let call = Circumstances { bytes: bytes as usize, commutes: true, hosts: Hosts::Several };
    choose(&Shape::new(kind, ranks), call).algorithm.name
}

/// The predicted times of one kind: of our algorithms, then of known ones that we have not.
pub struct Predictions {
    pub ours: BTreeMap<&'static str, Vec<f64>>,
    pub others: BTreeMap<&'static str, Vec<f64>>,
}

impl Predictions {
    /// For each size; of the whole vector, or of a block.
    pub fn of(kind: Kind, place: &Place, sizes: &[u64]) -> Result<Predictions, String> {
        let bytes: Vec<f64> = sizes.iter().map(|size| *size as f64).collect();
        let (mut ours, mut others) = (BTreeMap::new(), BTreeMap::new());
        for algorithm in ALL.iter().filter(|a| a.kind == kind && !a.inter) {
            if !algorithm.numbers.contain(place.ranks) {
                continue;
            }
            let Place { model, topology, ranks, ranks_per_node } = *place;
            let job = match Job::new(algorithm, ranks, model, topology, ranks_per_node) {
                Ok(job) => job,
                Err(failure) => return Err(failure.to_string()),
            };
            let times = analytic(&job, &bytes).map_err(|failure| failure.to_string())?;
            ours.insert(algorithm.name, times);
        }
        for formula in formulas(kind, place.ranks) {
            if !ours.contains_key(formula.name) {
                let times = bytes.iter().map(|unit| formula.time_us(place, *unit)).collect();
                others.insert(formula.name, times);
            }
        }
        Ok(Predictions { ours, others })
    }

    /// The time of an algorithm, ours or another.
    pub fn time_us(&self, name: &str, index: usize) -> Option<f64> {
        self.ours.get(name).or_else(|| self.others.get(name)).map(|times| times[index])
    }

    /// The fastest of all.
    pub fn best(&self, index: usize) -> Option<(&'static str, f64)> {
        let all = self.ours.iter().chain(&self.others);
        all.map(|(name, times)| (*name, times[index])).min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// The comparison as text.
pub fn report(kind: Kind, place: &Place, sizes: &[u64]) -> Result<String, String> {
    let predictions = Predictions::of(kind, place, sizes)?;
    let heads = ["# Size", "ours", "us", "best known", "us", "ratio", "MPICH", "us", "ratio"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let (mut within, mut slower, mut worst) = (0, 0, 1.0f64);
    for (index, &size) in sizes.iter().enumerate() {
        let ours = selected(kind, place.ranks, size);
        let time = predictions.time_us(ours, index).ok_or("our choice has no prediction")?;
        let (best, best_us) = predictions.best(index).ok_or("nothing to compare")?;
        let regret = time / best_us;
        worst = worst.max(regret);
        within += usize::from(regret <= 1.1);
        let mark = |name: &str| {
            let known = predictions.ours.contains_key(name);
            format!("{name}{}", if known { "" } else { "*" })
        };
        let mut row = vec![spoken(size), ours.into(), figure(time), mark(best), figure(best_us)];
        row.push(format!("{regret:.2}"));
        let peer = mpich(kind, place.ranks, size);
        match peer.and_then(|name| predictions.time_us(name, index).map(|time| (name, time))) {
            Some((name, peer_us)) => {
                let ratio = time / peer_us;
                slower += usize::from(ratio > 1.0 + 1e-9);
                row.extend([mark(name), figure(peer_us), format!("{ratio:.2}")]);
            }
            None => row.extend(["-", "-", "-"].map(str::to_owned)),
        }
        rows.push(row);
    }
    let mut text = aligned(&rows);
    text.push_str(&format!(
        "# selected within 1.1 of the best known at {within} of {} sizes, worst {worst:.2}; \
         slower than MPICH's table at {slower}\n\
         # * not built in Strait: by its closed formula\n# {}\n",
        sizes.len(),
        published::validation()?.sentence()
    ));
    Ok(text)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Neighbourhoods for tests.

use strait_collectives::neighbors::{Edges, Neighborhood};
use strait_transport::lane::sim::Random;

/// A random graph with loops, repeated edges, and ranks without any: about `degree` edges a rank.
pub fn graph(ranks: u32, degree: u32) -> Neighborhood {
    let mut random = Random::new(u64::from(ranks * 100 + degree));
    let mut draw = |below: u32| (random.draw() % u64::from(below)) as u32;
    let mut all = vec![Edges::default(); ranks as usize];
    for _ in 0..ranks * degree {
        let (source, target) = (draw(ranks), draw(ranks));
        for _ in 0..1 + draw(3) / 2 {
            all[source as usize].destinations.push(target);
            all[target as usize].sources.push(source);
        }
    }
    // Each receiver lists its edges in an order of its own.
    for edges in &mut all {
        let n = edges.sources.len() as u32;
        (1..n).for_each(|i| edges.sources.swap(i as usize, draw(i + 1) as usize));
    }
    Neighborhood::whole(all)
}

/// Every grid of up to three dimensions, wrapping and not, and some graphs.
#[allow(dead_code, reason = "not all test programs need it")]
pub fn all(ranks: u32) -> impl Iterator<Item = Neighborhood> {
    let mut all = vec![graph(ranks, 0), graph(ranks, 1), graph(ranks, 4)];
    if ranks == 1 {
        all.push(Neighborhood::grid(vec![]));
    }
    for first in (1..=ranks).filter(|n| ranks.is_multiple_of(*n)) {
        let rest = ranks / first;
        for second in (1..=rest).filter(|n| rest.is_multiple_of(*n)) {
            for wraps in 0..8 {
                let places = [first, second, rest / second].into_iter().enumerate();
                let grid = places.map(|(axis, n)| (n, wraps >> axis & 1 == 1));
                all.push(Neighborhood::grid(grid.collect()));
            }
        }
    }
    all.into_iter()
}

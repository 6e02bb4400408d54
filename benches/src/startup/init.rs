// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_init`: how long MPI_Init takes (or, with -I, the start of a session and its first
//! communicator): the shortest, longest and mean time of the ranks.
//!
//! Not measured: what mpiexec does before the programs run, and MPI_Finalize. The clock is the
//! system's, since MPI's may not be read before.
#![forbid(unsafe_code)]

use crate::benchmark::{Benchmark, Case, Column, Family, Measured, Ranks};
use crate::mpi::World;
use crate::mpi::raw::{MAX, MIN, SUM};
use crate::options::Options;

const COLUMNS: &[Column] = &[Column::less("avg", "Avg Time(ms)", "ms")];

pub fn benchmark() -> Benchmark {
    Benchmark {
        ranks: Ranks::Any,
        columns: COLUMNS,
        sized: false,
        line: Some(line),
        ..Benchmark::new("osu_init", "OSU MPI Init Test", Family::Startup, measure)
    }
}

fn line(ranks: usize, measured: &Measured) -> String {
    let Measured { values, least, most, .. } = measured;
    let mean = values[0];
    format!("nprocs: {ranks}, min: {least:.0} ms, max: {most:.0} ms, avg: {mean:.0} ms\n")
}

fn measure(world: &World, _: &Options, _: &Case) -> Measured {
    let own = world.started_in * 1e3;
    let (mut total, mut least, mut most) = ([own], [own], [own]);
    world.reduce(SUM, &mut total);
    world.reduce(MIN, &mut least);
    world.reduce(MAX, &mut most);
    Measured {
        values: vec![total[0] / world.size as f64],
        least: least[0],
        most: most[0],
        singles: Vec::new(),
        valid: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_one_that_scripts_know() {
        let measured =
            Measured { values: vec![2.4], least: 1.0, most: 3.6, singles: vec![], valid: true };
        assert_eq!(line(4, &measured), "nprocs: 4, min: 1 ms, max: 4 ms, avg: 2 ms\n");
    }
}

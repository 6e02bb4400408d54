// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The benchmarks run, validate what they moved, and print the table that scripts parse.
//!
//! Not here: any judgement of the numbers. The machine that runs tests measures nothing.

use super::{Suite, Tally};

const PROGRAMS: &[(&str, &str, &str)] = &[
    ("osu_latency", "# OSU MPI Latency Test v7", "Avg Latency(us)"),
    ("osu_bw", "# OSU MPI Bandwidth Test v7", "Bandwidth (MB/s)"),
];

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    for lanes in suite.lanes() {
        for (name, title, column) in PROGRAMS {
            let task = suite.mpiexec(2, *lanes).arg(suite.places.bin(name));
            let task = task.args(["-m", "1:1048576", "-i", "20", "-x", "2", "-c"]).limit(120);
            let outcome = task.run()?;
            let sizes = outcome.out.lines().filter(|line| line.ends_with("Pass")).count();
            let good = outcome.success()
                && outcome.out.starts_with(title)
                && outcome.out.contains(column)
                && sizes == 21;
            let result = if good { Ok(()) } else { Err(outcome.describe()) };
            tally.record(&format!("{name} {}", lanes.name()), result);
        }
    }
    let alone = suite.mpiexec(3, suite.lanes()[0]).arg(suite.places.bin("osu_latency"));
    let outcome = alone.limit(30).run()?;
    let result = if outcome.success() { Err(outcome.describe()) } else { Ok(()) };
    tally.record("osu_latency refuses 3 ranks", result);
    Ok(tally)
}

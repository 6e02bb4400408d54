// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Benchmarks of one-sided communication: what an access and its completion cost.
//!
//! With locks and flushes the first rank works alone, and a time is one access with its
//! completion. With fences, and with post, start, complete and wait, the two ranks take turns, and
//! a time is half of what both took.
//!
//! Not measured: accesses to a target that does something else meanwhile; and all accesses go to
//! the same places, which are then in the caches.

mod access;
mod bandwidth;
mod operation;
mod window;

use crate::benchmark::{Benchmark, Family};
use crate::options::{Options, Sync};
use crate::point_to_point::exchange::measure;
use access::Turns;
use bandwidth::{BothWays, Windows};
use operation::{Accumulate, CompareAndSwap, FetchAndOp, Get, GetAccumulate, Put};

pub fn all() -> Vec<Benchmark> {
    let access = |program, call: &str, reduces, measure| Benchmark {
        reduces,
        notes,
        ..Benchmark::new(program, format!("OSU {call} Latency Test"), Family::Access, measure)
    };
    let atomic = |program, call: &str, measure| Benchmark {
        notes,
        smallest: |_, _| 8,
        ..Benchmark::new(program, format!("OSU {call} Latency Test"), Family::Atomic, measure)
    };
    let windows = |program, title: &str, measure| Benchmark {
        notes,
        ..Benchmark::new(program, title, Family::AccessBandwidth, measure)
    };
    vec![
        access("osu_put_latency", "MPI_Put", false, measure::<Turns<Put>>),
        access("osu_get_latency", "MPI_Get", false, measure::<Turns<Get>>),
        access("osu_acc_latency", "MPI_Accumulate", true, measure::<Turns<Accumulate>>),
        access("osu_get_acc_latency", "MPI_Get_accumulate", true, measure::<Turns<GetAccumulate>>),
        atomic("osu_fop_latency", "MPI_Fetch_and_op", measure::<Turns<FetchAndOp>>),
        atomic("osu_cas_latency", "MPI_Compare_and_swap", measure::<Turns<CompareAndSwap>>),
        windows("osu_put_bw", "OSU MPI_Put Bandwidth Test", measure::<Windows<Put>>),
        windows("osu_get_bw", "OSU MPI_Get Bandwidth Test", measure::<Windows<Get>>),
        Benchmark {
            notes: |options, _| heads(options, Sync::Pscw),
            ..windows(
                "osu_put_bibw",
                "OSU MPI_Put Bi-directional Bandwidth Test",
                measure::<BothWays>,
            )
        },
    ]
}

/// The lines that say how it was measured.
fn notes(options: &Options, _: usize) -> [String; 2] {
    heads(options, Sync::Flush)
}

fn heads(options: &Options, usual: Sync) -> [String; 2] {
    let sync = options.sync.unwrap_or(usual).call();
    let created = options.memory_of.call();
    [String::new(), format!("# Window creation: {created}\n# Synchronization: {sync}\n")]
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Benchmarks of collectives: each blocking, non-blocking and persistent.
//!
//! A collective is a [`Collective`]: its names, the way its data goes, and its three calls. How
//! it is timed is written once for each of the three: [`blocking`], [`nonblocking`],
//! [`persistent`]. What the bytes are before and after is in [`movement`], also once.

mod blocking;
pub(crate) mod call;
mod compute;
pub(crate) mod movement;
mod nonblocking;
mod persistent;

mod allgather;
mod allgatherv;
mod allreduce;
mod alltoall;
mod alltoallv;
mod alltoallw;
mod barrier;
mod bcast;
mod gather;
mod gatherv;
mod reduce;
mod reduce_scatter;
mod reduce_scatter_block;
mod scatter;
mod scatterv;

use crate::benchmark::{Benchmark, Family, Ranks};
use crate::mpi::raw::Request;
use call::Call;
use movement::Movement;

/// One collective operation of MPI.
pub trait Collective: 'static {
    /// As in `osu_NAME`.
    const NAME: &'static str;
    /// As in `OSU MPI TITLE Latency Test`.
    const TITLE: &'static str;
    /// The same where the non-blocking program has another one.
    const NONBLOCKING_TITLE: &'static str = Self::TITLE;
    const MOVEMENT: Movement;

    /// # Safety
    /// The buffers and lists of the call live and are what this collective needs; every rank
    /// calls it.
    unsafe fn blocking(call: &Call);

    /// # Safety
    /// As for `blocking`, until the request has ended.
    unsafe fn immediate(call: &Call, request: &mut Request);

    /// # Safety
    /// As for `blocking`, until the request is freed.
    unsafe fn persistent(call: &Call, request: &mut Request);
}

/// The calls of a collective, for who chooses it by name.
#[derive(Clone, Copy)]
pub struct Operation {
    pub name: &'static str,
    pub movement: Movement,
    pub blocking: unsafe fn(&Call),
    pub immediate: unsafe fn(&Call, &mut Request),
    pub persistent: unsafe fn(&Call, &mut Request),
}

/// Those that have a choice of algorithms, by the names of the tuning table.
pub fn operations() -> [Operation; 9] {
    fn one<C: Collective>(name: &'static str) -> Operation {
        Operation {
            name,
            movement: C::MOVEMENT,
            blocking: C::blocking,
            immediate: C::immediate,
            persistent: C::persistent,
        }
    }
    [
        one::<barrier::Barrier>("barrier"),
        one::<bcast::Bcast>("bcast"),
        one::<gather::Gather>("gather"),
        one::<scatter::Scatter>("scatter"),
        one::<allgather::Allgather>("allgather"),
        one::<alltoall::Alltoall>("alltoall"),
        one::<reduce::Reduce>("reduce"),
        one::<allreduce::Allreduce>("allreduce"),
        one::<reduce_scatter_block::ReduceScatterBlock>("reduce_scatter"),
    ]
}

/// The three calls of a collective from the one list of arguments that they share.
macro_rules! calls {
    ($call:ident, $blocking:ident, $immediate:ident, $persistent:ident; $($argument:expr),*) => {
        #[inline]
        unsafe fn blocking($call: &Call) {
            // SAFETY: the caller answers for the buffers and lists of the call.
            check(unsafe { raw::$blocking($($argument,)* $call.comm()) });
        }

        #[inline]
        unsafe fn immediate($call: &Call, request: &mut Request) {
            // SAFETY: as above, until the request has ended.
            check(unsafe { raw::$immediate($($argument,)* $call.comm(), request) });
        }

        unsafe fn persistent($call: &Call, request: &mut Request) {
            let info = raw::INFO_NULL;
            // SAFETY: as above, until the request is freed.
            check(unsafe { raw::$persistent($($argument,)* $call.comm(), info, request) });
        }
    };
}
pub(crate) use calls;

pub fn all() -> Vec<Benchmark> {
    let mut all = Vec::new();
    all.extend(three::<allgather::Allgather>());
    all.extend(three::<allgatherv::Allgatherv>());
    all.extend(three::<allreduce::Allreduce>());
    all.extend(three::<alltoall::Alltoall>());
    all.extend(three::<alltoallv::Alltoallv>());
    all.extend(three::<alltoallw::Alltoallw>());
    all.extend(three::<barrier::Barrier>());
    all.extend(three::<bcast::Bcast>());
    all.extend(three::<gather::Gather>());
    all.extend(three::<gatherv::Gatherv>());
    all.extend(three::<reduce::Reduce>());
    all.extend(three::<reduce_scatter::ReduceScatter>());
    all.extend(three::<reduce_scatter_block::ReduceScatterBlock>());
    all.extend(three::<scatter::Scatter>());
    all.extend(three::<scatterv::Scatterv>());
    all
}

fn three<C: Collective>() -> [Benchmark; 3] {
    let (name, title) = (C::NAME, C::TITLE);
    let common = |program: String, title: String, family, measure| Benchmark {
        ranks: Ranks::AtLeastTwo,
        sized: C::MOVEMENT != Movement::None,
        reduces: C::MOVEMENT.sums(),
        footprint: |ranks| C::MOVEMENT.footprint(ranks),
        smallest: |ranks, datatype| C::MOVEMENT.smallest(ranks, datatype),
        ..Benchmark::new(program, title, family, measure)
    };
    let nonblocking = C::NONBLOCKING_TITLE;
    [
        common(
            format!("osu_{name}"),
            format!("OSU MPI {title} Latency Test"),
            Family::Collective,
            blocking::measure::<C>,
        ),
        Benchmark {
            columns: nonblocking::COLUMNS,
            notes: |_, _| [String::new(), nonblocking::NOTE.to_string()],
            ..common(
                format!("osu_i{name}"),
                format!("OSU MPI Non-blocking {nonblocking} Latency Test"),
                Family::Immediate,
                nonblocking::measure::<C>,
            )
        },
        common(
            format!("osu_{name}_persistent"),
            format!("OSU MPI {title} Persistent Latency Test"),
            Family::Collective,
            persistent::measure::<C>,
        ),
    ]
}

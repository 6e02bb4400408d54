// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_reduce_scatter`: sums of which each rank gets its part, with MPI_Reduce_scatter.
//!
//! The size is that of the whole; the first ranks get one element more if it does not divide.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct ReduceScatter;

impl Collective for ReduceScatter {
    const NAME: &'static str = "reduce_scatter";
    const TITLE: &'static str = "Reduce_scatter";
    const MOVEMENT: Movement = Movement::SumShared;

    calls!(
        call, MPI_Reduce_scatter, MPI_Ireduce_scatter, MPI_Reduce_scatter_init;
        call.from(), call.to(), call.counts(), call.datatype(), raw::SUM
    );
}

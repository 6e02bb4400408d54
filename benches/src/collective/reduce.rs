// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_reduce`: sums of MPI_INT (or MPI_FLOAT) for the root, with MPI_Reduce.
//!
//! Not measured: when the root has them; the time is the mean of the ranks'.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Reduce;

impl Collective for Reduce {
    const NAME: &'static str = "reduce";
    const TITLE: &'static str = "Reduce";
    const MOVEMENT: Movement = Movement::SumForRoot;

    calls!(
        call, MPI_Reduce, MPI_Ireduce, MPI_Reduce_init;
        call.from(), call.to(), call.count(), call.datatype(), raw::SUM, call.root()
    );
}

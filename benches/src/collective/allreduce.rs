// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_allreduce`: sums of MPI_INT (or MPI_FLOAT) for all ranks, with MPI_Allreduce.
//!
//! Not measured: other operations, or one of the user's.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Allreduce;

impl Collective for Allreduce {
    const NAME: &'static str = "allreduce";
    const TITLE: &'static str = "Allreduce";
    const MOVEMENT: Movement = Movement::SumForAll;

    calls!(
        call, MPI_Allreduce, MPI_Iallreduce, MPI_Allreduce_init;
        call.from(), call.to(), call.count(), call.datatype(), raw::SUM
    );
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_alltoall`: a block of the given size from each rank to each, with MPI_Alltoall.
//!
//! The size is that of one block; a rank sends and receives as many as there are ranks.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Alltoall;

impl Collective for Alltoall {
    const NAME: &'static str = "alltoall";
    const TITLE: &'static str = "All-to-All Personalized Exchange";
    const NONBLOCKING_TITLE: &'static str = "All-to-All";
    const MOVEMENT: Movement = Movement::Exchange;

    calls!(
        call, MPI_Alltoall, MPI_Ialltoall, MPI_Alltoall_init;
        call.from(), call.count(), call.datatype(), call.to(), call.count(), call.datatype()
    );
}

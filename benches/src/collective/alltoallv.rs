// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_alltoallv`: as `osu_alltoall`, with MPI_Alltoallv.
//!
//! Not measured: blocks of different sizes; all counts are equal.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Alltoallv;

impl Collective for Alltoallv {
    const NAME: &'static str = "alltoallv";
    const TITLE: &'static str = "All-to-Allv Personalized Exchange";
    const MOVEMENT: Movement = Movement::Exchange;

    calls!(
        call, MPI_Alltoallv, MPI_Ialltoallv, MPI_Alltoallv_init;
        call.from(), call.counts(), call.displacements(), call.datatype(), call.to(), call.counts(),
        call.displacements(), call.datatype()
    );
}

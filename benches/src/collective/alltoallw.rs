// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_alltoallw`: as `osu_alltoall`, with MPI_Alltoallw.
//!
//! Not measured: blocks of different sizes or datatypes; all are equal.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Alltoallw;

impl Collective for Alltoallw {
    const NAME: &'static str = "alltoallw";
    const TITLE: &'static str = "All-to-Allw Personalized Exchange";
    const MOVEMENT: Movement = Movement::Exchange;

    calls!(
        call, MPI_Alltoallw, MPI_Ialltoallw, MPI_Alltoallw_init;
        call.from(), call.counts(), call.byte_displacements(), call.datatypes(), call.to(),
        call.counts(), call.byte_displacements(), call.datatypes()
    );
}

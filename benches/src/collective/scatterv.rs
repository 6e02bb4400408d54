// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_scatterv`: as `osu_scatter`, with MPI_Scatterv.
//!
//! Not measured: blocks of different sizes; all counts are equal.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Scatterv;

impl Collective for Scatterv {
    const NAME: &'static str = "scatterv";
    const TITLE: &'static str = "Scatterv";
    const MOVEMENT: Movement = Movement::Scatter;

    calls!(
        call, MPI_Scatterv, MPI_Iscatterv, MPI_Scatterv_init;
        call.from(), call.counts(), call.displacements(), call.datatype(), call.to(), call.count(),
        call.datatype(), call.root()
    );
}

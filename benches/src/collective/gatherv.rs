// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_gatherv`: as `osu_gather`, with MPI_Gatherv.
//!
//! Not measured: blocks of different sizes; all counts are equal.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Gatherv;

impl Collective for Gatherv {
    const NAME: &'static str = "gatherv";
    const TITLE: &'static str = "Gatherv";
    const MOVEMENT: Movement = Movement::Gather;

    calls!(
        call, MPI_Gatherv, MPI_Igatherv, MPI_Gatherv_init;
        call.from(), call.count(), call.datatype(), call.to(), call.counts(), call.displacements(),
        call.datatype(), call.root()
    );
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_barrier`: the time that a rank spends in MPI_Barrier when all come at about the same
//! time.
//!
//! There is nothing to validate: no byte arrives.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Barrier;

impl Collective for Barrier {
    const NAME: &'static str = "barrier";
    const TITLE: &'static str = "Barrier";
    const MOVEMENT: Movement = Movement::None;

    calls!(call, MPI_Barrier, MPI_Ibarrier, MPI_Barrier_init; );
}

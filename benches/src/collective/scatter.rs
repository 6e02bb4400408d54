// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_scatter`: a block of the root to each rank, with MPI_Scatter.
//!
//! Not measured: when the last rank has its block; the time is the mean of the ranks'.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Scatter;

impl Collective for Scatter {
    const NAME: &'static str = "scatter";
    const TITLE: &'static str = "Scatter";
    const MOVEMENT: Movement = Movement::Scatter;

    calls!(
        call, MPI_Scatter, MPI_Iscatter, MPI_Scatter_init;
        call.from(), call.count(), call.datatype(), call.to(), call.count(), call.datatype(),
        call.root()
    );
}

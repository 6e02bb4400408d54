// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_gather`: each rank's block to the root, with MPI_Gather.
//!
//! Not measured: when the root has all; the time is the mean of the ranks', most of which only
//! send (see -f for the extremes).

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Gather;

impl Collective for Gather {
    const NAME: &'static str = "gather";
    const TITLE: &'static str = "Gather";
    const MOVEMENT: Movement = Movement::Gather;

    calls!(
        call, MPI_Gather, MPI_Igather, MPI_Gather_init;
        call.from(), call.count(), call.datatype(), call.to(), call.count(), call.datatype(),
        call.root()
    );
}

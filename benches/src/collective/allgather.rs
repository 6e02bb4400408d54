// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_allgather`: each rank's block of the given size to all ranks, with MPI_Allgather.
//!
//! The size is that of one block; a rank receives as many blocks as there are ranks.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Allgather;

impl Collective for Allgather {
    const NAME: &'static str = "allgather";
    const TITLE: &'static str = "Allgather";
    const MOVEMENT: Movement = Movement::Gossip;

    calls!(
        call, MPI_Allgather, MPI_Iallgather, MPI_Allgather_init;
        call.from(), call.count(), call.datatype(), call.to(), call.count(), call.datatype()
    );
}

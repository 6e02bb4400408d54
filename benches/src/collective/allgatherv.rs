// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_allgatherv`: as `osu_allgather`, with MPI_Allgatherv.
//!
//! Not measured: blocks of different sizes; all counts are equal, which the library cannot know
//! without looking.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Allgatherv;

impl Collective for Allgatherv {
    const NAME: &'static str = "allgatherv";
    const TITLE: &'static str = "Allgatherv";
    const MOVEMENT: Movement = Movement::Gossip;

    calls!(
        call, MPI_Allgatherv, MPI_Iallgatherv, MPI_Allgatherv_init;
        call.from(), call.count(), call.datatype(), call.to(), call.counts(), call.displacements(),
        call.datatype()
    );
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_bcast`: the root's block to all ranks, with MPI_Bcast.
//!
//! Not measured: when the last rank has it; the time is the mean of the ranks', and the root may
//! be done long before (see -f for the extremes).

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct Bcast;

impl Collective for Bcast {
    const NAME: &'static str = "bcast";
    const TITLE: &'static str = "Broadcast";
    const MOVEMENT: Movement = Movement::Broadcast;

    calls!(
        call, MPI_Bcast, MPI_Ibcast, MPI_Bcast_init;
        call.to(), call.count(), call.datatype(), call.root()
    );
}

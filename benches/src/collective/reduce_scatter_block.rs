// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `osu_reduce_scatter_block`: sums of which each rank gets an equal part, with
//! MPI_Reduce_scatter_block.
//!
//! The size is that of the whole. What does not divide among the ranks is left out of the
//! operation, and sizes with less than an element for each rank are left out of the table.

use super::call::Call;
use super::movement::Movement;
use super::{Collective, calls};
use crate::mpi::check;
use crate::mpi::raw::{self, Request};

pub struct ReduceScatterBlock;

impl Collective for ReduceScatterBlock {
    const NAME: &'static str = "reduce_scatter_block";
    const TITLE: &'static str = "Reduce_scatter_block";
    const MOVEMENT: Movement = Movement::SumBlocks;

    calls!(
        call, MPI_Reduce_scatter_block, MPI_Ireduce_scatter_block, MPI_Reduce_scatter_block_init;
        call.from(), call.to(), call.block(), call.datatype(), raw::SUM
    );
}

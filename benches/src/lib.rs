// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Benchmarks of whole programs: `osu_latency` and `osu_bw`, over the C ABI of any MPI library.
//!
//! Names, titles, columns, options and defaults follow the OSU micro-benchmarks 7.x, so that
//! scripts which parse those parse these; the code is our own.
//!
//! - [`options`] reads the command line;
//! - [`table`] prints the head and the rows;
//! - [`latency`] and [`bandwidth`] measure;
//! - [`mpi`] is the only door to the C functions;
//! - [`buffer`] holds what is sent, and checks what came.

pub mod bandwidth;
pub mod buffer;
pub mod latency;
pub mod mpi;
pub mod options;
pub mod table;

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Benchmarks of whole programs over the C ABI of any MPI library: `osu_latency`, `osu_bw`,
//! `osu_allreduce` and their like.
//!
//! Names, titles, columns, options and defaults follow the OSU micro-benchmarks 7.x, so that
//! scripts which parse those parse these; the code is our own. Beyond them there are JSON and
//! CSV, repeats with a confidence interval, and a head that says where it was measured.
//!
//! - [`options`] reads the command line by one table;
//! - [`benchmark`] says what a benchmark is, [`point_to_point`], [`collective`] and [`one_sided`]
//!   hold those that measure messages and accesses, [`startup`] those that measure the start;
//! - [`run`] is the way in: it goes through sizes and repeats, and leaves with an exit code;
//! - [`report`] prints: the known table, JSON, CSV;
//! - [`pattern`] and [`buffer`] are what is sent, and the check of what came;
//! - [`statistics`] condenses; [`mpi`] is the only door to the C functions.

pub mod benchmark;
pub mod buffer;
pub mod collective;
pub mod datatype;
pub mod mpi;
pub mod one_sided;
pub mod options;
pub mod pattern;
pub mod point_to_point;
pub mod report;
pub mod run;
pub mod startup;
pub mod statistics;
pub mod tune;

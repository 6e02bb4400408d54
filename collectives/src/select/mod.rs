// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which algorithm serves a call, and the schedules that were made already.
#![forbid(unsafe_code)]

mod cache;
mod evidence;
mod file;
mod table;
pub mod tuning;

pub use cache::Cache;
pub use evidence::{Evidence, Measured, Named, Times};
pub use table::{
    Circumstances, Hosts, Plan, Rule, SEGMENTS_MAX, Table, TableError, choose, choose_shipped,
    describe, force, load, parse, rules, table,
};

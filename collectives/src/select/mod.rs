// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which algorithm serves a call, and the schedules that were made already.
#![forbid(unsafe_code)]

mod cache;
mod file;
mod table;

pub use cache::Cache;
pub use table::{
    Plan, Rule, SEGMENTS_MAX, Table, TableError, choose, describe, load, parse, rules,
};

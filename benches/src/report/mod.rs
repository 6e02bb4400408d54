// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What rank 0 prints: the table that scripts know, or JSON, or CSV.
//!
//! - [`row`] is one line of results, however it is printed;
//! - [`facts`] says where it was measured;
//! - [`table`], [`json`] and [`csv`] print.
#![forbid(unsafe_code)]

pub mod csv;
pub mod facts;
pub mod json;
pub mod row;
pub mod table;

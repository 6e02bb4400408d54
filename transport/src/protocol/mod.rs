// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Eager, rendezvous, matching, credit: state machines without I/O.
#![forbid(unsafe_code)]

pub mod credit;
pub mod matching;
pub(crate) mod message;
pub mod plan;
mod posted;
pub mod share;
mod shelf;

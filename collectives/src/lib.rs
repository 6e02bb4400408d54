// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Collectives as data: an algorithm builds a schedule for one rank, and everything else reads it.
//!
//! The way of a collective call: `select` names an algorithm for a [`shape::Shape`], the registry
//! in `algorithm` builds the [`schedule::Schedule`] of this rank (or the cache has it), and
//! `execute` runs it over a worker with the bytes that a binding puts behind the blocks. `verify`
//! reads the same schedules and proves, for all ranks of a shape, that they match, cannot
//! deadlock, never race, and compute what `kind` defines. `simulate` says what they cost on
//! machines that are not there.
//!
//! Not here: communicators, datatypes, handles, MPI's error classes. Only `execute` knows the
//! transport.

pub mod algorithm;
pub mod execute;
pub mod kind;
pub mod neighbors;
pub mod reduce;
pub mod schedule;
pub mod select;
pub mod shape;
pub mod simulate;
pub mod verify;

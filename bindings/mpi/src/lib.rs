// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The semantics of MPI, generic over the ABI; nothing of networks.
//!
//! A function of MPI is one generic function of its C name in `api/`; the two cdylib crates export
//! it under both ABIs (the generator in `bindings/abi-table` finds it by its name and its
//! `<A: Abi>`). Canonical codes (handles of predefined objects, wildcards, error classes, enum-like
//! constants) are those of the standard ABI: for that face translation is the identity.
#![allow(non_snake_case)]

pub mod abi;
pub mod agreement;
pub mod api;
pub mod collective;
pub mod datatype;
pub mod entry;
pub mod error;
pub mod fault;
pub mod handle;
pub mod leaks;
pub mod lock;
pub mod meeting;
pub mod object;
pub mod port;
pub mod progress_thread;
pub mod rma;
pub mod runtime;
pub mod tool;
pub mod universe;

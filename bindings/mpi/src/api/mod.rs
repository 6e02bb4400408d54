// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The functions of MPI, a file per chapter. Each is generic over the ABI and has its C name; one
//! body serves a function and its `_c` twin (conventions: bindings/abi-table/README.md).
//!
//! # Safety
//! All of them: pointers are as the MPI standard says for the function of that name.
#![allow(clippy::missing_safety_doc, clippy::too_many_arguments)]

pub mod arguments;
mod attribute;
mod buffered;
mod communicator;
mod errhandler;
mod generalized;
mod group;
mod init;
mod intercommunicator;
mod point_to_point;
mod point_to_point_persistent;
mod probe;
mod request;

pub use self::attribute::*;
pub use self::buffered::*;
pub use self::communicator::*;
pub use self::errhandler::*;
pub use self::generalized::*;
pub use self::group::*;
pub use self::init::*;
pub use self::intercommunicator::*;
pub use self::point_to_point::*;
pub use self::point_to_point_persistent::*;
pub use self::probe::*;
pub use self::request::*;

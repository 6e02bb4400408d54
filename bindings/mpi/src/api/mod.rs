// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The functions of MPI, a file per chapter. Each is generic over the ABI and has its C name; one
//! body serves a function and its `_c` twin (conventions: bindings/abi-table/README.md).
//!
//! # Safety
//! All of them: pointers are as the MPI standard says for the function of that name.
#![allow(clippy::missing_safety_doc, clippy::too_many_arguments)]

mod abi_query;
mod address;
pub mod arguments;
mod attribute;
mod buffered;
mod collective;
mod communicator;
mod datarep;
mod datatype;
mod datatype_attribute;
mod datatype_query;
mod datatype_removed;
mod dimensions;
mod dist_graph;
mod environment;
mod errhandler;
mod file;
mod file_access;
mod file_collective;
mod file_nonblocking;
mod file_split;
mod file_two_phase;
mod file_view;
mod fortran;
mod generalized;
mod group;
mod info;
mod init;
mod intercommunicator;
mod nonblocking;
mod op;
mod pack;
mod persistent;
mod point_to_point;
mod point_to_point_persistent;
mod probe;
mod removed;
mod request;
mod request_status;
mod send_receive;
mod session;
pub(crate) mod short;
mod status;
mod topology;
mod window;
mod window_attribute;

pub use self::abi_query::*;
pub use self::address::*;
pub use self::attribute::*;
pub use self::buffered::*;
pub use self::collective::*;
pub use self::communicator::*;
pub use self::datarep::*;
pub use self::datatype::*;
pub use self::datatype_attribute::*;
pub use self::datatype_query::*;
pub use self::datatype_removed::*;
pub use self::dimensions::*;
pub use self::dist_graph::*;
pub use self::environment::*;
pub use self::errhandler::*;
pub use self::file::*;
pub use self::file_access::*;
pub use self::file_collective::*;
pub use self::file_nonblocking::*;
pub use self::file_split::*;
pub use self::file_view::*;
pub use self::fortran::*;
pub use self::generalized::*;
pub use self::group::*;
pub use self::info::*;
pub use self::init::*;
pub use self::intercommunicator::*;
pub use self::nonblocking::*;
pub use self::op::*;
pub use self::pack::*;
pub use self::persistent::*;
pub use self::point_to_point::*;
pub use self::point_to_point_persistent::*;
pub use self::probe::*;
pub use self::removed::*;
pub use self::request::*;
pub use self::request_status::*;
pub use self::send_receive::*;
pub use self::session::*;
pub use self::status::*;
pub use self::topology::*;
pub use self::window::*;
pub use self::window_attribute::*;

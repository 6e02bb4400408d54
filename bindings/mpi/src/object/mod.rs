// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One noun per file. Objects are shared by `Rc` and mutated through cells: all of them are touched
//! only with the entry lock held.

pub mod attribute;
pub mod comm;
pub mod datatype;
pub mod errhandler;
pub mod file;
pub mod file_transfer;
pub mod file_view;
pub mod group;
pub mod info;
pub mod op;
pub mod partitioned;
pub mod request;
pub mod session;
pub mod shared_memory;
pub mod shared_position;
pub mod topology;
pub mod user_error;
pub mod window;

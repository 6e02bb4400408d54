// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs schedules over a worker. Only this module knows the transport.

mod bind;
mod group;
mod run;

pub use bind::{Binding, ByteBinding, ByteOperation};
pub use group::Group;
pub use run::{Execution, Failure, Progress};

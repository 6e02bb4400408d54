// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every lane must do, as one suite, run for each of them.
//!
//! A `World` makes the lanes of some peers within this process; one thread polls them all. A lane
//! that cannot do something by its nature (a worker talking to itself has no second peer, and never
//! dies) says so in its world, and only that test is left out.

#[path = "conformance/shm.rs"]
mod shm;
#[path = "conformance/suite.rs"]
mod suite;
#[path = "conformance/tcp.rs"]
mod tcp;

conformance!(over_shm, crate::shm::ShmWorld);
conformance!(over_tcp, crate::tcp::TcpWorld);

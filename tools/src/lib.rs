// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The launcher and the command-line tools, as modules that their thin mains call.

pub mod machine;
pub mod mpiexec;
pub mod prefix;
pub mod strait;
pub mod wrapper;

/// Version of this build, as every tool prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

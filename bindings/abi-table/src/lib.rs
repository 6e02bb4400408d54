// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The prototypes and constants of both C ABIs as data, and the generators that read them.
//!
//! The tables are the only place where a prototype or the number of a constant is written down; the
//! exports of the cdylibs, mpi.h and the coverage page come from them. README.md has the rules for
//! the generic bodies. Not here: how one ABI's value becomes the other's (`strait-mpi`'s `abi/`).

#![forbid(unsafe_code)]

pub mod constant;
pub mod coverage;
pub mod export;
pub mod fortran;
pub mod header;
pub mod implemented;
pub mod prototype;
pub mod signature;
pub mod stub;

pub use self::constant::{Constant, Value, constants};
pub use self::coverage::generate_coverage;
pub use self::export::{Face, generate_exports};
pub use self::header::{generate_extensions, generate_header};
pub use self::implemented::implemented;
pub use self::prototype::{Function, extension_functions, extra_functions, standard_functions};

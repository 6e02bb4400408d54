// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where this installation lies: found from the path of the running executable, so that the tree
//! can be moved.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// The library with the MPICH ABI, which the mpi4py wheel loads.
pub const MPICH_FACE: &str = "libmpi.so.12";
/// The library with the standard ABI.
pub const STANDARD_FACE: &str = "libmpi_abi.so.1";

/// An installation: `bin`, `lib`, `include`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    root: PathBuf,
}

impl Prefix {
    /// The installation that holds the running executable, whether or not it has libraries.
    pub fn of_this_executable() -> Option<Prefix> {
        let executable = std::env::current_exe().ok()?;
        Some(Prefix { root: executable.parent()?.parent()?.to_owned() })
    }

    /// An installation at a known place.
    pub fn at(root: impl Into<PathBuf>) -> Prefix {
        Prefix { root: root.into() }
    }

    /// The directory that holds `bin`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The libraries.
    pub fn lib(&self) -> PathBuf {
        self.root.join("lib")
    }

    /// The headers.
    pub fn include(&self) -> PathBuf {
        self.root.join("include")
    }

    /// A library of ours, if it is there.
    pub fn library(&self, name: &str) -> Option<PathBuf> {
        let path = self.lib().join(name);
        path.exists().then_some(path)
    }
}

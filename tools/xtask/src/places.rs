// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where things are: the source tree, the build directory, and what xtask keeps below it.
//!
//! Nothing is written outside the build directory (but for `install --prefix DIR`), so that
//! `cargo clean` takes everything away again.

use std::path::{Path, PathBuf};

/// The directories every command works with. All are absolute.
pub struct Places {
    /// The top of the source tree.
    pub root: PathBuf,
    /// Cargo's build directory: `CARGO_TARGET_DIR`, or `target`.
    pub target: PathBuf,
}

impl Places {
    /// Finds them from where this crate was compiled, or from the current directory if it moved.
    pub fn find() -> Result<Places, String> {
        let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let here = std::env::current_dir().map_err(|e| format!("current directory: {e}"))?;
        let root = std::iter::once(compiled.as_path())
            .chain(here.ancestors())
            .find(|dir| dir.join("transport").is_dir() && dir.join("Cargo.toml").is_file())
            .ok_or("no Strait source tree here: run this inside one")?
            .canonicalize()
            .map_err(|e| format!("source tree: {e}"))?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => here.join(dir),
            None => root.join("target"),
        };
        Ok(Places { root, target })
    }

    /// The tree that `demo` and `test` install into and run from.
    pub fn prefix(&self) -> PathBuf {
        self.target.join("prefix")
    }

    /// A program of the installed tree.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.prefix().join("bin").join(name)
    }

    /// The environment with the stock mpi4py wheel (MPICH face).
    pub fn venv(&self) -> PathBuf {
        self.target.join("venv")
    }

    /// The environment with mpi4py built from source against our mpi.h (standard-ABI face).
    pub fn venv_abi(&self) -> PathBuf {
        self.target.join("venv-abi")
    }

    /// What xtask itself keeps: logs, compiled test programs, the unpacked mpi4py source.
    pub fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }

    /// The course's scripts, which lie beside the source tree where they exist at all.
    pub fn course(&self) -> Option<PathBuf> {
        let dir = self.root.parent()?.join("shared/course");
        dir.is_dir().then_some(dir)
    }
}

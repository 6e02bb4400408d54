// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names the build: a hash over this crate's sources, so that two builds that lay the node memory
//! out differently refuse each other by name instead of by damage.
//!
//! The hash is FNV-1a over the sorted files (relative name, bytes). It tells builds apart; it is no
//! protection against somebody who wants a collision.

use std::path::{Path, PathBuf};

fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).expect("the crate's sources are readable");
    for entry in entries {
        let path = entry.expect("the crate's sources are readable").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn hash(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let source = root.join("src");
    println!("cargo:rerun-if-changed={}", source.display());
    let mut paths = Vec::new();
    files(&source, &mut paths);
    paths.sort();
    let mut state = 0xcbf2_9ce4_8422_2325;
    for path in &paths {
        let name = path.strip_prefix(&root).expect("found below the root").to_string_lossy();
        state = hash(state, name.as_bytes());
        state = hash(state, &std::fs::read(path).expect("the crate's sources are readable"));
    }
    let target = std::env::var("TARGET").expect("cargo sets it");
    state = hash(state, target.as_bytes());
    let version = std::env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    println!("cargo:rustc-env=STRAIT_BUILD_ID={version}+{state:016x}");
}

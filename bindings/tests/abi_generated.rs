// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The committed mpi.h and coverage page are what the generators write today.

use std::fs;
use std::path::Path;

use strait_abi_table::{generate_coverage, generate_extensions, generate_header, implemented};

const BINDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn compare(file: &str, generated: &str) {
    let path = Path::new(BINDINGS).join(file);
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let line = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "{file} is stale (first difference in line {:?}): run `cargo run -p strait-abi-table`",
        line.map(|line| line + 1)
    );
}

#[test]
fn header_is_fresh() {
    compare("include/mpi.h", &generate_header());
    compare("include/mpi-ext.h", &generate_extensions());
}

#[test]
fn coverage_page_is_fresh() {
    let done = implemented(&Path::new(BINDINGS).join("mpi/src/api")).expect("the sources");
    compare("../docs/mpi-coverage.md", &generate_coverage(&done));
}

/// A body whose name is misspelt would never be exported.
#[test]
fn every_body_belongs_to_a_function() {
    let done = implemented(&Path::new(BINDINGS).join("mpi/src/api")).expect("the sources");
    let functions = strait_abi_table::Face::Mpich.functions();
    let strange: Vec<_> =
        done.iter().filter(|name| !functions.iter().any(|f| f.body == **name)).collect();
    assert!(strange.is_empty(), "no function has these bodies: {strange:?}");
}

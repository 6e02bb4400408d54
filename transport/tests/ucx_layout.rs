// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our picture of UCX's structures and constants against its headers, where those are installed
//! (Debian: libucx-dev; `cargo xtask test` installs them).

mod layout;

use std::path::Path;
use strait_transport::lane::ucx::sys::{OFFSETS, SIZES, VALUES};

#[test]
fn offsets_and_constants_are_those_of_the_headers() {
    if !Path::new("/usr/include/ucp/api/ucp.h").exists() {
        eprintln!("UCX's headers are not installed: nothing to compare with");
        return;
    }
    layout::compare(&layout::Picture {
        name: "ucx_layout",
        headers: &["ucp/api/ucp.h"],
        type_of: |name| format!("{name}_t"),
        offsets: OFFSETS,
        sizes: SIZES,
        values: VALUES,
    });
}

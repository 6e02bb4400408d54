// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our picture of libfabric's structures and constants against its headers, where those are
//! installed (Debian: libfabric-dev; `cargo xtask test` installs them).

mod layout;

use std::path::Path;
use strait_transport::lane::ofi::sys::{OFFSETS, VALUES};

#[test]
fn offsets_and_constants_are_those_of_the_headers() {
    if !Path::new("/usr/include/rdma/fabric.h").exists() {
        eprintln!("libfabric's headers are not installed: nothing to compare with");
        return;
    }
    layout::compare(&layout::Picture {
        name: "ofi_layout",
        headers: &[
            "rdma/fabric.h",
            "rdma/fi_domain.h",
            "rdma/fi_endpoint.h",
            "rdma/fi_cm.h",
            "rdma/fi_eq.h",
            "rdma/fi_rma.h",
            "rdma/fi_errno.h",
        ],
        type_of: |name| format!("struct {name}"),
        offsets: OFFSETS,
        sizes: &[],
        values: VALUES,
    });
}

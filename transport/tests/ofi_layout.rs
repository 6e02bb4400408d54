// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our picture of libfabric's structures and constants against its headers, where those are
//! installed (Debian: libfabric-dev; `cargo xtask test` installs them).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use strait_transport::lane::ofi::sys::{OFFSETS, VALUES};

#[test]
fn offsets_and_constants_are_those_of_the_headers() {
    if !Path::new("/usr/include/rdma/fabric.h").exists() {
        eprintln!("libfabric's headers are not installed: nothing to compare with");
        return;
    }
    let mut source = String::from(
        "#include <rdma/fabric.h>\n#include <rdma/fi_domain.h>\n#include <rdma/fi_endpoint.h>\n\
         #include <rdma/fi_cm.h>\n#include <rdma/fi_eq.h>\n#include <rdma/fi_rma.h>\n\
         #include <rdma/fi_errno.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n",
    );
    for (of, field, _) in OFFSETS {
        let _ = writeln!(source, "printf(\"%zu\\n\", offsetof(struct {of}, {field}));");
    }
    for (name, _) in VALUES {
        let _ = writeln!(source, "printf(\"%llu\\n\", (unsigned long long)({name}));");
    }
    source.push_str("return 0;\n}\n");
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ofi_layout");
    std::fs::create_dir_all(&dir).unwrap();
    let (file, program) = (dir.join("layout.c"), dir.join("layout"));
    std::fs::write(&file, source).unwrap();
    let built = Command::new("cc").arg("-o").arg(&program).arg(&file).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();
    let numbers: Vec<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.len(), OFFSETS.len() + VALUES.len());
    let (offsets, values) = numbers.split_at(OFFSETS.len());
    for ((of, field, ours), theirs) in OFFSETS.iter().zip(offsets) {
        assert_eq!(*ours as u64, *theirs, "offset of {field} in {of}");
    }
    for ((name, ours), theirs) in VALUES.iter().zip(values) {
        assert_eq!(ours, theirs, "{name}");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our picture of hwloc's structures and constants against its headers, where those are installed
//! (Debian: libhwloc-dev; `cargo xtask test` installs them).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use strait_tools::machine::hwloc::sys::{OFFSETS, VALUES};

#[test]
fn offsets_and_constants_are_those_of_the_headers() {
    if !Path::new("/usr/include/hwloc.h").exists() {
        eprintln!("hwloc's headers are not installed: nothing to compare with");
        return;
    }
    let mut source = String::from(
        "#include <hwloc.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n",
    );
    for (of, field, _) in OFFSETS {
        let _ = writeln!(source, "printf(\"%zu\\n\", offsetof(struct {of}, {field}));");
    }
    for (name, _) in VALUES {
        let _ = writeln!(source, "printf(\"%lld\\n\", (long long)({name}));");
    }
    source.push_str("return 0;\n}\n");
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hwloc_layout");
    std::fs::create_dir_all(&dir).unwrap();
    let (file, program) = (dir.join("layout.c"), dir.join("layout"));
    std::fs::write(&file, source).unwrap();
    let built = Command::new("cc").arg("-o").arg(&program).arg(&file).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();
    let numbers: Vec<i64> = said.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.len(), OFFSETS.len() + VALUES.len());
    let (offsets, values) = numbers.split_at(OFFSETS.len());
    for ((of, field, ours), theirs) in OFFSETS.iter().zip(offsets) {
        assert_eq!(*ours as i64, *theirs, "offset of {field} in {of}");
    }
    for ((name, ours), theirs) in VALUES.iter().zip(values) {
        assert_eq!(ours, theirs, "{name}");
    }
}

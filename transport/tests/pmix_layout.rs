// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our picture of PMIx's types and constants against its headers, where those are installed
//! (Debian: libpmix-dev; `cargo xtask test` installs them).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use strait_transport::bootstrap::pmix::sys::{OFFSETS, SIZES, TEXTS, VALUES};

#[test]
fn offsets_sizes_and_constants_are_those_of_the_headers() {
    let Some(flags) = flags() else {
        eprintln!("PMIx's headers are not installed: nothing to compare with");
        return;
    };
    let mut source = String::from(
        "#include <pmix.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n",
    );
    for (of, field, _) in OFFSETS {
        let _ = writeln!(source, "printf(\"%zu\\n\", offsetof({of}, {field}));");
    }
    for (of, _) in SIZES {
        let _ = writeln!(source, "printf(\"%zu\\n\", sizeof({of}));");
    }
    for (name, _) in VALUES {
        let _ = writeln!(source, "printf(\"%lld\\n\", (long long)({name}));");
    }
    for (name, _) in TEXTS {
        let _ = writeln!(source, "puts({name});");
    }
    source.push_str("return 0;\n}\n");
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pmix_layout");
    std::fs::create_dir_all(&dir).unwrap();
    let (file, program) = (dir.join("layout.c"), dir.join("layout"));
    std::fs::write(&file, source).unwrap();
    let built = Command::new("cc").arg("-o").arg(&program).arg(&file).args(flags).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();
    let mut lines = said.lines();
    let mut next = |what: String, ours: String| {
        assert_eq!(Some(ours.as_str()), lines.next(), "{what}");
    };
    for (of, field, ours) in OFFSETS {
        next(format!("offset of {field} in {of}"), ours.to_string());
    }
    for (of, ours) in SIZES {
        next(format!("size of {of}"), ours.to_string());
    }
    for (name, ours) in VALUES {
        next((*name).to_owned(), ours.to_string());
    }
    for (name, ours) in TEXTS {
        next((*name).to_owned(), ours.to_str().unwrap().to_owned());
    }
    assert_eq!(lines.next(), None);
}

/// Where the headers are.
fn flags() -> Option<Vec<String>> {
    let asked = Command::new("pkg-config").args(["--cflags", "pmix"]).output().ok()?;
    let text = String::from_utf8(asked.stdout).ok().filter(|_| asked.status.success())?;
    Some(text.split_whitespace().map(str::to_owned).collect())
}

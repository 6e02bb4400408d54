// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our picture of a C library's structures and constants against its headers, by a C program that
//! prints theirs.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// What to compare.
pub struct Picture<'a> {
    /// Name of the library.
    pub name: &'a str,
    pub headers: &'a [&'a str],
    /// How C writes the type of this name.
    pub type_of: fn(&str) -> String,
    /// Structure, field, our offset.
    pub offsets: &'a [(&'a str, &'a str, usize)],
    /// Structure, and how many bytes ours has, which are at least as many as theirs.
    pub sizes: &'a [(&'a str, usize)],
    /// Constant, our value.
    pub values: &'a [(&'a str, u64)],
}

pub fn compare(picture: &Picture<'_>) {
    let mut source = String::from("#include <stddef.h>\n#include <stdio.h>\n");
    for header in picture.headers {
        let _ = writeln!(source, "#include <{header}>");
    }
    source.push_str("int main(void) {\n");
    let mut print = |what: String| {
        let _ = writeln!(source, "printf(\"%llu\\n\", (unsigned long long)({what}));");
    };
    for (of, field, _) in picture.offsets {
        print(format!("offsetof({}, {field})", (picture.type_of)(of)));
    }
    for (of, _) in picture.sizes {
        print(format!("sizeof({})", (picture.type_of)(of)));
    }
    for (name, _) in picture.values {
        print((*name).to_owned());
    }
    source.push_str("return 0;\n}\n");
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(picture.name);
    std::fs::create_dir_all(&dir).unwrap();
    let (file, program) = (dir.join("layout.c"), dir.join("layout"));
    std::fs::write(&file, source).unwrap();
    let built = Command::new("cc").arg("-o").arg(&program).arg(&file).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();
    let mut numbers = said.lines().map(|line| line.parse::<u64>().unwrap());
    let mut next = || numbers.next().expect("a number for each question");
    for (of, field, ours) in picture.offsets {
        assert_eq!(*ours as u64, next(), "offset of {field} in {of}");
    }
    for (of, ours) in picture.sizes {
        assert!(*ours as u64 >= next(), "ours of {of} is too short");
    }
    for (name, ours) in picture.values {
        assert_eq!(*ours, next(), "{name}");
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a built library exports, read with `nm` and `readelf`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library: in the directory that STRAIT_TEST_LIBRARIES names, or beside this test, where
/// `cargo build` puts it. Cargo does not build a cdylib for tests.
pub fn library(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("STRAIT_TEST_LIBRARIES") {
        return Path::new(&folder).join(name);
    }
    let test = std::env::current_exe().expect("a path of this test");
    let folder = test.parent().expect("a folder of this test");
    let found = [folder.join(name), folder.join("..").join(name)].into_iter().find(|p| p.exists());
    found.unwrap_or_else(|| panic!("no {name} in or above {}: cargo build it", folder.display()))
}

/// Exported (functions, data).
pub fn exported(library: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let text = output(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    let mut symbols = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, kind, name] = words[..] else { panic!("unknown line of nm: {line}") };
        match kind {
            "T" => symbols.0.insert(name.to_string()),
            "D" | "B" | "R" => symbols.1.insert(name.to_string()),
            _ => panic!("{name} is exported as {kind}, neither function nor data"),
        };
    }
    symbols
}

/// The SONAME.
pub fn soname(library: &Path) -> String {
    let text = output(Command::new("readelf").args(["-d", "-W"]).arg(library));
    let line = text.lines().find(|line| line.contains("(SONAME)")).expect("a SONAME");
    let name = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("a name");
    name.0.to_string()
}

/// Standard output of a command that must succeed.
pub fn output(command: &mut Command) -> String {
    let result = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{command:?} failed: {errors}");
    String::from_utf8(result.stdout).expect("text")
}

/// Fails with the difference of the two sets.
pub fn same(what: &str, found: &BTreeSet<String>, expected: &BTreeSet<String>) {
    let lacking: Vec<_> = expected.difference(found).collect();
    let extra: Vec<_> = found.difference(expected).collect();
    assert!(lacking.is_empty() && extra.is_empty(), "{what}: lacking {lacking:?}, extra {extra:?}");
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads the tree, and checks what needs no look inside a file: names and required files.

use super::Finding;
use std::fs;
use std::path::Path;

/// One text file of the tree.
pub struct Source {
    /// Relative to the top, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Files whose lines and heads the rules look at.
    pub fn is_code(&self) -> bool {
        let endings = [".rs", ".py", ".c", ".h", ".sh"];
        endings.iter().any(|e| self.path.ends_with(e)) || self.text.starts_with("#!")
    }

    /// Written by a program, which says so in the first lines.
    pub fn is_generated(&self) -> bool {
        self.text.lines().take(8).any(|line| line.contains("@generated"))
    }

    /// Only run by tests: integration tests, and programs below a `tests` directory.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    pub fn finding(&self, rule: &'static str, line: usize, text: String) -> Finding {
        Finding { rule, path: self.path.clone(), line, text }
    }
}

const SKIPPED: &[&str] = &["target", ".git", ".venv", "__pycache__"];
const READ: &[&str] = &["rs", "py", "c", "h", "sh", "toml", "md", "txt", "tsv", "table", ""];

pub fn read_all(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    walk(root, root, &mut sources).map_err(|e| format!("reading the tree: {e}"))?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn walk(root: &Path, dir: &Path, sources: &mut Vec<Source>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !SKIPPED.contains(&name.as_ref()) && !path.join("CACHEDIR.TAG").exists() {
                walk(root, &path, sources)?;
            }
            continue;
        }
        let ending = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        if !kind.is_file() || !READ.contains(&ending.as_str()) {
            continue;
        }
        // A file that is not text is not ours to check.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let path = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        sources.push(Source { path, text });
    }
    Ok(())
}

const REQUIRED: &[&str] = &[
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "deny.toml",
    "docs/testing.md",
    ".ci/run",
];

/// Files that must be there and say something.
pub fn presence(root: &Path) -> Vec<Finding> {
    let missing = |name: &&&str| fs::metadata(root.join(name)).map_or(true, |m| m.len() < 20);
    REQUIRED
        .iter()
        .filter(missing)
        .map(|name| Finding {
            rule: "required",
            path: (*name).into(),
            line: 1,
            text: "missing or empty".into(),
        })
        .collect()
}

const MISSING_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];

/// A file named `utils` is a file whose name is still missing.
pub fn name(source: &Source) -> Option<Finding> {
    let path = Path::new(&source.path);
    let words = path.components().map(|part| part.as_os_str().to_string_lossy());
    let bad = words.map(|w| w.split('.').next().unwrap_or_default().to_string());
    let bad = bad.into_iter().find(|word| MISSING_NAMES.contains(&word.as_str()))?;
    Some(source.finding("name", 1, format!("'{bad}' says nothing about what is inside")))
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Limits of files, functions and lines; the licence line; who owns notes about later work.

use super::files::Source;
use super::{Finding, code_of};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;

pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source.is_code() {
        if !source.text.lines().take(3).any(|line| line.contains("SPDX-License-Identifier:")) {
            findings.push(source.finding("spdx", 1, "no licence line at the top".into()));
        }
        if !source.is_generated() {
            findings.extend(limits(source));
        }
    }
    findings.extend(ownerless(source));
    findings
}

fn limits(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let count = source.text.lines().count();
    if count > FILE_LINES {
        let text = format!("{count} lines, the limit is {FILE_LINES}: split it by noun");
        findings.push(source.finding("file-lines", count, text));
    }
    for (index, line) in source.text.lines().enumerate() {
        let width = line.chars().count();
        if width > COLUMNS {
            let text = format!("{width} columns, the limit is {COLUMNS}");
            findings.push(source.finding("columns", index + 1, text));
        }
    }
    if source.is_rust() {
        for (name, first, length) in functions(&code_of(source)) {
            if length > FUNCTION_LINES {
                let text = format!("{name} has {length} lines, the limit is {FUNCTION_LINES}");
                findings.push(source.finding("function-lines", first, text));
            }
        }
    }
    findings
}

/// Name, first line and number of lines of each function that has a body. `code` has its
/// comments and strings blanked, so that every brace counts.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let bytes = code.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut found = Vec::new();
    let mut line = 1;
    for at in 0..bytes.len() {
        if bytes[at] == b'\n' {
            line += 1;
        }
        let starts = bytes[at..].starts_with(b"fn ") && (at == 0 || !is_word(bytes[at - 1]));
        if !starts {
            continue;
        }
        let name: String =
            code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue;
        }
        if let Some(length) = body_lines(&bytes[at..]) {
            found.push((name, line, length));
        }
    }
    found
}

/// Lines from here to the brace that closes the body; None for a declaration without one.
fn body_lines(code: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut round = 0_usize;
    let mut lines = 1;
    for byte in code {
        match byte {
            b'\n' => lines += 1,
            b'(' | b'[' => round += 1,
            b')' | b']' => round = round.saturating_sub(1),
            b';' if depth == 0 && round == 0 => return None,
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(lines);
                }
            }
            _ => {}
        }
    }
    None
}

/// A note about later work names who will do it, as in `TODO(name)`.
fn ownerless(source: &Source) -> Vec<Finding> {
    // Spelled in two parts, so that this file does not find itself.
    let word = concat!("TO", "DO");
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let mut rest = line;
        while let Some(at) = rest.find(word) {
            rest = &rest[at + word.len()..];
            let whole = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            if whole && source.is_code() && !rest.starts_with('(') {
                findings.push(source.finding("todo", index + 1, "names no owner".into()));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "a/b.rs".into(), text: text.into() }
    }

    #[test]
    fn a_function_is_measured_to_its_closing_brace() {
        let code =
            "fn one() {\n    if x {\n    }\n}\nfn two();\npub fn three<T>() -> [u8; 2] { }\n";
        let found = functions(code);
        assert_eq!(found, vec![("one".into(), 1, 4), ("three".into(), 6, 1)]);
    }

    #[test]
    fn braces_in_strings_do_not_count() {
        let long = format!(
            "// SPDX-License-Identifier: X\nfn a() {{\n{}}}\n",
            "    x(\"}\");\n".repeat(71)
        );
        let findings = check(&source(&long));
        assert!(findings.iter().any(|f| f.rule == "function-lines"));
    }

    #[test]
    fn wide_lines_and_missing_licences_are_found() {
        let findings = check(&source(&"x".repeat(101)));
        let rules: Vec<_> = findings.iter().map(|f| f.rule).collect();
        assert_eq!(rules, ["spdx", "columns"]);
    }

    #[test]
    fn a_later_note_needs_an_owner() {
        let note = |owner: &str| {
            format!("// SPDX-License-Identifier: X\n// {}{owner}: x\n", concat!("TO", "DO"))
        };
        assert_eq!(check(&source(&note(""))).len(), 1);
        assert_eq!(check(&source(&note("(ada)"))).len(), 0);
    }
}

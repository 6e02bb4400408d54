// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask tidy`: the house rules that a program can check, each with the place it is broken.
//!
//! A rule that is broken on purpose stands in `tools/xtask/tidy.exceptions` with its reason; an
//! exception that nothing needs any more is an error too, so that the list only shrinks.
//!
//! Not here: what rustfmt, clippy and the compiler check; whether generated files are fresh (the
//! tests of `strait-abi-table` compare them with their generators).

mod files;
mod lines;
mod masked;
mod modules;
mod sync_labels;

use crate::places::Places;
use files::Source;
use std::collections::BTreeMap;
use std::fs;

/// One broken rule at one place.
pub struct Finding {
    pub rule: &'static str,
    pub path: String,
    pub line: usize,
    pub text: String,
}

/// Prints what is wrong; answers whether nothing is.
pub fn command(places: &Places) -> Result<bool, String> {
    let (checked, findings) = check(places)?;
    for finding in &findings {
        let Finding { rule, path, line, text } = finding;
        eprintln!("{path}:{line}: {rule}: {text}");
    }
    println!("tidy: {checked} files, {} findings", findings.len());
    Ok(findings.is_empty())
}

/// Runs every rule; answers the number of files read and what they break.
pub fn check(places: &Places) -> Result<(usize, Vec<Finding>), String> {
    let sources = files::read_all(&places.root)?;
    let mut findings = Vec::new();
    findings.extend(files::presence(&places.root));
    for source in &sources {
        findings.extend(files::name(source));
        findings.extend(lines::check(source));
        findings.extend(modules::imports(source));
        findings.extend(sync_labels::orderings(source));
    }
    findings.extend(modules::forbids(&sources));
    findings.extend(modules::dead(&sources));
    findings.extend(sync_labels::pairs(&sources));
    let exceptions = places.root.join("tools/xtask/tidy.exceptions");
    let text = fs::read_to_string(&exceptions).unwrap_or_default();
    Ok((sources.len(), without_exceptions(findings, &text)))
}

/// Takes away what the exception list allows. A line of the list is `RULE PATH REASON`.
fn without_exceptions(findings: Vec<Finding>, list: &str) -> Vec<Finding> {
    let mut allowed: BTreeMap<(String, String), (usize, bool)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let at_list = |line: usize, text: String| Finding {
        rule: "exceptions",
        path: "tools/xtask/tidy.exceptions".into(),
        line,
        text,
    };
    for (number, line) in list.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(rule), Some(path), Some(_reason)) => {
                allowed.insert((rule.into(), path.into()), (number + 1, false));
            }
            _ => wrong.push(at_list(number + 1, "expected `RULE PATH REASON`".into())),
        }
    }
    let mut kept: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| match allowed.get_mut(&(finding.rule.into(), finding.path.clone())) {
            Some(entry) => {
                entry.1 = true;
                false
            }
            None => true,
        })
        .collect();
    for ((rule, path), (line, used)) in &allowed {
        if !used {
            wrong.push(at_list(*line, format!("nothing breaks {rule} in {path}: remove it")));
        }
    }
    kept.append(&mut wrong);
    kept
}

/// Text that a rule about file contents looks at, with its comments and strings blanked.
pub fn code_of(source: &Source) -> String {
    masked::blank_comments_and_strings(&source.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: &'static str, path: &str) -> Finding {
        Finding { rule, path: path.into(), line: 1, text: String::new() }
    }

    #[test]
    fn an_exception_hides_its_finding_and_nothing_else() {
        let found = vec![finding("columns", "a.rs"), finding("columns", "b.rs")];
        let kept = without_exceptions(found, "# a list\ncolumns a.rs a table reads better wide\n");
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].path, "b.rs");
    }

    #[test]
    fn an_exception_that_nothing_needs_is_an_error() {
        let kept = without_exceptions(vec![], "columns a.rs once needed\n");
        assert_eq!(kept.len(), 1);
        assert!(kept[0].text.contains("remove it"));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every ordering stronger than Relaxed carries a label, and every label has its partner.
//!
//! A label is a comment `SYNC(name): ...` on the line of the access or a few lines above it; its
//! name appears at both sides of the pair, so it appears at least twice in the tree.

use super::files::Source;
use super::modules::before_tests;
use super::{Finding, code_of};
use std::collections::BTreeMap;

/// How far above an access its label may stand: a label may cover a short run of accesses.
const REACH: usize = 12;
const STRONG: &[&str] = &["Acquire", "Release", "AcqRel", "SeqCst"];

/// Accesses without a label.
pub fn orderings(source: &Source) -> Vec<Finding> {
    // This checker uses plain threads, and `sync` defines the words: its callers name the pairs.
    let free = source.path.starts_with("tools/xtask") || source.path == "transport/src/sync.rs";
    let concerned = source.is_rust() && !source.is_test() && !free;
    if !concerned {
        return Vec::new();
    }
    let code = code_of(source);
    let lines: Vec<&str> = source.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in before_tests(&code).lines().enumerate() {
        if line.trim_start().starts_with("use ") || !STRONG.iter().any(|word| uses(line, word)) {
            continue;
        }
        let from = index.saturating_sub(REACH);
        if !lines[from..=index].iter().any(|line| line.contains("SYNC(")) {
            let text = "an ordering stronger than Relaxed without a SYNC label".to_string();
            findings.push(source.finding("sync-label", index + 1, text));
        }
    }
    findings
}

/// Is the word there as an argument, as in `load(Acquire)` or `Ordering::SeqCst)`?
fn uses(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].trim_end_matches("Ordering::");
        let opens = before.trim_end().ends_with(['(', ',']) || before.trim().is_empty();
        let closes = line[at + word.len()..].trim_start().starts_with([')', ',']);
        opens && closes
    })
}

/// Labels that stand alone.
pub fn pairs(sources: &[Source]) -> Vec<Finding> {
    let mut seen: BTreeMap<String, (usize, &Source, usize)> = BTreeMap::new();
    let concerned = sources.iter().filter(|s| s.is_rust() && !s.path.starts_with("tools/xtask"));
    for source in concerned {
        for (index, line) in source.text.lines().enumerate() {
            for name in labels(line) {
                seen.entry(name.to_string()).or_insert((0, source, index + 1)).0 += 1;
            }
        }
    }
    seen.into_iter()
        .filter(|(_, (count, ..))| *count < 2)
        .map(|(name, (_, source, line))| {
            source.finding("sync-pair", line, format!("SYNC({name}) has no partner"))
        })
        .collect()
}

fn labels(line: &str) -> impl Iterator<Item = &str> {
    line.split("SYNC(").skip(1).filter_map(|rest| rest.split_once(')').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "transport/src/a.rs".into(), text: text.into() }
    }

    #[test]
    fn a_strong_access_needs_a_label() {
        assert_eq!(orderings(&source("x.load(Acquire);\n")).len(), 1);
        assert_eq!(orderings(&source("fence(Ordering::SeqCst);\n")).len(), 1);
        assert_eq!(orderings(&source("// SYNC(a): with b\nx.load(Acquire);\n")).len(), 0);
        assert_eq!(orderings(&source("x.load(Relaxed); Release::new();\n")).len(), 0);
    }

    #[test]
    fn a_lone_label_is_found() {
        let lone = [source("// SYNC(a): x\n// SYNC(b): y\n// SYNC(b): z\n")];
        let found = pairs(&lone);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("SYNC(a)"));
    }
}
